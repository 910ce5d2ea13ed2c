"""What training says of itself: how a number went over the rounds, and what became of a layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import nn
from .score import Score

PART = 10  # the first and the last of so many parts of a run are compared


def course(rows: Sequence[Mapping[str, Any]], names: Iterable[str]) -> list[Score]:
    """How each number of `names` went: its mean over the last tenth of a run's rows, and beside it
    that over the first; least and greatest are in the note. Those that no row has are left out.
    """
    found = []
    for name in names:
        values = np.array([row[name] for row in rows if row.get(name) is not None], np.float64)
        if len(values):
            part = -(-len(values) // PART)
            first, last = values[:part].mean(), values[-part:].mean()
            note = f"from {values.min():.3g} to {values.max():.3g}"
            title = f"{name} in the last tenth of the rounds"
            of: dict[str, Any] = {"baseline_of": "the first tenth", "note": note}
            found.append(Score(f"course_{name}", title, float(last), None, float(first), **of))
    return found


def spectral(players: Mapping[str, nn.Module]) -> list[Score]:
    """Of the largest singular values of all spectrally normalised weight matrices, by an SVD, the
    one that is farthest from 1. A convolution's matrix is (O, I kH kW), and bounds it up to a
    factor (`nn.SpectralNorm`).
    """
    layers = [
        module
        for player in players.values()
        for module in player.modules().values()
        if isinstance(module, nn.SpectralNorm)
    ]
    if not layers:
        return []
    weights = (layer.normalised().numpy().astype(np.float64) for layer in layers)
    largest = [np.linalg.svd(w.reshape(len(w), -1), compute_uv=False)[0] for w in weights]
    value = float(max(largest, key=lambda s: abs(s - 1)))
    name = "largest singular value of a normalised weight matrix, of that farthest from 1"
    note = f"{len(layers)} layers"
    return [Score("singular", name, value, None, 1.0, "what it should be", note=note)]

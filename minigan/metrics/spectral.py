"""Whether spectral normalisation does what it promises."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .. import nn
from .score import Score


def spectral(players: Mapping[str, nn.Module]) -> list[Score]:
    """The largest singular values of all spectrally normalised weight matrices: the one that is
    farthest from 1, by an SVD.

    A convolution's matrix is (O, I kH kW), which bounds the convolution up to a factor
    (`nn.SpectralNorm`).

    >>> layer = nn.SpectralNorm(nn.Linear(3, 2, rng=rng), rng=rng)
    >>> layer.converge()
    >>> (score,) = spectral({"D": layer})
    >>> round(score.value, 3)
    1.0
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

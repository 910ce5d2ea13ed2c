"""The course of a reported value over a run, from its beginning to its end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .score import Score

PART = 10  # the first and the last of so many equal parts of a run are compared


def course(rows: Sequence[Mapping[str, Any]], names: Iterable[str]) -> list[Score]:
    """The course of each reported value of `names` over a run.

    The score is its mean over the last tenth of the rows, the baseline its mean over the first
    tenth; the note has the extremes. A value that no row has is left out.
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

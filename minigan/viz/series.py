"""Columns of the metrics as lines of a plot: their values, their running means, their range."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

SMOOTH_FROM = 30  # points of a line, minimum, to draw its running mean
DRAWN = 1e100  # largest value of a line; ticks and means of larger ones overflow


class Series(NamedTuple):
    """A column: the steps and values (N,), NaN where a value is not finite, and the running mean,
    which is None for few values. `broken` is the first step without a finite value, or None.
    """

    steps: np.ndarray
    values: np.ndarray
    mean: np.ndarray | None
    broken: float | None


def series(rows: Sequence[Mapping[str, Any]], key: str) -> Series:
    """One key of the metrics, from the rows that have it."""
    steps, values = column(rows, key)
    finite = np.isfinite(values)
    return Series(
        steps,
        np.where(finite, values, np.nan),
        None if len(values) < SMOOTH_FROM else running_mean(values, len(values) // 25),
        None if finite.all() else float(steps[np.argmin(finite)]),
    )


def limits(lines: Iterable[Series], also: Iterable[float] = ()) -> tuple[float, float] | None:
    """The vertical range of lines: that of their means and of all values but the outermost
    hundredth, and of the values `also`, with a margin. None without a finite value.
    """
    extent: list[float] = []
    for line in lines:
        finite = line.values[np.isfinite(line.values)]
        if line.mean is None:
            extent += list(finite)
        elif len(finite):
            extent += [np.nanmin(line.mean), np.nanmax(line.mean)]
            extent += list(np.percentile(finite, [0.5, 99.5]))
    if not extent:
        return None
    extent += also
    low, high = min(extent), max(extent)
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 0.1
    return float(low - margin), float(high + margin)


def column(rows: Sequence[Mapping[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """The steps and values of one key, from the rows that have it; None becomes NaN, and what is
    too large to draw infinite.
    """
    pairs = [(row["step"], row[key]) for row in rows if key in row]
    steps = np.array([step for step, _ in pairs], dtype=np.float64)
    values = np.array([np.nan if v is None else v for _, v in pairs], dtype=np.float64)
    large = np.abs(values) > DRAWN
    values[large] = np.copysign(np.inf, values[large])
    return steps, values


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """The mean of (N,) values over a centred window, which is shorter at the ends.

    Values that are not finite become NaN, and do not enter the means around them. An even `window`
    is made odd, and one longer than the values is cut; it must be at least 1.

    >>> running_mean(np.array([1.0, 2.0, 6.0]), 3)
    array([1.5, 3. , 4. ])
    """
    finite = np.isfinite(values)
    ones = np.ones((min(window, len(values)) - 1) // 2 * 2 + 1)
    total = np.convolve(np.where(finite, values, 0.0), ones, mode="same")
    count = np.convolve(finite.astype(np.float64), ones, mode="same")
    return np.where(finite, total / np.maximum(count, 1), np.nan)


def are_probabilities(lines: Iterable[Series]) -> bool:
    """Whether all finite values are in [0, 1]; a critic's scores are not."""
    values = np.concatenate([line.values for line in lines])
    values = values[np.isfinite(values)]
    return bool(np.all((values >= 0) & (values <= 1)))

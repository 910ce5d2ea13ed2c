"""Learning-rate schedules: a value for each number of updates."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..device.graph_inputs import of_round

Schedule = Callable[[int], float]


def constant(value: float) -> Schedule:
    """The same value at every step."""
    return lambda step: value


def linear(start: float, end: float, steps: int, *, hold: int = 0) -> Schedule:
    """`start` for `hold` steps, then in equal parts to `end` at step `steps`, `end` afterwards."""
    return lambda step: start + (end - start) * min(max(step - hold, 0) / (steps - hold), 1.0)


def exponential(start: float, factor: float, least: float = 0.0) -> Schedule:
    """`start` times `factor` for every step taken, but not below `least`."""
    return lambda step: max(start * factor**step, least)


def cosine(start: float, end: float, steps: int) -> Schedule:
    """Half a cosine from `start` to `end` over `steps` steps (Loshchilov & Hutter 2017,
    arXiv:1608.03983).
    """
    return lambda step: end + 0.5 * (start - end) * (1 + math.cos(math.pi * min(step / steps, 1.0)))


def warming(most: float) -> Schedule:
    """min(most, (1 + step) / (10 + step)): the decay of an average that soon forgets how it began,
    as in TensorFlow's ExponentialMovingAverage.
    """
    return lambda step: min(most, (1 + step) / (10 + step))


def scheduled(schedule: Schedule, step: int) -> Any:
    """What a schedule says of the round of number `step`, by which to multiply float32 arrays.

    A round that asks in this way for what depends on its number can be replayed from a graph.
    """
    return of_round(schedule, step)

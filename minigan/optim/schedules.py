"""Learning-rate schedules: a value for each number of updates."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..device.graph_inputs import graph_scheduled

Schedule = Callable[[int], float]


def constant(value: float) -> Schedule:
    """The same value at every update."""
    return lambda step: value


def linear(start: float, end: float, steps: int, *, hold: int = 0) -> Schedule:
    """`start` for `hold` updates, then linearly to `end` at update `steps`; `end` after it."""
    return lambda step: start + (end - start) * min(max(step - hold, 0) / (steps - hold), 1.0)


def exponential(start: float, factor: float, least: float = 0.0) -> Schedule:
    """`start` times `factor` for each update done, but not below `least`."""
    return lambda step: max(start * factor**step, least)


def cosine(start: float, end: float, steps: int) -> Schedule:
    """Half a cosine from `start` to `end` over `steps` updates (Loshchilov & Hutter 2017,
    arXiv:1608.03983).
    """
    return lambda step: end + 0.5 * (start - end) * (1 + math.cos(math.pi * min(step / steps, 1.0)))


def warming(most: float) -> Schedule:
    """min(most, (1 + step) / (10 + step)): the decay of an average that is to forget its initial
    value soon, as in TensorFlow's ExponentialMovingAverage.
    """
    return lambda step: min(most, (1 + step) / (10 + step))


def scheduled(schedule: Schedule, step: int) -> Any:
    """The schedule's value at a training step, by which float32 arrays may be multiplied.

    A recipe that computes step-dependent values in this way can be replayed from a graph.
    """
    return graph_scheduled(schedule, step)

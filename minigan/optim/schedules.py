"""Learning-rate schedules: a value for each number of updates.

A schedule is a function of the number of updates done. Those made here can be pickled, so that an
optimiser can be.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from ..device.graph_inputs import graph_scheduled
from ..nn.arguments import Interval

Schedule = Callable[[int], float]

_FINITE, _SHARE = Interval("(-inf, inf)"), Interval("[0, 1]")


class Constant(float):
    """A number that is a schedule, too: the same at every update."""

    __slots__ = ()

    def __call__(self, step: int) -> float:
        return float(self)


def constant(value: float) -> Schedule:
    """The same value at every update.

    >>> mg.optim.constant(0.1)(1000)
    0.1
    """
    return Constant(value)


def linear(start: float, end: float, steps: int, *, hold: int = 0) -> Schedule:
    """`start` for `hold` updates, then linearly to `end` at update `steps`; `end` after it.

    Raises:
        ValueError: if a value is not finite, or `steps` is not above `hold`.

    >>> schedule = mg.optim.linear(1.0, 0.0, steps=100)
    >>> schedule(50), schedule(200)
    (0.5, 0.0)
    """
    _check_finite(start, end)
    _check_steps(steps, hold)
    return partial(_linear, start, end, steps, hold)


def exponential(start: float, factor: float, least: float = 0.0) -> Schedule:
    """`start` times `factor` for each update done, but not below `least`.

    Raises:
        ValueError: if a value is not finite.

    >>> mg.optim.exponential(1.0, 0.5)(3)
    0.125
    """
    _check_finite(start, factor, least)
    return partial(_exponential, start, factor, least)


def cosine(start: float, end: float, steps: int) -> Schedule:
    """Half a cosine from `start` to `end` over `steps` updates (Loshchilov & Hutter 2017,
    arXiv:1608.03983).

    Raises:
        ValueError: if a value is not finite, or `steps` is not above 0.

    >>> schedule = mg.optim.cosine(1.0, 0.0, steps=100)
    >>> round(schedule(50), 6), schedule(100)
    (0.5, 0.0)
    """
    _check_finite(start, end)
    _check_steps(steps, 0)
    return partial(_cosine, start, end, steps)


def warming(most: float) -> Schedule:
    """min(most, (1 + step) / (10 + step)): the decay of an average that is to forget its initial
    value soon, as in TensorFlow's ExponentialMovingAverage.

    Raises:
        ValueError: if `most` is not in [0, 1].

    >>> mg.optim.warming(0.999)(0)
    0.1
    """
    _SHARE.check(most, "the highest decay")
    return partial(_warming, most)


def scheduled(schedule: Schedule, step: int) -> Any:
    """The schedule's value at a training step, by which float32 arrays may be multiplied.

    A recipe that computes step-dependent values in this way can be replayed from a graph.

    >>> round(float(mg.optim.scheduled(mg.optim.linear(1.0, 0.0, 100), 25)), 6)
    0.75
    """
    return graph_scheduled(schedule, step)


def checked(value: float | Schedule, interval: Interval, what: str) -> Schedule:
    """`value` as a schedule, whose values must be in an interval; errors call them `what`.

    Raises:
        TypeError: if it is neither a number nor a function.
        ValueError: if the number is outside. Of a function each value is checked when it is asked.
    """
    if callable(value) and not isinstance(value, Constant):
        return partial(_checked, value, interval, what)
    return Constant(interval.check(value, what))


def _linear(start: float, end: float, steps: int, hold: int, step: int) -> float:
    return start + (end - start) * min(max(step - hold, 0) / (steps - hold), 1.0)


def _exponential(start: float, factor: float, least: float, step: int) -> float:
    try:
        return max(start * factor**step, least)
    except OverflowError:  # as in NumPy's floats, whose losses then say that they diverged
        return math.inf


def _cosine(start: float, end: float, steps: int, step: int) -> float:
    return end + 0.5 * (start - end) * (1 + math.cos(math.pi * min(step / steps, 1.0)))


def _warming(most: float, step: int) -> float:
    return min(most, (1 + step) / (10 + step))


def _checked(schedule: Schedule, interval: Interval, what: str, step: int) -> float:
    value = schedule(step)
    if value not in interval:
        raise ValueError(f"{what} must be in {interval.text}, but is {value} for update {step + 1}")
    return value


def _check_finite(*values: float) -> None:
    for value in values:
        _FINITE.check(value, "a value of a schedule")


def _check_steps(steps: int, hold: int) -> None:
    if not steps > hold >= 0:
        raise ValueError(f"a schedule needs more than {hold} steps, not {steps}")

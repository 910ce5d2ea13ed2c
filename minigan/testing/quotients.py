"""Difference quotients that know how far they can be trusted.

Along a line through the inputs a function is p(t), and p'(0) is wanted. The central quotient
(p(h) - p(-h)) / 2h has three errors: of order h^2 by the curve, of order 1 / h by rounding, and one
of any size if a kink or a jump of the function (a rectifier that turns on, say) is closer than h.
The third one does not vanish as h^2 does: it stays, until h is smaller than the kink's distance.

Five values, at -2h, -h, 0, h and 2h, tell. Beside the central quotient they give two one-sided
ones of the same order, (-3 p(0) + 4 p(h) - p(2h)) / 2h and its mirror image. Where p is smooth,
all three agree up to h^2 and rounding. If all kinks are on one side, whatever their number, the
quotient of the other side is free of them, and the central one is wrong by no more than it differs
from that one. Kinks on both sides would have to cancel in both differences at once to pass unseen.
So the larger of the two differences bounds all three errors. It is known without the gradient that
is to be checked: no wrong gradient can excuse itself by it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

# In units of the input's own size. The second and third get away from kinks, the others from
# rounding.
STEPS = (1e-6, 1e-7, 1e-8, 1e-5, 1e-4, 1e-3)
EPS = float(np.finfo(np.float64).eps)

Line = Callable[[float], np.ndarray]  # the function's values at a point t of the line


class Quotient(NamedTuple):
    """A central difference quotient, its step, and a bound of its error."""

    step: float
    value: float
    doubt: float

    def agrees_with(self, other: Quotient) -> bool:
        return abs(self.value - other.value) <= self.doubt + other.doubt


def quotient(line: Line, centre: np.ndarray, weights: np.ndarray, step: float) -> Quotient:
    """The derivative of sum(weights * line(t)) at t = 0.

    `centre` is line(0), of the shape of `weights`.
    """
    back_2, back, ahead, ahead_2 = (line(k * step) for k in (-2, -1, 1, 2))
    central, left, right = (
        float(np.sum(weights * difference)) / (2 * step)
        for difference in (
            ahead - back,
            (ahead - back_2) - 3 * (centre - back),  # the central quotient less the left one
            (ahead_2 - back) - 3 * (ahead - centre),  # less the right one
        )
    )
    # Values that are equal by chance have no less rounding.
    rounding = EPS * float(np.linalg.norm(weights * centre)) / step
    return Quotient(step, central, max(abs(left), abs(right)) + rounding)

"""Gradients of functions of arrays against difference quotients, to any order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add

import numpy as np

from ..arrays import promoting
from ..tensor import Array, Tensor, grad
from .quotients import STEPS, Line, Quotient, quotient

TOLERANCE = 1e-5
# A quotient counts if its error is below this part of what is allowed, so that it decides nothing.
TRUSTED = 0.25
# Derivatives below this part of the largest one are compared as if they were that large, because
# rounding is relative to the largest. So an error of 10 % in one is found down to a part of
# 10 FLOOR TOLERANCE = 1e-6.
FLOOR = 1e-2
VALUE = 1e-3  # the largest derivative counts as no less than this part of the function's values
# Below this part of the values derivatives are lost in rounding, down to where they are zero.
HIDDEN, ZERO = 1e-8, 1e-13
NOTHING = 1e-4  # inputs below this size are zeros, or what rounding has left of them
TRIES = 5  # directions that are drawn for an input until one is clear of kinks

Function = Callable[..., Tensor]


class GradientError(AssertionError):
    """A gradient differs from the difference quotient; the message says by how much and where.

    >>> issubclass(GradientError, AssertionError)
    True
    """


class UndecidedError(AssertionError):
    """The difference quotients cannot tell whether a gradient is right; the message says why.

    >>> issubclass(UndecidedError, AssertionError)
    True
    """


@dataclass
class Evidence:
    """What a check without an error found.

    error: largest difference of a derivative and its quotient, relative to the derivative.
    tolerance: the threshold that `error` was compared with.
    directions: directions along which derivatives were compared.
    drawn: those and the ones that were given up, because a kink was within every step.
    kinks: directions of the drawn ones that met a kink within the first step.
    slope: size of the largest derivative of order 1, for an input changed by 100 %.
    idle: inputs that have no influence on the function to first order, so that an error in their
        gradients could not be seen.

    >>> examine(lambda x: x**3, [np.array([1.0, 2.0])]).idle
    []
    """

    tolerance: float
    error: float = 0.0
    directions: int = 0
    drawn: int = 0
    kinks: int = 0
    slope: float = 0.0
    idle: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        kinks = f"{self.kinks} of {self.drawn}" if self.kinks else "none"
        idle = f"; no influence here: {', '.join(self.idle)}" if self.idle else ""
        return (
            f"largest relative error {self.error:.1e} (threshold {self.tolerance:.0e}) along "
            f"{self.directions} directions, {kinks} crossed a kink{idle}"
        )


def check_gradients(
    f: Function,
    inputs: Sequence[Array | Tensor] | Array | Tensor,
    *,
    order: int = 2,
    tolerance: float = TOLERANCE,
    seed: int = 0,
) -> float:
    """Compare the derivatives of `f` up to `order` with difference quotients along random
    directions.

    `f` takes as many tensors as there are float64 arrays in `inputs`, which may be one array alone,
    and gives a float64 tensor of any shape. It must be the same function at every call (masks
    frozen, say). Order 1 compares the derivative of sum(u f(x)) with respect to each input, for
    random u, along a random direction v of the input's size, with quotients of sum(u f(x + h v)).
    Order 2 checks the gradient in the same way, as a function of the inputs and of u. The check
    recurses, after HIPS/autograd's check_grads, so any order is possible.

    `f` may have kinks: the step shrinks until the quotients agree with each other, and a direction
    in which they never do is replaced by another (`minigan.testing.quotients` says how it tells).

    The answer is the largest error found, relative to the size of the derivative.

    Raises:
        GradientError: if it is larger than `tolerance`.
        UndecidedError: if no direction could be used: `inputs` are on a kink, or rounding hides the
            derivative; or if `f` is not float64, or not the same at every call.
        ValueError: if an input is not float64, in which differences would drown in rounding.

    >>> x = np.random.default_rng(0).standard_normal((3, 4))
    >>> check_gradients(lambda x: mg.exp(x).sum(), [x]) < 1e-6
    True
    """
    return examine(f, inputs, order=order, tolerance=tolerance, seed=seed).error


def examine(
    f: Function,
    inputs: Sequence[Array | Tensor] | Array | Tensor,
    *,
    names: Sequence[str] = (),
    order: int = 2,
    tolerance: float = TOLERANCE,
    seed: int = 0,
) -> Evidence:
    """`check_gradients` that answers with all that was found; messages call inputs by `names`.

    >>> found = examine(mg.tanh, [np.array([0.5, -1.0])], order=1)
    >>> found.error < found.tolerance
    True
    """
    given = [inputs] if isinstance(inputs, (np.ndarray, Tensor)) else inputs
    arrays = [x.numpy() if isinstance(x, Tensor) else np.asarray(x) for x in given]
    names = names or [f"input {i}" for i in range(len(arrays))]
    for name, x in zip(names, arrays, strict=True):
        if x.dtype != np.float64:
            raise ValueError(
                f"{name} is {x.dtype}, but gradients are checked in float64, or rounding would "
                "hide them: give it as x.astype(numpy.float64)"
            )
    check = _Check(list(names), Evidence(tolerance), np.random.default_rng(seed))
    with promoting():
        check.compare(f, f, arrays, order)
    return check.evidence


def tested(found: Evidence, what: str, of: str) -> Evidence:
    """What was found, if anything was.

    Raises:
        UndecidedError: if `what` changed with nothing: with none `of` what was moved.

    >>> tested(examine(mg.sin, [np.ones(3)]), "sin", "of its inputs").kinks
    0
    """
    if found.slope == 0:
        raise UndecidedError(f"nothing was tested: {what} does not change with any of {of}")
    return found


@dataclass
class _Check:
    """One run of `examine`, at one order after the other."""

    names: list[str]
    evidence: Evidence
    rng: np.random.Generator
    now: int = 1
    size: float = 0.0  # of the largest derivative so far

    def compare(self, f: Function, plain: Function, inputs: list[np.ndarray], order: int) -> None:
        """Compare the derivatives of f, and then those of its gradient, up to `order`.

        `plain` has the values of f, and costs less.
        """
        y = _values(plain, inputs)
        u = np.ones(y.shape) if y.size == 1 else self.rng.standard_normal(y.shape)
        both = [*inputs, u]

        def gradients(*tensors: Tensor, recorded: bool) -> list[Tensor]:
            *xs, weight = tensors
            return grad(f(*xs), xs, grad_output=weight, create_graph=recorded, allow_unused=True)

        # A fused operation runs its kernel if nothing records, else its reference: check both.
        ways = [
            [g.data for g in gradients(*map(Tensor, both), recorded=recorded)]
            for recorded in sorted({False, self.now < order})
        ]
        scales = [_scale(x) for x in inputs]
        slopes = [s * float(np.linalg.norm(g)) for s, g in zip(scales, ways[0], strict=True)]
        values = float(np.linalg.norm(u * y))
        if self.now == 1:
            self._note(slopes, values)
        finite = (slope for slope in slopes if np.isfinite(slope))
        self.size = max(self.size, *finite, VALUE * values)
        for i in range(len(inputs)):
            self._compare(plain, inputs, i, [way[i] for way in ways], (y, u, scales[i]))
        if inputs and self.now < order:
            mixed = [
                scale * self.rng.standard_normal(x.shape)
                for scale, x in zip(scales, inputs, strict=True)
            ]

            def mixture(recorded: bool) -> Function:
                """One number of all gradients, whose derivatives are those of order 2."""

                def mixed_gradients(*tensors: Tensor) -> Tensor:
                    found = gradients(*tensors, recorded=recorded)
                    return reduce(add, [(g * w).sum() for g, w in zip(found, mixed, strict=True)])

                return mixed_gradients

            self.names = [*self.names, "the gradient of the output"]
            self.now += 1
            self.compare(mixture(True), mixture(False), both, order)

    def _compare(
        self,
        f: Function,
        inputs: list[np.ndarray],
        position: int,
        found: list[np.ndarray],
        around: tuple[np.ndarray, np.ndarray, float],
    ) -> None:
        """Compare what was found for the gradient with respect to one input with quotients.

        `around` has the values of f at the inputs, their weights, and the size of the input.
        """
        centre, weights, scale = around
        x, tolerance, floor = inputs[position], self.evidence.tolerance, FLOOR * self.size
        doubted: list[Quotient] = []
        for _ in range(TRIES):
            v = scale * self._direction(found[0])

            def line(t: float, v: np.ndarray = v) -> np.ndarray:
                moved = list(inputs)
                moved[position] = x + t * v
                return f(*map(Tensor, moved)).data

            first, doubted = _trusted(line, centre, weights, tolerance, floor)
            self.evidence.drawn += 1
            self.evidence.kinks += _kinked(first, doubted)
            if first is None:
                continue
            worst, error = _worst([float(np.sum(g * v)) for g in found], first.value, floor)
            if error <= tolerance:
                self.evidence.directions += 1
                self.evidence.error = max(self.evidence.error, error)
                return
            # One quotient is enough to call a gradient right; to call it wrong takes two.
            second = quotient(line, centre, weights, first.step / 3)
            allowed = tolerance * max(abs(first.value), floor)
            if first.agrees_with(second) and second.doubt <= allowed:
                raise GradientError(self._message(position, x, worst, first, second, error))
            doubted += [first, second]
        told = ", ".join(f"{q.value:.6g} at {q.step:.0e}" for q in sorted(doubted, reverse=True))
        raise UndecidedError(
            f"the derivative of order {self.now} with respect to {self.names[position]} of shape "
            f"{x.shape} has no difference quotient to trust in {TRIES} directions: the function "
            f"has kinks within every step, or rounding hides it (in the last one {told})"
        )

    def _note(self, slopes: list[float], values: float) -> None:
        """Note how large derivatives of order 1 are, beside `values` of the function.

        Raises:
            UndecidedError: if they are lost in the rounding of those.
        """
        slope = max(slopes, default=0.0)
        if ZERO * values < slope < HIDDEN * values:
            raise UndecidedError(
                f"the largest derivative is {slope:.1e} beside values of {values:.1e}, so rounding "
                "hides it; leave a large constant out of the function"
            )
        self.evidence.slope = slope
        self.evidence.idle = [
            name
            for name, size in zip(self.names, slopes, strict=True)
            if size <= ZERO * max(slope, values)
        ]

    def _direction(self, g: np.ndarray) -> np.ndarray:
        """A random direction, v ~ N(0, 1), that is not orthogonal to the gradient by chance.

        An error of a single value has its part in it, and one of the gradient's length is seen in
        full.
        """
        v = self.rng.standard_normal(g.shape)
        norm = float(np.linalg.norm(g))
        return v + np.copysign(1 / norm, np.sum(g * v)) * g if 0 < norm < np.inf else v

    def _message(
        self,
        position: int,
        x: np.ndarray,
        analytic: float,
        first: Quotient,
        second: Quotient,
        error: float,
    ) -> str:
        return (
            f"the derivative of order {self.now} with respect to {self.names[position]} of shape "
            f"{x.shape} is {analytic:.9g} along a random direction, but the difference quotient "
            f"is {first.value:.9g} at the step {first.step:.0e} and {second.value:.9g} at "
            f"{second.step:.0e}: a relative error of {error:.1e} "
            f"(threshold {self.evidence.tolerance:.0e})"
        )


def _values(f: Function, inputs: list[np.ndarray]) -> np.ndarray:
    """What f gives at the inputs.

    Raises:
        TypeError: if that is no Tensor.
        UndecidedError: if it is no function of float64 numbers.
    """
    first, second = (f(*map(Tensor, inputs)) for _ in range(2))
    if not isinstance(first, Tensor):
        raise TypeError(f"the function gives a {type(first).__name__}, not a Tensor")
    if first.dtype != np.float64:
        raise UndecidedError(
            f"the function gives {first.dtype} values of float64 inputs, whose differences are "
            "lost in rounding; it should keep the type of its inputs"
        )
    if not np.array_equal(first.data, second.data, equal_nan=True):
        raise UndecidedError(
            "the function gives other values when it is called again with the same inputs; what is "
            "random or counts calls in it should begin each call as it was"
        )
    return first.data


def _scale(x: np.ndarray) -> float:
    """The root mean square of an input, by which steps are measured; 1 if it is next to nothing."""
    size = float(np.sqrt(np.mean(np.square(x)))) if x.size else 0.0
    return size if size > NOTHING else 1.0


def _trusted(
    line: Line, centre: np.ndarray, weights: np.ndarray, tolerance: float, floor: float
) -> tuple[Quotient | None, list[Quotient]]:
    """The first quotient that can be trusted, if one can, and those before it."""
    doubted: list[Quotient] = []
    for step in STEPS:
        found = quotient(line, centre, weights, step)
        if found.doubt <= TRUSTED * tolerance * max(abs(found.value), floor):
            return found, doubted
        doubted.append(found)
    return None, doubted


def _worst(analytic: list[float], numeric: float, floor: float) -> tuple[float, float]:
    """The analytic derivative that is farthest from the quotient, and its relative error."""
    worst, error = 0.0, 0.0
    for a in analytic:
        if not np.isfinite(a):  # nothing is worse
            return a, np.inf
        off = abs(a - numeric)
        relative = off / max(abs(a), abs(numeric), floor) if off else 0.0
        if relative > error:
            worst, error = a, relative
    return worst, error


def _kinked(trusted: Quotient | None, doubted: list[Quotient]) -> bool:
    """Whether it was a kink that made the first step useless.

    Then a smaller step helps, or none does; against rounding a larger one helps.
    """
    if trusted is not None:
        return trusted.step < STEPS[0]
    return min(doubted, key=lambda q: q.doubt).step < max(STEPS)

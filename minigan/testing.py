"""Checking gradients against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .tensor import Array, Tensor, grad

STEP = 1e-6  # h of the central difference: small, so that it rarely crosses a rectifier's kink
TOLERANCE = 1e-5


class GradientError(AssertionError):
    """A gradient differs from the finite difference; the message says by how much and where."""


def check_gradients(
    f: Callable[..., Tensor],
    inputs: Sequence[Array],
    *,
    order: int = 2,
    tolerance: float = TOLERANCE,
    seed: int = 0,
) -> float:
    """Compare the derivatives of `f` up to `order` with central differences along random
    directions.

    `f` takes as many tensors as there are float64 arrays in `inputs`, and gives a tensor of any
    shape. It must be the same function at every call (masks frozen, say), and smooth around
    `inputs`. Order 1 compares the derivative of sum(u f(x)) with respect to each input, along a
    random direction v and for random u, with (f(x + h v) - f(x - h v)) / 2h. Order 2 checks the
    gradient itself in the same way, as a function of the inputs and of u. The check recurses, after
    HIPS/autograd's check_grads, so any order is possible.

    The answer is the largest error found, relative to the size of the derivative.

    Raises:
        GradientError: if it is larger than `tolerance`.
        ValueError: if an input is not float64, in which differences would drown in rounding.
    """
    arrays = [np.asarray(x) for x in inputs]
    for position, x in enumerate(arrays):
        if x.dtype != np.float64:
            raise ValueError(f"input {position} is {x.dtype}; gradients are checked in float64")
    rng = np.random.default_rng(seed)
    return _check(f, arrays, order, 1, tolerance, rng)


def _check(
    f: Callable[..., Tensor],
    inputs: list[np.ndarray],
    order: int,
    now: int,
    tolerance: float,
    rng: np.random.Generator,
) -> float:
    y = f(*map(Tensor, inputs))  # recorded: f may contain a gradient itself
    u = rng.standard_normal(y.shape)

    def gradients(*tensors: Tensor, recorded: bool = True) -> list[Tensor]:
        *xs, weight = tensors
        return grad(f(*xs), xs, grad_output=weight, create_graph=recorded, allow_unused=True)

    worst = 0.0
    # A fused operation runs its kernel if nothing records, else its reference: check both.
    ways = [gradients(*map(Tensor, inputs), Tensor(u), recorded=r) for r in {False, now < order}]
    for position, x in enumerate(inputs):
        v = rng.standard_normal(x.shape)
        numeric = _difference(f, inputs, position, v, u)
        for found in ways:
            g = found[position]
            analytic = float(np.sum(g.data * v))
            # The size of a derivative along a random direction is that of the whole gradient.
            size = max(float(np.linalg.norm(g.data)), abs(numeric), 1e-3)
            error = abs(analytic - numeric) / size
            worst = max(worst, error)
            if not error <= tolerance:
                raise GradientError(
                    f"the derivative of order {now} with respect to input {position} of shape "
                    f"{x.shape} is {analytic:.9g} along a random direction, but the difference "
                    f"quotient is {numeric:.9g}: a relative error of {error:.1e}"
                )
    if now < order:
        for position in range(len(inputs)):
            part = _one(gradients, position)
            deeper = _check(part, [*inputs, u], order, now + 1, tolerance, rng)
            worst = max(worst, deeper)
    return worst


def _one(gradients: Callable[..., list[Tensor]], position: int) -> Callable[..., Tensor]:
    def recorded(*tensors: Tensor) -> Tensor:
        return gradients(*tensors)[position]

    return recorded


def _difference(
    f: Callable[..., Tensor], inputs: list[np.ndarray], position: int, v: np.ndarray, u: np.ndarray
) -> float:
    """Central difference of sum(u f) by one input along v."""
    values = []
    for sign in (1, -1):
        moved = list(inputs)
        moved[position] = inputs[position] + sign * STEP * v
        values.append(float(np.sum(u * f(*map(Tensor, moved)).data)))
    return (values[0] - values[1]) / (2 * STEP)

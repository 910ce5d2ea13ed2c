"""One optimiser step in one pass over memory, in place."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .jit import jit
from .threads import ELEMENTS, spread


def sgd(
    p: np.ndarray,
    g: np.ndarray,
    velocity: np.ndarray,
    *,
    lr: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> None:
    """Gradient descent with momentum: v = mu v + g, p -= lr v."""
    lr, momentum, weight_decay = _cast(p, lr, momentum, weight_decay)
    _in_place(lambda p, g, v: _sgd(p, g, v, lr, momentum, nesterov, weight_decay), g, p, velocity)


def rmsprop(
    p: np.ndarray,
    g: np.ndarray,
    square: np.ndarray,
    *,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
) -> None:
    """RMSProp: s = alpha s + (1-alpha) g^2, p -= lr g / (sqrt(s) + eps)."""
    numbers = _cast(p, lr, alpha, 1 - alpha, eps, weight_decay)
    _in_place(lambda p, g, s: _rmsprop(p, g, s, *numbers), g, p, square)


def adam(
    p: np.ndarray,
    g: np.ndarray,
    mean: np.ndarray,
    square: np.ndarray,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    step: int,
) -> None:
    """Adam, the decay decoupled as in AdamW; `step` counts from 1."""
    shrink, rate, root = 1 - lr * weight_decay, lr / (1 - beta1**step), math.sqrt(1 - beta2**step)
    numbers = _cast(p, shrink, beta1, 1 - beta1, beta2, 1 - beta2, rate, root, eps)
    _in_place(lambda p, g, m, s: _adam(p, g, m, s, *numbers), g, p, mean, square)


def _cast(p: np.ndarray, *numbers: float) -> list[float]:
    """`numbers` in p's dtype, so that the arithmetic is in it too."""
    return [p.dtype.type(number) for number in numbers]


def _in_place(loop: Callable[..., None], g: np.ndarray, *written: np.ndarray) -> None:
    """Run loop(p, g, states...) over pieces of g and the `written` arrays p, states..."""
    p = written[0]
    for array in (g, *written):
        if array.shape != p.shape:
            raise ValueError(f"parameter {p.shape} and {array.shape} must have the same shape")
    vectors = [np.ravel(array.astype(p.dtype, copy=False)) for array in written]
    slope = np.ravel(g.astype(p.dtype, copy=False))

    def work(start: int, stop: int) -> None:
        loop(vectors[0][start:stop], slope[start:stop], *(v[start:stop] for v in vectors[1:]))

    spread(work, p.size, grain=ELEMENTS)
    for array, vector in zip(written, vectors, strict=True):
        if not np.may_share_memory(array, vector):  # it was not contiguous: a copy
            array[...] = vector.reshape(array.shape)


@jit()
def _sgd(
    p: np.ndarray,
    g: np.ndarray,
    velocity: np.ndarray,
    lr: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> None:
    for i in range(p.size):
        slope = g[i] + weight_decay * p[i]
        velocity[i] = momentum * velocity[i] + slope
        p[i] -= lr * (slope + momentum * velocity[i] if nesterov else velocity[i])


@jit()
def _rmsprop(
    p: np.ndarray,
    g: np.ndarray,
    square: np.ndarray,
    lr: float,
    alpha: float,
    rest: float,
    eps: float,
    weight_decay: float,
) -> None:
    for i in range(p.size):
        slope = g[i] + weight_decay * p[i]
        square[i] = alpha * square[i] + rest * slope * slope
        p[i] -= lr * slope / (math.sqrt(square[i]) + eps)


@jit()
def _adam(
    p: np.ndarray,
    g: np.ndarray,
    mean: np.ndarray,
    square: np.ndarray,
    shrink: float,
    beta1: float,
    rest1: float,
    beta2: float,
    rest2: float,
    rate: float,
    root: float,
    eps: float,
) -> None:
    for i in range(p.size):
        mean[i] = beta1 * mean[i] + rest1 * g[i]
        square[i] = beta2 * square[i] + rest2 * g[i] * g[i]
        p[i] = shrink * p[i] - rate * mean[i] / (math.sqrt(square[i]) / root + eps)

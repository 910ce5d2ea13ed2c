"""One optimiser update of all parameters, in one pass over the memory of each, in place.

Denormal numbers are flushed to zero: moments decay to them and stay there (see `denormals`).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..checks import Arrays, each
from .channelwise import read_only
from .compiler.jit import jit
from .runtime.denormals import flush_denormals, restore_denormals
from .runtime.native_task import NativeTask
from .runtime.parallel import TASK_ELEMENTS, parallel_for

_CHUNK = 1 << 14  # elements of a large parameter in one chunk


def sgd(
    ps: Arrays,
    gs: Arrays,
    velocities: Arrays,
    *,
    lr: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> None:
    """Gradient descent with momentum: v = mu v + g, p -= lr v."""
    loop = _sgd_nesterov if nesterov else _sgd
    _in_place(loop, (lr, momentum, weight_decay), ps, gs, velocities)


def rmsprop(
    ps: Arrays,
    gs: Arrays,
    squares: Arrays,
    *,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
) -> None:
    """RMSProp: s = alpha s + (1-alpha) g^2, p -= lr g / (sqrt(s) + eps)."""
    _in_place(_rmsprop, (lr, alpha, 1 - alpha, eps, weight_decay), ps, gs, squares)


def adam(
    ps: Arrays,
    gs: Arrays,
    means: Arrays,
    squares: Arrays,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    step: int,
) -> None:
    """Adam, its decay added to the gradient, or `decoupled` as in AdamW; `step` counts from 1."""
    rate, root = lr / (1 - beta1**step), math.sqrt(1 - beta2**step)
    numbers = beta1, 1 - beta1, beta2, 1 - beta2, rate, root, eps
    if decoupled or not weight_decay:
        _in_place(_adamw, (*numbers, 1 - lr * weight_decay), ps, gs, means, squares)
    else:
        _in_place(_adam, (*numbers, weight_decay), ps, gs, means, squares)


def _in_place(loop: Callable[..., None], numbers: tuple[float, ...], *arguments: Arrays) -> None:
    """Run loop(p, g, states..., numbers, first, last) on all parameters, each in chunks.

    The numbers are in p's dtype, so the arithmetic is too.

    Raises:
        ValueError: if a parameter or a state is read-only, before anything is written.
    """
    tasks: list[tuple[NativeTask, int]] = []
    copies: list[tuple[np.ndarray, np.ndarray]] = []  # of written arrays in another layout than p
    typed: dict[np.dtype, np.ndarray] = {}
    for p, g, *states in each(*arguments):
        written = [p, *states]
        if not all(array.flags.writeable for array in written):
            raise ValueError(f"a parameter of shape {p.shape}, or its state, is read-only")
        if not p.flags.c_contiguous:
            order = sorted(range(p.ndim), key=lambda i: -p.strides[i])
            g, *written = (array.transpose(order) for array in (g, *written))
        vectors = [array.astype(p.dtype, copy=False).reshape(-1) for array in written]
        for array, vector in zip(written, vectors, strict=True):
            if not (array.flags.c_contiguous and array.dtype == p.dtype):
                copies.append((array, vector))
        vectors.insert(1, read_only(g.astype(p.dtype, copy=False).reshape(-1)))
        if p.dtype not in typed:
            typed[p.dtype] = np.array(numbers, p.dtype)
        tasks.append((NativeTask(loop, *vectors, typed[p.dtype]), p.size))
    for task, size in tasks:
        parallel_for(task, size, grain=_CHUNK if size > TASK_ELEMENTS else TASK_ELEMENTS)
    for array, vector in copies:
        array[...] = vector.reshape(array.shape)


@jit()
def _sgd(
    p: np.ndarray, g: np.ndarray, velocity: np.ndarray, numbers: np.ndarray, first: int, last: int
) -> None:
    lr, momentum, weight_decay = numbers[0], numbers[1], numbers[2]
    p, g, velocity = p[first:last], g[first:last], velocity[first:last]
    mode = flush_denormals()
    for i in range(p.size):
        velocity[i] = momentum * velocity[i] + (g[i] + weight_decay * p[i])
        p[i] -= lr * velocity[i]
    restore_denormals(mode)


@jit()
def _sgd_nesterov(
    p: np.ndarray, g: np.ndarray, velocity: np.ndarray, numbers: np.ndarray, first: int, last: int
) -> None:
    lr, momentum, weight_decay = numbers[0], numbers[1], numbers[2]
    p, g, velocity = p[first:last], g[first:last], velocity[first:last]
    mode = flush_denormals()
    for i in range(p.size):
        gradient = g[i] + weight_decay * p[i]
        velocity[i] = momentum * velocity[i] + gradient
        p[i] -= lr * (gradient + momentum * velocity[i])
    restore_denormals(mode)


@jit()
def _rmsprop(
    p: np.ndarray, g: np.ndarray, square: np.ndarray, numbers: np.ndarray, first: int, last: int
) -> None:
    lr, alpha, rest, eps, weight_decay = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    p, g, square = p[first:last], g[first:last], square[first:last]
    mode = flush_denormals()
    for i in range(p.size):
        gradient = g[i] + weight_decay * p[i]
        square[i] = alpha * square[i] + rest * gradient * gradient
        p[i] -= lr * gradient / (math.sqrt(square[i]) + eps)
    restore_denormals(mode)


@jit()
def _adamw(
    p: np.ndarray,
    g: np.ndarray,
    mean: np.ndarray,
    square: np.ndarray,
    numbers: np.ndarray,
    first: int,
    last: int,
) -> None:
    beta1, rest1, beta2, rest2 = numbers[0], numbers[1], numbers[2], numbers[3]
    rate, root, eps, shrink = numbers[4], numbers[5], numbers[6], numbers[7]
    p, g, mean, square = p[first:last], g[first:last], mean[first:last], square[first:last]
    mode = flush_denormals()
    for i in range(p.size):
        mean[i] = beta1 * mean[i] + rest1 * g[i]
        square[i] = beta2 * square[i] + rest2 * g[i] * g[i]
        p[i] = shrink * p[i] - rate * mean[i] / (math.sqrt(square[i]) / root + eps)
    restore_denormals(mode)


@jit()
def _adam(
    p: np.ndarray,
    g: np.ndarray,
    mean: np.ndarray,
    square: np.ndarray,
    numbers: np.ndarray,
    first: int,
    last: int,
) -> None:
    beta1, rest1, beta2, rest2 = numbers[0], numbers[1], numbers[2], numbers[3]
    rate, root, eps, weight_decay = numbers[4], numbers[5], numbers[6], numbers[7]
    p, g, mean, square = p[first:last], g[first:last], mean[first:last], square[first:last]
    mode = flush_denormals()
    for i in range(p.size):
        gradient = g[i] + weight_decay * p[i]
        mean[i] = beta1 * mean[i] + rest1 * gradient
        square[i] = beta2 * square[i] + rest2 * gradient * gradient
        p[i] -= rate * mean[i] / (math.sqrt(square[i]) / root + eps)
    restore_denormals(mode)

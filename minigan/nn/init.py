"""Initial values of weights.

Each function gives an initialiser, which draws an array from a generator, the weight's shape and
its fans: the number of inputs of one output value, and of outputs of one input value.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..random import Generator

Initializer = Callable[[Generator, tuple[int, ...], int, int], np.ndarray]


def normal(std: float = 0.02, mean: float = 0.0) -> Initializer:
    """N(mean, std^2); 0.02 is DCGAN's (Radford et al. 2015, section 4)."""
    return lambda rng, shape, fan_in, fan_out: rng.normal(shape, std) + np.float32(mean)


def uniform(limit: float) -> Initializer:
    """U(-limit, limit)."""
    return lambda rng, shape, fan_in, fan_out: rng.uniform(shape, -limit, limit)


def constant(value: float) -> Initializer:
    """The same value everywhere."""
    return lambda rng, shape, fan_in, fan_out: np.full(shape, value, np.float32)


def he(gain: float = math.sqrt(2)) -> Initializer:
    """N(0, gain^2 / fan_in), which keeps the variance through ReLU, forwards (He et al. 2015,
    arXiv:1502.01852).
    """
    return lambda rng, shape, fan_in, fan_out: rng.normal(shape, gain / math.sqrt(fan_in))


def glorot(gain: float = 1.0) -> Initializer:
    """U(-a, a), a = gain sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010, equation 16)."""
    return lambda rng, shape, fan_in, fan_out: uniform(gain * math.sqrt(6 / (fan_in + fan_out)))(
        rng, shape, fan_in, fan_out
    )


def orthogonal(gain: float = 1.0) -> Initializer:
    """Rows, or columns where those are fewer, orthogonal and of length `gain` (Saxe et al. 2014,
    arXiv:1312.6120).
    """

    def draw(rng: Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
        rows, columns = shape[0], math.prod(shape[1:])
        q, r = np.linalg.qr(rng.normal((max(rows, columns), min(rows, columns))).astype(np.float64))
        q *= np.where(np.diag(r) < 0, -1.0, 1.0)  # else the sign convention of QR biases the draw
        return (gain * (q if rows >= columns else q.T)).reshape(shape).astype(np.float32)

    return draw

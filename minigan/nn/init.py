"""Initial values of weights.

Each function gives an initialiser, which draws an array from a generator, the weight's shape and
its fans: the number of inputs of one output value, and of outputs of one input value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..device import is_array
from ..hints import absent
from ..random import Generator, takes_generator

Initializer = Callable[[Generator, tuple[int, ...], int, int], np.ndarray]


def normal(std: float = 0.02, *, mean: float = 0.0) -> Initializer:
    """N(mean, std^2); 0.02 is DCGAN's (Radford et al. 2015, section 4).

    >>> initial(normal(0.02), rng, (4, 3), 3, 4).shape
    (4, 3)
    """

    @takes_generator
    def draw(rng: Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
        return rng.normal(shape, std=std) + np.float32(mean)

    return draw


def uniform(limit: float) -> Initializer:
    """U(-limit, limit).

    >>> bool((abs(initial(uniform(0.1), rng, (4, 3), 3, 4)) <= 0.1).all())
    True
    """

    @takes_generator
    def draw(rng: Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
        return rng.uniform(shape, -limit, limit)

    return draw


def constant(value: float) -> Initializer:
    """The same value everywhere.

    >>> initial(constant(2.0), rng, (2,), 1, 2)
    array([2., 2.], dtype=float32)
    """
    return lambda rng, shape, fan_in, fan_out: np.full(shape, value, np.float32)


def he(gain: float = math.sqrt(2)) -> Initializer:
    """N(0, gain^2 / fan_in), which keeps the variance through ReLU, forwards (He et al. 2015,
    arXiv:1502.01852).

    >>> initial(he(), rng, (4, 3), 3, 4).shape
    (4, 3)
    """

    @takes_generator
    def draw(rng: Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
        return rng.normal(shape, std=gain / math.sqrt(fan_in))

    return draw


def glorot(gain: float = 1.0) -> Initializer:
    """U(-a, a), a = gain sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010, equation 16).

    >>> bool((abs(initial(glorot(), rng, (4, 3), 3, 4)) <= np.sqrt(6 / 7)).all())
    True
    """

    @takes_generator
    def draw(rng: Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
        limit = gain * math.sqrt(6 / (fan_in + fan_out))
        return rng.uniform(shape, -limit, limit)

    return draw


def orthogonal(gain: float = 1.0) -> Initializer:
    """Rows, or columns where those are fewer, orthogonal and of length `gain` (Saxe et al. 2014,
    arXiv:1312.6120).

    >>> w = initial(orthogonal(), rng, (2, 3), 3, 2)
    >>> bool(np.allclose(w @ w.T, np.eye(2), atol=1e-6))
    True
    """

    @takes_generator
    def draw(rng: Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
        rows, columns = shape[0], math.prod(shape[1:])
        q, r = np.linalg.qr(rng.normal((max(rows, columns), min(rows, columns))).astype(np.float64))
        q *= np.where(np.diag(r) < 0, -1.0, 1.0)  # else the sign convention of QR biases the draw
        return (gain * (q if rows >= columns else q.T)).reshape(shape).astype(np.float32)

    return draw


@takes_generator
def initial(
    init: Initializer, rng: Generator, shape: tuple[int, ...], fan_in: int, fan_out: int
) -> np.ndarray:
    """What an initialiser draws, as float32.

    Raises:
        ValueError: if it gives an array of another shape, or of no numbers.

    >>> layer = nn.Linear(3, 2, rng=rng, init=normal(0.02))  # which calls it
    >>> initial(constant(0.0), rng, (2,), 3, 2).dtype
    dtype('float32')
    """
    drawn: Any = init(rng, shape, fan_in, fan_out)
    if not is_array(drawn) or drawn.shape != shape or drawn.dtype.kind not in "iuf":
        given = f"{drawn.dtype} of shape {drawn.shape}" if is_array(drawn) else repr(drawn)
        raise ValueError(f"an initialiser must give numbers of shape {shape}, but gave {given}")
    return drawn.astype(np.float32, copy=False)


_GIVEN = (
    "a layer draws its weights as it is made, with what init= is: "
    "nn.Conv2d(3, 64, 4, rng=rng, init=nn.init.{name})"
)
_WAYS = {
    "normal_": _GIVEN.format(name="normal(0.02)"),
    "uniform_": _GIVEN.format(name="uniform(0.05)"),
    "constant_": _GIVEN.format(name="constant(0.1)"),
    "zeros_": _GIVEN.format(name="constant(0)"),
    "ones_": _GIVEN.format(name="constant(1)"),
    "kaiming_normal_": _GIVEN.format(name="he()"),
    "kaiming_uniform_": _GIVEN.format(name="he()"),
    "xavier_normal_": _GIVEN.format(name="glorot()"),
    "xavier_uniform_": _GIVEN.format(name="glorot()"),
    "orthogonal_": _GIVEN.format(name="orthogonal()"),
    "trunc_normal_": _GIVEN.format(name="normal(0.02)"),
}
if not TYPE_CHECKING:  # which shall find names that there are not
    __getattr__ = absent(__name__, _WAYS)

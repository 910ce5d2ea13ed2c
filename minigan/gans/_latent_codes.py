"""Latent codes to which a generator gives a meaning, and the bound on their mutual information.

InfoGAN (Chen et al. 2016, arXiv:1606.03657): G gets codes c beside its noise. A network Q describes
the posterior of each code given the sample, and E[log Q(c|x)] + H(c) is a lower bound of the mutual
information of code and sample. Only the type of a code knows its prior and the parameters of Q.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from ..ops import exp, mean, softmax_cross_entropy, square, stack
from ..random import Generator
from ..tensor import Array, Tensor


class Code:
    """A code c: `width` values of G's input, whose posterior Q describes by `parameters` numbers.

    `entropy` is H(c) in nats.
    """

    width: int
    parameters: int
    entropy: float

    def sample(self, rng: Generator, n: int) -> Array:
        """n codes from their prior, (n, width)."""
        raise TypeError(f"{type(self).__name__} has no sample method")

    def log_likelihood(self, q: Tensor, c: Array) -> Tensor:
        """log Q(c|x) in nats, (n,), of codes c (n, width) with Q's numbers q (n, parameters)."""
        raise TypeError(f"{type(self).__name__} has no log_likelihood method")

    def read(self, q: Array) -> Array:
        """The most probable value, (n,), from Q's numbers q (n, parameters)."""
        raise TypeError(f"{type(self).__name__} has no read method")

    def sweep(self, steps: int) -> Array:
        """Values for a row of a picture, in order, (m, width)."""
        raise TypeError(f"{type(self).__name__} has no sweep method")


class Categorical(Code):
    """One of `values` equally probable values, one-hot; Q gives their logits."""

    def __init__(self, values: int) -> None:
        self.width = self.parameters = values
        self.entropy = math.log(values)

    def sample(self, rng: Generator, n: int) -> Array:
        which = rng.integers(n, self.width)
        return np.eye(self.width, dtype=np.float32, like=which)[which]

    def log_likelihood(self, q: Tensor, c: Array) -> Tensor:
        return -softmax_cross_entropy(q, labels=c.argmax(axis=1))

    def read(self, q: Array) -> Array:
        return q.argmax(axis=1)

    def sweep(self, steps: int) -> Array:
        return np.eye(self.width, dtype=np.float32)  # each value once, whatever `steps` is


class Gaussian(Code):
    """A number from N(0, 1); Q is a Gaussian too, whose mean the network gives.

    Q's standard deviation is `std`. If that is None, the network gives its logarithm as well, and
    the bound can become tight. With a fixed one only the squared error of the mean is left.
    """

    width = 1
    entropy = 0.5 * math.log(2 * math.pi * math.e)

    def __init__(self, std: float | None = 1.0) -> None:
        self.std = std
        self.parameters = 2 if std is None else 1

    def sample(self, rng: Generator, n: int) -> Array:
        return rng.normal((n, 1))

    def log_likelihood(self, q: Tensor, c: Array) -> Tensor:
        centred = q[:, 0] - c[:, 0]
        if self.std is None:
            return -0.5 * (square(centred * exp(-q[:, 1])) + math.log(2 * math.pi)) - q[:, 1]
        return -0.5 * square(centred / self.std) - math.log(self.std * math.sqrt(2 * math.pi))

    def read(self, q: Array) -> Array:
        return q[:, 0]

    def sweep(self, steps: int) -> Array:
        return np.linspace(-2, 2, steps, dtype=np.float32)[:, None]


class Uniform(Gaussian):
    """A number from U(-1, 1); Q describes it as it does a Gaussian one.

    A sweep goes from -2 to 2, beyond what G has seen, as in the paper's Figure 2.
    """

    entropy = math.log(2)

    def sample(self, rng: Generator, n: int) -> Array:
        return rng.uniform((n, 1), -1.0, 1.0)


def information(codes: Sequence[Code], q: Tensor, c: Array) -> Tensor:
    """L_I of each code, (codes,): E[log Q(c|x)] + H(c) <= I(c; x), in nats (Chen et al. 2016,
    equation 5).

    The codes c are (n, all widths), Q's numbers q (n, all parameters), concatenated in order. The
    bound is the mutual information itself if Q is the posterior (equation 4).
    """
    widths, parameters = slices([k.width for k in codes]), slices([k.parameters for k in codes])
    return stack(
        [
            mean(code.log_likelihood(q[:, mine], c[:, its])) + code.entropy
            for code, mine, its in zip(codes, parameters, widths, strict=True)
        ]
    )


def read(codes: Sequence[Code], q: Array) -> Array:
    """The most probable value of each code, (n, codes), from Q's numbers (n, all parameters)."""
    parts = slices([code.parameters for code in codes])
    return np.stack([k.read(q[:, part]) for k, part in zip(codes, parts, strict=True)], axis=1)


def sweep(codes: Sequence[Code], c: Array, number: int, *, steps: int = 10) -> Array:
    """Codes (n * m, all widths): each of c (n, all widths) in turn with the code of this number,
    counted from 0, at its m values; a continuous one has m = steps.

    The other categorical codes take their values in turn along the n. So in a picture of n rows
    each row shows another value, as in the paper's Figure 2.
    """
    parts = slices([code.width for code in codes])
    rows = c.copy()
    for code, part in zip(codes, parts, strict=True):
        if isinstance(code, Categorical):
            rows[:, part] = code.sweep(steps)[np.arange(len(c)) % code.width]
    values = codes[number].sweep(steps)
    swept = rows.repeat(len(values), axis=0)
    swept[:, parts[number]] = np.tile(values, (len(c), 1))
    return swept


def slices(sizes: Sequence[int]) -> list[slice]:
    """The slices of parts of these sizes, one after another."""
    return [slice(end - size, end) for size, end in zip(sizes, accumulate(sizes), strict=True)]

"""Dense layers: linear maps, maxout, and look-up tables."""

from __future__ import annotations

import math

import numpy as np

from .. import ops
from ..device import on_host
from ..ops.maxout import bias_maxout
from ..random import Generator
from ..tensor import Array, Tensor
from .activation import Activation
from .init import Initializer, constant, he, normal
from .module import Module


class Linear(Module):
    """y = x W^T + b, and an activation if one is given.

    x is (N, in_features), weight (out_features, in_features), bias (out_features,) or None.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        rng: Generator,
        bias: bool = True,
        activation: Activation | None = None,
        init: Initializer | None = None,
        bias_init: Initializer | None = None,
    ) -> None:
        fans = in_features, out_features
        weight = (init or he())(rng, (out_features, in_features), *fans)
        # In memory it is W^T: so the product gives its gradient, and an optimiser reads both alike.
        self.weight = Tensor(np.asfortranarray(weight))
        self.bias = (
            Tensor((bias_init or constant(0))(rng, (out_features,), *fans)) if bias else None
        )
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return biased(ops.matmul(x, self.weight.T), self.bias, self.activation)

    def multiply_adds(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        return math.prod(x_shape[:-1]) * self.weight.size


class Maxout(Module):
    """The largest of `pieces` linear maps, for each unit (Goodfellow et al. 2013, arXiv:1302.4389).

    x is (N, in_features), the result (N, units). Rows u*pieces to (u+1)*pieces - 1 of the weight
    (units*pieces, in_features) are the pieces of unit u.
    """

    def __init__(
        self,
        in_features: int,
        units: int,
        pieces: int,
        *,
        rng: Generator,
        init: Initializer | None = None,
    ) -> None:
        self.linear = Linear(
            in_features, units * pieces, rng=rng, init=init, activation=_Largest(pieces)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


class _Largest(Activation):
    """The largest of each `pieces` neighbours: (N, units * pieces) to (N, units)."""

    def __init__(self, pieces: int) -> None:
        self.pieces = pieces

    def with_bias(self, x: Tensor, bias: Tensor) -> Tensor:
        return bias_maxout(x, bias, pieces=self.pieces)


class Embedding(Module):
    """A learned vector for each of `count` symbols, at first N(0, 1): (N,) to (N, features).

    Labels that lie on a card are not looked at: one that is no symbol has a vector of NaN.
    """

    def __init__(
        self, count: int, features: int, *, rng: Generator, init: Initializer | None = None
    ) -> None:
        self.weight = Tensor((init or normal(1.0))(rng, (count, features), count, features))

    def forward(self, labels: Array) -> Tensor:
        if not on_host(labels):
            known = (labels >= 0) & (labels < len(self.weight))
            rows = self.weight[np.where(known, labels, 0)]
            return ops.where(known[..., None], rows, math.nan)
        low, high = (labels.min(), labels.max()) if labels.size else (0, 0)
        if not 0 <= low <= high < len(self.weight):
            raise ValueError(
                f"labels from {low} to {high} do not fit an embedding of {len(self.weight)} symbols"
            )
        return self.weight[labels]


def biased(y: Tensor, bias: Tensor | None, activation: Activation | None) -> Tensor:
    """activation(y + bias), in one pass where both are there."""
    if bias is None:
        return y if activation is None else activation(y)
    if activation is None:
        return y + ops.elementwise.per_channel(bias, y)
    return activation.with_bias(y, bias)

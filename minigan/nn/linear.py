"""Dense layers: linear maps and maxout."""

from __future__ import annotations

import math

import numpy as np

from .. import ops
from ..ops.maxout import bias_maxout
from ..random import Generator, takes_generator
from ..tensor import GraphError, Tensor
from .activation import Activation, bias_activation, check_activation
from .arguments import bias_repr, check_sizes
from .init import Initializer, constant, he, initial
from .module import Module
from .parameters import Parameter


class Linear(Module):
    """y = x W^T + b, and an activation if one is given.

    x is (..., in_features), weight (out_features, in_features), bias (out_features,) or None; the
    result is (..., out_features).

    >>> nn.Linear(3, 2, rng=rng, activation=nn.ReLU())(mg.Tensor(rng.normal((5, 3)))).shape
    (5, 2)
    """

    takes_arrays = True

    @takes_generator
    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        rng: Generator,
        activation: Activation | None = None,
        init: Initializer | None = None,
        bias_init: Initializer | None = None,
    ) -> None:
        check_sizes(self, in_features=in_features, out_features=out_features)
        check_activation(self, activation)
        fans = in_features, out_features
        weight = initial(init or he(), rng, (out_features, in_features), *fans)
        # Stored as W^T: the layout in which the product gives the gradient, so both are read alike.
        self.weight = Parameter(np.asfortranarray(weight))
        first = bias_init or constant(0)
        self.bias = Parameter(initial(first, rng, (out_features,), *fans)) if bias else None
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        try:
            return ops.of_rows(self._rows, x)
        except ValueError as error:
            if x.ndim and x.shape[-1] != self.in_features:
                raise GraphError(
                    f"{type(self).__name__} takes {self.in_features} features, but x has "
                    f"{x.shape[-1]} in its last axis, of shape {x.shape}"
                ) from error
            raise

    def _rows(self, x: Tensor) -> Tensor:
        return bias_activation(ops.matmul(x, self.weight.T), self.bias, self.activation)

    @property
    def in_features(self) -> int:
        """The length of the vectors that it takes."""
        return self.weight.shape[1]

    @property
    def out_features(self) -> int:
        """The length of the vectors that it gives, before its activation."""
        return self.weight.shape[0]

    def extra_repr(self) -> str:
        return ", ".join([str(self.in_features), str(self.out_features), *bias_repr(self)])

    def multiply_adds(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        return math.prod(x_shape[:-1]) * self.weight.size


class Maxout(Module):
    """The largest of `pieces` linear maps, for each unit (Goodfellow et al. 2013, arXiv:1302.4389).

    x is (..., in_features), the result (..., units). Rows u*pieces to (u+1)*pieces - 1 of the
    weight (units*pieces, in_features) are the pieces of unit u.

    >>> nn.Maxout(3, 2, 5, rng=rng)(mg.Tensor(rng.normal((4, 3)))).shape
    (4, 2)
    """

    takes_arrays = True

    @takes_generator
    def __init__(
        self,
        in_features: int,
        units: int,
        pieces: int,
        *,
        rng: Generator,
        init: Initializer | None = None,
    ) -> None:
        check_sizes(self, in_features=in_features, units=units, pieces=pieces)
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

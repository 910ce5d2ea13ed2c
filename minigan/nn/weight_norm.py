"""Weight normalisation."""

from __future__ import annotations

import math

import numpy as np
from minigan_kernels.memo import writable

from .. import ops
from ..random import Generator, takes_generator
from ..tensor import Array, Tensor
from .activation import Activation, bias_activation, check_activation
from .arguments import check_sizes
from .init import Initializer, initial, normal
from .module import Module
from .parameters import Parameter


class WeightNormLinear(Module):
    """y = x W^T + b with the rows w = g v / |v|, and an activation if one is given.

    x is (..., in_features), v (out_features, in_features), g and b (out_features,). Length and
    direction of a row are learned separately (Salimans & Kingma 2016, arXiv:1602.07868, equation
    2). Without `learn_scale` g stays as `standardise` set it, so that noise between layers keeps
    its size in proportion; a growing g would make it negligible.

    >>> nn.WeightNormLinear(3, 2, rng=rng)(mg.Tensor(rng.normal((4, 3)))).shape
    (4, 2)
    """

    takes_arrays = True

    @takes_generator
    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        rng: Generator,
        activation: Activation | None = None,
        init: Initializer | None = None,
        learn_scale: bool = True,
    ) -> None:
        check_sizes(self, in_features=in_features, out_features=out_features)
        check_activation(self, activation)
        fans = in_features, out_features
        v = initial(init or normal(0.05), rng, (out_features, in_features), *fans)
        self.v = Parameter(np.asfortranarray(v))  # as in Linear
        g = np.ones(out_features, np.float32)
        self.g: Tensor | Array = Parameter(g) if learn_scale else g
        self.bias = Parameter(np.zeros(out_features, np.float32))
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return ops.of_rows(self._rows, x)

    def extra_repr(self) -> str:
        words = [str(self.v.shape[1]), str(self.v.shape[0])]
        words += ["learn_scale=False"] * (not isinstance(self.g, Tensor))
        words += [] if self.activation is None else [f"activation={self.activation!r}"]
        return ", ".join(words)

    def _rows(self, x: Tensor) -> Tensor:
        return bias_activation(self._normalised(x), self.bias, self.activation)

    def _normalised(self, x: Tensor) -> Tensor:
        # Scales the products, not the weights: a small batch has fewer of them.
        return ops.matmul(x, self.v.T) * (self.g / ops.sqrt(ops.sum(ops.square(self.v), axis=1)))

    def standardise(self, x: Tensor) -> None:
        """Set g and b so that every value before the activation has mean 0 and variance 1 over the
        samples x (N, in_features) (equation 4).
        """
        g = self.g.data if isinstance(self.g, Tensor) else self.g
        t = self._normalised(x).data / g
        mean, std = t.mean(axis=0), np.maximum(t.std(axis=0), 1e-6)
        with writable(g, self.bias.data):
            g[...], self.bias.data[...] = 1 / std, -mean / std

    def multiply_adds(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        return math.prod(x_shape[:-1]) * self.v.size

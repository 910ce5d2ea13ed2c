"""Look-up tables of learned vectors."""

from __future__ import annotations

import math

import numpy as np

from .. import ops
from ..device import on_host
from ..random import Generator
from ..tensor import Array, Tensor
from .init import Initializer, normal
from .module import Module


class Embedding(Module):
    """A learned vector for each of `count` symbols, initially N(0, 1): (N,) to (N, features).

    Labels on a GPU are not checked: one that is no symbol gets a vector of NaN.
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

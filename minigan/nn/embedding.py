"""Look-up tables of learned vectors."""

from __future__ import annotations

import math

import numpy as np

from .. import ops
from ..device import on_host
from ..ops.labels import as_labels
from ..random import Generator, takes_generator
from ..tensor import Array, Tensor
from .arguments import check_sizes
from .init import Initializer, initial, normal
from .module import Module
from .parameters import Parameter


class Embedding(Module):
    """A learned vector for each of `count` symbols, initially N(0, 1): (N,) to (N, features).

    The labels are integers: an array, a tensor or a list.
    Labels on a GPU are not checked: one that is no symbol gets a vector of NaN.

    >>> nn.Embedding(10, 4, rng=rng)(np.array([3, 1, 3])).shape
    (3, 4)
    """

    @takes_generator
    def __init__(
        self, count: int, features: int, *, rng: Generator, init: Initializer | None = None
    ) -> None:
        check_sizes(self, count=count, features=features)
        weight = initial(init or normal(1.0), rng, (count, features), count, features)
        self.weight = Parameter(weight)

    def forward(self, labels: Array) -> Tensor:
        labels = as_labels(labels)
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

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}"

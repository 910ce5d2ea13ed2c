"""Dropout."""

from __future__ import annotations

from ..random import Generator, takes_generator
from ..tensor import Tensor, adopt
from .arguments import check_floating
from .module import Module


class Dropout(Module):
    """In training keep each value with probability `keep`, scaled by 1 / keep; else set it to 0.

    Srivastava et al. 2014. The masks come from `rng`, the generator of the whole run.
    """

    takes_arrays = True

    @takes_generator
    def __init__(self, keep: float, *, rng: Generator) -> None:
        if not 0 < keep <= 1:
            raise ValueError(f"dropout keeps values with a probability in (0, 1], not {keep}")
        self.keep = keep
        self.rng = rng

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.keep == 1:
            return x
        check_floating(self, x)
        mask = self.rng.dropout_mask(x.shape, self.keep)
        return x * adopt(mask.astype(x.dtype, copy=False))

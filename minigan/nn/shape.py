"""Layers that pass x on, or change its shape alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import ops
from ..tensor import Tensor
from .module import Module


class Identity(Module):
    """x itself: a layer where there is to be none. Arguments are taken and not used, so that it can
    stand for any layer.

    >>> nn.Identity()([1.0, 2.0])
    Tensor([1., 2.], float32)
    """

    takes_arrays = True

    def __init__(self, *unused: Any, **unused_too: Any) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        return x


class Unflatten(Module):
    """The axis `dim` of x as several, of the sizes `unflattened_size`, one of which may be -1.

    `nn.Reshape(C, H, W)` does so to whole samples: (N, ...) to (N, C, H, W).

    Raises:
        ValueError: if the sizes are none, or not those of the axis.

    >>> nn.Unflatten(1, (3, 2, 2))(np.zeros((5, 12), np.float32)).shape
    (5, 3, 2, 2)
    """

    takes_arrays = True

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        sizes = tuple(unflattened_size) if isinstance(unflattened_size, tuple | list) else ()
        known = [n for n in sizes if isinstance(n, int) and n >= 0]
        if not sizes or len(known) + sizes.count(-1) < len(sizes) or sizes.count(-1) > 1:
            raise ValueError(
                f"Unflatten takes the sizes of the new axes, as (64, 7, 7), one of which may be "
                f"-1, not {unflattened_size!r}"
            )
        self.dim, self.unflattened_size = dim, sizes

    def forward(self, x: Tensor) -> Tensor:
        if not -x.ndim <= self.dim < x.ndim:
            raise ValueError(f"Unflatten of axis {self.dim} takes no x of shape {x.shape}")
        axis, sizes = self.dim % x.ndim, self.unflattened_size
        count = abs(math.prod(sizes))
        if x.shape[axis] != count and not (-1 in sizes and count and x.shape[axis] % count == 0):
            raise ValueError(
                f"axis {self.dim} of x {x.shape} has {x.shape[axis]} values, which are no {sizes}"
            )
        return ops.reshape(x, (*x.shape[:axis], *sizes, *x.shape[axis + 1 :]))

"""Bias and maxout, fused."""

from __future__ import annotations

import minigan_kernels as kernels

from ..arrays import floats
from ..fused import fused
from ..tensor import Tensor
from .elementwise import per_channel
from .reduction import max
from .shape import reshape


@fused(
    lambda x, bias, **k: (kernels.bias_maxout(x, bias, **k), ()),
    lambda g, y, residuals, x, bias, **k: kernels.bias_maxout_backward(g, y, x, bias, **k),
    check=floats,
)
def bias_maxout(x: Tensor, bias: Tensor, *, pieces: int) -> Tensor:
    """The largest of each `pieces` neighbours of x + bias, in one pass.

    x is (N, units * pieces), bias (units * pieces,), the result (N, units) (Goodfellow et al. 2013,
    arXiv:1302.4389).
    """
    return max(reshape(x + per_channel(bias, x), (len(x), -1, pieces)), axis=2)

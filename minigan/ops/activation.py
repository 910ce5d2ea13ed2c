"""Activations that are more than a slope on each side of 0."""

from __future__ import annotations

import math

import minigan_kernels as kernels

from ..arrays import floats
from ..fused import fused
from ..tensor import Tensor, primitive, tensors
from .elementwise import exp, per_channel, real, sigmoid, tanh, where

erf = primitive(
    kernels.erf,
    doc="""The error function of x, in [-1, 1].

    >>> mg.erf(mg.Tensor([0.0, 1.0])).numpy().round(3)
    array([0.   , 0.843], dtype=float32)
    """,
    check=floats,
)
erf.gradients(lambda g, y, x: g * (2 / math.sqrt(math.pi)) * exp(-x * x))


@fused(
    lambda x: (kernels.silu(x), ()),
    lambda g, y, residuals, x: (kernels.silu_backward(g, x),),
    check=floats,
)
def silu(x: Tensor) -> Tensor:
    """x sigmoid(x), a smooth ReLU (Elfwing et al. 2018, arXiv:1702.03118; called Swish by
    Ramachandran et al. 2017, arXiv:1710.05941).

    >>> mg.silu(mg.Tensor([-1.0, 0.0, 1.0])).numpy().round(3)
    array([-0.269,  0.   ,  0.731], dtype=float32)
    """
    return x * sigmoid(x)


@fused(
    lambda x: (kernels.gelu(x), ()),
    lambda g, y, residuals, x: (kernels.gelu_backward(g, x),),
    check=floats,
)
def gelu_erf(x: Tensor) -> Tensor:
    """x Phi(x), see `gelu`."""
    return x * (0.5 * (1 + erf(x * math.sqrt(0.5))))


gelu_erf.shown = "gelu"


def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """x Phi(x), where Phi(x) = (1 + erf(x / sqrt(2))) / 2 is the normal distribution function
    (Hendrycks & Gimpel 2016, arXiv:1606.08415).

    With `approximate="tanh"` it is x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, which differs
    by less than 0.0005.

    Raises:
        ValueError: for another approximation.

    >>> mg.gelu(mg.Tensor([-1.0, 0.0, 1.0])).numpy().round(3)
    array([-0.159,  0.   ,  0.841], dtype=float32)
    """
    if approximate == "none":
        return gelu_erf(x)
    check_approximation(approximate)
    x = real(x)
    return 0.5 * x * (1 + tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))))


def check_approximation(name: str) -> None:
    """Check that GELU has an approximation of this name.

    Raises:
        ValueError: if it has not.
    """
    if name not in ("none", "tanh"):
        raise ValueError(f'the approximation of GELU is "none" or "tanh", not {name!r}')


def prelu(x: Tensor, weight: Tensor) -> Tensor:
    """x where x > 0, else weight * x (He et al. 2015, arXiv:1502.01852).

    x is (N, C, ...), and the weight (C,), or (1,) for all channels.

    Raises:
        ValueError: if the weight has neither one value nor one a channel.

    >>> mg.prelu(mg.Tensor([-2.0, 3.0]), mg.Tensor([0.25])).numpy().tolist()
    [-0.5, 3.0]
    """
    x, weight = (real(t) for t in tensors(x, weight))
    if weight.shape != (1,):
        if weight.shape != x.shape[1:2]:
            raise ValueError(
                f"the weight of a PReLU of x {x.shape} is (1,), or has one value for each channel; "
                f"it is {weight.shape}"
            )
        weight = per_channel(weight, x)
    return where(x.data > 0, x, weight * x)

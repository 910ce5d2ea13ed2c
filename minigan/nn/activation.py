"""Activations as modules."""

from __future__ import annotations

from typing import Any

import numpy as np
from minigan_kernels.epilogue import Epilogue

from .. import ops
from ..ops.activation import check_approximation
from ..tensor import Tensor
from .arguments import check_sizes
from .module import Module
from .parameters import Parameter


class Activation(Module):
    """A function of each value. One with an `epilogue` is fused with the bias before it.

    >>> issubclass(nn.ReLU, nn.Activation)
    True
    """

    takes_arrays = True
    epilogue: Epilogue | None = None  # the kernels' name for it, if they can end in it

    def with_bias(self, x: Tensor, bias: Tensor) -> Tensor:
        """f(x + bias) for x (N, C, ...) and bias (C,)."""
        if self.epilogue is None:
            return self(ops.bias_activation(x, bias))
        return ops.bias_activation(x, bias, self.epilogue)


class LeakyReLU(Activation):
    """x where x > 0, else slope * x; 0 <= slope <= 1 (Maas et al. 2013).

    >>> nn.LeakyReLU(0.5)(mg.Tensor([-2.0, 2.0])).numpy()
    array([-1.,  2.], dtype=float32)
    """

    def __init__(self, slope: float = 0.01, inplace: bool = False) -> None:
        refuse_inplace(self, inplace)
        if not 0 <= slope <= 1:
            raise ValueError(f"the slope of LeakyReLU must be between 0 and 1, not {slope}")
        self.slope = slope
        self.epilogue = Epilogue("leaky_relu", slope)

    def forward(self, x: Tensor) -> Tensor:
        return ops.leaky_relu(x, self.slope)


class ReLU(LeakyReLU):
    """max(x, 0) (Nair & Hinton 2010).

    >>> nn.ReLU()(mg.Tensor([1.0, 2.0])).numpy()
    array([1., 2.], dtype=float32)
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(slope=0.0, inplace=inplace)

    def extra_repr(self) -> str:
        return ""


class ELU(Activation):
    """x where x > 0, else alpha (exp(x) - 1) (Clevert et al. 2016, arXiv:1511.07289).

    >>> nn.ELU()(mg.Tensor([-200.0, 2.0])).numpy()
    array([-1.,  2.], dtype=float32)
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        return ops.elu(x, self.alpha)


class Softplus(Activation):
    """log(1 + exp(x)), above 0: a smooth ReLU (Dugas et al. 2001).

    >>> nn.Softplus()(mg.Tensor([-200.0, 200.0])).numpy()
    array([  0., 200.], dtype=float32)
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.softplus(x)


class GELU(Activation):
    """x Phi(x), with the normal distribution function Phi (Hendrycks & Gimpel 2016,
    arXiv:1606.08415); see `minigan.gelu`, also for `approximate="tanh"`.

    >>> nn.GELU()([-1.0, 0.0, 1.0]).numpy().round(3)
    array([-0.159,  0.   ,  0.841], dtype=float32)
    """

    def __init__(self, approximate: str = "none") -> None:
        check_approximation(approximate)
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        return ops.gelu(x, self.approximate)


class SiLU(Activation):
    """x sigmoid(x), also called Swish (Elfwing et al. 2018, arXiv:1702.03118; Ramachandran et al.
    2017, arXiv:1710.05941).

    >>> nn.SiLU()([-1.0, 0.0, 1.0]).numpy().round(3)
    array([-0.269,  0.   ,  0.731], dtype=float32)
    """

    def __init__(self, inplace: bool = False) -> None:
        refuse_inplace(self, inplace)

    def forward(self, x: Tensor) -> Tensor:
        return ops.silu(x)


class PReLU(Activation):
    """x where x > 0, else weight * x, with a weight that is learned (He et al. 2015,
    arXiv:1502.01852).

    x is (N, C, ...). There is one weight for all channels, or C of them, which begin as `init`.

    >>> nn.PReLU()([-2.0, 3.0]).numpy()
    array([-0.5,  3. ], dtype=float32)
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        check_sizes(self, num_parameters=num_parameters)
        self.weight = Parameter(np.full(num_parameters, init, np.float32))

    def forward(self, x: Tensor) -> Tensor:
        return ops.prelu(x, self.weight)


class Softmax(Module):
    """exp(x) / sum(exp(x)) over the axis `dim`, so that the values there are probabilities.

    A loss of logits, such as `losses.softmax_cross_entropy`, has it in itself.

    >>> nn.Softmax(dim=1)([[0.0, 0.0]]).numpy()
    array([[0.5, 0.5]], dtype=float32)
    """

    takes_arrays = True

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return ops.softmax(x, self.dim)


class Tanh(Activation):
    """tanh(x), in (-1, 1).

    >>> nn.Tanh()(mg.Tensor([0.0])).numpy()
    array([0.], dtype=float32)
    """

    epilogue = Epilogue("tanh")

    def forward(self, x: Tensor) -> Tensor:
        return ops.tanh(x)


class Sigmoid(Activation):
    """1 / (1 + exp(-x)), in (0, 1).

    >>> nn.Sigmoid()(mg.Tensor([0.0])).numpy()
    array([0.5], dtype=float32)
    """

    epilogue = Epilogue("sigmoid")

    def forward(self, x: Tensor) -> Tensor:
        return ops.sigmoid(x)


def refuse_inplace(owner: Module, inplace: bool) -> None:
    """Make sure that a layer is not asked to write its input.

    Raises:
        TypeError: naming the layer.
    """
    if inplace:
        kind = type(owner).__name__
        raise TypeError(f"a tensor is never written in place: leave inplace out of {kind}")


def check_activation(owner: Module, activation: Any) -> None:
    """Make sure that the activation of a layer is one.

    Raises:
        TypeError: naming the layer, with the way out.
    """
    if activation is not None and not isinstance(activation, Activation):
        kind = type(owner).__name__
        raise TypeError(
            f"the activation of {kind} must be a layer such as nn.ReLU(), not {activation!r}"
        )


def bias_activation(y: Tensor, bias: Tensor | None, activation: Activation | None) -> Tensor:
    """activation(y + bias); either may be None."""
    if bias is None:
        return y if activation is None else activation(y)
    return ops.bias_activation(y, bias) if activation is None else activation.with_bias(y, bias)

"""Convolutional layers over images (N, C, H, W)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from minigan_kernels.checks import Pair, pair
from minigan_kernels.epilogue import LINEAR
from minigan_kernels.layouts import conv_weight

from .. import ops
from ..random import Generator, takes_generator
from ..tensor import Tensor
from .activation import Activation, bias_activation, check_activation
from .arguments import check_sizes
from .init import Initializer, constant, he, initial
from .module import Module
from .parameters import Parameter


class _Convolution(Module):
    """The common part of both convolutions: weight, bias, options, and an activation."""

    takes_arrays = True
    operation: Callable[..., Tensor]
    weight: Tensor
    bias: Tensor | None
    activation: Activation | None
    options: dict[str, Any]

    def _check(
        self, in_channels: int, out_channels: int, groups: int, activation: Activation | None
    ) -> None:
        check_sizes(self, in_channels=in_channels, out_channels=out_channels, groups=groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{in_channels} input and {out_channels} output channels of a "
                f"{type(self).__name__} do not split into {groups} groups"
            )
        check_activation(self, activation)

    def forward(self, x: Tensor) -> Tensor:
        """activation(convolution + bias), by one kernel if possible.

        This is the only place that decides whether the three are fused: there must be a bias, and
        the activation, if any, must have an epilogue.
        """
        epilogue = LINEAR if self.activation is None else self.activation.epilogue
        if self.bias is None or epilogue is None:
            y = self.operation(x, self.weight, **self.options)
            return bias_activation(y, self.bias, self.activation)
        return self.operation(x, self.weight, self.bias, epilogue=epilogue, **self.options)


class Conv2d(_Convolution):
    """Convolution, and an activation if one is given.

    x is (N, in_channels, H, W), weight (out_channels, in_channels/groups, kH, kW); see
    `minigan.conv2d`.
    """

    operation = staticmethod(ops.conv2d)

    @takes_generator
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        *,
        rng: Generator,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
        activation: Activation | None = None,
        init: Initializer | None = None,
    ) -> None:
        self._check(in_channels, out_channels, groups, activation)
        kernel = pair(kernel_size, "kernel_size", least=1)
        shape = (out_channels, in_channels // groups, *kernel)
        fans = math.prod(shape[1:]), out_channels // groups * math.prod(kernel)
        self.options: dict[str, Any] = {
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
        }
        self.weight = Parameter(conv_weight(initial(init or he(), rng, shape, *fans)))
        self.bias = Parameter(constant(0)(rng, (out_channels,), *fans)) if bias else None
        self.activation = activation

    def multiply_adds(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        return math.prod(y_shape) * math.prod(self.weight.shape[1:])


class ConvTranspose2d(_Convolution):
    """Transposed convolution, and an activation if one is given.

    x is (N, in_channels, H, W), weight (in_channels, out_channels/groups, kH, kW); see
    `minigan.conv_transpose2d`, also for `output_padding`.
    """

    operation = staticmethod(ops.conv_transpose2d)

    @takes_generator
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        *,
        rng: Generator,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        output_padding: int | Pair = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
        activation: Activation | None = None,
        init: Initializer | None = None,
    ) -> None:
        self._check(in_channels, out_channels, groups, activation)
        kernel = pair(kernel_size, "kernel_size", least=1)
        steps = pair(stride, "stride", least=1)
        shape = (in_channels, out_channels // groups, *kernel)
        # Of the in_channels * kH * kW products near an output value, one in stride^2 reaches it.
        reach = max(1, math.prod(kernel) // math.prod(steps))
        fans = in_channels // groups * reach, math.prod(shape[1:])
        self.options: dict[str, Any] = {
            "stride": stride,
            "padding": padding,
            "output_padding": output_padding,
            "dilation": dilation,
            "groups": groups,
        }
        self.weight = Parameter(conv_weight(initial(init or he(), rng, shape, *fans)))
        self.bias = Parameter(constant(0)(rng, (out_channels,), *fans)) if bias else None
        self.activation = activation

    def multiply_adds(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        return math.prod(x_shape) * math.prod(self.weight.shape[1:])

"""Convolutional layers over images (N, C, H, W)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from minigan_kernels.checks import Pair, pair
from minigan_kernels.epilogue import LINEAR
from minigan_kernels.layouts import conv_weight

from .. import ops
from ..random import Generator
from ..tensor import Tensor
from .activation import Activation
from .init import Initializer, constant, he
from .linear import biased
from .module import Module


class Conv2d(Module):
    """Convolution, and an activation if one is given.

    x is (N, in_channels, H, W), weight (out_channels, in_channels/groups, kH, kW); see
    `minigan.conv2d`.
    """

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
        kernel = pair(kernel_size, "kernel_size", least=1)
        shape = (out_channels, in_channels // groups, *kernel)
        fans = math.prod(shape[1:]), out_channels // groups * math.prod(kernel)
        self.options: dict[str, Any] = {
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
        }
        self.weight = Tensor(conv_weight((init or he())(rng, shape, *fans)))
        self.bias = Tensor(constant(0)(rng, (out_channels,), *fans)) if bias else None
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return _convolved(ops.conv2d, self, x)

    def multiply_adds(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        return math.prod(y_shape) * math.prod(self.weight.shape[1:])


class ConvTranspose2d(Module):
    """Transposed convolution, and an activation if one is given.

    x is (N, in_channels, H, W), weight (in_channels, out_channels/groups, kH, kW); see
    `minigan.conv_transpose2d`, also for `output_padding`.
    """

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
        kernel = pair(kernel_size, "kernel_size", least=1)
        steps = pair(stride, "stride", least=1)
        shape = (in_channels, out_channels // groups, *kernel)
        # Of the in_channels * kH * kW products around an output value, one in stride^2 reaches it.
        reach = max(1, math.prod(kernel) // math.prod(steps))
        fans = in_channels // groups * reach, math.prod(shape[1:])
        self.options: dict[str, Any] = {
            "stride": stride,
            "padding": padding,
            "output_padding": output_padding,
            "dilation": dilation,
            "groups": groups,
        }
        self.weight = Tensor(conv_weight((init or he())(rng, shape, *fans)))
        self.bias = Tensor(constant(0)(rng, (out_channels,), *fans)) if bias else None
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return _convolved(ops.conv_transpose2d, self, x)

    def multiply_adds(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        return math.prod(x_shape) * math.prod(self.weight.shape[1:])


def _convolved(
    convolution: Callable[..., Tensor], layer: Conv2d | ConvTranspose2d, x: Tensor
) -> Tensor:
    """activation(convolution + bias), in one pass where both are there and it can be."""
    epilogue = layer.activation.epilogue if layer.activation else LINEAR
    if layer.bias is None or epilogue is None:
        y = convolution(x, layer.weight, **layer.options)
        return biased(y, layer.bias, layer.activation)
    return convolution(x, layer.weight, layer.bias, epilogue=epilogue, **layer.options)


class UpsampleNearest(Module):
    """Each pixel as a block of factor x factor."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return ops.upsample_nearest(x, self.factor)


class MaxPool2d(Module):
    """Maximum of each window; the stride is the kernel's size unless given."""

    def __init__(
        self, kernel_size: int | Pair, *, stride: int | Pair | None = None, padding: int = 0
    ):
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, x: Tensor) -> Tensor:
        return ops.max_pool2d(x, self.kernel_size, stride=self.stride, padding=self.padding)


class AvgPool2d(MaxPool2d):
    """Mean of each window, padding counted as zeros; the stride is the kernel's size if None."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.avg_pool2d(x, self.kernel_size, stride=self.stride, padding=self.padding)

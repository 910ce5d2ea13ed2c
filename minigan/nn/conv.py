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
from .arguments import bias_repr, check_images, check_sizes, named_padding
from .init import Initializer, constant, he, initial
from .module import Module
from .parameters import Parameter

_USUAL = {"stride": "1", "padding": "0", "output_padding": "0", "dilation": "1", "groups": "1"}


class _Convolution(Module):
    """The common part of all convolutions; sizes are those of a weight (out, in/groups, ...)."""

    takes_arrays = True
    operation: Callable[..., Tensor]
    weight: Tensor
    bias: Tensor | None
    activation: Activation | None
    options: dict[str, Any]

    beyond: Pair | None = None  # zeros beyond the padding, at the end of each axis of x

    def _check(
        self, in_channels: int, out_channels: int, activation: Activation | None, **options: Any
    ) -> None:
        kind, groups = type(self).__name__, options.pop("groups")
        check_sizes(self, in_channels=in_channels, out_channels=out_channels, groups=groups)
        for name, value in options.items():
            pair(value, f"{name} of {kind}", least=0 if name.endswith("padding") else 1)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{in_channels} input and {out_channels} output channels of a {kind} do not split "
                f"into {groups} groups"
            )
        check_activation(self, activation)

    def forward(self, x: Tensor) -> Tensor:
        """activation(convolution + bias), by one kernel if possible.

        This is the only place that decides whether the three are fused: there must be a bias, and
        the activation, if any, must have an epilogue.
        """
        epilogue = LINEAR if self.activation is None else self.activation.epilogue
        try:
            if self.beyond is not None:
                x = ops.pad(x, ((0, 0), (0, 0), (0, self.beyond[0]), (0, self.beyond[1])))
            if self.bias is None or epilogue is None:
                y = self.operation(x, self.weight, **self.options)
                return bias_activation(y, self.bias, self.activation)
            return self.operation(x, self.weight, self.bias, epilogue=epilogue, **self.options)
        except ValueError as error:
            check_images(self, x, self.in_channels, error)
            raise

    @property
    def in_channels(self) -> int:
        """The channels that x has."""
        return self.weight.shape[1] * self.options["groups"]

    @property
    def out_channels(self) -> int:
        """The channels that the result has."""
        return self.weight.shape[0]

    def multiply_adds(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        return math.prod(y_shape) * math.prod(self.weight.shape[1:])

    def extra_repr(self) -> str:
        words = [str(self.in_channels), str(self.out_channels)]
        words.append(f"kernel_size={_shortly(self.weight.shape[2:])}")
        for name, value in self.options.items():
            same = name == "padding" and self.beyond is not None
            if not same and _shortly(value) != _USUAL[name]:
                words.append(f"{name}={_shortly(value)}")
        if self.beyond is not None:
            words.append("padding='same'")
        return ", ".join([*words, *bias_repr(self)])


class Conv2d(_Convolution):
    """Convolution, and an activation if one is given.

    x is (N, in_channels, H, W), weight (out_channels, in_channels/groups, kH, kW); see
    `minigan.conv2d`. `padding` "same" gives the result x's height and width, at stride 1: an even
    kernel gets the odd zero at the end of an axis; "valid" is 0.

    >>> layer = nn.Conv2d(3, 8, 4, stride=2, padding=1, rng=rng, activation=nn.LeakyReLU(0.2))
    >>> layer(mg.Tensor(rng.normal((2, 3, 8, 8)))).shape
    (2, 8, 4, 4)
    """

    operation = staticmethod(ops.conv2d)

    @takes_generator
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair | str = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        rng: Generator,
        activation: Activation | None = None,
        init: Initializer | None = None,
    ) -> None:
        kernel = pair(kernel_size, "kernel_size of Conv2d", least=1)
        if isinstance(padding, str):
            strides = pair(stride, "stride of Conv2d", least=1)
            steps = pair(dilation, "dilation of Conv2d", least=1)
            reach = [d * (k - 1) for d, k in zip(steps, kernel, strict=True)]
            padding, odd = named_padding(self, padding, reach, strides)
            self.beyond = odd if any(odd) else None
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        self._check(in_channels, out_channels, activation, **options)
        shape = (out_channels, in_channels // groups, *kernel)
        fans = math.prod(shape[1:]), out_channels // groups * math.prod(kernel)
        self.options: dict[str, Any] = options
        self.weight = Parameter(conv_weight(initial(init or he(), rng, shape, *fans)))
        self.bias = Parameter(constant(0)(rng, (out_channels,), *fans)) if bias else None
        self.activation = activation


class ConvTranspose2d(_Convolution):
    """Transposed convolution, and an activation if one is given.

    x is (N, in_channels, H, W), weight (in_channels, out_channels/groups, kH, kW); see
    `minigan.conv_transpose2d`, also for `output_padding`.

    >>> layer = nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1, rng=rng)
    >>> layer(mg.Tensor(rng.normal((2, 8, 4, 4)))).shape
    (2, 3, 8, 8)
    """

    operation = staticmethod(ops.conv_transpose2d)

    @takes_generator
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        output_padding: int | Pair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | Pair = 1,
        *,
        rng: Generator,
        activation: Activation | None = None,
        init: Initializer | None = None,
    ) -> None:
        kernel = pair(kernel_size, "kernel_size of ConvTranspose2d", least=1)
        self.options: dict[str, Any] = {
            "stride": stride,
            "padding": padding,
            "output_padding": output_padding,
            "dilation": dilation,
            "groups": groups,
        }
        self._check(in_channels, out_channels, activation, **self.options)
        steps = pair(stride, "stride", least=1)
        shape = (in_channels, out_channels // groups, *kernel)
        # Of the in_channels * kH * kW products near an output value, one in stride^2 reaches it.
        reach = max(1, math.prod(kernel) // math.prod(steps))
        fans = in_channels // groups * reach, math.prod(shape[1:])
        self.weight = Parameter(conv_weight(initial(init or he(), rng, shape, *fans)))
        self.bias = Parameter(constant(0)(rng, (out_channels,), *fans)) if bias else None
        self.activation = activation

    @property
    def in_channels(self) -> int:
        return self.weight.shape[0]

    @property
    def out_channels(self) -> int:
        return self.weight.shape[1] * self.options["groups"]

    def multiply_adds(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        return math.prod(x_shape) * math.prod(self.weight.shape[1:])


def _shortly(both: Any) -> str:
    """One number for a pair of equal ones."""
    equal = isinstance(both, tuple | list) and len({*both}) == 1
    return str(both[0] if equal else both)

"""Convolutional layer over sequences (N, C, L)."""

from __future__ import annotations

import math
from typing import Any

from minigan_kernels.layouts import conv_weight

from .. import ops
from ..ops.sequences import conv_of_height_1
from ..random import Generator, takes_generator
from ..tensor import Tensor
from .activation import Activation
from .arguments import check_sizes, named_padding
from .conv import _Convolution
from .init import Initializer, constant, he, initial
from .parameters import Parameter


class Conv1d(_Convolution):
    """Convolution of sequences, and an activation if one is given.

    x is (N, in_channels, L), weight (out_channels, in_channels/groups, k); see `minigan.conv1d`.
    `padding` "same" gives the result x's length, at stride 1: an even kernel gets the odd zero at
    the end; "valid" is 0.

    >>> layer = nn.Conv1d(4, 8, 3, padding=1, rng=mg.Generator(0))
    >>> layer(np.zeros((2, 4, 10), np.float32)).shape
    (2, 8, 10)
    """

    operation = staticmethod(conv_of_height_1)

    @takes_generator
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int | str = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        rng: Generator,
        activation: Activation | None = None,
        init: Initializer | None = None,
    ) -> None:
        check_sizes(self, kernel_size=kernel_size, stride=stride, dilation=dilation)
        self._check(in_channels, out_channels, activation, groups=groups)
        if isinstance(padding, str):
            reach = dilation * (kernel_size - 1)
            (padding,), (odd,) = named_padding(self, padding, [reach], (stride,))
            if odd:
                self.beyond = 0, odd
        elif not isinstance(padding, int) or padding < 0:
            raise ValueError(f"padding of Conv1d must be an integer of at least 0, not {padding!r}")
        shape = (out_channels, in_channels // groups, kernel_size)
        fans = math.prod(shape[1:]), out_channels // groups * kernel_size
        self.options: dict[str, Any] = {
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
        }
        weight = initial(init or he(), rng, shape, *fans)
        self.weight = Parameter(conv_weight(weight[:, :, None])[:, :, 0])
        self.bias = Parameter(constant(0)(rng, (out_channels,), *fans)) if bias else None
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 3 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"Conv1d takes sequences (N, {self.in_channels}, L), but x has shape {x.shape}"
            )
        return ops.squeeze(super().forward(ops.expand_dims(x, 2)), 2)

"""Convolutional layer over sequences (N, C, L)."""

from __future__ import annotations

import math
from typing import Any

from minigan_kernels.layouts import conv_weight

from .. import ops
from ..random import Generator, takes_generator
from ..tensor import Tensor
from .activation import Activation
from .arguments import check_sizes
from .conv import _Convolution
from .init import Initializer, constant, he, initial


class Conv1d(_Convolution):
    """Convolution of sequences, and an activation if one is given.

    x is (N, in_channels, L), weight (out_channels, in_channels/groups, k); see `minigan.conv1d`.

    >>> layer = nn.Conv1d(4, 8, 3, padding=1, rng=mg.Generator(0))
    >>> layer(np.zeros((2, 4, 10), np.float32)).shape
    (2, 8, 10)
    """

    operation = staticmethod(ops.conv1d)

    @takes_generator
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        rng: Generator,
        activation: Activation | None = None,
        init: Initializer | None = None,
    ) -> None:
        self._check(in_channels, out_channels, groups, activation)
        check_sizes(self, kernel_size=kernel_size, stride=stride, dilation=dilation)
        if not isinstance(padding, int) or padding < 0:
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
        self.weight = Tensor(conv_weight(weight[:, :, None])[:, :, 0])
        self.bias = Tensor(constant(0)(rng, (out_channels,), *fans)) if bias else None
        self.activation = activation

    def multiply_adds(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        return math.prod(y_shape) * math.prod(self.weight.shape[1:])

"""Pooling and up-sampling layers over images (N, C, H, W)."""

from __future__ import annotations

from minigan_kernels.checks import Pair

from .. import ops
from ..tensor import Tensor
from .arguments import check_sizes
from .module import Module


class UpsampleNearest(Module):
    """Each pixel as a block of factor x factor."""

    takes_arrays = True

    def __init__(self, factor: int) -> None:
        check_sizes(self, factor=factor)
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return ops.upsample_nearest(x, self.factor)


class MaxPool2d(Module):
    """Maximum of each window; the stride is the kernel's size unless given."""

    takes_arrays = True

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

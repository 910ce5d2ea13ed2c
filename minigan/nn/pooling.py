"""Pooling of images (N, C, H, W) and sequences (N, C, L), and up-sampling of images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minigan_kernels.checks import Pair, pair

from .. import ops
from ..tensor import Tensor
from .arguments import check_sizes
from .module import Module


class UpsampleNearest(Module):
    """Each pixel as a block of factor x factor; `nn.Upsample(scale_factor=factor)` is the same.

    >>> nn.UpsampleNearest(2)(np.zeros((1, 3, 4, 4), np.float32)).shape
    (1, 3, 8, 8)
    """

    takes_arrays = True

    def __init__(self, factor: int) -> None:
        check_sizes(self, factor=factor)
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return ops.upsample_nearest(x, self.factor)


# What PyTorch's poolings have besides: its value here, and how the other ones are got.
_CEIL = (False, "a window that reaches beyond the edge is got by minigan.pad(x, width) before it")
_MAX_ONLY = {
    "dilation": (1, "its windows are of neighbouring pixels"),
    "return_indices": (False, "gradients find the places by themselves"),
    "ceil_mode": _CEIL,
}
_AVERAGE_ONLY = {
    "ceil_mode": _CEIL,
    "count_include_pad": (
        True,
        "for the mean of the pixels alone divide by the same pooling of an image of ones",
    ),
    "divisor_override": (None, "multiply the result instead"),
}


class _Pooling(Module):
    """A function of each window. The stride is the window's size unless given."""

    takes_arrays = True
    operation: Callable[..., Tensor]
    only: dict[str, tuple[Any, str]]

    def _set(self, kernel_size: Any, stride: Any, padding: Any, others: dict[str, Any]) -> None:
        name = type(self).__name__
        for key, value in others.items():
            if key not in self.only:
                raise TypeError(f"{name} takes no {key}")
            allowed, way = self.only[key]
            if value != allowed:
                raise ValueError(f"{name} takes no {key}={value!r}: {way}")
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, x: Tensor) -> Tensor:
        return self.operation(x, self.kernel_size, stride=self.stride, padding=self.padding)


class _Pooling2d(_Pooling):
    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        **others: Any,
    ) -> None:
        pair(kernel_size, "kernel_size", least=1)
        pair(1 if stride is None else stride, "stride", least=1)
        pair(padding, "padding", least=0)
        self._set(kernel_size, stride, padding, others)


class _Pooling1d(_Pooling):
    def __init__(
        self, kernel_size: int, stride: int | None = None, padding: int = 0, **others: Any
    ) -> None:
        check_sizes(self, kernel_size=kernel_size, stride=1 if stride is None else stride)
        if not isinstance(padding, int) or padding < 0:
            raise ValueError(
                f"padding of {type(self).__name__} must be an integer of at least 0, not "
                f"{padding!r}"
            )
        self._set(kernel_size, stride, padding, others)


class MaxPool2d(_Pooling2d):
    """Maximum of each window of images (N, C, H, W); the stride is the kernel's size unless given.

    H' = (H + 2 padding - kernel_size) // stride + 1. Padding never wins, and must be below the
    kernel's size. Of PyTorch's other arguments `dilation`, `return_indices` and `ceil_mode` have
    their defaults alone.

    >>> nn.MaxPool2d(3, 2, 1)(np.zeros((1, 4, 8, 8), np.float32)).shape
    (1, 4, 4, 4)
    """

    operation = staticmethod(ops.max_pool2d)
    only = _MAX_ONLY


class AvgPool2d(_Pooling2d):
    """Mean of each window of images (N, C, H, W), padding counted as zeros; the stride is the
    kernel's size unless given.

    H' = (H + 2 padding - kernel_size) // stride + 1. Of PyTorch's other arguments `ceil_mode`,
    `count_include_pad` and `divisor_override` have their defaults alone.

    >>> nn.AvgPool2d(2)([[[[1.0, 2.0], [3.0, 6.0]]]])
    Tensor([[[[3.]]]], float32, from avg_pool2d)
    """

    operation = staticmethod(ops.avg_pool2d)
    only = _AVERAGE_ONLY


class MaxPool1d(_Pooling1d):
    """Maximum of each window of sequences (N, C, L); as `nn.MaxPool2d`.

    >>> nn.MaxPool1d(2)([[[1.0, 3.0, 2.0, 0.0]]]).numpy()
    array([[[3., 2.]]], dtype=float32)
    """

    operation = staticmethod(ops.max_pool1d)
    only = _MAX_ONLY


class AvgPool1d(_Pooling1d):
    """Mean of each window of sequences (N, C, L); as `nn.AvgPool2d`.

    >>> nn.AvgPool1d(2)([[[1.0, 3.0, 2.0, 0.0]]]).numpy()
    array([[[2., 1.]]], dtype=float32)
    """

    operation = staticmethod(ops.avg_pool1d)
    only = _AVERAGE_ONLY

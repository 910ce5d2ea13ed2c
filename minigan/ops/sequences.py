"""Convolution and pooling of sequences (N, C, L): those of images whose height is 1.

Neither the view of a sequence as an image, nor that of the result as a sequence, copies anything.
"""

from __future__ import annotations

from minigan_kernels.epilogue import LINEAR, Epilogue

from ..hints import also
from ..tensor import Tensor, tensors
from .conv import avg_pool2d, conv2d, max_pool2d
from .shape import expand_dims, squeeze


def conv1d(
    x: Tensor,
    w: Tensor,
    bias: Tensor | None = None,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
    *,
    epilogue: Epilogue = LINEAR,
) -> Tensor:
    """Convolution (strictly: cross-correlation) of sequences with a bank of filters.

    x is (N, C, L), w (O, C/groups, k), bias (O,); the result is (N, O, L') with L' = (L +
    2 padding - dilation (k - 1) - 1) // stride + 1. `epilogue` as in `minigan.conv2d`.

    Raises:
        ValueError: if the shapes do not fit one another.

    >>> mg.conv1d(mg.Tensor([[[1.0, 2.0, 4.0]]]), mg.Tensor([[[-1.0, 1.0]]])).numpy().tolist()
    [[[1.0, 2.0]]]
    """
    x, w = tensors(x, w)
    _check_sequence("conv1d", x)
    if w.ndim != 3:
        raise ValueError(f"the weight of conv1d must be (O, C/groups, k), but is {w.shape}")
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return squeeze(conv_of_height_1(expand_dims(x, 2), w, bias, epilogue=epilogue, **options), 2)


def conv_of_height_1(
    x: Tensor,
    w: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int,
    padding: int,
    dilation: int,
    groups: int,
    epilogue: Epilogue = LINEAR,
) -> Tensor:
    """`conv1d` of images x (N, C, 1, L), to images."""
    return conv2d(
        x,
        expand_dims(w, 2),
        bias,
        stride=(1, stride),
        padding=(0, padding),
        dilation=(1, dilation),
        groups=groups,
        epilogue=epilogue,
    )


@also(kernel_size="kernel")
def max_pool1d(x: Tensor, kernel: int, stride: int | None = None, padding: int = 0) -> Tensor:
    """Maximum of each window of x (N, C, L): (N, C, L'), L' = (L + 2 padding - kernel) // stride
    + 1. The stride is the kernel's size by default. The gradient goes to the first maximum.

    >>> mg.max_pool1d(mg.Tensor([[[1.0, 3.0, 2.0, 0.0]]]), 2).numpy().tolist()
    [[[3.0, 2.0]]]
    """
    (x,) = tensors(x)
    _check_sequence("max_pool1d", x)
    window = (1, kernel)
    steps = window if stride is None else (1, stride)
    return squeeze(max_pool2d(expand_dims(x, 2), window, stride=steps, padding=(0, padding)), 2)


@also(kernel_size="kernel")
def avg_pool1d(x: Tensor, kernel: int, stride: int | None = None, padding: int = 0) -> Tensor:
    """Mean of each window of x (N, C, L), padding counted as zeros: (N, C, L'), L' = (L +
    2 padding - kernel) // stride + 1. The stride is the kernel's size by default.

    >>> mg.avg_pool1d(mg.Tensor([[[1.0, 3.0, 2.0, 0.0]]]), 2).numpy().tolist()
    [[[2.0, 1.0]]]
    """
    (x,) = tensors(x)
    _check_sequence("avg_pool1d", x)
    window = (1, kernel)
    steps = window if stride is None else (1, stride)
    return squeeze(avg_pool2d(expand_dims(x, 2), window, stride=steps, padding=(0, padding)), 2)


def _check_sequence(name: str, x: Tensor) -> None:
    if x.ndim != 3:
        raise ValueError(f"{name} takes sequences (N, C, L), but x has shape {x.shape}")

"""Output sizes and argument checks of the windowed kernels, shared by every twin."""

from __future__ import annotations

import operator
from typing import NamedTuple

import numpy as np

Pair = tuple[int, int]


class Window(NamedTuple):
    """How a kernel window of `kernel` taps slides over a plane; every field is (vertical,
    horizontal).
    """

    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)

    def output(self, size: Pair) -> Pair:
        """Number of window positions on a plane of `size` (H, W).

        Raises:
            ValueError: if the window does not fit the padded plane.
        """
        reach = [d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]
        padded = [s + 2 * p for s, p in zip(size, self.padding, strict=True)]
        if reach[0] > padded[0] or reach[1] > padded[1]:
            raise ValueError(
                f"a {reach[0]}x{reach[1]} window (kernel {self.kernel}, dilation {self.dilation}) "
                f"does not fit a plane of {size[0]}x{size[1]} with padding {self.padding}"
            )
        vertical, horizontal = (
            (p - r) // s + 1 for p, r, s in zip(padded, reach, self.stride, strict=True)
        )
        return vertical, horizontal


def pair(value: int | Pair, name: str, *, least: int) -> Pair:
    """`value` for both directions of a plane, or itself if it is a pair already.

    Raises:
        ValueError: if it is neither a whole number nor a pair of them, or is below `least`.
    """
    both = value if isinstance(value, tuple | list) else (value, value)
    try:
        found = tuple(map(operator.index, both))  # NumPy's whole numbers as well
    except TypeError:
        found = ()
    if len(found) != 2 or min(found) < least:
        raise ValueError(
            f"{name} must be a whole number of at least {least}, or two, but is {value!r}"
        )
    return found


def conv_window(
    w_shape: tuple[int, ...],
    stride: int | Pair,
    padding: int | Pair,
    dilation: int | Pair,
) -> Window:
    """The window of a convolution whose weight is (O, I/groups, kH, kW)."""
    if len(w_shape) != 4:
        raise ValueError(f"the weight must be (O, I/groups, kH, kW), but has shape {w_shape}")
    return Window(
        (w_shape[2], w_shape[3]),
        pair(stride, "stride", least=1),
        pair(padding, "padding", least=0),
        pair(dilation, "dilation", least=1),
    )


def check_conv(
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    y_shape: tuple[int, ...] | None,
    window: Window,
    groups: int,
) -> tuple[int, int, int, int]:
    """Shape (N, O, H', W') of a convolution's output, after its arguments were checked.

    `x_shape` is (N, C, H, W), `w_shape` (O, C/groups, kH, kW); `y_shape`, where the caller has an
    output gradient already, must be the output's shape.

    Raises:
        ValueError: naming the two shapes that do not fit.
    """
    if len(x_shape) != 4:
        raise ValueError(f"the image must be (N, C, H, W), but has shape {x_shape}")
    channels, filters = x_shape[1], w_shape[0]
    if groups < 1 or channels % groups or filters % groups:
        raise ValueError(
            f"{channels} input and {filters} output channels do not split into {groups} groups"
        )
    if w_shape[1] * groups != channels:
        raise ValueError(
            f"an image with {channels} channels in {groups} group(s) needs a weight with "
            f"{channels // groups} input channels, but the weight's shape is {w_shape}"
        )
    expected = (x_shape[0], filters, *window.output((x_shape[2], x_shape[3])))
    if y_shape is not None and tuple(y_shape) != expected:
        raise ValueError(
            f"image {x_shape} and weight {w_shape} give an output of shape {expected}, "
            f"not {tuple(y_shape)}"
        )
    return expected


def hwio(w: np.ndarray) -> np.ndarray:
    """w (O, I, kH, kW) with its values in memory order (kH, kW, I, O).

    So the CPU's convolutions read filters and write their gradients: with an optimiser's state in
    the same order, nothing is ever transposed.
    """
    return np.ascontiguousarray(w.transpose(2, 3, 1, 0)).transpose(3, 2, 0, 1)


def image_shape(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """`shape`, which must be (N, C, H, W).

    Raises:
        ValueError: if it has not four axes.
    """
    if len(shape) != 4:
        raise ValueError(f"images must be (N, C, H, W), but have shape {tuple(shape)}")
    return shape[0], shape[1], shape[2], shape[3]


def pool_window(kernel: Pair, stride: int | Pair, padding: int | Pair) -> Window:
    """The window of a max-pooling, which sees a part of the plane wherever it stands.

    Raises:
        ValueError: if the padding could hold a whole window.
    """
    window = Window(
        pair(kernel, "kernel", least=1),
        pair(stride, "stride", least=1),
        pair(padding, "padding", least=0),
    )
    if any(p >= k for p, k in zip(window.padding, window.kernel, strict=True)):
        raise ValueError(f"the padding {window.padding} must be below the kernel {window.kernel}")
    return window


def check_pooled(
    shape: tuple[int, ...], g_shape: tuple[int, ...], window: Window
) -> tuple[int, int]:
    """Size (H', W') that planes of images of `shape` are pooled to; g must have it.

    Raises:
        ValueError: naming the two shapes that do not fit.
    """
    n, c, h, w = image_shape(shape)
    size = window.output((h, w))
    if tuple(g_shape) != (n, c, *size):
        raise ValueError(f"{shape} is pooled to {(n, c, *size)}, not to {tuple(g_shape)}")
    return size


def check_places(
    shape: tuple[int, ...], index_shape: tuple[int, ...], g_shape: tuple[int, ...]
) -> None:
    """The planes of images of `shape` must be those of `index_shape`, which is also g's shape.

    Raises:
        ValueError: naming the shapes that do not fit.
    """
    if g_shape != index_shape or tuple(g_shape[:2]) != image_shape(shape)[:2]:
        raise ValueError(f"gradient {g_shape}, places {index_shape}, image {shape} do not fit")

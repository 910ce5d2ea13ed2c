"""Output sizes and argument checks that every twin shares."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Pair = tuple[int, int]
Arrays = np.ndarray | Sequence[np.ndarray]  # one array, or several


class Window(NamedTuple):
    """How a window of `kernel` taps slides over a plane; every field is (vertical, horizontal)."""

    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)

    def output(self, size: Pair) -> Pair:
        """Number of window positions on a plane of `size` (H, W).

        Raises:
            ValueError: if the plane has no pixels, or the window does not fit it with its padding.
        """
        if min(size) < 1:
            raise ValueError(f"a plane of {size[0]}x{size[1]} has no pixels for a window to see")
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
        ValueError: if it is neither an integer nor a pair of them, or is below `least`.
    """
    both = value if isinstance(value, tuple | list) else (value, value)
    try:
        found = tuple(map(operator.index, both))  # NumPy's integers as well
    except TypeError:
        found = ()
    if len(found) != 2 or min(found) < least:
        raise ValueError(
            f"{name} must be an integer of at least {least}, or a pair of them, but is {value!r}"
        )
    return found


def conv_window(
    w_shape: tuple[int, ...],
    stride: int | Pair,
    padding: int | Pair,
    dilation: int | Pair,
) -> Window:
    """The window of a convolution whose weight is (O, I/groups, kH, kW).

    Raises:
        ValueError: if the weight has other axes or no taps, or an option is not what it must be.
    """
    if len(w_shape) != 4:
        raise ValueError(f"the weight must be (O, I/groups, kH, kW), but has shape {w_shape}")
    return Window(
        pair((w_shape[2], w_shape[3]), "kernel", least=1),
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
    """Check the arguments of a convolution, and return the shape (N, O, H', W') of its output.

    `x_shape` is (N, C, H, W), `w_shape` (O, C/groups, kH, kW). `y_shape` is the shape of an output
    gradient, if the caller has one: it must be that of the output.

    Raises:
        ValueError: naming the two shapes that do not fit.
    """
    if len(x_shape) != 4:
        raise ValueError(f"the image must be (N, C, H, W), but has shape {x_shape}")
    channels, filters = x_shape[1], w_shape[0]
    if not isinstance(groups, int | np.integer):
        raise ValueError(f"groups must be an integer of at least 1, but is {groups!r}")
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


def image_shape(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """`shape`, which must be (N, C, H, W).

    Raises:
        ValueError: if it does not have four axes.
    """
    if len(shape) != 4:
        raise ValueError(f"images must be (N, C, H, W), but have shape {tuple(shape)}")
    return shape[0], shape[1], shape[2], shape[3]


def pool_window(kernel: Pair, stride: int | Pair, padding: int | Pair) -> Window:
    """The window of a max-pooling, which must overlap the plane at every position.

    Raises:
        ValueError: if a window could be all padding.
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
    """Size (H', W') to which images of `shape` are pooled, after a check that g has it.

    Raises:
        ValueError: naming the two shapes that do not fit.
    """
    n, c, h, w = image_shape(shape)
    size = window.output((h, w))
    if tuple(g_shape) != (n, c, *size):
        raise ValueError(f"{shape} is pooled to {(n, c, *size)}, not to {tuple(g_shape)}")
    return size


def check_int32(what: str, count: int) -> None:
    """Check that a GPU's kernels, which count `what` in 32 bits, can count so many.

    Raises:
        ValueError: if they cannot.
    """
    if count >= 2**31:
        raise ValueError(
            f"there are {count} {what}, but the GPU's kernels count fewer than 2^31 of them; "
            "take smaller images, or fewer at a time"
        )


def check_places(
    shape: tuple[int, ...], index_shape: tuple[int, ...], g_shape: tuple[int, ...]
) -> None:
    """Check that `index_shape` has the planes of images of `shape`, and is the shape of g.

    Raises:
        ValueError: naming the shapes that do not fit.
    """
    if g_shape != index_shape or tuple(g_shape[:2]) != image_shape(shape)[:2]:
        raise ValueError(f"gradient {g_shape}, places {index_shape}, image {shape} do not fit")


def check_pieces(
    x: tuple[int, ...], bias: tuple[int, ...], pieces: int, *units: tuple[int, ...]
) -> None:
    """Check that x (N, units * pieces) and its bias are whole units, and `units` are (N, units).

    Raises:
        ValueError: naming the shapes that do not fit.
    """
    if len(x) != 2 or bias != x[1:] or pieces < 1 or x[1] % pieces:
        raise ValueError(f"x {x} and bias {bias} do not make units of {pieces} pieces")
    for shape in units:
        if shape != (x[0], x[1] // pieces):
            raise ValueError(f"x {x} has units {(x[0], x[1] // pieces)}, not {shape}")


def check_labels(
    shape: tuple[int, ...], labels: np.ndarray, g_shape: tuple[int, ...] | None = None
) -> None:
    """Check that logits are (N, classes), labels (N,) from 0 to classes - 1, and g (N,).

    Raises:
        ValueError: naming what does not fit.
    """
    if len(shape) != 2 or labels.shape != shape[:1]:
        raise ValueError(f"logits {shape} need labels {shape[:1]}, not {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels must be integers, not {labels.dtype}")
    if g_shape is not None and g_shape != shape[:1]:
        raise ValueError(f"logits {shape} need a gradient {shape[:1]}, not {g_shape}")
    if not isinstance(labels, np.ndarray):
        return  # on a GPU: to look at them would wait for it
    if labels.size and not 0 <= labels.min() <= labels.max() < shape[1]:
        raise ValueError(
            f"labels from {labels.min()} to {labels.max()} do not fit {shape[1]} classes"
        )


def blocks(shape: tuple[int, ...], factor: int) -> tuple[int, int, int, int]:
    """Shape (N, C, H/factor, W/factor) of images of `shape` with a pixel for each block.

    Raises:
        ValueError: if factor is not an integer of at least 1, or blocks do not fill the images.
    """
    n, c, h, w = image_shape(shape)
    pair(factor, "factor", least=1)
    if h % factor or w % factor:
        raise ValueError(f"blocks of {factor}x{factor} do not fill planes of {h}x{w}")
    return n, c, h // factor, w // factor


def each(*arguments: Arrays) -> list[tuple[np.ndarray, ...]]:
    """The arrays of each parameter: itself, its gradient and its states.

    Raises:
        ValueError: if the lists differ in length, or a parameter's arrays in shape.
    """
    lists = [list(a) if isinstance(a, list | tuple) else [a] for a in arguments]
    if any(len(arrays) != len(lists[0]) for arrays in lists):
        counts = ", ".join(str(len(arrays)) for arrays in lists)
        raise ValueError(
            f"there must be as many gradients and states as parameters, but there are {counts}"
        )
    together = list(zip(*lists, strict=True))
    for p, *others in together:
        for array in others:
            if array.shape != p.shape:
                raise ValueError(f"parameter {p.shape} and {array.shape} must have the same shape")
    return together

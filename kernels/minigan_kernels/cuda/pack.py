"""Packing: images and weights channels last, in whole chunks of 16 bytes, for the convolutions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..memo import memoize
from .launch import address, blocks_for, empty, is_planning, kernel

THREADS = 256
CHUNK_BYTES = 16
C_TYPES: dict[type, str] = {np.float32: "float", np.float64: "double", np.uint16: "bf16"}

_IMAGE = np.dtype(
    [(name, np.int32) for name in ("h", "w", "channels", "padded_channels")]
    + [(name, np.int64) for name in ("n_stride", "c_stride", "h_stride", "w_stride")]
)  # struct Image


def channels_last(x: Any, kind: type, multiple: int = 1) -> Any:
    """x (N, C, H, W) in any memory order as an array (N, H, W, C') of `kind`.

    C' is C rounded up to a multiple of `multiple`; the channels added are zeros. x is not copied
    where it has that layout already.
    """
    view = _as_packed(x, kind, multiple)
    return _pack(x, kind, multiple) if view is None else view


def packed_weights(w: Any, groups: int, kind: type, multiple: int, *, transposed: bool) -> Any:
    """Weights w (O, C/groups, kH, kW), channels last: one row for each channel that is written.

    A row holds the channels that are summed over. If `transposed`, for the gradient with respect to
    the input, O and C change places within each group. The result is kept as long as nobody
    writes w (`memo`), whichever view of it comes: a linear layer makes a new one for each call.
    """
    swapped = transposed and groups > 1  # no transposition of axes: it needs a copy first
    view = w.transpose(1, 0, 2, 3) if transposed and groups == 1 else w
    packed = None if swapped else _as_packed(view, kind, multiple)
    if packed is not None:  # a view of w, which would keep w alive if it were kept with w
        return packed

    def compute() -> Any:
        return _pack(_swapped(w, groups) if swapped else view, kind, multiple)

    if is_planning():  # no kernel runs, so there is nothing to keep
        return compute()
    base = getattr(w, "base", None)
    layout = address(w), w.shape, w.strides, w.dtype.char
    key = "packed", layout, groups, transposed, kind, multiple
    return memoize(w if base is None else base, key, compute)


def _as_packed(x: Any, kind: type, multiple: int) -> Any:
    """x as `channels_last` gives it if that is a view of x, else None."""
    last = x.transpose(0, 2, 3, 1)
    aligned = multiple == 1 or address(x) % CHUNK_BYTES == 0
    fits = x.shape[1] % multiple == 0 and x.dtype.type is kind and last.flags.c_contiguous
    return last if fits and aligned else None


def _pack(x: Any, kind: type, multiple: int) -> Any:
    n, c, h, w = x.shape
    padded = math.ceil(c / multiple) * multiple
    y = empty((n, h, w, padded), kind, like=x)
    strides = (stride // x.itemsize for stride in x.strides)
    image = np.array((h, w, c, padded, *strides), _IMAGE)
    pack = kernel("pack", "pack", threads=THREADS, T=C_TYPES[x.dtype.type], E=C_TYPES[kind])
    pack(blocks_for(y.size, THREADS), x, y, image, np.int64(y.size))
    return y


def _swapped(w: Any, groups: int) -> Any:
    """w (O, C/groups, kH, kW) as (C, O/groups, kH, kW): the two axes swapped within each group."""
    o, c, kernel_h, kernel_w = w.shape
    swapped = w.reshape(groups, o // groups, c, kernel_h, kernel_w).transpose(0, 2, 1, 3, 4)
    return swapped.reshape(groups * c, o // groups, kernel_h, kernel_w)

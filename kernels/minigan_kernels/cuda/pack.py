"""Images and filters as the convolutions want them: channels last, rows of whole 16 bytes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .launch import address, blocks_for, empty, kernel

THREADS = 256
VECTOR = 16  # bytes
WORDS: dict[type, str] = {np.float32: "float", np.float64: "double", np.uint16: "bf16"}  # in C++

_IMAGE = np.dtype(
    [(name, np.int32) for name in ("h", "w", "channels", "padded")]
    + [(name, np.int64) for name in ("n_step", "c_step", "h_step", "w_step")]
)


def channels_last(x: Any, kind: type, multiple: int = 1) -> Any:
    """x (N, C, H, W), lying in any way, as an array (N, H, W, C') of `kind`.

    C' is C, and channels of zeros up to a multiple of `multiple`. No copy where x lies so already,
    and begins at a whole 16 bytes if rows of channels are to be vectors.
    """
    n, c, h, w = x.shape
    padded = math.ceil(c / multiple) * multiple
    last = x.transpose(0, 2, 3, 1)
    aligned = multiple == 1 or address(x) % VECTOR == 0
    if padded == c and x.dtype.type is kind and last.flags.c_contiguous and aligned:
        return last
    y = empty((n, h, w, padded), kind, like=x)
    steps = (step // x.itemsize for step in x.strides)
    image = np.array((h, w, c, padded, *steps), _IMAGE)
    pack = kernel("pack", "pack", threads=THREADS, T=WORDS[x.dtype.type], E=WORDS[kind])
    pack(blocks_for(y.size, THREADS), x, y, image, np.int64(y.size))
    return y


def grouped(w: Any, groups: int, *, transposed: bool) -> Any:
    """Filters w (O, C/groups, kH, kW) as (filters that are written, channels that are summed, kH,
    kW), group after group: for the input gradient the two change places within each group.
    """
    if not transposed:
        return w
    if groups == 1:
        return w.transpose(1, 0, 2, 3)
    o, c, rows, columns = w.shape
    swapped = w.reshape(groups, o // groups, c, rows, columns).transpose(0, 2, 1, 3, 4)
    return swapped.reshape(groups * c, o // groups, rows, columns)

"""A convolution as Winograd's loops see it, and where its transformed operands lie in memory.

Between frequencies lie some unused lines, and a group of tiles takes an odd number of blocks: at
distances of a power of two, the places that a loop reads together would fall on one set of a cache.
Groups that are an odd number of blocks apart share the sets of a first cache alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .generate import COLUMNS, ROWS
from .jit import jit
from .simd import LINE, VECTOR

BLOCK = ROWS * VECTOR  # bytes of LANES channels of a group of tiles
PANEL = COLUMNS * VECTOR  # bytes of a row of filters


class Layer(NamedTuple):
    """A convolution of images (images, height, width, channels) as these loops see it."""

    images: int
    channels: int
    height: int
    width: int
    filters: int
    out_height: int
    out_width: int
    kernel: int
    stride: int
    top: int  # padding
    left: int
    m: int  # a tile gives m x m outputs
    r: int  # taps of a phase
    down: int  # tiles of an image
    across: int
    chunk: int  # images whose tiles share groups
    groups: int  # in a chunk
    chunks: int


@jit()
def group_step(blocks: int) -> int:
    """Bytes from one group of tiles to the next."""
    return (blocks | 1) * BLOCK


@jit()
def plane_step(blocks: int, groups: int) -> int:
    """Bytes from one frequency of tiles to the next."""
    return groups * group_step(blocks) + 3 * LINE


@jit()
def filter_step(rows: int, panels: int) -> int:
    """Bytes from one frequency of filters to the next."""
    return rows * panels * PANEL + 3 * LINE


@jit()
def outputs_of(t: Layer, y: int, elsewhere: int, group: int, row: int, table: np.ndarray) -> None:
    """Addresses of the m x m outputs of a tile in y; `elsewhere` for those it has not."""
    tile = group % t.groups * ROWS + row
    n = group // t.groups * t.chunk + tile // (t.down * t.across)
    inside = tile < t.chunk * t.down * t.across and n < t.images
    top, left = tile // t.across % t.down * t.m, tile % t.across * t.m
    for i in range(t.m):
        line = y + 4 * ((n * t.out_height + top + i) * t.out_width + left) * t.filters
        for j in range(t.m):
            seen = inside and top + i < t.out_height and left + j < t.out_width
            table[i * t.m + j] = line + 4 * j * t.filters if seen else elsewhere


def compiled(loop: Any, m: int, r: int) -> Callable[..., None]:
    """The loop compiled for F(m, r), and known by that name to the cache on disk."""
    loop.__qualname__ = f"{loop.__name__}_{m}_{r}"
    done: Callable[..., None] = jit()(loop)
    return done

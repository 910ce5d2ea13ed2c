"""A convolution as Winograd's loops see it, and where its transformed operands lie in memory.

Between frequencies lie some unused lines, and a group of tiles takes an odd number of blocks: at
distances of a power of two, the places that a loop reads together would fall on one set of a cache.
Groups that are an odd number of blocks apart share the sets of a first cache alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ...compiler.jit import jit
from ...gemm.blocking import A_BLOCK_BYTES, B_ROW_BYTES, MR
from ...isa.amx import AMX, K_STEP_BYTES, TILE_ROWS
from ...isa.simd import CACHE_LINE, VECTOR_BYTES


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


GAP = 3 * CACHE_LINE  # bytes that lie unused behind a frequency


@jit()
def group_step(blocks: int) -> int:
    """Bytes from one group of tiles to the next."""
    return (blocks | 1) * A_BLOCK_BYTES


@jit()
def plane_step(blocks: int, groups: int) -> int:
    """Bytes from one frequency of tiles to the next."""
    return groups * group_step(blocks) + GAP


@jit()
def filter_step(rows: int, panels: int) -> int:
    """Bytes from one frequency of filters to the next."""
    return panels * panel_step(rows) + GAP


@jit()
def panel_step(rows: int) -> int:
    """Bytes of a panel of filters."""
    return -(-rows // (2 * TILE_ROWS)) * K_STEP_BYTES if AMX else rows * B_ROW_BYTES


@jit()
def filter_units(rows: int) -> int:
    """How many units a panel's rows are transformed in: one by one, or for pieces in pairs."""
    return -(-rows // (2 * TILE_ROWS)) * TILE_ROWS if AMX else rows


@jit()
def row_of(unit: int) -> int:
    """The row of a unit, its first if it has two; the other one is SIDE rows below."""
    return unit // TILE_ROWS * 2 * TILE_ROWS + unit % TILE_ROWS if AMX else unit


@jit()
def place_of(unit: int) -> int:
    """Where in a panel a unit begins, in bytes."""
    return (
        unit // TILE_ROWS * K_STEP_BYTES + unit % TILE_ROWS * VECTOR_BYTES
        if AMX
        else unit * B_ROW_BYTES
    )


@jit()
def outputs_of(t: Layer, y: int, elsewhere: int, group: int, row: int, table: np.ndarray) -> None:
    """Addresses of the m x m outputs of a tile in y; `elsewhere` for those it has not."""
    tile = group % t.groups * MR + row
    n = group // t.groups * t.chunk + tile // (t.down * t.across)
    inside = tile < t.chunk * t.down * t.across and n < t.images
    top, left = tile // t.across % t.down * t.m, tile % t.across * t.m
    for i in range(t.m):
        line = y + 4 * ((n * t.out_height + top + i) * t.out_width + left) * t.filters
        for j in range(t.m):
            seen = inside and top + i < t.out_height and left + j < t.out_width
            table[i * t.m + j] = line + 4 * j * t.filters if seen else elsewhere


@jit()
def pixels_of(
    t: Layer,
    x: int,
    elsewhere: int,
    zero: int,
    group: int,
    row: int,
    phase: int,
    offset: int,
    table: np.ndarray,
    before: np.ndarray,
) -> bool:
    """Addresses in x of the pixels of a phase that a tile's outputs see, `offset` bytes from their
    first channels, and what is there `before`: zeros, or what the tiles above and to the left have
    added up. False if there is no such tile.
    """
    tile = group % t.groups * MR + row
    n = group // t.groups * t.chunk + tile // (t.down * t.across)
    if tile >= t.chunk * t.down * t.across or n >= t.images:
        return False
    size = t.m + t.r - 1
    tile_y, tile_x = tile // t.across % t.down, tile % t.across
    top = tile_y * t.m * t.stride + phase // t.stride - t.top
    left = tile_x * t.m * t.stride + phase % t.stride - t.left
    for i in range(size):
        y = top + i * t.stride
        line = x + 4 * (n * t.height + y) * t.width * t.channels + offset
        for j in range(size):
            z = left + j * t.stride
            at, old = elsewhere, zero
            if 0 <= y < t.height and 0 <= z < t.width:
                at = line + 4 * z * t.channels
                if (tile_y > 0 and i < t.r - 1) or (tile_x > 0 and j < t.r - 1):
                    old = at
            table[i * size + j], before[i * size + j] = at, old
    return True


def compiled(loop: Any, m: int, r: int) -> Callable[..., None]:
    """The loop compiled for F(m, r), and known by that name to the cache on disk."""
    loop.__qualname__ = f"{loop.__name__}_{m}_{r}"
    done: Callable[..., None] = jit()(loop)
    return done

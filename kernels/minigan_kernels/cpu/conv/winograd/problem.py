"""A Winograd convolution's sizes, and the strides of its operands in the Winograd domain.

Planes are padded by some cache lines, and the stride of tile blocks is an odd number of K blocks.
At strides of a power of two, what a loop reads together would alias in one cache set. An odd stride
spreads consecutive tile blocks evenly over the sets of L1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ...compiler.jit import jit
from ...gemm.blocking import A_BLOCK_BYTES, B_ROW_BYTES
from ...isa.amx import AMX, K_STEP_BYTES, TILE_ROWS
from ...isa.simd import CACHE_LINE, VECTOR_BYTES


class WinogradProblem(NamedTuple):
    """A convolution of images (images, height, width, channels) by tiles.

    The images come in chunks. The tiles of a chunk are numbered consecutively and fill tile blocks
    of MR tiles, so a block may hold tiles of several images; the chunk's last block may be padded.
    """

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
    tiles_down: int  # of an image
    tiles_across: int
    chunk_images: int
    chunk_blocks: int  # tile blocks of a chunk
    chunks: int

    @property
    def phases(self) -> int:
        return self.stride**2

    @property
    def planes(self) -> int:
        """Planes of the Winograd domain."""
        return (self.m + self.r - 1) ** 2

    @property
    def tile_blocks(self) -> int:
        return self.chunks * self.chunk_blocks


PLANE_PADDING = 3 * CACHE_LINE  # bytes


@jit()
def tile_block_stride(k_blocks: int) -> int:
    """Bytes from one tile block to the next."""
    return (k_blocks | 1) * A_BLOCK_BYTES


@jit()
def tile_plane_stride(k_blocks: int, tile_blocks: int) -> int:
    """Bytes from one plane of tiles to the next."""
    return tile_blocks * tile_block_stride(k_blocks) + PLANE_PADDING


@jit()
def panel_bytes(rows: int) -> int:
    """Bytes of a panel of weights; for AMX they are split into bfloat16 terms."""
    return -(-rows // (2 * TILE_ROWS)) * K_STEP_BYTES if AMX else rows * B_ROW_BYTES


@jit()
def weight_plane_stride(rows: int, panels: int) -> int:
    """Bytes from one plane of weights to the next."""
    return panels * panel_bytes(rows) + PLANE_PADDING


@jit()
def weight_units(rows: int) -> int:
    """How many units the rows of a panel are transformed in: single rows, or pairs for AMX."""
    return -(-rows // (2 * TILE_ROWS)) * TILE_ROWS if AMX else rows


@jit()
def unit_row(unit: int) -> int:
    """The first row of a unit; the second row of a pair is TILE_ROWS below."""
    return unit // TILE_ROWS * 2 * TILE_ROWS + unit % TILE_ROWS if AMX else unit


@jit()
def unit_offset(unit: int) -> int:
    """Where a unit is in its panel, in bytes."""
    if AMX:
        return unit // TILE_ROWS * K_STEP_BYTES + unit % TILE_ROWS * VECTOR_BYTES
    return unit * B_ROW_BYTES


def compiled(loop: Any, m: int, r: int, fused: bool = False) -> Callable[..., None]:
    """The loop compiled for F(m, r), with an epilogue or without; the cache on disk knows it by
    that name.
    """
    loop.__qualname__ = f"{loop.__name__}_{m}_{r}" + "_fused" * fused
    done: Callable[..., None] = jit()(loop)
    return done

"""Indirection tables: the addresses of the pixels and of the outputs of one tile.

With them, borders need no padded copy of an image. A pixel outside the image is read from a row of
zeros, or written to a row that is discarded. The same holds for the tiles that pad the last tile
block of a chunk.

The functions are inlined into the loops that call them: a call would pass the problem's members
through memory, and that takes as long as a few vectors of a transform.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from ...gemm.blocking import MR
from .problem import WinogradProblem

_inlined = register_jitable(inline="always")


class Tile(NamedTuple):
    """A tile's image and its place there, in tiles."""

    exists: bool  # or pads a tile block
    image: int
    y: int
    x: int


class Addresses(NamedTuple):
    """Functions for compiled loops that fill tables for F(m, r)."""

    outputs: Callable[..., None]
    pixels: Callable[..., None]
    earlier: Callable[..., None]


@_inlined
def tile_at(p: WinogradProblem, block: int, row: int) -> Tile:
    """The tile in a row of a tile block."""
    per_image = p.tiles_down * p.tiles_across
    tile = block % p.chunk_blocks * MR + row
    image = block // p.chunk_blocks * p.chunk_images + tile // per_image
    exists = tile < p.chunk_images * per_image and image < p.images
    return Tile(exists, image, tile // p.tiles_across % p.tiles_down, tile % p.tiles_across)


@cache
def addresses(m: int, r: int) -> Addresses:
    """The functions for F(m, r)."""
    size = m + r - 1

    def outputs(p: WinogradProblem, tile: Tile, y: int, elsewhere: int, table: np.ndarray) -> None:
        """Addresses in y of the m x m outputs of a tile; `elsewhere` for those that are missing."""
        top, left = tile.y * m, tile.x * m
        for i in range(m):
            line = y + 4 * ((tile.image * p.out_height + top + i) * p.out_width + left) * p.filters
            for j in range(m):
                seen = tile.exists and top + i < p.out_height and left + j < p.out_width
                table[i * m + j] = line + 4 * j * p.filters if seen else elsewhere

    def pixels(
        p: WinogradProblem, tile: Tile, phase: int, x: int, elsewhere: int, table: np.ndarray
    ) -> None:
        """Addresses in x of the pixels of a phase that a tile's outputs see; `elsewhere` for those
        that are missing.
        """
        top = tile.y * m * p.stride + phase // p.stride - p.top
        left = tile.x * m * p.stride + phase % p.stride - p.left
        for i in range(size):
            row = top + i * p.stride
            line = x + 4 * (tile.image * p.height + row) * p.width * p.channels
            for j in range(size):
                column = left + j * p.stride
                seen = tile.exists and 0 <= row < p.height and 0 <= column < p.width
                table[i * size + j] = line + 4 * column * p.channels if seen else elsewhere

    def earlier(
        tile: Tile, pixels: np.ndarray, elsewhere: int, zeros: int, table: np.ndarray
    ) -> None:
        """Addresses of what to add to a tile's pixels: what the tiles above and to the left have
        summed there, or zeros.
        """
        for i in range(size):
            for j in range(size):
                overlaps = (tile.y > 0 and i < r - 1) or (tile.x > 0 and j < r - 1)
                k = i * size + j
                table[k] = pixels[k] if overlaps and pixels[k] != elsewhere else zeros

    for loop in (outputs, pixels, earlier):  # or the linker would take one for another's
        loop.__qualname__ = f"{loop.__name__}_{m}_{r}"
    return Addresses(_inlined(outputs), _inlined(pixels), _inlined(earlier))

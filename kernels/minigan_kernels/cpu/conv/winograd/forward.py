"""The forward transforms into the Winograd domain: of images, output gradients and weights."""

# mypy: disable-error-code="call-arg"
from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from ...compiler.codegen import built
from ...gemm.blocking import A_BLOCK_BYTES, B_ROW_BYTES, MR, NR_VECTORS
from ...isa import simd
from ...isa.amx import AMX, TILE_BYTES, TILE_ROWS, pack_bf16_pairs, truncate_to_bf16
from ...isa.simd import CACHE_LINE, LANES, VECTOR_BYTES, prefetch, store_int64
from .addresses import addresses, tile_at
from .codegen import transforms
from .problem import (
    WinogradProblem,
    compiled,
    panel_bytes,
    tile_block_stride,
    tile_plane_stride,
    unit_offset,
    unit_row,
    weight_plane_stride,
    weight_units,
)
from .value_range import add_magnitudes, gradient_exceeds, image_exceeds, jumps, sum_lanes

_PREFETCH_ROWS = 4  # rows of taps between the one that is read and the one that is prefetched


class Taps(NamedTuple):
    """Weights (kernel, kernel, rows, columns) as a layer has them.

    Rows are counted through all phases: row i of phase q is row q * rows + i.
    """

    address: int
    zeros: int  # address of a row of zeros, for the taps that a phase of an odd kernel lacks
    kernel: int
    stride: int
    rows: int
    columns: int


class ForwardTransforms(NamedTuple):
    """Compiled loops for one scheme F(m, r)."""

    images: Callable[..., None]
    gradients: Callable[..., None]
    weight_row: Callable[..., None]
    weights: Callable[..., None]


@cache
def forward_transforms(m: int, r: int) -> ForwardTransforms:
    """The loops of F(m, r), compiled when first called."""
    weight_row = _weight_row(m, r)
    return ForwardTransforms(
        _images(m, r), _gradients(m, r), weight_row, _weights(m, r, weight_row)
    )


def _images(m: int, r: int) -> Callable[..., None]:
    image = built(transforms(m, r)["image"])
    pixels = addresses(m, r).pixels
    planes = (m + r - 1) ** 2

    @partial(compiled, m=m, r=r)
    def images(
        p: WinogradProblem, x: int, zeros: int, out: int, exceeded: int, first: int, last: int
    ) -> None:
        """Transform the tiles of images x in the tile blocks first..last; write 1 to the table at
        the address `exceeded` for each image that has values out of range in a tile.
        """
        table, magnitudes = np.empty(planes, np.int64), np.empty(planes * LANES, np.float32)
        k_blocks, phases = p.channels // LANES, p.stride**2
        block_stride = tile_block_stride(phases * k_blocks)
        plane_stride = tile_plane_stride(phases * k_blocks, p.chunk_blocks * p.chunks)
        for block in range(first, last):
            before = 0.0
            for row in range(MR):
                tile = tile_at(p, block, row)
                target = out + block * block_stride + row * VECTOR_BYTES
                vector: Any = simd.zeros()
                for phase in range(phases):
                    pixels(p, tile, phase, x, zeros, table)
                    vector = vector + image(
                        table, VECTOR_BYTES, target, plane_stride, A_BLOCK_BYTES, k_blocks
                    )
                    target += k_blocks * A_BLOCK_BYTES
                squares = sum_lanes(vector)
                if jumps(squares, before):
                    magnitudes[:] = 0
                    for phase in range(phases):
                        pixels(p, tile, phase, x, zeros, table)
                        add_magnitudes(table, k_blocks, magnitudes)
                    down, across = p.out_height - tile.y * m, p.out_width - tile.x * m
                    down, across = min(m, down), min(m, across)
                    if image_exceeds(magnitudes, m, r, down, across):
                        store_int64(exceeded + 8 * tile.image, 1)
                before = squares

    return images


def _gradients(m: int, r: int) -> Callable[..., None]:
    gradient = built(transforms(m, r)["gradient"])
    outputs = addresses(m, r).outputs

    @partial(compiled, m=m, r=r)
    def gradients(
        p: WinogradProblem, g: int, zeros: int, out: int, exceeded: int, first: int, last: int
    ) -> None:
        """Transform the tiles of output gradients g in the tile blocks first..last; `exceeded` as
        above.
        """
        table, magnitudes = np.empty(m * m, np.int64), np.empty(m * m * LANES, np.float32)
        k_blocks = p.filters // LANES
        block_stride = tile_block_stride(k_blocks)
        plane_stride = tile_plane_stride(k_blocks, p.chunk_blocks * p.chunks)
        for block in range(first, last):
            before = 0.0
            for row in range(MR):
                tile = tile_at(p, block, row)
                outputs(p, tile, g, zeros, table)
                target = out + block * block_stride + row * VECTOR_BYTES
                squares: float = sum_lanes(
                    gradient(table, VECTOR_BYTES, target, plane_stride, A_BLOCK_BYTES, k_blocks)
                )
                if jumps(squares, before):
                    magnitudes[:] = 0
                    add_magnitudes(table, k_blocks, magnitudes)
                    if gradient_exceeds(magnitudes, m, r):
                        store_int64(exceeded + 8 * tile.image, 1)
                before = squares

    return gradients


def _weight_row(m: int, r: int) -> Callable[..., None]:
    sources = transforms(m, r)
    weight, cached_weight = (
        built(sources[name], truncate_to_bf16=truncate_to_bf16, pack_bf16_pairs=pack_bf16_pairs)
        for name in ("weight", "cached_weight")
    )

    @partial(compiled, m=m, r=r)
    def weight_row(
        w: Taps,
        row: int,
        end: int,
        panel: int,
        out: int,
        plane_stride: int,
        in_cache: bool,
        table: np.ndarray,
    ) -> None:
        """Transform a row of a panel of weights, for AMX also the row that it makes pairs with, if
        that comes before row `end`; with `in_cache` it is used at once.
        """
        for other in range(2 if AMX else 1):
            i = row + other * TILE_ROWS
            phase = i // w.rows
            for u in range(r):
                for v in range(r):
                    y, x = w.stride * u + phase // w.stride, w.stride * v + phase % w.stride
                    tap = w.address + panel * B_ROW_BYTES
                    tap += 4 * ((y * w.kernel + x) * w.rows + i % w.rows) * w.columns
                    seen = y < w.kernel and x < w.kernel and i < end
                    table[(other * r + u) * r + v] = tap if seen else w.zeros
        count = min(NR_VECTORS, w.columns // LANES - panel * NR_VECTORS)
        if in_cache:
            for tap in table:
                for line in range(0, B_ROW_BYTES, CACHE_LINE):
                    prefetch(tap + _PREFETCH_ROWS * 4 * w.columns + line)
        if AMX:
            second = table[r * r :]
            if in_cache:
                cached_weight(table, second, VECTOR_BYTES, out, plane_stride, TILE_BYTES, count)
            else:
                weight(table, second, VECTOR_BYTES, out, plane_stride, TILE_BYTES, count)
        elif in_cache:
            cached_weight(table, VECTOR_BYTES, out, plane_stride, VECTOR_BYTES, count)
        else:
            weight(table, VECTOR_BYTES, out, plane_stride, VECTOR_BYTES, count)

    return weight_row


def _weights(m: int, r: int, weight_row: Callable[..., None]) -> Callable[..., None]:
    @partial(compiled, m=m, r=r)
    def weights(w: Taps, side_by_side: bool, out: int, first: int, last: int) -> None:
        """Transform the units first..last of all phases' rows.

        The phases' panels are stored one below the other, as the sum over phases wants them, or
        else `side_by_side`.
        """
        table = np.empty(2 * r * r if AMX else r * r, np.int64)
        panels = -(-w.columns // (NR_VECTORS * LANES))
        phases = w.stride**2 if side_by_side else 1  # that have panels of their own
        rows = w.stride**2 * w.rows // phases  # of a panel
        units = weight_units(rows)
        plane_stride = weight_plane_stride(rows, phases * panels)
        for k in range(first, last):
            phase, unit = k // units, k % units
            row, end = phase * rows + unit_row(unit), (phase + 1) * rows
            for panel in range(panels):
                target = out + (phase * panels + panel) * panel_bytes(rows) + unit_offset(unit)
                weight_row(w, row, end, panel, target, plane_stride, False, table)

    return weights

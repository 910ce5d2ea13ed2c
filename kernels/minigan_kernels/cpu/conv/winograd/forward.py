"""Winograd's loops into the frequencies: tiles of images and of output gradients, and filters.

Borders need no padded copy of an image. Every tile has a table of addresses for its pixels; what
lies outside the image is read from a row of zeros (and, see `products`, written to a row that
nobody reads). The same holds for the tiles that fill up the last group, and for the taps that a 3x3
window of stride 2 lacks.
"""

# mypy: disable-error-code="call-arg"
from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import numpy as np

from ...compiler.codegen import built
from ...gemm.blocking import A_BLOCK_BYTES, B_ROW_BYTES, MR, NR_VECTORS
from ...isa.amx import AMX, TILE_BYTES, TILE_ROWS, pack_bf16_pairs, truncate_to_bf16
from ...isa.simd import CACHE_LINE, LANES, VECTOR_BYTES, prefetch
from .codegen import transforms
from .problem import (
    Layer,
    compiled,
    filter_step,
    filter_units,
    group_step,
    outputs_of,
    panel_step,
    place_of,
    plane_step,
    row_of,
)

_AHEAD = 4  # rows of taps between the one that is read and the one that is fetched


class Into(NamedTuple):
    """Compiled loops for one scheme F(m, r)."""

    images: Callable[..., None]
    gradients: Callable[..., None]
    filter_row: Callable[..., None]
    filters: Callable[..., None]


@cache
def into_frequencies(m: int, r: int) -> Into:
    """The loops of F(m, r), compiled when first called."""
    size = m + r - 1
    planes = size * size
    sources = transforms(m, r)
    image, gradient = built(sources["image"]), built(sources["gradient"])
    far_filter, near_filter = (
        built(sources[name], truncate_to_bf16=truncate_to_bf16, pack_bf16_pairs=pack_bf16_pairs)
        for name in ("filter", "near_filter")
    )

    @partial(compiled, m=m, r=r)
    def images(t: Layer, x: int, zero: int, out: int, first: int, last: int) -> None:
        """Transform the tiles of images x in the groups first..last."""
        table = np.empty(planes, np.int64)
        blocks = t.channels // LANES
        step = group_step(t.stride**2 * blocks)
        plane = plane_step(t.stride**2 * blocks, t.groups * t.chunks)
        for group in range(first, last):
            for row in range(MR):
                tile = group % t.groups * MR + row
                n = group // t.groups * t.chunk + tile // (t.down * t.across)
                inside = tile < t.chunk * t.down * t.across and n < t.images
                top = tile // t.across % t.down * m * t.stride - t.top
                left = tile % t.across * m * t.stride - t.left
                for phase in range(t.stride**2):
                    for i in range(size):
                        y = top + i * t.stride + phase // t.stride
                        line = x + 4 * (n * t.height + y) * t.width * t.channels
                        for j in range(size):
                            z = left + j * t.stride + phase % t.stride
                            seen = inside and 0 <= y < t.height and 0 <= z < t.width
                            table[i * size + j] = line + 4 * z * t.channels if seen else zero
                    target = (
                        out + group * step + phase * blocks * A_BLOCK_BYTES + row * VECTOR_BYTES
                    )
                    image(table, VECTOR_BYTES, target, plane, A_BLOCK_BYTES, blocks)

    @partial(compiled, m=m, r=r)
    def gradients(t: Layer, g: int, zero: int, out: int, first: int, last: int) -> None:
        """Transform the tiles of output gradients g in the groups first..last."""
        table = np.empty(m * m, np.int64)
        blocks = t.filters // LANES
        step, plane = group_step(blocks), plane_step(blocks, t.groups * t.chunks)
        for group in range(first, last):
            for row in range(MR):
                outputs_of(t, g, zero, group, row, table)
                gradient(
                    table,
                    VECTOR_BYTES,
                    out + group * step + row * VECTOR_BYTES,
                    plane,
                    A_BLOCK_BYTES,
                    blocks,
                )

    @partial(compiled, m=m, r=r)
    def filter_row(
        w: int,
        zero: int,
        kernel: int,
        stride: int,
        rows: int,
        columns: int,
        i: int,
        end: int,
        panel: int,
        out: int,
        plane: int,
        near: bool,
        table: np.ndarray,
    ) -> None:
        """Transform row i, of all phases' rows, of a panel of filters w (kernel, kernel, rows,
        columns), for pieces also that which makes pairs with it, if it comes before `end`; `near`
        if it is used at once.
        """
        for other in range(2 if AMX else 1):
            row = i + other * TILE_ROWS
            phase = row // rows
            for u in range(r):
                for v in range(r):
                    y, x = stride * u + phase // stride, stride * v + phase % stride
                    at = (
                        w
                        + 4 * ((y * kernel + x) * rows + row % rows) * columns
                        + panel * B_ROW_BYTES
                    )
                    seen = y < kernel and x < kernel and row < end
                    table[(other * r + u) * r + v] = at if seen else zero
        count = min(NR_VECTORS, columns // LANES - panel * NR_VECTORS)
        if near:
            for tap in table:
                for line in range(0, B_ROW_BYTES, CACHE_LINE):
                    prefetch(tap + _AHEAD * 4 * columns + line)
        if AMX:
            if near:
                near_filter(table, table[r * r :], VECTOR_BYTES, out, plane, TILE_BYTES, count)
            else:
                far_filter(table, table[r * r :], VECTOR_BYTES, out, plane, TILE_BYTES, count)
        elif near:
            near_filter(table, VECTOR_BYTES, out, plane, VECTOR_BYTES, count)
        else:
            far_filter(table, VECTOR_BYTES, out, plane, VECTOR_BYTES, count)

    @partial(compiled, m=m, r=r)
    def filters(
        w: int,
        zero: int,
        kernel: int,
        stride: int,
        rows: int,
        columns: int,
        side_by_side: bool,
        out: int,
        first: int,
        last: int,
    ) -> None:
        """Transform filters w (kernel, kernel, rows, columns), for the units first..last of phases.

        The phases' panels lie one below the other, as the sum over phases wants them, or else
        `side_by_side`.
        """
        table = np.empty(2 * r * r if AMX else r * r, np.int64)
        panels = -(-columns // (NR_VECTORS * LANES))
        phases = stride * stride if side_by_side else 1  # for themselves
        together = stride * stride * rows // phases
        units = filter_units(together)
        plane = filter_step(together, phases * panels)
        for k in range(first, last):
            phase, unit = k // units, k % units
            i, end = phase * together + row_of(unit), (phase + 1) * together
            for panel in range(panels):
                target = out + (phase * panels + panel) * panel_step(together) + place_of(unit)
                filter_row(
                    w, zero, kernel, stride, rows, columns, i, end, panel, target, plane, False,
                    table,
                )  # fmt: skip

    return Into(images, gradients, filter_row, filters)

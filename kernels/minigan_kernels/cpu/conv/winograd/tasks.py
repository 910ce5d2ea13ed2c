"""The compiled tasks of the three directions: a batched GEMM in the Winograd domain, and the
inverse transform of its accumulators while they are in cache.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import numpy as np

from ...gemm.blocking import A_BLOCK_BYTES, B_ROW_BYTES, C_PANEL_BYTES, MR, NR_VECTORS
from ...gemm.operands import Accumulators, GemmScratch, GemmSize, Operand
from ...isa.amx import AMX
from ...isa.simd import LANES
from .epilogue import BiasLeakyReLU
from .forward import Taps, forward_transforms
from .inverse import Destination, inverse_transforms
from .problem import (
    PLANE_PADDING,
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

if AMX:
    from ...gemm.gemm_amx import gemm_nn, gemm_tn
    from ...gemm.gemm_amx import workspace_bytes as workspace_bytes
else:
    from ...gemm.gemm_simd import gemm_nn, gemm_tn
    from ...gemm.gemm_simd import workspace_bytes as workspace_bytes

# K blocks whose weights are transformed at a time if they are not kept; an even number.
KC_TRANSFORMED_BLOCKS = 64 // LANES


class Blocking(NamedTuple):
    """The largest block of c that is a task, and the slices of K."""

    mc_blocks: int  # of tiles; in the weight gradient, of LANES channels
    nc_panels: int
    kc_blocks: int  # K blocks; in the weight gradient, tile blocks
    phases: int = 1  # side by side in a task of the image gradient


class Task(NamedTuple):
    """What all tasks of a call have in common."""

    tiles: int  # address of the transformed images, or output gradients
    result: int  # address
    zeros: int  # address of a row of zeros
    mc_blocks: int  # and so on: the members of a Blocking
    nc_panels: int
    kc_blocks: int
    phases: int


class Tasks(NamedTuple):
    """Compiled loops over tasks for one scheme F(m, r)."""

    outputs: Callable[..., None]
    image_gradients: Callable[..., None]
    weight_gradients: Callable[..., None]


@cache
def compiled_tasks(m: int, r: int, fused: bool = False) -> Tasks:
    """The loops of F(m, r), with an epilogue or without, compiled when first called."""
    return Tasks(_outputs(m, r, fused), _image_gradients(m, r, fused), _weight_gradients(m, r))


@cache
def _multiply(m: int, r: int) -> Callable[..., None]:
    weight_row = forward_transforms(m, r).weight_row

    @partial(compiled, m=m, r=r)
    def transform_and_multiply(
        w: Taps,
        first_row: int,
        panel: int,
        u: int,
        a: Operand,
        c: Accumulators,
        size: GemmSize,
        scratch: GemmScratch,
    ) -> None:
        """c = a b, where b are weights from a row and a panel on. They are transformed at address
        u, one slice of K at a time, so they never leave L2.
        """
        table = np.empty(2 * r * r if AMX else r * r, np.int64)
        panels = -(-size.n_vectors // NR_VECTORS)
        plane_stride = weight_plane_stride(size.kc * LANES, panels)
        end = first_row + size.k * LANES
        for start in range(0, size.k, size.kc):
            count = min(size.kc, size.k - start)
            for q in range(panels):
                for unit in range(weight_units(count * LANES)):
                    row = first_row + start * LANES + unit_row(unit)
                    target = u + q * panel_bytes(count * LANES) + unit_offset(unit)
                    weight_row(w, row, end, panel + q, target, plane_stride, True, table)
            a_slice = Operand(a.address + start * A_BLOCK_BYTES, a.plane_stride, a.block_stride)
            b = Operand(u, plane_stride, panel_bytes(count * LANES))
            slice_size = GemmSize(size.planes, size.m, size.n_vectors, count, count)
            gemm_nn(a_slice, b, c, slice_size, start > 0, scratch)

    return transform_and_multiply


def _outputs(m: int, r: int, fused: bool) -> Callable[..., None]:
    multiply, inverse = _multiply(m, r), inverse_transforms(m, r, fused).outputs
    planes = (m + r - 1) ** 2

    @partial(compiled, m=m, r=r, fused=fused)
    def outputs(
        p: WinogradProblem,
        t: Task,
        w: Taps,
        epilogue: BiasLeakyReLU,
        u: int,
        c: int,
        discard: int,
        packed: int,
        first: int,
        last: int,
    ) -> None:
        """Outputs from transformed images and weights, a block of tile blocks and panels a task.

        u is the address of the transformed weights; or of memory to transform the taps w in, where
        these have an address.
        """
        k_blocks, tile_blocks = p.stride**2 * p.channels // LANES, p.chunk_blocks * p.chunks
        panels = -(-p.filters // (NR_VECTORS * LANES))
        rows = k_blocks * LANES
        block_stride = tile_block_stride(k_blocks)
        plane_stride = tile_plane_stride(k_blocks, tile_blocks)
        c_plane_stride = t.mc_blocks * t.nc_panels * C_PANEL_BYTES + PLANE_PADDING
        to, scratch = Destination(t.result, discard, t.zeros), GemmScratch(t.zeros, packed)
        across = -(-panels // t.nc_panels)
        for task in range(first, last):
            start, panel = task // across * t.mc_blocks, task % across * t.nc_panels
            count, width = min(t.mc_blocks, tile_blocks - start), min(t.nc_panels, panels - panel)
            vectors = min(width * NR_VECTORS, p.filters // LANES - panel * NR_VECTORS)
            a = Operand(t.tiles + start * block_stride, plane_stride, block_stride)
            sums = Accumulators(c, c_plane_stride, width * C_PANEL_BYTES)
            if w.address:
                size = GemmSize(planes, count, vectors, k_blocks, KC_TRANSFORMED_BLOCKS)
                multiply(w, 0, panel, u, a, sums, size, scratch)
            else:
                b = Operand(
                    u + panel * panel_bytes(rows),
                    weight_plane_stride(rows, panels),
                    panel_bytes(rows),
                )
                size = GemmSize(planes, count, vectors, k_blocks, t.kc_blocks)
                gemm_nn(a, b, sums, size, False, scratch)
            inverse(p, to, sums, start, count, panel, vectors, epilogue)

    return outputs


def _image_gradients(m: int, r: int, fused: bool) -> Callable[..., None]:
    multiply, inverse = _multiply(m, r), inverse_transforms(m, r, fused).image_gradients
    planes = (m + r - 1) ** 2

    @partial(compiled, m=m, r=r, fused=fused)
    def image_gradients(
        p: WinogradProblem,
        t: Task,
        w: Taps,
        epilogue: BiasLeakyReLU,
        u: int,
        c: int,
        discard: int,
        packed: int,
        first: int,
        last: int,
    ) -> None:
        """Image gradients from transformed output gradients and weights; u and w as above, but
        transposed.

        A task is a chunk of whole images and a block of panels of channels, those of `phases`
        phases side by side. Tiles overlap, so the tiles of an image are added one after the other.
        """
        k_blocks, panels = p.filters // LANES, -(-p.channels // (NR_VECTORS * LANES))
        block_stride = tile_block_stride(k_blocks)
        plane_stride = tile_plane_stride(k_blocks, p.chunk_blocks * p.chunks)
        b_plane_stride = weight_plane_stride(p.filters, p.stride**2 * panels)
        b_stride = panel_bytes(p.filters)
        c_plane_stride = t.mc_blocks * t.nc_panels * C_PANEL_BYTES + PLANE_PADDING
        to, scratch = Destination(t.result, discard, t.zeros), GemmScratch(t.zeros, packed)
        across, turns = -(-t.phases * panels // t.nc_panels), p.stride**2 // t.phases
        for task in range(first, last):
            column, chunk = task % across * t.nc_panels, task // (across * turns)
            phase = task // across % turns * t.phases  # the task's first
            width = min(t.nc_panels, t.phases * panels - column)
            vectors = width * NR_VECTORS
            if t.phases == 1:
                vectors = min(vectors, p.channels // LANES - column * NR_VECTORS)
            b = Operand(u + (phase * panels + column) * b_stride, b_plane_stride, b_stride)
            sums = Accumulators(c, c_plane_stride, width * C_PANEL_BYTES)
            end = (chunk + 1) * p.chunk_blocks
            for start in range(chunk * p.chunk_blocks, end, t.mc_blocks):
                count = min(t.mc_blocks, end - start)
                a = Operand(t.tiles + start * block_stride, plane_stride, block_stride)
                if w.address:
                    size = GemmSize(planes, count, vectors, k_blocks, KC_TRANSFORMED_BLOCKS)
                    multiply(w, phase * p.filters, column, u, a, sums, size, scratch)
                else:
                    size = GemmSize(planes, count, vectors, k_blocks, t.kc_blocks)
                    gemm_nn(a, b, sums, size, False, scratch)
                here = column
                while here < column + width:  # the part of each phase
                    panel = here % panels
                    few = min(panels - panel, column + width - here)
                    part = Accumulators(
                        c + (here - column) * C_PANEL_BYTES, c_plane_stride, width * C_PANEL_BYTES
                    )
                    full = min(few * NR_VECTORS, p.channels // LANES - panel * NR_VECTORS)
                    inverse(
                        p, to, part, start, count, phase + here // panels, panel, full, epilogue
                    )
                    here += few

    return image_gradients


def _weight_gradients(m: int, r: int) -> Callable[..., None]:
    inverse = inverse_transforms(m, r, False).weight_gradients
    planes = (m + r - 1) ** 2

    @partial(compiled, m=m, r=r)
    def weight_gradients(
        p: WinogradProblem,
        t: Task,
        gradients: int,
        c: int,
        discard: int,
        packed: int,
        first: int,
        last: int,
    ) -> None:
        """Weight gradients (kernel, kernel, channels, filters) from transformed images and output
        gradients, a block of all phases' channels and of panels of filters a task.
        """
        a_blocks, b_blocks = p.stride**2 * p.channels // LANES, p.filters // LANES
        tile_blocks, panels = p.chunk_blocks * p.chunks, -(-p.filters // (NR_VECTORS * LANES))
        a_plane_stride = tile_plane_stride(a_blocks, tile_blocks)
        b_plane_stride = tile_plane_stride(b_blocks, tile_blocks)
        a_stride, b_stride = tile_block_stride(a_blocks), tile_block_stride(b_blocks)
        rows = t.mc_blocks * LANES
        c_row_stride = t.nc_panels * B_ROW_BYTES
        c_plane_stride = -(-rows // MR) * MR * c_row_stride + PLANE_PADDING
        sums = Accumulators(c, c_plane_stride, c_row_stride)
        to, scratch = Destination(t.result, discard, t.zeros), GemmScratch(t.zeros, packed)
        across = -(-panels // t.nc_panels)
        for task in range(first, last):
            block, panel = task // across * t.mc_blocks, task % across * t.nc_panels
            height = min(t.mc_blocks, a_blocks - block) * LANES
            width = min(t.nc_panels, panels - panel)
            vectors = min(width * NR_VECTORS, b_blocks - panel * NR_VECTORS)
            a = Operand(t.tiles + block * A_BLOCK_BYTES, a_plane_stride, a_stride)
            b = Operand(gradients + panel * NR_VECTORS * A_BLOCK_BYTES, b_plane_stride, b_stride)
            size = GemmSize(planes, height, vectors, tile_blocks, t.kc_blocks)
            gemm_tn(a, b, sums, size, scratch)
            inverse(p, to, sums, block * LANES, height, panel, vectors)

    return weight_gradients

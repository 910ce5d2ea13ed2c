"""How a Winograd convolution is cut: a batch into slices, images into chunks, GEMMs into tasks."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

from ....checks import Window
from ...gemm.blocking import C_PANEL_BYTES, MR, NR_VECTORS
from ...isa.amx import AMX
from ...isa.simd import LANES
from ...runtime.workspace import Workspace
from .problem import PLANE_PADDING, WinogradProblem, weight_plane_stride
from .tasks import KC_TRANSFORMED_BLOCKS, Blocking, workspace_bytes

BATCH_SLICE_BYTES = 1 << 27  # transformed tiles of a batch slice
CHUNK_TILES = 512  # tiles of a chunk: enough for a GEMM to be fast
FEW_TILES = 64  # of so few the weights are not kept but transformed in each task
TRANSFORMED_PANELS = 2  # in a task then; the next task reads the tiles again
TASK_ACCUMULATORS = 32 << 10 if AMX else 12 << 10  # in one plane
WEIGHT_TASK_ACCUMULATORS = 32 << 10 if AMX else 16 << 10  # the same in the weight gradient
TASKS_PER_THREAD = 1 if AMX else 2  # at least, where blocks can be so small
KC_CHANNELS = 128 if AMX else 512  # a panel of so many, or its split strips, stays in a part of L2
KC_TILES = 256 if AMX else 64  # the split strips of so many stay in L2, or their channels in L1

NR = NR_VECTORS * LANES

Shape = tuple[int, int, int, int]


class Plan(NamedTuple):
    """The tasks of one GEMM: their number, the blocking of each, and a thread's workspaces."""

    tasks: int
    blocking: Blocking
    accumulators: Workspace
    discard: Workspace
    packed: Workspace
    weights: Workspace  # that are transformed in the task


def taps_of_phase(window: Window) -> int:
    return -(-window.kernel[0] // window.stride[0])


@lru_cache(512)
def batch_slices(
    image: Shape, output: Shape, window: Window, m: int
) -> tuple[tuple[slice, WinogradProblem], ...]:
    """The batch in slices whose transformed tiles take at most BATCH_SLICE_BYTES."""
    whole = _problem(image, output, window, m)
    depth = max(whole.channels * whole.phases, whole.filters)
    size = 4 * depth * whole.tile_blocks * MR * whole.planes
    images = max(1, image[0] * BATCH_SLICE_BYTES // size)
    slices = []
    for start in range(0, image[0], images):
        count = min(images, image[0] - start)
        problem = _problem((count, *image[1:]), (count, *output[1:]), window, m)
        slices.append((slice(start, start + count), problem))
    return tuple(slices)


def _problem(image: Shape, output: Shape, window: Window, m: int) -> WinogradProblem:
    (n, channels, height, width), (_, filters, out_height, out_width) = image, output
    down, across = -(-out_height // m), -(-out_width // m)
    tiles = down * across
    # At least two chunks, unless so few tiles would make GEMMs too small to be fast.
    images = max(1, min(n, CHUNK_TILES // tiles, max(64 // tiles, -(-n // 2))))
    return WinogradProblem(
        n, channels, height, width, filters, out_height, out_width, window.kernel[0],
        window.stride[0], *window.padding, m, taps_of_phase(window), down, across, images,
        -(-images * tiles // MR), -(-n // images),
    )  # fmt: skip


def keeps_weights(p: WinogradProblem) -> bool:
    """Whether so many tiles use the weights that they are worth keeping transformed."""
    return p.tile_blocks > -(-FEW_TILES // MR)


@lru_cache(512)
def output_plan(p: WinogradProblem, threads: int) -> Plan:
    panels = -(-p.filters // NR)
    if keeps_weights(p):
        units = p.tile_blocks, panels
        mc, nc = task_blocks(units, (MR, NR), TASK_ACCUMULATORS, 1, threads)
    else:
        mc, nc = p.tile_blocks, _transformed_panels(panels, threads)
    tasks = -(-p.tile_blocks // mc) * -(-panels // nc)
    return _plan(p, tasks, mc, nc, p.filters)


@lru_cache(512)
def image_gradient_plan(p: WinogradProblem, threads: int) -> Plan:
    panels = -(-p.channels // NR)
    kept = keeps_weights(p)
    phases = p.phases if AMX and kept else 1
    turns = p.phases // phases * p.chunks  # tasks for a block of panels
    if kept:
        units = p.chunk_blocks, phases * panels
        mc, nc = task_blocks(units, (MR, NR), TASK_ACCUMULATORS, turns, threads, ordered=True)
    else:
        mc, nc = p.chunk_blocks, _transformed_panels(turns * panels, threads)
    return _plan(p, turns * -(-phases * panels // nc), mc, nc, p.channels, phases)


def _plan(p: WinogradProblem, tasks: int, mc: int, nc: int, columns: int, phases: int = 1) -> Plan:
    kc = KC_CHANNELS // LANES
    return Plan(
        tasks,
        Blocking(mc, nc, kc, phases),
        _accumulators(p, mc, nc),
        Workspace("discard", 4 * columns),
        Workspace("packed", workspace_bytes(max(kc, KC_TRANSFORMED_BLOCKS), mc * MR)),
        Workspace("weights", p.planes * weight_plane_stride(KC_TRANSFORMED_BLOCKS * LANES, nc)),
    )


@lru_cache(512)
def weight_gradient_plan(p: WinogradProblem, threads: int) -> Plan:
    blocks, panels = p.phases * p.channels // LANES, -(-p.filters // NR)
    mc, nc = task_blocks((blocks, panels), (LANES, NR), WEIGHT_TASK_ACCUMULATORS, 1, threads)
    kc = -(-KC_TILES // MR)
    return Plan(
        -(-blocks // mc) * -(-panels // nc),
        Blocking(mc, nc, kc),
        _accumulators(p, -(-mc * LANES // MR), nc),
        Workspace("discard", 4 * p.filters),
        Workspace("packed", workspace_bytes(2 * kc, mc * LANES)),
        Workspace("weights", 0),
    )


def _accumulators(p: WinogradProblem, tile_blocks: int, panels: int) -> Workspace:
    plane_bytes = tile_blocks * panels * C_PANEL_BYTES + PLANE_PADDING
    return Workspace("accumulators", p.planes * plane_bytes)


def task_blocks(
    units: tuple[int, int],
    sizes: tuple[int, int],
    accumulators: int,
    tasks: int,
    threads: int,
    *,
    ordered: bool = False,
) -> tuple[int, int]:
    """The largest block of c that is a task, in units of rows and of columns: the one that makes
    the tasks read least.

    There are `units` of rows and of columns in all, each of `sizes` elements. A task keeps at most
    so many `accumulators`, and reads its rows and its columns once. There are `tasks` for every
    block, or for every column of blocks if rows are `ordered`. Sums do not depend on the blocks,
    so the blocks may depend on the threads.
    """

    def cost(block: tuple[int, int]) -> tuple[int, int]:
        down, across = (-(-unit // b) for unit, b in zip(units, block, strict=True))
        lacking = TASKS_PER_THREAD * threads - tasks * (1 if ordered else down) * across
        return max(0, lacking), units[0] * sizes[0] * across + units[1] * sizes[1] * down

    rows, columns = ({-(-unit >> k) for k in range(unit.bit_length() + 1)} for unit in units)
    blocks = [(r, c) for r in sorted(rows) for c in sorted(columns)]
    small = [b for b in blocks if math.prod(b) * math.prod(sizes) <= accumulators]
    return min(small or blocks[:1], key=cost)


def _transformed_panels(panels: int, threads: int) -> int:
    """How many of so many panels to transform in one task, so that no thread is idle."""
    return max(1, min(TRANSFORMED_PANELS, panels // (2 * threads)))


def clear_plans() -> None:
    """Plan again, by other limits."""
    for plan in (batch_slices, output_plan, image_gradient_plan, weight_gradient_plan):
        plan.cache_clear()

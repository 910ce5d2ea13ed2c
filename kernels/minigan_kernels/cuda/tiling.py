"""Which kernel computes a convolution or a GEMM, on which tiles, in how many split-K slices.

`choose` is a rule over sizes and the GPU's number of multiprocessors: the same on every GPU of a
model. `choices` are what `autotune` may take in place of the rule's plan.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import numpy as np

from .launch import Kernel, kernel

PRECISIONS = ("float32", "tf32", "bfloat16")
SMALL_N = 4  # filters, up to which a GEMM is not worth a tile
SPLIT_K = (1, 2, 4, 8, 16, 32, 64, 128, 256)  # numbers of slices that K may be split into
_MIN_SLICE_TILES = 8  # along K in a slice: with fewer, filling the pipeline would take its time
_MAX_WAVES = 4  # blocks for each multiprocessor that slices may give


class Tile(NamedTuple):
    """What a block computes: m x n accumulators, k of the sum at a time, from `stages` buffers.

    `warps` divide m and n among them. `blocks` shall be resident on a multiprocessor at once, which
    limits a thread to 65536 / (blocks * threads) registers.
    """

    m: int
    n: int
    k: int
    stages: int
    warps: tuple[int, int]
    blocks: int

    @property
    def threads(self) -> int:
        """Threads in a block."""
        return 32 * self.warps[0] * self.warps[1]


# From large to small. Tests run each of them, and each of SPLIT_K, so `choose` may take any.
TILES: dict[str, tuple[Tile, ...]] = {
    "float32": (Tile(128, 64, 16, 3, (2, 4), 2), Tile(64, 64, 16, 3, (2, 4), 2)),
    "tf32": (
        Tile(128, 128, 16, 4, (2, 4), 1),
        Tile(128, 64, 16, 4, (2, 2), 3),
        Tile(64, 64, 16, 4, (2, 2), 2),
    ),
    "bfloat16": (
        Tile(128, 128, 32, 4, (2, 4), 2),
        Tile(128, 64, 32, 4, (2, 2), 3),
        Tile(64, 64, 32, 4, (2, 2), 2),
    ),
}

_precision: ContextVar[str] = ContextVar("precision", default="float32")
_tile: ContextVar[tuple[int, int] | None] = ContextVar("tile", default=None)


@contextmanager
def precision(name: str) -> Iterator[None]:
    """Within the block multiply in "float32", "tf32" or "bfloat16"; accumulators are float32.

    Raises:
        ValueError: if `name` is none of them.
    """
    if name not in PRECISIONS:
        raise ValueError(f"there is no precision {name!r}; there are {', '.join(PRECISIONS)}")
    token = _precision.set(name)
    try:
        yield
    finally:
        _precision.reset(token)


def current_precision() -> str:
    """In which precision kernels multiply now."""
    return _precision.get()


@contextmanager
def force(tile: int, split_k: int) -> Iterator[None]:
    """Within the block take the tile of that index in `TILES`, and `split_k` slices."""
    token = _tile.set((tile, split_k))
    try:
        yield
    finally:
        _tile.reset(token)


class GemmShape(NamedTuple):
    """`batch` matrix products of (m, k) and (k, n) matrices."""

    m: int
    n: int
    k: int
    batch: int = 1

    def grid(self, tile: Tile) -> tuple[int, int, int]:
        """Blocks without split-K."""
        return math.ceil(self.m / tile.m), math.ceil(self.n / tile.n), self.batch


class Plan(NamedTuple):
    """How operands are stored (uint16 stands for bfloat16), and what runs."""

    kind: type
    multiple: int  # channels are padded to a multiple of it
    tile: Tile | None = None  # None: a kernel without tiles
    split_k: int = 1  # slices

    def __str__(self) -> str:
        t = self.tile
        if t is None:
            return "no tile"
        tile = f"{t.m}x{t.n}x{t.k}, {t.stages} stages, {t.warps[0]}x{t.warps[1]} warps"
        return f"{tile}, {t.blocks} resident, split-K {self.split_k}"

    @property
    def tensor(self) -> bool:
        """Whether tensor cores multiply."""
        return self.tile is not None and self.tile not in TILES["float32"]

    @property
    def precision(self) -> str:
        """In which it multiplies."""
        return "bfloat16" if self.kind is np.uint16 else "tf32" if self.tensor else "float32"

    def kernel(self, file: str, name: str, **more: object) -> Kernel:
        """Kernel `name` of `file` for this plan's tile; `more` are further macros."""
        assert self.tile
        t = self.tile
        defines: dict[str, object] = {
            **more,
            "TILE_M": t.m, "TILE_N": t.n, "TILE_K": t.k, "STAGES": t.stages, "BLOCKS": t.blocks,
            "MATH": '"tensor.cuh"' if self.tensor else '"simt.cuh"',
        }  # fmt: skip
        if self.tensor:
            defines |= {"WARPS_M": t.warps[0], "WARPS_N": t.warps[1]}
        if self.kind is np.uint16:
            defines["MATH_BF16"] = 1
        shared = t.stages * (t.m + t.n) * t.k * np.dtype(self.kind).itemsize
        return kernel(file, name, threads=t.threads, shared=shared, **defines)


def choose(
    kind: type,
    gemm: GemmShape,
    *,
    channels: tuple[int, ...] = (),
    small_n: bool = False,
    multiprocessors: int,
) -> Plan:
    """The rule's plan for `gemm`, or the one that was forced.

    `channels` are those of a group, if there are several: they must not be padded. Only float32 has
    kernels with tiles. `small_n`: whether there is a kernel for up to SMALL_N columns.
    """
    if kind is not np.float32:
        return Plan(kind, 1)
    name = current_precision()
    size = 8 if name == "bfloat16" else 4
    if any(c % size for c in channels):
        return Plan(kind, 1)
    if small_n and gemm.n <= SMALL_N and not channels:
        return Plan(kind, 4)
    forced = _tile.get()
    values = np.uint16 if name == "bfloat16" else np.float32
    if forced:
        return Plan(values, size, TILES[name][forced[0]], forced[1])
    for tile in TILES[name]:
        blocks = math.prod(gemm.grid(tile))
        if blocks >= multiprocessors and tile.n < 2 * gemm.n:  # else half would be empty
            return Plan(values, size, tile)
    # The smallest tile does not fill the GPU either.
    most = min(math.ceil(2 * multiprocessors / max(1, blocks)), _most_slices(gemm, tile))
    return Plan(values, size, tile, max(n for n in SPLIT_K if n == 1 or n <= most))


def choices(rule: Plan, gemm: GemmShape, *, multiprocessors: int) -> list[Plan]:
    """The plans among which a measurement may choose for `gemm`, the rule's first.

    The others differ in tile and slices. There are none without a tile, without work, or if a plan
    was forced.
    """
    if rule.tile is None or _tile.get() or not math.prod(gemm):
        return []
    found = [rule]
    for tile in TILES[rule.precision]:
        blocks = max(1, math.prod(gemm.grid(tile)))
        most = min(_MAX_WAVES * multiprocessors // blocks, _most_slices(gemm, tile))
        found += [rule._replace(tile=tile, split_k=n) for n in SPLIT_K if n == 1 or n <= most]
    return list(dict.fromkeys(found))


def _most_slices(gemm: GemmShape, tile: Tile) -> int:
    return math.ceil(gemm.k / tile.k) // _MIN_SLICE_TILES

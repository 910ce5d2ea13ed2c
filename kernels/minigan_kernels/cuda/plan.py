"""Which kernel computes a convolution or a matrix product, on which tiles, in how many parts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import numpy as np

from .launch import Kernel, kernel

PRECISIONS = ("float32", "tf32", "bfloat16")
FEW = 4  # filters that are not worth a tile
_LEAST = 8  # tiles of the sum that a part must have: fewer would be spent on filling the pipeline


class Tile(NamedTuple):
    """What a block computes: m x n sums, over k products at a time, from `stages` buffers.

    `warps` share m and n among them; `blocks` are to fit a multiprocessor at once, which bounds
    the registers of a thread by 65536 / (blocks * threads).
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


# From large to small. The tests run each of them, so the planner may take any.
TILES: dict[str, tuple[Tile, ...]] = {
    "float32": (Tile(128, 64, 16, 3, (2, 4), 2), Tile(64, 64, 16, 3, (2, 4), 2)),
    "tf32": (Tile(128, 128, 16, 4, (2, 4), 1), Tile(64, 64, 16, 4, (2, 2), 2)),
    "bfloat16": (Tile(128, 128, 32, 4, (2, 4), 2), Tile(64, 64, 32, 4, (2, 2), 2)),
}

_precision: ContextVar[str] = ContextVar("precision", default="float32")
_tile: ContextVar[tuple[int, int] | None] = ContextVar("tile", default=None)


@contextmanager
def precision(name: str) -> Iterator[None]:
    """Within the block multiply in "float32", "tf32" or "bfloat16"; sums are float32 always.

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


@contextmanager
def force(tile: int, splits: int) -> Iterator[None]:
    """Within the block take the tile of that index in `TILES`, and cut sums in `splits` parts."""
    token = _tile.set((tile, splits))
    try:
        yield
    finally:
        _tile.reset(token)


class Plan(NamedTuple):
    """How values are kept in memory (uint16 stands for bfloat16), and what runs."""

    kind: type
    multiple: int  # channels lie in whole multiples of it
    tile: Tile | None = None  # None: no matrix product
    splits: int = 1

    @property
    def tensor(self) -> bool:
        """Whether tensor cores multiply."""
        return self.tile is not None and self.tile not in TILES["float32"]

    def product(self, file: str, name: str) -> Kernel:
        """The kernel for this plan's tile."""
        assert self.tile
        t = self.tile
        defines: dict[str, object] = {
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
    rows: int,
    columns: int,
    depth: int,
    *,
    products: int = 1,
    channels: tuple[int, ...] = (),
    few: bool = False,
    multiprocessors: int,
) -> Plan:
    """The plan for `products` matrices of `rows` x `columns` sums of `depth` products each.

    `channels` are those of a group, if there are several: they must not be padded. Only float32 has
    kernels with tiles. `few`: whether there is a kernel for few columns.
    """
    if kind is not np.float32:
        return Plan(kind, 1)
    name = _precision.get()
    size = 8 if name == "bfloat16" else 4
    if any(c % size for c in channels):
        return Plan(kind, 1)
    if few and columns <= FEW and not channels:
        return Plan(kind, 4)
    forced = _tile.get()
    values = np.uint16 if name == "bfloat16" else np.float32
    if forced:
        return Plan(values, size, TILES[name][forced[0]], forced[1])
    for tile in TILES[name]:
        blocks = math.ceil(rows / tile.m) * math.ceil(columns / tile.n) * products
        if blocks >= multiprocessors:
            return Plan(values, size, tile)
    parts = math.ceil(depth / tile.k)  # the smallest tile does not fill the card either
    splits = min(math.ceil(2 * multiprocessors / blocks), max(1, parts // _LEAST))
    return Plan(values, size, tile, splits)

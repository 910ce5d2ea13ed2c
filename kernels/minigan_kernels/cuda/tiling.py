"""Which kernel computes a convolution or a matrix product, on which tiles, in how many parts.

`choose` is a rule over sizes and the card's number of multiprocessors: the same on every card of a
kind. `choices` are what `tune` may take in place of the rule's plan.
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
FEW = 4  # filters that are not worth a tile
SPLITS = (1, 2, 4, 8, 16, 32, 64, 128, 256)  # parts that a sum may be cut in
_LEAST = 8  # tiles of the sum that a part must have: fewer would be spent on filling the pipeline
_WAVES = 4  # blocks for each multiprocessor, at most, that parts are made for


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


# From large to small. The tests run each of them, and each of SPLITS, so the planner may take any.
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


class Work(NamedTuple):
    """`products` matrices of `rows` x `columns` sums of `depth` products each."""

    rows: int
    columns: int
    depth: int
    products: int = 1

    def grid(self, tile: Tile) -> tuple[int, int, int]:
        """Blocks that it takes."""
        return math.ceil(self.rows / tile.m), math.ceil(self.columns / tile.n), self.products


class Plan(NamedTuple):
    """How values are kept in memory (uint16 stands for bfloat16), and what runs."""

    kind: type
    multiple: int  # channels lie in whole multiples of it
    tile: Tile | None = None  # None: no matrix product
    splits: int = 1

    def __str__(self) -> str:
        t = self.tile
        if t is None:
            return "no tile"
        tile = f"{t.m}x{t.n}x{t.k}, {t.stages} stages, {t.warps[0]}x{t.warps[1]} warps"
        return f"{tile}, {t.blocks} at once, {self.splits} parts"

    @property
    def tensor(self) -> bool:
        """Whether tensor cores multiply."""
        return self.tile is not None and self.tile not in TILES["float32"]

    @property
    def precision(self) -> str:
        """What it multiplies in."""
        return "bfloat16" if self.kind is np.uint16 else "tf32" if self.tensor else "float32"

    def product(self, file: str, name: str, **more: object) -> Kernel:
        """The kernel for this plan's tile; `more` are macros besides."""
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
    work: Work,
    *,
    channels: tuple[int, ...] = (),
    few: bool = False,
    multiprocessors: int,
) -> Plan:
    """The rule's plan for `work`, or the one that was forced.

    `channels` are those of a group, if there are several: they must not be padded. Only float32 has
    kernels with tiles. `few`: whether there is a kernel for few columns.
    """
    if kind is not np.float32:
        return Plan(kind, 1)
    name = _precision.get()
    size = 8 if name == "bfloat16" else 4
    if any(c % size for c in channels):
        return Plan(kind, 1)
    if few and work.columns <= FEW and not channels:
        return Plan(kind, 4)
    forced = _tile.get()
    values = np.uint16 if name == "bfloat16" else np.float32
    if forced:
        return Plan(values, size, TILES[name][forced[0]], forced[1])
    for tile in TILES[name]:
        blocks = math.prod(work.grid(tile))
        if blocks >= multiprocessors and tile.n < 2 * work.columns:  # else half would be empty
            return Plan(values, size, tile)
    # The smallest tile does not fill the card either.
    most = min(math.ceil(2 * multiprocessors / max(1, blocks)), _most_parts(work, tile))
    return Plan(values, size, tile, max(n for n in SPLITS if n == 1 or n <= most))


def choices(rule: Plan, work: Work, *, multiprocessors: int) -> list[Plan]:
    """The plans among which a measurement may choose for `work`: the rule's, and such with other
    tiles and splits; none if there is no tile, nothing to do, or if a plan was forced.
    """
    if rule.tile is None or _tile.get() or not math.prod(work):
        return []
    found = [rule]
    for tile in TILES[rule.precision]:
        most = min(_WAVES * multiprocessors // max(1, math.prod(work.grid(tile))),
                   _most_parts(work, tile))  # fmt: skip
        found += [rule._replace(tile=tile, splits=n) for n in SPLITS if n == 1 or n <= most]
    return list(dict.fromkeys(found))


def _most_parts(work: Work, tile: Tile) -> int:
    return math.ceil(work.depth / tile.k) // _LEAST

"""Writes the AMX microkernels of the GEMM: K steps of 2 x 2 tiles that split vectors meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..compiler.codegen import built
from ..isa.amx import (
    TILE_BYTES,
    TILE_ROWS,
    pack_bf16_pairs,
    tile_dpbf16,
    tile_load,
    truncate_to_bf16,
)
from ..isa.simd import VECTOR_BYTES
from ..transpose import transpose_block
from .bf16x3 import split_bf16x3


def k_step(name: str, *half_steps: str, multiply: bool = True) -> str:
    """Source of a K step of 2 x 2 tiles c += a b, which splits `half_steps` meanwhile; or that
    only splits.

    A "straight" half step has its vectors as a tile wants them. A "transposed" one is transposed
    first; with that, "extra" is one more straight one. Of the products of terms the small ones are
    added first. The vector instructions come in between, a few rows at a time: a tile load waits
    for a free tile, and all instructions behind it wait too.
    """
    names = ["a", "b"] * multiply + [f"{kind}_half_step" for kind in half_steps]
    scratch = ["transposed_tiles"] * ("transposed" in half_steps)
    lines = [f"def {name}({', '.join(names + scratch)}):"]
    for kind in half_steps:
        # What is transposed has an even number of vectors along K, so none pairs with zeros.
        stride = "_" if kind == "transposed" else f"{kind}_stride"
        fields = f"{kind}_x, {kind}_y, {stride}, {kind}_out, {kind}_ahead"
        lines.append(f"    {fields} = {kind}_half_step")
    for slot, loads in enumerate(("a2 b0", "a1", "b1", "a0", "b2", "b0")):
        for operand, term in map(tuple, loads.split()) if multiply else ():
            first = 4 if operand == "a" else 6
            for half in range(2):
                place = f"{operand} + {(2 * int(term) + half) * TILE_BYTES}"
                lines.append(f"    tile_load({first + half}, {place}, {VECTOR_BYTES})")
        if multiply:
            tiles = [(2 * i + j, 4 + i, 6 + j) for i in range(2) for j in range(2)]
            lines += [f"    tile_dpbf16{tile}" for tile in tiles]
        for kind in half_steps:
            lines += _vector_work(kind, slot)
    return "\n".join(lines) + "\n"


def _vector_work(kind: str, slot: int) -> list[str]:
    """What the vector units do for a half step in one of a step's six slots."""
    if kind == "transposed":
        if slot < 2:
            place = "transposed_x" if slot == 0 else "transposed_y"
            target = f"transposed_tiles + {slot * TILE_BYTES}"
            rows = [f"{place} + {row * VECTOR_BYTES}" for row in range(TILE_ROWS)]
            return [
                *(f"    prefetch({row} + transposed_ahead)" for row in rows),
                f"    transpose_block({place}, {VECTOR_BYTES}, {target}, {VECTOR_BYTES})",
            ]
        return _split_rows(kind, 4 * slot - 8, 4 * slot - 4)
    ends = (0, 4, 8, 10, 12, 14, 16) if kind == "extra" else (0, 2, 5, 8, 11, 14, 16)
    return _split_rows(kind, ends[slot], ends[slot + 1])


def _split_rows(kind: str, first: int, last: int) -> list[str]:
    """Rows of a tile for each term, from vectors that become pairs lane by lane."""
    lines = []
    for row in range(first, last):
        x, y = f"{kind}_x + {row * VECTOR_BYTES}", f"{kind}_y + {row} * {kind}_stride"
        if kind == "transposed":
            x = f"transposed_tiles + {row * VECTOR_BYTES}"
            y = f"transposed_tiles + {TILE_BYTES + row * VECTOR_BYTES}"
        else:
            lines += [f"    prefetch({place} + {kind}_ahead)" for place in (x, y)]
        lines.append(f"    out = {kind}_out + {row * VECTOR_BYTES}")
        lines += [f"    {line}" for line in split_bf16x3(f"load({x})", f"load({y})", "out")]
    return lines


STEPS = {
    "step": k_step("step"),
    "step_straight": k_step("step_straight", "straight"),
    "step_transposed": k_step("step_transposed", "transposed"),
    "step_transposed_extra": k_step("step_transposed_extra", "transposed", "extra"),
    "split_straight": k_step("split_straight", "straight", multiply=False),
    "split_transposed": k_step("split_transposed", "transposed", multiply=False),
}


def compiled_steps() -> dict[str, Callable[..., None]]:
    """The compiled functions of STEPS."""
    names: dict[str, Any] = {
        "truncate_to_bf16": truncate_to_bf16,
        "tile_load": tile_load,
        "tile_dpbf16": tile_dpbf16,
        "pack_bf16_pairs": pack_bf16_pairs,
        "transpose_block": transpose_block,
    }
    return {name: built(source, **names) for name, source in STEPS.items()}

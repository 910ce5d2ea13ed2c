"""Writes the code that cuts float32 vectors up into three bfloat16 pieces (see `isa.amx`)."""

from __future__ import annotations

from ..isa.amx import SPLITS, TILE_BYTES


def split_bf16x3(p: str, q: str, place: str, write: str = "store") -> list[str]:
    """Lines that write a row of a tile of each piece (see `amx`) of the vectors p and q, pairs lane
    by lane, from a place on.
    """
    lines = [f"p, q = {p}, {q}", f"{write}({place}, pack_bf16_pairs(p, q))"]
    for piece in range(1, SPLITS):
        lines.append("p, q = p - truncate_to_bf16(p), q - truncate_to_bf16(q)")
        lines.append(f"{write}({place} + {piece * 2 * TILE_BYTES}, pack_bf16_pairs(p, q))")
    return lines

"""Writes the code that splits float32 vectors into three bfloat16 terms (see `isa.amx`)."""

from __future__ import annotations

from ..isa.amx import SPLITS, TILE_BYTES


def split_bf16x3(p: str, q: str, place: str, write: str = "store") -> list[str]:
    """Lines that split the vectors p and q and write each term, pairs lane by lane, as one row of
    a tile; the first tile's row is at `place`.
    """
    lines = [f"p, q = {p}, {q}", f"{write}({place}, pack_bf16_pairs(p, q))"]
    for term in range(1, SPLITS):
        lines.append("p, q = p - truncate_to_bf16(p), q - truncate_to_bf16(q)")
        lines.append(f"{write}({place} + {term * 2 * TILE_BYTES}, pack_bf16_pairs(p, q))")
    return lines

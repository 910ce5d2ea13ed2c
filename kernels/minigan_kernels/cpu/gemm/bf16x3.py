"""Writes the code that cuts float32 vectors up into three bfloat16 pieces (see `isa.amx`)."""

from __future__ import annotations

from ..isa.amx import PIECES, TILE


def cut_up(p: str, q: str, place: str, write: str = "store") -> list[str]:
    """Lines that write a row of a tile of each piece (see `amx`) of the vectors p and q, pairs lane
    by lane, from a place on.
    """
    lines = [f"p, q = {p}, {q}", f"{write}({place}, paired(p, q))"]
    for piece in range(1, PIECES):
        lines.append("p, q = p - cut(p), q - cut(q)")
        lines.append(f"{write}({place} + {piece * 2 * TILE}, paired(p, q))")
    return lines

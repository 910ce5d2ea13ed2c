"""The transpose of a square of vectors, in registers."""

from __future__ import annotations

from .compiler.codegen import built
from .isa.simd import LANES


def transpose(name: str) -> str:
    """Source of the transpose of LANES vectors, `x_step` bytes apart, to rows `y_step` apart.

    Interleaving row i with row i + LANES/2, log2(LANES) times, deals the elements out (a perfect
    shuffle of the bits of their index).
    """
    lines = [f"def {name}(x, x_step, y, y_step):"]
    lines += [f"    x{i} = load(x + {i} * x_step)" for i in range(LANES)]
    half = LANES // 2
    for _ in range(LANES.bit_length() - 1):
        pairs = [
            (2 * i, f"{kind}(x{i}, x{i + half})")
            for i in range(half)
            for kind in ("unpack_lo", "unpack_hi")
        ]
        names = ", ".join(f"x{i}" for i in range(LANES))
        lines.append(f"    {names} = {', '.join(value for _, value in pairs)}")
    lines += [f"    store(y + {i} * y_step, x{i})" for i in range(LANES)]
    return "\n".join(lines) + "\n"


transpose_block = built(transpose("transpose"))

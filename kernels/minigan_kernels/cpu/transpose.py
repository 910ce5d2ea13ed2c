"""The transpose of a LANES x LANES block, in vector registers."""

from __future__ import annotations

from .compiler.codegen import built
from .isa.simd import LANES


def transpose(name: str) -> str:
    """Source of name(x, x_stride, y, y_stride), which transposes LANES rows of LANES floats.

    Strides are the bytes from one row to the next. It interleaves row i with row i + LANES/2, and
    that log2(LANES) times: each time rotates the bits of an element's index by one, until row and
    column have changed places.
    """
    lines = [f"def {name}(x, x_stride, y, y_stride):"]
    lines += [f"    x{i} = load(x + {i} * x_stride)" for i in range(LANES)]
    half = LANES // 2
    for _ in range(LANES.bit_length() - 1):
        pairs = [
            (2 * i, f"{kind}(x{i}, x{i + half})")
            for i in range(half)
            for kind in ("unpack_lo", "unpack_hi")
        ]
        names = ", ".join(f"x{i}" for i in range(LANES))
        lines.append(f"    {names} = {', '.join(value for _, value in pairs)}")
    lines += [f"    store(y + {i} * y_stride, x{i})" for i in range(LANES)]
    return "\n".join(lines) + "\n"


transpose_block = built(transpose("transpose"))

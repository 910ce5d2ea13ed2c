"""Random numbers on a GPU, the same bits as the other twins'; see src/random.cu.

`key` and `offset` may be arrays (1,) of uint64 on the GPU instead of numbers: a captured graph
reads them each time it runs.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from .. import philox
from .elementwise import THREADS, c_type_of
from .launch import Kernel, address, blocks_for, empty, scalar

_NUMBERS: dict[str, Any] = {
    name: f"{getattr(philox, name)}u" for name in ("M0", "M1", "W0", "W1")
} | {name: getattr(philox, name) for name in ("ROUNDS", "LOG2", "SQRT_HALF")}
_NUMBERS |= {
    name: ", ".join(map(repr, getattr(philox, name)))
    for name in ("LOG_TERMS", "SIN_TERMS", "COS_TERMS")
}


def random_bits(out: np.ndarray, *, key: int, offset: int) -> None:
    """Fill `out` (uint32) with the words of stream `key` from block `offset` on."""
    _fill("random_bits", out, key, offset)


def uniform(out: np.ndarray, *, key: int, offset: int) -> None:
    """Fill `out` with uniform numbers in [0, 1)."""
    _fill("uniform", out, key, offset)


def normal(out: np.ndarray, *, key: int, offset: int) -> None:
    """Fill `out` with standard normal numbers."""
    _fill("normal", out, key, offset)


def dropout_mask(out: np.ndarray, *, keep: float, key: int, offset: int) -> None:
    """Fill `out` with 1 / keep, with probability `keep`, and 0 elsewhere."""
    _fill("dropout_mask", out, key, offset, np.float32(keep), np.float32(1 / keep))


@cache
def kernel(name: str, c_type: str, key: str, offset: str, aligned: bool) -> Kernel:
    """A kernel whose `key` and `offset` have these types in C++."""
    types: dict[str, Any] = {"T": c_type, "KEY": key, "OFFSET": offset, "ALIGNED": int(aligned)}
    return Kernel("random", name, threads=THREADS, **types, **_NUMBERS)


def _fill(name: str, out: Any, key: int, offset: int, *options: Any) -> None:
    target = out if out.flags.c_contiguous else empty(out.shape, out.dtype, like=out)
    (key_type, key), (offset_type, offset) = (scalar(v, np.uint64) for v in (key, offset))
    c_type = "unsigned" if out.dtype == np.uint32 else c_type_of(out.dtype)
    run = kernel(name, c_type, key_type, offset_type, address(target) % 16 == 0)
    grid = blocks_for(math.ceil(out.size / 4), THREADS)
    run(grid, target.reshape(-1), np.int64(out.size), key, offset, *options)
    if target is not out:
        out[...] = target

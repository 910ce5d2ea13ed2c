"""Matrix products by BLAS, one thread of it to a block of the result.

The blocks are as many as a power of two, so that two or four threads have the same to do, and few:
BLAS packs the other operand once for each.

OpenBLAS's product of a matrix of five columns with a vector, for AVX-512, loads lanes that nothing
has written. It drops them, but they may raise the flag of an invalid value, and NumPy then warns of
what did not happen: `product` asks it not to look.
"""

from __future__ import annotations

import math

import numpy as np

from .runtime.allocator import empty
from .runtime.blas import one_blas_thread
from .runtime.parallel import parallel_for, rows_per_chunk

_TINY = 1 << 13  # multiplications that no BLAS spreads over its threads
_PIECE = 1 << 25  # multiplications worth a piece of work
_EVEN = 32  # rows that a block has a multiple of


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Matrix product over the last two axes, the leading ones broadcast, as `numpy.matmul`."""
    if a.ndim > 2 and b.ndim == 2:
        rows = a.reshape(math.prod(a.shape[:-1]), a.shape[-1])  # -1 is no number if a is empty
        return matmul(rows, b).reshape(*a.shape[:-1], b.shape[1])
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        return product(a, b)
    if max(a.size * b.shape[-1], a.shape[-2] * b.size) <= _TINY:
        return product(a, b)
    if a.shape[-1] == 1:
        return _outer(a, b)
    with one_blas_thread:
        if a.ndim == b.ndim == 2:
            out = empty((len(a), b.shape[1]), np.result_type(a, b))
            if out.shape[0] >= out.shape[1]:
                _blocks(a, b, out)
            else:
                _blocks(b.T, a.T, out.T)
        else:
            out = _stacked(a, b)
    return out


def product(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """`numpy.matmul` without its false alarms."""
    if a.ndim > 1 < b.ndim and a.shape[-2] > 1 < b.shape[-1]:  # asking takes as long as a tiny one
        return np.matmul(a, b, out=out)
    with np.errstate(invalid="ignore"):
        return np.matmul(a, b, out=out)


def _outer(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b where the sum has one term, for which NumPy does not call BLAS."""
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    out = empty((*lead, a.shape[-2], b.shape[-1]), np.result_type(a, b))
    parallel_for(
        lambda i, j: np.multiply(a[..., i:j, :], b, out=out[..., i:j, :]),
        out.shape[-2],
        grain=rows_per_chunk(out.size // out.shape[-2]),
    )
    return out


def _stacked(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b for stacks of matrices."""
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    out = empty((*lead, a.shape[-2], b.shape[-1]), np.result_type(a, b))
    a = np.broadcast_to(a, (*lead, *a.shape[-2:]))
    b = np.broadcast_to(b, (*lead, *b.shape[-2:]))
    parallel_for(
        lambda i, j: product(a[i:j], b[i:j], out[i:j]),
        len(out),
        grain=max(1, _PIECE // max(1, math.prod(out.shape[1:]) * a.shape[-1])),
    )
    return out


def _blocks(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """out = a @ b by blocks of rows."""
    pieces = 1 << max(0, (a.size * b.shape[1] // _PIECE).bit_length() - 1)
    grain = -(-len(out) // (_EVEN * pieces)) * _EVEN
    parallel_for(lambda i, j: product(a[i:j], b, out[i:j]), len(out), grain=grain)

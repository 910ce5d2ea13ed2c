"""Matrix products by BLAS, each block of the result by one thread.

The number of blocks is a power of two, so that two or four threads have equal work. It is small,
since BLAS packs the other operand once for each block.

OpenBLAS's kernel for AVX-512 that multiplies a matrix of five columns with a vector loads lanes
that nothing has written. It drops them, but they may raise the CPU's flag for invalid values, and
NumPy then warns of an error that did not happen. `product` silences that warning.
"""

from __future__ import annotations

import math

import numpy as np

from .runtime.allocator import empty
from .runtime.blas import one_blas_thread
from .runtime.parallel import parallel_for, rows_per_chunk

_TINY = 1 << 13  # multiply-adds: up to so many no BLAS uses several threads
_CHUNK = 1 << 25  # multiply-adds that are worth a chunk of work
_ROWS = 32  # the rows of a block are a multiple of it


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Matrix product over the last two axes, the leading ones broadcast, as `numpy.matmul`."""
    if a.ndim > 2 and b.ndim == 2:
        rows = a.reshape(
            math.prod(a.shape[:-1]), a.shape[-1]
        )  # not -1, which no empty array can be reshaped to
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
    """`numpy.matmul` without the false warnings of OpenBLAS (see above)."""
    if (
        a.ndim > 1 < b.ndim and a.shape[-2] > 1 < b.shape[-1]
    ):  # errstate takes as long as a tiny product
        return np.matmul(a, b, out=out)
    with np.errstate(invalid="ignore"):
        return np.matmul(a, b, out=out)


def _outer(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b with an inner size of 1, for which NumPy does not call BLAS."""
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
        grain=max(1, _CHUNK // max(1, math.prod(out.shape[1:]) * a.shape[-1])),
    )
    return out


def _blocks(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """out = a @ b in blocks of rows."""
    blocks = 1 << max(0, (a.size * b.shape[1] // _CHUNK).bit_length() - 1)
    grain = -(-len(out) // (_ROWS * blocks)) * _ROWS
    parallel_for(lambda i, j: product(a[i:j], b, out[i:j]), len(out), grain=grain)

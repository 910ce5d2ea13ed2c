"""Matrix products by BLAS, one thread of it to a block of the result."""

from __future__ import annotations

import numpy as np

from .threads import one_blas_thread, rows_of, spread

_TINY = 1 << 13  # multiplications that no BLAS spreads over its threads
_PIECE = 1 << 22  # multiplications worth a piece of work
_BLOCK = 256  # rows in one piece at least: BLAS packs the other operand once for each


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Matrix product over the last two axes, the leading ones broadcast, as `numpy.matmul`."""
    if a.ndim > 2 and b.ndim == 2:
        return matmul(a.reshape(-1, a.shape[-1]), b).reshape(*a.shape[:-1], b.shape[1])
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        return np.matmul(a, b)
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    out = np.empty((*lead, a.shape[-2], b.shape[-1]), np.result_type(a, b))
    if out.size * a.shape[-1] <= _TINY:
        return np.matmul(a, b, out=out)
    if a.shape[-1] == 1:  # an outer product, for which NumPy does not call BLAS
        spread(
            lambda i, j: np.multiply(a[..., i:j, :], b, out=out[..., i:j, :]),
            out.shape[-2],
            grain=rows_of(out.size // out.shape[-2]),
        )
        return out
    with one_blas_thread():
        if lead:
            each = out[0].size * a.shape[-1]
            a = np.broadcast_to(a, (*lead, *a.shape[-2:]))
            b = np.broadcast_to(b, (*lead, *b.shape[-2:]))
            spread(
                lambda i, j: np.matmul(a[i:j], b[i:j], out=out[i:j]),
                len(out),
                grain=max(1, _PIECE // each),
            )
        elif out.shape[0] >= out.shape[1]:
            _blocks(a, b, out)
        else:
            _blocks(b.T, a.T, out.T)
    return out


def _blocks(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """out = a @ b by blocks of rows."""
    grain = max(_BLOCK, _PIECE // b.size)
    spread(lambda i, j: np.matmul(a[i:j], b, out=out[i:j]), len(out), grain=grain)

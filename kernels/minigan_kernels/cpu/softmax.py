"""Cross-entropy of a softmax over classes, chunks of rows in the cache; exponentials are NumPy's.

The probabilities are kept for the backward pass, which then needs no exponential.
"""

from __future__ import annotations

import math

import numpy as np

from ..checks import check_labels
from .channelwise import grain_of, read_only
from .compiler.jit import jit
from .runtime.allocator import empty
from .runtime.native_task import NativeTask
from .runtime.parallel import parallel_for


def softmax_cross_entropy(x: np.ndarray, *, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """-log p of each label (N,), and the probabilities p (N, classes) = exp(x) / sum(exp(x))."""
    check_labels(x.shape, labels)
    x, labels = _contiguous(x, x.dtype), _contiguous(labels, np.int64)
    loss, p = np.empty(len(x), x.dtype), empty(x.shape, x.dtype)

    def work(first: int, last: int) -> None:
        _centre(x, labels, loss, p, first, last)
        np.exp(p[first:last], out=p[first:last])
        _divide(loss, p, first, last)

    parallel_for(work, len(x), grain=grain_of(p, cached=True))
    return loss, p


def softmax_cross_entropy_backward(
    g: np.ndarray, p: np.ndarray, *, labels: np.ndarray
) -> np.ndarray:
    """Gradient with respect to x: g (p - 1) at the label, g p elsewhere."""
    check_labels(p.shape, labels, g.shape)
    dtype = np.result_type(g, p)
    g, p, labels = _contiguous(g, dtype), _contiguous(p, dtype), _contiguous(labels, np.int64)
    dx = empty(p.shape, dtype)
    parallel_for(NativeTask(_backward, g, p, labels, dx), len(p), grain=grain_of(p))
    return dx


def _contiguous(array: np.ndarray, dtype: np.dtype | type) -> np.ndarray:
    """A contiguous read-only view or copy."""
    return read_only(np.ascontiguousarray(array, dtype)[...])


@jit()
def _centre(
    x: np.ndarray, labels: np.ndarray, loss: np.ndarray, p: np.ndarray, first: int, last: int
) -> None:
    """p = x - max(x), and loss = -p at the label."""
    for n in range(first, last):
        top = x[n, 0]
        for k in range(x.shape[1]):
            top = max(top, x[n, k])
        if not np.isfinite(top):
            top = x.dtype.type(0)  # a row of -inf stays -inf
        for k in range(x.shape[1]):
            p[n, k] = x[n, k] - top
        loss[n] = -p[n, labels[n]]


@jit()
def _divide(loss: np.ndarray, p: np.ndarray, first: int, last: int) -> None:
    """Divide the exponentials p by their sum, and add the logarithm of that to the loss."""
    for n in range(first, last):
        total = p.dtype.type(0)
        for k in range(p.shape[1]):
            total += p[n, k]
        loss[n] += math.log(total)
        for k in range(p.shape[1]):
            p[n, k] /= total


@jit()
def _backward(
    g: np.ndarray, p: np.ndarray, labels: np.ndarray, dx: np.ndarray, first: int, last: int
) -> None:
    one = p.dtype.type(1)
    for n in range(first, last):
        for k in range(p.shape[1]):
            dx[n, k] = g[n] * p[n, k]
        dx[n, labels[n]] = g[n] * (p[n, labels[n]] - one)

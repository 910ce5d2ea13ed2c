"""Cross-entropy of a softmax over classes on a card."""

from __future__ import annotations

import numpy as np

from ..reference.softmax import check_labels
from .launch import blocks_for, dense, empty, kernel
from .layout import THREADS, WORDS


def softmax_cross_entropy(x: np.ndarray, *, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """-log p of each label (N,), and the probabilities p (N, classes) = exp(x) / sum(exp(x))."""
    check_labels(x.shape, labels)
    x, labels = dense(x), dense(labels.astype(np.int64, copy=False))
    rows, classes = x.shape
    loss, p = empty((rows,), x.dtype, like=x), empty(x.shape, x.dtype, like=x)
    run = kernel("softmax", "softmax_cross_entropy", threads=THREADS, T=WORDS[x.dtype.type])
    run(blocks_for(rows * 32, THREADS), x, labels, loss, p, np.int64(rows), np.int32(classes))
    return loss, p


def softmax_cross_entropy_backward(
    g: np.ndarray, p: np.ndarray, *, labels: np.ndarray
) -> np.ndarray:
    """Gradient by x: g (p - 1) at the label, g p elsewhere."""
    check_labels(p.shape, labels, g.shape)
    dtype = np.result_type(g.dtype, p.dtype)
    g, p = (dense(a.astype(dtype, copy=False)) for a in (g, p))
    labels = dense(labels.astype(np.int64, copy=False))
    dx = empty(p.shape, dtype, like=p)
    word = WORDS[dtype.type]
    run = kernel("softmax", "softmax_cross_entropy_backward", threads=THREADS, T=word)
    run(blocks_for(dx.size, THREADS), g, p, labels, dx, np.int64(dx.size), np.int32(p.shape[1]))
    return dx

"""Cross-entropy of a softmax over classes on a GPU; see src/softmax.cu.

The host does not read labels on a GPU: one that names no class gives a loss of NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import check_labels
from .elementwise import THREADS, c_type_of, kernel
from .launch import blocks_for, dense, empty


def softmax_cross_entropy(x: np.ndarray, *, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """-log p of each label (N,), and the probabilities p (N, classes) = exp(x) / sum(exp(x))."""
    check_labels(x.shape, labels)
    x = dense(x)
    loss, p = (empty(shape, x.dtype, like=x) for shape in (x.shape[:1], x.shape))
    _launch("softmax_cross_entropy", x, _labels(labels, x), loss, p)
    return loss, p


def softmax_cross_entropy_backward(
    g: np.ndarray, p: np.ndarray, *, labels: np.ndarray
) -> np.ndarray:
    """Gradient with respect to x: g (p - 1) at the label, g p elsewhere."""
    check_labels(p.shape, labels, g.shape)
    dtype = np.result_type(g.dtype, p.dtype)
    g, p = (dense(a.astype(dtype, copy=False)) for a in (g, p))
    dx = empty(p.shape, dtype, like=p)
    _launch("softmax_cross_entropy_backward", g, p, _labels(labels, p), dx)
    return dx


def _labels(labels: Any, like: Any) -> Any:
    """`labels` as int64 where `like` is."""
    return dense(np.asarray(labels, like=like).astype(np.int64, copy=False))


def _launch(name: str, *arrays: Any) -> None:
    rows, classes = arrays[-1].shape
    run = kernel("softmax", name, c_type_of(arrays[-1].dtype), 1)
    run(blocks_for(32 * rows, THREADS), *arrays, np.int64(rows), np.int32(classes))

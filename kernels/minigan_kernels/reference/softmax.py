"""Cross-entropy of a softmax over classes, in plain NumPy."""

from __future__ import annotations

import numpy as np

from ..checks import check_labels


def softmax_cross_entropy(x: np.ndarray, *, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """-log p of each label (N,), and the probabilities p (N, classes) = exp(x) / sum(exp(x)).

    x (N, classes) are logits; labels (N,) are integers.

    Raises:
        ValueError: if a label names no class, or shapes do not fit.

    >>> loss, p = kernels.softmax_cross_entropy(np.zeros((1, 2)), labels=np.array([0]))
    >>> loss.round(3), p  # ln 2
    (array([0.693]), array([[0.5, 0.5]]))
    """
    check_labels(x.shape, labels)
    top = x.max(axis=1, keepdims=True)
    centred = x - np.where(np.isfinite(top), top, 0).astype(x.dtype)  # a row of -inf stays -inf
    exponentials = np.exp(centred)
    total = exponentials.sum(axis=1, keepdims=True)
    return np.log(total[:, 0]) - centred[np.arange(len(x)), labels], exponentials / total


def softmax_cross_entropy_backward(
    g: np.ndarray, p: np.ndarray, *, labels: np.ndarray
) -> np.ndarray:
    """Gradient with respect to x: g (p - 1) at the label, g p elsewhere; g is (N,).

    >>> p = np.array([[0.25, 0.75]])
    >>> kernels.softmax_cross_entropy_backward(np.ones(1), p, labels=np.array([1]))
    array([[ 0.25, -0.25]])
    """
    check_labels(p.shape, labels, g.shape)
    chosen = labels[:, None] == np.arange(p.shape[1])
    return g[:, None] * (p - chosen.astype(p.dtype))

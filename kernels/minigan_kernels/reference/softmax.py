"""Cross-entropy of a softmax over classes, in plain NumPy."""

from __future__ import annotations

import numpy as np


def softmax_cross_entropy(x: np.ndarray, *, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """-log p of each label (N,), and the probabilities p (N, classes) = exp(x) / sum(exp(x)).

    x (N, classes) are logits; labels (N,) are whole numbers.

    Raises:
        ValueError: if a label names no class, or shapes do not fit.
    """
    check_labels(x.shape, labels)
    top = x.max(axis=1, keepdims=True)
    centred = x - np.where(np.isfinite(top), top, 0).astype(x.dtype)  # a row of -inf stays -inf
    powers = np.exp(centred)
    total = powers.sum(axis=1, keepdims=True)
    return np.log(total[:, 0]) - centred[np.arange(len(x)), labels], powers / total


def softmax_cross_entropy_backward(
    g: np.ndarray, p: np.ndarray, *, labels: np.ndarray
) -> np.ndarray:
    """Gradient by x: g (p - 1) at the label, g p elsewhere; g is (N,)."""
    check_labels(p.shape, labels, g.shape)
    chosen = labels[:, None] == np.arange(p.shape[1])
    return g[:, None] * (p - chosen.astype(p.dtype))


def check_labels(
    shape: tuple[int, ...], labels: np.ndarray, g_shape: tuple[int, ...] | None = None
) -> None:
    """Logits of `shape` must be (N, classes), labels (N,) of such classes, and g (N,).

    Raises:
        ValueError: naming what does not fit.
    """
    if len(shape) != 2 or labels.shape != shape[:1]:
        raise ValueError(f"logits {shape} want labels {shape[:1]}, not {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels must be whole numbers, not {labels.dtype}")
    if g_shape is not None and g_shape != shape[:1]:
        raise ValueError(f"logits {shape} want a gradient {shape[:1]}, not {g_shape}")
    if not isinstance(labels, np.ndarray):
        return  # they lie on a card, which nobody waits for here
    if labels.size and not 0 <= labels.min() <= labels.max() < shape[1]:
        raise ValueError(
            f"labels from {labels.min()} to {labels.max()} do not fit {shape[1]} classes"
        )

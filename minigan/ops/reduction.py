"""Sums, means, extremes, and the softmax family."""

from __future__ import annotations

import math

import minigan_kernels as kernels
import numpy as np

from ..arrays import floats
from ..fused import fused
from ..tensor import Array, Tensor, adopt, primitive
from .elementwise import exp, log, real
from .shape import broadcast_to, getitem, reshape

Axes = int | tuple[int, ...] | None


def _extreme_rule(g: Tensor, y: Tensor, x: Tensor, *, axis: Axes, keepdims: bool) -> Tensor:
    """The gradient goes to the extreme value, in equal parts if there are several."""
    at = x.data == _kept(y, x, axis).data
    share = (at / at.sum(axis=axis, keepdims=True)).astype(x.dtype)
    return _kept(g, x, axis) * adopt(share)


sum_p = primitive(np.sum).gradients(
    lambda g, y, x, axis, keepdims: broadcast_to(_kept(g, x, axis), x.shape)
)
max_p = primitive(np.max, "max").gradients(_extreme_rule)
min_p = primitive(np.min, "min").gradients(_extreme_rule)


def sum(x: Tensor, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
    """Sum over `axis`, or over everything."""
    return sum_p(x, axis=axis, keepdims=keepdims)


def mean(x: Tensor, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
    """Mean over `axis`, or over everything.

    Raises:
        ValueError: if there is no value to take the mean of.
    """
    total, count = sum(x, axis, keepdims=keepdims), _count(x, axis)
    if count == 0:
        over = "" if axis is None else f" over axis {axis}"
        raise ValueError(f"mean: a tensor of shape {x.shape} has no values{over}")
    return total * (1.0 / count)


def var(x: Tensor, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
    """Biased variance over `axis`, or over everything: the mean of (x - mean)^2."""
    centred = x - mean(x, axis, keepdims=True)
    return mean(centred * centred, axis, keepdims=keepdims)


def max(x: Tensor, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
    """Maximum over `axis`, or over everything; equal maxima share the gradient."""
    return max_p(x, axis=axis, keepdims=keepdims)


def min(x: Tensor, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
    """Minimum over `axis`, or over everything; equal minima share the gradient."""
    return min_p(x, axis=axis, keepdims=keepdims)


def logsumexp(x: Tensor, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
    """log(sum(exp(x))) over `axis`, without overflow."""
    x = real(x)
    shift = _shift(x, axis)
    total = log(sum(exp(x - shift), axis, keepdims=True)) + shift
    return total if keepdims else reshape(total, np.max(x.data, axis=axis).shape)


def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """log(softmax(x)) over `axis`, exact for logits of any size."""
    x = real(x)
    centred = x - _shift(x, axis)  # first, or the logarithm would be lost in large logits
    return centred - log(sum(exp(centred), axis, keepdims=True))


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """exp(x) / sum(exp(x)) over `axis`."""
    return exp(log_softmax(x, axis))


def _entropy(x: Array, *, labels: Array) -> tuple[Array, tuple[Array]]:
    loss, p = kernels.softmax_cross_entropy(x, labels=labels)
    return loss, (p,)


def _entropy_backward(
    g: Array, y: Array, residuals: tuple[Array], x: Array, *, labels: Array
) -> tuple[Array]:
    return (kernels.softmax_cross_entropy_backward(g, *residuals, labels=labels),)


@fused(_entropy, _entropy_backward, check=floats)
def softmax_cross_entropy(x: Tensor, *, labels: Array) -> Tensor:
    """-log softmax(x)[label] of each sample, (N,): x (N, classes), labels (N,) integers."""
    rows = np.arange(len(labels), like=labels)
    return -getitem(log_softmax(x, axis=1), index=(rows, labels))


def _shift(x: Tensor, axis: Axes) -> Tensor:
    """What is subtracted before exponentials are taken: the largest value."""
    top = np.max(x.data, axis=axis, keepdims=True)
    return adopt(np.where(np.isfinite(top), top, 0).astype(x.dtype))  # a row of -inf stays -inf


def _kept(reduced: Tensor, x: Tensor, axis: Axes) -> Tensor:
    """A reduction of x with the reduced axes back, of length 1."""
    axes = _axes(x, axis)
    return reshape(reduced, tuple(1 if i in axes else n for i, n in enumerate(x.shape)))


def _axes(x: Tensor, axis: Axes) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(x.ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    return tuple(a % x.ndim for a in axes) if x.ndim else ()  # of one number NumPy ignores them


def _count(x: Tensor, axis: Axes) -> int:
    return math.prod(x.shape[a] for a in _axes(x, axis))

"""Sums, means, extremes, and the softmax family."""

from __future__ import annotations

import math
from typing import Any

import minigan_kernels as kernels
import numpy as np

from ..arrays import floats
from ..fused import fused
from ..tensor import Array, Tensor, adopt, primitive, tensors
from .axes import Axes, over_axes
from .elementwise import exp, log, real, sqrt
from .labels import as_labels
from .shape import broadcast_to, getitem, reshape


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


@over_axes()
def sum(x: Tensor, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
    """Sum over `axis`, or over everything.

    >>> mg.sum(mg.Tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0).numpy()
    array([4., 6.], dtype=float32)
    """
    return sum_p(x, axis=axis, keepdims=keepdims)


@over_axes()
def mean(x: Tensor, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
    """Mean over `axis`, or over everything.

    Raises:
        ValueError: if there is no value to take the mean of.

    >>> mg.mean(mg.Tensor([[1.0, 2.0], [3.0, 4.0]]), axis=1, keepdims=True).numpy()
    array([[1.5],
           [3.5]], dtype=float32)
    """
    total, count = sum_p(x, axis=axis, keepdims=keepdims), _count(x, axis)
    if count == 0:
        raise ValueError(f"mean: a tensor of shape {x.shape} has no values{_over(axis)}")
    return total * (1.0 / count)


@over_axes(unbiased="ddof", correction="ddof")
def var(x: Tensor, axis: Axes = None, *, keepdims: bool = False, ddof: int = 0) -> Tensor:
    """Variance over `axis`, or over everything: the sum of (x - mean)^2 divided by n - ddof.

    The divisor is n, the number of values, as in NumPy; `ddof=1` divides by n - 1, as PyTorch does.

    Raises:
        ValueError: if n - ddof is no positive number.

    >>> mg.var(mg.Tensor([1.0, 3.0])).item()  # divided by N
    1.0
    """
    centred = x - mean(x, axis, keepdims=True)
    if ddof == 0:
        return mean(centred * centred, axis, keepdims=keepdims)
    count = _count(x, axis)
    if count <= ddof:
        raise ValueError(f"var: {count} values{_over(axis)} have no variance of ddof={ddof}")
    return sum_p(centred * centred, axis=axis, keepdims=keepdims) * (1.0 / (count - ddof))


@over_axes(unbiased="ddof", correction="ddof")
def std(x: Tensor, axis: Axes = None, *, keepdims: bool = False, ddof: int = 0) -> Tensor:
    """Standard deviation over `axis`, or over everything: the root of `var`, whose divisor is n
    unless `ddof` is given. Its gradient is not finite where all values are equal.

    >>> mg.std(mg.Tensor([1.0, 3.0])).item()  # divided by N
    1.0
    """
    return sqrt(var(x, axis, keepdims=keepdims, ddof=ddof))


_PLACES = "it gives values alone; say axis= for those, and x.arg{name}(axis) for their places"


@over_axes(dim=_PLACES.format(name="max"))
def max(x: Tensor, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
    """Maximum over `axis`, or over everything; equal maxima share the gradient.

    >>> mg.max(mg.Tensor([[1.0, 4.0], [3.0, 2.0]]), axis=0).numpy()
    array([3., 4.], dtype=float32)
    """
    return max_p(x, axis=axis, keepdims=keepdims)


@over_axes(dim=_PLACES.format(name="min"))
def min(x: Tensor, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
    """Minimum over `axis`, or over everything; equal minima share the gradient.

    >>> mg.min(mg.Tensor([[1.0, 4.0], [3.0, 2.0]]), axis=0).numpy()
    array([1., 2.], dtype=float32)
    """
    return min_p(x, axis=axis, keepdims=keepdims)


@over_axes()
def argmax(x: Tensor, axis: int | None = None, *, keepdims: bool = False) -> Array:
    """Index of the first maximum along `axis`, or in x laid out flat: int64, an array, since no
    gradient flows to it.

    >>> mg.argmax(mg.Tensor([[1.0, 4.0], [3.0, 2.0]]), axis=1).tolist()
    [1, 0]
    """
    return _array(x).argmax(axis=axis, keepdims=keepdims)


@over_axes()
def argmin(x: Tensor, axis: int | None = None, *, keepdims: bool = False) -> Array:
    """Index of the first minimum along `axis`, or in x laid out flat: int64, an array, since no
    gradient flows to it.

    >>> mg.argmin(mg.Tensor([[1.0, 4.0], [3.0, 2.0]]), axis=1).tolist()
    [0, 1]
    """
    return _array(x).argmin(axis=axis, keepdims=keepdims)


@over_axes()
def any(x: Tensor, axis: Axes = None, *, keepdims: bool = False) -> Array:
    """Whether any value over `axis`, or of all, is not zero: an array.

    >>> bool(mg.any(mg.Tensor([1.0, 0.0])))
    True
    """
    return _array(x).any(axis=axis, keepdims=keepdims)


@over_axes()
def all(x: Tensor, axis: Axes = None, *, keepdims: bool = False) -> Array:
    """Whether all values over `axis`, or all there are, are not zero: an array.

    >>> bool(mg.all(mg.Tensor([1.0, 2.0]))), mg.all(mg.Tensor([[1.0, 0.0]]), axis=0).tolist()
    (True, [True, False])
    """
    return _array(x).all(axis=axis, keepdims=keepdims)


@over_axes()
def logsumexp(x: Tensor, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
    """log(sum(exp(x))) over `axis`, without overflow.

    >>> mg.logsumexp(mg.Tensor([1000.0, 0.0])).item()
    1000.0
    """
    x = real(x)
    shift = _shift(x, axis)
    total = log(sum_p(exp(x - shift), axis=axis, keepdims=True)) + shift
    return total if keepdims else reshape(total, np.max(x.data, axis=axis).shape)


@over_axes()
def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """log(softmax(x)) over `axis`, exact for logits of any size.

    >>> mg.log_softmax(mg.Tensor([1000.0, 0.0])).numpy()
    array([    0., -1000.], dtype=float32)
    """
    x = real(x)
    centred = x - _shift(x, axis)  # first, or the logarithm would be lost in large logits
    return centred - log(sum_p(exp(centred), axis=axis, keepdims=True))


@over_axes()
def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """exp(x) / sum(exp(x)) over `axis`.

    >>> mg.softmax(mg.Tensor([[1.0, 1.0]])).numpy()
    array([[0.5, 0.5]], dtype=float32)
    """
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
    """-log softmax(x)[label] of each sample."""
    rows = np.arange(len(labels), like=labels)
    return -getitem(log_softmax(x, axis=1), index=(rows, labels))


softmax_cross_entropy_p = softmax_cross_entropy


def softmax_cross_entropy(x: Tensor, labels: Array) -> Tensor:  # type: ignore[no-redef]
    """-log softmax(x)[label] of each sample, (N,): x (N, classes), labels (N,) integers.

    Raises:
        ValueError: if the labels are no integers (N,) from 0 to classes - 1.

    >>> logits = mg.Tensor([[100.0, 0.0], [100.0, 0.0]])
    >>> mg.softmax_cross_entropy(logits, labels=np.array([0, 1])).numpy()
    array([  0., 100.], dtype=float32)
    """
    return softmax_cross_entropy_p(x, labels=as_labels(labels))


def _shift(x: Tensor, axis: Axes) -> Tensor:
    """What is subtracted before exponentials are taken: the largest value."""
    top = np.max(x.data, axis=axis, keepdims=True)
    return adopt(np.where(np.isfinite(top), top, 0).astype(x.dtype))  # a row of -inf stays -inf


def _kept(reduced: Tensor, x: Tensor, axis: Axes) -> Tensor:
    """A reduction of x with the reduced axes back, of length 1."""
    axes = _axes(x, axis)
    return reshape(reduced, tuple(1 if i in axes else n for i, n in enumerate(x.shape)))


def _array(x: Any) -> Array:
    return tensors(x)[0].data


def _over(axis: Axes) -> str:
    return "" if axis is None else f" over axis {axis}"


def _axes(x: Tensor, axis: Axes) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(x.ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    return tuple(a % x.ndim for a in axes) if x.ndim else ()  # of one number NumPy ignores them


def _count(x: Tensor, axis: Axes) -> int:
    return math.prod(x.shape[a] for a in _axes(x, axis))

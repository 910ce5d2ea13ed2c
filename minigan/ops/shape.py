"""Operations that move values without changing them, each with its adjoint."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from ..hints import also
from ..tensor import Tensor, primitive, tensors
from .axes import Axes, over_axes

Shape = tuple[int, ...]


def _sum_to(x: np.ndarray, *, shape: Shape) -> np.ndarray:
    lead = x.ndim - len(shape)
    stretched = [lead + i for i, n in enumerate(shape) if n == 1 and x.shape[lead + i] != 1]
    return x.sum(axis=(*range(lead), *stretched), keepdims=True).reshape(shape)


def _put(g: np.ndarray, *, index: Any, shape: Shape) -> np.ndarray:
    if isinstance(index, tuple) and not _is_basic(index):
        flat = np.zeros_like(g, shape=(math.prod(shape),))
        places = np.arange(flat.size, like=g).reshape(shape)[index]
        np.add.at(flat, places, g)  # CuPy's takes no tuple
        return flat.reshape(shape)
    x = np.zeros_like(g, shape=shape)
    if _is_basic(index):
        x[index] = g
    else:
        np.add.at(x, index, g)  # an index array may name a place twice
    return x


def _is_basic(index: Any) -> bool:
    """Whether `index` gives a view in NumPy, in which every place occurs once."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(
        part is None or part is Ellipsis or isinstance(part, (int, np.integer, slice))
        for part in parts
    )


def _concatenate(*xs: np.ndarray, axis: int) -> np.ndarray:
    return np.concatenate(xs, axis=axis)


broadcast_to_p = primitive(lambda x, *, shape: np.broadcast_to(x, shape), "broadcast_to")
sum_to_p = primitive(_sum_to, "sum_to")
reshape_p = primitive(lambda x, *, shape: x.reshape(shape), "reshape")
transpose_p = primitive(lambda x, *, axes: x.transpose(axes), "transpose")
getitem = primitive(lambda x, *, index: x[index], "getitem")
put = primitive(_put, "put")
concatenate_p = primitive(_concatenate, "concatenate")
pad_p = primitive(lambda x, *, width, value: np.pad(x, width, constant_values=value), "pad")

broadcast_to_p.gradients(lambda g, y, x, **k: sum_to(g, x.shape))
sum_to_p.gradients(lambda g, y, x, **k: broadcast_to(g, x.shape))
reshape_p.gradients(lambda g, y, x, **k: reshape(g, x.shape))
transpose_p.gradients(lambda g, y, x, axes: transpose_p(g, axes=tuple(np.argsort(axes).tolist())))
getitem.gradients(lambda g, y, x, index: put(g, index=index, shape=x.shape))
put.gradients(lambda g, y, x, index, **k: getitem(g, index=index))
pad_p.gradients(lambda g, y, x, width, **k: getitem(g, index=_inside(width, x.shape)))


def _part(i: int, g: Tensor, y: Tensor, *xs: Tensor, axis: int) -> Tensor:
    start = sum(x.shape[axis] for x in xs[:i])
    index = [slice(None)] * g.ndim
    index[axis] = slice(start, start + xs[i].shape[axis])
    return getitem(g, index=tuple(index))


concatenate_p.gradient_of_each(_part)


def broadcast_to(x: Tensor, shape: Shape) -> Tensor:
    """x repeated along new or single axes to `shape`, as `numpy.broadcast_to`.

    >>> mg.broadcast_to(mg.Tensor([1.0, 2.0]), (2, 2)).numpy()
    array([[1., 2.],
           [1., 2.]], dtype=float32)
    """
    return x if x.shape == tuple(shape) else broadcast_to_p(x, shape=tuple(shape))


def sum_to(x: Tensor, shape: Shape) -> Tensor:
    """Adjoint of `broadcast_to`: x summed over the axes along which `shape` would be repeated.

    >>> mg.sum_to(mg.Tensor([[1.0, 2.0], [3.0, 4.0]]), (2,)).numpy()
    array([4., 6.], dtype=float32)
    """
    return x if x.shape == tuple(shape) else sum_to_p(x, shape=tuple(shape))


def reshape(x: Tensor, *shape: Any) -> Tensor:
    """x with another shape of the same size; one entry may be -1. Takes `(2, 3)` or `2, 3`.

    >>> mg.reshape(mg.Tensor([1.0, 2.0, 3.0, 4.0]), 2, -1).shape
    (2, 2)
    """
    return reshape_p(x, shape=_unpack(shape))


def transpose(x: Tensor, *axes: Any) -> Tensor:
    """x with its axes in the order `axes`, or reversed, as in NumPy; `swapaxes` exchanges two.

    Raises:
        ValueError: if `axes` are not all axes of x; or for `transpose(x, 0, 1)` of a matrix, which
            would change nothing, though in PyTorch it exchanges the two.

    >>> mg.transpose(mg.Tensor(np.zeros((2, 3, 4))), 2, 0, 1).shape
    (4, 2, 3)
    """
    if not axes:
        return transpose_p(x, axes=tuple(range(x.ndim))[::-1])
    order = _unpack(axes)
    if len(order) != x.ndim:
        raise ValueError(
            f"transpose takes the order of all {x.ndim} axes of x {x.shape}, not {order}"
            + _exchange(x, order)
        )
    order = tuple(normalize_axis_index(a, x.ndim, "transpose") for a in order)
    if order == (0, 1) and len(axes) == 2:
        raise ValueError(
            f"transpose takes the order of all axes, and {order} would leave x {x.shape} as it is"
            + _exchange(x, order)
        )
    return transpose_p(x, axes=order)


def _exchange(x: Tensor, order: Shape) -> str:
    """How to do what two axes alone are meant to, in PyTorch's way."""
    if len(order) != 2:
        return ""
    matrix = ", or x.T" if x.ndim == 2 else ""
    return f"; to exchange two axes say x.swapaxes({order[0]}, {order[1]}){matrix}"


def swapaxes(x: Tensor, first: int, second: int) -> Tensor:
    """x with two of its axes exchanged.

    >>> mg.swapaxes(mg.Tensor(np.zeros((2, 3, 4))), 0, -1).shape
    (4, 3, 2)
    """
    order = list(range(x.ndim))
    first, second = (normalize_axis_index(a, x.ndim, "swapaxes") for a in (first, second))
    order[first], order[second] = order[second], order[first]
    return transpose_p(x, axes=tuple(order))


@over_axes()
def expand_dims(x: Tensor, axis: int) -> Tensor:
    """x with a new axis of length 1 at the position `axis` of the result.

    >>> mg.expand_dims(mg.Tensor([1.0, 2.0]), 1).shape
    (2, 1)
    """
    axis = normalize_axis_index(axis, x.ndim + 1, "expand_dims")
    return reshape(x, (*x.shape[:axis], 1, *x.shape[axis:]))


@over_axes()
def squeeze(x: Tensor, axis: Axes = None) -> Tensor:
    """x without the axis or axes `axis`, whose length must be 1; or without all such axes.

    >>> mg.squeeze(mg.Tensor([[1.0], [2.0]]), 1).shape
    (2,)
    """
    if axis is None:
        return reshape(x, tuple(n for n in x.shape if n != 1))
    axes = normalize_axis_tuple(axis, x.ndim, "squeeze")
    for a in axes:
        if x.shape[a] != 1:
            raise ValueError(f"squeeze: axis {a} of shape {x.shape} has length {x.shape[a]}, not 1")
    return reshape(x, tuple(n for a, n in enumerate(x.shape) if a not in axes))


@also(start_dim="start")
def flatten(x: Tensor, start: int = 1) -> Tensor:
    """x (N, ...) as (N, values of a sample): the axes from `start` on become one.

    It is that of `nn.Flatten`: `flatten(x, 0)`, and the method `x.flatten()`, leave one axis.

    >>> mg.flatten(mg.Tensor(np.zeros((2, 3, 4)))).shape
    (2, 12)
    """
    if not -x.ndim <= start <= x.ndim:  # with x.ndim samples of one number get an axis
        raise ValueError(f"flatten: x {x.shape} has no axis {start}")
    return reshape(x, (*x.shape[:start], math.prod(x.shape[start:])))


@over_axes()
def concatenate(xs: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors joined along an axis they have already.

    >>> mg.concatenate([mg.Tensor([1.0]), mg.Tensor([2.0, 3.0])]).numpy()
    array([1., 2., 3.], dtype=float32)
    """
    xs = xs if isinstance(xs[0], Tensor) else tensors(*xs)
    return concatenate_p(*xs, axis=normalize_axis_index(axis, xs[0].ndim, "concatenate"))


@over_axes()
def stack(xs: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors of one shape joined along a new axis.

    >>> mg.stack([mg.Tensor([1.0, 2.0]), mg.Tensor([3.0, 4.0])]).shape
    (2, 2)
    """
    xs = tensors(*xs)
    axis = normalize_axis_index(axis, xs[0].ndim + 1, "stack")
    wide = [reshape_p(x, shape=(*x.shape[:axis], 1, *x.shape[axis:])) for x in xs]
    return concatenate_p(*wide, axis=axis)


_MODE = "it adds one value; say value=, and for other borders join slices with concatenate"


@also(constant_values="value", mode=_MODE)
def pad(x: Tensor, width: int | Sequence[Any], value: float = 0.0) -> Tensor:
    """x surrounded by a constant, as `numpy.pad`.

    `width` is (before, after) for each axis of x, as ((0, 0), (0, 0), (1, 1), (1, 1)) for the edges
    of images; or one integer for both sides of every axis.

    Raises:
        ValueError: if `width` is neither.

    >>> mg.pad(mg.Tensor([1.0, 2.0]), [(1, 2)]).numpy()
    array([0., 1., 2., 0., 0.], dtype=float32)
    """
    if isinstance(width, (int, np.integer)):
        width = ((int(width), int(width)),) * x.ndim
    try:
        pairs = tuple((operator.index(before), operator.index(after)) for before, after in width)
    except (TypeError, ValueError):
        pairs = ()
    if len(pairs) != x.ndim:
        raise ValueError(
            f"pad takes (before, after) for each of the {x.ndim} axes of x {x.shape}, as "
            f"((0, 0), (0, 0), (1, 1), (1, 1)) for the edges of images, not {width}"
        )
    return pad_p(x, width=pairs, value=value)


def check_shapes(name: str, *shapes: tuple[int, ...]) -> None:
    """Check that values which are compared one to one have one shape, so that none is repeated.

    Raises:
        ValueError: naming the two shapes that differ.
    """
    for shape in shapes[1:]:
        if shape != shapes[0]:
            raise ValueError(
                f"{name} compares values of one shape, but has {shapes[0]} and {shape}; reshape one"
            )


def _inside(width: Sequence[tuple[int, int]], shape: Shape) -> tuple[slice, ...]:
    return tuple(slice(before, before + n) for (before, _), n in zip(width, shape, strict=True))


def _unpack(shape: tuple[Any, ...]) -> Shape:
    return tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape

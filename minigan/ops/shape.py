"""Operations that move values without changing them, each with its adjoint."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ..tensor import Tensor, primitive, tensors

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
transpose_p.gradients(lambda g, y, x, axes: transpose(g, tuple(np.argsort(axes))))
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
    """x repeated along new or single axes to `shape`, as `numpy.broadcast_to`."""
    return x if x.shape == tuple(shape) else broadcast_to_p(x, shape=tuple(shape))


def sum_to(x: Tensor, shape: Shape) -> Tensor:
    """Adjoint of `broadcast_to`: x summed over the axes along which `shape` would be repeated."""
    return x if x.shape == tuple(shape) else sum_to_p(x, shape=tuple(shape))


def reshape(x: Tensor, *shape: Any) -> Tensor:
    """x with another shape of the same size; one entry may be -1. Takes `(2, 3)` or `2, 3`."""
    return reshape_p(x, shape=_unpack(shape))


def transpose(x: Tensor, *axes: Any) -> Tensor:
    """x with its axes in the order `axes`, or reversed."""
    order = _unpack(axes) if axes else tuple(range(x.ndim))[::-1]
    return transpose_p(x, axes=tuple(normalize_axis_index(a, x.ndim, "transpose") for a in order))


def swapaxes(x: Tensor, first: int, second: int) -> Tensor:
    """x with two of its axes exchanged."""
    order = list(range(x.ndim))
    first, second = (normalize_axis_index(a, x.ndim, "swapaxes") for a in (first, second))
    order[first], order[second] = order[second], order[first]
    return transpose(x, order)


def expand_dims(x: Tensor, axis: int) -> Tensor:
    """x with a new axis of length 1 at the position `axis` of the result."""
    axis = normalize_axis_index(axis, x.ndim + 1, "expand_dims")
    return reshape(x, (*x.shape[:axis], 1, *x.shape[axis:]))


def squeeze(x: Tensor, axis: int) -> Tensor:
    """x without the axis `axis`, whose length must be 1."""
    axis = normalize_axis_index(axis, x.ndim, "squeeze")
    if x.shape[axis] != 1:
        raise ValueError(
            f"squeeze: axis {axis} of shape {x.shape} has length {x.shape[axis]}, not 1"
        )
    return reshape(x, (*x.shape[:axis], *x.shape[axis + 1 :]))


def flatten(x: Tensor, start: int = 1) -> Tensor:
    """x (N, ...) as (N, values of a sample): the axes from `start` on become one."""
    return reshape(x, (*x.shape[:start], math.prod(x.shape[start:])))


def concatenate(xs: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors joined along an axis they have already."""
    return concatenate_p(*xs, axis=normalize_axis_index(axis, xs[0].ndim, "concatenate"))


def stack(xs: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors of one shape joined along a new axis."""
    return concatenate([expand_dims(x, axis) for x in tensors(*xs)], axis)


def pad(x: Tensor, width: Sequence[tuple[int, int]], value: float = 0.0) -> Tensor:
    """x surrounded by a constant; `width` is (before, after) for each axis."""
    return pad_p(x, width=tuple((before, after) for before, after in width), value=value)


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

"""Matrix products and Einstein sums."""

from __future__ import annotations

import math
import string
from collections.abc import Callable

import minigan_kernels as kernels
import numpy as np

from ..arrays import one_dtype
from ..tensor import GraphError, Tensor, primitive, tensors
from .shape import broadcast_to, expand_dims, reshape, squeeze, sum_to, swapaxes

matmul_p = primitive(kernels.matmul, check=one_dtype)
matmul_p.gradients(
    lambda g, y, a, b: sum_to(matmul_p(g, swapaxes(b, -1, -2)), a.shape),
    lambda g, y, a, b: sum_to(matmul_p(swapaxes(a, -1, -2), g), b.shape),
)


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """Matrix product over the last two axes, the others broadcast; vectors as in `numpy.matmul`.

    >>> mg.matmul(mg.Tensor([[1.0, 2.0]]), mg.Tensor([[3.0], [4.0]])).numpy()
    array([[11.]], dtype=float32)
    """
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
        a, b = tensors(a, b)
    try:
        if a.data.ndim == b.data.ndim == 2:  # soon done with what is frequent
            return matmul_p(a, b)
        if a.ndim == 1:
            return squeeze(matmul(expand_dims(a, 0), b), -1 if b.ndim == 1 else -2)
        if b.ndim == 1:
            return squeeze(matmul_p(a, expand_dims(b, 1)), -1)
        return matmul_p(a, b)
    except GraphError as error:
        if why := _unequal(a.shape, b.shape):
            raise GraphError(why) from None
        raise error


def _unequal(a: tuple[int, ...], b: tuple[int, ...]) -> str:
    """Why arrays of these shapes have no product, in place of NumPy's signature of it."""
    if not a or not b:
        return f"matmul takes matrices and vectors, not {a} and {b}; a number multiplies by *"
    columns, rows = a[-1], b[-2] if len(b) > 1 else b[0]
    if columns == rows:
        return ""
    return (
        f"matmul of {a} and {b}: the first has {columns} columns and the second {rows} rows, which "
        "must be as many"
    )


def of_rows(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """f of the vectors along the last axis of x (..., n), as rows (N, n): its rows (N, m) in the
    shape (..., m).

    Raises:
        ValueError: if x is a single number.
    """
    if x.ndim == 2:
        return f(x)
    if x.ndim == 0:
        raise ValueError("a layer of vectors takes x of one axis or more, but x is one number")
    *leading, width = x.shape
    y = f(x.reshape((math.prod(leading), width)))
    return reshape(y, (*leading, y.shape[-1]))


def _einsum(*xs: np.ndarray, subscripts: str) -> np.ndarray:
    return np.einsum(subscripts, *xs, optimize=len(xs) > 1)


def _einsum_rule(i: int, g: Tensor, y: Tensor, *xs: Tensor, subscripts: str) -> Tensor:
    """The same sum with g in place of input i, broadcast along the labels that only i has."""
    terms, output = subscripts.split("->")
    labels = terms.split(",")
    mine, others = labels[i], labels[:i] + labels[i + 1 :]
    known = "".join(c for c in mine if c in output or any(c in o for o in others))
    operands = [g, *xs[:i], *xs[i + 1 :]]
    found = einsum_p(*operands, subscripts=f"{','.join([output, *others])}->{known}")
    found = reshape(found, _interleave(mine, known, found.shape))
    full = [n if n != 1 else found.shape[axis] for axis, n in enumerate(xs[i].shape)]
    return sum_to(broadcast_to(found, tuple(full)), xs[i].shape)


def _interleave(mine: str, known: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    sizes = dict(zip(known, shape, strict=True))
    return tuple(sizes.get(label, 1) for label in mine)


einsum_p = primitive(_einsum, "einsum", check=one_dtype)
einsum_p.gradient_of_each(_einsum_rule)


def einsum(subscripts: str, *xs: Tensor) -> Tensor:
    """Einstein sum with NumPy's notation: "ij,jk->ik", an implied output, and "..." as well.

    Raises:
        ValueError: for a label twice in one input (a diagonal), which has no gradient rule here.

    >>> mg.einsum("ij,ij->i", mg.Tensor([[1.0, 2.0]]), mg.Tensor([[3.0, 4.0]])).numpy()
    array([11.], dtype=float32)
    """
    terms, arrow, output = subscripts.replace(" ", "").partition("->")
    labels = terms.split(",")
    if len(labels) != len(xs):
        raise ValueError(
            f"einsum {subscripts!r} names {len(labels)} inputs but was given {len(xs)}"
        )
    if not arrow:
        once = sorted(c for c in set(terms) if c.isalpha() and terms.count(c) == 1)
        output = ("..." if "..." in terms else "") + "".join(once)
    free = [c for c in string.ascii_letters if c not in subscripts]
    widths = [
        x.ndim - len(t.replace("...", "")) for t, x in zip(labels, xs, strict=True) if "..." in t
    ]
    widest = max(widths, default=0)
    spelled = [
        t.replace("...", "".join(free[widest - (x.ndim - len(t) + 3) : widest]))
        for t, x in zip(labels, xs, strict=True)
    ]
    output = output.replace("...", "".join(free[:widest]))
    for label in spelled:
        if len(set(label)) != len(label):
            raise ValueError(f"einsum {subscripts!r} repeats a label within one input")
    return einsum_p(*xs, subscripts=f"{','.join(spelled)}->{output}")

"""One optimiser update of all parameters on a GPU, in place, in one launch; see src/optim.cu.

`lr`, `momentum` and `step` may be arrays (1,) on the GPU instead of numbers, the first two of
float64 and `step` of int64: a captured graph reads them each time it runs. More than ENTRIES
parameters take one launch for each ENTRIES.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from ..checks import Arrays, each
from .elementwise import THREADS, c_type_of, memory_order
from .launch import Kernel, address, dense, scalar

ENTRIES = 64  # of a table: 3 of the 4 KB that any kernel's arguments may have
_VECTORS = 2  # of a thread
_FIELDS = ("p", "g", "first", "second", "size", "block")
_ENTRY = np.dtype([(name, np.int64) for name in _FIELDS], align=True)
_TABLE = np.dtype([("entry", _ENTRY, ENTRIES), ("count", np.int32)], align=True)  # struct Table


def sgd(
    ps: Arrays,
    gs: Arrays,
    velocities: Arrays,
    *,
    lr: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> None:
    """Gradient descent with momentum: v = mu v + g, p -= lr v."""
    word, mu = scalar(momentum, np.float64)
    options = mu, np.float64(weight_decay), np.int32(nesterov)
    _update("sgd", lr, options, ps, gs, velocities, mu=word)


def rmsprop(
    ps: Arrays,
    gs: Arrays,
    squares: Arrays,
    *,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
) -> None:
    """RMSProp: s = alpha s + (1-alpha) g^2, p -= lr g / (sqrt(s) + eps)."""
    options = np.float64(alpha), np.float64(eps), np.float64(weight_decay)
    _update("rmsprop", lr, options, ps, gs, squares)


def adam(
    ps: Arrays,
    gs: Arrays,
    means: Arrays,
    squares: Arrays,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    step: int,
) -> None:
    """Adam, its decay added to the gradient, or `decoupled` as in AdamW; `step` counts from 1."""
    word, count = scalar(step, np.int64)
    numbers = (np.float64(number) for number in (beta1, beta2, eps, weight_decay))
    options = count, *numbers, np.int32(decoupled)
    _update("adam", lr, options, ps, gs, means, squares, step=word)


@cache
def kernel(
    name: str,
    word: str,
    width: int,
    lr: str = "double",
    *,
    mu: str = "double",
    step: str = "long long",
) -> Kernel:
    """A kernel whose `lr`, momentum and `step` have these types in C++."""
    rates = 3 * (4 if word == "float" else 8) if name == "adam" else 0
    words: dict[str, Any] = {"T": word, "V": width, "LR": lr, "MU": mu, "STEP": step}
    words |= {"ENTRIES": ENTRIES, "VECTORS": _VECTORS}
    return Kernel("optim", name, threads=THREADS, shared=rates, **words)


def _update(name: str, lr: Any, options: tuple[Any, ...], *arguments: Arrays, **types: str) -> None:
    """Launch a kernel (table, lr, options ...) for all parameters, with options of these `types`.

    Raises:
        ValueError: if a parameter or a state is read-only, before anything is written.
    """
    entries: dict[np.dtype, list[list[Any]]] = {}  # by dtype; each [p, g, states ...]
    copies: list[tuple[Any, Any]] = []  # of written arrays in another memory order than p
    for p, g, *states in each(*arguments):
        arrays = [p, g, *states]
        if not all(getattr(a.flags, "writeable", True) for a in (p, *states)):
            raise ValueError(f"a parameter of shape {p.shape}, or its state, is read-only")
        arrays = [a.transpose(memory_order(p)) for a in arrays]
        vectors = [dense(a.astype(p.dtype, copy=False)) for a in arrays]
        copies += [(a, v) for i, (a, v) in enumerate(zip(arrays, vectors, strict=True))
                   if i != 1 and v is not a]  # fmt: skip
        if p.size:
            entries.setdefault(p.dtype, []).append(vectors)
    for dtype, rows in entries.items():
        for start in range(0, len(rows), ENTRIES):
            _launch(name, dtype, rows[start : start + ENTRIES], lr, options, types)
    for array, vector in copies:
        array[...] = vector


def _launch(
    name: str,
    dtype: np.dtype,
    rows: list[list[Any]],
    lr: Any,
    options: tuple[Any, ...],
    types: dict[str, str],
) -> None:
    aligned = all(address(array) % 16 == 0 for row in rows for array in row)
    width = 16 // dtype.itemsize if aligned else 1
    table, blocks = np.zeros((), _TABLE), 0
    table["count"] = len(rows)
    for i, row in enumerate(rows):
        places = [address(array) for array in row] + [0] * (4 - len(row))
        table["entry"][i] = (*places, row[0].size, blocks)
        blocks += math.ceil(row[0].size / (_VECTORS * THREADS * width))
    lr_type, lr = scalar(lr, np.float64)
    run = kernel(name, c_type_of(dtype), width, lr_type, **types)
    run((blocks,), table, lr, *options, like=rows[0][0])

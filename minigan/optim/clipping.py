"""Limits on gradients and on weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from minigan_kernels.memo import writable

from ..nn.arguments import Interval
from ..tensor import Tensor, adopt
from .parameters import check_floats, gradient_arrays

Gradients = Mapping[str, Tensor]
Clip = Callable[[Gradients], Gradients]

_LIMIT = Interval("(0, inf)")


def clip_by_value(gradients: Gradients, limit: float) -> dict[str, Tensor]:
    """Every value of every gradient limited to [-limit, limit]; `limit` is above 0.

    >>> mg.optim.clip_by_value({"w": mg.Tensor([-3.0, 0.5])}, 1.0)["w"].numpy()
    array([-1. ,  0.5], dtype=float32)
    """
    limit = _LIMIT.check(limit, "the limit of clip_by_value")
    arrays = gradient_arrays(gradients, "clip_by_value")
    return {n: adopt(np.clip(g, -limit, limit)) for n, g in arrays.items()}


def clip_by_norm(gradients: Gradients, limit: float) -> dict[str, Tensor]:
    """All gradients scaled together so that their joint Euclidean norm is at most `limit`, which is
    above 0.

    Pascanu et al. 2013, arXiv:1211.5063, Algorithm 1.

    >>> mg.optim.clip_by_norm({"w": mg.Tensor([3.0, 4.0])}, 10.0)["w"].numpy()  # of norm 5
    array([3., 4.], dtype=float32)
    """
    limit = _LIMIT.check(limit, "the limit of clip_by_norm")
    arrays = gradient_arrays(gradients, "clip_by_norm")
    norm = np.sqrt(sum(np.square(g, dtype=np.float64).sum() for g in arrays.values()))
    scale = limit / np.fmax(norm, limit)  # 1 where the norm is below the limit, or NaN
    return {n: adopt(g * scale.astype(g.dtype)) for n, g in arrays.items()}


def clip_weights(parameters: Mapping[str, Tensor], limit: float) -> None:
    """Limit parameters to [-limit, limit], in place (Arjovsky et al. 2017, arXiv:1701.07875);
    `limit` is above 0.

    >>> D = nn.Linear(3, 1, rng=rng)
    >>> mg.optim.clip_weights(D.parameters(), 0.01)
    >>> bool((abs(D.weight.numpy()) <= np.float32(0.01)).all())
    True
    """
    limit = _LIMIT.check(limit, "the limit of clip_weights")
    check_floats(parameters, "clip_weights")
    with writable(*(p.data for p in parameters.values())):
        for p in parameters.values():
            np.clip(p.data, -limit, limit, out=p.data)


def project_to_sphere(table: Tensor, rows: Any = slice(None)) -> None:
    """Scale rows of a table (rows, d) to length 1, in place: all, or those that `rows` indexes
    (Bojanowski et al. 2018, arXiv:1707.05776).

    >>> table = mg.Tensor([[3.0, 4.0]])
    >>> mg.optim.project_to_sphere(table)
    >>> bool(np.isclose(np.linalg.norm(table.numpy()), 1))
    True
    """
    check_floats({"table": table}, "project_to_sphere")
    if table.ndim != 2:
        raise ValueError(f"project_to_sphere takes a table (rows, d), but it is {table.shape}")
    with writable(table.data):
        z = table.data[rows]
        table.data[rows] = z / np.sqrt(np.square(z).sum(axis=1, keepdims=True))

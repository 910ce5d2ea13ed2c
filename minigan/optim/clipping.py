"""Limits on gradients and on weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from minigan_kernels.memo import writable

from ..tensor import Tensor

Gradients = Mapping[str, Tensor]
Clip = Callable[[Gradients], Gradients]


def clip_by_value(gradients: Gradients, limit: float) -> dict[str, Tensor]:
    """Every value of every gradient limited to [-limit, limit]."""
    return {n: Tensor(np.clip(g.data, -limit, limit)) for n, g in gradients.items()}


def clip_by_norm(gradients: Gradients, limit: float) -> dict[str, Tensor]:
    """All gradients scaled together so that their joint Euclidean norm is at most `limit`.

    Pascanu et al. 2013, arXiv:1211.5063, Algorithm 1.
    """
    norm = np.sqrt(sum(np.square(g.data, dtype=np.float64).sum() for g in gradients.values()))
    scale = limit / np.fmax(norm, limit)  # 1 where the norm is below the limit, or NaN
    return {n: Tensor(g.data * scale.astype(g.dtype)) for n, g in gradients.items()}


def clip_weights(parameters: Mapping[str, Tensor], limit: float) -> None:
    """Limit parameters to [-limit, limit], in place (Arjovsky et al. 2017, arXiv:1701.07875)."""
    with writable(*(p.data for p in parameters.values())):
        for p in parameters.values():
            np.clip(p.data, -limit, limit, out=p.data)


def project_to_sphere(table: Tensor, rows: Any = slice(None)) -> None:
    """Scale rows of a table (rows, d) to length 1, in place: all, or those that `rows` indexes
    (Bojanowski et al. 2018, arXiv:1707.05776).
    """
    with writable(table.data):
        z = table.data[rows]
        table.data[rows] = z / np.sqrt(np.square(z).sum(axis=1, keepdims=True))

"""Group normalisation: the kernels of batch norm, with groups of channels in place of channels."""

from __future__ import annotations

import math
from typing import Any

import minigan_kernels as kernels
import numpy as np

from ..arrays import floats
from ..fused import fused
from ..tensor import Array, Tensor
from .elementwise import per_channel, sqrt
from .reduction import mean, var
from .shape import reshape

Moments = tuple[Array, Array]


def _forward(
    x: Array, gamma: Array, beta: Array, *, groups: int, eps: float
) -> tuple[Array, Moments]:
    _check(x.shape, gamma.shape, beta.shape, groups)
    rows = _rows(x, x.shape[0] * x.shape[1])
    moments = kernels.moments(_rows(rows, len(x) * groups))
    y = kernels.batch_norm(rows, *_of_each(x, gamma, beta, *moments), eps=float(eps))
    return y.reshape(x.shape), moments


def _backward(
    g: Array,
    y: Array,
    residuals: Moments,
    x: Array,
    gamma: Array,
    beta: Array,
    *,
    groups: int,
    eps: float,
) -> tuple[Array, Array, Array]:
    n, channels = x.shape[:2]
    g_rows, rows = (_rows(a, n * channels) for a in (g, x))
    scale, *others = _of_each(x, gamma, beta, *residuals)
    _, dgamma, dbeta = kernels.batch_norm_inference_backward(
        g_rows, rows, scale, *others, eps=float(eps)
    )
    zeros, ones = np.zeros_like(scale), np.ones_like(scale)
    scaled = kernels.batch_norm(g_rows, scale, zeros, zeros, ones, eps=0.0)  # g gamma, in one pass
    ones = np.ones_like(residuals[0])  # what the groups themselves are scaled by
    g_groups, of_groups = (_rows(a, n * groups) for a in (scaled, rows))
    dx, _, _ = kernels.batch_norm_backward(
        g_groups, of_groups, ones, ones, *residuals, eps=float(eps)
    )
    return dx.reshape(x.shape), *(d.reshape(n, channels).sum(axis=0) for d in (dgamma, dbeta))


def _rows(x: Array, count: int) -> Array:
    """x (N, C, ...) as (1, count, values): each channel, or group, of each sample is a channel."""
    return x.reshape(1, count, x.size // max(1, count))


def _of_each(x: Array, gamma: Array, beta: Array, *moments: Array) -> list[Array]:
    """Values (C,), and moments of groups (N groups,), for each channel of each sample (N C,)."""
    n, channels = x.shape[:2]
    values = [np.broadcast_to(v, (n, channels)).reshape(-1) for v in (gamma, beta)]
    width = n * channels // max(1, len(moments[0]))  # channels of a group
    return [*values, *(m.repeat(width) for m in moments)]


def _check(x: tuple[int, ...], gamma: tuple[int, ...], beta: tuple[int, ...], groups: Any) -> None:
    if len(x) < 2 or gamma != x[1:2] or beta != gamma:
        raise ValueError(f"x must be (N, C, ...), gamma and beta (C,), not {x}, {gamma} and {beta}")
    if not isinstance(groups, int | np.integer) or groups < 1 or x[1] % groups:
        raise ValueError(f"{x[1]} channels do not split into {groups!r} groups")


@fused(_forward, _backward, check=floats)
def group_norm(x: Tensor, gamma: Tensor, beta: Tensor, *, groups: int, eps: float = 1e-5) -> Tensor:
    """Normalise each sample of x (N, C, ...) over `groups` groups of neighbouring channels (Wu & He
    2018, arXiv:1803.08494).

    y = gamma (x - mean) / sqrt(var + eps) + beta, with gamma and beta (C,), and mean and biased
    variance those of the C / groups channels of a group. One group is a layer norm of a sample, C
    groups are an instance norm.

    Raises:
        ValueError: if the channels do not split into the groups.

    >>> x, ones = mg.Tensor([[1.0, 3.0, 10.0, 30.0]]), mg.Tensor([1.0] * 4)
    >>> mg.group_norm(x, ones, ones * 0, groups=2).numpy().round(2).tolist()
    [[-1.0, 1.0, -1.0, 1.0]]
    """
    grouped = reshape(x, (len(x), groups, math.prod(x.shape[1:]) // groups))
    centred = grouped - mean(grouped, 2, keepdims=True)
    normal = reshape(centred / sqrt(var(grouped, 2, keepdims=True) + eps), x.shape)
    return normal * per_channel(gamma, x) + per_channel(beta, x)

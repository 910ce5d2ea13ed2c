"""Normalisation over a batch, an image or a layer."""

from __future__ import annotations

from typing import Any

import minigan_kernels as kernels
import numpy as np

from ..arrays import floats
from ..fused import fused
from ..tensor import Array, GraphError, Tensor, adopt, tensors
from .elementwise import leaky_relu, per_channel, sqrt
from .reduction import mean, var
from .shape import broadcast_to, reshape

Moments = tuple[Array, Array]


def _forward(
    x: Array,
    gamma: Array,
    beta: Array,
    *,
    eps: float,
    slope: float,
    moments: Moments | None = None,
) -> tuple[Array, Moments]:
    found = kernels.moments(x) if moments is None else moments
    y = kernels.batch_norm(x, gamma, beta, *found, eps=float(eps), slope=float(slope))
    return y, found


def _backward(
    g: Array,
    y: Array,
    residuals: Moments,
    x: Array,
    gamma: Array,
    beta: Array,
    *,
    eps: float,
    slope: float,
    moments: object = None,
) -> tuple[Array, Array, Array]:
    back = kernels.batch_norm_backward
    return back(g, x, gamma, beta, *residuals, eps=float(eps), slope=float(slope))


@fused(_forward, _backward, check=floats)
def batch_norm(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    *,
    eps: float = 1e-5,
    slope: float = 1.0,
    moments: Moments | None = None,
) -> Tensor:
    """Normalise each channel of x by its mean and variance over the batch: training mode.

    y = leaky_relu(gamma (x - mean) / sqrt(var + eps) + beta), with x (N, C) or (N, C, H, W) and
    gamma, beta (C,); var is the biased variance (Ioffe & Szegedy 2015, arXiv:1502.03167, Algorithm
    1). The activation in the same pass has the slope `slope` below zero: 1 for none, 0 for ReLU.
    `moments` are those of x, from `minigan_kernels.moments`, if the caller has them already.

    >>> x, one, zero = mg.Tensor([[1.0], [3.0]]), mg.Tensor([1.0]), mg.Tensor([0.0])
    >>> mg.batch_norm(x, one, zero, eps=0.0).numpy()
    array([[-1.],
           [ 1.]], dtype=float32)
    """
    axes = (0, *range(2, x.ndim))
    centred = x - mean(x, axes, keepdims=True)
    deviation = sqrt(var(x, axes, keepdims=True) + eps)
    return _activated(centred / deviation * per_channel(gamma, x) + per_channel(beta, x), slope)


def _inference(
    x: Array, gamma: Array, beta: Array, *, mean: Array, var: Array, eps: float, slope: float
) -> tuple[Array, tuple[()]]:
    moments = _like(x, mean, var)
    return kernels.batch_norm(x, gamma, beta, *moments, eps=float(eps), slope=float(slope)), ()


def _inference_backward(
    g: Array,
    y: Array,
    residuals: tuple[()],
    x: Array,
    gamma: Array,
    beta: Array,
    *,
    mean: Array,
    var: Array,
    eps: float,
    slope: float,
) -> tuple[Array, Array, Array]:
    back = kernels.batch_norm_inference_backward
    moments = _like(x, mean, var)
    return back(g, x, gamma, beta, *moments, eps=float(eps), slope=float(slope))


def _like(x: Array, *constants: Array) -> list[Array]:
    return [constant.astype(x.dtype, copy=False) for constant in constants]


@fused(_inference, _inference_backward, check=floats)
def batch_norm_inference(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    *,
    mean: Array,
    var: Array,
    eps: float = 1e-5,
    slope: float = 1.0,
) -> Tensor:
    """Normalise each channel of x by the constants mean and var (C,): inference mode.

    `slope` as in `batch_norm`.

    >>> x, one, zero = mg.Tensor([[1.0], [3.0]]), mg.Tensor([1.0]), mg.Tensor([0.0])
    >>> mean, var = np.ones(1, np.float32), np.full(1, 4, np.float32)
    >>> mg.batch_norm_inference(x, one, zero, mean=mean, var=var, eps=0.0).numpy()
    array([[0.],
           [1.]], dtype=float32)
    """
    mean, var = _like(x.data, mean, var)
    scale = gamma / adopt(np.sqrt(var + float(eps)))
    normal = (x - per_channel(adopt(mean), x)) * per_channel(scale, x)
    return _activated(normal + per_channel(beta, x), slope)


def _activated(y: Tensor, slope: float) -> Tensor:
    return y if slope == 1 else leaky_relu(y, slope)


def instance_norm(x: Tensor, gamma: Tensor, beta: Tensor, *, eps: float = 1e-5) -> Tensor:
    """Normalise each channel of each image of x (N, C, H, W) alone (Ulyanov et al. 2016,
    arXiv:1607.08022).

    >>> x = mg.Tensor([[[[1.0, 3.0]]]])
    >>> mg.instance_norm(x, mg.Tensor([1.0]), mg.Tensor([0.0]), eps=0.0).numpy()
    array([[[[-1.,  1.]]]], dtype=float32)
    """
    n, c, h, w = x.shape
    if n == 1:  # as in CycleGAN: needs no copy of the image
        return batch_norm(x, gamma, beta, eps=eps)
    scale, shift = (reshape(broadcast_to(v, (n, c)), (n * c,)) for v in (gamma, beta))
    return reshape(batch_norm(reshape(x, (1, n * c, h, w)), scale, shift, eps=eps), x.shape)


def layer_norm(x: Tensor, gamma: Tensor, beta: Tensor, *, eps: float = 1e-5) -> Tensor:
    """Normalise over the last axes, as many as gamma and beta have (Ba et al. 2016,
    arXiv:1607.06450).

    >>> gamma, beta = mg.Tensor([1.0, 1.0]), mg.Tensor([0.0, 0.0])
    >>> mg.layer_norm(mg.Tensor([[1.0, 3.0]]), gamma, beta, eps=0.0).numpy()
    array([[-1.,  1.]], dtype=float32)
    """
    x, gamma, beta = _floats("layer_norm", x, gamma, beta)
    axes = tuple(range(x.ndim - gamma.ndim, x.ndim))
    centred = x - mean(x, axes, keepdims=True)
    deviation = sqrt(mean(centred * centred, axes, keepdims=True) + eps)
    return centred / deviation * gamma + beta


def _floats(name: str, *args: Any) -> tuple[Tensor, ...]:
    """Arguments of a composition as tensors, checked as those of a primitive are."""
    given = tensors(*args)
    try:
        floats([t.data for t in given])
    except ValueError as error:
        raise GraphError(f"{name}: {error}") from None
    return given

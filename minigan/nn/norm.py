"""Normalisation layers."""

from __future__ import annotations

import minigan_kernels as kernels
import numpy as np

from .. import ops
from ..random import Generator
from ..tensor import Array, Tensor
from .activation import Activation, LeakyReLU
from .init import Initializer
from .module import Module


class BatchNorm(Module):
    """Batch normalisation of each channel (Ioffe & Szegedy 2015, arXiv:1502.03167), and an
    activation if one is given.

    In training it uses the batch's mean and biased variance, in inference the running ones.
    `momentum` is the weight of the newest batch: running = (1 - momentum) running + momentum batch,
    with the unbiased variance. (Other libraries call 1 - momentum the momentum.) Without
    `learn_scale` gamma is not learned.
    """

    def __init__(
        self,
        channels: int,
        *,
        eps: float = 1e-5,
        momentum: float = 0.1,
        activation: Activation | None = None,
        rng: Generator | None = None,
        gamma_init: Initializer | None = None,
        learn_scale: bool = True,
    ) -> None:
        if (gamma_init is None) != (rng is None):
            raise ValueError("gamma_init and rng go together: the one draws from the other")
        gamma = np.ones(channels, np.float32)
        if gamma_init is not None and rng is not None:
            gamma = gamma_init(rng, (channels,), channels, channels)
        self.gamma: Tensor | Array = Tensor(gamma) if learn_scale else gamma
        self.beta = Tensor(np.zeros(channels, np.float32))
        self.running_mean = np.zeros(channels, np.float32)
        self.running_var = np.ones(channels, np.float32)
        self.eps, self.momentum, self.activation = eps, momentum, activation

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.activation, LeakyReLU):  # in the same pass
            return self._normalised(x, self.activation.slope)
        y = self._normalised(x, 1.0)
        return y if self.activation is None else self.activation(y)

    def _normalised(self, x: Tensor, slope: float) -> Tensor:
        gamma, beta = self.gamma, self.beta
        if not isinstance(gamma, Tensor):
            gamma = Tensor(gamma)
        options = {"eps": self.eps, "slope": slope}
        if not self.training:
            mean, var = self.running_mean, self.running_var
            return ops.batch_norm_inference(x, gamma, beta, mean=mean, var=var, **options)
        count = x.size // x.shape[1]
        if count < 2:
            raise ValueError(
                f"batch norm in training needs two values a channel, but x is {x.shape}"
            )
        mean, var = kernels.moments(x.data)
        self._track(mean, var * (count / (count - 1)))
        return ops.batch_norm(x, gamma, beta, moments=(mean, var), **options)

    def _track(self, mean: Array, var: Array) -> None:
        # New arrays: the graph of a pass in inference may still need the old ones.
        self.running_mean = self.running_mean + self.momentum * (mean - self.running_mean)
        self.running_var = self.running_var + self.momentum * (var - self.running_var)


class BatchNorm1d(BatchNorm):
    """`BatchNorm` of vectors (N, C)."""

    def forward(self, x: Tensor) -> Tensor:
        _want_axes(x, 2, "BatchNorm1d", "(N, C)")
        return super().forward(x)


class BatchNorm2d(BatchNorm):
    """`BatchNorm` of images (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        _want_axes(x, 4, "BatchNorm2d", "(N, C, H, W)")
        return super().forward(x)


class InstanceNorm2d(Module):
    """Each channel of each image (N, C, H, W) normalised alone (Ulyanov et al. 2016,
    arXiv:1607.08022).
    """

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        self.gamma = Tensor(np.ones(channels, np.float32))
        self.beta = Tensor(np.zeros(channels, np.float32))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        _want_axes(x, 4, "InstanceNorm2d", "(N, C, H, W)")
        return ops.instance_norm(x, self.gamma, self.beta, eps=self.eps)


class LayerNorm(Module):
    """Each sample normalised over its last axes, which have the shape `shape` (Ba et al. 2016,
    arXiv:1607.06450).
    """

    def __init__(self, shape: int | tuple[int, ...], *, eps: float = 1e-5) -> None:
        self.gamma = Tensor(np.ones(shape, np.float32))
        self.beta = Tensor(np.zeros(shape, np.float32))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return ops.layer_norm(x, self.gamma, self.beta, eps=self.eps)


def _want_axes(x: Tensor, axes: int, name: str, layout: str) -> None:
    if x.ndim != axes:
        raise ValueError(f"{name} takes {layout}, but x has shape {x.shape}")

"""Normalisation layers."""

from __future__ import annotations

from typing import ClassVar

import minigan_kernels as kernels
import numpy as np

from .. import ops
from ..random import Generator, takes_generator
from ..tensor import Array, Tensor
from .activation import Activation, LeakyReLU, check_activation
from .arguments import Interval, check_floating, check_sizes
from .init import Initializer, initial
from .module import Module
from .parameters import Parameter
from .saved import Renamed

_AFFINE = {"gamma": ("weight",), "beta": ("bias",)}
_EPS, _MOMENTUM = Interval("[0, inf)"), Interval("[0, 1]")


class BatchNorm(Module):
    """Batch normalisation of each channel (Ioffe & Szegedy 2015, arXiv:1502.03167), and an
    activation if one is given.

    In training it uses the batch's mean and biased variance, in inference the running ones.
    `momentum` is the weight of the newest batch: running = (1 - momentum) running + momentum batch,
    with the unbiased variance. (Other libraries call 1 - momentum the momentum.) Without
    `learn_scale` gamma is not learned. A pass that fails leaves the running moments as they were.

    >>> nn.BatchNorm(3, activation=nn.ReLU())(mg.Tensor(rng.normal((4, 3, 2, 2)))).shape
    (4, 3, 2, 2)
    """

    takes_arrays = True
    pytorch_names: ClassVar[Renamed] = _AFFINE

    @takes_generator
    def __init__(
        self,
        channels: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        *,
        activation: Activation | None = None,
        rng: Generator | None = None,
        gamma_init: Initializer | None = None,
        learn_scale: bool = True,
    ) -> None:
        if (gamma_init is None) != (rng is None):
            raise ValueError("gamma_init and rng go together: the one draws from the other")
        check_sizes(self, channels=channels)
        check_activation(self, activation)
        _EPS.check(eps, f"eps of {type(self).__name__}")
        _MOMENTUM.check(momentum, f"momentum of {type(self).__name__}")
        gamma = np.ones(channels, np.float32)
        if gamma_init is not None and rng is not None:
            gamma = initial(gamma_init, rng, (channels,), channels, channels)
        self.gamma: Tensor | Array = Parameter(gamma) if learn_scale else gamma
        self.beta = Parameter(np.zeros(channels, np.float32))
        self.running_mean = np.zeros(channels, np.float32)
        self.running_var = np.ones(channels, np.float32)
        self.eps, self.momentum, self.activation = eps, momentum, activation

    def forward(self, x: Tensor) -> Tensor:
        check_floating(self, x)
        _check_channels(self, x, self.beta)
        if isinstance(self.activation, LeakyReLU):  # in the same pass
            y, moments = self._normalised(x, self.activation.slope)
        else:
            y, moments = self._normalised(x, 1.0)
            y = y if self.activation is None else self.activation(y)
        if moments is not None:  # only now: nothing can fail any more
            self._track(*moments)
        return y

    def extra_repr(self) -> str:
        words = [str(self.beta.size)] + [f"eps={self.eps}"] * (self.eps != 1e-5)
        words += [f"momentum={self.momentum}"] * (self.momentum != 0.1)
        words += ["learn_scale=False"] * (not isinstance(self.gamma, Tensor))
        words += [] if self.activation is None else [f"activation={self.activation!r}"]
        return ", ".join(words)

    def _normalised(self, x: Tensor, slope: float) -> tuple[Tensor, tuple[Array, Array] | None]:
        """The result, and the batch's mean and unbiased variance if they were used."""
        gamma, beta = self.gamma, self.beta
        if not isinstance(gamma, Tensor):
            gamma = Tensor(gamma)
        options = {"eps": self.eps, "slope": slope}
        if not self.training:
            mean, var = self.running_mean, self.running_var
            return ops.batch_norm_inference(x, gamma, beta, mean=mean, var=var, **options), None
        count = x.size // x.shape[1]
        if count < 2:
            raise ValueError(
                f"batch norm in training needs two values a channel, but x is {x.shape}"
            )
        mean, var = kernels.moments(x.data)
        y = ops.batch_norm(x, gamma, beta, moments=(mean, var), **options)
        return y, (mean, var * (count / (count - 1)))

    def _track(self, mean: Array, var: Array) -> None:
        # New arrays: the graph of a pass in inference may still need the old ones. They are no
        # tensors, so they need not go through the look of `Module.__setattr__`.
        own = vars(self)
        own["running_mean"] = _towards(mean, self.running_mean, self.momentum)
        own["running_var"] = _towards(var, self.running_var, self.momentum)


class BatchNorm1d(BatchNorm):
    """`BatchNorm` of vectors (N, C).

    >>> nn.BatchNorm1d(3)(mg.Tensor(rng.normal((4, 3)))).shape
    (4, 3)
    """

    def forward(self, x: Tensor) -> Tensor:
        check_axes(self, x, 2, "(N, C)")
        return super().forward(x)


class BatchNorm2d(BatchNorm):
    """`BatchNorm` of images (N, C, H, W).

    >>> nn.BatchNorm2d(3)(mg.Tensor(rng.normal((4, 3, 2, 2)))).shape
    (4, 3, 2, 2)
    """

    def forward(self, x: Tensor) -> Tensor:
        check_axes(self, x, 4, "(N, C, H, W)")
        return super().forward(x)


class InstanceNorm2d(Module):
    """Each channel of each image (N, C, H, W) normalised alone (Ulyanov et al. 2016,
    arXiv:1607.08022). An image needs two values a channel.

    >>> nn.InstanceNorm2d(3)(mg.Tensor(rng.normal((4, 3, 2, 2)))).shape
    (4, 3, 2, 2)
    """

    takes_arrays = True
    pytorch_names: ClassVar[Renamed] = _AFFINE

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        check_sizes(self, channels=channels)
        _EPS.check(eps, "eps of InstanceNorm2d")
        self.gamma = Parameter(np.ones(channels, np.float32))
        self.beta = Parameter(np.zeros(channels, np.float32))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        check_axes(self, x, 4, "(N, C, H, W)")
        _check_channels(self, x, self.gamma)
        if x.shape[2] * x.shape[3] < 2:
            raise ValueError(f"InstanceNorm2d needs two values a channel, but x is {x.shape}")
        return ops.instance_norm(x, self.gamma, self.beta, eps=self.eps)

    def extra_repr(self) -> str:
        return str(self.beta.size) + f", eps={self.eps}" * (self.eps != 1e-5)


class LayerNorm(Module):
    """Each sample normalised over its last axes, which have the shape `shape` (Ba et al. 2016,
    arXiv:1607.06450).

    >>> nn.LayerNorm(3)(mg.Tensor(rng.normal((4, 3)))).shape
    (4, 3)
    """

    takes_arrays = True
    pytorch_names: ClassVar[Renamed] = _AFFINE

    def __init__(self, shape: int | tuple[int, ...], eps: float = 1e-5) -> None:
        _EPS.check(eps, "eps of LayerNorm")
        self.gamma = Parameter(np.ones(shape, np.float32))
        self.beta = Parameter(np.zeros(shape, np.float32))
        self.eps = eps
        if not self.gamma.ndim or not self.gamma.size:
            raise ValueError(f"LayerNorm is over axes of at least 1 value, not {shape}")

    def forward(self, x: Tensor) -> Tensor:
        own = self.gamma.shape
        if x.shape[-len(own) :] != own:
            raise ValueError(
                f"LayerNorm of {own} takes x whose last axes are {own}, but x has shape {x.shape}"
            )
        return ops.layer_norm(x, self.gamma, self.beta, eps=self.eps)

    def extra_repr(self) -> str:
        return str(self.beta.shape) + f", eps={self.eps}" * (self.eps != 1e-5)


def check_axes(owner: Module, x: Tensor, axes: int, layout: str) -> None:
    """Make sure that the input of a layer has so many axes; `layout` names them.

    Raises:
        ValueError: naming the layer and the shape.
    """
    if x.ndim != axes:
        raise ValueError(f"{type(owner).__name__} takes {layout}, but x has shape {x.shape}")


def _check_channels(owner: Module, x: Tensor, one: Tensor) -> None:
    """Make sure that x (N, C, ...) has the channels of the parameter `one` (C,)."""
    if x.ndim < 2 or x.shape[1] != one.shape[0]:
        name = type(owner).__name__
        raise ValueError(
            f"{name} of {one.size} channels takes (N, {one.size}, ...), but x has shape {x.shape}"
        )


def _towards(new: Array, running: Array, momentum: float) -> Array:
    return (running + momentum * (new - running)).astype(running.dtype, copy=False)

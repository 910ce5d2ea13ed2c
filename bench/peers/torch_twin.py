"""PyTorch: a network of minigan's, layer for layer, with the same weights.

It is built by walking the modules, so that it is whatever a recipe makes for a size of images.
Activations that minigan fuses with the layer before them are written in place, as PyTorch's
examples do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn.utils.parametrizations import spectral_norm

from minigan import nn
from minigan.gans.began import AutoEncoder

from . import UnavailableError


def twin(module: nn.Module) -> Any:
    """The `torch.nn.Module` that computes what `module` does, in training mode.

    Raises:
        UnavailableError: naming a layer that has no twin here.
    """
    for kind in type(module).__mro__:
        if kind in _TWINS:
            return _TWINS[kind](module)
    raise UnavailableError(f"{type(module).__name__} has no twin in bench/peers/torch_twin.py")


class Reshape(torch.nn.Module):  # type: ignore[misc]
    """Each sample in another shape."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Any) -> Any:
        return x.reshape(len(x), *self.shape)


class BatchNorm(torch.nn.modules.batchnorm._BatchNorm):  # type: ignore[misc]
    """Of vectors and of images alike."""

    def _check_input_dim(self, input: Any) -> None:
        """Takes any."""


def _sequential(module: Any) -> Any:
    return torch.nn.Sequential(*map(twin, module))


def _linear(module: Any) -> Any:
    made = torch.nn.Linear(module.in_features, module.out_features, module.bias is not None)
    return _filled(made, module)


def _conv(module: Any) -> Any:
    made = torch.nn.Conv2d(
        module.in_channels, module.out_channels, module.weight.shape[2:],
        bias=module.bias is not None, **module.options,
    )  # fmt: skip
    if module.beyond is None:
        return _filled(made, module)
    below, right = module.beyond
    return torch.nn.Sequential(torch.nn.ZeroPad2d((0, right, 0, below)), _filled(made, module))


def _conv_transpose(module: Any) -> Any:
    made = torch.nn.ConvTranspose2d(
        module.in_channels, module.out_channels, module.weight.shape[2:],
        bias=module.bias is not None, **module.options,
    )  # fmt: skip
    return _filled(made, module)


def _batch_norm(module: Any) -> Any:
    made = BatchNorm(module.beta.size, module.eps, module.momentum)
    _copy(made.weight, getattr(module.gamma, "data", module.gamma))
    made.weight.requires_grad_(isinstance(module.gamma, nn.Parameter))
    _copy(made.bias, module.beta.data)
    return _ended(made, module.activation)


def _spectral_norm(module: Any) -> Any:
    """With the same first vectors; PyTorch's iteration begins with u, minigan's with v."""
    made = twin(module.layer)
    layer = made[0] if isinstance(made, torch.nn.Sequential) else made
    if not isinstance(layer, torch.nn.Linear | torch.nn.Conv2d):
        raise UnavailableError("a padded layer with spectral norm has no twin here")
    found = spectral_norm(layer, n_power_iterations=module.iterations).parametrizations.weight[0]
    _copy(found._u, module.u)
    _copy(found._v, module.v)
    return made


def _auto_encoder(module: Any) -> Any:
    return torch.nn.Sequential(twin(module.encoder), twin(module.decoder))


def _filled(made: Any, module: Any) -> Any:
    """The layer with minigan's weights, followed by its activation."""
    _copy(made.weight, module.weight.data)
    if module.bias is not None:
        _copy(made.bias, module.bias.data)
    return _ended(made, module.activation)


def _ended(made: Any, activation: nn.Activation | None) -> Any:
    """The layer, followed by an activation that overwrites what it gives."""
    if activation is None:
        return made
    after = twin(activation)
    after.inplace = True  # of those that can; Tanh and Sigmoid have no use for it
    return torch.nn.Sequential(made, after)


def _copy(values: Any, array: np.ndarray) -> None:
    with torch.no_grad():
        values.copy_(torch.tensor(np.ascontiguousarray(array)))  # minigan may have frozen it


_TWINS: dict[type, Callable[[Any], Any]] = {
    nn.Sequential: _sequential,
    AutoEncoder: _auto_encoder,
    nn.Linear: _linear,
    nn.Conv2d: _conv,
    nn.ConvTranspose2d: _conv_transpose,
    nn.BatchNorm: _batch_norm,
    nn.SpectralNorm: _spectral_norm,
    nn.Flatten: lambda module: torch.nn.Flatten(),
    nn.Reshape: lambda module: Reshape(module.shape),
    nn.Identity: lambda module: torch.nn.Identity(),
    nn.UpsampleNearest: lambda module: torch.nn.Upsample(scale_factor=module.factor),
    nn.AvgPool2d: lambda m: torch.nn.AvgPool2d(m.kernel_size, m.stride, m.padding),
    nn.ReLU: lambda module: torch.nn.ReLU(),
    nn.LeakyReLU: lambda module: torch.nn.LeakyReLU(module.slope),
    nn.ELU: lambda module: torch.nn.ELU(module.alpha),
    nn.Tanh: lambda module: torch.nn.Tanh(),
    nn.Sigmoid: lambda module: torch.nn.Sigmoid(),
}

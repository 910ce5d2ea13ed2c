"""Parts of several recipes: a layer with batch norm, and what a round reports of D."""

from __future__ import annotations

from .. import nn
from ..ops import sigmoid
from ..tensor import Tensor


def normed(
    layer: nn.Module, channels: int, activation: nn.Activation, *then: nn.Module
) -> nn.Module:
    """A layer with so many output channels or units, batch norm with the activation, and more."""
    return nn.Sequential(layer, nn.BatchNorm(channels, activation=activation), *then)


def beliefs(on_real: Tensor, on_fake: Tensor) -> dict[str, Tensor]:
    """How real D finds real and generated samples on average, by its logits on both."""
    return {"D(x)": sigmoid(on_real).mean(), "D(G(z))": sigmoid(on_fake).mean()}

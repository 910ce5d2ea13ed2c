"""Common parts of recipes: a layer with batch norm, and what a step reports of D."""

from __future__ import annotations

from .. import nn
from ..ops import sigmoid
from ..tensor import Tensor


def normed(
    layer: nn.Module, channels: int, activation: nn.Activation, *then: nn.Module
) -> nn.Sequential:
    """A layer with `channels` outputs, batch norm with the activation, and the modules `then`."""
    return nn.Sequential(layer, nn.BatchNorm(channels, activation=activation), *then)


def beliefs(on_real: Tensor, on_fake: Tensor) -> dict[str, Tensor]:
    """The mean probability that D gives real and generated samples, from its logits on both."""
    return {"D(x)": sigmoid(on_real).mean(), "D(G(z))": sigmoid(on_fake).mean()}

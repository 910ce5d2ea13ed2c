"""DCGAN with its changes to earlier convolutional GANs taken back, one flag each.

    minigan train examples/changed_dcgan.py --no-batch-norm --data mnist --minutes 10

Radford et al. 2015, arXiv:1511.06434, section 3, name five: batch norm, strides instead of pooling,
no dense hidden layers, ReLU in G with LeakyReLU in D, and tanh at G's output. For ReLU in D say
--slope 0. The networks are built from those of dcgan, so that nothing else differs.
examples/changes.py compares runs of this recipe.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from minigan import nn
from minigan.gans.dcgan import DCGAN
from minigan.nn.init import normal
from minigan.random import Generator
from minigan.recipe import Shape

STRIDED = (nn.Conv2d, nn.ConvTranspose2d)


@dataclass(frozen=True)
class ChangedDCGAN(DCGAN):
    """Radford, Metz & Chintala 2015, arXiv:1511.06434, without some of its five changes."""

    batch_norm: bool = True  # batch norm in both networks
    strides: bool = True  # strided convolutions; without, convolutions with pooling or upsampling
    all_convolutional: bool = True  # without, a dense hidden layer behind z, and one before D's end
    tanh: bool = True  # at G's output; without, a sigmoid
    hidden: int = 512  # units of the dense hidden layers

    def output_range(self, shape: Shape) -> tuple[float, float]:
        return (-1.0, 1.0) if self.tanh else (0.0, 1.0)

    def generator(self, rng: Generator, shape: Shape) -> nn.Module:
        first, *rest = super().generator(rng, shape)  # type: ignore[misc]
        if not self.all_convolutional:
            relu = nn.BatchNorm1d(self.hidden, activation=nn.ReLU())
            out, side = first.out_channels, first.weight.shape[2]
            wide = nn.ConvTranspose2d(
                self.hidden, out, side, rng=rng, init=normal(self.init_std), bias=False
            )
            dense = nn.Linear(
                self.latent_size, self.hidden, rng=rng, init=normal(self.init_std), bias=False
            )
            rest = [dense, relu, nn.Reshape(self.hidden, 1, 1), wide, *rest]
            first = nn.Flatten()
        layers = [first, *rest]
        if not self.tanh:
            layers[-1].activation = nn.Sigmoid()
        return nn.Sequential(*self.changed(layers, rng))

    def discriminator(self, rng: Generator, shape: Shape) -> nn.Module:
        *layers, last, flat = super().discriminator(rng, shape)  # type: ignore[misc]
        if not self.all_convolutional:
            init, leaky = normal(self.init_std), nn.LeakyReLU(self.slope)
            side = last.weight.shape[2]
            layers += [
                nn.Conv2d(last.in_channels, self.hidden, side, rng=rng, init=init, bias=False),
                nn.BatchNorm2d(self.hidden, activation=leaky),
            ]
            last = nn.Conv2d(self.hidden, last.out_channels, 1, rng=rng, init=init)
        return nn.Sequential(*self.changed([*layers, last], rng), flat)

    def changed(self, layers: Iterable[nn.Module], rng: Generator) -> Iterator[nn.Module]:
        """The layers without batch norm, or without strides."""
        before: nn.Module | None = None
        for layer in layers:
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and not self.batch_norm:
                assert before is not None
                before.bias = nn.Parameter(np.zeros(layer.beta.shape, np.float32))  # as beta was
                assert layer.activation is not None
                yield layer.activation
            elif isinstance(layer, STRIDED) and layer.options["stride"] == 2 and not self.strides:
                yield from self.pooled(layer, rng)
            else:
                yield layer
            before = layer

    def pooled(self, layer: nn.Module, rng: Generator) -> Iterator[nn.Module]:
        """A convolution of stride 1 with the inputs and outputs of one of stride 2."""
        assert isinstance(layer, STRIDED)
        channels, odd = (layer.in_channels, layer.out_channels), layer.weight.shape[2] % 2
        options = {"rng": rng, "init": normal(self.init_std), "activation": layer.activation}
        bias = layer.bias is not None or not self.batch_norm
        if isinstance(layer, nn.Conv2d):
            yield nn.Conv2d(*channels, 3, padding=1, **options, bias=bias)
            yield nn.MaxPool2d(2, padding=odd)  # 7 pixels become 4
        else:
            yield nn.UpsampleNearest(2)
            yield nn.Conv2d(*channels, 4 if odd else 3, padding=1, **options, bias=bias)

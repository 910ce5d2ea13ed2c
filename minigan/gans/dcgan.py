"""DCGAN: convolutional networks that make adversarial training stable."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .. import nn
from ..errors import UserError
from ..losses import discriminator_loss, non_saturating_loss, real_logit, saturating_loss
from ..nn.init import normal
from ..ops import reshape, sigmoid
from ..optim import Adam, Optimizer
from ..random import Generator
from ..recipe import Feed, Players, Recipe, Shape, Update
from ..tensor import Array, Tensor

# Sides of the planes between z and the image, each about twice the one before it.
PLANES = {28: (4, 7, 14), 32: (4, 8, 16), 64: (4, 8, 16, 32)}


@dataclass(frozen=True)
class DCGAN(Recipe):
    """Radford, Metz & Chintala 2015, "Unsupervised representation learning with deep convolutional
    generative adversarial networks", arXiv:1511.06434.

    Strided convolutions and no pooling; no hidden dense layers; batch norm everywhere but at G's
    output and D's input; ReLU in G and tanh at its output; LeakyReLU in D. Images of 28, 32 or 64
    pixels.

    One setting is not the paper's: G learns five times as fast as D, as for MNIST in InfoGAN's code
    (Chen et al. 2016, arXiv:1606.03657). With the paper's 2e-4 for both, D stays far ahead on MNIST
    for the first epochs; --lr-g 2e-4 restores it.
    """

    batch_size: int = 64  # images in a batch
    latent_size: int = 100  # components of z, uniform in [-1, 1]
    width: int = 64  # channels next to the image, doubled with each halving; 32 below 64 pixels
    slope: float = 0.2  # slope of D's LeakyReLU below zero
    lr_d: float = 2e-4  # learning rate of D's Adam
    lr_g: float = 1e-3  # learning rate of G's Adam; 2e-4 in the paper
    beta1: float = 0.5  # decay of Adam's first moment
    beta2: float = 0.999  # decay of Adam's second moment
    init_std: float = 0.02  # standard deviation of all initial weights
    smooth: float = 1.0  # target for real images; 0.9 is one-sided label smoothing
    saturating: bool = False  # give G the minimax loss log(1 - D(G(z)))
    two_logits: bool = False  # D ends in a softmax over (false, real) instead of a sigmoid

    steps: ClassVar[int] = 2000

    @classmethod
    def defaults(cls, shape: Shape, *, classes: int, samples: int) -> dict[str, Any]:
        return {"width": 32} if max(shape) < 64 else {}

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("beta1", "beta2"):
            self.require(0 <= getattr(self, name) < 1, name, "from 0 to below 1")
        self.require(0 < self.smooth <= 1, "smooth", "above 0 and at most 1")
        self.require(0 <= self.slope <= 1, "slope", "from 0 to 1")

    def output_range(self, shape: Shape) -> tuple[float, float]:
        return -1.0, 1.0

    def players(self, rng: Generator, shape: Shape) -> Players:
        if len(shape) != 3 or shape[1] != shape[2] or shape[1] not in PLANES:
            raise UserError(
                f"dcgan makes square images of 28, 32 or 64 pixels, but the data are {shape}; "
                "choose image data with --data, and a size with --size"
            )
        return {"G": self.generator(rng, shape), "D": self.discriminator(rng, shape)}

    def generator(self, rng: Generator, shape: Shape) -> nn.Module:
        """z (N, latent_size, 1, 1) to images (N, C, H, W) in (-1, 1)."""
        channels, side, _ = shape
        weights, gammas = normal(self.init_std), normal(self.init_std, mean=1.0)
        planes = PLANES[side]
        c = self.width << len(planes) - 1
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(self.latent_size, c, planes[0], rng=rng, init=weights, bias=False),
            nn.BatchNorm2d(c, rng=rng, gamma_init=gammas, activation=nn.ReLU()),
        ]
        for plane in planes[1:]:
            kernel = 4 - plane % 2  # 7 comes from 4 by a window of 3
            layers += [
                nn.ConvTranspose2d(
                    c, c // 2, kernel, stride=2, padding=1, rng=rng, init=weights, bias=False
                ),
                nn.BatchNorm2d(c // 2, rng=rng, gamma_init=gammas, activation=nn.ReLU()),
            ]
            c //= 2
        return nn.Sequential(
            *layers,
            nn.ConvTranspose2d(
                c, channels, 4, stride=2, padding=1, rng=rng, init=weights, activation=nn.Tanh()
            ),
        )

    def discriminator(self, rng: Generator, shape: Shape) -> nn.Module:
        """Images (N, C, H, W) to logits (N, 1), or (N, 2) for false and real."""
        channels, side, _ = shape
        weights, gammas = normal(self.init_std), normal(self.init_std, mean=1.0)
        leaky = nn.LeakyReLU(self.slope)
        planes, c = PLANES[side][::-1], self.width
        layers: list[nn.Module] = [
            nn.Conv2d(channels, c, 4, stride=2, padding=1, rng=rng, init=weights, activation=leaky)
        ]
        for plane in planes[:-1]:
            kernel = 4 - plane % 2
            layers += [
                nn.Conv2d(c, c * 2, kernel, stride=2, padding=1, rng=rng, init=weights, bias=False),
                nn.BatchNorm2d(c * 2, rng=rng, gamma_init=gammas, activation=leaky),
            ]
            c *= 2
        return nn.Sequential(
            *layers,
            nn.Conv2d(c, 2 if self.two_logits else 1, planes[-1], rng=rng, init=weights),
            nn.Flatten(),
        )

    def optimizers(self, players: Players) -> dict[str, Optimizer]:
        rates, betas = {"G": self.lr_g, "D": self.lr_d}, (self.beta1, self.beta2)
        return {name: Adam(p.parameters(), rates[name], betas) for name, p in players.items()}

    def round(self, players: Players, batches: Feed, rng: Generator, step: int) -> Iterator[Update]:
        G, D = players["G"], players["D"]
        real = next(batches)  # (N, C, H, W) in [-1, 1]
        # One forward pass for both updates, as in the authors' code: G does not change in between.
        fake = G(Tensor(self.latent(rng, len(real))))
        yield self.discriminator_update(D, real, fake.detach())
        on_fake = self.logit(D(fake))
        yield "G", (saturating_loss if self.saturating else non_saturating_loss)(on_fake), {}

    def discriminator_update(self, D: nn.Module, real: Tensor, fake: Tensor) -> Update:
        on_real, on_fake = self.logit(D(real)), self.logit(D(fake))  # apart: each its own moments
        loss = discriminator_loss(on_real, on_fake, smooth=self.smooth)
        return "D", loss, {"D(x)": sigmoid(on_real).mean(), "D(G(z))": sigmoid(on_fake).mean()}

    def logit(self, output: Tensor) -> Tensor:
        """D's output as one logit a sample, (N,)."""
        return real_logit(output) if self.two_logits else reshape(output, (len(output),))

    def latent(self, rng: Generator, n: int) -> np.ndarray:
        return rng.uniform((n, self.latent_size, 1, 1), -1.0, 1.0)

    def realness(self, players: Players, x: Array) -> Array:
        return sigmoid(self.logit(players["D"](Tensor(x)))).numpy()

"""DCGAN: convolutional networks that make adversarial training stable."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np

from .. import nn
from ..losses import discriminator_loss, non_saturating_loss, real_logit, saturating_loss
from ..nn.init import normal
from ..ops import reshape, sigmoid
from ..optim import SGD, Adam, Optimizer, RMSProp
from ..penalties import gaussian_kl, l2_penalty
from ..random import Generator
from ..tensor import Array, Tensor
from ..training.recipe import EMA, Feed, GradientClipping, Players, Shape, Update
from ._checks import check_square
from ._parts import beliefs
from ._sizes import PLANES


@dataclass(frozen=True)
class DCGAN(EMA, GradientClipping):
    """Radford, Metz & Chintala 2015, "Unsupervised representation learning with deep convolutional
    generative adversarial networks", arXiv:1511.06434.

    Strided convolutions and no pooling; no hidden dense layers; batch norm everywhere but at G's
    output and D's input; ReLU in G and tanh at its output; LeakyReLU in D. Images of 28, 32, 48,
    64, 96 or 128 pixels are halved down to 4 or 6 (`_sizes.PLANES`).

    Batches and networks are half the paper's, or less. G learns five times as fast as D, as for
    MNIST in the code of InfoGAN (Chen et al. 2016, arXiv:1606.03657): with the paper's 2e-4 for
    both, D stays far ahead on MNIST for the first epochs.
    """

    batch_size: int = 64  # images in a batch; 128 in the paper
    latent_size: int = 100  # components of z, uniform in [-1, 1]
    width: int = 64  # channels next to the image; 32 but at 64 and 96 pixels, 128 in the paper
    slope: float = 0.2  # slope of D's LeakyReLU below zero
    lr_d: float = 2e-4  # learning rate of D
    lr_g: float = 1e-3  # learning rate of G; 2e-4 in the paper
    optimizer: Literal["adam", "rmsprop", "sgd"] = "adam"  # the rule that moves both
    beta1: float = 0.5  # decay of Adam's first moment; the momentum of sgd
    beta2: float = 0.999  # decay of Adam's second moment
    init_std: float = 0.02  # standard deviation of all initial weights
    smooth: float = 1.0  # target for real images; 0.9 is one-sided label smoothing
    saturating: bool = False  # give G the minimax loss log(1 - D(G(z)))
    two_logits: bool = False  # D ends in a softmax over (false, real) instead of a sigmoid
    l2_d: float = 0.0  # weight of the sum of squares of D's parameters in D's loss
    kl_g: float = 0.0  # weight of the KL divergence of the fakes' pixel moments in G's loss

    steps: ClassVar[int] = 2000
    minutes: ClassVar[float] = 6.8
    takes: ClassVar[str] = "square images of 28 to 128 pixels"
    picture: ClassVar[str] = "dcgan-glyphs.png"

    @classmethod
    def defaults(cls, shape: Shape, *, classes: int, samples: int, tags: int = 1) -> dict[str, Any]:
        return {} if shape[-1] in (64, 96) else {"width": 32}

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("l2_d", "kl_g"):
            self.require(getattr(self, name) >= 0, name, "0 or above")
        self.require(0 < self.smooth <= 1, "smooth", "above 0 and at most 1")
        self.require(0 <= self.slope <= 1, "slope", "from 0 to 1")

    def output_range(self, shape: Shape) -> tuple[float, float]:
        return -1.0, 1.0

    def players(self, rng: Generator, shape: Shape) -> Players:
        check_square(self, shape, PLANES)
        return {"G": self.generator(rng, shape), "D": self.discriminator(rng, shape)}

    def generator(self, rng: Generator, shape: Shape) -> nn.Module:
        """z (N, latent_size, 1, 1) to images (N, C, H, W) in (-1, 1)."""
        channels, side, _ = shape
        weights, gammas = normal(self.init_std), normal(self.init_std, mean=1.0)
        up: dict[str, Any] = {"stride": 2, "padding": 1, "rng": rng, "init": weights}
        planes = PLANES[side]
        c = self.width << len(planes) - 1
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(self.latent_size, c, planes[0], rng=rng, init=weights, bias=False),
            nn.BatchNorm2d(c, rng=rng, gamma_init=gammas, activation=nn.ReLU()),
        ]
        for plane in planes[1:]:
            kernel = 4 - plane % 2  # 7 comes from 4 by a window of 3
            layers += [
                nn.ConvTranspose2d(c, c // 2, kernel, **up, bias=False),
                nn.BatchNorm2d(c // 2, rng=rng, gamma_init=gammas, activation=nn.ReLU()),
            ]
            c //= 2
        layers.append(nn.ConvTranspose2d(c, channels, 4, **up, activation=nn.Tanh()))
        return nn.Sequential(*layers)

    def discriminator(self, rng: Generator, shape: Shape) -> nn.Module:
        """Images (N, C, H, W) to logits (N, 1), or (N, 2) for false and real."""
        channels, side, _ = shape
        weights, gammas = normal(self.init_std), normal(self.init_std, mean=1.0)
        down: dict[str, Any] = {"stride": 2, "padding": 1, "rng": rng, "init": weights}
        leaky, planes, c = nn.LeakyReLU(self.slope), PLANES[side][::-1], self.width
        layers: list[nn.Module] = [nn.Conv2d(channels, c, 4, **down, activation=leaky)]
        for plane in planes[:-1]:
            kernel = 4 - plane % 2
            layers += [
                nn.Conv2d(c, c * 2, kernel, **down, bias=False),
                nn.BatchNorm2d(c * 2, rng=rng, gamma_init=gammas, activation=leaky),
            ]
            c *= 2
        layers.append(nn.Conv2d(c, 1 + self.two_logits, planes[-1], rng=rng, init=weights))
        return nn.Sequential(*layers, nn.Flatten())

    def optimizers(self, players: Players) -> dict[str, Optimizer]:
        adam, sgd = partial(Adam, betas=(self.beta1, self.beta2)), partial(SGD, momentum=self.beta1)
        rule: Any = {"adam": adam, "rmsprop": RMSProp, "sgd": sgd}[self.optimizer]
        rates = {"G": self.lr_g, "D": self.lr_d}
        return {name: rule(p.parameters(), rates[name]) for name, p in players.items()}

    def round(self, players: Players, batches: Feed, rng: Generator, step: int) -> Iterator[Update]:
        G, D = players["G"], players["D"]
        real = next(batches)  # (N, C, H, W) in [-1, 1]
        # One forward pass for both updates, as in the authors' code: G does not change in between.
        fake = G(Tensor(self.latent(rng, len(real))))
        yield self.discriminator_update(D, real, fake.detach())
        loss = (saturating_loss if self.saturating else non_saturating_loss)(self.logit(D(fake)))
        yield "G", loss + self.kl_g * gaussian_kl(real, fake) if self.kl_g else loss, {}

    def discriminator_update(self, D: nn.Module, real: Tensor, fake: Tensor) -> Update:
        on_real, on_fake = self.logit(D(real)), self.logit(D(fake))  # apart: each its own moments
        loss = discriminator_loss(on_real, on_fake, smooth=self.smooth)
        loss = loss + self.l2_d * l2_penalty(D.parameters()) if self.l2_d else loss
        return "D", loss, beliefs(on_real, on_fake)

    def logit(self, output: Tensor) -> Tensor:
        """D's output as one logit a sample, (N,)."""
        return real_logit(output) if self.two_logits else reshape(output, (len(output),))

    def latent(self, rng: Generator, n: int) -> np.ndarray:
        return rng.uniform((n, self.latent_size, 1, 1), -1.0, 1.0)

    def realness(self, players: Players, x: Array) -> Array:
        return sigmoid(self.logit(players["D"](Tensor(x)))).data

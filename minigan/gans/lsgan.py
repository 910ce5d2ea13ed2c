"""LSGAN: least squares instead of cross-entropy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .. import nn
from ..errors import UserError
from ..losses import least_squares_discriminator_loss, least_squares_generator_loss
from ..nn.init import normal, spread_kinks, uniform
from ..optim import Adam, Optimizer, linear
from ..random import Generator
from ..tensor import Array, Tensor, no_grad
from ..training.recipe import Feed, Players, Recipe, Shape, Update


@dataclass(frozen=True)
class LSGAN(Recipe):
    """Mao et al. 2016, "Least squares generative adversarial networks", arXiv:1611.04076.

    D ends without a sigmoid; a and b are what it should say of generated and of real samples, and c
    is what G wants to hear. The defaults are equation 9 (c = b); with a = -1, b = 1 and c = 0,
    equation 8, G minimises a Pearson chi-squared divergence. Images are made by convolutions,
    points by dense networks.
    """

    batch_size: int = 64  # samples in a batch
    a: float = 0.0  # D's target for generated samples
    b: float = 1.0  # D's target for real samples
    c: float = 1.0  # G's target for generated samples
    latent_size: int = 100  # components of z, standard normal
    width: int = 32  # channels next to the image, doubled with each halving
    hidden: int = 128  # rectifiers in each of three hidden layers, for points
    lr_d: float = 2e-4  # learning rate of D's Adam
    lr_g: float = 1e-3  # learning rate of G's Adam; the paper has one for both
    beta1: float = 0.5  # decay of Adam's first moment
    beta2: float = 0.999  # decay of Adam's second moment
    lr_steps: int = 100_000  # rounds over which the learning rates fall to zero

    steps: ClassVar[int] = 2000

    @classmethod
    def defaults(cls, shape: Shape, *, classes: int, samples: int, tags: int = 1) -> dict[str, Any]:
        if len(shape) == 3:
            return {}
        return {"batch_size": 512, "latent_size": 2, "lr_d": 2e-3, "beta2": 0.99}

    def output_range(self, shape: Shape) -> tuple[float, float] | None:
        return (-1.0, 1.0) if len(shape) == 3 else None

    def players(self, rng: Generator, shape: Shape) -> Players:
        if len(shape) == 3 and (shape[1] % 4 or shape[2] % 4):
            raise UserError(
                f"lsgan makes images whose sides are multiples of 4, but the data are {shape}; "
                "choose a size with --size"
            )
        networks = self.convolutional if len(shape) == 3 else self.dense
        G, D = networks(rng, shape)
        return {"G": G, "D": D}

    def convolutional(self, rng: Generator, shape: Shape) -> tuple[nn.Module, nn.Module]:
        """z (N, latent_size) to images (N, C, H, W) in (-1, 1), and those to scores (N,)."""
        channels, height, width = shape
        c, plane = self.width, (height // 4, width // 4)
        values = 2 * c * plane[0] * plane[1]
        relu, leaky = nn.ReLU(), nn.LeakyReLU(0.2)
        own: dict[str, Any] = {"rng": rng, "init": normal(0.02)}  # as in DCGAN
        half = {"stride": 2, "padding": 1, **own}
        G = nn.Sequential(
            nn.Linear(self.latent_size, values, **own, bias=False),
            nn.Reshape(2 * c, *plane),
            nn.BatchNorm2d(2 * c, activation=relu),
            nn.ConvTranspose2d(2 * c, c, 4, **half, bias=False),
            nn.BatchNorm2d(c, activation=relu),
            nn.ConvTranspose2d(c, channels, 4, **half, activation=nn.Tanh()),
        )
        D = nn.Sequential(
            nn.Conv2d(channels, c, 4, **half, activation=leaky),
            nn.Conv2d(c, 2 * c, 4, **half, bias=False),
            nn.BatchNorm2d(2 * c, activation=leaky),
            nn.Flatten(),
            nn.Linear(values, 1, **own),
            nn.Reshape(),
        )
        return G, D

    def dense(self, rng: Generator, shape: Shape) -> tuple[nn.Module, nn.Module]:
        """z (N, latent_size) to points (N, D), and those to scores (N,)."""
        h, relu = self.hidden, nn.ReLU()
        G: list[nn.Module] = []
        for size in (self.latent_size, h, h):
            G += [nn.Linear(size, h, rng=rng, bias=False), nn.BatchNorm1d(h, activation=relu)]
        first = nn.Linear(shape[0], h, rng=rng, activation=relu, bias_init=uniform(1.0))
        D = [nn.Linear(h, h, rng=rng, activation=relu) for _ in range(2)]
        return (
            nn.Sequential(*G, nn.Linear(h, shape[0], rng=rng)),
            nn.Sequential(first, *D, nn.Linear(h, 1, rng=rng), nn.Reshape()),
        )

    def prepare(self, players: Players, x: Array) -> None:
        """Let D's first rectifiers bend all over the data, where those are points."""
        if x.ndim == 2:
            first = players["D"].state()
            spread_kinks(first["layers.0.weight"], first["layers.0.bias"], np.abs(x).max())

    def optimizers(self, players: Players) -> dict[str, Optimizer]:
        betas, rates = (self.beta1, self.beta2), {"G": self.lr_g, "D": self.lr_d}
        return {
            name: Adam(player.parameters(), linear(rates[name], 0, self.lr_steps), betas)
            for name, player in players.items()
        }

    def round(self, players: Players, batches: Feed, rng: Generator, step: int) -> Iterator[Update]:
        G, D = players["G"], players["D"]
        real = next(batches)
        with no_grad():
            fake = G(Tensor(self.latent(rng, len(real))))
        on_real, on_fake = D(real), D(fake)  # apart: each has its own moments in batch norm
        loss = least_squares_discriminator_loss(on_real, on_fake, a=self.a, b=self.b)
        yield "D", loss, {"D(x)": on_real.mean(), "D(G(z))": on_fake.mean()}

        on_fake = D(G(Tensor(self.latent(rng, len(real)))))
        yield "G", least_squares_generator_loss(on_fake, c=self.c), {}

    def latent(self, rng: Generator, n: int) -> np.ndarray:
        return rng.normal((n, self.latent_size))

"""WGAN-GP: a critic whose slope is held at 1 by a penalty on its gradient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .. import nn
from ..errors import UserError
from ..losses import wasserstein_critic_loss, wasserstein_generator_loss
from ..nn.init import spread_kinks, uniform
from ..optim import Adam, Optimizer, average, linear
from ..penalties import gradient_penalty
from ..random import Generator
from ..tensor import Array, Tensor, no_grad
from ..training.recipe import Feed, Players, Recipe, Shape, Update


@dataclass(frozen=True)
class WGANGP(Recipe):
    """Gulrajani et al. 2017, "Improved training of Wasserstein GANs", arXiv:1704.00028.

    Algorithm 1. The critic has no batch norm, which would give one sample's gradient a part of all
    others (section 4). Images are made by convolutions, points by dense networks, with the penalty
    of the authors' toy experiments.
    """

    batch_size: int = 64  # samples in a batch
    n_critic: int = 5  # critic updates in a round
    penalty: float = 10.0  # lambda, the weight of the gradient penalty
    latent_size: int = 100  # components of z, standard normal
    width: int = 32  # channels next to the image, doubled with each halving
    hidden: int = 128  # rectifiers in each of three hidden layers, for points
    lr_d: float = 1e-4  # learning rate of the critic's Adam
    lr_g: float = 1e-4  # learning rate of G's Adam
    beta1: float = 0.5  # decay of Adam's first moment; 0 in Algorithm 1, 0.5 in the authors' code
    beta2: float = 0.9  # decay of Adam's second moment
    lr_steps: int = 100_000  # rounds over which the learning rates fall to zero, as in their code
    ema: float = 0.0  # samples come from an average of G's weights with this decay, if above 0

    steps: ClassVar[int] = 3000
    watched: ClassVar[tuple[str, ...]] = ("estimate",)

    @classmethod
    def defaults(cls, shape: Shape, *, classes: int, samples: int, tags: int = 1) -> dict[str, Any]:
        if len(shape) == 3:
            return {}
        rates = {"lr_d": 2e-3, "lr_g": 1e-3, "beta2": 0.99, "ema": 0.99}
        return {"batch_size": 256, "n_critic": 1, "penalty": 0.1, "latent_size": 2} | rates

    def output_range(self, shape: Shape) -> tuple[float, float] | None:
        return (-1.0, 1.0) if len(shape) == 3 else None

    def players(self, rng: Generator, shape: Shape) -> Players:
        if len(shape) == 3 and (shape[1] % 4 or shape[2] % 4):
            raise UserError(
                f"wgan_gp makes images whose sides are multiples of 4, but the data are {shape}; "
                "choose a size with --size"
            )
        networks = self.convolutional if len(shape) == 3 else self.dense
        G, D = networks(rng, shape)
        return {"G": G, "D": D} | ({"average": G.copy()} if self.ema else {})

    def convolutional(self, rng: Generator, shape: Shape) -> tuple[nn.Module, nn.Module]:
        """z (N, latent_size) to images (N, C, H, W) in (-1, 1), and those to scores (N,)."""
        channels, height, width = shape
        c, plane = self.width, (height // 4, width // 4)
        values = 2 * c * plane[0] * plane[1]
        up: dict[str, Any] = {"stride": 2, "padding": 1, "rng": rng}
        G = nn.Sequential(
            nn.Linear(self.latent_size, values, rng=rng, bias=False),
            nn.Reshape(2 * c, *plane),
            nn.BatchNorm2d(2 * c, activation=nn.ReLU()),
            nn.ConvTranspose2d(2 * c, c, 4, **up, bias=False),
            nn.BatchNorm2d(c, activation=nn.ReLU()),
            nn.ConvTranspose2d(c, channels, 4, **up, activation=nn.Tanh()),
        )
        leaky = nn.LeakyReLU(0.2)
        D = nn.Sequential(
            nn.Conv2d(channels, c, 4, **up, activation=leaky),
            nn.Conv2d(c, 2 * c, 4, **up, activation=leaky),
            nn.Flatten(),
            nn.Linear(values, 1, rng=rng),
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
        """Let the critic's first rectifiers bend all over the data, where those are points."""
        if x.ndim == 2:
            first = players["D"].state()
            spread_kinks(first["layers.0.weight"], first["layers.0.bias"], np.abs(x).max())

    def optimizers(self, players: Players) -> dict[str, Optimizer]:
        betas = self.beta1, self.beta2
        falling_g = linear(self.lr_g, 0, self.lr_steps)
        falling_d = linear(self.lr_d, 0, self.lr_steps * self.n_critic)
        return {
            "G": Adam(players["G"].parameters(), falling_g, betas),
            "D": Adam(players["D"].parameters(), falling_d, betas),
        }

    def round(self, players: Players, batches: Feed, rng: Generator, step: int) -> Iterator[Update]:
        G, D = players["G"], players["D"]
        for _ in range(self.n_critic):
            real = next(batches)
            with no_grad():
                fake = G(Tensor(self.latent(rng, len(real))))
            distance = wasserstein_critic_loss(D(real), D(fake))
            penalty = gradient_penalty(D, real, fake, rng)
            extras = {"estimate": -distance, "penalty": penalty}
            yield "D", distance + self.penalty * penalty, extras
        yield "G", wasserstein_generator_loss(D(G(Tensor(self.latent(rng, len(real)))))), {}
        if self.ema:
            average(players["average"], G, self.ema)

    def latent(self, rng: Generator, n: int) -> np.ndarray:
        return rng.normal((n, self.latent_size))

    def generate(self, players: Players, z: Array) -> Tensor:
        return players["average" if self.ema else "G"](Tensor(z))

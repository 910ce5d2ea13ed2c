"""WGAN-GP: a critic whose slope is held at 1 by a penalty on its gradient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from .. import nn
from ..losses import wasserstein_critic_loss, wasserstein_generator_loss
from ..optim import Adam, Optimizer
from ..penalties import gradient_penalty
from ..random import Generator
from ..tensor import Tensor, no_grad
from ..training.recipe import EMA, Feed, LearningRateDecay, Players, Shape, Update
from ._points import ImagesOrPoints


@dataclass(frozen=True)
class WGANGP(EMA, LearningRateDecay, ImagesOrPoints):
    """Gulrajani et al. 2017, "Improved training of Wasserstein GANs", arXiv:1704.00028.

    Algorithm 1. The critic has no batch norm, with which the gradient of one sample would depend on
    all others (section 4). Images are made by convolutions, points by dense networks, with the
    penalty of the authors' toy experiments.
    """

    batch_size: int = 64  # samples in a batch
    n_critic: int = 5  # critic updates in a step
    penalty: float = 10.0  # lambda, the weight of the gradient penalty
    width: int = 32  # channels next to the image, doubled with each halving
    lr_d: float = 1e-4  # learning rate of the critic's Adam
    lr_g: float = 1e-4  # learning rate of G's Adam
    beta1: float = 0.5  # decay of Adam's first moment; 0 in Algorithm 1, 0.5 in the authors' code
    beta2: float = 0.9  # decay of Adam's second moment
    lr_steps: int = 100_000  # steps over which the learning rates fall to zero, as in their code

    steps: ClassVar[int] = 3000
    picture: ClassVar[str] = "critic-wgan_gp.png"
    watched: ClassVar[tuple[str, ...]] = ("estimate",)
    # As near in a third of the time.
    colour: ClassVar[Any] = {"n_critic": 2, "lr_d": 2e-4, "lr_g": 5e-4}
    points: ClassVar[Any] = {
        "batch_size": 256, "n_critic": 1, "penalty": 0.1, "latent_size": 2, "lr_d": 2e-3,
        "lr_g": 1e-3, "beta2": 0.99, "ema": 0.99,
    }  # fmt: skip

    def convolutional(self, rng: Generator, shape: Shape) -> tuple[nn.Module, nn.Module]:
        """z (N, latent_size) to images (N, C, H, W) in (-1, 1), and those to scores (N,)."""
        channels, plane, c = shape[0], self.smallest(shape), self.width
        widths = [c << i for i in range(self.halvings)]  # by the rule of _sizes
        top, values = widths[-1], widths[-1] * plane[0] * plane[1]
        up: dict[str, Any] = {"stride": 2, "padding": 1, "rng": rng}
        G: list[nn.Module] = [
            nn.Linear(self.latent_size, values, rng=rng, bias=False),
            nn.Reshape(top, *plane),
            nn.BatchNorm2d(top, activation=nn.ReLU()),
        ]
        for n in reversed(widths[:-1]):
            G.append(nn.ConvTranspose2d(2 * n, n, 4, **up, bias=False))
            G.append(nn.BatchNorm2d(n, activation=nn.ReLU()))
        G.append(nn.ConvTranspose2d(c, channels, 4, **up, activation=nn.Tanh()))
        leaky = nn.LeakyReLU(0.2)
        D: list[nn.Module] = [nn.Conv2d(channels, c, 4, **up, activation=leaky)]
        D += [nn.Conv2d(n, 2 * n, 4, **up, activation=leaky) for n in widths[:-1]]
        D += [nn.Flatten(), nn.Linear(values, 1, rng=rng), nn.Reshape()]
        return nn.Sequential(*G), nn.Sequential(*D)

    def optimizers(self, players: Players) -> dict[str, Optimizer]:
        rates = {"G": self.falling(self.lr_g), "D": self.falling(self.lr_d, updates=self.n_critic)}
        betas = self.beta1, self.beta2
        return {name: Adam(players[name].parameters(), lr, betas) for name, lr in rates.items()}

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

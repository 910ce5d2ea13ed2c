"""LSGAN: least squares instead of cross-entropy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from .. import nn
from ..losses import least_squares_discriminator_loss, least_squares_generator_loss
from ..nn.init import normal
from ..optim import Adam, Optimizer
from ..random import Generator
from ..tensor import Tensor, no_grad
from ..training.recipe import EMA, Feed, LearningRateDecay, Players, Shape, Update
from ._points import ImagesOrPoints


@dataclass(frozen=True)
class LSGAN(EMA, LearningRateDecay, ImagesOrPoints):
    """Mao et al. 2016, "Least squares generative adversarial networks", arXiv:1611.04076.

    D ends without a sigmoid; a and b are its targets for generated and for real samples, and c is
    G's target. The defaults are equation 9 (c = b); with a = -1, b = 1 and c = 0,
    equation 8, G minimises a Pearson chi-squared divergence. Images are made by convolutions,
    points by dense networks.
    """

    batch_size: int = 64  # samples in a batch
    a: float = 0.0  # D's target for generated samples
    b: float = 1.0  # D's target for real samples
    c: float = 1.0  # G's target for generated samples
    width: int = 32  # channels next to the image, doubled with each halving
    spectral: bool = False  # of images D's layers have spectral norm 1, and no batch norm
    lr_d: float = 2e-4  # learning rate of D's Adam
    lr_g: float = 1e-3  # learning rate of G's Adam; the paper has one for both
    beta1: float = 0.5  # decay of Adam's first moment
    beta2: float = 0.999  # decay of Adam's second moment

    steps: ClassVar[int] = 2000
    colour: ClassVar[Any] = {"spectral": True, "lr_d": 1e-3}
    points: ClassVar[Any] = {"batch_size": 512, "latent_size": 2, "lr_d": 2e-3, "beta2": 0.99}

    def check_new(self, shape: Shape) -> None:
        super().check_new(shape)
        self.require(len(shape) == 3 or not self.spectral, "spectral", "left out for points")

    def convolutional(self, rng: Generator, shape: Shape) -> tuple[nn.Module, nn.Module]:
        """z (N, latent_size) to images (N, C, H, W) in (-1, 1), and those to scores (N,)."""
        channels, plane, c = shape[0], self.smallest(shape), self.width
        widths = [c << i for i in range(self.halvings)]  # by the rule of _sizes
        top, values = widths[-1], widths[-1] * plane[0] * plane[1]
        relu, leaky = nn.ReLU(), nn.LeakyReLU(0.2)
        own: dict[str, Any] = {"rng": rng, "init": normal(0.02)}  # as in DCGAN
        half = {"stride": 2, "padding": 1, **own}
        G: list[nn.Module] = [
            nn.Linear(self.latent_size, values, **own, bias=False),
            nn.Reshape(top, *plane),
            nn.BatchNorm2d(top, activation=relu),
        ]
        for n in reversed(widths[:-1]):
            G.append(nn.ConvTranspose2d(2 * n, n, 4, **half, bias=False))
            G.append(nn.BatchNorm2d(n, activation=relu))
        G.append(nn.ConvTranspose2d(c, channels, 4, **half, activation=nn.Tanh()))
        if self.spectral:
            layers = [nn.Conv2d(channels, c, 4, **half, activation=leaky)]
            layers += [nn.Conv2d(n, 2 * n, 4, **half, activation=leaky) for n in widths[:-1]]
            below = [nn.SpectralNorm(layer, rng=rng) for layer in layers]
            last = nn.SpectralNorm(nn.Linear(values, 1, **own), rng=rng)
            return nn.Sequential(*G), nn.Sequential(*below, nn.Flatten(), last, nn.Reshape())
        D: list[nn.Module] = [nn.Conv2d(channels, c, 4, **half, activation=leaky)]
        for n in widths[:-1]:
            D.append(nn.Conv2d(n, 2 * n, 4, **half, bias=False))
            D.append(nn.BatchNorm2d(2 * n, activation=leaky))
        D += [nn.Flatten(), nn.Linear(values, 1, **own), nn.Reshape()]
        return nn.Sequential(*G), nn.Sequential(*D)

    def optimizers(self, players: Players) -> dict[str, Optimizer]:
        rates = {"G": self.falling(self.lr_g), "D": self.falling(self.lr_d)}
        betas = self.beta1, self.beta2
        return {name: Adam(players[name].parameters(), lr, betas) for name, lr in rates.items()}

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

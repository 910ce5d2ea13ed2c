"""SNGAN: every weight matrix of the discriminator divided by its largest singular value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .. import nn
from ..losses import hinge_discriminator_loss, wasserstein_generator_loss
from ..optim import Adam, Optimizer
from ..random import Generator
from ..tensor import Array, Tensor, no_grad
from ..training.recipe import EMA, Feed, LearningRateDecay, Players, Shape, Update, only_points
from ._points import ImagesOrPoints, normed_layers, plain_layers, spread_kinks


@dataclass(frozen=True)
class SNGAN(EMA, LearningRateDecay, ImagesOrPoints):
    """Miyato et al. 2018, "Spectral normalization for generative adversarial networks",
    arXiv:1802.05957.

    Each of D's weight matrices has spectral norm 1, and K = `lipschitz` multiplies D's output. On
    points therefore |D(x) - D(x')| <= K |x - x'| (equation 7). On images the matrix is the paper's,
    (O, I kH kW), and a convolution of k x k pixels may stretch its input by k / stride even so: D's
    three by 2, 2 and 3, so that the bound is 12 K. The losses are the hinge loss's (equations 16
    and 17). Images are made by convolutions after Table 3, points by dense networks.
    """

    batch_size: int = 64  # samples in a batch
    n_critic: int = 1  # D's updates in a step
    iterations: int = 1  # power iterations in a forward pass
    lipschitz: float = 1.0  # K, by which D's output is multiplied; 1 in the paper
    width: int = 32  # channels next to the image, doubled with each halving; 64 in the paper
    lr_d: float = 2e-4  # learning rate of D's Adam
    lr_g: float = 2e-4  # learning rate of G's Adam
    beta1: float = 0.5  # decay of Adam's first moment
    beta2: float = 0.999  # decay of Adam's second moment

    steps: ClassVar[int] = 2000
    minutes: ClassVar[float] = 4.2
    points: ClassVar[Any] = {
        "batch_size": 512, "latent_size": 2, "lipschitz": 10.0, "lr_d": 2e-3, "lr_g": 1e-3,
        "beta2": 0.99, "ema": 0.99,
    }  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.lipschitz > 0, "lipschitz", "above 0")

    def convolutional(self, rng: Generator, shape: Shape) -> tuple[nn.Module, nn.Module]:
        """z (N, latent_size) to images (N, C, H, W) in (-1, 1), and those to scores (N,)."""
        channels, plane, c = shape[0], self.smallest(shape), self.width
        widths = [c << i for i in range(self.halvings)]  # by the rule of _sizes
        top, values = widths[-1], widths[-1] * plane[0] * plane[1]
        relu, leaky = nn.ReLU(), nn.LeakyReLU(0.1)
        half: dict[str, Any] = {"stride": 2, "padding": 1, "rng": rng}
        same: dict[str, Any] = {"stride": 1, "padding": 1, "rng": rng}
        G: list[nn.Module] = [
            nn.Linear(self.latent_size, values, rng=rng, bias=False),
            nn.Reshape(top, *plane),
            nn.BatchNorm2d(top, activation=relu),
        ]
        for n in reversed(widths[:-1]):
            G.append(nn.ConvTranspose2d(2 * n, n, 4, **half, bias=False))
            G.append(nn.BatchNorm2d(n, activation=relu))
        G.append(nn.ConvTranspose2d(c, channels, 4, **half, activation=nn.Tanh()))
        layers = [nn.Conv2d(channels, c, 4, **half, activation=leaky)]
        layers += [nn.Conv2d(n, 2 * n, 4, **half, activation=leaky) for n in widths[:-1]]
        layers.append(nn.Conv2d(top, top, 3, **same, activation=leaky))
        last = self.normalised(nn.Linear(values, 1, rng=rng), rng)
        D = [self.normalised(layer, rng) for layer in layers]
        return nn.Sequential(*G), nn.Sequential(*D, nn.Flatten(), last, nn.Reshape())

    def dense(self, rng: Generator, shape: Shape) -> tuple[nn.Module, nn.Module]:
        """z (N, latent_size) to points (N, D), and those to scores (N,)."""
        G = normed_layers(rng, self.latent_size, self.hidden)
        layers = plain_layers(rng, shape[0], self.hidden)
        layers.append(nn.Linear(self.hidden, 1, rng=rng))
        D = [self.normalised(layer, rng) for layer in layers]
        last = nn.Linear(self.hidden, shape[0], rng=rng)
        return nn.Sequential(*G, last), nn.Sequential(*D, nn.Reshape())

    @only_points
    def prepare(self, players: Players, x: Array) -> None:
        """Spread the kinks of D's first rectifiers over the data, if those are points."""
        if x.ndim == 2:
            first = players["D"].modules()["layers.0"]
            assert isinstance(first, nn.SpectralNorm)
            bias = first.layer.arrays()["bias"]
            spread_kinks(first.normalised().data, bias, np.abs(x).max())

    def normalised(self, layer: nn.Linear | nn.Conv2d, rng: Generator) -> nn.Module:
        return nn.SpectralNorm(layer, rng=rng, iterations=self.iterations)

    def optimizers(self, players: Players) -> dict[str, Optimizer]:
        rates = {"G": self.falling(self.lr_g), "D": self.falling(self.lr_d, updates=self.n_critic)}
        betas = self.beta1, self.beta2
        return {name: Adam(players[name].parameters(), lr, betas) for name, lr in rates.items()}

    def round(self, players: Players, batches: Feed, rng: Generator, step: int) -> Iterator[Update]:
        G, D, K = players["G"], players["D"], self.lipschitz
        for _ in range(self.n_critic):
            real = next(batches)
            with no_grad():
                fake = G(Tensor(self.latent(rng, len(real))))
            on_real, on_fake = K * D(real), K * D(fake)
            loss = hinge_discriminator_loss(on_real, on_fake)
            yield "D", loss, {"D(x)": on_real.mean(), "D(G(z))": on_fake.mean()}
        fake = G(Tensor(self.latent(rng, self.batch_size)))
        yield "G", wasserstein_generator_loss(K * D(fake)), {}

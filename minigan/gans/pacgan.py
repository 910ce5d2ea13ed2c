"""PacGAN: a discriminator that judges several samples together sees a lack of variety."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .. import nn
from ..losses import discriminator_loss, non_saturating_loss
from ..nn.init import he, normal, uniform
from ..ops import reshape
from ..optim import Adam, Optimizer
from ..penalties import r1_penalty
from ..random import Generator
from ..tensor import Array, Tensor
from ..training.recipe import EMA, Feed, LearningRateDecay, Players, Shape, Update, only_points
from ._parts import beliefs
from ._points import ImagesOrPoints, plain_layers


@dataclass(frozen=True)
class PacGAN(EMA, LearningRateDecay, ImagesOrPoints):
    """Lin et al. 2018, "PacGAN: the power of two samples in generative adversarial networks",
    arXiv:1712.04086.

    D(x_1, ..., x_m) judges m independent samples at once, all real or all generated: joined along
    images' channels (section 2), or points' features. With m = 1 it is the plain GAN. For points,
    D has the R1 penalty of Mescheder et al. 2018 (arXiv:1801.04406, equation 9) besides.
    """

    batch_size: int = 64  # samples in a batch
    packing: int = 2  # m, samples that D judges together
    width: int = 32  # channels next to the image, doubled with each halving
    hidden: int = 128  # units in each of three hidden layers, for points
    r1: float = 0.0  # gamma, twice R1's weight in D's loss, for points; a square of lengths
    lr_d: float = 2e-4  # learning rate of D's Adam
    lr_g: float = 1e-3  # learning rate of G's Adam; the paper has one for both
    beta1: float = 0.5  # decay of Adam's first moment
    beta2: float = 0.999  # decay of Adam's second moment

    steps: ClassVar[int] = 2000
    picture: ClassVar[str] = "modes.png"
    points: ClassVar[Any] = {
        "batch_size": 512, "latent_size": 2, "hidden": 192, "r1": 0.05, "lr_d": 1e-3,
        "lr_g": 3e-3, "beta2": 0.98, "ema": 0.99,
    }  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        what = f"a multiple of --packing {self.packing}"
        self.require(self.batch_size % self.packing == 0, "batch_size", what)

    def check_new(self, shape: Shape) -> None:
        what = "0 for images, since each one's slope has a part of all others by D's batch norm"
        self.require(len(shape) < 3 or self.r1 == 0, "r1", what)

    def convolutional(self, rng: Generator, shape: Shape) -> tuple[nn.Module, nn.Module]:
        """z (N, latent_size) to images (N, C, H, W) in (-1, 1), and packs of those to logits."""
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
        D: list[nn.Module] = [nn.Conv2d(self.packing * channels, c, 4, **half, activation=leaky)]
        for n in widths[:-1]:
            D.append(nn.Conv2d(n, 2 * n, 4, **half, bias=False))
            D.append(nn.BatchNorm2d(2 * n, activation=leaky))
        D += [nn.Flatten(), nn.Linear(values, 1, **own), nn.Reshape()]
        return nn.Sequential(*G), nn.Sequential(*D)

    def dense(self, rng: Generator, shape: Shape) -> tuple[nn.Module, nn.Module]:
        """z (N, latent_size) to points (N, D), and packs (N / m, m D) to logits (N / m,)."""
        # G's tanh, as in Metz et al. 2017 (arXiv:1611.02163, appendix A) for the ring, is flat on
        # the modes and steep between them; the kinks of the first units fill the range of z.
        h, bends = self.hidden, {"init": normal(1.5), "bias_init": uniform(4.0)}
        tanh: dict[str, Any] = {"rng": rng, "activation": nn.Tanh(), "init": he(1.1)}
        G = [nn.Linear(self.latent_size, h, **tanh | bends)]
        G += [nn.Linear(h, h, **tanh) for _ in range(2)]
        D = plain_layers(rng, self.packing * shape[0], h)
        G.append(nn.Linear(h, shape[0], rng=rng, init=he(1.0)))
        return nn.Sequential(*G), nn.Sequential(*D, nn.Linear(h, 1, rng=rng), nn.Reshape())

    @only_points
    def prepare(self, players: Players, x: Array) -> None:
        """Let each of D's first rectifiers see one sample of a pack of points at first: D has to
        judge single points before it can judge packs.
        """
        if x.ndim == 2:
            weight, m = players["D"].arrays()["layers.0.weight"], self.packing
            own = np.arange(weight.shape[1]) // x.shape[1] == np.arange(len(weight))[:, None] % m
            weight *= np.sqrt(m) * own  # he() of the inputs that are left
        super().prepare(players, x)

    def optimizers(self, players: Players) -> dict[str, Optimizer]:
        rates = {"G": self.falling(self.lr_g), "D": self.falling(self.lr_d)}
        betas = self.beta1, self.beta2
        return {name: Adam(players[name].parameters(), lr, betas) for name, lr in rates.items()}

    def round(self, players: Players, batches: Feed, rng: Generator, step: int) -> Iterator[Update]:
        G, D = players["G"], players["D"]
        real = next(batches)
        # One forward pass for both updates: G does not change in between.
        fake = G(Tensor(self.latent(rng, len(real))))
        on_real, on_fake = D(self.pack(real)), D(self.pack(fake.detach()))
        steepness = r1_penalty(D, self.pack(real)) if self.r1 else 0.0
        loss = discriminator_loss(on_real, on_fake) + self.r1 / 2 * steepness
        yield "D", loss, beliefs(on_real, on_fake)
        yield "G", non_saturating_loss(D(self.pack(fake))), {}

    def opinion(self, players: Players, x: Array, labels: Array | None) -> Array:
        whole = len(x) // self.packing * self.packing
        return players["D"](self.pack(Tensor(x[:whole]))).data

    def pack(self, x: Tensor) -> Tensor:
        """(N, C, ...) to (N / m, m C, ...)."""
        return reshape(x, (len(x) // self.packing, self.packing * x.shape[1], *x.shape[2:]))

"""WGAN: a critic that estimates a distance, kept smooth by clipping its weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

from .. import nn
from ..losses import wasserstein_critic_loss, wasserstein_generator_loss
from ..nn.init import normal
from ..optim import SGD, Adam, Optimizer, RMSProp, clip_weights
from ..random import Generator
from ..tensor import Tensor, no_grad
from ..training.recipe import EMA, Feed, Players, Shape, Update
from ._points import ImagesOrPoints


@dataclass(frozen=True)
class WGAN(EMA, ImagesOrPoints):
    """Arjovsky, Chintala & Bottou 2017, "Wasserstein GAN", arXiv:1701.07875, Algorithm 1.

    The critic f (the player D) is trained nearly to its optimum before each update of G, so its
    loss tells how far the generated samples are from the real ones: "estimate" is
    E[f(x)] - E[f(G(z))] (equation 3). RMSProp, because momentum makes the critic unstable (section
    4.2). Images are made by convolutions, points by dense networks.

    On points the estimate is the Wasserstein distance times an unknown constant. On images the
    critic has batch norm, and real and generated ones are separate batches, as in the authors'
    code. Then it is no function of one image, and its estimate no such distance.
    """

    batch_size: int = 64  # m, samples in a batch
    n_critic: int = 5  # critic updates in a step
    clip: float = 0.01  # c: the critic's parameters are kept in [-c, c]
    lr: float = 5e-5  # alpha, learning rate of both players
    optimizer: Literal["rmsprop", "adam", "sgd"] = "rmsprop"  # the rule that moves both
    beta1: float = 0.9  # decay of adam's first moment, with which the critic becomes unstable
    width: int = 32  # channels next to the image, doubled with each halving

    steps: ClassVar[int] = 3000
    picture: ClassVar[str] = "critic-wgan.png"
    watched: ClassVar[tuple[str, ...]] = ("estimate",)
    points: ClassVar[Any] = {"batch_size": 512, "latent_size": 2, "clip": 0.1, "lr": 5e-4}

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.clip > 0, "clip", "above 0")

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
        D: list[nn.Module] = [nn.Conv2d(channels, c, 4, **half, activation=leaky)]
        for n in widths[:-1]:
            D.append(nn.Conv2d(n, 2 * n, 4, **half, bias=False))
            D.append(nn.BatchNorm2d(2 * n, activation=leaky))
        D += [nn.Flatten(), nn.Linear(values, 1, **own), nn.Reshape()]
        return nn.Sequential(*G), nn.Sequential(*D)

    def optimizers(self, players: Players) -> dict[str, Optimizer]:
        adam = partial(Adam, betas=(self.beta1, 0.999))
        rule: Any = {"rmsprop": RMSProp, "adam": adam, "sgd": SGD}[self.optimizer]
        return {name: rule(player.parameters(), self.lr) for name, player in players.items()}

    def round(self, players: Players, batches: Feed, rng: Generator, step: int) -> Iterator[Update]:
        G, f = players["G"], players["D"]
        for _ in range(self.n_critic):  # lines 2 to 8
            real = next(batches)
            with no_grad():
                fake = G(Tensor(self.latent(rng, len(real))))
            loss = wasserstein_critic_loss(f(real), f(fake))
            yield "D", loss, {"estimate": -loss}
            clip_weights(f.parameters(), self.clip)  # line 7
        fake = G(Tensor(self.latent(rng, self.batch_size)))
        yield "G", wasserstein_generator_loss(f(fake)), {}  # lines 9 to 11

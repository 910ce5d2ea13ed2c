"""CGAN: samples of a class that one asks for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .. import nn
from ..losses import discriminator_loss, non_saturating_loss
from ..nn.init import normal, uniform
from ..optim import SGD, Adam, Optimizer, exponential, linear
from ..random import Generator
from ..tensor import Array, Tensor
from ..training.recipe import EMA, Feed, Players, Shape, Update
from ._checks import check_labels
from ._parts import beliefs, normed
from ._sizes import Halving


@dataclass(frozen=True)
class CGAN(EMA, Halving):
    """Mirza & Osindero 2014, "Conditional generative adversarial nets", arXiv:1411.1784.

    G and D both see y: min_G max_D E[log D(x|y)] + E[log(1 - D(G(z|y)))] (equation 2). y is
    one-hot; of stacked data it has a one-hot part for the class of each channel.

    Networks and settings are those of a small DCGAN with y joined to every layer, but no batch norm
    in D's dense layer: with it D(x) was 1/2 from the start. With --dense they are the paper's for
    MNIST, with SGD; so are --batch-size 100 --ema 0. The paper's z is in [0, 1].
    """

    batch_size: int = 64  # images in a batch
    classes: int = 10  # classes that a label can be; from the data unless given
    tags: int = 1  # labels of an image, each a part of y; from the data unless given
    latent_size: int = 100  # components of z, uniform in [-1, 1]
    dense: bool = False  # the paper's networks: dense, maxout, dropout, SGD
    width: int = 32  # channels next to the image, twice as many below
    hidden: int = 256  # units of the dense layer between z and the planes
    lr_d: float = 1e-3  # learning rate of D's Adam
    lr_g: float = 1e-3  # learning rate of G's Adam
    beta1: float = 0.5  # decay of Adam's first moment
    ema: float = 0.999  # decay of the average of G, from which samples come

    steps: ClassVar[int] = 3000
    minutes: ClassVar[float] = 32.8
    takes: ClassVar[str] = "labelled images of 28 to 128 pixels"
    picture: ClassVar[str] = "cgan-mnist.png"
    warms: ClassVar[bool] = True
    excludes: ClassVar[Any] = {"dense": ("width", "hidden", "lr_d", "lr_g", "beta1")}

    @classmethod
    def defaults(cls, shape: Shape, *, classes: int, samples: int, tags: int = 1) -> dict[str, Any]:
        check_labels(cls, classes)
        known = super().defaults(shape, classes=classes, samples=samples, tags=tags)
        return known | {"classes": round(classes ** (1 / tags)), "tags": tags}

    def output_range(self, shape: Shape) -> tuple[float, float]:
        return (0.0, 1.0) if self.dense else (-1.0, 1.0)

    def players(self, rng: Generator, shape: Shape) -> Players:
        pair = (self.dense_players if self.dense else self.conv_players)(rng, shape)
        return dict(zip("GD", pair, strict=True))

    def conv_players(self, rng: Generator, shape: Shape) -> tuple[nn.Module, nn.Module]:
        """G(z, y) and D(x, y), each of whose layers sees y."""
        c, h, k = self.width, self.hidden, self.tags * self.classes
        widths = [c << i for i in range(self.halvings)]  # by the rule of _sizes
        plane, relu, leaky = (widths[-1], *self.smallest(shape)), nn.ReLU(), nn.LeakyReLU(0.2)
        dense: Any = {"rng": rng, "init": normal(0.02)}
        flat, half = int(np.prod(plane)), dense | {"stride": 2, "padding": 1}
        plain, inner = half | {"bias": False}, widths[:-1]
        G = nn.Conditional(
            normed(nn.Linear(self.latent_size + k, h, bias=False, **dense), h, relu),
            normed(nn.Linear(h + k, flat, bias=False, **dense), flat, relu, nn.Reshape(*plane)),
            *(normed(nn.ConvTranspose2d(2 * n + k, n, 4, **plain), n, relu) for n in inner[::-1]),
            nn.ConvTranspose2d(c + k, shape[0], 4, activation=nn.Tanh(), **half),
        )
        first = nn.Conv2d(shape[0] + k, c, 4, activation=leaky, **half)
        down = [normed(nn.Conv2d(n + k, 2 * n, 4, **plain), 2 * n, leaky) for n in inner]
        down[-1].append(nn.Flatten())  # from here on y joins vectors, not planes
        joint = nn.Linear(flat + k, h, activation=leaky, **dense)
        last = nn.Sequential(nn.Linear(h + k, 1, **dense), nn.Reshape())
        return G, nn.Conditional(first, *down, joint, last)

    def dense_players(self, rng: Generator, shape: Shape) -> tuple[nn.Module, nn.Module]:
        """The networks of the paper's section 4.1."""
        values, k = int(np.prod(shape)), self.tags * self.classes
        relu, drop = nn.ReLU(), nn.Dropout(0.5, rng=rng)
        g: Any = {"rng": rng, "init": uniform(0.05)}
        d: Any = {"rng": rng, "init": uniform(0.005)}
        G = nn.Joined(
            nn.Linear(self.latent_size, 200, activation=relu, **g),
            nn.Linear(k, 1000, activation=relu, **g),
            nn.Sequential(drop, nn.Linear(1200, 1200, activation=relu, **g), drop),
            nn.Linear(1200, values, activation=nn.Sigmoid(), **g),
            nn.Reshape(*shape),
        )
        D = nn.Joined(
            nn.Sequential(nn.Flatten(), nn.Maxout(values, 240, 5, **d)),
            nn.Maxout(k, 50, 5, **d),
            nn.Sequential(drop, nn.Maxout(290, 240, 4, **d), drop),
            nn.Linear(240, 1, **d),
            nn.Reshape(),
        )
        return G, D

    def optimizers(self, players: Players) -> dict[str, Optimizer]:
        rates, betas = {"G": self.lr_g, "D": self.lr_d}, (self.beta1, 0.999)
        if not self.dense:
            return {n: Adam(players[n].parameters(), lr, betas) for n, lr in rates.items()}
        lr, momentum = exponential(0.1, 1 / 1.00004, 1e-6), linear(0.5, 0.7, 150_000)
        return {n: SGD(players[n].parameters(), lr, momentum=momentum) for n in rates}

    def round(self, players: Players, batches: Feed, rng: Generator, step: int) -> Iterator[Update]:
        G, D = players["G"], players["D"]
        x, labels = batches.labelled(self.check)
        y = Tensor(self.vectors(labels))  # (N, tags * classes)
        fake = G(Tensor(rng.uniform((len(x), self.latent_size), -1.0, 1.0)), y)
        on_real, on_fake = D(x, y), D(fake.detach(), y)
        yield "D", discriminator_loss(on_real, on_fake), beliefs(on_real, on_fake)
        yield "G", non_saturating_loss(D(fake, y)), {}

    def check(self, labels: np.ndarray) -> None:
        many = labels.max() < self.classes**self.tags
        self.require(many, "classes", f"more than the label {labels.max()}")

    def vectors(self, labels: Array) -> Array:
        """y, (N, tags * classes), of class numbers (N,); with several tags those of tuples."""
        each = [labels // self.classes**i % self.classes for i in reversed(range(self.tags))]
        ones = np.eye(self.classes, dtype=np.float32, like=labels)
        return ones[np.stack(each, 1)].reshape(len(labels), -1)

    def latent(self, rng: Generator, n: int) -> np.ndarray:
        """z and the y of a random class, concatenated."""
        z = rng.uniform((n, self.latent_size), -1.0, 1.0)
        return self.with_labels(z, rng.integers(n, self.classes**self.tags))

    def opinion(self, players: Players, x: Array, labels: Any) -> Array:
        return players["D"](Tensor(x), Tensor(self.vectors(labels))).data

    def with_labels(self, z: Array, labels: Array) -> Array:
        self.check(labels)
        return np.concatenate([z[:, : self.latent_size], self.vectors(labels)], axis=1)

    def generate(self, players: Players, z: Array) -> Tensor:
        return players["G"](*map(Tensor, np.split(z, [self.latent_size], axis=1)))

"""GAN: the first one, of dense networks with maxout and dropout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .. import nn
from ..losses import discriminator_loss, non_saturating_loss, saturating_loss
from ..nn.init import uniform
from ..ops import sigmoid
from ..optim import SGD, Optimizer, exponential, linear
from ..random import Generator
from ..tensor import Array, Tensor, no_grad
from ..training.recipe import EMA, Feed, Players, Shape, Update
from ._checks import check_values
from ._parts import beliefs


@dataclass(frozen=True)
class GAN(EMA):
    """Goodfellow et al. 2014, "Generative adversarial nets", arXiv:1406.2661, Algorithm 1.

    A generator of rectifiers with a sigmoid output, a discriminator of maxout units trained with
    dropout, and for images the settings of the authors' code for MNIST
    (github.com/goodfeli/adversarial, mnist.yaml). Both players are updated at once there; in turns,
    as in Algorithm 1, D soon wins for good. Two things differ: all images are used, not 50,000 of
    MNIST's; and a run ends after 6,000 steps, not by hand.

    On points the players are updated in turns, the output is linear, the networks are smaller, and
    D's loss is that of Algorithm 1; in one dimension the run draws the paper's Figure 1.
    """

    batch_size: int = 100  # samples in a batch
    k: int = 1  # discriminator updates in a step, if players are updated in turns
    at_once: bool = False  # update both players from the same weights; for images, as in the code
    latent_size: int = 100  # components of z
    noise: float = 1.0  # z is uniform in +- this; for images the root of 3: the variance is 1
    hidden: int = 1200  # rectifiers in each of G's two hidden layers
    units: int = 240  # maxout units in each of D's two hidden layers
    pieces: int = 5  # linear pieces of a maxout unit
    keep_input: float = 0.8  # probability with which D's dropout keeps an input
    keep_hidden: float = 0.5  # probability with which D's dropout keeps a hidden unit
    init_g: float = 0.05  # G's initial weights are uniform in +- this
    init_d: float = 0.005  # D's initial weights are uniform in +- this
    lr: float = 0.1  # first learning rate
    lr_decay: float = 1.000004  # the learning rate is divided by this after each step
    lr_least: float = 1e-6  # and does not fall below this
    momentum: float = 0.5  # first momentum
    momentum_end: float = 0.7  # last momentum
    momentum_steps: int = 150_000  # steps between the two; for images 250 epochs of 50,000
    weight_d: float = 1.0  # of D's loss, as in Algorithm 1; for images 1/2, as in the authors' code
    smooth: float = 1.0  # target for real samples; 0.9 is one-sided label smoothing
    saturating: bool = False  # give G the minimax loss log(1 - D(G(z)))

    steps: ClassVar[int] = 6000
    minutes: ClassVar[float] = 5.4
    takes: ClassVar[str] = "images up to 64 pixels in colour, or points"
    picture: ClassVar[str] = "gan-mnist.png"

    @classmethod
    def defaults(cls, shape: Shape, *, classes: int, samples: int, tags: int = 1) -> dict[str, Any]:
        if len(shape) == 3:
            return {"noise": 3**0.5, "weight_d": 0.5, "momentum_steps": 125_000, "at_once": True}
        small = {"latent_size": shape[0], "hidden": 64, "units": 32, "init_g": 0.3, "init_d": 0.3}
        return small | {"keep_input": 1.0, "keep_hidden": 1.0, "lr": 0.02}

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("keep_input", "keep_hidden", "smooth"):
            self.require(0 < getattr(self, name) <= 1, name, "above 0 and at most 1")
        for name in ("momentum", "momentum_end"):
            self.require(0 <= getattr(self, name) < 1, name, "from 0 to below 1")
        for name in ("lr_decay", "noise", "weight_d"):
            self.require(getattr(self, name) > 0, name, "above 0")
        self.require(self.k == 1 or not self.at_once, "k", "1 where both players move at once")

    def check_new(self, shape: Shape) -> None:
        super().check_new(shape)
        check_values(self, shape, 64)

    def output_range(self, shape: Shape) -> tuple[float, float] | None:
        return (0.0, 1.0) if len(shape) == 3 else None

    def players(self, rng: Generator, shape: Shape) -> Players:
        values, relu, init = int(np.prod(shape)), nn.ReLU(), uniform(self.init_g)
        output = nn.Sigmoid() if len(shape) == 3 else None
        G = nn.Sequential(
            nn.Linear(self.latent_size, self.hidden, rng=rng, init=init, activation=relu),
            nn.Linear(self.hidden, self.hidden, rng=rng, init=init, activation=relu),
            nn.Linear(self.hidden, values, rng=rng, init=init, activation=output),
            nn.Reshape(*shape),
        )
        init = uniform(self.init_d)
        D = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(1 - self.keep_input, rng=rng),
            nn.Maxout(values, self.units, self.pieces, rng=rng, init=init),
            nn.Dropout(1 - self.keep_hidden, rng=rng),
            nn.Maxout(self.units, self.units, self.pieces, rng=rng, init=init),
            nn.Dropout(1 - self.keep_hidden, rng=rng),
            nn.Linear(self.units, 1, rng=rng, init=init),
            nn.Reshape(),
        )
        return {"G": G, "D": D}

    def prepare(self, players: Players, x: Array) -> None:
        """Give each output pixel the bias with which the sigmoid gives the pixel's mean."""
        if self.output_range(x.shape[1:]) is not None:
            mean = np.clip(x.mean(axis=0).ravel(), 1e-7, 1 - 1e-7)
            output = [m for m in players["G"].modules().values() if isinstance(m, nn.Linear)][-1]
            assert output.bias is not None
            output.bias.data[...] = np.log(mean / (1 - mean))

    def optimizers(self, players: Players) -> dict[str, Optimizer]:
        lr = exponential(self.lr, 1 / self.lr_decay, self.lr_least)
        momentum = linear(self.momentum, self.momentum_end, self.momentum_steps)
        return {name: SGD(p.parameters(), lr, momentum=momentum) for name, p in players.items()}

    def round(self, players: Players, batches: Feed, rng: Generator, step: int) -> Iterator[Update]:
        G, D = players["G"], players["D"]
        if self.at_once:  # G first: D's loss uses samples from before, and D has not changed
            real = next(batches)
            fake = G(Tensor(self.latent(rng, len(real))))
            yield self.generator_update(D, fake)
            yield self.discriminator_update(D, real, fake.detach())
            return
        for _ in range(self.k):
            real = next(batches)
            with no_grad():
                fake = G(Tensor(self.latent(rng, len(real))))
            yield self.discriminator_update(D, real, fake)
        yield self.generator_update(D, G(Tensor(self.latent(rng, self.batch_size))))

    def discriminator_update(self, D: nn.Module, real: Tensor, fake: Tensor) -> Update:
        on_real, on_fake = D(real), D(fake)
        loss = self.weight_d * discriminator_loss(on_real, on_fake, smooth=self.smooth)
        return "D", loss, beliefs(on_real, on_fake)

    def generator_update(self, D: nn.Module, fake: Tensor) -> Update:
        return "G", (saturating_loss if self.saturating else non_saturating_loss)(D(fake)), {}

    def latent(self, rng: Generator, n: int) -> np.ndarray:
        return rng.uniform((n, self.latent_size), -self.noise, self.noise)

    def realness(self, players: Players, x: Array) -> Array:
        return sigmoid(players["D"](Tensor(x))).data

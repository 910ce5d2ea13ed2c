"""InfoGAN: codes that come to mean something, without labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .. import nn
from ..errors import UserError
from ..losses import discriminator_loss, non_saturating_loss
from ..nn.init import normal
from ..ops import reshape, sigmoid
from ..optim import Adam, Optimizer
from ..random import Generator
from ..tensor import Array, Tensor
from ..training.recipe import EMA, Feed, Players, Shape, Update
from . import _latent_codes as codes
from ._parts import beliefs, normed
from ._sizes import Halving

Number = int  # may be 0, unlike a field of type int


@dataclass(frozen=True)
class InfoGAN(EMA, Halving):
    """Chen et al. 2016, "InfoGAN: Interpretable representation learning by information maximizing
    generative adversarial nets", arXiv:1606.03657.

    min_{G,Q} max_D V(D, G) - lambda L_I(G, Q) (equation 6): G gets codes c beside noise, and Q,
    which shares all of D but its last layers, reads them in the image. L_I (equation 5) bounds the
    mutual information I(c; G(z, c)). Q is in the player D: its update and G's both raise L_I.

    Q's Gaussians for continuous codes have the standard deviation 1, as in the authors' code, so
    that L_I of such a code stays below ln 2 - ln(2 pi) / 2 = -0.23, or with --learn-std a learned
    one. The networks are the paper's for MNIST at half the width, without batch norm in D's dense
    layer: with it, short runs drew noise. The paper's lambda and lr_D: one image a category.
    """

    batch_size: int = 128  # images in a batch
    latent_size: int = 62  # components of the noise, uniform in [-1, 1]
    categorical: Number = 1  # categorical codes
    values: int = 10  # values of each categorical code
    uniform: Number = 2  # continuous codes, uniform in [-1, 1]
    gaussian: Number = 0  # continuous codes, normal
    learn_std: bool = False  # Q gives the standard deviation of continuous codes too
    weight: float = 0.3  # lambda, the weight of L_I; 1 in the paper
    width: int = 32  # channels next to the image; 64 in the paper
    hidden: int = 512  # units of the dense layers next to the planes; 1024 in the paper
    lr_d: float = 1e-3  # learning rate of D's and Q's Adam; 2e-4 in the paper
    lr_g: float = 1e-3  # learning rate of G's Adam
    beta1: float = 0.5  # decay of Adam's first moment

    steps: ClassVar[int] = 10_000
    minutes: ClassVar[float] = 32.3
    takes: ClassVar[str] = "images of 28 to 128 pixels"
    picture: ClassVar[str] = "infogan-mnist-classes.png"
    watched: ClassVar[tuple[str, ...]] = ("L_I(c1)",)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("categorical", "uniform", "gaussian", "weight"):
            self.require(getattr(self, name) >= 0, name, "0 or more")
        self.require(bool(self.specs), "categorical", "1 or more where no code is continuous")

    @property
    def specs(self) -> list[codes.Code]:
        """c1, c2, ...: the codes in their order after the noise."""
        std = None if self.learn_std else 1.0
        kinds = (codes.Categorical(self.values), codes.Uniform(std), codes.Gaussian(std))
        counts = (self.categorical, self.uniform, self.gaussian)
        return [kind for kind, n in zip(kinds, counts, strict=True) for _ in range(n)]

    def output_range(self, shape: Shape) -> tuple[float, float]:
        return -1.0, 1.0

    def players(self, rng: Generator, shape: Shape) -> Players:
        """G: z (N, L) to images in (-1, 1); D: images to D's logits (N,) and Q's numbers."""
        channels, c, h = shape[0], self.width, self.hidden
        widths = [c << i for i in range(self.halvings)]  # by the rule of _sizes
        plane, relu, leaky = (widths[-1], *self.smallest(shape)), nn.ReLU(), nn.LeakyReLU(0.1)
        dense: Any = {"rng": rng, "init": normal(0.02)}
        flat, half = int(np.prod(plane)), dense | {"stride": 2, "padding": 1}
        plain, inner = half | {"bias": False}, widths[:-1]
        z, q = (sum(getattr(s, n) for s in self.specs) for n in ("width", "parameters"))
        G = nn.Sequential(
            normed(nn.Linear(self.latent_size + z, h, bias=False, **dense), h, relu),
            normed(nn.Linear(h, flat, bias=False, **dense), flat, relu),
            nn.Reshape(*plane),
            *(normed(nn.ConvTranspose2d(2 * n, n, 4, **plain), n, relu) for n in inner[::-1]),
            nn.ConvTranspose2d(c, channels, 4, activation=nn.Tanh(), **half),
        )
        trunk = nn.Sequential(
            nn.Conv2d(channels, c, 4, activation=leaky, **half),
            *(normed(nn.Conv2d(n, 2 * n, 4, **plain), 2 * n, leaky) for n in inner),
            nn.Flatten(),
            nn.Linear(flat, h, activation=leaky, **dense),
        )
        below = normed(nn.Linear(h, 128, bias=False, **dense), 128, leaky)
        Q, D = nn.Sequential(below, nn.Linear(128, q, **dense)), nn.Linear(h, 1, **dense)
        return {"G": G, "D": Heads(trunk, D, Q)}

    def optimizers(self, players: Players) -> dict[str, Optimizer]:
        rates, betas = {"G": self.lr_g, "D": self.lr_d}, (self.beta1, 0.999)
        return {name: Adam(p.parameters(), rates[name], betas) for name, p in players.items()}

    def round(self, players: Players, batches: Feed, rng: Generator, step: int) -> Iterator[Update]:
        G, D = players["G"], players["D"]
        x = next(batches)
        z = self.latent(rng, len(x))
        c, fake = z[:, self.latent_size :], G(Tensor(z))  # G(z, c)
        (on_real, _), (on_fake, q) = D(x), D(fake.detach())
        L_I = codes.information(self.specs, q, c)
        extras = beliefs(on_real, on_fake) | {f"L_I(c{i + 1})": L_I[i] for i in range(len(L_I))}
        yield "D", discriminator_loss(on_real, on_fake) - self.weight * L_I.sum(), extras

        on_fake, q = D(fake)
        L_I = codes.information(self.specs, q, c)
        yield "G", non_saturating_loss(on_fake) - self.weight * L_I.sum(), {}

    def latent(self, rng: Generator, n: int) -> np.ndarray:
        """The noise and the codes, concatenated."""
        noise = rng.uniform((n, self.latent_size), -1.0, 1.0)
        return np.concatenate([noise, *(code.sample(rng, n) for code in self.specs)], axis=1)

    def codes(self, players: Players, x: Array) -> Array:
        return codes.read(self.specs, players["D"](Tensor(x))[1].data)

    def sweep(self, z: Array, code: int) -> Array:
        if not 1 <= code <= len(self.specs):
            raise UserError(f"there is no code {code}; the codes are 1 to {len(self.specs)}")
        c = codes.sweep(self.specs, z[:, self.latent_size :], code - 1)
        noise = z[:, : self.latent_size].repeat(len(c) // len(z), axis=0)
        return np.concatenate([noise, c], axis=1)

    def realness(self, players: Players, x: Array) -> Array:
        return sigmoid(players["D"](Tensor(x))[0]).data


class Heads(nn.Module):
    """D and Q on one trunk: x to D's logits (N,) and Q's numbers (N, parameters)."""

    def __init__(self, trunk: nn.Module, d: nn.Module, q: nn.Module) -> None:
        self.trunk, self.d, self.q = trunk, d, q

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.trunk(x)
        return reshape(self.d(h), (len(x),)), self.q(h)

"""BiGAN: an encoder beside the generator, and a discriminator of pairs (x, z)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .. import nn
from ..losses import discriminator_loss, non_saturating_loss
from ..nn.init import normal
from ..ops import flatten, sigmoid
from ..optim import Adam, Optimizer
from ..random import Generator
from ..tensor import Array, Tensor
from ..training.recipe import Feed, Players, Shape, Update
from ._checks import check_images
from ._parts import normed
from ._sizes import Halving


class Pairs(nn.Conditional):
    """D: the logit that (x, z) is a real sample with its encoding, (N,); z goes to every layer."""

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return super().forward(flatten(x), z)


@dataclass(frozen=True)
class BiGAN(Halving):
    """Donahue, Krahenbuhl & Darrell 2016, "Adversarial feature learning", arXiv:1605.09782; found
    at the same time by Dumoulin et al. 2016, "Adversarially learned inference", arXiv:1606.00704.

    The first paper's equation 3, with the dense networks of its experiment on MNIST without the
    order of pixels (section 4.2): two hidden layers each, the second with batch norm. E is
    deterministic, as there. Images of more than 1,024 values have convolutions like DCGAN's
    instead: E is as deep as G, and D joins z to what its convolutions see in x (section 4.3).
    """

    batch_size: int = 128  # samples in a batch
    latent_size: int = 50  # components of z, uniform in [-1, 1]
    dense: bool = True  # dense networks; for images of more than 1,024 values convolutions
    hidden: int = 1024  # units in each hidden layer of G, E and D, or of D beside convolutions
    width: int = 32  # channels next to the image, doubled with each halving
    slope: float = 0.2  # slope of the LeakyReLU of E and D below zero
    lr_d: float = 2e-4  # learning rate of D's Adam
    lr: float = 2e-4  # learning rate of G's and E's Adam
    beta1: float = 0.5  # decay of Adam's first moment
    init_std: float = 0.02  # standard deviation of all initial weights

    steps: ClassVar[int] = 6000
    minutes: ClassVar[float] = 47.1
    takes: ClassVar[str] = "images of 28 to 128 pixels"

    @classmethod
    def defaults(cls, shape: Shape, *, classes: int, samples: int, tags: int = 1) -> dict[str, Any]:
        known = super().defaults(shape, classes=classes, samples=samples, tags=tags)
        return known | {"dense": bool(np.prod(shape) <= 1024)}

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(0 <= self.slope <= 1, "slope", "from 0 to 1")

    def output_range(self, shape: Shape) -> tuple[float, float]:
        return (0.0, 1.0) if self.dense else (-1.0, 1.0)

    def players(self, rng: Generator, shape: Shape) -> Players:
        check_images(self, shape, "images", lambda height, width: True)
        return (self.dense_players if self.dense else self.conv_players)(rng, shape)

    def conv_players(self, rng: Generator, shape: Shape) -> Players:
        """G: z (N, L) to images in (-1, 1), and E back; D: both to logits (N,)."""
        plane, c, z, h = self.smallest(shape), self.width, self.latent_size, self.hidden
        widths = [c << i for i in range(self.halvings)]  # by the rule of _sizes
        top, flat = widths[-1], widths[-1] * plane[0] * plane[1]
        relu, leaky = nn.ReLU(), nn.LeakyReLU(self.slope)
        own: dict[str, Any] = {"rng": rng, "init": normal(self.init_std)}
        half = own | {"stride": 2, "padding": 1}

        def down() -> nn.Module:
            layers = [nn.Conv2d(n, 2 * n, 4, bias=False, **half) for n in widths[:-1]]
            rest = (normed(layer, layer.out_channels, leaky) for layer in layers)
            first = nn.Conv2d(shape[0], c, 4, activation=leaky, **half)
            return nn.Sequential(first, *rest, nn.Flatten())

        G = nn.Sequential(
            normed(nn.Linear(z, flat, bias=False, **own), flat, relu, nn.Reshape(top, *plane)),
            *(
                normed(nn.ConvTranspose2d(2 * n, n, 4, bias=False, **half), n, relu)
                for n in reversed(widths[:-1])
            ),
            nn.ConvTranspose2d(c, shape[0], 4, activation=nn.Tanh(), **half),
        )
        E = nn.Sequential(down(), nn.Linear(flat, z, activation=nn.Tanh(), **own))
        joint = nn.Linear(flat + h, h, activation=leaky, **own)
        last = nn.Sequential(nn.Linear(h, 1, **own), nn.Reshape())
        D = nn.Joined(down(), nn.Linear(z, h, activation=leaky, **own), joint, last)
        return {"G": G, "E": E, "D": D}

    def dense_players(self, rng: Generator, shape: Shape) -> Players:
        values, z, leaky = int(np.prod(shape)), self.latent_size, nn.LeakyReLU(self.slope)
        pixels = self.three(rng, z, values, nn.ReLU(), nn.Sigmoid())
        G = nn.Sequential(*pixels, nn.Reshape(*shape))
        E = nn.Sequential(nn.Flatten(), *self.three(rng, values, z, leaky, nn.Tanh()))
        first, *rest, last = self.three(rng, values, 1, leaky, None, beside=z)
        D = Pairs(first, nn.Sequential(*rest), nn.Sequential(last, nn.Reshape()))
        return {"G": G, "E": E, "D": D}

    def three(
        self, rng: Generator, inputs: int, outputs: int, inner: Any, last: Any, *, beside: int = 0
    ) -> list[nn.Module]:
        """Two hidden layers and a third, each for `beside` more inputs."""
        units, own = self.hidden, dict[str, Any](rng=rng, init=normal(self.init_std))
        return [
            nn.Linear(inputs + beside, units, activation=inner, **own),
            nn.Linear(units + beside, units, bias=False, **own),
            nn.BatchNorm1d(units, activation=inner),
            nn.Linear(units + beside, outputs, activation=last, **own),
        ]

    def optimizers(self, players: Players) -> dict[str, Optimizer]:
        rates, betas = {"G": self.lr, "E": self.lr, "D": self.lr_d}, (self.beta1, 0.999)
        return {name: Adam(p.parameters(), rates[name], betas) for name, p in players.items()}

    def round(self, players: Players, batches: Feed, rng: Generator, step: int) -> Iterator[Update]:
        """Section 3: D tells (x, E(x)) from (G(z), z), and G and E each make its pair pass for one
        of the other kind. Their losses are those of the exchanged labels (section 3.4).
        """
        G, E, D = players["G"], players["E"], players["D"]
        x = next(batches)
        z = Tensor(self.latent(rng, len(x)))
        fake, code = G(z), E(x)  # for all three updates: neither network changes before its own
        on_real, on_fake = D(x, code.detach()), D(fake.detach(), z)
        beliefs = {"D(x, E(x))": sigmoid(on_real).mean(), "D(G(z), z)": sigmoid(on_fake).mean()}
        yield "D", discriminator_loss(on_real, on_fake), beliefs
        yield "G", non_saturating_loss(D(fake, z)), {}
        yield "E", non_saturating_loss(-D(x, code)), {}

    def latent(self, rng: Generator, n: int) -> np.ndarray:
        return rng.uniform((n, self.latent_size), -1.0, 1.0)

    def encode(self, players: Players, x: Array) -> Array:
        return players["E"](Tensor(x)).data

    def realness(self, players: Players, x: Array) -> Array:
        """D(x, E(x))."""
        x = Tensor(x)
        return sigmoid(players["D"](x, players["E"](x))).data

"""BEGAN: the discriminator is an auto-encoder, and an equilibrium holds the two networks level."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .. import nn
from ..nn.init import normal
from ..ops import mean
from ..optim import Adam, Optimizer
from ..random import Generator
from ..tensor import Array, Tensor, no_grad
from ..training.recipe import EMA, Feed, Players, Shape, Update
from ._parts import normed
from ._sizes import Halving


class AutoEncoder(nn.Module):
    """D: images (N, C, H, W) to images, and the variable k_t of the equilibrium."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        self.encoder, self.decoder = encoder, decoder
        self.k = np.zeros((), np.float32)  # k_0 = 0

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


@dataclass(frozen=True)
class BEGAN(EMA, Halving):
    """Berthelot, Schumm & Metz 2017, "BEGAN: boundary equilibrium generative adversarial networks",
    arXiv:1703.10717.

    The networks are smaller than the paper's, which have 3x3 convolutions with ELU and no batch
    norm. D has strided convolutions and a dense layer to its code, and the same back; G has one
    more of each. Batch norm in D makes G's images differ: it leaves nothing of the codes of equal
    images. Without it G draws only a few digits, and with the paper's networks one
    dark image, which reaches L(G(z)) = gamma L(x) easily if most pixels are black.
    """

    batch_size: int = 64  # images in a batch; 16 in the paper
    latent_size: int = 32  # components of z, uniform in [-1, 1], and of D's code; 64 in the paper
    width: int = 32  # channels next to the image
    hidden: int = 512  # units of G's first layer
    normalize: bool = True  # batch norm in D; the paper has none
    gamma: float = 0.9  # diversity ratio E[L(G(z))] / E[L(x)], in [0, 1]; to 0.7 in the paper
    lambda_k: float = 0.001  # learning rate of k_t
    lr: float = 2e-4  # learning rate of both; 1e-4 in the paper
    beta1: float = 0.5  # decay of Adam's first moment

    steps: ClassVar[int] = 4000
    minutes: ClassVar[float] = 8.9
    takes: ClassVar[str] = "images of 28 to 128 pixels"
    picture: ClassVar[str] = "began-glyphs.png"
    watched: ClassVar[tuple[str, ...]] = ("M", "k")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(0 <= self.gamma <= 1, "gamma", "from 0 to 1")
        self.require(self.lambda_k > 0, "lambda_k", "above 0")

    def output_range(self, shape: Shape) -> tuple[float, float]:
        return -1.0, 1.0

    def players(self, rng: Generator, shape: Shape) -> Players:
        channels, c, h = shape[0], self.width, self.hidden
        widths = [c << i for i in range(self.halvings)]  # by the rule of _sizes
        plane = widths[-1], *self.smallest(shape)
        below = widths[-2], 2 * plane[1], 2 * plane[2]  # D's smallest planes: it halves once less
        own: dict[str, Any] = {"rng": rng, "init": normal(0.02)}
        half, relu, z = own | {"stride": 2, "padding": 1}, nn.ReLU(), self.latent_size
        flat = int(np.prod(below))
        up = (
            normed(nn.ConvTranspose2d(2 * n, n, 4, bias=False, **half), n, relu)
            for n in reversed(widths[:-1])
        )  # made in their place below, so that a seed gives the same networks as ever
        G = nn.Sequential(
            *normed(nn.Linear(z, h, bias=False, **own), h, relu),
            *normed(nn.Linear(h, flat // 2, bias=False, **own), flat // 2, relu),
            nn.Reshape(*plane),
            *(layer for block in up for layer in block),
            nn.ConvTranspose2d(c, channels, 4, activation=nn.Tanh(), **half),
        )
        encoder = nn.Sequential(
            nn.Conv2d(channels, c, 4, activation=relu, **half),
            *(m for n in widths[:-2] for m in self.of_d(nn.Conv2d, n, 2 * n, 4, **half)),
            nn.Flatten(),
            *self.of_d(nn.Linear, flat, z, **own),
        )
        back = reversed(widths[:-2])
        decoder = nn.Sequential(
            *self.of_d(nn.Linear, z, flat, **own),
            nn.Reshape(*below),
            *(m for n in back for m in self.of_d(nn.ConvTranspose2d, 2 * n, n, 4, **half)),
            nn.ConvTranspose2d(c, channels, 4, activation=nn.Tanh(), **half),
        )
        return {"G": G, "D": AutoEncoder(encoder, decoder)}

    def of_d(
        self, kind: type[Any], inputs: int, outputs: int, *size: int, **own: Any
    ) -> list[nn.Module]:
        """A layer of D, with batch norm unless that was turned off."""
        if not self.normalize:
            return [kind(inputs, outputs, *size, activation=nn.ReLU(), **own)]
        layer = kind(inputs, outputs, *size, bias=False, **own)
        return [layer, nn.BatchNorm(outputs, activation=nn.ReLU())]

    def optimizers(self, players: Players) -> dict[str, Optimizer]:
        return {n: Adam(p.parameters(), self.lr, (self.beta1, 0.999)) for n, p in players.items()}

    def round(self, players: Players, batches: Feed, rng: Generator, step: int) -> Iterator[Update]:
        """Section 3.4: L_D = L(x) - k_t L(G(z_D)), L_G = L(G(z_G)), and
        k_{t+1} = k_t + lambda_k (gamma L(x) - L(G(z_G))), clipped to [0, 1].
        """
        G, D = players["G"], players["D"]
        assert isinstance(D, AutoEncoder)
        real = next(batches)
        with no_grad():
            fake = G(Tensor(self.latent(rng, len(real))))
        k, on_real = Tensor(D.k.copy()), error(D, real)
        log_k = np.log(np.maximum(k.data, np.float32(1e-6)))
        yield "D", on_real - k * error(D, fake), {"k": k.data, "log k": log_k}

        on_fake = error(D, G(Tensor(self.latent(rng, len(real)))))
        of_real, of_fake = (loss.data.astype(np.float64) for loss in (on_real, on_fake))
        balance = self.gamma * of_real - of_fake
        D.k[...] = np.clip(D.k + self.lambda_k * balance, 0, 1)
        yield "G", on_fake, {"M": of_real + abs(balance)}  # M_global

    def latent(self, rng: Generator, n: int) -> np.ndarray:
        return rng.uniform((n, self.latent_size), -1.0, 1.0)

    def opinion(self, players: Players, x: Array, labels: Array | None) -> Array:
        """-L(x), of each sample."""
        return -abs(players["D"](Tensor(x)).data - x).mean(axis=(1, 2, 3))

    def reconstruct(self, players: Players, x: Array) -> Array:
        return players["D"](Tensor(x)).data


def error(D: nn.Module, x: Tensor) -> Tensor:
    """L(x) = |x - D(x)| (section 3.1), the mean over all pixels."""
    return mean(abs(x - D(x)))

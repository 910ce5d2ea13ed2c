"""BEGAN: the discriminator is an auto-encoder, and an equilibrium holds the two networks level."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .. import nn
from ..errors import UserError
from ..ops import clip, mean
from ..optim import Adam, Optimizer
from ..random import Generator
from ..recipe import Feed, Players, Recipe, Shape, Update
from ..tensor import Array, Tensor, no_grad

RANGE = -1.0, 1.0  # of the images


class AutoEncoder(nn.Module):
    """D: images (N, C, H, W) to images, and the variable k_t of the equilibrium."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        self.encoder, self.decoder = encoder, decoder
        self.k = np.zeros((), np.float32)  # k_0 = 0

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


@dataclass(frozen=True)
class BEGAN(Recipe):
    """Berthelot, Schumm & Metz 2017, "BEGAN: boundary equilibrium generative adversarial networks",
    arXiv:1703.10717.

    The paper's networks with fewer filters: 3x3 convolutions with ELU, two of them between two
    halvings or doublings of the side; G is built like D's decoder. No batch norm, no dropout.
    """

    batch_size: int = 16  # images in a batch
    latent_size: int = 64  # components of z, uniform in [-1, 1], and of D's inner code
    width: int = 16  # filters of each convolution of a decoder, and next to an encoder's image
    gamma: float = 0.5  # diversity ratio E[L(G(z))] / E[L(x)], in [0, 1]
    lambda_k: float = 0.001  # learning rate of k_t
    lr: float = 1e-4  # learning rate of both
    beta1: float = 0.5  # decay of Adam's first moment

    steps: ClassVar[int] = 6000
    watched: ClassVar[tuple[str, ...]] = ("M", "k")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(0 <= self.gamma <= 1, "gamma", "from 0 to 1")
        self.require(self.lambda_k > 0, "lambda_k", "above 0")
        self.require(0 <= self.beta1 < 1, "beta1", "from 0 to below 1")

    def output_range(self, shape: Shape) -> tuple[float, float]:
        return RANGE

    def players(self, rng: Generator, shape: Shape) -> Players:
        if len(shape) != 3 or shape[1] != shape[2] or shape[1] % 4:
            raise UserError(
                f"began makes square images whose side is a multiple of 4, but the data are "
                f"{shape}; choose image data with --data, and a size with --size"
            )
        D = AutoEncoder(self.encoder(rng, shape), self.decoder(rng, shape))
        return {"G": self.decoder(rng, shape), "D": D}

    def encoder(self, rng: Generator, shape: Shape) -> nn.Module:
        """Images (N, C, H, W) to codes (N, latent_size)."""
        n, side = self.width, shape[1] // 4
        return nn.Sequential(
            conv(shape[0], n, rng),
            conv(n, n, rng),
            conv(n, 2 * n, rng, stride=2),
            conv(2 * n, 2 * n, rng),
            conv(2 * n, 3 * n, rng, stride=2),
            conv(3 * n, 3 * n, rng),
            nn.Flatten(),
            nn.Linear(3 * n * side * side, self.latent_size, rng=rng),
        )

    def decoder(self, rng: Generator, shape: Shape) -> nn.Module:
        """Codes (N, latent_size) to images (N, C, H, W)."""
        n, side = self.width, shape[1] // 4
        return nn.Sequential(
            nn.Linear(self.latent_size, n * side * side, rng=rng),
            nn.Reshape(n, side, side),
            conv(n, n, rng),
            conv(n, n, rng),
            nn.UpsampleNearest(2),
            conv(n, n, rng),
            conv(n, n, rng),
            nn.UpsampleNearest(2),
            conv(n, n, rng),
            conv(n, n, rng),
            nn.Conv2d(n, shape[0], 3, padding=1, rng=rng),
        )

    def optimizers(self, players: Players) -> dict[str, Optimizer]:
        return {n: Adam(p.parameters(), self.lr, (self.beta1, 0.999)) for n, p in players.items()}

    def round(self, players: Players, batches: Feed, rng: Generator, step: int) -> Iterator[Update]:
        """Section 3.4: L_D = L(x) - k_t L(G(z_D)), L_G = L(G(z_G)), and
        k_{t+1} = k_t + lambda_k (gamma L(x) - L(G(z_G))), which stays in [0, 1].
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

    def generate(self, players: Players, z: Array) -> Tensor:
        """G(z), limited to the images' range, which G's linear output need not keep to."""
        return clip(players["G"](Tensor(z)), *RANGE)

    def reconstruct(self, players: Players, x: Array) -> Array:
        """D(x), limited to the images' range."""
        return clip(players["D"](Tensor(x)), *RANGE).data


def conv(inputs: int, outputs: int, rng: Generator, *, stride: int = 1) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, rng=rng, activation=nn.ELU())


def error(D: nn.Module, x: Tensor) -> Tensor:
    """L(x) = |x - D(x)| (section 3.1), the mean over all pixels."""
    return mean(abs(x - D(x)))

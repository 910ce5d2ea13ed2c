"""GON: a latent vector is the negative gradient of the loss at the origin, and needs no encoder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .. import nn
from ..ops import mean, square
from ..optim import Adam, Optimizer, scheduled
from ..random import Generator
from ..tensor import Array, Tensor, enable_grad, grad, no_grad
from ..training.recipe import Feed, Players, Recipe, Shape, Update
from ._checks import check_square
from ._sizes import PLANES


class Gaussian(nn.Module):
    """The running mean and covariance of latent vectors."""

    def __init__(self, size: int) -> None:
        self.mean = np.zeros(size, np.float32)
        self.covariance = np.eye(size, dtype=np.float32)

    def track(self, z: Array, weight: Any) -> None:
        centred = Tensor(z - z.mean(axis=0))
        with no_grad():
            covariance = (centred.T @ centred).data / len(z)
        self.mean += weight * (z.mean(axis=0) - self.mean)
        self.covariance += weight * (covariance - self.covariance)

    def root(self) -> np.ndarray:
        """The Cholesky factor of the covariance."""
        size = len(self.mean)
        ridge = 1e-6 * np.trace(self.covariance) / size * np.eye(size, like=self.mean)
        return np.linalg.cholesky(self.covariance.astype(np.float64) + ridge)


@dataclass(frozen=True)
class GON(Recipe):
    """Bond-Taylor & Willcocks 2021, "Gradient origin networks", arXiv:2007.02798.

    A GON has no prior. For `latent`, a running mean and covariance of the latent vectors of the
    training data are kept: they are applied to a standard normal vector, which goes through F
    (here G), and `encode` inverts them.

    Two things differ from the authors' code. The loss at the origin is a sum over the pixels of an
    image, not a mean over those of the batch, so that no latent vector depends on the batch size.
    And batch norm uses its running moments there: at the origin all samples are equal, so the
    variance over the batch would be 0 in the first layer, and through the batch's mean each latent
    vector would depend on the other images of the batch.
    """

    batch_size: int = 64  # images in a batch
    latent_size: int = 32  # components of z
    width: int = 16  # channels next to the image, doubled with each halving
    lr: float = 1e-3  # learning rate of Adam; 1e-4 in the authors' code
    memory: int = 100  # batches in the running mean and covariance of latent vectors

    steps: ClassVar[int] = 1000
    minutes: ClassVar[float] = 1.7
    takes: ClassVar[str] = "square images of 28 to 128 pixels"

    def output_range(self, shape: Shape) -> tuple[float, float]:
        return 0.0, 1.0

    def players(self, rng: Generator, shape: Shape) -> Players:
        check_square(self, shape, PLANES)
        return {"G": self.generator(rng, shape), "Z": Gaussian(self.latent_size)}

    def generator(self, rng: Generator, shape: Shape) -> nn.Module:
        """z (N, latent_size) to images (N, C, H, W) in (0, 1)."""
        planes = PLANES[shape[1]]
        c = self.width << len(planes) - 1
        layers: list[nn.Module] = [
            nn.Reshape(self.latent_size, 1, 1),
            nn.ConvTranspose2d(self.latent_size, c, planes[0], rng=rng, bias=False),
            nn.BatchNorm2d(c, activation=nn.ELU()),
        ]
        for plane in planes[1:]:
            kernel = 4 - plane % 2  # 7 comes from 4 by a window of 3
            layers += [
                nn.ConvTranspose2d(c, c // 2, kernel, stride=2, padding=1, rng=rng, bias=False),
                nn.BatchNorm2d(c // 2, activation=nn.ELU()),
            ]
            c //= 2
        output = nn.ConvTranspose2d(
            c, shape[0], 4, stride=2, padding=1, rng=rng, activation=nn.Sigmoid()
        )
        return nn.Sequential(*layers, output)

    def optimizers(self, players: Players) -> dict[str, Optimizer]:
        return {"G": Adam(players["G"].parameters(), self.lr)}

    def round(self, players: Players, batches: Feed, rng: Generator, step: int) -> Iterator[Update]:
        G, Z = players["G"], prior(players)
        x = next(batches)
        z = self.from_origin(players, x)
        loss = mean(square(x - G(z)))
        Z.track(z.data, scheduled(lambda n: max(1 / self.memory, 1 / (n + 1)), step))
        yield "G", loss, {"|z|": np.sqrt(np.square(z.data).sum(axis=1)).mean()}

    def from_origin(self, players: Players, x: Tensor) -> Tensor:
        """z = -grad_z0 L(x, F(z0)) at z0 = 0, (N, latent_size)."""
        with enable_grad(), players["G"].evaluating() as G:
            like = prior(players).mean
            z0 = Tensor(np.zeros_like(like, shape=(len(x), self.latent_size)))
            loss = square(x - G(z0)).sum()
            return -grad(loss, z0, create_graph=True)

    def latent(self, rng: Generator, n: int) -> np.ndarray:
        return rng.normal((n, self.latent_size))

    def generate(self, players: Players, z: Array) -> Tensor:
        Z = prior(players)
        return players["G"](Tensor((Z.mean + z @ Z.root().T).astype(np.float32)))

    def encode(self, players: Players, x: Array) -> Array:
        Z = prior(players)
        z = self.from_origin(players, Tensor(x)).data - Z.mean
        return np.linalg.solve(Z.root(), z.T).T.astype(np.float32)


def prior(players: Players) -> Gaussian:
    """The normal distribution of a GON's latent vectors."""
    Z = players["Z"]
    assert isinstance(Z, Gaussian)
    return Z

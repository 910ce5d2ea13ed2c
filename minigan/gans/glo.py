"""GLO: a generator without a discriminator, which learns a latent vector for each image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .. import nn
from ..data import Batches
from ..losses import laplacian_pyramid_loss
from ..nn.init import normal
from ..ops import mean, square
from ..optim import SGD, Adam, Optimizer, project_to_sphere
from ..random import Generator
from ..tensor import Array, Tensor, enable_grad, grad
from ..training.recipe import Feed, Players, Recipe, Shape, Update
from ._checks import check_square
from ._sizes import PLANES


@dataclass(frozen=True)
class GLO(Recipe):
    """Bojanowski, Joulin, Lopez-Paz & Szlam 2018, "Optimizing the latent space of generative
    networks", arXiv:1707.05776.

    G is DCGAN's, for images of 28, 32, 48, 64, 96 or 128 pixels (`_sizes.PLANES`). The table Z of
    latent vectors learns by SGD, as in the paper, which updates only the rows of the batch; G
    learns by Adam, which takes fewer epochs than the paper's SGD. The paper asks for vectors on the
    unit sphere, but divides by max(|z|, 1), which keeps them in the unit ball and does not change
    short ones. Here all are divided by |z|.

    Samples come from a Gaussian with Z's mean and covariance (section 4.3): `latent` is standard
    normal, `generate` applies these and projects to the sphere, and `encode` inverts that.
    """

    batch_size: int = 128  # images in a batch
    latent_size: int = 32  # components of z
    samples: int = 60_000  # images in the data, and rows of the table
    width: int = 32  # channels next to the image, doubled with each halving
    levels: int = 3  # levels of the Laplacian pyramid
    squares: float = 1.0  # weight of the mean squared error beside the pyramid's
    lr: float = 1e-3  # learning rate of G's Adam
    lr_z: float = 100.0  # learning rate of the table's SGD
    encoding_steps: int = 100  # steps of Adam to find the z of a new image
    encoding_lr: float = 0.05  # their learning rate

    steps: ClassVar[int] = 6000
    minutes: ClassVar[float] = 19.4
    takes: ClassVar[str] = "square images of 28 to 128 pixels"
    picture: ClassVar[str] = "glo-mnist-walk.png"

    @classmethod
    def defaults(cls, shape: Shape, *, classes: int, samples: int, tags: int = 1) -> dict[str, Any]:
        return {"samples": samples}

    def check_batches(self, batches: Batches) -> None:
        batches.check_same()

    def output_range(self, shape: Shape) -> tuple[float, float]:
        return -1.0, 1.0

    def players(self, rng: Generator, shape: Shape) -> Players:
        check_square(self, shape, PLANES)
        Z = nn.Embedding(self.samples, self.latent_size, rng=rng)
        project_to_sphere(Z.weight)
        return {"G": self.generator(rng, shape), "Z": Z}

    def generator(self, rng: Generator, shape: Shape) -> nn.Module:
        """z (N, latent_size) to images (N, C, H, W) in (-1, 1)."""
        channels, side, _ = shape
        weights, planes = normal(0.02), PLANES[side]
        c = self.width << len(planes) - 1
        layers: list[nn.Module] = [
            nn.Reshape(self.latent_size, 1, 1),
            nn.ConvTranspose2d(self.latent_size, c, planes[0], rng=rng, init=weights, bias=False),
            nn.BatchNorm2d(c, activation=nn.ReLU()),
        ]
        for plane in planes[1:]:
            kernel = 4 - plane % 2  # 7 comes from 4 by a window of 3
            layers += [
                nn.ConvTranspose2d(
                    c, c // 2, kernel, stride=2, padding=1, rng=rng, init=weights, bias=False
                ),
                nn.BatchNorm2d(c // 2, activation=nn.ReLU()),
            ]
            c //= 2
        return nn.Sequential(
            *layers,
            nn.ConvTranspose2d(
                c, channels, 4, stride=2, padding=1, rng=rng, init=weights, activation=nn.Tanh()
            ),
        )

    def optimizers(self, players: Players) -> dict[str, Optimizer]:
        return {
            "Z": SGD(players["Z"].parameters(), self.lr_z),
            "G": Adam(players["G"].parameters(), self.lr, (0.5, 0.999)),
        }

    def round(self, players: Players, batches: Feed, rng: Generator, step: int) -> Iterator[Update]:
        """min_theta 1/N sum_i min_{z_i} l(g_theta(z_i), x_i), both by one loss."""
        G, Z = players["G"], players["Z"]
        x, index = batches.indexed(self.check)
        loss = self.loss(G(Z(index)), x)
        yield "Z", loss, {}  # first, because its gradient is computed with the weights of G
        yield "G", loss, {}
        project_to_sphere(Z.parameters()["weight"], index)

    def check(self, index: np.ndarray) -> None:
        self.require(index.max() < self.samples, "samples", "the number of images in the data")

    def loss(self, made: Tensor, x: Tensor) -> Tensor:
        squares = mean(square(made - x))
        return laplacian_pyramid_loss(made, x, levels=self.levels) + self.squares * squares

    def latent(self, rng: Generator, n: int) -> np.ndarray:
        return rng.normal((n, self.latent_size))

    def generate(self, players: Players, z: Array) -> Tensor:
        center, root = gaussian(players["Z"])
        return players["G"](Tensor(on_sphere(center + z @ root.T).astype(np.float32)))

    def encode(self, players: Players, x: Array) -> Array:
        """The z of each image after `encoding_steps` steps of Adam from the table's mean."""
        center, root = gaussian(players["Z"])
        z = Tensor(np.tile(on_sphere(center[None]), (len(x), 1)).astype(np.float32))
        optimizer = Adam({"z": z}, self.encoding_lr)
        for _ in range(self.encoding_steps):
            with enable_grad():
                loss = len(x) * self.loss(players["G"](z), Tensor(x))  # each image's own
            optimizer.step(grad(loss, {"z": z}))
            project_to_sphere(z)
        return np.linalg.solve(root, (z.data - center).T).T.astype(np.float32)


def on_sphere(z: Array) -> Array:
    """Vectors (N, d) scaled to length 1."""
    return z / np.sqrt(np.square(z).sum(axis=1, keepdims=True))


def gaussian(Z: nn.Module) -> tuple[np.ndarray, np.ndarray]:
    """The mean of the table's rows, and the Cholesky factor of their covariance."""
    table = Z.parameters()["weight"].data
    center = table.mean(axis=0, dtype=np.float64)
    centred = table - center.astype(table.dtype)
    covariance = (centred.T @ centred).astype(np.float64) / len(table)
    return center, np.linalg.cholesky(covariance + 1e-9 * np.eye(len(center), like=center))

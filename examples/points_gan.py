"""A GAN of your own: one file, found by its path.

    minigan train examples/points_gan.py --data ring --steps 3000
    minigan train examples/points_gan.py --help
    minigan evaluate runs/points_gan-ring-1 --recipe examples/points_gan.py

The fields are the flags. Each `yield` names a player and its loss; the loop updates that player
before the next line runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from minigan import nn
from minigan.losses import discriminator_loss, non_saturating_loss
from minigan.optim import Adam, Optimizer
from minigan.random import Generator
from minigan.recipe import Feed, Players, Recipe, Shape, Update
from minigan.tensor import Tensor, no_grad


@dataclass(frozen=True)
class PointsGAN(Recipe):
    """A small dense GAN for points, with Adam."""

    batch_size: int = 256  # points in a batch
    latent_size: int = 2  # components of z, standard normal
    hidden: int = 128  # units in each hidden layer
    lr: float = 1e-3  # learning rate of both Adams

    def output_range(self, shape: Shape) -> None:
        return None

    def players(self, rng: Generator, shape: Shape) -> Players:
        def network(inputs: int, outputs: int) -> nn.Module:
            return nn.Sequential(
                nn.Linear(inputs, self.hidden, rng=rng, activation=nn.ReLU()),
                nn.Linear(self.hidden, self.hidden, rng=rng, activation=nn.ReLU()),
                nn.Linear(self.hidden, outputs, rng=rng),
            )

        return {"G": network(self.latent_size, shape[0]), "D": network(shape[0], 1)}

    def optimizers(self, players: Players) -> dict[str, Optimizer]:
        return {name: Adam(p.parameters(), self.lr, (0.5, 0.9)) for name, p in players.items()}

    def round(self, players: Players, batches: Feed, rng: Generator, step: int) -> Iterator[Update]:
        G, D = players["G"], players["D"]
        real = next(batches)
        with no_grad():
            fake = G(Tensor(self.latent(rng, len(real))))
        yield "D", discriminator_loss(D(real), D(fake)), {}
        yield "G", non_saturating_loss(D(G(Tensor(self.latent(rng, len(real)))))), {}

    def latent(self, rng: Generator, n: int) -> np.ndarray:
        return rng.normal((n, self.latent_size))

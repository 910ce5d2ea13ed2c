"""minigan: one critic step of WGAN-GP (Gulrajani et al. 2017, arXiv:1704.00028, Algorithm 1).

The critic is DCGAN's discriminator without batch norm. The penalty contains a gradient, so that
its own gradient is of second order.
"""

from __future__ import annotations

from typing import Any

import minigan as mg
from minigan import nn
from minigan.data import Batches, Dataset
from minigan.gans.dcgan import DCGAN
from minigan.nn.init import normal
from minigan.ops import sqrt

from ..timing import Step
from . import Size
from .images import images

PENALTY = 10.0  # lambda


def critic_step(size: Size) -> Step:
    """A step of the critic: G's images, the penalty between them and real ones, and Adam."""
    rng = mg.Generator(seed=0)
    recipe = DCGAN(width=size.width)
    G, D = recipe.generator(rng, size.image), critic(size, rng)
    optimizer = mg.optim.Adam(D.parameters(), 1e-4, (0.0, 0.9))
    dataset = Dataset("digits", images(size.image))
    batches = Batches(dataset, size.batch, seed=0, output_range=(-1.0, 1.0))

    def step() -> float:
        real = mg.Tensor(next(batches))
        with mg.no_grad():
            fake = G(mg.Tensor(recipe.latent(rng, size.batch)))
        epsilon = mg.Tensor(rng.uniform((size.batch, 1, 1, 1), 0.0, 1.0))
        between = (epsilon * real + (1 - epsilon) * fake).detach()
        slope = mg.grad(D(between).sum(), between, create_graph=True)
        norm = sqrt((slope * slope).sum((1, 2, 3)))
        penalty = ((norm - 1) ** 2).mean()
        loss = D(fake).mean() - D(real).mean() + PENALTY * penalty
        optimizer.step(mg.grad(loss, D.parameters()))
        return loss.item()

    return step


def critic(size: Size, rng: mg.Generator) -> nn.Module:
    """Images (N, C, H, W) to scores (N, 1)."""
    channels, side, _ = size.image
    options: dict[str, Any] = {"rng": rng, "init": normal(0.02)}
    between = options | {"stride": 2, "padding": 1, "activation": nn.LeakyReLU(0.2)}
    c = size.width
    layers: list[nn.Module] = [nn.Conv2d(channels, c, 4, **between)]
    for _ in range((side // 8).bit_length() - 1):
        layers.append(nn.Conv2d(c, c * 2, 4, **between))
        c *= 2
    return nn.Sequential(*layers, nn.Conv2d(c, 1, 4, **options), nn.Flatten())

"""PyTorch: the same critic step of WGAN-GP, the penalty by `autograd.grad(create_graph=True)`."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..timing import Step
from . import Size
from .minigan_wgan_gp import PENALTY
from .torch_dcgan import LATENT, generator, initialise
from .torch_images import batches


def critic_step(size: Size, *, channels_last: bool = False, fused: bool = False) -> Step:
    """A step of the critic: G's images, the penalty between them and real ones, and Adam."""
    torch.manual_seed(0)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    G, D = (net(size).apply(initialise).to(memory_format=layout) for net in (generator, critic))
    options: dict[str, Any] = {"fused": True} if fused else {}
    optimizer = torch.optim.Adam(D.parameters(), lr=1e-4, betas=(0.0, 0.9), **options)
    data = batches(size.image, size.batch, channels_last=channels_last)

    def step() -> float:
        real = next(data)
        with torch.no_grad():
            fake = G(torch.rand(size.batch, LATENT, 1, 1) * 2 - 1)
        epsilon = torch.rand(size.batch, 1, 1, 1)
        between = (epsilon * real + (1 - epsilon) * fake).requires_grad_(True)
        (slope,) = torch.autograd.grad(D(between).sum(), between, create_graph=True)
        norm = slope.square().sum((1, 2, 3)).sqrt()
        penalty = (norm - 1).square().mean()
        loss = D(fake).mean() - D(real).mean() + PENALTY * penalty
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


def critic(size: Size) -> Any:
    """Images (N, C, H, W) to scores (N, 1)."""
    channels, side, _ = size.image
    c = size.width
    layers = [nn.Conv2d(channels, c, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
    for _ in range((side // 8).bit_length() - 1):
        layers += [nn.Conv2d(c, c * 2, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        c *= 2
    return nn.Sequential(*layers, nn.Conv2d(c, 1, 4, 1, 0), nn.Flatten())

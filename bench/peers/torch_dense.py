"""PyTorch: the first GAN (Goodfellow et al. 2014), layers and settings as in minigan's recipe.

Algorithm 1 draws fresh latent vectors for G's update, so each player's update has its own pass
through G.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from minigan.gans.gan import GAN

from ..timing import Step
from .ours import IMAGES
from .torch_images import batches


def eager(batch: int = 100, *, frozen: bool = False, fused: bool = False) -> Step:
    """A round: one update of D, one of G; `frozen` spares D's weight gradients in G's update."""
    torch.manual_seed(0)
    r = GAN()
    values = IMAGES[1] * IMAGES[2]
    G = nn.Sequential(
        nn.Linear(r.latent_size, r.hidden),
        nn.ReLU(inplace=True),
        nn.Linear(r.hidden, r.hidden),
        nn.ReLU(inplace=True),
        nn.Linear(r.hidden, values),
        nn.Sigmoid(),
    )
    first, second = nn.Linear(values, r.units * r.pieces), nn.Linear(r.units, r.units * r.pieces)
    last = nn.Linear(r.units, 1)
    D = nn.ModuleList([first, second, last])
    for net, bound in ((G, r.init_g), (D, r.init_d)):
        for parameter in net.parameters():
            nn.init.uniform_(parameter, -bound, bound)
    options: dict[str, Any] = {"fused": True} if fused else {}
    optimizers = [
        torch.optim.SGD(p.parameters(), lr=r.lr, momentum=r.momentum, **options) for p in (G, D)
    ]
    data = batches(IMAGES, batch, low=0.0)
    ones, zeros = torch.ones(batch), torch.zeros(batch)
    criterion = nn.BCEWithLogitsLoss()

    def judge(x: Any) -> Any:
        x = nn.functional.dropout(x, 1 - r.keep_input)
        for layer in (first, second):
            x = layer(x).view(batch, r.units, r.pieces).amax(2)
            x = nn.functional.dropout(x, 1 - r.keep_hidden)
        return last(x).view(-1)

    def latent() -> Any:
        return r.noise * (torch.rand(batch, r.latent_size) * 2 - 1)

    def step() -> tuple[float, ...]:
        real = next(data).view(batch, values)
        with torch.no_grad():
            fake = G(latent())
        on_real, on_fake = judge(real), judge(fake)
        loss_D = r.weight_d * (criterion(on_real, ones) + criterion(on_fake, zeros))
        optimizers[1].zero_grad()
        loss_D.backward()
        optimizers[1].step()
        means = on_real.sigmoid().mean().item(), on_fake.sigmoid().mean().item()

        if frozen:
            D.requires_grad_(False)
        loss_G = criterion(judge(G(latent())), ones)
        optimizers[0].zero_grad()
        loss_G.backward()
        optimizers[0].step()
        if frozen:
            D.requires_grad_(True)
        return loss_D.item(), loss_G.item(), *means

    return step

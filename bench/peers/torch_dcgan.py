"""PyTorch: the DCGAN of its examples, and the same step with what makes it faster.

The network, the losses and the order of the step are those of pytorch/examples, dcgan/main.py, for
64 pixels; fewer halvings make 32. minigan's recipe is the same layer for layer, but for a bias in
D's first and last convolution and in G's last, and a loss on logits instead of a sigmoid with BCE.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from minigan.gans._sizes import PLANES

from ..timing import Step
from . import Size
from .torch_images import batches

LATENT = 100


def eager(size: Size) -> Step:
    """As the example writes it."""
    return _step(size)


def tuned(size: Size, *, channels_last: bool) -> Step:
    """D takes no weight gradients in G's update, and Adam is fused; both layouts."""
    return _step(size, channels_last=channels_last, frozen=True, fused=True)


def compiled(size: Size) -> Step:
    """The tuned step, channels last, with both networks through torch.compile."""
    return _step(size, channels_last=True, frozen=True, fused=True, compiled=True)


def _step(
    size: Size,
    *,
    channels_last: bool = False,
    frozen: bool = False,
    fused: bool = False,
    compiled: bool = False,
) -> Step:
    torch.manual_seed(0)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    netG = generator(size).apply(initialise).to(memory_format=layout)
    netD = discriminator(size).apply(initialise).to(memory_format=layout)
    options: dict[str, Any] = {"fused": True} if fused else {}
    optimizerD = torch.optim.Adam(netD.parameters(), lr=2e-4, betas=(0.5, 0.999), **options)
    optimizerG = torch.optim.Adam(netG.parameters(), lr=2e-4, betas=(0.5, 0.999), **options)
    runG, runD = (torch.compile(netG), torch.compile(netD)) if compiled else (netG, netD)
    data = batches(size.image, size.batch, channels_last=channels_last)
    criterion = nn.BCELoss()

    def judge(x: Any) -> Any:
        return runD(x).view(-1, 1).squeeze(1)

    def step() -> tuple[float, ...]:
        # (1) Update D: maximise log(D(x)) + log(1 - D(G(z)))
        netD.zero_grad()
        label = torch.full((size.batch,), 1.0)
        output = judge(next(data))
        errD_real = criterion(output, label)
        errD_real.backward()
        D_x = output.mean().item()

        fake = runG(torch.randn(size.batch, LATENT, 1, 1))
        label.fill_(0.0)
        output = judge(fake.detach())
        errD_fake = criterion(output, label)
        errD_fake.backward()
        D_G_z1 = output.mean().item()
        errD = errD_real + errD_fake
        optimizerD.step()

        # (2) Update G: maximise log(D(G(z)))
        netG.zero_grad()
        if frozen:
            netD.requires_grad_(False)
        label.fill_(1.0)
        output = judge(fake)
        errG = criterion(output, label)
        errG.backward()
        D_G_z2 = output.mean().item()
        optimizerG.step()
        if frozen:
            netD.requires_grad_(True)
        return errD.item(), errG.item(), D_x, D_G_z1, D_G_z2

    return step


def generator(size: Size) -> Any:
    """z (N, 100, 1, 1) to images in (-1, 1)."""
    channels, side, _ = size.image
    planes = PLANES[side]
    c = size.width << len(planes) - 1
    layers = [nn.ConvTranspose2d(LATENT, c, planes[0], 1, 0, bias=False)]
    layers += [nn.BatchNorm2d(c), nn.ReLU(True)]
    for plane in planes[1:]:
        layers += [
            nn.ConvTranspose2d(c, c // 2, 4 - plane % 2, 2, 1, bias=False),
            nn.BatchNorm2d(c // 2),
            nn.ReLU(True),
        ]
        c //= 2
    return nn.Sequential(*layers, nn.ConvTranspose2d(c, channels, 4, 2, 1, bias=False), nn.Tanh())


def discriminator(size: Size) -> Any:
    """Images to probabilities (N, 1, 1, 1)."""
    channels, side, _ = size.image
    planes, c = PLANES[side][::-1], size.width
    layers = [nn.Conv2d(channels, c, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)]
    for plane in planes[:-1]:
        layers += [
            nn.Conv2d(c, c * 2, 4 - plane % 2, 2, 1, bias=False),
            nn.BatchNorm2d(c * 2),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        c *= 2
    return nn.Sequential(*layers, nn.Conv2d(c, 1, planes[-1], 1, 0, bias=False), nn.Sigmoid())


def initialise(module: Any) -> None:
    """The example's initial values; biases, of which its convolutions have none, are 0."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)

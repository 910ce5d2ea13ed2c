"""PyTorch on a card: the same DCGAN's round and its layers, by cuDNN.

The round is `torch_dcgan`'s without what the example does for its readers: losses on logits, D
frozen in G's update, fused Adam, channels last, and its values read once, at the end of a round.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from ..layers import Layer
from ..timing import Step
from . import Size
from .torch_dcgan import LATENT, discriminator, generator, initialise
from .torch_images import batches
from .torch_kernels import _call

CALLS = 20


def available() -> bool:
    """Whether this PyTorch can use a card."""
    return torch.cuda.is_available()


def _precise(precision: str) -> Any:
    """Multiply in "float32", "tf32" or "bfloat16" from now on; the context to compute in."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True
    if precision == "bfloat16":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return contextlib.nullcontext()


def dcgan(size: Size, precision: str, *, compiled: bool) -> Step:
    """A round: an update of D and one of G; compiled in mode max-autotune, with CUDA graphs."""
    context = _precise(precision)
    torch.manual_seed(0)
    netG = generator(size).apply(initialise)
    netD = discriminator(size)[:-1].apply(initialise)  # logits
    options: dict[str, Any] = {"lr": 2e-4, "betas": (0.5, 0.999), "fused": True}
    netG, netD = (net.cuda().to(memory_format=torch.channels_last) for net in (netG, netD))
    optimizerD = torch.optim.Adam(netD.parameters(), **options)
    optimizerG = torch.optim.Adam(netG.parameters(), **options)
    mode = "max-autotune"
    runG, runD = (torch.compile(n, mode=mode) if compiled else n for n in (netG, netD))
    data = batches(size.image, size.batch, channels_last=True)
    ones = torch.ones(size.batch, device="cuda")
    zeros = torch.zeros(size.batch, device="cuda")
    criterion = functional.binary_cross_entropy_with_logits

    def judge(x: Any) -> Any:
        return runD(x).float().view(-1)

    def step() -> list[float]:
        real = next(data).pin_memory().cuda(non_blocking=True)
        netD.zero_grad(set_to_none=True)
        if compiled:
            torch.compiler.cudagraph_mark_step_begin()
        with context:
            fake = runG(torch.randn(size.batch, LATENT, 1, 1, device="cuda"))
            fake = fake.clone() if compiled else fake  # a graph's outputs are overwritten
            on_real, on_fake = judge(real).clone(), judge(fake.detach()).clone()
        lossD = criterion(on_real, ones) + criterion(on_fake, zeros)
        lossD.backward()
        optimizerD.step()
        netG.zero_grad(set_to_none=True)
        netD.requires_grad_(False)
        with context:
            lossG = criterion(judge(fake), ones)
        lossG.backward()
        optimizerG.step()
        netD.requires_grad_(True)
        seen = lossD, lossG, torch.sigmoid(on_real).mean(), torch.sigmoid(on_fake).mean()
        return torch.stack([value.detach() for value in seen]).tolist()

    return step


def conv(layer: Layer, direction: str, precision: str) -> Callable[[], float]:
    """What gives seconds of one direction of a layer, channels last, on the card alone."""
    _precise(precision)
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    arrays = [
        torch.randn(shape, device="cuda").to(kind).to(memory_format=torch.channels_last)
        for shape in (layer.image, layer.weight, layer.output)
    ]
    return _turn(_call(layer, direction, *arrays))


def _turn(step: Step) -> Callable[[], float]:
    """What gives seconds of a call in a graph of several."""
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):  # cuDNN chooses
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = [step() for _ in range(CALLS)]
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def seconds(keep: Any = kept) -> float:  # the graph writes to it
        began.record()
        graph.replay()
        ended.record()
        ended.synchronize()
        return 1e-3 * float(began.elapsed_time(ended)) / CALLS

    return seconds

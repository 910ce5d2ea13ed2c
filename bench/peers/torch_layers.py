"""PyTorch: which layers a recipe's networks have on some images, and each of them alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from minigan import nn

from ..timing import Step
from .torch_kernels import LAYOUTS
from .torch_pictures import Game
from .torch_twin import BatchNorm, twin

Shape = tuple[int, ...]
KINDS: dict[str, Any] = {
    "dense": torch.nn.Linear,
    "conv": torch.nn.Conv2d,
    "transposed": torch.nn.ConvTranspose2d,
    "norm": BatchNorm,
}
Seen = tuple[str, Any, Shape, Shape]  # a kind, the layer, and the shapes that it takes and gives


def layers(name: str, shape: tuple[int, int, int], batch: int) -> list[Seen]:
    """The layers of a recipe that have weights, in order: those of G, then those of D."""
    game = Game(name, shape, batch, tuned=False)
    found: list[Seen] = []

    def seen(layer: Any, inputs: tuple[Any, ...], output: Any) -> None:
        kind = next(kind for kind, known in KINDS.items() if isinstance(layer, known))
        found.append((kind, layer, tuple(inputs[0].shape), tuple(output.shape)))

    kinds: tuple[Any, ...] = tuple(KINDS.values())
    for net in game.nets.values():
        for layer in net.modules():
            if isinstance(layer, kinds):
                layer.register_forward_hook(seen)
    with torch.no_grad():
        game.D(game.fake())
    return found


def steps(layer: nn.Module, x: np.ndarray, g: np.ndarray) -> dict[str, dict[str, Step]]:
    """By direction, the twin of a layer in each layout: x is what it takes, g like what it gives.

    The directions are forward, and dx and dw of a dense layer or backward of a normalisation.
    """
    found: dict[str, dict[str, Step]] = {}
    for name, layout in LAYOUTS.items() if x.ndim == 4 else [("PyTorch", torch.contiguous_format)]:
        made = twin(layer).to(memory_format=layout)
        there, back = (
            torch.from_numpy(np.ascontiguousarray(a)).contiguous(memory_format=layout)
            for a in (x, g)
        )
        for direction, step in _directions(made, there, back).items():
            found.setdefault(direction, {})[name] = step
    return found


def _directions(made: Any, x: Any, g: Any) -> dict[str, Step]:
    leaf = x.clone().requires_grad_(True)
    y, own = made(leaf), list(made.parameters())

    def forward() -> object:
        with torch.no_grad():
            return made(x)

    def back(*inputs: Any) -> Callable[[], object]:
        return lambda: torch.autograd.grad(y, inputs, g, retain_graph=True)

    if isinstance(made, torch.nn.Linear):
        return {"forward": forward, "dx": back(leaf), "dw": back(made.weight)}
    return {"forward": forward, "backward": back(leaf, *own)}

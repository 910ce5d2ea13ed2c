"""Who takes a step of a recipe that makes pictures."""

from __future__ import annotations

from .peers import Peer, peer
from .workloads import OURS

EAGER = "PyTorch eager"
TUNED = "PyTorch eager, channels_last, frozen D, fused"


def peers(recipe: str, shape: tuple[int, int, int], batch: int) -> list[Peer]:
    """minigan, PyTorch as it is written first, and PyTorch with what makes it faster."""
    return [
        peer(OURS, "ours.pictures", recipe, shape, batch),
        peer(EAGER, "torch_pictures.step", recipe, shape, batch),
        peer(TUNED, "torch_pictures.step", recipe, shape, batch, tuned=True),
    ]

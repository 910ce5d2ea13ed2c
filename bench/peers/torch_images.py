"""Batches of the same images for PyTorch: shuffled each epoch, scaled to the generator's range.

Its DCGAN example loads with worker processes; this is less work than that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from .images import images


def batches(
    shape: tuple[int, int, int], size: int, *, low: float = -1.0, channels_last: bool = False
) -> Iterator[Any]:
    """Endless batches (size, C, H, W) float32 in [low, 1]."""
    data = torch.from_numpy(images(shape))
    layout = torch.channels_last if channels_last else torch.contiguous_format
    data = data.contiguous(memory_format=layout)
    while True:
        order = torch.randperm(len(data))
        for start in range(0, len(data) - size + 1, size):
            x = data[order[start : start + size]].float()
            yield x.mul_((1 - low) / 255).add_(low)

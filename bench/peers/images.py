"""The data that all peers draw batches from: the same small images, in memory as bytes."""

from __future__ import annotations

from functools import cache

import numpy as np

from minigan.data.glyphs import glyphs

COUNT = 512  # an epoch of eight batches


@cache
def images(shape: tuple[int, int, int], count: int = COUNT) -> np.ndarray:
    """Digits (count, C, H, W) uint8, another one in each channel."""
    channels, side, _ = shape
    return glyphs(size=side, count=count * channels).x.reshape(count, *shape)

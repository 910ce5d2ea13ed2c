"""Explicit randomness: a counter-based generator whose whole state is two integers."""

from __future__ import annotations

import hashlib
import math
from functools import partial
from typing import Any

import minigan_kernels as kernels
import numpy as np

from .device import HOST, Array
from .device.graph_inputs import graph_scalar

Shape = int | tuple[int, ...]


class Generator:
    """Philox4x32-10 (Salmon et al. 2011): the same seed gives the same numbers on every device.

    `seed` and the words of `stream` name a stream; streams of one seed are independent. A draw
    advances `offset`, the number of 128-bit blocks used so far; (key, offset) is the state. All
    numbers are float32 and are drawn on `device`.
    """

    def __init__(self, seed: int, *stream: str) -> None:
        name = "/".join((str(seed), *stream)).encode()
        self.key = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little")
        self.offset = 0
        self.device = HOST

    def normal(self, shape: Shape, scale: float = 1.0) -> Array:
        """Normal numbers of mean 0 and standard deviation `scale`."""
        return self._draw(shape, kernels.normal) * np.float32(scale)

    def uniform(self, shape: Shape, low: float = 0.0, high: float = 1.0) -> Array:
        """Uniform numbers in [low, high)."""
        return self._draw(shape, kernels.uniform) * np.float32(high - low) + np.float32(low)

    def dropout_mask(self, shape: Shape, keep: float) -> Array:
        """1 / keep with probability `keep` (0 < keep <= 1), else 0."""
        return self._draw(shape, kernels.dropout_mask, keep=keep)

    def integers(self, shape: Shape, high: int) -> Array:
        """Integers from 0 to `high` - 1, int64; `high` is at most 2^24."""
        return (self.uniform(shape) * np.float32(high)).astype(np.int64)

    @property
    def state(self) -> dict[str, int]:
        """The key of the stream and the number of blocks used."""
        return {"key": self.key, "offset": self.offset}

    @state.setter
    def state(self, state: dict[str, int]) -> None:
        self.key, self.offset = state["key"], state["offset"]

    def _draw(self, shape: Shape, kernel: Any, **options: Any) -> Array:
        out = self.device.empty(shape, np.float32)
        advance = partial(self._advance, math.ceil(out.size / 4))
        offset = advance() if self.device is HOST else graph_scalar(advance, np.uint64)
        kernel(out, key=self.key, offset=offset, **options)
        return out

    def _advance(self, blocks: int) -> int:
        """The offset of the next `blocks` blocks, which count as used."""
        offset = self.offset
        self.offset += blocks
        return offset

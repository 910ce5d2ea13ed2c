"""The convolution algorithm that a caller forced, in place of the choice by the layer's shape."""

from __future__ import annotations

from contextvars import ContextVar

ALGORITHMS = ("im2col", "direct", "winograd", "winograd2")  # winograd2: tiles of 2x2 outputs only

forced: ContextVar[str | None] = ContextVar("algorithm", default=None)

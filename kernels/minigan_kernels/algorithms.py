"""The convolution algorithm that a caller forced, in place of the choice by the layer's shape."""

from __future__ import annotations

from contextvars import ContextVar
from typing import NamedTuple

ALGORITHMS = ("im2col", "direct", "winograd", "winograd2")  # winograd2: tiles of 2x2 outputs only


class ChoicesError(OSError, ValueError):
    """The file of tuned choices cannot be used; the text says why, and the way out."""


class Forced(NamedTuple):
    """An algorithm; `strict` if no other may do what it cannot."""

    algorithm: str | None = None
    strict: bool = False


NOT_FORCED = Forced()
forced: ContextVar[Forced] = ContextVar("algorithm", default=NOT_FORCED)

"""What is known of data before they are read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Outline:
    """The shapes that samples may have, one of them in the end; the numbers of classes and samples.

    `shapes` are (C, H, W); whether a folder's images are grey is known from the last one only.

    >>> mg.data.outline("glyphs") is None  # a known name needs no look
    True
    """

    shapes: tuple[tuple[int, ...], ...]
    classes: int
    samples: int
    tags: int = 1  # channels with a class each
    mapped: bool = False  # whether the samples stay in their file until they are asked for

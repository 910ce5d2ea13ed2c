"""Random numbers for data: one independent, seekable stream for every (seed, index, purpose)."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from ..errors import UserError


class NoSplitError(UserError):
    """The data have no such split: they are training data only, say.

    >>> issubclass(NoSplitError, mg.UserError)
    True
    """


class Purpose(IntEnum):
    """The purpose of a stream: equal seeds give different numbers for different purposes."""

    EPOCHS = 0
    POINTS = 1
    GLYPHS = 2
    FEW = 3
    STACK = 4
    FLIPS = 5
    CROPS = 6
    HELD_OUT = 7


def stream(seed: int, index: int, purpose: Purpose) -> np.random.Generator:
    """The Philox generator that depends on (seed, index, purpose) and on nothing else.

    Seed and index are the two words of Philox's key. The purpose is the highest word of its
    counter, which counting never reaches.

    Raises:
        UserError: if the seed is not in 0 .. 2**64 - 1.
    """
    if not 0 <= seed < 2**64:
        raise UserError(f"The seed {seed} is outside 0 .. 2**64 - 1; give another --seed.")
    key = np.array([seed, index], np.uint64)
    counter = np.array([0, 0, 0, purpose], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def split_index(split: str) -> int:
    """The stream index of "train" (0) or "test" (1), so that the two never share a sample.

    Raises:
        UserError: for any other name.
    """
    check_split(split)
    return ("train", "test").index(split)


def check_split(split: str) -> None:
    """Make sure that a split is "train" or "test".

    Raises:
        UserError: naming the split.
    """
    if split not in ("train", "test"):
        raise UserError(f"There is no split {split!r}; give train or test.")

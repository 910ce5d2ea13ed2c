"""The real images beside samples: as many on every side, since most scores depend on the number."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..data import Dataset
from ..metrics.classifier import FEATURES

FEWEST = FEATURES + 1  # test images that are worth more than a half of the training images


class Sides(NamedTuple):
    """The places of `real` training images that samples are scored beside, (n,), and of the images
    `other` that are scored in the same way for comparison, (n,): test images, or the other half of
    the training images. `other_of` says which, and `data` is the one that they are in. `short` are
    those of which there are no more.
    """

    real: np.ndarray
    other: np.ndarray
    data: Dataset
    other_of: str
    short: str


def sides(train: Dataset, test: Dataset | None, count: int, order: np.ndarray, seed: int) -> Sides:
    """The real images beside `count` samples, or as many as there are for it.

    `order` are places of training images in random order, of which the first are taken. Test images
    are the others if there are any, and not so few that a half of the training images tells more.
    """
    if test is not None and len(test) >= min(count, len(order), FEWEST):
        n = min(count, len(order), len(test))
        short = "samples" if n == count else "test images" if n == len(test) else "training images"
        other = np.random.default_rng(seed).permutation(len(test))
        return Sides(order[:n], other[:n], test, "test images", short)
    n = min(count, len(order) // 2)
    short = "samples" if n == count else "training images in each half"
    half = "the other half of the training images"
    return Sides(order[:n], order[n : 2 * n], train, half, short)

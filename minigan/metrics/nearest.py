"""The nearest training picture of each sample, and whether samples are copies of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..progress import Progress

BLOCK_VALUES = 1 << 23  # of training pictures in memory at once, as float32
NEAR = 0.05  # the share of held-out pictures that are as near as a copy is taken to be

View = Callable[[np.ndarray], np.ndarray]  # from images uint8 to rows (N, D)


class Nearest(NamedTuple):
    """The place of the nearest training picture of each sample, and its distance; both (N,).

    >>> Nearest(np.array([3]), np.array([0.5])).distance
    array([0.5])
    """

    place: np.ndarray
    distance: np.ndarray


def pixels(images: np.ndarray) -> np.ndarray:
    """Images (N, ...) uint8 as rows of float32 in [0, 1].

    >>> pixels(np.full((1, 1, 1, 2), 255, np.uint8))
    array([[1., 1.]], dtype=float32)
    """
    return images.reshape(len(images), -1) / np.float32(255)


def nearest_pictures(
    samples: np.ndarray, train: np.ndarray, view: View = pixels, *, own: np.ndarray | None = None
) -> Nearest:
    """The nearest of all training pictures `train` (M, ...) to each of `samples` (N, ...), uint8.

    Distances are Euclidean between the rows that `view` makes of images: pixels by default, or
    features. Of samples that are training pictures themselves `own` are their places there, and
    their nearest other is found. `train` is read once, block by block, and may be a file in memory;
    the samples and what `view` makes of them are in memory.

    >>> train = np.arange(0, 250, 10, dtype=np.uint8).reshape(25, 1, 1, 1)
    >>> nearest_pictures(np.array([[[[31]]], [[[240]]]], np.uint8), train).place.tolist()
    [3, 24]
    """
    x = view(samples).astype(np.float32, copy=False)
    squares = (x**2).sum(axis=1)[:, None]
    best, index = np.full(len(x), np.inf), np.zeros(len(x), np.int64)
    size = max(1, BLOCK_VALUES // max(train[0].size, len(x)))
    with Progress(0, len(train), name="nearest training pictures", unit="pictures") as progress:
        for start in range(0, len(train), size):
            known = view(train[start : start + size]).astype(np.float32, copy=False)
            found = squares - 2 * x @ known.T + (known**2).sum(axis=1)
            if own is not None:
                mine = np.flatnonzero((own >= start) & (own < start + len(known)))
                found[mine, own[mine] - start] = np.inf
            here = found.argmin(axis=1)
            value = found[np.arange(len(x)), here]
            nearer = value < best
            best[nearer], index[nearer] = value[nearer], start + here[nearer]
            progress.update(min(start + size, len(train)), {})
    # What is left of the difference of two large numbers cannot tell a copy from its like.
    distance = np.empty(len(x))
    for start in range(0, len(x), size):
        some = slice(start, start + size)
        gap = x[some].astype(np.float64) - view(train[index[some]])
        distance[some] = np.sqrt((gap**2).sum(axis=1))
    return Nearest(index, distance)


class Copies(NamedTuple):
    """`share` of the samples are as near to a training picture as the nearest twentieth of real
    pictures is, and `of_real` of these themselves: .05, or more if several are equally near.
    `ratio` is that of the two median distances.

    >>> Copies(share=0.9, of_real=0.05, ratio=0.2).share
    0.9
    """

    share: float
    of_real: float
    ratio: float


def copies(distance: np.ndarray, real: np.ndarray) -> Copies:
    """Whether samples are copies: their distances (N,) from the nearest training picture beside
    those of real pictures that are no training pictures, (M,).

    A generator that is as good as the data has a share of about .05 and a ratio of about 1. Copies
    have a large share and a small ratio. By pixels blurred samples are near without being copies.

    Source: after Meehan et al. 2020, arXiv:2004.05675, who compare the two sets of distances.

    >>> copies(np.array([0.0, 0.0, 0.0, 3.0]), np.arange(1.0, 21.0))
    Copies(share=0.75, of_real=0.05, ratio=0.0)
    """
    near = np.quantile(real, NEAR, method="lower")
    middle, usual = float(np.median(distance)), float(np.median(real))
    ratio = middle / usual if usual > 0 else 1.0 if middle == 0 else np.inf
    return Copies(float((distance <= near).mean()), float((real <= near).mean()), float(ratio))

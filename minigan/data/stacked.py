"""Images whose channels are images themselves: few classes become many modes."""

from __future__ import annotations

from itertools import product

import numpy as np

from ..errors import UserError
from .dataset import Dataset
from .images import middle
from .memory import check_memory
from .outline import Outline
from .streams import Purpose, split_index, stream

LARGEST = 3  # channels that a picture can show


def outline(single: Outline, count: int) -> Outline:
    """What `stack` would make of data with such an outline.

    Raises:
        UserError: unless these may be images of one channel, and `count` is from 1 to 3.
    """
    if count == 1:
        return single
    grey = [shape for shape in single.shapes if shape[0] == 1]
    _check(count, grey[0] if grey else single.shapes[0], "these data")
    shapes = tuple((count, *shape[1:]) for shape in grey)
    return Outline(shapes, single.classes**count, single.samples, tags=count)


def _check(count: int, shape: tuple[int, ...], name: str) -> None:
    if not 1 <= count <= LARGEST:
        raise UserError(f"--stack must be from 1 to {LARGEST}, the channels of a picture")
    if len(shape) != 3 or shape[0] != 1:
        raise UserError(
            f"--stack wants images of one channel, but those of {name} are of shape "
            f"{shape}; leave it out, or choose others with --data"
        )


def stack(dataset: Dataset, count: int, *, seed: int = 0, split: str = "train") -> Dataset:
    """Images with `count` images of `dataset` in their channels, independent of each other.

    x is (N, count, H, W) uint8, y (N,) int64. The K^count classes are the tuples of the K classes
    of `dataset`; the class of the last channel changes fastest. The first channel has the images of
    `dataset` in their order, each other one in another order.

    Source: Metz et al. 2017 (Unrolled GAN), arXiv:1611.02163, section 3.3.1: the thousand modes of
    stacked MNIST are those of three channels.

    Raises:
        UserError: unless these are images of one channel, and `count` is from 1 to 3.
    """
    if count == 1:
        return dataset
    _check(count, dataset.shape, dataset.name)
    rng = stream(seed, split_index(split), Purpose.STACK)
    n = len(dataset)
    whole = dataset.x if dataset.wide is None else dataset.wide
    check_memory(whole.nbytes * count, f"{n:,} stacked images")
    places = np.stack([np.arange(n), *(rng.permutation(n) for _ in range(count - 1))])
    y, classes = None, dataset.classes
    if dataset.y is not None:
        y = np.ravel_multi_index(tuple(dataset.y[places]), (len(classes),) * count)
    stacked = np.concatenate([whole[p] for p in places], axis=1)
    return Dataset(
        f"{dataset.name}-stack{count}",
        stacked if dataset.wide is None else middle(stacked, dataset.shape[1]),
        y,
        tuple(",".join(names) for names in product(classes, repeat=count)),
        parts=classes,
        flip=dataset.flip,
        wide=None if dataset.wide is None else stacked,
    )


def first_channel(stacked: Dataset) -> Dataset:
    """The data set that was stacked, without its factors."""
    y = None if stacked.y is None else labels_of_parts(stacked, stacked.y)[:, 0]
    name = stacked.name.rpartition("-stack")[0]
    return Dataset(name, stacked.x[:, :1], y, stacked.parts)


def labels_of_parts(stacked: Dataset, y: np.ndarray) -> np.ndarray:
    """The class of each channel, (N, channels), from classes y (N,) of a stacked data set."""
    each = (len(stacked.parts),) * stacked.shape[0]
    return np.stack(np.unravel_index(y, each), axis=1)

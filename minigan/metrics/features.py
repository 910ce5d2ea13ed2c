"""Networks that make features of images, under the names that stand in the scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import nn
from ..data import Dataset
from ..errors import UserError
from ..random import Generator
from ..tensor import Tensor, no_grad
from . import classifier as judges
from .classifier import FEATURES, Classifier, Network, Say
from .rotation import rotation_classifier

SEED = 0  # of the random convolutions
SEEN, SEEN_VALUES = 1000, 1 << 23  # pictures that set their scale, and their values: at most


@dataclass(frozen=True, eq=False)
class Features:
    """Features (N, 128) of images (N, C, H, W) uint8, their name, and what identifies them.

    >>> mean = Features("mean", lambda x: x.mean(axis=(2, 3)), {})
    >>> mean(np.full((2, 3, 4, 4), 7, np.uint8)).shape
    (2, 3)
    """

    name: str
    of: Callable[[np.ndarray], np.ndarray]
    facts: dict[str, Any]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return self.of(images)


def features_of_classifier(judge: Classifier) -> Features:
    """The features by which a classifier tells classes apart.

    >>> train = mg.data.load("glyphs", size=8)[:40]
    >>> found = features_of_classifier(Classifier(
    ...     Network(train.shape, 10, rng=rng), "glyphs", 10, 0.1, 40, "", ""))
    >>> found.name, found(train.x).shape
    ('classifier of glyphs, 128 features', (40, 128))
    """
    facts = {"name": judge.name, "accuracy": judge.accuracy, "digest": judge.digest}
    return Features(judge.name, lambda images: judge(images)[1], facts)


def learned_features(train: Dataset, test: Dataset | None, *, say: Say) -> Features:
    """The features that a network learns from the data: to tell classes apart if there are labels
    of two or more, and else to tell by how much a picture was turned.

    Raises:
        UserError: if the data are not images of at least 4x4 pixels, three or more.
    """
    if train.y is not None and len(train.classes) > 1 and not train.parts:
        return features_of_classifier(judges.classifier(train, test, say=say))
    judge = rotation_classifier(train, say=say)
    return Features(judge.name, judge, judge.facts())


def random_convolutions(train: Dataset, seed: int = SEED) -> Features:
    """The same network with the weights that `seed` gives it, which learned nothing: the control.

    A score that says the same by these features says nothing of what is on the pictures. Only the
    scale of what its layers give is set, by at most 1,000 training pictures.

    Raises:
        UserError: if the data are not images of at least 4x4 pixels, three or more.

    >>> found = random_convolutions(mg.data.load("glyphs", size=8)[:40])
    >>> found.name
    'random convolutions of seed 0, 128 features'
    """
    if not train.is_image or min(train.shape[1:]) < 4 or len(train) < 3:
        raise UserError(
            f"{train.name} has no features of random convolutions, which need three images or more "
            f"of at least 4 pixels on a side, not {len(train)} of {train.shape}"
        )
    network = Network(train.shape, 2, rng=Generator(seed, "random convolutions"))
    count = max(2, min(SEEN, SEEN_VALUES // train.x[0].size))
    places = np.sort(np.random.default_rng(seed).permutation(len(train))[:count])
    low, high = judges.RANGE
    levels = np.linspace(low, high, 256).astype(np.float32)
    norms = [m for m in network.modules().values() if isinstance(m, nn.BatchNorm)]
    for norm in norms:
        norm.momentum = 1.0  # the moments of these pictures, not a running mean
    with no_grad():
        network.trunk(Tensor(levels[train.x[places]]))
    network.eval()
    name = f"random convolutions of seed {seed}, {FEATURES} features"
    facts = {"name": name, "seed": seed, "version": judges.version(train.shape)}
    return Features(name, lambda images: judges.read(network, images)[1], facts)

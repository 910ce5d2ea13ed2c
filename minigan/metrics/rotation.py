"""Features of pictures without labels: of a network that tells by how much a picture is turned.

To tell it, it must know what is on the picture, and which side of that is up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data import Batches, Dataset
from ..errors import UserError
from ..random import Generator
from . import classifier as judges
from .classifier import FEATURES, Network, Say

PART = 0.5  # of the steps that a classifier is trained for: a turn is soon seen
VERSION = 1  # of the task; the network has its own


@dataclass(frozen=True, eq=False)
class RotationClassifier:
    """A network that tells pictures apart by their rotation, and its accuracy.

    `accuracy` is the fraction of correct answers on `tested` turned pictures that it was not
    trained on. `digest` identifies the data and the training.
    """

    network: Network
    data: str
    accuracy: float
    tested: int
    digest: str

    @property
    def name(self) -> str:
        return f"rotation classifier of {self.data}, {FEATURES} features"

    def facts(self) -> dict[str, object]:
        """What identifies these features, as plain JSON values."""
        fields = ("name", "accuracy", "tested", "digest")
        return {name: getattr(self, name) for name in fields}

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Features (N, 128) of images (N, C, H, W) uint8."""
        return judges.read(self.network, images)[1]


def rotation_classifier(train: Dataset, *, say: Say) -> RotationClassifier:
    """The rotation classifier of a data set, which needs no labels: from the user's cache, or
    trained now and kept there.

    Each picture is turned by 0, 90, 180 or 270 degrees at random, and the network is to tell which;
    pictures that are no squares are turned by 0 or 180. It is tested on every tenth picture, which
    is left out of its training. The same data give the same network.

    Source: Gidaris et al. 2018, arXiv:1803.07728.

    Raises:
        UserError: if the data are not images of at least 4x4 pixels, three or more.
    """
    if not train.is_image or min(train.shape[1:]) < 4 or len(train) < 3:
        raise UserError(
            f"{train.name} cannot train a rotation classifier, which needs three images or more of "
            f"at least 4 pixels on a side, not {len(train)} of {train.shape}"
        )
    turns = 4 if train.shape[1] == train.shape[2] else 2
    network = Network(train.shape, turns, rng=Generator(0, "rotation classifier"))
    digest = f"{judges.version(train.shape)}{VERSION}{train.digest()}"[:16]

    def task(batches: Batches, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
        y = rng.integers((batches.batch_size,), turns)
        return turned(judges.varied(next(batches), rng), y, turns), y

    def learn() -> tuple[float, int]:
        known, unseen = judges.held_out(train)
        judges._train(network, known, task, PART)
        right = [
            judges.read(network, turned(unseen.x, np.full(len(unseen), k), turns))[0].argmax(axis=1)
            == k
            for k in range(turns)
        ]
        return float(np.mean(right)), turns * len(unseen)

    stem, what = f"{train.name}-rotation-{digest}", f"rotation classifier of {train.name}"
    accuracy, tested = judges.trained(
        network, stem, what, "every tenth training picture, held out and turned", learn, say
    )
    return RotationClassifier(network, train.name, accuracy, tested, digest)


def turned(x: np.ndarray, y: np.ndarray, turns: int = 4) -> np.ndarray:
    """Images (N, C, H, W), each turned by its number y (N,) of parts of a turn, of which there are
    `turns` in a whole one.

    >>> turned(np.array([[[[1, 2], [3, 4]]]]), np.array([2]))[0, 0].tolist()
    [[4, 3], [2, 1]]
    """
    found = x.copy()
    for k in range(1, turns):
        found[y == k] = np.rot90(x[y == k], k * 4 // turns, axes=(2, 3))
    return found

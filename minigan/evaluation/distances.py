"""The scores that compare the features of samples with those of real images, and the nearest
training pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..data import Dataset
from ..errors import UserError
from ..metrics import density_coverage as real_balls
from ..metrics import kernel_distance as kernels
from ..metrics import precision_recall as balls
from ..metrics.classifier import FEATURES, Classifier
from ..metrics.density_coverage import density_coverage
from ..metrics.features import (
    Features,
    features_of_classifier,
    learned_features,
    random_convolutions,
)
from ..metrics.frechet import frechet_distance
from ..metrics.kernel_distance import kernel_distance
from ..metrics.nearest import copies, nearest_pictures, pixels
from ..metrics.precision_recall import precision_recall
from ..metrics.score import Evaluation, Score
from .sides import FEWEST, Sides

MANY = 10_000  # images from which on the Fréchet distance is as good as the kernel distance
COPIED, COPIED_VALUES = 1000, 1 << 24  # samples whose nearest pictures are found, and their values
BLOCK = 500  # images that are read at once
SHOWN = 8  # of them in a column of the picture

Say = Callable[[str], None]
Of = Callable[[np.ndarray, np.ndarray], tuple[float, ...]]  # real images' features, samples'


def _frechet(real: np.ndarray, fake: np.ndarray) -> tuple[float, ...]:
    return (frechet_distance(real, fake),)


class Kind(NamedTuple):
    """A score of features: whether higher is better, its name, and where it stands in an answer.

    It wants `fewest` images on each side.
    """

    higher_is_better: bool
    title: str
    of: Of
    place: int
    fewest: int

    def __call__(self, real: np.ndarray, fake: np.ndarray) -> float:
        return self.of(real, fake)[self.place]


KINDS = {
    "kernel": Kind(False, "kernel distance", kernel_distance, 0, kernels.FEWEST),
    "frechet": Kind(False, "Fréchet distance", _frechet, 0, FEATURES + 1),
    "precision": Kind(True, "precision", precision_recall, 0, balls.K + 1),
    "recall": Kind(True, "recall", precision_recall, 1, balls.K + 1),
    "density": Kind(True, "density", density_coverage, 0, real_balls.K + 1),
    "coverage": Kind(True, "coverage", density_coverage, 1, real_balls.K + 1),
}


def compared(
    train: Dataset,
    test: Dataset | None,
    beside: Sides,
    fake: np.ndarray,
    *,
    judge: Classifier | None,
    say: Say,
) -> Evaluation:
    """All scores that compare samples `fake` (N, C, H, W) uint8 with real images.

    They go by the features of the `judge`, or, without labels, of a network that is trained here
    once; then by those of random convolutions. The nearest training pictures come last.
    """
    found, learned, n = Evaluation(), None, len(beside.real)
    if test is not None and beside.data is not test:
        found.left_out.append(
            f"test images beside the samples: there are {len(test):,}, and {FEWEST} are the fewest"
        )
    try:
        if judge is None:
            learned = learned_features(train, test, say=say)
        else:
            learned = features_of_classifier(judge)
        both = {"": learned, "random_": random_convolutions(train)}
        say("comparing features")
        for prefix, features in both.items():
            found.features.append(features.facts)
            real, other = (
                _by_blocks(features, x, places)
                for x, places in ((train.x, beside.real), (beside.data.x, beside.other))
            )
            distances(found, features, [real, features(fake[:n]), other], beside, prefix)
    except UserError as why:  # the pictures are too small, or too few
        found.left_out.append(f"all that compares features: {why}")
    if n:
        say("looking for the nearest training pictures")
        nearest(found, learned, fake, train, beside)
    return found


def distances(
    found: Evaluation,
    features: Features,
    sets: Sequence[np.ndarray],
    beside: Sides,
    prefix: str,
) -> None:
    """The scores by some features, of which `sets` are those of real images, of samples, and of
    other real images, each (N, D).

    Below 10,000 images the kernel distance is the first: the Fréchet distance has a large bias
    there.
    """
    a, b, c = sets
    n = len(a)
    of: dict[str, Any] = {"baseline_of": beside.other_of, "real": n, "fake": n}
    of["note"] = f"{n:,} images on each side"
    keys = list(KINDS) if n < MANY else ["frechet", *(key for key in KINDS if key != "frechet")]
    answers: dict[Of, list[tuple[float, ...]]] = {}  # of the samples, and of the other real images
    for key in keys:
        kind = KINDS[key]
        name = f"{kind.title} ({features.name})"
        if n < kind.fewest:
            found.left_out.append(
                f"{name}: it wants more than {kind.fewest - 1} images on each side, and there are "
                f"{n:,} {beside.short}{'; raise --count' if beside.short == 'samples' else ''}"
            )
            continue
        if kind.of not in answers:
            answers[kind.of] = [kind.of(a, b), kind.of(a, c)]
        mine, real_ones = answers[kind.of]
        error = mine[1] if key == "kernel" else None
        value, baseline = mine[kind.place], real_ones[kind.place]
        found.scores.append(Score(prefix + key, name, value, error, baseline, **of))


def _by_blocks(features: Features, x: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The features of the images of x at these places, which need not fit in memory together."""
    starts = range(0, len(places), BLOCK)
    return np.concatenate([features(x[places[start : start + BLOCK]]) for start in starts])


def nearest(
    found: Evaluation,
    features: Features | None,
    fake: np.ndarray,
    train: Dataset,
    beside: Sides,
) -> None:
    """Whether samples are copies of training pictures: by features, if there are some, and by
    pixels; and some of them beside the nearest training pictures.

    Real pictures are compared in the same way: test pictures, or training pictures with the nearest
    other one.
    """
    n = min(len(beside.real), COPIED, max(1, COPIED_VALUES // train.x[0].size))
    unseen = beside.data is not train
    places = beside.other[:n]
    both = np.concatenate([fake[:n], beside.data.x[places]])
    own = np.concatenate([np.full(n, -1), np.full(n, -1) if unseen else places])
    views = {"pixels": ("pixels", pixels)}
    if features is not None:
        views = {"features": (features.name, features)} | views
    of: dict[str, Any] = {"real": n, "fake": n}
    of["baseline_of"] = "test images" if unseen else "training images, to the nearest other one"
    beside_samples, distance = [], np.zeros(n)
    for key, (name, view) in views.items():
        near = nearest_pictures(both, train.x, view, own=own)
        share, of_real, ratio = copies(near.distance[:n], near.distance[n:])
        title = f"share of copies: as near to a training picture as few real ones ({name})"
        found.scores.append(Score(f"copies_{key}", title, share, None, of_real, **of))
        title = f"median distance from the nearest training picture, of that of real ones ({name})"
        if np.isfinite(ratio):
            found.scores.append(Score(f"nearest_{key}", title, ratio, None, 1.0, **of))
        else:
            found.left_out.append(f"{title}: half of the real ones repeat a training picture")
        beside_samples.append(train.x[near.place[:n]])
        distance = near.distance[:n] if len(beside_samples) == 1 else distance
    rest = np.arange(min(SHOWN, n), n)
    closest = rest[np.argsort(distance[rest], kind="stable")[:SHOWN]]
    shown = np.concatenate([np.arange(min(SHOWN, n)), closest])
    found.nearest = np.stack([x[shown] for x in (fake, *beside_samples)], axis=1)
    found.nearest_by = tuple(views)

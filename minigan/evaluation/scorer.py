"""One score for the checkpoints of a run, cheap enough to be computed at each of them.

The scores are those of `evaluate`, of fewer samples. They compare the checkpoints of a run with
each other, and with nothing else. All are of the same latent vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..data import Dataset
from ..data.stacked import first_channel, labels_of_parts
from ..errors import RunError, UserError
from ..metrics import modes, scores
from ..metrics.classifier import FEATURES, Classifier, classifier
from ..random import Generator
from ..training.keeper import Scorer
from ..training.recipe import Recipe
from ..training.state import State
from .truth import truth

COUNT = 2000  # images that are drawn, and real ones beside them; of points 2,500
STACKED = 5000  # stacked images, of which a thousand modes want more

Say = Callable[[str], None]
HIGHER, LOWER = True, False  # which values are better


def scorer(name: str, recipe: Recipe, data: dict[str, Any], say: Say) -> Scorer:
    """The score called `name`, for a run of `recipe` on `data`, the facts of its configuration.

    Of points of a known density: modes, high_quality, reverse_kl. Of labelled images, by the
    classifier that `evaluate` has too, which may be trained first: frechet, inception, and if the
    recipe knows classes agreement. Of stacked images: modes, modes_well, reverse_kl, agreement.

    Raises:
        UserError: if there is no such score of this run; the message has those that there are.
    """
    kinds = _kinds(recipe, data, say)
    if name not in kinds:
        what = f"of a run of {type(recipe).__name__} on {data['name']}"
        if not kinds:
            raise UserError(
                f"no score can choose the best checkpoint {what}, since its data have neither "
                "labels nor a known density; leave out --best"
            )
        raise UserError(f"--best {name} is no score {what}; there are {', '.join(kinds)}")
    higher, prepare = kinds[name]
    return Scorer(name, higher, prepare())


Kinds = dict[str, tuple[bool, Callable[[], Callable[[State], float]]]]


def _kinds(recipe: Recipe, data: dict[str, Any], say: Say) -> Kinds:
    """The scores of a run by name: whether higher is better, and what prepares the scorer."""
    if len(data["shape"]) == 1:
        return _of_points(data, say)
    if not data["classes"]:
        return {}
    labelled = recipe.with_labels(recipe.latent(Generator(0), 1), np.zeros(1, np.int64)) is not None
    kinds = _of_stacked(data, say) if data["stack"] > 1 else _of_images(data, say)
    return {name: kind for name, kind in kinds.items() if labelled or name != "agreement"}


def _of_points(data: dict[str, Any], say: Say) -> Kinds:
    train, _ = truth(data, say)
    mixture = train.mixture
    if mixture is None:
        return {}

    def of(field: str) -> Callable[[State], float]:
        return lambda s: getattr(modes.mode_scores(_drawn(s, modes.POINTS), mixture), field)

    return {
        "modes": (HIGHER, lambda: of("covered")),
        "high_quality": (HIGHER, lambda: of("high_quality")),
        "reverse_kl": (LOWER, lambda: of("reverse_kl")),
    }


def _of_images(data: dict[str, Any], say: Say) -> Kinds:
    def frechet() -> Callable[[State], float]:
        judge, train = _judge(data, say)
        some = np.random.default_rng(0).permutation(len(train))[:COUNT]
        real = judge(train.x[some])[1]
        if len(real) <= FEATURES:
            raise UserError(
                f"--best frechet wants more than {FEATURES} images, and {train.name} has "
                f"{len(real)}; choose by inception"
            )
        return lambda s: scores.frechet_distance(real, judge(_images(s, COUNT))[1])

    def inception() -> Callable[[State], float]:
        judge, _ = _judge(data, say)
        return lambda s: scores.inception_score(judge(_images(s, COUNT))[0])[0]

    def agreement() -> Callable[[State], float]:
        judge, train = _judge(data, say)
        asked = np.arange(COUNT) % len(train.classes)
        return lambda s: float((judge.classify(_images(s, COUNT, asked)) == asked).mean())

    return {
        "frechet": (LOWER, frechet),
        "inception": (HIGHER, inception),
        "agreement": (HIGHER, agreement),
    }


def _of_stacked(data: dict[str, Any], say: Say) -> Kinds:
    def of(field: str) -> Callable[[State], float]:
        judge, _ = _judge(data, say)

        def score(state: State) -> float:
            seen = _by_channel(judge, _images(state, STACKED))
            return float(getattr(modes.stacked_modes(seen, judge.classes), field))

        return score

    def agreement() -> Callable[[State], float]:
        judge, train = _judge(data, say)
        asked = np.arange(STACKED) % len(train.classes)
        parts = labels_of_parts(train, asked)

        def score(state: State) -> float:
            seen = _by_channel(judge, _images(state, STACKED, asked))
            return float((seen == parts).all(axis=1).mean())

        return score

    return {
        "modes": (HIGHER, lambda: of("covered")),
        "modes_well": (HIGHER, lambda: of("well_covered")),
        "reverse_kl": (LOWER, lambda: of("reverse_kl")),
        "agreement": (HIGHER, agreement),
    }


def _judge(data: dict[str, Any], say: Say) -> tuple[Classifier, Dataset]:
    """The classifier of a run's data, or of a channel of them, and the data."""
    train, test = truth(data, say)
    say(f"{train.name}: looking for its classifier")
    if not train.parts:
        return classifier(train, test, say=say), train
    single = first_channel(train), None if test is None else first_channel(test)
    return classifier(*single, say=say), train


def _drawn(state: State, count: int, labels: np.ndarray | None = None) -> np.ndarray:
    """Samples of the same `count` latent vectors at every call, of the classes `labels` if given.

    Raises:
        RunError: if they are not finite.
    """
    z: Any = state.recipe.latent(Generator(0, "best"), count)
    if labels is not None:
        z = state.recipe.with_labels(z, labels)
    samples = state.samples(z)
    if not np.isfinite(samples).all():
        raise RunError(f"the samples of G are not finite after step {state.step}")
    return samples


def _images(state: State, count: int, labels: np.ndarray | None = None) -> np.ndarray:
    """Such samples as uint8, as they would be in a file."""
    bounds = state.recipe.output_range(state.batches.dataset.shape)
    assert bounds is not None
    low, high = bounds
    unit = (_drawn(state, count, labels) - low) / (high - low)
    return np.rint(np.clip(unit, 0, 1) * 255).astype(np.uint8)


def _by_channel(judge: Classifier, images: np.ndarray) -> np.ndarray:
    """The class that the judge sees in each channel, (N, channels)."""
    return np.stack([judge.classify(images[:, c : c + 1]) for c in range(images.shape[1])], axis=1)

"""One score for the checkpoints of a run, cheap enough to be computed at each of them.

The scores are those of `evaluate`, of fewer samples. They compare the checkpoints of a run with
each other, and with nothing else. All are of the same latent vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..data import Dataset
from ..data.stacked import first_channel, labels_of_parts
from ..errors import RunError, UserError
from ..metrics import modes, scores
from ..metrics.classifier import Classifier, classifier
from ..metrics.features import learned_features
from ..random import Generator
from ..training.keeper import Scorer
from ..training.recipe import Recipe
from ..training.state import State
from .distances import KINDS, Kind
from .sides import sides
from .truth import truth

CHUNK = 250  # samples that are drawn at once
COUNT = 2000  # images that are drawn, and real ones beside them; of points 2,500
STACKED = 5000  # stacked images, of which a thousand modes want more

Say = Callable[[str], None]
HIGHER, LOWER = True, False  # which values are better


class Score(NamedTuple):
    """What prepares a score of a run: its name and its values on real images are known after."""

    of: Callable[[State], float]
    title: str = ""
    baseline: float | None = None
    baseline_of: str = ""


def scorer(name: str | None, recipe: Recipe, data: dict[str, Any], say: Say) -> Scorer:
    """The score called `name`, for a run of `recipe` on `data`, the facts of its configuration; if
    it is None, the first of those that there are.

    Of images: kernel, frechet, precision, recall, density and coverage, by the features that
    `evaluate` has too, whose network may be trained first. If they have labels also inception, and
    if the recipe knows classes agreement. Of stacked images: modes, modes_well, reverse_kl,
    agreement. Of points of a known density: modes, high_quality, reverse_kl.

    Raises:
        UserError: if there is no such score of this run; the message has those that there are.
    """
    kinds = _kinds(recipe, data, say)
    name = next(iter(kinds), "") if name is None else name
    if name not in kinds:
        what = f"of a run of {type(recipe).__name__} on {data['name']}"
        if not kinds:
            raise UserError(
                f"no score can choose the best checkpoint {what}, since its data have no known "
                "density; leave out --best and --score-every"
            )
        raise UserError(f"--best {name} is no score {what}; there are {', '.join(kinds)}")
    higher, prepare = kinds[name]
    return Scorer(name, higher, *prepare())


Kinds = dict[str, tuple[bool, Callable[[], Score]]]


def _kinds(recipe: Recipe, data: dict[str, Any], say: Say) -> Kinds:
    """The scores of a run by name: whether higher is better, and what prepares the scorer."""
    if len(data["shape"]) == 1:
        return _of_points(data, say)
    labelled = len(data["classes"]) > 1
    if labelled and data["stack"] > 1:
        kinds = _of_stacked(data, say)
    else:
        kinds = _of_images(data, say) | (_of_labelled(data, say) if labelled else {})
    if recipe.with_labels(recipe.latent(Generator(0), 1), np.zeros(1, np.int64)) is None:
        kinds.pop("agreement", None)
    return kinds


def _of_points(data: dict[str, Any], say: Say) -> Kinds:
    train, _ = truth(data, say)
    mixture = train.mixture
    if mixture is None:
        return {}

    def of(field: str) -> Score:
        return Score(
            lambda s: getattr(
                modes.mode_scores(_drawn(s, _latent(s, modes.POINTS)), mixture), field
            )
        )

    return {
        "modes": (HIGHER, lambda: of("covered")),
        "high_quality": (HIGHER, lambda: of("high_quality")),
        "reverse_kl": (LOWER, lambda: of("reverse_kl")),
    }


def _of_images(data: dict[str, Any], say: Say) -> Kinds:
    """The scores that compare features of samples with those of as many real images."""

    def prepare(key: str, kind: Kind) -> Score:
        train, test = truth(data, say)
        order = np.random.default_rng(0).permutation(len(train))
        beside = sides(train, test, COUNT, order, 0)
        n = len(beside.real)
        if n < kind.fewest:
            raise UserError(
                f"--best {key} wants {kind.fewest} images or more on each side, and there are {n} "
                f"{beside.short} of {train.name}; choose another score, or give more images"
            )
        say(f"{train.name}: looking for the network that makes its features")
        features = learned_features(train, test, say=say)
        real = features(train.x[beside.real])
        baseline = kind(real, features(beside.data.x[beside.other]))
        title = f"{kind.title} of {n:,} samples ({features.name})"
        return Score(
            lambda s: kind(real, features(_images(s, n))), title, baseline, beside.other_of
        )

    return {
        name: (kind.higher_is_better, partial(prepare, name, kind)) for name, kind in KINDS.items()
    }


def _of_labelled(data: dict[str, Any], say: Say) -> Kinds:
    """The scores by what a classifier sees in samples."""

    def inception() -> Score:
        judge, _ = _judge(data, say)
        title = f"inception score of {COUNT:,} samples ({judge.name})"
        return Score(lambda s: scores.inception_score(judge(_images(s, COUNT))[0])[0], title)

    def agreement() -> Score:
        judge, train = _judge(data, say)
        asked = np.arange(COUNT) % len(train.classes)

        def score(state: State) -> float:
            return float((judge.classify(_images(state, COUNT, asked)) == asked).mean())

        title = f"agreement with the asked class ({judge.name})"
        return Score(score, title, judge.accuracy, f"the classifier on {judge.tested_on}")

    return {"inception": (HIGHER, inception), "agreement": (HIGHER, agreement)}


def _of_stacked(data: dict[str, Any], say: Say) -> Kinds:
    def of(field: str) -> Score:
        judge, _ = _judge(data, say)

        def score(state: State) -> float:
            seen = _by_channel(judge, _images(state, STACKED))
            return float(getattr(modes.stacked_modes(seen, judge.classes), field))

        return Score(score)

    def agreement() -> Score:
        judge, train = _judge(data, say)
        asked = np.arange(STACKED) % len(train.classes)
        parts = labels_of_parts(train, asked)

        def score(state: State) -> float:
            seen = _by_channel(judge, _images(state, STACKED, asked))
            return float((seen == parts).all(axis=1).mean())

        return Score(score)

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


def _latent(state: State, count: int, labels: np.ndarray | None = None) -> np.ndarray:
    """The same `count` latent vectors at every call, of the classes `labels` if given."""
    z: np.ndarray | None = state.recipe.latent(Generator(0, "best"), count)
    z = z if labels is None else state.recipe.with_labels(z, labels)
    assert z is not None  # only of recipes that know classes agreement is a score
    return z


def _drawn(state: State, z: np.ndarray) -> np.ndarray:
    """Samples of latent vectors.

    Raises:
        RunError: if they are not finite.
    """
    samples = state.samples(z)
    if not np.isfinite(samples).all():
        raise RunError(f"the samples of G are not finite after step {state.step}")
    return samples


def _images(state: State, count: int, labels: np.ndarray | None = None) -> np.ndarray:
    """Samples of such latent vectors as uint8, as they would be in a file."""
    bounds = state.recipe.output_range(state.batches.dataset.shape)
    assert bounds is not None
    low, high = bounds
    z, parts = _latent(state, count, labels), []
    for start in range(0, count, CHUNK):
        unit = (_drawn(state, z[start : start + CHUNK]) - low) / (high - low)
        parts.append(np.rint(np.clip(unit, 0, 1) * 255).astype(np.uint8))
    return np.concatenate(parts)


def _by_channel(judge: Classifier, images: np.ndarray) -> np.ndarray:
    """The class that the judge sees in each channel, (N, channels)."""
    return np.stack([judge.classify(images[:, c : c + 1]) for c in range(images.shape[1])], axis=1)

"""`minigan evaluate`, on recipes whose scores are known because they cheat in known ways."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

from minigan import gans, nn
from minigan.data import Dataset
from minigan.data.glyphs import glyphs
from minigan.errors import RunError
from minigan.evaluation import distances, evaluate
from minigan.evaluation.sides import sides
from minigan.metrics import classifier as judges
from minigan.metrics import pca
from minigan.metrics.course import course
from minigan.metrics.score import Score
from minigan.metrics.spectral import spectral
from minigan.nn import SpectralNorm
from minigan.optim import Optimizer
from minigan.random import Generator
from minigan.tensor import Array, Tensor
from minigan.training.recipe import Feed, Players, Recipe, Shape, Update
from minigan.training.state import State

KEYS = ("kernel", "frechet", "precision", "recall", "density", "coverage")
COMPARED = {f"{of}{key}" for of in ("", "random_") for key in KEYS} | {
    f"{what}_{by}" for what in ("copies", "nearest") for by in ("features", "pixels")
}
TRAIN, TEST = glyphs(size=16, count=2000), glyphs(size=16, count=400, split="test")
HERE = sys.modules[__name__]
PLACE = {image.tobytes(): (d, i) for d in (TRAIN, TEST) for i, image in enumerate(d.x)}
BANK = glyphs(size=16, count=400, seed=9)  # what the cheats draw: real, and seen by nobody


@dataclass(frozen=True)
class Cheat(Recipe):
    """Draws and reads from a memory: z is a place in it, and the asked class."""

    dark: bool = False  # in [0, 1], not in [-1, 1]

    def output_range(self, shape: Shape) -> tuple[float, float]:
        return (0.0, 1.0) if self.dark else (-1.0, 1.0)

    def players(self, rng: Generator, shape: Shape) -> Players:
        return {"G": nn.Flatten()}

    def optimizers(self, players: Players) -> dict[str, Optimizer]:
        return {}

    def round(self, players: Players, batches: Feed, rng: Generator, step: int) -> Iterator[Update]:
        yield from ()

    def latent(self, rng: Generator, n: int) -> np.ndarray:
        places = (rng.integers(1, len(BANK)) + np.arange(n)) % len(BANK)
        return places[:, None].astype(np.float32)

    def generate(self, players: Players, z: Array) -> Tensor:
        return Tensor(self.scaled(BANK.x[z[:, 0].astype(int)]))

    def scaled(self, x: np.ndarray) -> np.ndarray:
        low, high = self.output_range(x.shape[1:])
        return (low + x * np.float64((high - low) / 255)).astype(np.float32)


class Tiny(Cheat):
    """Makes pictures of 3 x 3 pixels."""

    def generate(self, players: Players, z: Array) -> Tensor:
        return Tensor(np.zeros((len(z), 1, 3, 3), np.float32))


class Conditional(Cheat):
    """Gives what is asked for, but a 7 for every 1."""

    def with_labels(self, z: Array, labels: Array) -> Array:
        assert BANK.y is not None
        first = np.array([np.flatnonzero(BANK.y == k)[0] for k in range(10)])
        return first[np.where(labels == 1, 7, labels)][:, None].astype(np.float32)


class Reader(Cheat):
    """Knows the images by heart: their class but for 2 of 10, their code, their factors."""

    def known(self, x: Array, what: str) -> np.ndarray:
        found = [PLACE[image.tobytes()] for image in np.rint((x + 1) * 127.5).astype(np.uint8)]
        return np.array([(d.y if what == "y" else d.factors[what])[i] for d, i in found])

    def classify(self, players: Players, x: Array) -> Array:
        y = self.known(x, "y")
        return np.eye(10, dtype=np.float32)[np.where(y >= 8, 0, y)]

    def codes(self, players: Players, x: Array) -> Array:
        noise = np.sin(1e3 * x.sum(axis=(1, 2, 3)))
        y = self.known(x, "y")
        return np.stack(
            [-self.known(x, "slant"), (y + 3) % 10, noise, np.exp(self.known(x, "rotation"))],
            axis=1,
        )


class Collapsed(Cheat):
    """Reads the same code everywhere, but for one that turns up in test images alone."""

    def codes(self, players: Players, x: Array) -> Array:
        place = [PLACE[image.tobytes()] for image in np.rint((x + 1) * 127.5).astype(np.uint8)]
        return np.array([[2.0 + (d is TEST and i < 10)] for d, i in place])


class Halves(Cheat):
    """Encodes the upper half of an image, and reconstructs the lower half as black."""

    def encode(self, players: Players, x: Array) -> Array:
        return x[:, :, :8].reshape(len(x), -1)

    def reconstruct(self, players: Players, x: Array) -> Array:
        return np.concatenate([x[:, :, :8], np.full_like(x[:, :, 8:], -1)], axis=2)


class Mirror(Cheat):
    """Reconstructs an image as its mirror image, and encodes nothing, as BEGAN does."""

    def latent(self, rng: Generator, n: int) -> np.ndarray:
        return super().latent(rng, n).repeat(7, axis=1)

    def reconstruct(self, players: Players, x: Array) -> Array:
        return x[:, :, :, ::-1].copy()


class Places(Cheat):
    """Encodes an image as the place of its like in the memory."""

    def encode(self, players: Players, x: Array) -> Array:
        return np.full((len(x), 1), 5, np.float32)


class Broken(Cheat):
    """Makes what is no number."""

    def generate(self, players: Players, z: Array) -> Tensor:
        return Tensor(np.full((len(z), *TRAIN.shape), np.nan, np.float32))


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def quick(classifiers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that these tests share, and a training that is over soon."""
    monkeypatch.setattr(judges, "user_cache", lambda: classifiers)
    monkeypatch.setattr(judges, "STEPS", 50)


def scored(
    recipe: Recipe, train: Dataset = TRAIN, test: Dataset | None = TEST, **options: Any
) -> tuple[dict[str, Score], list[str]]:
    found = evaluate(State.fresh(recipe, train, seed=0), train, test, **{"count": 400} | options)
    json.dumps(found.facts())
    assert len({s.key for s in found.scores}) == len(found.scores)
    return {score.key: score for score in found.scores}, found.left_out


def test_real_images_score_as_real_images_do() -> None:
    found, _ = scored(Cheat())
    assert set(found) == {"parzen", "inception", *COMPARED}
    assert next(iter(found)) == "kernel"  # the headline, below 10,000 images
    for key, score in found.items():
        assert score.baseline is not None
        if "kernel" in key:
            assert abs(score.value - score.baseline) < 6 * score.error
        elif "copies" in key:
            assert score.value == pytest.approx(score.baseline, abs=0.06)
        else:
            assert score.value == pytest.approx(score.baseline, rel=0.35)
    assert found["frechet"].name == "Fréchet distance (classifier of glyphs, 128 features)"
    assert (found["frechet"].real, found["frechet"].fake) == (400, 400)
    assert (found["parzen"].real, found["parzen"].fake) == (400, 400)
    assert found["parzen"].error is not None

    dark, _ = scored(Cheat(dark=True))
    assert dark["frechet"].value == pytest.approx(found["frechet"].value, rel=1e-3)


def test_worse_images_score_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    good, _ = scored(Cheat())
    with monkeypatch.context() as patch:
        patch.setattr(HERE, "BANK", replace(BANK, x=BANK.x[:, :, ::-1].copy()))
        upside_down, _ = scored(Cheat())
    with monkeypatch.context() as patch:
        patch.setattr(HERE, "BANK", replace(BANK, x=np.repeat(BANK.x[:1], 400, axis=0)))
        collapsed, _ = scored(Cheat())
    for bad in (upside_down, collapsed):
        assert bad["kernel"].value > 10 * good["kernel"].error
        assert bad["coverage"].value < 0.7 * good["coverage"].value
        assert bad["frechet"].value > 2 * good["frechet"].value
        assert bad["parzen"].value < good["parzen"].value
    assert collapsed["inception"].value == pytest.approx(1)
    assert good["inception"].value > 3


def test_the_same_seed_gives_the_same_scores_and_another_one_others() -> None:
    first, again, other = (scored(Cheat(), seed=seed)[0] for seed in (0, 0, 1))
    assert first == again
    assert first["frechet"] != other["frechet"]


def test_agreement_with_the_asked_class() -> None:
    found, _ = scored(Conditional())
    score = found["agreement"]
    assert 0.4 < score.value <= 0.9  # 1 is never right; a quick classifier errs besides
    judge = judges.classifier(TRAIN, TEST, say=lambda text: None)
    assert score.baseline == judge.accuracy
    asked = np.arange(400) % 10
    z = Conditional().with_labels(asked, asked)
    right = judge.classify(BANK.x[z[:, 0].astype(int)]) == asked
    assert score.value == right.mean()


def test_what_a_recipe_reads() -> None:
    found, _ = scored(Reader())
    assert TEST.y is not None
    assert found["error"].value == np.mean(TEST.y >= 8)
    assert found["error"].note == f"{(TEST.y >= 8).sum()} of 400"
    assert found["code_error_2"].value == 0  # a shift of the classes is another name for them
    assert "code_error_1" not in found
    assert found["rank_slant"].value == pytest.approx(1)
    assert found["rank_rotation"].value == pytest.approx(1)
    assert found["rank_thickness"].value < 0.3  # only the noise was left for it
    assert (
        found["rank_rotation"].name == "rank correlation of code 4 and rotation, without its sign"
    )


def test_a_code_that_says_nothing_is_an_error_and_not_left_out() -> None:
    found, _ = scored(Collapsed())
    # One class of ten, less what has a code of its own.
    assert 0.88 < found["code_error_1"].value < 0.94


def test_reconstructions_beside_principal_components() -> None:
    found, left_out = scored(Halves())
    score = found["reconstruction"]
    lower = TEST.x[:, :, 8:].astype(float) / 255
    assert score.value == pytest.approx(0.5 * (lower**2).mean())
    assert score.baseline_of == "PCA, 128 components"
    assert score.baseline is not None
    assert 0 < score.baseline < score.value
    assert 0.5 < found["neighbours"].value <= found["neighbours"].baseline + 0.05
    assert not [text for text in left_out if "PCA" in text]


def test_reconstructions_come_from_the_encodings() -> None:
    found, _ = scored(Places())
    squares = (TEST.x / 255 - BANK.x[5] / 255) ** 2
    assert found["reconstruction"].value == pytest.approx(squares.mean())
    assert found["reconstruction"].baseline_of == "PCA, 1 components"
    found, _ = scored(Places(), encoded=20)
    assert (found["reconstruction"].real, found["neighbours"].real) == (20, 40)
    assert found["reconstruction"].note == "20 of 400 test images"
    assert found["neighbours"].note == "20 of 400 test images, 20 of 2,000 training images"
    assert found["frechet"].fake == 400


def test_some_test_images_are_of_all_classes_where_a_folder_sorts_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert TEST.y is not None
    order = np.argsort(TEST.y, kind="stable")
    by_class = replace(TEST, x=TEST.x[order], y=TEST.y[order], factors={})
    seen: list[np.ndarray] = []
    monkeypatch.setattr(
        Places, "encode", lambda self, players, x: seen.append(x) or np.zeros((len(x), 1))
    )
    for seed in (0, 0, 1):
        scored(Places(), test=by_class, encoded=40, seed=seed)
    first, again, other = (np.rint((x + 1) * 127.5).astype(np.uint8) for x in seen[::2])
    assert len({TEST.y[PLACE[image.tobytes()][1]] for image in first}) == 10
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_what_is_reconstructed_without_encoding_is_scored() -> None:
    found, _ = scored(Mirror())
    squares = (TEST.x / 255 - TEST.x[:, :, :, ::-1] / 255) ** 2
    assert found["reconstruction"].value == pytest.approx(squares.mean())
    assert found["reconstruction"].baseline_of == "PCA, 7 components"
    assert "neighbours" not in found
    assert "reconstruction" not in scored(Cheat())[0]


def test_principal_components_keep_to_the_range_of_pixels() -> None:
    """A linear code overshoots; that is cut off, as it is of what a generator makes."""
    found, _ = scored(Halves())
    rows = TEST.x.reshape(len(TEST), -1).astype(float)
    linear = pca.fit(TRAIN.x.reshape(len(TRAIN), -1), 128).reconstruct(rows)
    assert linear.min() < -10
    near = np.rint(np.clip(linear, 0, 255))
    assert found["reconstruction"].baseline == pytest.approx(((near - rows) ** 2).mean() / 255**2)


def test_without_labels_and_without_test_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judges, "STEPS", 2)
    bare = Dataset("bare", TRAIN.x)
    found, left_out = scored(Halves(), bare, Dataset("bare", TEST.x))
    assert set(found) == {"parzen", "reconstruction", *COMPARED}
    assert found["kernel"].name == "kernel distance (rotation classifier of bare, 128 features)"
    assert found["kernel"].baseline_of == "test images"
    assert any("no labels" in text for text in left_out)
    found, left_out = scored(Reader(), TRAIN, None, count=200)
    assert set(found) == {"inception", *COMPARED}
    assert found["frechet"].baseline_of == "the other half of the training images"
    assert found["copies_pixels"].baseline_of == "training images, to the nearest other one"
    assert any("Parzen" in text for text in left_out)


def test_pictures_with_neither_labels_nor_test_images_are_scored() -> None:
    """By as many samples as there are real ones in each half, and no more."""
    found, _ = scored(Cheat(), Dataset("bare", TRAIN.x), None, count=None)
    assert set(found) == COMPARED
    assert (found["frechet"].real, found["frechet"].fake) == (1000, 1000)
    assert found["frechet"].value < 3 * found["frechet"].baseline  # of 400 pictures, repeated
    assert found["random_coverage"].name == "coverage (random convolutions of seed 0, 128 features)"


def test_from_many_images_on_the_frechet_distance_is_the_headline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(distances, "MANY", 400)
    found, _ = scored(Cheat())
    assert list(found)[:2] == ["frechet", "kernel"]


@pytest.mark.parametrize(
    ("train", "test", "count", "n", "short"),
    [
        (1000, 500, 400, 400, "samples"),
        (1000, 129, 400, 129, "test images"),
        (300, 500, 400, 300, "training images"),
        (1000, 128, 600, 500, "training images in each half"),
        (1000, 128, 100, 100, "samples"),
        (1001, None, 600, 500, "training images in each half"),
        (1000, None, 400, 400, "samples"),
        (90, 90, 400, 90, "test images"),
        (90, 50, 400, 45, "training images in each half"),
    ],
)
def test_the_sides_are_of_one_size_and_have_no_image_in_common(
    train: int, test: int | None, count: int, n: int, short: str
) -> None:
    order = np.random.default_rng(0).permutation(train)
    data, unseen = tiny.images((1, 4, 4), train), None if test is None else tiny.images(count=test)
    found = sides(data, unseen, count, order, 0)
    assert (len(found.real), len(found.other), found.short) == (n, n, short)
    assert found.real.tolist() == order[:n].tolist()
    if found.data is data:
        assert found.other_of == "the other half of the training images"
        assert not set(found.real) & set(found.other)
    else:
        assert (found.data is unseen, found.other_of) == (True, "test images")


def test_pictures_that_no_network_can_see_are_compared_by_pixels() -> None:
    few = np.random.default_rng(0).integers(0, 256, (9, 1, 3, 3), np.uint8)
    found, left_out = scored(Tiny(batch_size=4), Dataset("tiny", few), None)
    assert set(found) == {"copies_pixels", "nearest_pixels"}
    assert any("all that compares features" in text for text in left_out)


def test_copies_of_training_pictures_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(HERE, "BANK", replace(BANK, x=TRAIN.x[:400]))
        found = evaluate(State.fresh(Cheat(), TRAIN, seed=0), TRAIN, TEST, count=400)
    by_key = {score.key: score for score in found.scores}
    for key in ("features", "pixels"):
        assert by_key[f"copies_{key}"].value == 1
        assert by_key[f"copies_{key}"].baseline == pytest.approx(0.05, abs=0.01)
        assert by_key[f"nearest_{key}"].value == 0
    assert by_key["copies_pixels"].baseline_of == "test images"
    assert found.nearest_by == ("features", "pixels")
    assert found.nearest is not None
    assert found.nearest.shape == (16, 3, *TRAIN.shape)
    for sample, by_features, by_pixels in found.nearest:
        np.testing.assert_array_equal(sample, by_pixels)
        np.testing.assert_array_equal(sample, by_features)


def test_some_samples_are_shown_and_those_that_are_nearest() -> None:
    found = evaluate(State.fresh(Cheat(), TRAIN, seed=0), TRAIN, TEST, count=400)
    assert found.nearest is not None
    sample, by_pixels = (found.nearest[:, i].astype(float) for i in (0, 2))
    every = ((TRAIN.x.astype(float) - sample[:, None]) ** 2).sum(axis=(2, 3, 4))
    gap = ((sample - by_pixels) ** 2).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(gap, every.min(axis=1))
    judge = judges.classifier(TRAIN, TEST, say=lambda text: None)
    a, b = (judge(found.nearest[:, i])[1] for i in (0, 1))
    distance = np.sqrt(((a - b) ** 2).sum(axis=1))
    assert (np.diff(distance[8:]) >= 0).all()
    assert distance[8:].max() < np.median(distance[:8])


def test_few_samples_have_no_frechet_distance() -> None:
    found, left_out = scored(Cheat(), count=128)
    assert "frechet" not in found
    assert any("there are 128 samples; raise --count" in text for text in left_out)
    assert {"kernel", "coverage"} <= set(found)
    assert scored(Cheat(), count=3)[0]["inception"].fake == 3


def test_all_sides_of_a_distance_have_as_many_images() -> None:
    """For with more samples the distance of the same generator is a smaller one."""
    few = replace(TEST, x=TEST.x[:150], y=TEST.y[:150], factors={})
    found, _ = scored(Cheat(), test=few)
    for key in ("inception", "frechet"):
        assert (found[key].real, found[key].fake) == (150, 150)
        assert found[key].note == "150 images on each side"
    assert found["frechet"].value == pytest.approx(found["frechet"].baseline, rel=0.35)


def test_the_side_that_is_short_is_named() -> None:
    short = replace(TRAIN, x=TRAIN.x[:120], y=TRAIN.y[:120], factors={})
    found, left_out = scored(Cheat(batch_size=8), short)
    assert "frechet" not in found
    sentence, _ = (text for text in left_out if text.startswith("Fréchet"))
    assert sentence.endswith("there are 120 training images")
    assert any("2,000 training images, and there are 120" in text for text in left_out)
    few = replace(TEST, x=TEST.x[:100], y=TEST.y[:100], factors={})
    found, left_out = scored(Cheat(), test=few)
    assert found["frechet"].fake == 400  # the other half is worth more than a hundred images
    assert found["frechet"].baseline_of == "the other half of the training images"
    assert any("test images beside the samples: there are 100" in text for text in left_out)


def test_images_are_withheld_for_the_likelihood_alone() -> None:
    """All of 1,400 training images are drawn from; none has to choose the width of a window."""
    some = replace(TRAIN, x=TRAIN.x[:1400], y=TRAIN.y[:1400], factors={})
    found, left_out = scored(Cheat(), some, count=1200)
    assert any("Parzen" in text and "1,400" in text for text in left_out)
    found, _ = scored(Cheat(), some, None, count=1200)
    assert found["frechet"].real == 700


def test_samples_that_are_no_numbers_are_no_samples() -> None:
    with pytest.raises(RunError, match="not finite"):
        scored(Broken())


@pytest.mark.parametrize("name", gans.names())
def test_every_recipe_can_be_scored(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On noise, untrained: whatever it answers has the shape and the kind that a score needs."""
    monkeypatch.setattr(judges, "STEPS", 1)
    train, test = tiny.images(count=24), tiny.images(count=16)
    found = evaluate(tiny.state(name, train), train, test, count=6)
    assert {"inception", "kernel", "copies_pixels"} <= {score.key for score in found.scores}
    (why,) = (
        text for text in found.left_out if "nearest training picture" in text and "pix" in text
    )
    assert why.endswith("half of the real ones repeat a training picture")
    assert all(np.isfinite(score.value) for score in found.scores)
    json.dumps(found.facts(), allow_nan=False)


def test_the_course_of_what_a_recipe_reports() -> None:
    rows = [{"step": i + 1, "M": 1.0 - i / 100, "k": 0.5} for i in range(20)]
    m, k = course(rows, ["M", "k", "absent"])
    assert (m.key, k.key) == ("course_M", "course_k")
    assert m.value == pytest.approx(1 - 0.185)
    assert m.baseline == pytest.approx(1 - 0.005)
    assert (m.note, k.note) == ("from 0.81 to 1", "from 0.5 to 0.5")
    assert course([], ["M"]) == []


@pytest.mark.parametrize("name", gans.names())
def test_a_step_reports_what_its_recipe_wants_watched(name: str) -> None:
    state = tiny.state(name, tiny.images(count=24))
    assert set(state.recipe.watched) <= set(state.advance())


def test_the_singular_value_that_is_farthest_from_one() -> None:
    state = tiny.state("sngan", tiny.images(count=24))
    (score,) = spectral(state.players)
    assert score.note == "4 layers"
    assert score.value == pytest.approx(1, abs=0.05)  # 15 steps of the power iteration
    layer = state.players["D"].modules()["layers.1"]
    assert isinstance(layer, SpectralNorm)
    layer.v = np.roll(layer.v, 1)  # fits the weights no longer: sigma is too small
    assert spectral(state.players)[0].value > 1.5

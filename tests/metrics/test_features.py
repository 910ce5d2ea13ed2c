"""The networks that make features: what they are of, what they are kept by, and their control."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny

from minigan.data import Dataset
from minigan.data.glyphs import glyphs
from minigan.errors import UserError
from minigan.metrics import classifier as judges
from minigan.metrics.features import learned_features, random_convolutions
from minigan.metrics.kernel_distance import kernel_distance
from minigan.metrics.nearest import nearest_pictures
from minigan.metrics.rotation import rotation_classifier, turned
from minigan.random import Generator

BARE = Dataset("bare", glyphs(size=16, count=300).x)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, and a training that is over soon."""
    monkeypatch.setattr(judges, "user_cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(judges, "STEPS", 60)
    return tmp_path / "cache" / "classifiers"


def silent(text: str) -> None:
    pass


def colour(count: int = 12, side: int = 8, seed: int = 0) -> Dataset:
    x = np.random.default_rng(seed).integers(0, 256, (count, 3, side, side), np.uint8)
    return Dataset("colour", x)


@pytest.mark.parametrize(("turns", "shape"), [(4, (2, 3, 3)), (2, (1, 2, 3))])
def test_pictures_are_turned_each_by_its_own_number(turns: int, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).integers(0, 256, (6, *shape), np.uint8)
    y = np.arange(6) % turns
    for before, after, k in zip(x, turned(x, y, turns), y, strict=True):
        expected = before
        for _ in range(int(k) * 4 // turns):  # by a quarter: the last column becomes the first row
            height, width = expected.shape[1:]
            expected = np.array(
                [[[c[i][width - 1 - j] for i in range(height)] for j in range(width)]
                 for c in expected]
            )  # fmt: skip
        np.testing.assert_array_equal(after, expected)


def test_a_rotation_classifier_learns_without_labels_and_is_kept(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    judge = rotation_classifier(BARE, say=said.append)
    assert judge.accuracy > 0.5  # guessing has a quarter
    assert judge.tested == 4 * 30
    assert judge.name == "rotation classifier of bare, 128 features"
    assert judge.facts()["name"] == judge.name
    assert any("every tenth training picture, held out" in text for text in said)
    (file,) = cache.iterdir()
    assert file.name == f"bare-rotation-{judge.digest}.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr(judges, "_train", None)  # it must not be called again
        again = rotation_classifier(BARE, say=silent)
    np.testing.assert_array_equal(again(BARE.x[:20]), judge(BARE.x[:20]))
    assert again.facts() == judge.facts()
    file.unlink()
    trained_again = rotation_classifier(BARE, say=silent)
    np.testing.assert_array_equal(trained_again(BARE.x[:20]), judge(BARE.x[:20]))


def test_a_rotation_classifier_is_of_its_data(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judges, "STEPS", 1)
    data = colour()
    digests = {rotation_classifier(data, say=silent).digest for _ in range(2)}
    data.x[0, 0, 0, 0] ^= 1
    digests.add(rotation_classifier(data, say=silent).digest)
    assert len(digests) == len(list(cache.iterdir())) == 2


@pytest.mark.usefixtures("cache")
def test_pictures_that_are_no_squares_are_turned_upside_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(judges, "STEPS", 2)
    data = Dataset("wide", np.random.default_rng(0).integers(0, 256, (20, 3, 8, 12), np.uint8))
    judge = rotation_classifier(data, say=silent)
    assert judge.network.head.bias.shape == (2,)
    assert judge.tested == 2 * 2


def test_those_held_out_take_no_part_in_the_training(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Dataset] = []
    monkeypatch.setattr(judges, "_train", lambda network, dataset, *how: seen.append(dataset))
    rotation_classifier(BARE, say=silent)
    np.testing.assert_array_equal(seen[0].x, np.delete(BARE.x, slice(None, None, 10), axis=0))


@pytest.mark.parametrize("own", [True, False])
def test_more_pictures_than_fit_in_memory_are_some_of_them(
    own: bool, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judges, "TRAINED_BYTES", 10 * 3 * 64 + 5)
    monkeypatch.setattr(judges, "TESTED", 3)
    data = colour(80)
    if own:
        rest, held = judges.held_out(data)
        assert (len(rest), len(held)) == (10, 3)
        assert not (rest.x[:, None] == held.x).all(axis=(2, 3, 4)).any()
    else:
        rest = judges.some_of(data)
        assert len(rest) == 10
    assert len(np.unique(rest.x, axis=0)) == 10
    again = judges.held_out(data)[0] if own else judges.some_of(data)
    np.testing.assert_array_equal(rest.x, again.x)
    assert judges.some_of(colour(10)).x.shape[0] == 10


@pytest.mark.usefixtures("cache")
def test_labels_decide_which_features_are_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judges, "STEPS", 1)
    labelled = tiny.images((1, 8, 8))
    assert learned_features(labelled, None, say=silent).name.startswith("classifier of noise")
    bare = replace(labelled, y=None, classes=())
    one = replace(labelled, y=np.zeros(24, np.int64), classes=("all",))
    for data in (bare, one):
        found = learned_features(data, None, say=silent)
        assert found.name == "rotation classifier of noise, 128 features"
        assert found.facts["name"] == found.name
        assert found(data.x[:5]).shape == (5, 128)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 64, 64), (3, 28, 20), (3, 128, 128)])
def test_random_convolutions_of_any_size(shape: tuple[int, ...]) -> None:
    data = tiny.images(shape, 12)
    found = random_convolutions(data)
    x = found(data.x)
    assert x.shape == (12, 128)
    # Of these very pictures the last layer's moments are those of batch norm: before its ReLU
    # 0 and 1, so that half of the values are 0 and no feature is dead.
    assert 0.3 < (x == 0).mean() < 0.7
    assert (x.std(axis=0) > 0.2).all()


def test_random_convolutions_depend_on_their_seed_and_on_the_scale_of_the_data() -> None:
    data = colour(30)
    first, again, other = (random_convolutions(data, seed)(data.x) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1
    assert random_convolutions(data, 1).name == "random convolutions of seed 1, 128 features"


def test_random_convolutions_tell_digits_from_noise() -> None:
    features = random_convolutions(BARE)
    half = features(BARE.x[:150])
    noise = np.random.default_rng(0).integers(0, 256, (150, 1, 16, 16), np.uint8)
    same, error = kernel_distance(half, features(BARE.x[150:]))
    assert abs(same) < 4 * error
    assert kernel_distance(half, features(noise))[0] > 20 * error


@pytest.mark.parametrize("data", [tiny.points(2), colour(2), colour(side=3)])
def test_what_no_network_can_see_is_refused(data: Dataset) -> None:
    with pytest.raises(UserError, match="three images or more of at least 4 pixels"):
        rotation_classifier(data, say=silent)
    with pytest.raises(UserError, match="three images or more of at least 4 pixels"):
        random_convolutions(data)


def test_pictures_in_colour_are_mirrored_and_digits_are_not() -> None:
    for data, mirrors in ((colour(200), True), (Dataset("grey", BARE.x[:200]), False)):
        x = data.x.astype(np.float32)
        plain, moved = (f(x, Generator(0, "test")) for f in (judges._shifted, judges.varied))
        same = (plain == moved).all(axis=(1, 2, 3))
        turned_round = (plain[..., ::-1] == moved).all(axis=(1, 2, 3))
        assert (same | turned_round).all()
        assert 70 < same.sum() < 130 if mirrors else same.all()


def test_images_are_read_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judges, "READ_VALUES", 1)
    network = judges.Network((3, 8, 8), 2, rng=Generator(0, "test")).eval()
    x = colour(50).x
    whole, parts = network(_scaled(x)).numpy(), judges.read(network, x)[0]
    np.testing.assert_allclose(parts, whole, atol=1e-5)


def _scaled(x: np.ndarray) -> np.ndarray:
    return (x / np.float32(127.5) - 1).astype(np.float32)


def test_the_digest_of_a_judge_is_that_of_all_bytes_at_once() -> None:
    """Though it reads them by blocks: judges of before are found again."""
    data = tiny.images((1, 8, 8))
    whole = hashlib.blake2b(f"1 {data.shape} {data.classes}".encode(), digest_size=8)
    whole.update(data.x.tobytes())
    assert data.y is not None
    whole.update(data.y.tobytes())
    assert judges._digest(data, None) == whole.hexdigest()


def test_a_file_in_memory_has_the_features_of_an_array(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", colour(40).x)
    mapped = Dataset("colour", np.load(tmp_path / "x.npy", mmap_mode="r"))
    first, other = (random_convolutions(data)(data.x) for data in (colour(40), mapped))
    np.testing.assert_array_equal(first, other)
    near = nearest_pictures(colour(5, seed=1).x, mapped.x)
    assert near.place.tolist() == nearest_pictures(colour(5, seed=1).x, colour(40).x).place.tolist()

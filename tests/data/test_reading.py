"""How samples are read and drawn: crops, backgrounds, broken pictures, mirrors, test parts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny import FLAGS, Shell, write_idx

from minigan.data import Batches, Dataset, NoSplitError, Reading, from_arrays, load, outline
from minigan.data.reading import held_out
from minigan.errors import UserError
from minigan.evaluation.truth import truth
from minigan.training.checkpoint import newest
from minigan.training.run import Run

RNG = np.random.default_rng(0)


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures of two classes, no two alike."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(1)
    for i in range(12):
        pixels = rng.integers(0, 256, (18, 18, 3), np.uint8)
        save(folder / ("even", "odd")[i % 2] / f"{i:02}.png", pixels)
    return folder


def test_what_is_true_of_both_parts_of_the_data_is_told_once(tmp_path: Path) -> None:
    for i in range(6):
        save(tmp_path / f"{i}.png", np.full((8, 8), i, np.uint8))
    (tmp_path / "broken.png").write_bytes(b"")
    facts = {"source": str(tmp_path), "size": 8, "stack": 1, "skip_broken": True, "hold_out": 3}
    said: list[str] = []
    train, test = truth(facts, said.append)
    assert test is not None
    assert len(train) + len(test) == 6
    assert [text.partition(" images")[0] for text in said] == ["left out 1 of 7"]


# --- Crops and backgrounds -----------------------------------------------------------------------


def test_the_middle_or_the_whole_of_a_picture(tmp_path: Path) -> None:
    wide = np.zeros((8, 16, 3), np.uint8)
    wide[:, 4:12] = (255, 0, 0)
    save(tmp_path / "a.png", wide)
    assert (load(tmp_path, size=8).x[0, 0] == 255).all()
    whole = load(tmp_path, size=8, crop="none", background="#0000ff").x[0]
    assert (whole[2, :2] == 255).all()  # blue above
    assert (whole[2, -2:] == 255).all()  # and below
    assert (whole[:, 2:6, 0] == 0).all()  # the left edge, black
    assert (whole[0, 2:6, 3:5] == 255).all()  # red in the middle


def test_the_thinnest_picture_keeps_a_pixel(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.zeros((1, 400, 3), np.uint8))
    whole = load(tmp_path, size=8, crop="none").x[0, 0]
    assert (whole == 0).sum() == 8


def test_a_random_crop_is_taken_from_a_larger_picture(pictures: Path) -> None:
    data = load(pictures, size=16, crop="random")
    assert data.wide is not None
    assert (data.x.shape, data.wide.shape) == ((12, 3, 16, 16), (12, 3, 18, 18))
    np.testing.assert_array_equal(data.x, data.wide[:, :, 1:17, 1:17])
    assert outline(pictures, size=16, reading=Reading(crop="random")).shapes == ((3, 16, 16),)
    batches = Batches(data, 12, seed=0, output_range=(0, 255))
    seen = set()
    for i in range(20):
        x, y = batches.at(i)
        index = np.argsort(batches._order)  # where each sample is in the batch
        for sample, image in enumerate(x[index]):
            places = [
                (top, left)
                for top in range(3)
                for left in range(3)
                if (data.wide[sample, :, top : top + 16, left : left + 16] == image).all()
            ]
            assert len(places) == 1
            seen.add(places[0])
        assert data.y is not None
        assert y is not None
        np.testing.assert_array_equal(y[index], data.y)
    assert len(seen) == 9


def test_parts_of_data_keep_what_is_around_them(pictures: Path) -> None:
    data = load(pictures, size=16, crop="random", flip=True)
    part = data[::2]
    assert part.flip
    assert part.wide is not None
    assert len(part.wide) == 6
    np.testing.assert_array_equal(part.x, data.x[::2])
    np.testing.assert_array_equal(part.wide[:, :, 1:17, 1:17], part.x)
    assert data.digest() != load(pictures, size=16).digest()


# --- Mirrors -------------------------------------------------------------------------------------

NUMBERED = np.arange(6 * 4, dtype=np.uint8).reshape(6, 1, 2, 2)


def mirrored(seed: int, i: int, *, flip: bool = True) -> np.ndarray:
    """Which images of batch i are mirrored."""
    data = Dataset("six", NUMBERED, np.arange(6) % 2, ("a", "b"), flip=flip)
    x, y = Batches(data, 3, seed=seed, output_range=(0, 255)).at(i)
    plain, _ = Batches(Dataset("six", NUMBERED), 3, seed=seed, output_range=(0, 255)).at(i)
    assert y is not None
    turned = np.array([(a == b[..., ::-1]).all() for a, b in zip(x, plain, strict=True)])
    as_is = np.array([(a == b).all() for a, b in zip(x, plain, strict=True)])
    assert (turned ^ as_is).all()  # the same samples as without, each of them turned or not
    np.testing.assert_array_equal(y, (x[:, 0].min(axis=(1, 2)) // 4) % 2)
    return turned


def test_half_of_the_draws_are_mirrored_and_labels_stay() -> None:
    share = np.mean([mirrored(seed, i) for seed in range(20) for i in range(20)])
    assert 0.45 < share < 0.55
    assert not mirrored(0, 0, flip=False).any()


@given(seed=st.integers(0, 2**64 - 1), i=st.integers(0, 1000))
def test_a_batch_depends_on_seed_and_number_alone(seed: int, i: int) -> None:
    data = Dataset("six", NUMBERED, flip=True)
    one, other = (Batches(data, 3, seed=seed, output_range=(0, 255)) for _ in range(2))
    one.position = max(0, i - 1)
    next(one)
    one.position = i
    np.testing.assert_array_equal(next(one), other.at(i)[0])
    np.testing.assert_array_equal(data.x, NUMBERED)  # the data themselves are not turned


def test_few_samples_stay_as_they_are() -> None:
    data = Dataset("six", NUMBERED, np.arange(6) % 2, ("a", "b"), flip=True)
    few = Batches(data, 3, seed=0, output_range=(0, 255)).few(6)[0]
    assert sorted(few[:, 0, 0, 0].tolist()) == [0, 4, 8, 12, 16, 20]


@pytest.mark.parametrize(("options", "flag"), [({"flip": True}, "--flip"), ({}, "--crop random")])
def test_codes_of_images_want_images_that_stay(options: dict[str, Any], flag: str) -> None:
    wide = np.zeros((6, 1, 4, 4), np.uint8)
    data = Dataset("six", wide[:, :, 1:3, 1:3], wide=wide, **options)
    with pytest.raises(UserError, match=f"code for each image.*leave out {flag}"):
        Batches(data, 3, seed=0, output_range=(0, 255)).indexed()


@pytest.mark.parametrize(
    "wide",
    [
        np.zeros((5, 1, 4, 4), np.uint8),
        np.zeros((6, 1, 1, 4), np.uint8),
        np.zeros((6, 1, 4, 4)),
        np.zeros((6, 4), np.uint8),
    ],
)
def test_wide_images_are_the_same_images(wide: np.ndarray) -> None:
    with pytest.raises(UserError, match="must be the middle of its wide images"):
        Dataset("six", NUMBERED, wide=wide)


def test_stacked_images_are_drawn_as_single_ones(tmp_path: Path) -> None:
    for i in range(6):
        save(tmp_path / f"{i}.png", RNG.integers(0, 256, (18, 18), np.uint8))
    data = load(tmp_path, size=16, crop="random", flip=True, stack=2)
    assert data.flip
    assert data.wide is not None
    assert (data.shape, data.wide.shape[1:]) == ((2, 16, 16), (2, 18, 18))


# --- Broken pictures -----------------------------------------------------------------------------


def broken(folder: Path, count: int, good: int = 3) -> Path:
    for i in range(good):
        save(folder / f"{i}.png", np.full((8, 8, 3), i, np.uint8))
    for i in range(count):
        (folder / f"b{i:02}.png").write_bytes(b"not a png")
    return folder


def test_all_broken_pictures_are_named_at_once(tmp_path: Path) -> None:
    for read in (load, lambda path: load(path, split="train", crop="none")):
        with pytest.raises(UserError) as refusal:
            read(broken(tmp_path, 23))
        text = str(refusal.value)
        assert text.startswith(f"23 of the 26 images in {tmp_path} cannot be read: b00.png (no ima")
        assert "b19.png" in text
        assert "b20.png" not in text
        assert text.endswith(
            "and 3 more; repair them, take them out of the folder, or leave them out by "
            "--skip-broken."
        )
    assert outline(tmp_path).samples == 26  # a broken one does not keep from looking at others


def test_a_single_broken_picture_is_named_in_full(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"image {tmp_path}/b00.png cannot.*by --skip-broken\."):
        load(broken(tmp_path, 1))


def test_broken_pictures_are_left_out_on_demand(tmp_path: Path) -> None:
    broken(tmp_path / "a", 5)
    broken(tmp_path / "z", 0, good=2)
    said: list[str] = []
    data = load(tmp_path, size=8, skip_broken=True, report=said.append)
    assert data.histogram() == {"a": 3, "z": 2}
    assert data.x[:, 0, 0, 0].tolist() == [0, 1, 2, 0, 1]
    (told,) = said
    assert told.startswith("left out 5 of 10 images that cannot be read: a/b00.png (")
    assert told.endswith(", and 2 more")


def test_nothing_but_broken_pictures(tmp_path: Path) -> None:
    for read in (load, outline):
        options: Any = {"skip_broken": True}
        if read is outline:
            options = {"reading": Reading(skip_broken=True)}
        with pytest.raises(UserError, match=r"2 of the 2 images.*give other data"):
            read(broken(tmp_path, 2, good=0), **options)


# --- Samples held out ----------------------------------------------------------------------------


@given(count=st.integers(2, 300), data=st.data())
def test_samples_are_trained_on_or_held_out(count: int, data: st.DataObject) -> None:
    wanted = data.draw(st.integers(1, count - 1))
    rest, held = held_out(count, wanted)
    assert len(held) == wanted
    np.testing.assert_array_equal(np.sort(np.concatenate([rest, held])), np.arange(count))


def test_held_out_pictures_are_the_test_part(pictures: Path) -> None:
    everything = load(pictures, size=8)
    train, test = (load(pictures, size=8, hold_out=5, split=s) for s in ("train", "test"))
    rest, held = held_out(12, 5)
    for part, index in ((train, rest), (test, held)):
        np.testing.assert_array_equal(part.x, everything.x[index])
        assert everything.y is not None
        assert part.y is not None
        np.testing.assert_array_equal(part.y, everything.y[index])
    assert outline(pictures, reading=Reading(hold_out=5)).samples == 7
    with pytest.raises(NoSplitError):
        load(pictures, split="test")


def test_broken_pictures_are_held_out_or_not(tmp_path: Path) -> None:
    broken(tmp_path, 6, good=12)
    _, held = held_out(18, 9)
    parts = [
        load(tmp_path, size=8, hold_out=9, skip_broken=True, split=split).x[:, 0, 0, 0].tolist()
        for split in ("train", "test")
    ]
    names = sorted([*(f"{i}.png" for i in range(12)), *(f"b{i:02}.png" for i in range(6))])
    good = [name[:-4] for i, name in enumerate(names) if i in held and name[0] != "b"]
    assert parts[1] == [int(name) for name in good]
    assert sorted([*parts[0], *parts[1]]) == list(range(12))


def test_held_out_samples_of_arrays(tmp_path: Path) -> None:
    folder = write_idx(tmp_path / "idx", count=24)
    everything = load(folder)
    rest, held = held_out(24, 4)
    np.testing.assert_array_equal(load(folder, hold_out=4).x, everything.x[rest])
    np.testing.assert_array_equal(load(folder, hold_out=4, split="test").x, everything.x[held])
    assert outline(folder, reading=Reading(hold_out=4)).samples == 20
    assert outline(folder, reading=Reading(hold_out=4), split="test").samples == 4


# --- What does not apply -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        ("ring", {"flip": True}, "ring consists of points.*leave out --flip"),
        ("ring", {"crop": "none"}, "--crop is for picture files, which ring is not"),
        ("glyphs", {"background": "red"}, "--background is for picture files"),
        ("glyphs", {"background": (1, 2, 3)}, "--background is for picture files"),
        ("glyphs", {"skip_broken": True}, "--skip-broken is for picture files"),
        ("glyphs", {"hold_out": 5}, "glyphs has a test part.*leave out --hold-out"),
        ("glyphs", {"crop": "middle"}, "--crop is one of centre, random, none, not 'middle'"),
        ("glyphs", {"background": "redd"}, "background 'redd' is no colour"),
        ("glyphs", {"hold_out": -1}, "--hold-out must be 0 or more"),
    ],
)
def test_what_does_not_apply_is_refused(data: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        load(data, **options)


def test_parts_that_are_there_are_not_held_out_again(tmp_path: Path) -> None:
    for split in ("train", "test"):
        save(tmp_path / "pictures" / split / "a.png", np.zeros((8, 8), np.uint8))
    digits = write_idx(tmp_path / "digits")
    for file in [*digits.iterdir()]:
        shutil.copy(file, digits / file.name.replace("train", "t10k"))
    for folder in (tmp_path / "pictures", digits):
        with pytest.raises(UserError, match="has a test part"):
            load(folder, hold_out=1)
        with pytest.raises(UserError, match="has a test part"):
            outline(folder, reading=Reading(hold_out=1))


def test_some_are_left_to_train_on(pictures: Path) -> None:
    with pytest.raises(UserError, match=r"--hold-out 12 leaves none of the 12.*give 0 to 11"):
        load(pictures, hold_out=12)


# --- Runs ----------------------------------------------------------------------------------------

OPTIONS = ["--crop", "random", "--background", "red", "--skip-broken", "--flip", "--hold-out", "4"]


def test_a_run_keeps_how_its_data_are_read(
    shell: Shell, pictures: Path, tmp_path: Path, own_cache: Path
) -> None:
    words = ["train", "gan", *FLAGS, "--data", pictures, "--size", "8", *OPTIONS]
    shell.succeeds(*words, "--steps", "4", "--out", tmp_path / "whole")
    shell.succeeds(*words, "--steps", "2", "--out", tmp_path / "parts")
    shell.succeeds("train", "--resume", "--out", tmp_path / "parts", "--steps", "4")
    whole, parts = (Run.open(tmp_path / name) for name in ("whole", "parts"))
    kept = {name: whole.config["data"][name] for name in Reading().keywords()}
    assert kept == {
        "crop": "random", "background": "red", "skip_broken": True, "flip": True, "hold_out": 4,
    }  # fmt: skip
    assert whole.config["data"]["samples"] == 8
    ends = [newest(run.checkpoints) for run in (whole, parts)]
    assert ends[0] is not None
    assert ends[1] is not None
    assert ends[0].read_bytes() == ends[1].read_bytes()
    shell.succeeds("train", "--like", whole.path, "--out", tmp_path / "again")
    again = Run.open(tmp_path / "again")
    assert again.config["data"] == whole.config["data"]
    shell.succeeds("sample", whole.path, "--count", "2", "--out", tmp_path / "a.png")


def test_options_of_data_in_memory() -> None:
    from minigan import train

    data = from_arrays(RNG.integers(0, 256, (8, 1, 8, 8), np.uint8))
    run = train("gan", data=data, steps=1, hidden=8, batch_size=4, units=6, flip=True)
    assert run.dataset.flip
    assert run.directory.config["data"]["flip"]
    for option in ({"crop": "none"}, {"hold_out": 2}, {"background": "red"}, {"skip_broken": True}):
        with pytest.raises(UserError, match=r"^\w+ is for data by name or in a folder"):
            train("gan", data=data, steps=1, **option)

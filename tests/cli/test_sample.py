"""`minigan sample`: formats by the suffix, and nothing overwritten without a word."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image
from tiny import Shell

from minigan.viz.animation import animated
from minigan.viz.formats import array_bytes

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".JPEG": "JPEG", ".webp": "WEBP"}


# --- Formats ---------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_suffix_chooses_the_format(
    suffix: str, shell: Shell, run: Path, tmp_path: Path
) -> None:
    out, plain = tmp_path / f"grid{suffix}", tmp_path / "plain.png"
    shell.succeeds("sample", run, "--count", "4", "--out", out)
    shell.succeeds("sample", run, "--count", "4", "--out", plain)
    with Image.open(out) as picture, Image.open(plain) as expected:
        assert picture.format == FORMATS[suffix]
        difference = np.array(picture.convert("RGB")).astype(int) - np.array(expected)
    assert np.abs(difference).mean() < (3 if suffix.lower() in (".jpg", ".jpeg") else 1e-9)


def test_a_walk_can_be_an_animation(shell: Shell, run: Path, tmp_path: Path) -> None:
    words = ["sample", run, "--walk", "5", "--count", "20", "--out"]
    shell.succeeds(*words, tmp_path / "walk.gif")
    shell.succeeds(*words, tmp_path / "walk.png")
    with Image.open(tmp_path / "walk.png") as sheet:  # four rows of five
        rows = np.array(sheet.convert("L")).astype(int)
    with Image.open(tmp_path / "walk.gif") as film:
        assert film.n_frames == 8  # forth and back, each end once
        assert film.info["loop"] == 0
        assert film.info["duration"] == 100
        film.seek(2)
        third = np.array(film.convert("L")).astype(int)
    assert third.shape == (2 * (64 + 2) + 2,) * 2
    np.testing.assert_allclose(third[2:66, 2:66], rows[2:66, 2 + 2 * 66 : 66 + 2 * 66], atol=12)


def test_arrays_are_as_the_recipe_makes_them(shell: Shell, run: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        shell.succeeds("sample", run, "--count", "3", "--out", tmp_path / f"{name}.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz") as found:
        assert set(found) == {"samples", "z"}
        assert (found["samples"].dtype, found["samples"].shape) == (np.float32, (3, 1, 8, 8))
        assert len(found["z"]) == 3


def test_arrays_have_the_classes_that_were_asked_for(shell: Shell, runs, tmp_path: Path) -> None:
    shell.succeeds(
        "sample", runs("cgan", shell), "--class", "7", "--count", "2", "--out", tmp_path / "a.npz"
    )
    with np.load(tmp_path / "a.npz") as found:
        assert found["labels"].tolist() == [7, 7]


def test_points_can_be_had_as_arrays_only(shell: Shell, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["--data", "ring", "--hidden", "8", "--batch-size", "16", "--steps", "1"]
    shell.succeeds("train", "gan", *words, "--out", run)
    shell.refuses("sample", run, says=("ring has no images", "--out FILE.npz"))
    shell.refuses("sample", run, "--out", tmp_path / "a.png", says=("ring has no images",))
    shell.succeeds("sample", run, "--count", "5", "--out", tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as found:
        assert found["samples"].shape == (5, 2)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--out", "x.bmp"], (".bmp is no format", ".png, .jpg, .jpeg, .webp, .gif, .npz")),
        (["--out", "new/"], ("--out new: it names no format; there are .png,", "--single writes")),
        (["--out", "."], ("--out . is a folder; name a file", "samples.png, or add --single")),
        (["--out", "x.gif"], ("an animation shows a walk", "--walk 20")),
        (["--single", "--out", "x.png"], ("--single writes a folder", "x.png names a file")),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is_read(
    words: list[str], says: tuple[str, ...], shell: Shell, here: Path
) -> None:
    shell.refuses("sample", "no-run", *words, says=says)
    assert tiny.tree(here) == {}


def test_an_animation_takes_the_colours_of_its_frames() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue")]
    assert animated(frames, fps=10) == animated(frames, fps=10)


def test_the_same_arrays_are_the_same_bytes() -> None:
    arrays = {"a": np.arange(3.0), "b": np.zeros((2, 2), np.float32)}
    assert array_bytes(arrays) == array_bytes({k: v.copy() for k, v in arrays.items()})


# --- Nothing is overwritten without a word ---------------------------------------------------


def test_a_further_picture_gets_the_next_number(shell: Shell, run: Path) -> None:
    def drawn(*words: str) -> str:
        return shell.succeeds("sample", run, "--count", "4", *words).out.strip()

    assert drawn() == str(run / "sample.png")
    first = (run / "sample.png").read_bytes()
    assert drawn() == str(run / "sample.png")  # the same picture is there already
    assert drawn("--seed", "1") == str(run / "sample-2.png")
    assert drawn("--seed", "2") == str(run / "sample-3.png")
    assert drawn("--seed", "1") == str(run / "sample-2.png")
    assert (run / "sample.png").read_bytes() == first
    assert drawn("--seed", "3", "--overwrite") == str(run / "sample.png")
    assert (run / "sample.png").read_bytes() != first


def test_a_file_that_is_named_is_kept_unless_told(shell: Shell, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.png"
    out.write_bytes(b"precious")
    words = ["sample", run, "--count", "4", "--out", out]
    shell.refuses(*words, says=(f"{out} is there already", "--overwrite"))
    assert out.read_bytes() == b"precious"
    shell.succeeds(*words, "--overwrite")
    with Image.open(out) as picture:
        assert picture.format == "PNG"
    out.write_bytes(b"")  # as mktemp makes it: there is nothing to lose
    shell.succeeds(*words)


def test_single_images_are_kept_unless_told(shell: Shell, run: Path, tmp_path: Path) -> None:
    words = ["sample", run, "--single", "--count", "2"]
    assert shell.succeeds(*words).out.strip() == str(run / "singles")
    first = tiny.tree(run / "singles")
    assert shell.succeeds(*words, "--seed", "1").out.strip() == str(run / "singles-2")
    assert tiny.tree(run / "singles") == first
    out = shutil.copytree(run / "singles", tmp_path / "mine")
    shell.refuses(*words, "--seed", "1", "--out", out, says=("holds images already", "--overwrite"))
    assert tiny.tree(out) == first
    shell.succeeds(*words, "--seed", "1", "--out", out, "--overwrite")
    assert tiny.tree(out) == tiny.tree(run / "singles-2") != first


@pytest.mark.usefixtures("own_cache")
def test_former_scores_are_kept(shell: Shell, run: Path) -> None:
    words = ["evaluate", run, "--count", "10"]
    shell.succeeds(*words)
    first = (run / "scores.json").read_bytes()
    shell.succeeds(*words)
    assert not (run / "scores-2.json").exists()  # they are the same
    answer = shell.succeeds(*words, "--seed", "1")
    assert f"the former scores are kept as {run / 'scores-2.json'}" in answer.err
    assert (run / "scores-2.json").read_bytes() == first != (run / "scores.json").read_bytes()

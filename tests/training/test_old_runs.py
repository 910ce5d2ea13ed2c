"""Runs of an old revision are opened, sampled, scored and continued as that revision did it.

The runs and what they gave are in old_runs/; old_runs/make.py made them. Processors differ in the
width of their vectors, and so in the order of sums: results are compared within the rounding of
float32, not byte for byte. The limits stand 25 times above what vectors of 4, 8 and 16 lanes
differ by, and far below what one step of training changes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from old_runs import results
from old_runs.results import RECIPES, RUNS, Arrays, config_of
from PIL import Image
from safetensors.numpy import load_file
from tiny import Shell

NAMES = sorted(path.name for path in RUNS.iterdir() if path.is_dir())
SAVED = [name for name in NAMES if (RUNS / name / "run" / "checkpoints").exists()]
DRAWN = [name for name in NAMES if (RUNS / name / "sample.png").exists()]
# By a classifier that is trained for 2,400 steps: long enough for rounding to grow.
JUDGED = {"inception", "agreement", "modes", "modes_well", "reverse_kl"}


def recorded(name: str) -> dict[str, Any]:
    return json.loads((RUNS / name / "recorded.json").read_text())


def recorded_arrays(name: str) -> Arrays:
    return load_file(RUNS / name / "recorded.safetensors")


SCORED = [name for name in NAMES if "scores" in recorded(name)]
LABELLED = [n for n in SCORED if config_of(RUNS / n / "run")["data"]["source"] == "digits"]


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The paths in the runs are relative to where they were made."""
    monkeypatch.chdir(results.HERE)
    monkeypatch.setenv("MINIGAN_RECIPES", str(RECIPES))


@pytest.fixture
def run(name: str, tmp_path: Path) -> Path:
    return results.copied(RUNS / name / "run", tmp_path / "run")


def rms(array: np.ndarray) -> float:
    """The root of the mean square."""
    return float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))


def test_there_is_a_run_of_each_recipe() -> None:
    found = {config_of(RUNS / name / "run")["recipe"] for name in NAMES}
    assert found == {
        "began", "bigan", "cgan", "dcgan", "gan", "glo", "gon", "infogan", "lsgan", "pacgan",
        "sgan", "sngan", "wgan", "wgan_gp", "points_gan", "recipes/points_gan.py",
    }  # fmt: skip


# --- Opening ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAVED)
def test_the_generator_makes_the_same_samples(run: Path, name: str) -> None:
    found, before = results.generated(run), recorded_arrays(name)["generated"]
    limit = 1e-5 * np.abs(before).max()  # a hundred times the rounding of one number
    assert np.abs(before - before[::-1]).max() > 100 * limit  # what another z makes is far away
    np.testing.assert_allclose(found, before, rtol=0, atol=limit)


@pytest.mark.parametrize("name", DRAWN)
def test_the_command_draws_the_same_picture(run: Path, name: str) -> None:
    with Image.open(RUNS / name / "sample.png") as image:
        before = np.array(image).astype(int)
    found = results.pictured(run, run / "sample.png")
    # Rounding moves a value from one level to the next where it lies between them.
    np.testing.assert_allclose(found, before, rtol=0, atol=1)


def scores_are_the_same(run: Path, name: str, *, but: Iterable[str] = ()) -> None:
    """Assert that there are the same scores, and all `but` those of the same values. Newer kinds of
    scores stand beside them.
    """
    before = recorded(name)["scores"]
    known = {score["key"] for score in before}
    found = [score for score in results.scored(run) if score["key"] in known]
    for score in (*found, *before):
        score["name"] = score["name"].partition(":")[0]  # less the numbers in it
    kind = ("key", "name", "baseline_of", "real", "fake")
    assert [s["key"] for s in found] == [s["key"] for s in before]
    for new, old in zip(found, before, strict=True):
        if old["key"] == "inception":  # without test images half of the others are beside it now
            assert new["name"] == old["name"]
            continue
        assert [new[k] for k in kind] == [old[k] for k in kind]
        for number in ("value", "error", "baseline"):
            assert (new[number] is None) == (old[number] is None), old["key"]
            if old[number] is not None and old["key"] not in but:
                assert new[number] == pytest.approx(old[number], rel=1e-4), old["key"]


@pytest.mark.parametrize("name", sorted({*SCORED} - {*LABELLED}))
def test_the_scores_are_the_same(run: Path, name: str) -> None:
    scores_are_the_same(run, name)


@pytest.mark.slow
def test_the_scores_of_labelled_images_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a minute, most of it the training of the classifier that they share."""
    from minigan_kernels.cpu.compiler.disk_cache import cache_folder

    # The classifier is kept with this test, and compiled kernels where they always are.
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(cache_folder().parent))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert LABELLED
    for name in LABELLED:
        run = results.copied(RUNS / name / "run", tmp_path / name)
        scores_are_the_same(run, name, but=JUDGED)


# --- Going on --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_run_goes_on_as_it_would_have(run: Path, name: str) -> None:
    before = results.thinned_state(run) if name in SAVED else {}
    state, rows = results.continued(run, *recorded(name)["continued"])
    expected = {
        key.removeprefix("state/"): array
        for key, array in recorded_arrays(name).items()
        if key.startswith("state/")
    }
    assert state.keys() == expected.keys()
    moved = {key: rms(array - before.get(key, 0)) for key, array in expected.items()}
    assert max(moved.values()) > 0
    for key, array in expected.items():
        limit = 1e-3 * moved[key] + 1e-6 * rms(array)
        assert rms(state[key] - array) <= limit, key
    assert [[*row] for row in rows[-2:]] == [[*row] for row in recorded(name)["rows"]]
    for new, old in zip(rows[-2:], recorded(name)["rows"], strict=True):
        assert new == pytest.approx(old, rel=1e-4, abs=1e-6)
    assert [row["step"] for row in rows] == [*range(1, len(rows) + 1)]
    report = (run / "report.html").read_text()
    for word in (Path(config_of(run)["recipe"]).stem, *rows[-1]):
        assert word in report


# --- A recipe of one's own -------------------------------------------------------------------

WORDS = ["--batch-size", "16", "--hidden", "8", "--checkpoint-every", "9", "--seed", "5"]


@pytest.mark.parametrize("recipe", ["points_gan", str(RECIPES / "points_gan.py")])
def test_a_recipe_of_old_trains_and_goes_on_exactly(
    recipe: str, shell: Shell, tmp_path: Path
) -> None:
    """The file of an old revision's user, who changes nothing in it."""
    train = ["train", recipe, "--data", "ring", *WORDS]
    shell.succeeds(*train, "--steps", "5", "--out", tmp_path / "straight")
    shell.succeeds(*train, "--steps", "3", "--out", tmp_path / "halves")
    named = ["--recipe", recipe]
    shell.succeeds("train", "--resume", "--out", tmp_path / "halves", "--steps", "5", *named)
    ends = [results.newest(tmp_path / name).read_bytes() for name in ("straight", "halves")]
    assert ends[0] == ends[1]
    assert results.rows_of(tmp_path / "straight") == results.rows_of(tmp_path / "halves")
    made = results.generated(tmp_path / "halves")
    assert made.shape == (results.SAMPLES, 2)
    assert np.isfinite(made).all()
    assert np.ptp(made) > 0
    shell.succeeds("evaluate", tmp_path / "halves", "--count", "50", *named)

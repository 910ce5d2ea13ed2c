"""`minigan evaluate`: the command, its files, and the data beside which a run is scored."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny
from tiny import Shell

from minigan import evaluation
from minigan.data import Dataset, load
from minigan.errors import UserError
from minigan.evaluation.distances import KINDS
from minigan.evaluation.truth import truth
from minigan.metrics import classifier as judges


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of each test's own, and a training that is over soon."""
    monkeypatch.setattr(judges, "user_cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(judges, "STEPS", 50)


def test_a_run_on_points(shell: Shell, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["train", "gan", "--data", "grid", "--steps", "3", "--seed", "4", "--out", run]
    shell.succeeds(*words)
    before = tiny.tree(run)
    answer = shell.succeeds("evaluate", run)
    assert answer.out.splitlines()[-1] == str(run / "scores.json")
    assert "modes covered, of 25" in answer.out
    facts = json.loads((run / "scores.json").read_text())
    assert {key: facts[key] for key in ("recipe", "data", "step", "seed", "classifier")} == {
        "recipe": "gan", "data": "grid", "step": 3, "seed": 4, "classifier": None,
    }  # fmt: skip
    assert facts["command"].startswith("minigan train gan --data grid")
    assert facts["resumed"] == []
    assert 0 <= facts["minutes"] < 1
    assert set(facts["evaluation"]) == {
        "seed", "count", "encoded", "device", "precision", "deterministic", "versions",
        "revision"
    }  # fmt: skip
    by_key = {score["key"]: score for score in facts["scores"]}
    assert set(by_key) == {"modes", "high_quality", "reverse_kl"}
    assert by_key["modes"]["fake"] == by_key["modes"]["real"] == 2500
    assert by_key["modes"]["baseline"] == 25
    assert by_key["high_quality"]["baseline"] == pytest.approx(0.989, abs=0.01)
    after = tiny.tree(run)
    assert after.pop("scores.json")
    assert after.pop("report.html") != before.pop("report.html")  # the scores are in it
    assert after == before
    again = f"train --resume --out {run} --more 1"
    shell.succeeds(*again.split())
    answer = shell.succeeds("evaluate", run)
    (run / "report.html").unlink()
    (run / "report.html").mkdir()
    failed = shell("evaluate", run)
    assert (failed.code, failed.err.count("report.html cannot be written")) == (2, 1)
    assert failed.out == answer.out  # the scores are told before
    (run / "report.html").rmdir()
    resumed = json.loads((run / "scores.json").read_text())["resumed"]
    assert [(part["command"], part["step"]) for part in resumed] == [(f"minigan {again}", 3)]
    assert resumed[0]["versions"] == facts["evaluation"]["versions"]

    shell.succeeds("evaluate", run, "--count", "50", "--seed", "1")
    facts = json.loads((run / "scores.json").read_text())
    assert (facts["scores"][0]["fake"], facts["evaluation"]["seed"]) == (50, 1)


def test_what_is_infinite_is_null_in_the_file(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shell.succeeds("train", "gan", "--data", "ring", "--steps", "1", "--out", run)
    monkeypatch.setattr(evaluation, "_samples", lambda state, z: np.full((len(z), 2), 9.0))
    assert " inf " in shell.succeeds("evaluate", run).out
    scores = json.loads((run / "scores.json").read_text(), parse_constant=pytest.fail)["scores"]
    assert [score["value"] for score in scores] == [0, 0.0, None]


def test_a_run_on_images(shell: Shell, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judges, "STEPS", 2)
    answer = shell.succeeds("evaluate", run, "--count", "40")
    assert "no test data" in answer.err
    assert "left out: Fréchet" in answer.err
    facts = json.loads((run / "scores.json").read_text())
    assert [score["key"] for score in facts["scores"]] == [
        *(f"{of}{key}" for of in ("", "random_") for key in KINDS if key != "frechet"),
        "copies_features", "nearest_features", "copies_pixels", "nearest_pixels", "inception",
    ]  # fmt: skip
    assert (run / "nearest.png").is_file()
    assert f"{run / 'nearest.png'}\n{run / 'scores.json'}\n" in answer.out
    assert "Samples beside the training pictures" in (run / "report.html").read_text()
    assert [features["name"] for features in facts["features"]] == [
        f"classifier of {facts['data']}, 128 features",
        "random convolutions of seed 0, 128 features",
    ]
    assert facts["classifier"]["tested_on"] == "every tenth training image, held out"
    assert len(facts["classifier"]["digest"]) == 16
    config = json.loads((run / "config.json").read_text())
    assert facts["classifier"]["data"] == facts["data"] == config["data"]["name"]
    assert facts["left_out"]
    before = (run / "nearest.png").read_bytes()
    answer = shell.succeeds("evaluate", run, "--count", "40", "--seed", "1")
    assert f"the former nearest pictures are kept as {run / 'nearest-2.png'}" in answer.err
    assert (run / "nearest-2.png").read_bytes() == before != (run / "nearest.png").read_bytes()


def test_all_runs_on_glyphs_have_one_judge() -> None:
    train, test = truth({"source": "glyphs", "size": 12, "stack": 1}, lambda text: None)
    np.testing.assert_array_equal(train.x, load("glyphs", size=12, seed=0).x)
    assert test is not None
    assert not (train.x[:200, None] == test.x[:200]).all(axis=(2, 3, 4)).any()


def test_a_broken_test_split_is_not_taken_for_none(digits: Path, tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    shutil.copytree(digits, folder)

    def found() -> Dataset | None:
        return truth({"source": str(folder), "size": None, "stack": 1}, lambda text: None)[1]

    assert found() is None
    for kind in ("images-idx3", "labels-idx1"):
        shutil.copy(folder / f"train-{kind}-ubyte", folder / f"t10k-{kind}-ubyte")
    assert found() is not None
    test = folder / "t10k-images-idx3-ubyte"
    test.write_bytes(test.read_bytes()[:-1])
    with pytest.raises(UserError, match="cut short"):
        found()
    test.unlink()
    with pytest.raises(UserError, match="lacks the test images"):
        found()


def test_what_the_command_refuses(shell: Shell, run: Path, tmp_path: Path) -> None:
    shell.refuses("evaluate", says=("needs a run directory",))
    shell.refuses("evaluate", tmp_path, says=("config.json",))
    shell.refuses("evaluate", run, "--count", "0", says=("--count", "0"))
    shell.refuses("evaluate", run, "--encoded", "-1", says=("--encoded", "-1"))
    shell.refuses("evaluate", run, "--cuont", "3", says=("--count?",))
    for file in (run / "checkpoints").iterdir():
        file.write_bytes(b"")
    shell.refuses("evaluate", run, says=("damaged",))

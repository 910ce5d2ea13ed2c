"""A run whose data have been moved: --data says where they are now."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny
from tiny import Shell

from minigan.training.run import Run


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.no_pictures(monkeypatch)


@pytest.fixture
def moved(shell: Shell, tmp_path: Path) -> tuple[Path, Path]:
    """A run, and where its data are now."""
    data = tiny.write_idx(tmp_path / "before")
    words = ["--data", data, "--steps", "1", "--out", tmp_path / "run"]
    shell.succeeds("train", "gan", *tiny.FLAGS, *words)
    data.rename(tmp_path / "now")
    return tmp_path / "run", tmp_path / "now"


def changed(folder: Path) -> Path:
    """The same number of images, of which one is another."""
    file = next(folder.glob("*images*"))
    file.write_bytes(file.read_bytes()[:-1] + b"\x07")
    return folder


def source(run: Path) -> str:
    return Run.open(run).config["data"]["source"]


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize("verb", ["sample", "evaluate", "resume"])
def test_every_verb_takes_moved_data_and_remembers_where_they_are(
    verb: str, moved: tuple[Path, Path], shell: Shell
) -> None:
    run, now = moved
    words = {
        "sample": ["sample", run, "--count", "1"],
        "evaluate": ["evaluate", run, "--count", "10"],
        "resume": ["train", "--resume", "--out", run, "--more", "1"],
    }[verb]
    if verb != "sample":
        shell.refuses(*words, says=("cannot be had", "say by --data where they are now"))
    shell.succeeds(*words, "--data", now)
    assert source(run) == str(now)
    shell.succeeds("train", "--resume", "--out", run, "--more", "1")


@pytest.mark.parametrize("verb", ["sample", "evaluate", "resume"])
def test_other_data_are_refused_by_their_content(
    verb: str, moved: tuple[Path, Path], shell: Shell
) -> None:
    run, now = moved
    before = tiny.tree(run)
    words = ["train", "--resume", "--out", run] if verb == "resume" else [verb, run]
    says = (f"--data {now} does not hold the data of the run in {run}", "as many, but not the same")
    shell.refuses(*words, "--data", changed(now), says=says)
    other = tiny.write_idx(now.with_name("other"), count=20, side=9)
    shell.refuses(
        *words, "--data", other, says=(f"--data {other} does not fit the run", "shape (1, 8, 8)")
    )
    missing = now.with_name("missing")
    shell.refuses(*words, "--data", missing, says=(f"--data {missing}: There is no data set",))
    assert tiny.tree(run) == before


def test_a_resumed_run_accepts_other_data_when_told(moved: tuple[Path, Path], shell: Shell) -> None:
    run, now = moved
    words = ["train", "--resume", "--out", run, "--more", "1", "--data", changed(now)]
    shell.succeeds(*words, "--accept-changes")
    assert source(run) == str(now)


def test_a_run_that_does_not_know_its_content_compares_what_it_knows(
    moved: tuple[Path, Path], shell: Shell
) -> None:
    run, now = moved
    config = json.loads((run / "config.json").read_text())
    del config["data"]["digest"]
    (run / "config.json").write_text(json.dumps(config))
    answer = shell.succeeds("sample", run, "--data", now, "--count", "1")
    assert "were compared by number, shape and classes only" in answer.err
    assert source(run) == str(now)


def test_a_run_that_cannot_be_written_says_that_it_does_not_remember(
    moved: tuple[Path, Path], shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, now = moved

    def fail(self: Run) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Run, "write_config", fail)
    words = ["sample", run, "--data", now, "--count", "1", "--out", tmp_path / "a.npz"]
    answer = shell.succeeds(*words)
    assert f"will not remember that its data are in {now}: Read-only file system" in answer.err
    with np.load(tmp_path / "a.npz") as found:
        assert np.isfinite(found["samples"]).all()

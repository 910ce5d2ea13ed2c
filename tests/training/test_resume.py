"""Runs that stop, or are stopped, and go on."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import tiny
from PIL import Image
from tiny import Shell

from minigan.training.run import Run
from minigan.training.state import State

EVERY = re.compile(r"step-(\d+)\.png")


def drawn(run: Path) -> list[int]:
    """The steps whose samples were drawn."""
    names = sorted(path.name for path in (run / "samples").iterdir())
    return [int(match[1]) for name in names if (match := EVERY.fullmatch(name))]


def saved(run: Path) -> list[int]:
    """The steps whose checkpoints are there."""
    return sorted(int(path.stem.split("-")[1]) for path in (run / "checkpoints").glob("step-*"))


def start(run: Path, digits: Path, checkpoint_every: int) -> subprocess.Popen[str]:
    """A long run in a process of its own."""
    rhythm = ["--sample-every", "1000000", "--checkpoint-every", str(checkpoint_every)]
    words = [*tiny.FLAGS, "--data", digits, "--steps", "1000000", *rhythm, "--out", run]
    return subprocess.Popen(
        [*tiny.COMMAND, "train", "gan", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=tiny.environment(),
    )


def wait_for_rows(run: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Wait until the run has made `count` steps."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"the run ended early: {process.communicate()[1]}")
        metrics = run / "metrics.jsonl"
        if metrics.exists() and metrics.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.02)
    raise AssertionError("the run makes no progress")


def straight(shell: Shell, digits: Path, run: Path, steps: int) -> Path:
    """An uninterrupted run of as many steps."""
    words = [*tiny.FLAGS, "--data", digits, "--steps", str(steps)]
    rhythm = ["--sample-every", "1000000", "--checkpoint-every", "1000000"]
    shell.succeeds("train", "gan", *words, *rhythm, "--out", run)
    return run


def same_end(a: Path, b: Path, step: int) -> None:
    name = f"checkpoints/step-{step:06d}.safetensors"
    assert (a / name).read_bytes() == (b / name).read_bytes()
    rows = Run.open(a).rows()
    assert [row["step"] for row in rows] == list(range(1, step + 1))
    assert tiny.same_but_for_time(rows, Run.open(b).rows())


def test_ctrl_c_writes_a_checkpoint_from_which_the_run_goes_on_exactly(
    digits: Path, shell: Shell, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with start(run, digits, checkpoint_every=1_000_000) as process:
        try:
            wait_for_rows(run, 5, process)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "Traceback" not in err
    step = saved(run)[-1]
    assert step >= 5
    assert f"interrupted at step {step}" in err
    assert f"minigan train --resume --out {run}" in err  # how to go on
    assert [row["step"] for row in Run.open(run).rows()] == list(range(1, step + 1))
    assert (run / "report.html").is_file()
    shell.succeeds("train", "--resume", "--out", run, "--steps", str(step + 5))
    same_end(run, straight(shell, digits, tmp_path / "straight", step + 5), step + 5)


def test_a_killed_run_goes_on_from_its_newest_checkpoint(
    digits: Path, shell: Shell, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with start(run, digits, checkpoint_every=7) as process:
        try:
            wait_for_rows(run, 20, process)
        finally:
            process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    step = saved(run)[-1]
    assert step % 7 == 0
    shell.succeeds("train", "--resume", "--out", run, "--steps", str(step + 9))
    same_end(run, straight(shell, digits, tmp_path / "straight", step + 9), step + 9)
    assert [path for path in run.rglob(".*") if path.is_file()] == []
    assert not (run / "lock").exists()


def test_a_run_killed_before_its_first_checkpoint_starts_again(
    digits: Path, shell: Shell, tmp_path: Path
) -> None:
    run = straight(shell, digits, tmp_path / "run", 3)
    for path in (run / "checkpoints").iterdir():
        path.unlink()
    (run / "metrics.jsonl").unlink()
    shell.succeeds("train", "--resume", "--out", run, "--checkpoint-every", "1000000")
    same_end(run, straight(shell, digits, tmp_path / "straight", 3), 3)


def test_a_copy_of_a_run_may_lack_the_empty_folder_of_its_pictures(
    digits: Path, shell: Shell, tmp_path: Path
) -> None:
    run = straight(shell, digits, tmp_path / "run", 2)
    shutil.rmtree(run / "samples")
    shell.succeeds("train", "--resume", "--out", run, "--more", "1")
    assert drawn(run) == [3]


def test_a_metrics_line_that_a_crash_cut_short_is_made_again(
    digits: Path, shell: Shell, tmp_path: Path
) -> None:
    run = straight(shell, digits, tmp_path / "run", 4)
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"step": 5, "seco')
    assert len(Run.open(run).rows()) == 4
    shell.succeeds("train", "--resume", "--out", run, "--more", "2")
    same_end(run, straight(shell, digits, tmp_path / "straight", 6), 6)


def test_the_rows_are_on_the_disk_before_the_checkpoint_that_counts_on_them(
    digits: Path, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    flush, write = os.fsync, State.save
    rows = tmp_path / "run/metrics.jsonl"

    def fsync(number: int) -> None:
        if rows.exists() and os.path.samestat(os.fstat(number), rows.stat()):
            done.append(f"{len(rows.read_text().splitlines())} rows")
        flush(number)

    def save(state: State, *where: Any) -> Path:
        done.append(f"checkpoint {state.step}")
        return write(state, *where)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(State, "save", save)
    straight(shell, digits, tmp_path / "run", 3)
    assert done == ["checkpoint 0", "3 rows", "checkpoint 3"]


def test_metrics_ahead_of_the_newest_checkpoint_are_made_again(
    digits: Path, shell: Shell, tmp_path: Path
) -> None:
    run = straight(shell, digits, tmp_path / "run", 4)
    Image.new("L", (2, 2)).save(run / "samples/step-000005.png")
    row = Run.open(run).rows()[-1]
    Run.open(run).record({**row, "step": 5, "loss_D": 77.0})
    shell.succeeds("train", "--resume", "--out", run, "--more", "2")
    assert drawn(run) == [0, 4, 6]
    same_end(run, straight(shell, digits, tmp_path / "straight", 6), 6)


def test_a_resumed_run_goes_to_its_end_or_as_far_as_it_is_told(
    digits: Path, shell: Shell, tmp_path: Path
) -> None:
    run = straight(shell, digits, tmp_path / "run", 2)
    for words, last in ((["--more", "3"], 5), (["--steps", "7"], 7), ([], 7)):
        shell.succeeds("train", "--resume", "--out", run, *words)
        assert saved(run)[-1] == last
        assert len(Run.open(run).rows()) == last
        assert Run.open(run).config["steps"] == last
        assert last in drawn(run)
    seconds = [row["seconds"] for row in Run.open(run).rows()]
    assert seconds == sorted(seconds)  # the clock goes on, too


def test_a_resumed_run_says_what_made_it(
    digits: Path, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = straight(shell, digits, tmp_path / "run", 2)
    began = Run.open(run).config
    assert began["resumed"] == []
    shell.succeeds("train", "--resume", "--out", run, "--more", "1")
    monkeypatch.setattr("minigan.training.run.version", lambda name: f"{name} of tomorrow")
    shell.succeeds("train", "gan", "--resume", "--out", run, "--steps", "5")
    config = Run.open(run).config
    assert config["command"] == began["command"]
    assert [part["step"] for part in config["resumed"]] == [2, 3]
    first, second = config["resumed"]
    assert first["command"] == f"minigan train --resume --out {run} --more 1"
    assert first["versions"] == began["versions"]
    assert second["versions"]["numba"] == "numba of tomorrow"
    assert second["revision"] == began["revision"]
    page = (run / "report.html").read_text()
    for part in config["resumed"]:
        assert part["command"] in page
        assert f"Continued from step {part['step']}:" in page
    assert "numba of tomorrow" in page


def test_no_run_goes_on_where_the_learning_rate_is_zero(
    digits: Path, shell: Shell, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    words = ["train", "lsgan", "--data", digits, "--batch-size", "4", "--width", "4", "--out", run]
    says = ("learning rate is 0 after step 3", "--steps 3", "--lr-steps")
    shell.refuses(*words, "--lr-steps", "3", "--steps", "4", says=says)
    assert not run.exists()
    shell.succeeds(*words, "--lr-steps", "3", "--steps", "2")
    before = tiny.tree(run)
    for more in (["--more", "2"], ["--steps", "4"]):
        sentence = shell.refuses("train", "--resume", "--out", run, *more, says=says)
        assert "step 4" in sentence
    assert tiny.tree(run) == before
    shell.succeeds("train", "--resume", "--out", run, "--more", "1")


def test_a_run_can_be_resumed_from_inside_its_directory(
    digits: Path, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = straight(shell, digits, tmp_path / "run", 2)
    monkeypatch.chdir(run)
    shell.succeeds("train", "--resume", "--out", ".", "--more", "1")
    assert saved(run)[-1] == 3


def test_resume_may_name_its_recipe(digits: Path, shell: Shell, tmp_path: Path) -> None:
    run = straight(shell, digits, tmp_path / "run", 2)
    shell.succeeds("train", "gan", "--resume", "--out", run, "--more", "1")
    assert saved(run)[-1] == 3


def test_resume_may_name_its_recipe_by_a_path(digits: Path, shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "my-own.py"
    file.write_text(tiny.FAILING.replace("step == 2", "step == 99"))
    words = ["--data", digits, "--steps", "1", "--out", tmp_path / "run"]
    shell.succeeds("train", file, *words)
    shell.succeeds("train", file, "--resume", "--out", tmp_path / "run", "--more", "1")


def test_a_run_of_an_earlier_recipe_says_what_it_is_taken_to_have(
    digits: Path, shell: Shell, tmp_path: Path
) -> None:
    run = straight(shell, digits, tmp_path / "run", 2)
    config = json.loads((run / "config.json").read_text())
    del config["hyper_parameters"]["noise"]
    (run / "config.json").write_text(json.dumps(config))
    answer = shell.succeeds("sample", run, "--count", "1", "--out", tmp_path / "one.png")
    assert "is of an earlier version of its recipe, and is taken to have noise 1.0" in (
        answer.out + answer.err
    )

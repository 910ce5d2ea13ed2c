"""`minigan report`: the report again, and while a run goes on."""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
from pathlib import Path

import pytest
from tiny import Shell

from minigan.commands import report
from minigan.files import atomic_write
from minigan.training.writer import LOCK, is_written, sole_writer

OLD = Path(__file__).parents[1] / "training/old_runs/runs"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of an earlier minigan, that has ended."""
    return Path(shutil.copytree(OLD / "gan/run", tmp_path / "run"))


def lengthen(run: Path, steps: int) -> None:
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"steps": steps}))


def test_the_report_of_an_old_run_is_written_again(run: Path, shell: Shell) -> None:
    assert shell.succeeds("report", run).out == f"{run}/report.html\n"
    page = (run / "report.html").read_text()
    assert "Finished: 30 steps" in page
    assert "ln 4" in page
    assert shell.succeeds("report", run, "--watch").out == f"{run}/report.html\n"  # it has ended
    assert (run / "report.html").read_text() == page


def test_what_cannot_be_reported_is_refused(run: Path, shell: Shell) -> None:
    shell.refuses("report", "--watch", says=("minigan report RUN",))
    shell.refuses("report", run / "nothing", says=("not a run directory",))
    shell.refuses("report", run, "--wathc", says=("did you mean --watch?",))
    (run / "report.html").mkdir()
    shell.refuses("report", run, says=("report.html", "cannot be written"))


def test_watching_follows_a_run_to_its_end(
    run: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengthen(run, 32)
    seen = []

    def sleep(seconds: float) -> None:
        """The run goes on by a step, or does nothing, between two looks."""
        assert seconds >= report.EVERY
        page = (run / "report.html").read_text()
        seen.append(page.partition('class="state ')[2].partition("<")[0])
        step = {1: 31, 3: 32}.get(len(seen))
        if step:
            with open(run / "metrics.jsonl", "a") as file:
                file.write(json.dumps({"step": step, "seconds": 9.0, "loss_D": 1.0}) + "\n")
        assert len(seen) < 9

    monkeypatch.setattr(report.time, "sleep", sleep)
    with sole_writer(run, print):
        answer = shell.succeeds("report", run, "--watch")
    assert [text.partition(">")[2] for text in seen] == [
        "Training: step 30 of 32",
        "Training: step 31 of 32",
        "Training: step 31 of 32",
    ]
    assert "Finished: 32 steps" in (run / "report.html").read_text()
    assert answer.err.splitlines() == ["watching the run; Ctrl-C stops"]


@pytest.mark.skipif(os.name != "posix", reason="processes as in POSIX")
def test_watching_ends_with_a_run_that_was_killed(
    run: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the trainer nothing changes but that its process is gone: its lock stays."""
    lengthen(run, 32)
    (run / LOCK).write_text(f"{os.getpid()} on {platform.node()}\n")
    kill = os.kill
    sleeps: list[float] = []

    def ask(process: int, number: int) -> None:
        kill(process, number)
        if len(sleeps) == 2:
            raise ProcessLookupError

    def sleep(seconds: float) -> None:
        sleeps.append(seconds)
        assert len(sleeps) < 9

    monkeypatch.setattr(os, "kill", ask)
    monkeypatch.setattr(report.time, "sleep", sleep)
    watching, ended = shell.succeeds("report", run, "--watch").err.splitlines()
    assert watching == "watching the run; Ctrl-C stops"
    assert ended == (
        "nobody trains the run now: it stopped at step 30 of 32, and minigan train --resume --out "
        f"{run} continues it"
    )
    assert "Interrupted at step 30 of 32" in (run / "report.html").read_text()
    assert ended in shell.succeeds("report", run, "--watch").err  # at once
    assert len(sleeps) == 2


def test_pictures_that_are_being_written_are_not_shown(run: Path, shell: Shell) -> None:
    (run / "samples").mkdir()
    shell.succeeds("report", run)
    page = (run / "report.html").read_bytes()
    with atomic_write(run / "samples/step-000031.png") as temporary:
        temporary.write_bytes(b"half of a pict")
        shell.succeeds("report", run)
        assert (run / "report.html").read_bytes() == page


def test_a_picture_that_cannot_be_read_is_named(
    run: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture that goes after the folder was listed is left out; another fault names it."""
    read, fault = Path.read_bytes, FileNotFoundError
    picture = run / "samples/mine.png"
    picture.parent.mkdir()
    picture.write_bytes(b"")

    def broken(path: Path) -> bytes:
        if path == picture:
            raise fault(errno.EIO, "Input/output error", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", broken)
    shell.succeeds("report", run)
    assert "mine" not in (run / "report.html").read_text()
    fault = OSError
    shell.refuses("report", run, says=(f"{picture} cannot be read (Input/output error)",))


def test_a_run_that_is_written_is_live(run: Path, shell: Shell) -> None:
    lengthen(run, 99)
    assert not is_written(run)
    with sole_writer(run, print):
        assert is_written(run)
        shell.succeeds("report", run)
        assert "Training: step 30 of 99" in (run / "report.html").read_text()
    assert not is_written(run)
    shell.succeeds("report", run)
    assert "Interrupted at step 30 of 99" in (run / "report.html").read_text()


@pytest.mark.skipif(os.name != "posix", reason="processes as in POSIX")
def test_the_lock_of_a_killed_process_is_none(run: Path) -> None:
    for text, alive in (
        (f"{os.getpid()} on {platform.node()}", True),
        (f"{2**22 + 1} on {platform.node()}", False),  # above what Linux gives
        (f"{2**80} on {platform.node()}", True),
        ("1 on another machine", True),
        ("", True),
    ):
        (run / LOCK).write_text(text)
        assert is_written(run) == alive, text

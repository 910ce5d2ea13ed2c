"""`minigan report`: the report again, and while a run goes on."""

from __future__ import annotations

import json
import os
import platform
import shutil
from pathlib import Path

import pytest
from tiny import Shell

from minigan.commands import report
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
    shell.succeeds("report", run, "--watch")
    assert [text.partition(">")[2] for text in seen] == [
        "Interrupted at step 30 of 32",
        "Interrupted at step 31 of 32",
        "Interrupted at step 31 of 32",
    ]
    assert "Finished: 32 steps" in (run / "report.html").read_text()


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

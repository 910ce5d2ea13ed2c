"""How long a run will take is said before it starts."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
from minigan_kernels.compiling import COMPILING
from tiny import Shell

from minigan import start
from minigan.training import checkpoint, pace
from minigan.training.graph_replay import CHECKED
from minigan.training.run import Run


class Steps:
    """A state whose steps take the given seconds, the last ones over and over."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *seconds: float, graphs: bool = False):
        self.seconds, self.done, self.now = seconds, 0, 100.0
        self.replay = SimpleNamespace() if graphs else None
        monkeypatch.setattr(pace, "clock", lambda: self.now)

    def advance(self) -> None:
        self.now += self.seconds[min(self.done, len(self.seconds) - 1)]
        self.done += 1


@pytest.mark.parametrize(
    ("seconds", "steps", "mean", "done"),
    [
        ((1.0, 0.125), None, 0.125, 1 + 8),  # two seconds are enough
        ((1.0, 0.01), None, 0.01, 1 + 20),
        ((1.0, 0.01), 5999, 0.01, 1 + 1),  # less than a minute
        ((1.0, 0.01), 6001, 0.01, 1 + 20),
        ((1.0, 0.5, 0.25, 0.25), 1000, 1 / 3, 1 + 3),
        ((4.9, 4.0), 1000, 4.0, 1 + 1),
        ((5.0, 4.0), 1000, 5.0, 1),  # nobody waits for a second one
    ],
)
def test_a_few_steps_are_timed(
    seconds: tuple[float, ...],
    steps: int | None,
    mean: float,
    done: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state: Any = Steps(monkeypatch, *seconds)
    assert pace.seconds_per_step(state, steps) == pytest.approx(mean)
    assert state.done == done


def test_steps_before_a_graph_is_replayed_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    state: Any = Steps(monkeypatch, *[0.4] * CHECKED, 0.001, graphs=True)
    assert pace.seconds_per_step(state, 10**6) == pytest.approx(0.001)


def test_compiling_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    state: Any = Steps(monkeypatch, 30.0, 0.5)
    monkeypatch.setattr(COMPILING, "seconds", lambda: 29.0 if state.done else 0.0)
    assert pace.seconds_per_step(state, 1000) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("seconds", "steps", "words"),
    [
        (1.2, 2000, "40 minutes for 2,000 steps on this machine (1.2 s a step)"),
        (0.5, 300, "2.5 minutes for 300 steps on this machine (0.5 s a step)"),
        (10.8, 2000, "6 hours for 2,000 steps on this machine (11 s a step)"),
        (10.0, 20000, "2.3 days for 20,000 steps on this machine (10 s a step)"),
        (0.01, 1234, "12 seconds for 1,234 steps on this machine (0.01 s a step)"),
        (0.001, 100, "1 second for 100 steps on this machine (0.001 s a step)"),
    ],
)
def test_the_time_of_a_run_is_said_in_words(seconds: float, steps: int, words: str) -> None:
    assert pace.about(seconds, steps) == f"about {words}"


WORDS = ["train", "gan", "--data", "ring", "--hidden", "8", "--batch-size", "16"]


def test_a_run_says_how_long_it_takes_and_has_the_bytes_of_one_that_does_not(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = start.MEASURED + 1
    said = shell.succeeds(*WORDS, "--steps", str(steps), "--out", tmp_path / "told").err
    assert re.search(rf"^about \d+ seconds? for {steps} steps on this machine \(", said, re.M)
    assert said.index("about ") < said.index("training gan")
    monkeypatch.setattr(start, "MEASURED", steps)
    quiet = shell.succeeds(*WORDS, "--steps", str(steps), "--out", tmp_path / "untold").err
    assert "on this machine" not in quiet
    one, other = (Run.open(tmp_path / name) for name in ("told", "untold"))
    assert tiny.same_but_for_time(one.rows(), other.rows())
    ends = [checkpoint.newest(run.checkpoints) for run in (one, other)]
    assert len({path and path.read_bytes() for path in ends}) == 1


def test_a_loss_that_stops_being_finite_is_the_runs_own_affair(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or nothing would be written of it."""
    monkeypatch.setattr(pace, "SHORT", 0.0)  # so that the third step is timed
    (tmp_path / "own.py").write_text(tiny.FAILING)
    out = tmp_path / "run"
    words = ["train", str(tmp_path / "own.py"), "--data", "glyphs", "--steps", "100"]
    answer = shell(*words, "--out", out)
    assert answer.code == 1
    assert "the loss of G is nan in step 3" in answer.err
    assert "on this machine" not in answer.err
    assert [row["step"] for row in Run.open(out).rows()] == [1, 2, 3]

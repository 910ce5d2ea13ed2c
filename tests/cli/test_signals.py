"""Ctrl-C, and SIGTERM and SIGHUP as `docker stop`, a batch system or a closing terminal send."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import tiny
from tiny import Shell

from minigan import signals
from minigan.data import load
from minigan.training import checkpoint, loop
from minigan.training.run import Run
from minigan.training.state import State
from minigan.training.writer import new_run

CODES = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
ALL = [number for number, _ in CODES]


@pytest.fixture(autouse=True)
def handlers_are_restored() -> Iterator[None]:
    outside = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup would have ignored
    before = [signal.getsignal(number) for number in ALL]
    yield
    assert [signal.getsignal(number) for number in ALL] == before
    signal.signal(signal.SIGHUP, outside)


def sending(monkeypatch: pytest.MonkeyPatch, *numbers: int, step: int = 3) -> None:
    """From now on these signals come within a step of every run."""
    plain = State.advance

    def advance(self: State) -> dict[str, float]:
        if self.step + 1 == step:
            for number in numbers:
                signal.raise_signal(number)
        return plain(self)

    monkeypatch.setattr(State, "advance", advance)


def words(digits: Path, out: Path, *more: str) -> list[str | Path]:
    rhythm = ["--steps", "6", "--sample-every", "6", "--checkpoint-every", "6"]
    return ["train", "gan", *tiny.FLAGS, "--data", digits, *rhythm, "--out", out, *more]


def steps(run: Path) -> tuple[int, int]:
    """The last step whose row is there, and the step of the newest checkpoint."""
    newest = checkpoint.newest(run / "checkpoints")
    assert newest is not None
    checkpoint.load(newest)
    return Run.open(run).rows()[-1]["step"], checkpoint.step_of(newest)


# --- A run -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), CODES)
def test_a_signal_loses_no_step(
    number: int, code: int, digits: Path, shell: Shell, tmp_path: Path, monkeypatch: Any
) -> None:
    straight, run = tmp_path / "straight", tmp_path / "run"
    shell.succeeds(*words(digits, straight))
    with monkeypatch.context() as patch:
        sending(patch, number)
        answer = shell(*words(digits, run))
    assert answer.code == code
    last = answer.err.splitlines()[-1]
    by = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
    assert last == f"interrupted{by} at step 3; minigan train --resume --out {run} continues"
    assert answer.out == ""
    assert steps(run) == (3, 3)
    assert (run / "report.html").exists()
    assert not (run / "lock").exists()
    shell.succeeds("train", "--resume", "--out", run)
    name = "checkpoints/step-000006.safetensors"
    assert (run / name).read_bytes() == (straight / name).read_bytes()
    assert tiny.same_but_for_time(Run.open(run).rows(), Run.open(straight).rows())


@pytest.mark.parametrize(
    ("numbers", "code"),
    [
        ((signal.SIGINT, signal.SIGINT), 130),
        ((signal.SIGTERM, signal.SIGINT), 130),
        ((signal.SIGHUP, signal.SIGINT), 130),
    ],
)
def test_a_second_ctrl_c_ends_at_once(
    numbers: tuple[int, ...],
    code: int,
    digits: Path,
    shell: Shell,
    tmp_path: Path,
    monkeypatch: Any,
) -> None:
    run = tmp_path / "run"
    sending(monkeypatch, *numbers)
    answer = shell(*words(digits, run))
    assert answer.code == code
    assert answer.err.splitlines()[-1].startswith("minigan: interrupted")
    assert steps(run) == (2, 0)


@pytest.mark.parametrize(("seconds", "left"), [(60.0, (3, 3)), (0.0, (2, 0))])
def test_a_second_sigterm_ends_at_once_if_it_is_no_echo_of_the_first(
    seconds: float, left: Any, digits: Path, shell: Shell, tmp_path: Path, monkeypatch: Any
) -> None:
    """A process gets it twice when its group and it itself are sent it."""
    monkeypatch.setattr(signals, "TWICE", seconds)
    sending(monkeypatch, signal.SIGTERM, signal.SIGTERM)
    assert shell(*words(digits, tmp_path / "run")).code == 143
    assert steps(tmp_path / "run") == left


@pytest.mark.parametrize("numbers", [(signal.SIGHUP,) * 3, (signal.SIGTERM, signal.SIGHUP)])
def test_a_terminal_that_closes_loses_no_step(
    numbers: tuple[int, ...], digits: Path, shell: Shell, tmp_path: Path, monkeypatch: Any
) -> None:
    """Its shell sends SIGHUP as well as the system, and systemd sends it after SIGTERM."""
    monkeypatch.setattr(signals, "TWICE", 0.0)
    sending(monkeypatch, *numbers)
    assert shell(*words(digits, tmp_path / "run")).code == 128 + numbers[0]
    assert steps(tmp_path / "run") == (3, 3)


def test_what_is_ignored_stays_ignored(
    digits: Path, shell: Shell, tmp_path: Path, monkeypatch: Any
) -> None:
    """`nohup minigan train`."""
    sending(monkeypatch, signal.SIGHUP)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        shell.succeeds(*words(digits, tmp_path / "run"))
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert steps(tmp_path / "run") == (6, 6)


def test_a_system_without_sighup(
    digits: Path, shell: Shell, tmp_path: Path, monkeypatch: Any
) -> None:
    """Windows; what the module makes of it, too."""
    with monkeypatch.context() as patch:
        patch.delattr(signal, "SIGHUP")
        assert signals._ending() == (signal.SIGTERM,)
    monkeypatch.setattr(signals, "ENDING", (signal.SIGTERM,))
    sending(monkeypatch, signal.SIGTERM)
    assert shell(*words(digits, tmp_path / "run")).code == 143
    assert steps(tmp_path / "run") == (3, 3)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_a_save_lets_it_end(
    number: int, digits: Path, shell: Shell, tmp_path: Path, monkeypatch: Any
) -> None:
    plain, sent = os.fsync, []

    def fsync(descriptor: int) -> None:
        place = f"/proc/self/fd/{descriptor}"
        if "step-000004.safetensors" in os.path.realpath(place) and not sent:
            sent.append(descriptor)
            signal.raise_signal(number)
        plain(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    answer = shell(*words(digits, tmp_path / "run", "--checkpoint-every", "4"))
    assert answer.code == 128 + number
    assert steps(tmp_path / "run") == (4, 4)
    assert [path for path in (tmp_path / "run").rglob(".*") if path.is_file()] == []


def test_a_signal_after_the_last_step_is_too_late(
    digits: Path, shell: Shell, tmp_path: Path, monkeypatch: Any
) -> None:
    sending(monkeypatch, signal.SIGTERM, step=6)
    shell.succeeds(*words(digits, tmp_path / "run"))
    assert steps(tmp_path / "run") == (6, 6)


def test_a_signal_before_the_first_step_leaves_what_can_be_resumed(
    digits: Path, shell: Shell, tmp_path: Path, monkeypatch: Any
) -> None:
    plain = loop.draw_data

    def draw_data(*arguments: Any) -> None:
        signal.raise_signal(signal.SIGTERM)
        plain(*arguments)

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(loop, "draw_data", draw_data)
        assert shell(*words(digits, run)).code == 143
    shell.succeeds("train", "--resume", "--out", run)
    assert steps(run) == (6, 6)


@pytest.mark.parametrize(("number", "code"), CODES)
@pytest.mark.parametrize("waking", [True, False])
def test_a_signal_that_python_ignores_comes_again(
    waking: bool, number: int, code: int, digits: Path, shell: Shell, tmp_path: Path,
    monkeypatch: Any,
) -> None:  # fmt: skip
    """What is raised while an object is destroyed is ignored, and the run would go on."""
    if not waking:
        monkeypatch.delattr(signal, "pthread_kill")  # Windows

    class Dying:
        def __del__(self) -> None:
            signal.raise_signal(number)

    def draw_data(*arguments: Any) -> None:
        dying = Dying()
        del dying
        for _ in range(1 if waking else 600):  # or else it comes between two steps of Python
            time.sleep(60 if waking else 0.1)

    run = tmp_path / "run"
    monkeypatch.setattr(loop, "draw_data", draw_data)
    began = time.monotonic()
    answer = shell(*words(digits, run))
    assert answer.code == code
    assert time.monotonic() - began < 30  # it has not slept on
    assert "Traceback" not in answer.err
    by = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
    assert answer.err.splitlines()[-1] == f"minigan: interrupted{by}"


# --- Not a command ---------------------------------------------------------------------------


def trained(folder: Path, digits: Path) -> int | None:
    """What `train` answers to whoever calls it."""
    dataset = load(digits)
    state = tiny.state("gan", dataset)
    values = asdict(state.recipe)
    config = {"recipe": "gan", "hyper_parameters": values, "seed": 0, "data": {"name": "digits"}}
    with new_run(folder, config, print) as run:
        how: Any = {"steps": 3, "sample_every": 9, "checkpoint_every": 9, "say": print}
        return loop.train(state, dataset, run, **how)


def handlers_within(monkeypatch: pytest.MonkeyPatch, call: Callable[[], Any]) -> list[Any]:
    """Who handles each signal within a step."""
    found: list[Any] = []
    plain = State.advance

    def advance(self: State) -> dict[str, float]:
        found[:] = [signal.getsignal(number) for number in ALL]
        return plain(self)

    monkeypatch.setattr(State, "advance", advance)
    assert call() is None
    return found


def test_a_notebook_keeps_its_signals(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that embeds minigan must end when it is told to, and not only the training."""
    before = [signal.getsignal(number) for number in ALL]
    found = handlers_within(monkeypatch, lambda: trained(tmp_path / "run", digits))
    assert found[1:] == before[1:]
    assert found[0] != before[0]  # Ctrl-C interrupts the training alone


def test_a_thread_touches_no_signals(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [signal.getsignal(number) for number in ALL]
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(trained, tmp_path / "run", digits).result
        assert handlers_within(monkeypatch, call) == before


def test_a_command_in_a_thread_touches_no_signals(shell: Shell) -> None:
    found: list[Any] = []

    def main() -> None:
        with signals.raised():
            found.append([signal.getsignal(number) for number in ALL])

    thread = threading.Thread(target=main)
    thread.start()
    thread.join()
    assert found == [[signal.getsignal(number) for number in ALL]]


def test_a_handler_that_is_not_pythons_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "getsignal", lambda number: None)
    taken: list[int] = []
    monkeypatch.setattr(signal, "signal", lambda number, handler: taken.append(number))
    with signals.raised(), signals.deferred():
        pass
    assert taken == []


# --- Other commands ----------------------------------------------------------------------------


def during_flush(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """From now on a signal comes while a file is flushed that has not got its name yet."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: signal.raise_signal(number))


@pytest.mark.parametrize(("number", "code"), CODES)
@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize(("verb", "name"), [("sample", "sample.png"), ("evaluate", "scores.json")])
def test_a_command_leaves_the_old_file_or_the_new_one(
    number: int, code: int, verb: str, name: str, run: Path, shell: Shell, monkeypatch: Any
) -> None:
    (run / name).write_text("old")
    before = tiny.tree(run)
    during_flush(monkeypatch, number)
    answer = shell(verb, run, "--count", "10")
    assert answer.code == code
    by = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
    assert answer.err.splitlines()[-1] == f"minigan: interrupted{by}"
    assert "Traceback" not in answer.err
    assert tiny.tree(run) == before


@pytest.mark.parametrize(("number", "code"), CODES)
def test_the_classifier_is_kept_whole_or_not_at_all(
    number: int, code: int, shell: Shell, run: Path, own_cache: Path, monkeypatch: Any
) -> None:
    during_flush(monkeypatch, number)
    assert shell("evaluate", run, "--count", "10").code == code
    assert [path for path in own_cache.rglob("*") if path.is_file()] == []


def test_a_signal_while_kernels_are_chosen_or_pages_printed(shell: Shell, monkeypatch: Any) -> None:
    def main(words: list[str]) -> int:
        signal.raise_signal(signal.SIGTERM)
        return 0

    monkeypatch.setattr("minigan.commands.recipes.main", main)
    answer = shell("recipes")
    assert (answer.code, answer.err) == (143, "minigan: interrupted by SIGTERM\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_a_library_swallows_stops_the_training(number: int) -> None:
    with signals.raised():
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(number)
        with signals.deferred() as came:
            assert came() == number
    with signals.raised(), signals.deferred() as came:
        assert came() is None


# --- Processes -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), CODES)
def test_a_signal_while_kernels_are_compiled(
    number: int, code: int, digits: Path, tmp_path: Path
) -> None:
    """The exit code says it, and no machine code stays behind half-written."""
    cache = tmp_path / "cache"
    environment = tiny.environment(NUMBA_CACHE_DIR=str(cache))
    command = [*tiny.COMMAND, *map(str, words(digits, tmp_path / "run"))]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr is not None
        assert "compiling kernels" in process.stderr.readline()
        process.send_signal(number)
        said = process.stderr.read()
    assert process.returncode == code, said
    assert "Traceback" not in said
    assert not list(cache.rglob("*.unfinished"))
    again = subprocess.run([*tiny.COMMAND, "recipes"], env=environment, capture_output=True)
    assert again.returncode == 0


@pytest.mark.slow
def test_a_stopped_benchmark_stops_its_process(tmp_path: Path) -> None:
    command = [*tiny.COMMAND, "bench", "overhead", "--quick", "--out", str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        if not children.exists():
            pytest.skip("this system does not say whose child is whose")
        while not (found := children.read_text().split()):
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert process.returncode == 143
    for child in found:
        status = Path(f"/proc/{child}/stat")
        assert not status.exists() or status.read_text().split()[2] == "Z"


def test_the_codes_are_those_of_the_design(shell: Shell) -> None:
    assert [128 + number for number, _ in CODES] == [code for _, code in CODES]
    assert json.dumps([signals.name(number) for number in ALL]) == '["SIGINT", "SIGTERM", "SIGHUP"]'

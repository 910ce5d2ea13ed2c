"""Messages that nobody reads any more: a closed pipe, a full disk, a terminal that is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import pytest
import tiny

from minigan.cli import main
from minigan.commands.console import Log, lasting_log
from minigan.training import checkpoint

Open = Callable[[], TextIO]


def train(digits: Path, out: Path, steps: int = 3) -> int:
    words = ["train", "gan", *tiny.FLAGS, "--data", str(digits), "--steps", str(steps)]
    return main([*words, "--sample-every", "99", "--checkpoint-every", "1", "--out", str(out)])


def trained(out: Path, steps: int = 3) -> bool:
    rows = (out / "metrics.jsonl").read_text().splitlines()
    newest = checkpoint.newest(out / "checkpoints")
    return len(rows) == steps and newest == out / "checkpoints" / checkpoint.file_name(steps)


def pipe_without_reader() -> TextIO:
    reading, writing = os.pipe()
    os.close(reading)
    return open(writing, "w", buffering=1)


def full_disk() -> TextIO:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    return open("/dev/full", "w", buffering=1)


def terminal_that_is_gone() -> TextIO:
    """Progress takes it for one that is there."""
    master, slave = os.openpty()
    stream = open(slave, "w", buffering=1)  # noqa: SIM115
    assert stream.isatty()
    os.close(master)
    stream.isatty = lambda: True  # type: ignore[method-assign]
    return stream


@contextmanager
def standard_error(stream: TextIO | None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        yield
    if stream is not None:
        stream.close()  # fails if the stream still holds what cannot be written


@pytest.mark.parametrize("stream", [pipe_without_reader, full_disk, terminal_that_is_gone])
def test_a_log_that_cannot_be_written_ends_no_run(
    stream: Open, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with standard_error(stream(), monkeypatch):
        assert train(digits, tmp_path / "run") == 0
    assert trained(tmp_path / "run")


def test_a_log_that_was_never_there_ends_no_run(
    digits: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with standard_error(None, monkeypatch):
        assert train(digits, tmp_path / "run") == 0
    assert trained(tmp_path / "run")
    said = capsys.readouterr().out.splitlines()  # print(file=None) would write here
    assert said == [
        str(tmp_path / "run/samples/step-000003.png"),
        str(tmp_path / "run/report.html"),
    ]


def test_a_reader_that_goes_away_later_ends_no_run(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    said: list[bytes] = []
    plain = checkpoint.prune

    def prune(folder: Path, *args: Any, **options: Any) -> None:
        plain(folder, *args, **options)
        if not said:  # the first checkpoint
            said.append(os.read(reading, 4096))
            os.close(reading)

    monkeypatch.setattr(checkpoint, "prune", prune)
    with standard_error(open(writing, "w", buffering=1), monkeypatch):
        assert train(digits, tmp_path / "run") == 0
    assert said[0].startswith(b"training gan on digits")
    assert trained(tmp_path / "run")


@pytest.mark.parametrize("words", [["nonsense"], ["sample", "nowhere"], ["data", "fetch", "ring"]])
def test_the_exit_code_stays_that_of_the_command(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with standard_error(pipe_without_reader(), monkeypatch):
        assert main(words) == (0 if words[0] == "data" else 2)


def test_the_log_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = sys.stderr
    with lasting_log():
        assert isinstance(sys.stderr, Log)
        assert sys.stderr.encoding == before.encoding
        assert sys.stderr.isatty() == before.isatty()
    assert sys.stderr is before


def test_a_full_disk_is_no_error_of_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """They say what they compile to whoever uses them, also outside of a command."""
    from minigan_kernels.cpu.compiler.disk_cache import _notice

    with standard_error(full_disk(), monkeypatch):
        with pytest.raises(OSError, match="No space"):
            print("x", file=sys.stderr, flush=True)
        _notice.say("compiling")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def test_what_is_printed_last_may_have_lost_its_reader(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = pipe_without_reader()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        assert train(digits, tmp_path / "run") == 0
    stream.close()
    assert trained(tmp_path / "run")


@pytest.mark.parametrize("first", [True, False])
def test_a_process_whose_readers_are_gone_ends_as_usual(
    first: bool, digits: Path, tmp_path: Path
) -> None:
    """`minigan train 2>&1 | head -0` and `| head -1`: nor does Python complain as it ends."""
    words = [*tiny.FLAGS, "--data", digits, "--steps", "3", "--out", tmp_path / "run"]
    with subprocess.Popen(
        [*tiny.COMMAND, "train", "gan", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=tiny.environment(),
    ) as process:
        assert process.stdout is not None
        if not first:
            assert process.stdout.readline().startswith(b"training gan")
        process.stdout.close()
        assert process.wait(120) == 0
    assert trained(tmp_path / "run")


def test_a_descriptor_that_is_closed_takes_no_file(digits: Path, tmp_path: Path) -> None:
    """Or what is said would be written into the first file that gets its number."""
    words = [*tiny.FLAGS, "--data", digits, "--steps", "3", "--out", tmp_path / "run"]
    command = ["sh", "-c", '"$@" 2>&-', "sh", *tiny.COMMAND, "train", "gan", *map(str, words)]
    done = subprocess.run(command, env=tiny.environment(), timeout=120, capture_output=True)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 2
    assert trained(tmp_path / "run")

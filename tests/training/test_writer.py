"""One writer at a time in a run directory; its name, its lock, and what killed writers left."""

from __future__ import annotations

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
from tiny import Shell

from minigan import files, locks
from minigan.errors import UserError
from minigan.files import atomic_write
from minigan.training import writer
from minigan.training.run import Run, fresh_directory
from minigan.training.writer import sole_writer

Said = list[str]

# --- The name --------------------------------------------------------------------------------


def test_runs_that_begin_at_once_get_a_directory_each(here: Path) -> None:
    together = threading.Barrier(8)

    def take(_: int) -> Path:
        together.wait()
        return fresh_directory("gan", "ring")

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(take, range(8)))
    assert sorted(taken) == [Path(f"runs/gan-ring-{number}") for number in range(1, 9)]
    assert all(path.is_dir() for path in taken)


def test_a_name_is_taken_whatever_has_it(here: Path) -> None:
    Path("runs").mkdir()
    Path("runs/gan-ring-1").write_text("a file")
    Path("runs/gan-ring-2").symlink_to("nowhere")
    assert fresh_directory("gan", "/data/ring") == Path("runs/gan-ring-3")


@pytest.mark.parametrize("spoil", [Path.touch, lambda path: path.symlink_to("nowhere")])
def test_a_place_that_cannot_hold_runs_is_named(spoil: Any, here: Path, shell: Shell) -> None:
    spoil(Path("runs"))
    words = ["train", "gan", "--data", "ring", "--steps", "1"]
    shell.refuses(*words, says=("run directory runs cannot be written", "--out"))


@pytest.mark.parametrize("left", ["metrics.jsonl", "checkpoints/step-000003.safetensors"])
def test_a_directory_with_parts_of_a_run_is_no_new_one(
    left: str, run: Path, digits: Path, shell: Shell
) -> None:
    """The rows of the new run would follow those of the old one."""
    (run / "config.json").unlink()
    for path in [run / "metrics.jsonl", *(run / "checkpoints").iterdir()]:
        path.unlink()
    (run / left).touch()
    words = ["train", "gan", *tiny.FLAGS, "--data", digits, "--steps", "1", "--out", run]
    before = tiny.tree(run)
    shell.refuses(*words, says=(str(run), "without its config.json", left, "--out"))
    assert tiny.tree(run) == before


# --- The lock --------------------------------------------------------------------------------


def test_a_second_writer_is_told_of_the_first(run: Path, digits: Path, shell: Shell) -> None:
    before = tiny.tree(run)
    says = (str(run), f"process {os.getpid()} on ", "wait until it ends", "--out")
    with sole_writer(run, print):
        shell.refuses("train", "--resume", "--out", run, "--more", "1", says=says)
        words = ["train", "gan", *tiny.FLAGS, "--data", digits, "--out", run]
        shell.refuses(*words, says=says)
        shell.succeeds("sample", run, "--count", "1", "--out", run.parent / "one.png")
    assert tiny.tree(run) == before  # nor is there a lock any more
    shell.succeeds("train", "--resume", "--out", run, "--more", "1")


def test_a_new_run_is_locked_from_its_first_file_on(
    digits: Path, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    write, seen = Run.write_config, []

    def write_config(self: Run) -> None:
        with pytest.raises(UserError, match="being written"), sole_writer(out, print):
            raise AssertionError("two writers")
        seen.append(self)
        write(self)

    monkeypatch.setattr(Run, "write_config", write_config)
    words = ["train", "gan", *tiny.FLAGS, "--data", digits, "--steps", "1", "--out", out]
    shell.succeeds(*words)
    assert len(seen) == 1
    assert not (out / "lock").exists()


def test_a_lock_that_a_killed_process_left_holds_nobody(run: Path, shell: Shell) -> None:
    (run / "lock").write_text("12345 on another machine, a longer name than ours\n")
    with sole_writer(run, print):
        assert (run / "lock").read_text() == f"{os.getpid()} on {os.uname().nodename}\n"
    assert not (run / "lock").exists()


def test_a_lock_that_its_holder_removes_meanwhile_is_made_again(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the next process would lock another file of the same name."""
    calls = []

    def try_lock(descriptor: int) -> bool | None:
        if not calls:
            (run / "lock").unlink()
        calls.append(descriptor)
        return locks.try_lock(descriptor)

    monkeypatch.setattr(writer, "try_lock", try_lock)
    with sole_writer(run, print):
        assert len(calls) == 2
        with pytest.raises(UserError, match="being written"), sole_writer(run, print):
            raise AssertionError("two writers")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, None])
def test_where_there_are_no_locks_one_is_told_so(
    number: int | None, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(descriptor: int, how: int) -> None:
        raise OSError(number, os.strerror(number or 0))

    without = SimpleNamespace(flock=flock, LOCK_EX=1, LOCK_NB=2) if number else None
    monkeypatch.setattr(locks, "fcntl", without)
    said: Said = []
    with sole_writer(run, said.append):
        pass
    assert len(said) == 1
    assert f"the file system of {run} has no locks" in said[0]
    assert not (run / "lock").exists()


def test_another_failure_of_a_lock_is_an_error(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(descriptor: int, how: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    fails = SimpleNamespace(flock=flock, LOCK_EX=1, LOCK_NB=2)
    monkeypatch.setattr(locks, "fcntl", fails)
    with pytest.raises(OSError, match="Input/output"), sole_writer(run, print):
        raise AssertionError("no lock")


def test_locks_of_windows(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: set[tuple[int, int]] = set()

    def locking(descriptor: int, how: int, count: int) -> None:
        place = os.fstat(descriptor).st_ino, os.lseek(descriptor, 0, os.SEEK_CUR)
        assert (how, count) == (2, 1)
        if place in taken:
            raise PermissionError(errno.EACCES, "locked")
        taken.add(place)

    monkeypatch.setattr(locks, "fcntl", None)
    monkeypatch.setattr(locks, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2))
    with sole_writer(run, print):
        assert {place for _, place in taken} == {locks.FAR}
        with pytest.raises(UserError, match="being written"), sole_writer(run, print):
            raise AssertionError("two writers")
    assert not (run / "lock").exists()


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "loss.png", "report.html"])
def test_a_run_does_not_write_through_links(
    name: str, run: Path, shell: Shell, tmp_path: Path
) -> None:
    """Who packed the run may have pointed them anywhere."""
    (run / name).rename(tmp_path / "precious")
    (run / name).symlink_to(tmp_path / "precious")
    before = tiny.tree(tmp_path)
    says = (f"{run / name} is a symbolic link", "put the file in its place")
    shell.refuses("train", "--resume", "--out", run, "--more", "1", says=says)
    assert tiny.tree(tmp_path) == before


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_lock_is_a_regular_file(kind: str, run: Path, shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    if kind == "link":
        (run / "lock").symlink_to(tmp_path / "precious")
    elif kind == "pipe":
        os.mkfifo(run / "lock")
    else:
        (run / "lock").mkdir()
    shell.refuses("train", "--resume", "--out", run, "--more", "1", says=(str(run),), code=1)
    assert (tmp_path / "precious").read_text() == "precious"


def test_who_may_not_write_is_told_so(run: Path, shell: Shell, monkeypatch: Any) -> None:
    def refuse(*arguments: Any) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(writer, "open_regular", refuse)
    says = (f"{run} cannot be written (Read-only file system)",)
    shell.refuses("train", "--resume", "--out", run, "--more", "1", says=says, code=1)
    shell.succeeds("sample", run, "--count", "1", "--out", run.parent / "one.png")


# --- Leftovers -------------------------------------------------------------------------------

LEFT = (
    ".loss.png.0123abcd.unfinished.png",
    "samples/.step-000002.png.0123abcd.unfinished.png",
    "checkpoints/.step-000002.safetensors.0123abcd.unfinished.safetensors",
    ".metrics.jsonl.0123abcd.unfinished.jsonl",
    # as earlier revisions named them
    ".config-x8k2p1qz.json",
    ".loss-_8k2p1qz.png",
    "samples/.step-000002-x8k2p1qz.png",
    "samples/.animation-x8k2p1qz.gif",
    "checkpoints/.step-000002-x8k2p1qz.safetensors",
)
OTHERS = (
    ".mine.json",
    ".notes-x8k2p1qz.txt",
    ".loss-short.png",
    "loss.png.0123abcd.unfinished.png",
    "checkpoints/step-best.safetensors",
)


def test_what_killed_processes_left_is_swept(run: Path, shell: Shell) -> None:
    for name in LEFT + OTHERS:
        (run / name).write_bytes(b"half of someth")
    clean = tiny.tree(run).keys() - {*LEFT}
    shell.succeeds("sample", run, "--count", "1", "--out", run.parent / "one.png")  # a reader
    with sole_writer(run, print):
        assert tiny.tree(run).keys() - {"lock"} == clean


def test_what_is_being_written_is_not_swept(run: Path) -> None:
    """`sample` and `evaluate` write into a run without its lock."""
    with atomic_write(run / "sample.png") as temporary:
        temporary.write_bytes(b"a picture")
        with sole_writer(run, print):
            assert temporary.exists()
    assert (run / "sample.png").read_bytes() == b"a picture"


def test_without_locks_what_is_young_stays(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "fcntl", None)
    old, young = (run / f".loss.png.0123abc{i}.unfinished.png" for i in (1, 2))
    for path in (old, young):
        path.touch()
    os.utime(old, (1e9, 1e9))
    with sole_writer(run, lambda text: None):
        assert not old.exists()
        assert young.exists()


def test_the_first_write_into_a_folder_sweeps_it(tmp_path: Path) -> None:
    """Also where no lock is: the pictures of `sample`, the scores, the caches."""
    left = tmp_path / ".one.png.0123abcd.unfinished.png"
    left.touch()
    with atomic_write(tmp_path / "two.png") as temporary:
        temporary.touch()
    assert {path.name for path in tmp_path.iterdir()} == {"two.png"}


def test_sweeping_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    link = tmp_path / ".one.png.0123abcd.unfinished.png"
    link.symlink_to("precious")
    files.sweep(tmp_path)
    assert (tmp_path / "precious").read_text() == "precious"

"""Files that are written whole or not at all, and where a user has named something else."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import tiny
from tiny import Shell

from minigan import files
from minigan.files import atomic_write, is_stream, write_named

PNG = b"\x89PNG"


def write(path: Path, content: bytes = b"new") -> None:
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


# --- Whole or not at all ---------------------------------------------------------------------


def test_the_folder_is_flushed_after_the_file_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[tuple[str, bool]] = []
    plain = os.fsync

    def fsync(descriptor: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        flushed.append((kind, (tmp_path / "a").exists()))
        plain(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write(tmp_path / "a")
    assert flushed == [("file", False), ("folder", True)]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EIO])
def test_a_folder_that_cannot_be_flushed(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems cannot do it; a broken disk is another thing."""

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    if number == errno.EIO:
        with pytest.raises(OSError, match="Input/output"):
            write(tmp_path / "a")
    else:
        write(tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_system_without_folders_to_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows, which also moves and removes no open files, and knows no links to avoid."""
    for name in ("O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK"):
        monkeypatch.delattr(os, name)
    monkeypatch.setattr(files, "_CLOSE_FIRST", True)
    write(tmp_path / "a", b"old")
    write(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"new"
    with pytest.raises(KeyboardInterrupt), atomic_write(tmp_path / "a"):
        raise KeyboardInterrupt
    (tmp_path / ".b.0123abcd.unfinished").touch()
    files.sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_new_file_has_the_usual_permissions(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        write(tmp_path / "a")
        write_named(tmp_path / "b", b"new")
    finally:
        os.umask(before)
    for name in "ab":
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755])
def test_a_file_keeps_its_permissions(mode: int, tmp_path: Path) -> None:
    """A report that others must not read stays so, also while it is being written."""
    for name, writer in (("a", write), ("b", write_named)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
        writer(tmp_path / name, b"new")
        assert (tmp_path / name).read_bytes() == b"new"
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode
    with atomic_write(tmp_path / "a") as temporary:
        temporary.touch()
        assert stat.S_IMODE(temporary.stat().st_mode) & ~mode == 0


def test_a_copy_by_hard_links_keeps_what_it_has(tmp_path: Path) -> None:
    """`cp -al RUN BACKUP` before a run goes on."""
    write(tmp_path / "a", b"old")
    os.link(tmp_path / "a", tmp_path / "backup")
    write(tmp_path / "a")
    write_named(tmp_path / "a", b"newer")
    assert (tmp_path / "backup").read_bytes() == b"old"
    assert (tmp_path / "a").read_bytes() == b"newer"


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, f"a.{'x' * 253}", ".png", "a.b.png"])
def test_any_name_that_a_folder_takes(name: str, tmp_path: Path) -> None:
    write(tmp_path / name)
    assert (tmp_path / name).read_bytes() == b"new"
    assert len(list(tmp_path.iterdir())) == 1


def test_an_error_names_the_file_and_not_a_temporary_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write(tmp_path / "missing" / "a.png")
    assert caught.value.filename == str(tmp_path / "missing" / "a.png")


def spoil(path: Path, kind: str) -> None:
    """Put something there that is no file."""
    target = path.with_name("target")
    if kind == "link":
        target.write_text("precious")
        path.symlink_to("target")
    elif kind == "dangling link":
        path.symlink_to("target")
    elif kind == "circle":
        path.symlink_to(path.name)
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            before = Path.cwd()
            os.chdir(path.parent)  # such a name must be short
            server.bind(path.name)
            os.chdir(before)


SPOILT = ["link", "dangling link", "circle", "folder", "pipe", "socket"]


@pytest.mark.parametrize("kind", SPOILT)
def test_nothing_but_a_file_is_replaced(kind: str, tmp_path: Path) -> None:
    spoil(tmp_path / "a", kind)
    before = tiny.tree(tmp_path) if kind not in ("pipe", "circle") else None
    with pytest.raises(OSError, match=f"it is a .*{kind.split()[-1].replace('circle', 'link')}"):
        write(tmp_path / "a")
    assert before is None or tiny.tree(tmp_path) == before
    assert len(list(tmp_path.iterdir())) == 1 + (kind == "link")


# --- What a user has named ---------------------------------------------------------------------


def test_links_are_followed_to_what_they_point_to(tmp_path: Path) -> None:
    far = tmp_path / "far"
    far.mkdir()
    (far / "old.png").write_bytes(b"old")
    for name, target in (
        ("link", "far/old.png"), ("link to a link", "link"), ("dangling", "far/new.png"),
        ("absolute", str(far / "old.png")), ("folder", "far"),
    ):  # fmt: skip
        (tmp_path / name).symlink_to(target)
    for name, target in (
        ("link", "old.png"), ("link to a link", "old.png"), ("dangling", "new.png"),
        ("absolute", "old.png"), ("folder/other.png", "other.png"),
    ):  # fmt: skip
        content = name.encode()
        write_named(tmp_path / name, content)
        assert (far / target).read_bytes() == content
        assert (tmp_path / Path(name).parts[0]).is_symlink()
    assert {path.name for path in far.iterdir()} == {"old.png", "new.png", "other.png"}


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="there is no other file system")
def test_a_link_into_another_file_system(tmp_path: Path) -> None:
    target = Path("/dev/shm") / f"minigan-{os.getpid()}"
    target.write_bytes(b"old")
    try:
        (tmp_path / "link").symlink_to(target)
        write_named(tmp_path / "link", b"new")
        assert target.read_bytes() == b"new"
        assert (tmp_path / "link").is_symlink()
    finally:
        target.unlink()


@pytest.mark.parametrize("kind", ["circle", "folder", "socket"])
def test_what_cannot_be_written_is_refused(kind: str, tmp_path: Path) -> None:
    spoil(tmp_path / "a", kind)
    with pytest.raises(OSError, match=r"symbolic links|it is a (folder|socket)"):
        write_named(tmp_path / "a", b"new")
    assert len(list(tmp_path.iterdir())) == 1


def test_a_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Disk:
        st_mode = stat.S_IFBLK | 0o666
        st_ino, st_dev = -1, -1

    monkeypatch.setattr(os, "stat", lambda path: Disk())
    with pytest.raises(OSError, match="it is a device"):
        write_named("disk", b"new")


def test_a_file_that_must_not_be_written_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr(os, "access", lambda path, how: how != os.W_OK)  # as for all but root
    with pytest.raises(PermissionError):
        write_named(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_device_is_written_into() -> None:
    before = os.stat(os.devnull)
    write_named(os.devnull, b"new")
    assert os.path.samestat(os.stat(os.devnull), before)
    assert is_stream(os.devnull)
    if Path("/dev/full").exists():
        with pytest.raises(OSError, match="No space"):
            write_named("/dev/full", b"new")


def test_a_pipe_is_written_into(tmp_path: Path) -> None:
    pipe, content = tmp_path / "pipe", os.urandom(300_000)  # more than a pipe holds
    os.mkfifo(pipe)
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    write_named(pipe, content)
    reader.join()
    assert found == [content]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


WRITE = """
import sys
from minigan.files import write_named
print("before")
write_named(sys.argv[1], b"content")
print("after")
"""


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("kind", ["pipe", "file", "appended", "removed"])
def test_standard_output_is_written_into(name: str, kind: str, tmp_path: Path) -> None:
    """Also where it is a file, after what is there: what comes next follows."""
    if not Path("/proc/self/fd").exists():
        pytest.skip("there is no /proc")
    words = [sys.executable, "-c", WRITE, name]
    if kind == "pipe":
        said = subprocess.run(words, capture_output=True, env=tiny.environment()).stdout
    else:
        file = tmp_path / "out"
        file.write_bytes(b"")
        with open(file, "ab" if kind == "appended" else "r+b") as out:
            if kind == "removed":
                file.unlink()
            subprocess.run(words, stdout=out, env=tiny.environment())
            out.seek(0)
            said = out.read() if kind != "appended" else file.read_bytes()
    assert said == b"before\ncontentafter\n"


# --- sample --out ------------------------------------------------------------------------------


def test_sample_writes_where_a_link_points(run: Path, shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "link.png").symlink_to("far/new/picture.png")
    answer = shell.succeeds("sample", run, "--count", "4", "--out", tmp_path / "link.png")
    assert (tmp_path / "link.png").is_symlink()
    assert answer.out == f"{tmp_path / 'link.png'}\n"
    shell.succeeds("sample", run, "--count", "4", "--out", tmp_path / "plain.png")
    picture = (tmp_path / "far/new/picture.png").read_bytes()
    assert picture == (tmp_path / "plain.png").read_bytes()
    shell.succeeds("sample", run, "--count", "4")  # the usual place, by the other writer
    assert picture == (run / "sample.png").read_bytes()


def test_sample_writes_into_a_pipe(run: Path, shell: Shell, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    answer = shell.succeeds("sample", run, "--count", "4", "--out", tmp_path / "pipe")
    reader.join()
    assert found[0].startswith(PNG)
    assert answer.out == ""  # or it would follow the picture into /dev/stdout


@pytest.mark.parametrize("place", ["/dev/full", "missing-right.png"])
def test_sample_says_where_it_cannot_write(
    place: str, run: Path, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if place == "missing-right.png":
        Path(place).touch()
        monkeypatch.setattr(os, "access", lambda path, how: False)
    if place == "/dev/full" and not Path(place).exists():
        pytest.skip("there is no /dev/full")
    says = (f"{place} cannot be written (", "choose another --out")
    shell.refuses("sample", run, "--count", "1", "--out", place, says=says)


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize("words", [["sample", "--count", "1"], ["evaluate", "--count", "10"]])
@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "folder"])
def test_nothing_within_a_run_is_written_through(
    words: list[str], kind: str, shell: Shell, run: Path
) -> None:
    """Who packed the run may have pointed its links anywhere."""
    name = {"sample": "sample.png", "evaluate": "scores.json"}[words[0]]
    spoil(run / name, kind)
    says = (f"{run / name} cannot be written (it is a",)
    answer: Any = shell(words[0], run, *words[1:])
    last = answer.err.splitlines()[-1]
    assert answer.code == 2, answer
    assert all(part in last for part in says), last
    if kind == "link":
        assert (run / "target").read_text() == "precious"
    assert not (run / "target").exists() or kind == "link"

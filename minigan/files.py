"""Atomic writes: a reader sees the old file or the new one, never a part."""

from __future__ import annotations

import errno
import itertools
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from .locks import try_lock

UNFINISHED = re.compile(r"\..*\.[0-9a-f]{8}\.unfinished(\.[^.]*)?")  # names of temporary files
FORSAKEN = 3600  # age in seconds from which, where there are no locks, such a file is a dead one's
NAME = 32  # characters of a name that a temporary name keeps: names end at 255 bytes
_CLOSE_FIRST = os.name == "nt"  # Windows neither moves nor removes open files
_swept: set[Path] = set()  # folders, by this process


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Give a temporary path in the same folder and move it to `path` when the block succeeds.

    A reader sees the old file or the new one, also after a crash: the bytes are flushed to the disk
    before the name changes, and the folder after that. If the block raises, the temporary file is
    removed and `path` stays as it was. What a killed process could not remove, a later one sweeps.
    The temporary name keeps the suffix, from which image writers choose the format. A file that is
    there passes on its permissions.

    Nothing but a regular file is replaced. `write_named` follows links, as is right where a user
    has named the file, and wrong in a folder that others may have filled.

    Raises:
        OSError: if the folder cannot be written, the disk is full, or `path` is a link, a folder, a
            pipe or a device.
    """
    path = Path(path)
    mode = _mode_of(path)
    if (folder := path.parent.absolute()) not in _swept:
        _swept.add(folder)
        sweep(folder)
    temporary, held = _create(path, mode)
    with held:
        try:
            yield temporary
            with open(temporary, "rb") as written:
                os.fsync(written.fileno())
            if mode is not None:
                temporary.chmod(mode)
            if _CLOSE_FIRST:
                held.close()
            temporary.replace(path)
        except BaseException:
            if _CLOSE_FIRST:
                held.close()
            temporary.unlink(missing_ok=True)
            raise
    sync_folder(path.parent)


def write_named(path: str | Path, content: bytes) -> None:
    """Write `content` to what a user has named: a file, atomically; or a pipe or a device.

    A link is followed. What is written into a pipe, a terminal or standard output comes after what
    was written before.

    Raises:
        OSError: if it cannot be written, if it is a folder, a disk or a socket, or if it is a file
            that must not be written.
    """
    try:
        found = os.stat(path)  # follows links; and says where they go in a circle
    except FileNotFoundError:
        found = None
    if found is None or (stat.S_ISREG(found.st_mode) and _standard_output(found) is None):
        if found is not None and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        with atomic_write(os.path.realpath(path)) as temporary:
            temporary.write_bytes(content)
        return
    if not (stat.S_ISREG(found.st_mode) or is_stream(path)):
        raise _refusal(path, found.st_mode)
    descriptor = _standard_output(found)
    with open(path if descriptor is None else os.dup(descriptor), "wb", buffering=0) as stream:
        rest = memoryview(content)
        while rest:
            rest = rest[stream.write(rest) :]


def numbered(path: Path) -> Iterator[Path]:
    """`path`, and then the same with -2, -3 and on before its suffix."""
    yield path
    for number in itertools.count(2):
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")


def is_stream(path: str | Path) -> bool:
    """Whether a path is what `write_named` writes into: a pipe, a device, or standard output."""
    try:
        found = os.stat(path)
    except OSError:
        return False
    through = stat.S_ISFIFO(found.st_mode) or stat.S_ISCHR(found.st_mode)
    return through or _standard_output(found) is not None


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, where the system can.

    Raises:
        OSError: if the disk fails.
    """
    if not hasattr(os, "O_DIRECTORY"):  # Windows
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:  # a folder may be written, but not listed
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):  # it cannot
            raise
    finally:
        os.close(descriptor)


def sweep(folder: Path, unfinished: Callable[[str], object] = UNFINISHED.fullmatch) -> None:
    """Remove what killed processes left half-written in a folder; what is being written stays.

    `unfinished` says by its name whether a file is a temporary one.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        found = [Path(entry.path) for entry in entries if unfinished(entry.name)]
        for path in found:
            with suppress(OSError):  # not ours, or another process was faster
                _remove_forsaken(path)


def _remove_forsaken(path: Path) -> None:
    """Remove a temporary file, unless a living process holds it."""
    descriptor = open_regular(path)
    try:
        forsaken = try_lock(descriptor)
        if forsaken is None:
            forsaken = time.time() - os.fstat(descriptor).st_mtime > FORSAKEN
        if forsaken and not _CLOSE_FIRST:
            path.unlink()
    finally:
        os.close(descriptor)
    if forsaken and _CLOSE_FIRST:
        path.unlink()


def open_regular(path: Path, flags: int = os.O_RDWR, mode: int = 0o666) -> int:
    """A descriptor of a regular file, which is no link.

    Raises:
        OSError: if it cannot be opened, or is something else.
    """
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):  # where a system has them
        flags |= getattr(os, name, 0)
    try:
        descriptor = os.open(path, flags, mode)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _refusal(path, stat.S_IFLNK) from error
        raise
    if not stat.S_ISREG(found := os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _refusal(path, found)
    return descriptor


def _create(path: Path, mode: int | None) -> tuple[Path, FileIO]:
    """A new temporary file for `path`, and the same opened and locked, so that nobody sweeps it."""
    while True:
        name = f".{path.name[:NAME]}.{secrets.token_hex(4)}.unfinished{path.suffix[:NAME]}"
        temporary = path.with_name(name)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        try:
            descriptor = open_regular(temporary, flags, 0o666 if mode is None else mode)
        except FileExistsError:
            continue
        except OSError as error:
            error.filename = str(path)  # the temporary name tells nobody anything
            raise
        held = FileIO(descriptor)
        if try_lock(descriptor) is not False and temporary.exists():
            return temporary, held
        held.close()  # swept in the moment before it was locked


def _mode_of(path: Path) -> int | None:
    """The permissions of the file that is there, with which it can be written again."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        raise _refusal(path, mode)
    return stat.S_IMODE(mode) | stat.S_IWUSR


def _standard_output(found: os.stat_result) -> int | None:
    """The descriptor of standard output, or of standard error, if it is this file."""
    for descriptor in (1, 2):
        with suppress(OSError):  # closed
            if os.path.samestat(found, os.fstat(descriptor)):
                return descriptor
    return None


def _refusal(path: str | Path, mode: int) -> OSError:
    kinds = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
    }
    kind = kinds.get(stat.S_IFMT(mode), "a device")
    return OSError(errno.EINVAL, f"it is {kind}, not a file", str(path))

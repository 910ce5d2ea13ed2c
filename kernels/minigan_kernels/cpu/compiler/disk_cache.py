"""The disk cache of machine code, and a word on stderr when something is compiled.

Numba's own cache is not used, for three faults. It does not see that a function called from
another file was edited. Two processes that compile at once can leave an index that names one's
machine code for the other's types. And a file cut short by a full disk breaks every later run. Here
each compiled function is one file, replaced as a whole, and headed by a digest over its content.

A file is named by its function, with the whole path of its module, and by a key: a digest over all
that the machine code depends on (see `dependencies`), the argument types, the CPU, the compiler's
settings and the versions of Python, Numba, llvmlite and NumPy. So whatever is found under a name is
right, two functions never share a file, generated ones of one name included, and machine code for
several settings is kept side by side.

The files are in NUMBA_CACHE_DIR, else in minigan/ in XDG_CACHE_HOME, else in ~/.cache/minigan, in a
folder for each copy of this package, if nobody else may write there (see `trust`). A process that
has compiled something sweeps them once: see `sweep`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba

from ...compiling import COMPILING
from ...trust import Trust, UntrustedError
from .dependencies import (
    Dependencies,
    UnknownDependencyError,
    dependencies,
    loaded_digest,
    source_digest,
)
from .numba_internals import Cache, Listener, listen, machine, pack, unpack, versions

_NAME = __name__.partition(".")[0]
_PLACE = Path(str(sys.modules[_NAME].__file__)).absolute().parent
_PACKAGE = _PLACE.resolve()
_OWNER = "package.txt"  # in a cache folder: the path of the package that it belongs to
_DAY = 86400  # seconds
UNFINISHED_DAYS, UNUSED_DAYS = 1 / 24, 30
trust = Trust("NUMBA_CACHE_DIR")
_MOST_BYTES = 1 << 26  # of a file of machine code; of what is longer the digest is wrong


def cache_folder() -> Path:
    """Where this copy of the package keeps compiled kernels, and which algorithms were chosen."""
    config: Any = numba.config
    user = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    own = Path(user).expanduser() / "minigan"
    root = Path(config.CACHE_DIR) if config.CACHE_DIR else own
    return root / _folder_name(_PACKAGE)


def _folder_name(package: Path) -> str:
    return f"kernels-{hashlib.sha256(bytes(package)).hexdigest()[:16]}"


class DiskCache(Cache):  # type: ignore[misc]
    """Compiled forms of one function of `jit`; takes the place of Numba's `FunctionCache`."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self.name = _name(compiled.py_func)

    @property
    def cache_path(self) -> str:
        return str(cache_folder())

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        target_context.refresh()
        try:
            key = self._key(sig, target_context.codegen())
            path = self._path(key)
            content = trust.read(path, _MOST_BYTES)
        except (UnknownDependencyError, FileNotFoundError, NotADirectoryError):  # nothing there
            return None
        except OSError as error:
            _notice.cannot_keep(error)
            return None
        except UntrustedError as error:
            _notice.cannot_trust(error)
            return None
        if content[:32] != hashlib.sha256(key + content[32:]).digest():
            _notice.damaged.append(path.name)
            return None
        _mark_as_used(path)
        _mark_as_used(path.parent / _OWNER)
        return unpack(target_context, content[_start_of_code(content) :])

    def save_overload(self, sig: Any, data: Any) -> None:
        packed = pack(data)
        try:
            key = self._key(sig, data.codegen)
            content = _note(dependencies(self._compiled)) + packed
            path = self._path(key)
            _own(path.parent)
            replace(path, hashlib.sha256(key + content).digest() + content)
        except UnknownDependencyError as unknown:
            _notice.say(f"{self.name} is not kept on disk: {unknown}")
        except UntrustedError as error:
            _notice.cannot_trust(error)
        except OSError as error:
            _notice.cannot_keep(error)
        else:
            _sweep_once(path.parent)

    def _key(self, sig: Any, codegen: Any) -> bytes:
        types = dependencies((*sig,) if isinstance(sig, tuple) else (*sig.args, sig.return_type))
        stamp = dependencies(self._compiled).digest + types.digest
        return hashlib.sha256(stamp + repr((machine(codegen), versions())).encode()).digest()

    def _path(self, key: bytes) -> Path:
        return cache_folder() / f"{self.name}-{key.hex()[:16]}.kernel"

    def enable(self) -> None:
        """Nothing to do: this cache is always on."""

    def disable(self) -> None:
        """Nothing to do: this cache is always on."""

    def flush(self) -> None:
        """Nothing to do: what is stale is not found."""


def _name(function: Callable[..., Any]) -> str:
    """Of a function, with its module's path below this package."""
    return f"{function.__module__.removeprefix(f'{_NAME}.')}.{function.__qualname__}"


# A file is a digest (32 bytes), the length of a note (4 bytes), the note, and the packed code. The
# note has the digests of the source files, by which a sweep tells whether they are still the same.


def _note(found: Dependencies) -> bytes:
    note = json.dumps({str(_below(path)): loaded_digest(path) for path in found.sources}).encode()
    return len(note).to_bytes(4, "little") + note


def _start_of_code(content: bytes) -> int:
    return 36 + int.from_bytes(content[32:36], "little")


def _below(path: Path) -> Path:
    """The path from the package on, if it is there."""
    return path.relative_to(_PLACE) if path.is_relative_to(_PLACE) else path


def replace(path: Path, content: bytes, *, sync: bool = False) -> None:
    """Write a file of a cache folder whole or not at all; a killed process leaves it to `sweep`.

    With `sync` it is on the disk when this returns.
    """
    unfinished = path.with_name(f"{path.name}.{os.getpid()}-{time.monotonic_ns()}.unfinished")
    try:
        with unfinished.open("xb") as file:
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        unfinished.chmod(0o644)  # whatever the umask: what others may write is not used
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    if sync:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Write a folder's names to the disk, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _own(folder: Path) -> None:
    """Make a cache folder that only this user may write, and write into it whose it is.

    Raises:
        UntrustedError: if others may write it all the same.
    """
    make_folder(folder)
    if not (folder / _OWNER).exists():
        replace(folder / _OWNER, bytes(_PACKAGE))


def make_folder(folder: Path) -> None:
    """Make a cache folder.

    Raises:
        UntrustedError: if others may write there.
    """
    trust.check(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o755, exist_ok=True)
    trust.check(folder)


def _mark_as_used(path: Path) -> None:
    """Give a file today's date."""
    with suppress(OSError):  # not ours to write, or gone
        if _days_old(path) > 1:
            os.utime(path)


def _days_old(path: Path) -> float:
    return (time.time() - path.stat().st_mtime) / _DAY


_swept: set[Path] = set()


def _sweep_once(folder: Path) -> None:
    if folder not in _swept:
        _swept.add(folder)
        sweep(folder)


def sweep(folder: Path) -> None:
    """Delete what no later run can use, in this cache folder and in those of packages now gone.

    In this one: machine code of functions whose sources were edited, moved or deleted, files of
    another format, what was not used for UNUSED_DAYS days (so also machine code for values or types
    that no longer occur), and unfinished files of processes that ended before they were done.

    Of a package that is gone: all machine code, once nothing was used for as many days; it may be
    on a disk that is not mounted now. Which algorithms were chosen there stays.

    Other processes may read and write meanwhile. What they have open stays readable, and a file
    that was replaced since it was looked at stays; at worst a function is compiled once more.
    """
    sources: dict[str, str | None] = {}
    for path in _files(folder):
        if path.suffix == ".kernel":
            _delete_if(path, lambda path: _is_orphan(path, sources))
        elif path.suffix == ".unfinished" or _is_unfinished_of_before(path):
            _delete_if(path, lambda path: _days_old(path) > UNFINISHED_DAYS)
    for other in _files(folder.parent):
        if other != folder and _has_no_owner(other):
            for path in _files(other):
                if path.suffix in (".kernel", ".unfinished"):
                    _delete_if(path, lambda path: True)
            with suppress(OSError):
                (other / _OWNER).unlink(missing_ok=True)
                other.rmdir()


def _files(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _is_unfinished_of_before(path: Path) -> bool:
    """Whether it is named by process and time, as unfinished files were before, or by process
    alone, as unfinished choices were.
    """
    process, dash, moment = path.suffix[1:].partition("-")
    choices = path.stem == "choices" and not dash
    return process.isdecimal() and (moment.isdecimal() or choices)


def _delete_if(path: Path, unwanted: Callable[[Path], bool]) -> None:
    with suppress(OSError):  # another process was faster
        before = path.stat().st_ino
        if unwanted(path) and path.stat().st_ino == before:
            path.unlink()


def _is_orphan(path: Path, sources: dict[str, str | None]) -> bool:
    """Whether a file of machine code will not be used; `sources` remembers digests of now."""
    if _days_old(path) > UNUSED_DAYS:
        return True
    with path.open("rb") as file:
        length = int.from_bytes(file.read(36)[32:], "little")
        try:
            note = json.loads(file.read(min(length, 1 << 16)))
            return any(_digest_now(name, sources) != digest for name, digest in note.items())
        except (ValueError, AttributeError):  # of another format
            return True


def _digest_now(name: str, sources: dict[str, str | None]) -> str | None:
    if name not in sources:
        try:
            sources[name] = source_digest(_PLACE / name)
        except OSError:
            sources[name] = None
    return sources[name]


def _has_no_owner(folder: Path) -> bool:
    """Whether it is the cache folder of a package that is gone, and was not used for long."""
    if not folder.name.startswith("kernels-"):
        return False
    owner = folder / _OWNER
    try:
        package = Path(os.fsdecode(owner.read_bytes()))
        ours = folder.name == _folder_name(package)
        return ours and not package.exists() and _days_old(owner) > UNUSED_DAYS
    except OSError:  # of something else
        return False


class _Notice(Listener):
    """Says on stderr, in one line, that kernels are compiled; below it a terminal shows which one.
    A kernel's helpers count as part of it.
    """

    def __init__(self) -> None:
        self._depth = 0  # of the nested compilations
        self._told = self._warned = self._mistrusted = False
        self.damaged: list[str] = []  # files that were, and are not yet told of

    def began(self, dispatcher: Any) -> None:
        if not isinstance(dispatcher._cache, DiskCache):
            return
        self._depth += 1
        if self._depth > 1:
            return
        if not self._told:
            self._told = True
            self.say(f"compiling kernels for this CPU (once: they are kept in {cache_folder()})")
        if self.damaged:
            self.say(f"{', '.join(self.damaged)} was damaged, and is compiled again")
            self.damaged.clear()
        COMPILING.begin(dispatcher._cache.name)
        _redraw(f"minigan: {COMPILING.status()}: {dispatcher._cache.name}")

    def ended(self, dispatcher: Any) -> None:
        if not isinstance(dispatcher._cache, DiskCache):
            return
        self._depth -= 1
        if not self._depth:
            COMPILING.end()
            _redraw("")

    def cannot_keep(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            self.say(
                f"compiled kernels cannot be kept ({error}), so the next run compiles them again; "
                "NUMBA_CACHE_DIR names another folder"
            )

    def cannot_trust(self, error: UntrustedError) -> None:
        if not self._mistrusted:
            self._mistrusted = True
            self.say(f"{error}; until then each run compiles its kernels")

    @staticmethod
    def say(message: str) -> None:
        with suppress(OSError):  # nobody reads it any more, which is no reason not to compute
            print(f"minigan: {message}", file=sys.stderr, flush=True)


def _redraw(text: str) -> None:
    """Put `text` into the terminal's current line, from which the next one removes it; nothing
    where there is no terminal, or another display shows what is compiled.
    """
    plain = sys.stderr is None or os.environ.get("TERM") in ("dumb", "unknown")
    with suppress(OSError, ValueError):  # gone, or closed
        if not plain and not COMPILING.watched and sys.stderr.isatty():
            room = shutil.get_terminal_size().columns - 1
            print(f"\r\x1b[K{text[:room]}", end="", file=sys.stderr, flush=True)


_notice = _Notice()
listen(_notice)

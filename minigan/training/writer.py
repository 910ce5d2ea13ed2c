"""One writer at a time in a run directory, who first sweeps what killed ones left there."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import UNFINISHED, open_regular, sweep
from ..locks import try_lock
from .run import Run, unwritable

LOCK = "lock"  # in a run directory, while it is written
FOLDERS = ("", "samples", "checkpoints", "singles")
# How temporary files of a run were named before.
OLD = re.compile(
    r"\.(config|metrics|loss|report|scores|sample|real|classes|animation|step-\d+|\d{4,})"
    r"-[a-z0-9_]{8}\.(json|jsonl|html|png|gif|safetensors)"
)


@contextmanager
def sole_writer(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Within the block nobody else trains into the run directory `path`, which exists.

    What killed processes left half-written there is removed. Readers need no lock. A killed
    process leaves no lock behind, for the system takes it back. If the file system has no locks,
    `say` is told so.

    Raises:
        UserError: if another process writes there, or one of the run's own files is a link.
        OSError: if the directory cannot be written.
    """
    with _held(path, say):
        run = Run(path, {})
        for file in (
            path / "config.json", run.metrics, run.scores, run.looked, run.losses, run.report,
        ):  # fmt: skip
            if file.is_symlink():
                raise UserError(
                    f"{file} is a symbolic link, through which a run does not write; put the file "
                    "in its place"
                )
        for name in FOLDERS:
            sweep(path / name, lambda name: UNFINISHED.fullmatch(name) or OLD.fullmatch(name))
        yield


def is_written(path: Path) -> bool:
    """Whether a process trains into the run directory `path` now, as far as can be seen.

    The lock is only read: to try it could refuse a process that begins at that moment.
    """
    try:
        with open(path / LOCK, "rb") as file:
            words = file.read(200).decode(errors="replace").split()
    except OSError:
        return False
    if os.name != "posix" or words[1:] != ["on", platform.node()] or not words[0].isdecimal():
        return True  # nothing is known of that process
    try:
        os.kill(int(words[0]), 0)
    except ProcessLookupError:
        return False
    except (OverflowError, PermissionError):
        return True
    return True


@contextmanager
def new_run(path: Path, config: Mapping[str, Any], say: Callable[[str], None]) -> Iterator[Run]:
    """A new run in the directory `path`, into which within the block nobody else trains.

    Raises:
        UserError: as `sole_writer` and `Run.create`, or if the directory cannot be written.
    """
    with ExitStack() as stack:
        try:
            path.mkdir(parents=True, exist_ok=True)
            stack.enter_context(sole_writer(path, say))
        except OSError as error:
            raise unwritable(path, error) from error
        yield Run.create(path, config)


@contextmanager
def _held(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    file = path / LOCK
    with _locked(file, path, say) as held:
        with suppress(OSError):  # on a full disk nobody learns who it is
            held.truncate(0)
            held.write(f"{os.getpid()} on {platform.node()}\n".encode())
        try:
            yield
        finally:
            with suppress(OSError):  # Windows removes no open files
                file.unlink()


@contextmanager
def _locked(file: Path, path: Path, say: Callable[[str], None]) -> Iterator[FileIO]:
    """The lock file, opened and locked."""
    while True:
        with FileIO(open_regular(file, os.O_RDWR | os.O_CREAT), "r+") as held:
            ours = try_lock(held.fileno())
            if ours is False:
                words = held.read(200).decode(errors="replace").split()
                process = f" (process {' '.join(words)})" if words else ""
                raise UserError(
                    f"{path} is being written by another minigan train{process}; wait until it "
                    "ends, or choose another --out"
                )
            # Its holder may have removed the file in the moment before it was locked.
            if _is_named(held, file):
                if ours is None:
                    say(
                        f"the file system of {path} has no locks: see to it that nobody else "
                        "trains into it meanwhile"
                    )
                yield held
                return


def _is_named(held: FileIO, file: Path) -> bool:
    """Whether an open file still has its name."""
    try:
        return os.path.samestat(os.fstat(held.fileno()), file.stat())
    except FileNotFoundError:
        return False

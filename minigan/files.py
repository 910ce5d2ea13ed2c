"""Writing files so that nobody ever sees half of one, and parts of files between two marks."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import UserError


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Give a temporary path in the same folder and move it to `path` when the block succeeds.

    A reader sees the old file or the new one, also after a crash: the bytes are flushed to the disk
    before the name changes. If the block raises, the temporary file is removed and `path` stays
    as it was. The temporary name keeps the suffix, from which image writers choose the format.

    Raises:
        OSError: if the folder cannot be written or the disk is full.
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes it private; a result is not
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def rewrite_part(path: str | Path, begin: str, end: str, text: str) -> None:
    """Put `text` into a file, instead of what stands there between the lines `begin` and `end`.

    Raises:
        UserError: if one of them is not there.
    """
    path = Path(path)
    whole = around_part(path.read_text("utf-8"), begin, end)
    with atomic_write(path) as temporary:
        temporary.write_text(text.strip().join(whole), "utf-8")


def around_part(text: str, begin: str, end: str) -> tuple[str, str]:
    """What comes before the part between two lines, with the first, and what from the second on.

    Raises:
        UserError: if one of them is not there.
    """
    before, first, rest = text.partition(begin)
    _, second, after = rest.partition(end)
    if not (first and second):
        raise UserError(f"the text lacks the lines {begin} and {end}, between which a part belongs")
    return f"{before}{first}\n\n", f"\n\n{second}{after}"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

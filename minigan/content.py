"""What a file is that should be data: a pointer, a page, an archive; and names that are text."""

from __future__ import annotations

import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import UserError
from .terminal import brief, visible

# What reading a zip of NumPy's arrays may raise on bytes that are none.
UNREADABLE_ARRAYS = (
    zipfile.BadZipFile, zlib.error, struct.error, ArithmeticError, EOFError, LookupError,
    NotImplementedError, RuntimeError, ValueError, TypeError, SyntaxError, Warning,
    tokenize.TokenError,
)  # fmt: skip
HEAD = 512  # bytes of a file that tell what it is
_STAND_INS = (
    (b"version https://git-lfs", "a pointer of git-LFS; fetch the file with: git lfs pull"),
    (b"/annex/objects/", "a pointer of git-annex; fetch the file with: git annex get"),
    (b"<!doctype html", "a page in HTML, perhaps of an error; fetch the file again"),
    (b"<html", "a page in HTML, perhaps of an error; fetch the file again"),
    (b"<?xml", "a text in XML, perhaps of an error; fetch the file again"),
)
_ARCHIVES = (
    (b"PK\3\4", "a zip archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
)


def stand_in(head: bytes) -> str | None:
    """What a file that begins with `head` is instead of the data, and the way out; None if it may
    be data.
    """
    if not head:
        return "empty; fetch it again"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return next((what for sign, what in _STAND_INS if start.startswith(sign)), None)


def archive(head: bytes) -> str | None:
    """Which archive a file that begins with `head` is; None if it is none."""
    if head[257:262] == b"ustar":
        return "a tar archive"
    return next((what for sign, what in _ARCHIVES if head.startswith(sign)), None)


def mistaken_for(head: bytes) -> str | None:
    """What a file that begins with `head` is instead of data, and the way out; None if unknown."""
    packed = archive(head)
    return stand_in(head) if packed is None else f"{packed}; unpack it"


def check_content(path: Path, head: bytes, wanted: str) -> None:
    """Make sure that a file is no pointer, page or archive; `wanted` is what it should be, such as
    "an idx file".

    Raises:
        UserError: that says what it is.
    """
    what = mistaken_for(head[:HEAD])
    if what is not None:
        raise UserError(f"{path} is not {wanted} but {what}.")


def file_text(name: str) -> str:
    """The name of a file as text: bytes that are no UTF-8 become escapes such as \\xe9."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def one_line(error: object) -> str:
    """What an error or warning of a library says, as one line of printable text."""
    return brief(" ".join(str(error).split()) or type(error).__name__)


@contextmanager
def printable_errors() -> Iterator[None]:
    """Let the sentence of a UserError be one line, whatever is in the names of files."""
    try:
        yield
    except UserError as error:
        if (line := visible(str(error))) == str(error):
            raise
        raise type(error)(line) from error

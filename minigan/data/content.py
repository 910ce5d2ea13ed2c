"""What a file is that should be data: a pointer, a page, an archive; and names that are text."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import UserError

HEAD = 512  # bytes of a file that tell what it is
_SIGNS = (
    (b"version https://git-lfs", "a pointer of git-LFS; fetch the file with: git lfs pull"),
    (b"/annex/objects/", "a pointer of git-annex; fetch the file with: git annex get"),
    (b"<!doctype html", "a page in HTML, perhaps of an error; fetch the file again"),
    (b"<html", "a page in HTML, perhaps of an error; fetch the file again"),
    (b"<?xml", "a text in XML, perhaps of an error; fetch the file again"),
    (b"pk\3\4", "a zip archive; unpack it"),
    (b"\x1f\x8b", "a gzip file; unpack it"),
    (b"bzh", "a bzip2 file; unpack it"),
    (b"\xfd7zxz", "an xz file; unpack it"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it"),
    (b"rar!", "a RAR archive; unpack it"),
)


def mistaken_for(head: bytes) -> str | None:
    """What a file that begins with `head` is instead of data, and the way out; None if unknown."""
    if not head:
        return "empty; fetch it again"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for sign, what in _SIGNS:
        if start.startswith(sign):
            return what
    if head[257:262] == b"ustar":
        return "a tar archive; unpack it"
    return None


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
    text = " ".join(str(error).split()) or type(error).__name__
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)[:300]

"""Generated parts of pages, between two marker lines."""

from __future__ import annotations

from pathlib import Path

from .errors import UserError
from .files import atomic_write


def rewrite_part(path: str | Path, begin: str, end: str, text: str) -> None:
    """Replace what a text file has between the lines `begin` and `end` by `text`.

    Raises:
        UserError: if a line is missing.
    """
    path = Path(path)
    around = around_part(path.read_text("utf-8"), begin, end)
    with atomic_write(path) as temporary:
        temporary.write_text(text.strip().join(around), "utf-8")


def around_part(text: str, begin: str, end: str) -> tuple[str, str]:
    """A text up to and with the line `begin`, and from the line `end` on.

    Raises:
        UserError: if a line is missing.
    """
    before, first, rest = text.partition(begin)
    _, second, after = rest.partition(end)
    if not (first and second):
        raise UserError(f"the text lacks the lines {begin} and {end}, between which a part belongs")
    return f"{before}{first}\n\n", f"\n\n{second}{after}"

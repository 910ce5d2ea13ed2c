"""Text for a terminal or a log, where a name from outside can neither move the cursor nor end a
line, and a character that the stream cannot say does not end the program.
"""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TextIO

NARROW = 40  # columns, below which nothing is drawn: neither bars nor boxes around text


def visible(text: str) -> str:
    r"""`text` with every character escaped that would be obeyed instead of shown.

    These are control characters, line breaks, marks that reverse the direction of writing, and the
    bytes of a file name that are not UTF-8: "a\nb" becomes "a\\nb". Letters of any script stay.
    """
    if text.isprintable():
        return text
    return "".join(
        c
        if c.isprintable() or unicodedata.category(c) == "Zs"  # spaces of other widths
        else c.encode("unicode_escape").decode("ascii")
        for c in text
    )


def brief(text: str, most: int = 300) -> str:
    """`text` as `visible` shows it, cut to `most` characters."""
    line = visible(text)
    return line if len(line) <= most else line[: most - 3] + "..."


def write(stream: TextIO | None, text: str) -> None:
    """Write `text` at once, with its line breaks, and escape what the stream's encoding lacks.

    Without a stream (pythonw has none) it goes nowhere.
    """
    if stream is not None:
        encoding = stream.encoding or "utf-8"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()


def draws(stream: TextIO | None) -> bool:
    """Whether a bar can be drawn and drawn again on `stream`: a terminal that moves its cursor,
    and is wide enough.
    """
    if stream is None or not stream.isatty() or os.environ.get("TERM") in ("dumb", "unknown"):
        return False
    return columns() >= NARROW


def columns() -> int:
    """The width of the terminal, as far as it is known."""
    return shutil.get_terminal_size().columns


@contextmanager
def standard_streams() -> Iterator[None]:
    """Within the block there are a standard output and error, for whatever prints to them.

    Closed ones (`>&-`, a daemon, pythonw) lead nowhere.
    """
    _occupy_descriptors()
    with ExitStack() as stack:
        for name in ("stdout", "stderr"):
            if getattr(sys, name) is None:
                nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
                stack.callback(setattr, sys, name, None)
                setattr(sys, name, nowhere)
        yield


def _occupy_descriptors() -> None:
    """Open what is closed of the descriptors 0, 1 and 2, or the next file would get one of them,
    and a library that prints an error would print it into a checkpoint.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free

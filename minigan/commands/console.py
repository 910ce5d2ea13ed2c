"""What commands print: results on stdout, messages on stderr."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from ..terminal import NARROW, columns, visible, write


def show(text: object) -> None:
    """Print one line of a command's result."""
    write(sys.stdout, f"{visible(str(text))}\n")


def show_page(text: str) -> None:
    """Print lines of our own, such as a usage, with whatever colours are in them."""
    write(sys.stdout, f"{text}\n")


def show_table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table. Long cells wrap on a terminal, but not in a file."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*heading, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*map(visible, row))
    terminal = sys.stdout is not None and sys.stdout.isatty()
    text = io.StringIO()  # rich ends the process when a pipe is closed
    console = Console(
        file=text,
        width=max(NARROW, columns()) if terminal else 240,
        force_terminal=terminal,
        highlight=False,
        markup=False,  # a name may look like [red]
        emoji=False,
    )
    console.print(table)
    write(sys.stdout, text.getvalue())


def say(text: str) -> None:
    """Tell the user in one line something that is not the command's result."""
    write(sys.stderr, f"{visible(text)}\n")


class Log:
    """Standard error for as long as somebody reads it; after that, what is written is lost.

    A run need not end because the reader of its log has, or the log's disk is full.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            silence(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            silence(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def silence(stream: TextIO) -> None:
    """From now on write to nowhere, also what the stream still holds."""
    with suppress(OSError, ValueError):  # one that has no descriptor, or is closed
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


@contextmanager
def lasting_log() -> Iterator[None]:
    """Within the block no failing write to standard error ends anything."""
    before: Any = sys.stderr
    sys.stderr = Log(before)
    try:
        yield
    finally:
        sys.stderr = before

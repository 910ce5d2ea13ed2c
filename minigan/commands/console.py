"""What commands print: results on stdout, messages on stderr."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

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

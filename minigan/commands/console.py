"""What commands print: tables on stdout, messages on stderr."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence


def show_table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table. Long cells wrap on a terminal, but not in a file."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*heading, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*row)
    width = None if sys.stdout.isatty() else 240
    text = io.StringIO()  # rich ends the process when a pipe is closed
    console = Console(
        file=text, width=width or Console().width, force_terminal=width is None, highlight=False
    )
    console.print(table, markup=False)
    print(text.getvalue(), end="")


def say(text: str) -> None:
    """Tell the user something that is not the command's result."""
    print(text, file=sys.stderr, flush=True)

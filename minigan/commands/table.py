"""Tables on the terminal, and commands without flags."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

from ..errors import UserError


def show(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; long cells wrap on a terminal, and are left whole in a file."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*heading, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*row)
    width = None if sys.stdout.isatty() else 240
    text = io.StringIO()  # rich would answer a closed pipe by ending the process
    console = Console(
        file=text, width=width or Console().width, force_terminal=width is None, highlight=False
    )
    console.print(table, markup=False)
    print(text.getvalue(), end="")


def refuse(words: Sequence[str], verb: str, text: str) -> None:
    """Handle the words after a command that takes none: only --help is known."""
    if words and words[0] in ("-h", "--help"):
        print(f"usage: minigan {verb}\n\n{text}")
        raise SystemExit(0)
    if words:
        raise UserError(f"minigan {verb} takes no {words[0]}; say minigan {verb} alone")

"""Tables of numbers on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

Numbers = Mapping[str, Any]  # a Timing or a Ratio as it was saved


def show(
    title: str, heading: Sequence[str], rows: Sequence[Sequence[str]], notes: str = ""
) -> None:
    """Print a table: the first column as text, the others flush right."""
    table = Table(box=None, pad_edge=False)
    for number, name in enumerate(heading):
        table.add_column(name, justify="left" if number == 0 else "right", no_wrap=number == 0)
    for row in rows:
        table.add_row(*row)
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False, markup=False)
    console.print(title, style="bold")
    console.print(table)
    if notes:
        console.print(notes)
    console.print()


def seconds(timing: Numbers | None) -> str:
    """The median with a unit; with a mark if it was disturbed."""
    if timing is None:
        return "-"
    return doubt(timing, duration(timing["median"]))


def doubt(found: Numbers, text: str) -> str:
    """The text of a number that was found, with a mark if something disturbed it."""
    return f"{text}?" if found["disturbed"] else text


def duration(value: float) -> str:
    """Seconds to three digits: 12.3 ms."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= scale or unit == "us":
            return f"{digits(value / scale)} {unit}"
    raise AssertionError("the last unit takes all")


def spread(timing: Numbers | None) -> str:
    """The quartiles, in the median's unit."""
    if timing is None:
        return ""
    unit = duration(timing["median"]).split()[1]
    scale = {"s": 1.0, "ms": 1e-3, "us": 1e-6}[unit]
    return f"{digits(timing['low'] / scale)}..{digits(timing['high'] / scale)}"


def times(ratio: Numbers | None) -> str:
    """A ratio to three digits: 2.51x."""
    return "-" if ratio is None else f"{digits(ratio['median'])}x"


def spread_of_ratio(ratio: Numbers) -> str:
    """The quartiles of a ratio."""
    return f"{digits(ratio['low'])}..{digits(ratio['high'])}"


def counted(number: int, thing: str) -> str:
    """A number of things: 1 thread, 2 threads."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def digits(value: float) -> str:
    """Three digits, and no exponent for what people measure."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"

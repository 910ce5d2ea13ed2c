"""Progress of a long job on the terminal, or in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from minigan_kernels.compiling import COMPILING

from .terminal import draws, visible, write

GAP = "  "
WIDEST, NARROWEST = 24, 6  # columns of the bar


class Progress:
    """A bar with count, remaining time, rate and the newest values; plain lines where there is no
    terminal.

    Counts `unit` from `start` to `total`; `name` says what is done. In a log it prints a line every
    `every` seconds. Compiling kernels counts neither in the rate nor in the remaining time.
    """

    def __init__(
        self, start: int, total: int, *, name: str = "", unit: str = "steps", every: float = 10.0
    ) -> None:
        self.start, self.total, self.every = start, total, every
        self.name, self.unit = visible(name), unit
        self.step = start
        self.values: list[str] = []
        self.bar: Any = None

    def __enter__(self) -> Self:
        self.began = self.printed = self.updated = time.monotonic()
        self.before, self.compiling = COMPILING.seconds(), 0.0
        if draws(sys.stderr):
            self.bar = _bar(self)
            COMPILING.watched += 1
            self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            COMPILING.watched -= 1
            self.bar.stop()

    def update(self, step: int, values: Mapping[str, float]) -> None:
        """Show that `step` of `total` is done, with these values."""
        self.step, self.updated = step, time.monotonic()
        self.compiling = COMPILING.seconds() - self.before
        # Of equal widths mostly, so that a bar beside them keeps its own.
        self.values = [f"{visible(name)} {value:<5.3g}" for name, value in values.items()]
        due = self.updated - self.printed >= self.every or step == self.total
        if self.bar is None and due:
            self.printed = self.updated
            texts = [f"{self.name or 'step'} {step}/{self.total}", self.rate(), self.left()]
            line = GAP.join([*filter(None, texts), *self.values])
            write(sys.stderr, f"{line.rstrip()}\n")

    def rate(self) -> str:
        """The speed so far; empty before it is known."""
        done, seconds = self.step - self.start, self._working()
        if not done:
            return ""
        if done < seconds:
            return f"{seconds / done:.1f} s/{self.unit.removesuffix('s')}"
        speed = done / max(seconds, 1e-9)
        return f"{speed:.1f} {self.unit}/s" if speed < 100 else f"{speed:,.0f} {self.unit}/s"

    def left(self) -> str:
        """The time that remains, or at the end the one that it took; empty before it is known."""
        if self.step >= self.total:
            share = f", {duration(self.compiling)} of it compiling" if self.compiling >= 1 else ""
            return f"in {duration(self.updated - self.began)}{share}"
        done = self.step - self.start
        return f"{duration(self._working() / done * (self.total - self.step))} left" if done else ""

    def _working(self) -> float:
        """The seconds of the work up to the newest step, without compiling."""
        return max(0.0, self.updated - self.began - self.compiling)


def duration(seconds: float) -> str:
    """A time in seconds, or in minutes and seconds, or in hours and minutes."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def fitted(
    width: int, name: str, facts: Sequence[str], more: Sequence[str]
) -> tuple[str, int, str]:
    """What fits into a line of `width` columns: the name, the width of the bar, the text behind it.

    The `facts` are always there. Then come a narrow bar, the name, as much of `more` as fits whole,
    and with what is left a wider bar.
    """
    text = GAP.join(fact for fact in facts if fact)
    room = width - len(text) - len(GAP)
    bar = max(0, min(NARROWEST, room))
    if len(name) + len(GAP) > room - bar:
        name = ""
    room -= bar + len(name and name + GAP)
    for extra in more:
        if len(extra) + len(GAP) > room:
            break
        text += GAP + extra
        room -= len(GAP + extra)
    return name and name + GAP, max(bar, min(WIDEST, (bar + room) // 3 * 3)), text


def _bar(job: Progress) -> Any:
    """A line on standard error that shows `job` as it is, drawn ten times a second."""
    from rich.console import Console, ConsoleOptions
    from rich.live import Live
    from rich.text import Text

    console = Console(stderr=True)

    class Line:
        def __rich_console__(self, console: Console, options: ConsoleOptions) -> Any:
            status = COMPILING.status()
            facts = f"{job.step:{len(str(job.total))}}/{job.total}", job.left()
            more = [status] if status else [*filter(None, [job.rate()]), *job.values]
            name, width, text = fitted(options.max_width, job.name, facts, more)
            full = width * job.step // max(1, job.total)
            dash = "-" if options.ascii_only else "━"
            rest = " " if console.no_color or not console.color_system else dash
            line = Text(name, no_wrap=True, overflow="crop", end="")
            line.append(dash * full, "bar.complete").append(rest * (width - full), "bar.back")
            yield line.append(GAP + text)

    return Live(Line(), console=console, refresh_per_second=10)

"""Progress of a long job in a notebook, on the terminal, or in a log."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from minigan_kernels.compiling import COMPILING

from . import notebook
from .terminal import draws, visible, write

GAP = "  "
RENEWED = 0.2  # seconds between two states of a notebook's bar
WIDEST, NARROWEST = 24, 6  # columns of the bar


class Progress:
    """A bar with count, remaining time, rate and the newest values; plain lines where there is
    neither a terminal nor a notebook.

    Counts `unit` from `start` to `total`; `name` says what is done. In a log it prints a line every
    `every` seconds. Compiling kernels counts neither in the rate nor in the remaining time. A
    notebook also shows the PNG that `picture` gives for a step, where there is one.
    """

    def __init__(
        self,
        start: int,
        total: int,
        *,
        name: str = "",
        unit: str = "steps",
        every: float = 10.0,
        picture: Callable[[int], Path] | None = None,
    ) -> None:
        self.start, self.total, self.every = start, total, every
        self.name, self.unit, self.picture = visible(name), unit, picture
        self.step = start
        self.values: list[str] = []
        self.bar: Any = None
        self._line: notebook.Display | None = None
        self._sheet: notebook.Display | None = None

    def __enter__(self) -> Self:
        self.began = self.printed = self.updated = time.monotonic()
        self.before, self.compiling = COMPILING.seconds(), 0.0
        if notebook.active():
            self._line, self._sheet = notebook.Display(), notebook.Display()
            self._renew(self._line)
            self._draw()
        elif draws(sys.stderr):
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
        if self._line is not None:
            self._renew(self._line)

    def update(self, step: int, values: Mapping[str, float]) -> None:
        """Show that `step` of `total` is done, with these values."""
        self.step, self.updated = step, time.monotonic()
        self.compiling = COMPILING.seconds() - self.before
        # Of equal widths mostly, so that a bar beside them keeps its own.
        self.values = [f"{visible(name)} {value:<5.3g}" for name, value in values.items()]
        passed = self.updated - self.printed
        if self._line is not None:
            if passed >= RENEWED:
                self._renew(self._line)
            self._draw()
        elif self.bar is None and (passed >= self.every or step == self.total):
            self.printed = self.updated
            write(sys.stderr, f"{self._text()}\n")

    def _draw(self) -> None:
        """Let a notebook show the picture of this step, if there is one."""
        if self._sheet is not None and self.picture is not None:
            path = self.picture(self.step)
            if path.is_file():
                self._sheet.show(notebook.png(path, str(path)))

    def _renew(self, line: notebook.Display) -> None:
        """Let a notebook show how it is now."""
        self.printed = self.updated
        done, whole = self.step - self.start, self.total - self.start
        bar = f'<progress value="{done}" max="{whole}"></progress>'
        text = self._text()
        page = f"<div>{bar} <code>{html.escape(text)}</code></div>"
        line.show(notebook.text_and_html(text, page))

    def _text(self) -> str:
        """How it is now, in a line."""
        texts = [f"{self.name or 'step'} {self.step}/{self.total}", self.rate(), self.left()]
        return GAP.join([*filter(None, texts), *self.values]).rstrip()

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

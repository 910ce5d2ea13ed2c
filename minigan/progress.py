"""Progress of a long job on the terminal, or in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from .terminal import draws, visible, write


class Progress:
    """A bar with rate, remaining time and the newest values; plain lines where there is no
    terminal.

    Counts from `start` to `total`. In a log it prints a line every `every` seconds.
    """

    def __init__(self, start: int, total: int, *, every: float = 10.0) -> None:
        self.start, self.total, self.every = start, total, every
        self.bar: Any = None

    def __enter__(self) -> Self:
        self.began = self.printed = time.monotonic()
        if draws(sys.stderr):
            from rich import progress
            from rich.console import Console

            self.bar = progress.Progress(
                progress.BarColumn(bar_width=24),
                progress.MofNCompleteColumn(),
                progress.TextColumn("{task.fields[rate]}", markup=False),
                progress.TimeRemainingColumn(compact=True),
                progress.TextColumn("{task.fields[values]}", markup=False),
                console=Console(stderr=True),
            )
            self.bar.start()
            self.task = self.bar.add_task(
                "", total=self.total, completed=self.start, rate="", values=""
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def update(self, step: int, values: Mapping[str, float]) -> None:
        """Show that `step` of `total` is done, with these values."""
        now = time.monotonic()
        per_second = (step - self.start) / max(now - self.began, 1e-9)
        rate = f"{per_second:.1f} steps/s" if per_second >= 1 else f"{1 / per_second:.1f} s/step"
        text = "  ".join(f"{visible(name)} {value:.3g}" for name, value in values.items())
        if self.bar is not None:
            self.bar.update(self.task, completed=step, rate=rate, values=text)
        elif now - self.printed >= self.every or step == self.total:
            self.printed = now
            left = (self.total - step) / per_second
            write(sys.stderr, f"step {step}/{self.total}  {rate}  {left:.0f} s left  {text}\n")

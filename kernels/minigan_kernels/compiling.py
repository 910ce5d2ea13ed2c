"""What compiling kernels costs this process, for whoever measures speed or shows progress."""

from __future__ import annotations

import time


class Compiling:
    """The functions that were compiled so far, and the seconds that they took.

    Helpers that are compiled for another function count as part of it. Loading machine code from
    the disk is no compiling.
    """

    def __init__(self) -> None:
        self.names: list[str] = []  # the one that is compiled now is the last
        self.watched = 0  # displays that show it, beside which nobody else need
        self._spent = 0.0
        self._began: float | None = None  # when the one of now began

    def begin(self, name: str) -> None:
        """The function `name` is compiled from now on."""
        self.names.append(name)
        self._began = time.perf_counter()

    def end(self) -> None:
        """It is compiled."""
        self._spent, self._began = self.seconds(), None

    def seconds(self) -> float:
        """Seconds spent on compiling, those of the function of now included."""
        running = 0.0 if self._began is None else time.perf_counter() - self._began
        return self._spent + running

    def status(self) -> str:
        """What is compiled now, in a few words; empty if nothing is."""
        if self._began is None:
            return ""
        return f"compiling kernel {len(self.names)}, {self.seconds():.0f} s so far"


COMPILING = Compiling()  # of this process

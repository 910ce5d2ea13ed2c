"""What every part of the suite is told."""

from __future__ import annotations

import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """How many threads, and how thoroughly."""

    threads: int
    quick: bool = False  # small networks for a moment each: does it run, not how fast

    def budget(self, seconds: float) -> float:
        """Seconds for one comparison that deserves `seconds`."""
        return seconds / 50 if self.quick else seconds


def say(text: str) -> None:
    """Tell the user what is going on; the tables go to standard output."""
    print(f"bench: {text}", file=sys.stderr, flush=True)

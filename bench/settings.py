"""What every part of the suite is told."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """How many threads, and how thoroughly."""

    threads: int
    quick: bool = False  # small networks for a moment each: does it run, not how fast

    def budget(self, seconds: float) -> float:
        """Seconds for one comparison that deserves `seconds`."""
        return seconds / 50 if self.quick else seconds


def exit_code(run: Callable[[], int]) -> int:
    """The exit code of a part, as minigan's; what ended it is said on standard error."""
    from minigan import signals  # not before `limit`, as it imports NumPy
    from minigan.errors import RunError, UserError

    try:
        with signals.raised():
            return run()
    except (UserError, RunError) as error:
        print(f"minigan bench: {error}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"minigan bench: {place}{error.strerror or error}", file=sys.stderr)
        return 1
    except signals.Stopped as stopped:  # by SIGTERM or SIGHUP; measuring processes end as well
        return 128 + stopped.number


def say(text: str) -> None:
    """Tell the user what is going on; the tables go to standard output."""
    print(f"bench: {text}", file=sys.stderr, flush=True)

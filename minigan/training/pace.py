"""How long a step takes, and with it a run."""

from __future__ import annotations

import time

from minigan_kernels.compiling import COMPILING

from .graph_replay import CHECKED
from .state import State

WARM = 1  # steps that are not timed: kernels are loaded in them, and memory is taken
TIMED = 20  # steps that are, at most
ENOUGH = 2.0  # seconds after which no further step is timed
SLOW = 5.0  # seconds of a first step that tells enough, for little of it is loading
SHORT = 60.0  # seconds of a run of which one step tells enough
UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))
clock = time.perf_counter  # seconds


def seconds_per_step(state: State, steps: int | None = None) -> float:
    """The mean duration of up to 20 steps of a state, which are not to be those of a run.

    It takes two seconds, or two steps where these are longer, or only the first one if that takes
    more than five seconds. Compiling does not count, nor the first step, nor on a GPU those in
    which the graph is captured and checked. A run of `steps` steps that by its first timed step
    takes less than a minute is not measured any longer.

    Raises:
        RunError: as `State.advance`.
    """
    warm = WARM if state.replay is None else CHECKED
    began, timed, count = _worked(), 0.0, 0
    while True:
        before = _worked()
        state.advance()
        now = _worked()
        if warm > 0 and now - before < SLOW:
            warm -= 1
            continue
        timed, count = timed + now - before, count + 1
        short = steps is not None and timed / count * steps < SHORT
        if short or now - began >= ENOUGH or count == TIMED:
            return timed / count


def about(seconds: float, steps: int) -> str:
    """The time that `steps` steps of so many seconds take, in words.

    >>> about(1.2, 2000)
    'about 40 minutes for 2,000 steps on this machine (1.2 s a step)'
    >>> about(0.004, 5000)
    'about 20 seconds for 5,000 steps on this machine (0.004 s a step)'
    """
    whole = seconds * steps
    unit, size = next((u for u in UNITS if whole >= 2 * u[1]), UNITS[-1])
    count = round(whole / size, 1 if whole / size < 10 and unit != "second" else None)
    count = max(count, 1)
    length = f"{count:g} {unit}{'' if count == 1 else 's'}"
    return f"about {length} for {steps:,} steps on this machine ({seconds:.2g} s a step)"


def _worked() -> float:
    """The seconds so far, without those of compiling."""
    return clock() - COMPILING.seconds()

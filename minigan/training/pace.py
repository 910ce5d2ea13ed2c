"""How many steps fit into a time."""

from __future__ import annotations

import time

from .state import State

WARM = 5  # steps that are not timed: kernels are compiled in them, and graphs captured
TIMED = 20
clock = time.perf_counter  # seconds


def seconds_per_step(state: State) -> float:
    """The mean duration of 20 steps, after 5 that do not count. They change the state.

    Raises:
        RunError: as `State.advance`.
    """
    for _ in range(WARM):
        state.advance()
    began = clock()
    for _ in range(TIMED):
        state.advance()
    return (clock() - began) / TIMED

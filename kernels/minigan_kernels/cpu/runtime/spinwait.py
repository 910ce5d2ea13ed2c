"""How a thread that waits for work is found awake.

To wake a sleeping thread takes the system as long as a small kernel takes. So between the kernels
of a step a helper of `threads` looks at a word in memory again and again, without the interpreter
lock, and falls asleep only if nothing comes for a while. The word says how things are:

    ASLEEP    it waits in its queue
    AWAKE     it looks here, or is about to
    CALLED    there is work, which the helper has not begun: whoever called may take it back
    BUSY      it is at work

Each step from one to another is atomic. Behind the word lie three more that tell the work: the
addresses of a loop's `share`, of the job and of its arguments (see `loops`), or zeros for work that
wants the interpreter.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, attr-defined, call-arg"
from __future__ import annotations

import math
import time
from functools import cache

import numpy as np

from ..compiler.jit import jit
from ..isa.atomics import atomic_load, atomic_store, compare_exchange, pause
from .native_task import do_share, word_at

PARKED, SPINNING, POSTED, RUNNING = range(4)
MAILBOX_WORDS = 4
SPIN_SECONDS = 400e-6  # seconds: longer than Python takes from one kernel to the next
JOIN_SPIN_SECONDS = 10e-3

_TRIAL = 1000  # looks


@cache
def spins_for(seconds: float) -> int:
    """How often one can look in as many seconds: a CPU's pause takes 10 times as long as another's.

    The fastest of some trials counts, since nothing makes a trial too fast.
    """
    word = np.array([RUNNING])
    wait_idle(word.ctypes.data, 1)  # compiled
    best = math.inf
    for _ in range(5):
        began = time.perf_counter()
        wait_idle(word.ctypes.data, _TRIAL)
        best = min(best, time.perf_counter() - began)
    return math.ceil(_TRIAL * seconds / best)


@jit()
def wait_for_task(place: int, most: int) -> bool:
    """For a helper: look for work and do it, until there is some for Python, which is to be done
    now: True; or, after so many looks without any, be asleep: False.
    """
    compare_exchange(place, PARKED, SPINNING)
    while True:
        look = 0
        while look < most:
            look += 1
            if atomic_load(place) == POSTED and compare_exchange(place, POSTED, RUNNING):
                share = word_at(place + 8)
                if share == 0:
                    return True
                do_share(share, word_at(place + 16), word_at(place + 24))
                atomic_store(place, SPINNING)
                look = 0
            pause()
        if compare_exchange(place, SPINNING, PARKED):
            return False


@jit()
def mark_idle(place: int) -> None:
    """For a helper: the work for Python is done."""
    atomic_store(place, SPINNING)


@jit()
def try_post(place: int, share: int, job: int, arguments: int) -> bool:
    """Whether the helper, which is not at work, is awake; if so it is called."""
    atomic_store(place + 8, share)
    atomic_store(place + 16, job)
    atomic_store(place + 24, arguments)
    return compare_exchange(place, SPINNING, POSTED)


@jit()
def post(place: int) -> None:
    """Call a helper that is awake or is woken then."""
    while not (
        compare_exchange(place, PARKED, POSTED) or compare_exchange(place, SPINNING, POSTED)
    ):
        pause()


@jit()
def try_cancel(place: int) -> bool:
    """Whether the helper had not begun what it was called for, and does not any more."""
    return compare_exchange(place, POSTED, SPINNING)


@jit()
def wait_idle(place: int, most: int) -> bool:
    """Wait until a helper has done its work; False after so many looks."""
    for _ in range(most):
        if atomic_load(place) != RUNNING:
            return True
        pause()
    return False

"""Spin-then-park: an idle worker polls its mailbox for SPIN_SECONDS before it blocks.

To wake a blocked thread takes the system as long as a small kernel takes. So between the kernels of
a training step a worker polls, without the interpreter lock, and parks only if nothing comes.

Polling pays on a core of one's own. The time for it is that on the clock, so a worker that lost its
core while it polled parks as soon as it gets one again. Which workers poll at all is decided in
`parallel`.

A mailbox is four int64: a state, and a message of three addresses: a task's `drain`, its header
and its arguments (see `native_task`), or zeros for work that needs the interpreter. Two threads use
it: its worker (W), and the caller (C), who holds the team's lock (see `parallel`).

                    post (C)
        +---------------------------------+
        |                                 v
      PARKED --wake (W)--> SPINNING --post (C)--> POSTED --take (W)--> RUNNING
        ^                    |  ^ ^                 |                     |
        +-----park (W)-------+  | +---cancel (C)----+                     |
                                +--------------done (W)-------------------+

Each transition is one atomic, sequentially consistent operation on the state: a store for "done", a
compare-exchange for all others. That order is all that the message needs:

* The caller alone writes the message, and only while the state is PARKED or SPINNING: `join` left
  it so. The worker reads the message only while the state is RUNNING. So neither writes what the
  other reads.
* post publishes the message, the task's header and its arguments, all written before it.
* take finds the state that post wrote, so the worker sees what post published.
* cancel takes the message back. Of take and cancel only one can find POSTED, so a cancelled worker
  never begins.
* done publishes the results. `wait_idle` loads the state, and so sees them once it is not RUNNING.
* park and wake publish nothing. If post comes first, their compare-exchange fails, and the worker
  takes the task. If park comes first, `try_post` fails, and the caller wakes the worker.

SPINNING may also be the state of a worker that still blocks: it was to be woken for a task, which
was cancelled. Then a wake-up is in its queue; `Worker.join` sees to that.
"""

# mypy: disable-error-code="no-untyped-call, call-arg"
from __future__ import annotations

import math
import time
from functools import cache

from ..compiler.jit import jit
from ..isa.atomics import atomic_load, atomic_store, compare_exchange, pause, ticks
from ..isa.simd import load_int64
from .numba_abi import call_with_two

PARKED, SPINNING, POSTED, RUNNING = range(4)
MAILBOX_LENGTH = 4  # int64: state, drain, header, arguments
SPIN_SECONDS = 400e-6  # longer than Python takes from one kernel to the next
JOIN_SPIN_SECONDS = 10e-3  # for which a caller polls a worker before it sleeps

_TRIAL_SECONDS = 200e-6


def ticks_for(seconds: float) -> int:
    """How many ticks of the CPU's clock take so long, at least 1; 0 if it has no clock."""
    return math.ceil(seconds * _ticks_per_second())


@cache
def _ticks_per_second() -> float:
    """The highest rate of some trials, since what interrupts a trial makes it too low."""
    read_ticks()  # compiles it
    best = 0.0
    for _ in range(5):
        began = time.perf_counter()
        first = read_ticks()
        while time.perf_counter() < began + _TRIAL_SECONDS:
            pass
        last = read_ticks()
        best = max(best, (last - first) / (time.perf_counter() - began))
    return best


@jit()
def read_ticks() -> int:
    """The CPU's clock."""
    return ticks()


@jit()
def wait_for_task(mailbox: int, patience: int) -> bool:
    """For the worker: run native tasks until a Python task arrives (True), or until nothing came
    for `patience` ticks (False, and PARKED). It looks once in any case.
    """
    compare_exchange(mailbox, PARKED, SPINNING)
    while True:
        began = ticks()
        while True:
            if atomic_load(mailbox) == POSTED and compare_exchange(mailbox, POSTED, RUNNING):
                drain = load_int64(mailbox + 8)
                if drain == 0:
                    return True
                call_with_two(drain, load_int64(mailbox + 16), load_int64(mailbox + 24))
                atomic_store(mailbox, SPINNING)
                began = ticks()
            if ticks() - began >= patience:
                break
            pause()
        if compare_exchange(mailbox, SPINNING, PARKED):
            return False


@jit()
def mark_idle(mailbox: int) -> None:
    """For the worker: the Python task is done."""
    atomic_store(mailbox, SPINNING)


@jit()
def try_post(mailbox: int, drain: int, header: int, arguments: int) -> bool:
    """For the caller, of an idle worker: write a message; whether the worker spins and so gets it.

    If not, `post` and a wake-up must follow.
    """
    atomic_store(mailbox + 8, drain)
    atomic_store(mailbox + 16, header)
    atomic_store(mailbox + 24, arguments)
    return compare_exchange(mailbox, SPINNING, POSTED)


@jit()
def post(mailbox: int) -> None:
    """For the caller: post the message that `try_post` wrote, to a worker that parks or spins."""
    while not (
        compare_exchange(mailbox, PARKED, POSTED) or compare_exchange(mailbox, SPINNING, POSTED)
    ):
        pause()


@jit()
def try_cancel(mailbox: int) -> bool:
    """For the caller: take back the message, unless the worker has taken it; whether it was."""
    return compare_exchange(mailbox, POSTED, SPINNING)


@jit()
def wait_idle(mailbox: int, patience: int) -> bool:
    """For the caller: wait until the worker has done its task; False after so many ticks."""
    began: int = ticks()
    while atomic_load(mailbox) == RUNNING:
        if ticks() - began >= patience:
            return False
        pause()
    return True

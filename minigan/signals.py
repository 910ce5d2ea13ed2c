"""Signals that ask a process to end: Ctrl-C, and what `kill`, `docker stop`, a batch system or a
closing terminal send.

Only the main thread receives signals, so in others all of this does nothing.
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


def _ending() -> tuple[int, ...]:
    """The signals besides Ctrl-C's; Windows has no SIGHUP."""
    return tuple(getattr(signal, n) for n in ("SIGTERM", "SIGHUP") if hasattr(signal, n))


ENDING = _ending()
TWICE = 1.0  # seconds within which a second SIGTERM is the first: to a process, and to its group
SOON = 0.01  # seconds
Handler = Callable[[int, FrameType | None], None]
_raised: list[int] = []  # signals, in the command that goes on


class Stopped(KeyboardInterrupt):
    """A signal has ended what was going on; `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(name(number))
        self.number = number


def name(number: int) -> str:
    """Of a signal, such as SIGTERM."""
    return signal.Signals(number).name


def interrupted(number: int) -> str:
    """How to say that a signal has ended something."""
    return "interrupted" if number == signal.SIGINT else f"interrupted by {name(number)}"


def number_of(error: KeyboardInterrupt) -> int:
    """The signal behind an interruption."""
    return error.number if isinstance(error, Stopped) else signal.SIGINT


@contextmanager
def raised() -> Iterator[None]:
    """Within the block SIGTERM and SIGHUP raise `Stopped`, as Ctrl-C raises KeyboardInterrupt.

    So temporary files are removed, and locks and pools given back. The second one ends the process
    as if nothing handled it. What is ignored, as SIGHUP by nohup, stays ignored.
    """
    ending = (n for n in ENDING if signal.getsignal(n) is signal.SIG_DFL)
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with (
        _handled(ending, _raise),
        _handled((signal.SIGINT,) if usual else (), _interrupt),
        _again(),
    ):
        try:
            yield
        finally:
            _raised.clear()


@contextmanager
def deferred() -> Iterator[Callable[[], int | None]]:
    """Within the block a signal is only noted, so that what is going on can end in order.

    Gives a function that answers which signal came, or None. A second one raises: any Ctrl-C, or a
    SIGTERM that comes later. SIGHUP does not, for a terminal that closes sends it twice.

    SIGTERM and SIGHUP are handled only within `raised`, that is in a command: who calls a function
    of minigan keeps them.
    """
    # What was raised before, and has not ended the command, was swallowed by some library.
    came = [(number, time.monotonic()) for number in _raised]

    def handle(number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        came.append((number, now))
        late = number == signal.SIGTERM and now - came[0][1] > TWICE
        if len(came) > 1 and (number == signal.SIGINT or late):
            raise Stopped(number)

    ours = (n for n in ENDING if signal.getsignal(n) is _raise)
    with _handled((signal.SIGINT, *ours), handle):
        yield lambda: came[0][0] if came else None


def _raise(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    _raised.append(number)
    raise Stopped(number)


def _interrupt(number: int, frame: FrameType | None) -> None:
    _raised.append(number)
    raise KeyboardInterrupt


@contextmanager
def _again() -> Iterator[None]:
    """Within the block an interruption that Python ignores comes again.

    It ignores what is raised while an object is destroyed, wherever that happens.
    """
    before = sys.unraisablehook

    def hook(ignored: sys.UnraisableHookArgs) -> None:
        error = ignored.exc_value
        if not isinstance(error, KeyboardInterrupt):
            before(ignored)
            return
        number = number_of(error)
        if signal.getsignal(number) is signal.SIG_DFL:  # after `_raise`
            signal.signal(number, _raise)
        # Later, for what is raised here is ignored as well.
        again = threading.Timer(SOON, _send, (number,))
        again.daemon = True
        again.start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def _send(number: int) -> None:
    """Send a signal to the main thread, which wakes where the system can do that."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:  # Windows
        _thread.interrupt_main(signal.Signals(number))


@contextmanager
def _handled(numbers: Iterable[int], handler: Handler) -> Iterator[None]:
    """Within the block `handler` handles these signals, in the main thread."""
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in numbers}
    before = {n: h for n, h in before.items() if h is not None}  # None: not Python's, nor ours
    try:
        for number in before:
            signal.signal(number, handler)
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)

"""Which tile and how many parts are fastest for a product: measured once, and kept on disk.

    with tuning(of_card()):
        y = conv2d(x, w)  # by the fastest of `tiling.choices`, from the first call on

Without a tuner the rule of `tiling.choose` holds. Nothing else measures by itself: a sum that is
cut otherwise has other last bits, so a choice, once kept, stays. It is a file of its own for each
problem, beside the compiled kernels, and named by all that it depends on: the card, the problem,
the plans that were compared, the sources of their kernels and the compiler. What is spoilt, or says
otherwise itself, is measured again; where a choice for other kernels or in another format was kept,
one sentence on stderr says so. Of two processes that measure at once the last to write stays.

How a convolution ends (bias and activation, moments, nothing) is not among it: one choice serves
all, so a layer gives the same sums to the last bit whether it is fused or, for a second derivative,
taken apart. What an ending costs is much the same for each plan: arithmetic on values in registers,
be it in the kernel or in the one that adds parts.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from . import nvrtc
from .cache import folder, found, keep, key, unit
from .launch import current_device, is_planning, kernel
from .tiling import Plan

FORMAT = 2  # of what is kept; 1 did not name its format
MARGIN = 0.97  # of the rule's time, that another plan must stay below
REPEATS = 5  # of which the fastest counts
_BUSY = 2_000_000  # ticks of the card, about a millisecond: to launch what is timed takes less


class Clock(Protocol):
    """What tells how long a card computes."""

    def runs(self) -> bool:
        """Whether time can be taken now."""

    def __call__(self, compute: Callable[[], object]) -> float:
        """Milliseconds of what compute() launches."""


class Tuner:
    """The choices for the card of that name by `clock`; `compiler` is the version of what compiles
    its kernels.
    """

    def __init__(self, card: str, compiler: str, clock: Clock) -> None:
        self.card, self.compiler, self.clock = card, compiler, clock
        self._known: dict[tuple[str, str, bytes], Plan] = {}
        self._told = False

    def choice(
        self,
        plans: Sequence[Plan],
        file: str,
        name: str,
        problem: np.ndarray,
        compute: Callable[[Plan], object],
    ) -> Plan | None:
        """As `settle`, but None for what is neither known nor can be measured now."""
        short = name, plans[0].precision, problem.tobytes()
        if short not in self._known:
            facts = {
                "format": FORMAT,
                "card": self.card,
                "kernel": name,
                "precision": plans[0].precision,
                "problem": str(problem),
                "sources": _sources(tuple(plans), file, name, self.compiler),
                "among": list(map(str, plans)),
            }
            known = self._read(plans, facts) or self._measured(plans, facts, compute)
            if known is None:
                return None
            self._known[short] = known
        return self._known[short]

    def _read(self, plans: Sequence[Plan], facts: dict[str, Any]) -> Plan | None:
        """The plan that is on disk, if it is one of `plans`."""
        entry = found(_name(facts))
        if entry is None or any(entry.facts.get(k) != v for k, v in facts.items()):
            return None
        return next((plan for plan in plans if str(plan) == entry.facts.get("chosen")), None)

    def _measured(
        self, plans: Sequence[Plan], facts: dict[str, Any], compute: Callable[[Plan], object]
    ) -> Plan | None:
        if is_planning() or not self.clock.runs():
            return None
        self._tell_of_another(facts)
        times = {plan: self.clock(lambda plan=plan: compute(plan)) for plan in plans}  # type: ignore[misc]
        rule, best = plans[0], min(plans, key=times.__getitem__)
        chosen = best if times[best] < MARGIN * times[rule] else rule

        def write(out: Path) -> dict[str, Any]:
            lines = (f"{milliseconds:.4f} ms  {plan}\n" for plan, milliseconds in times.items())
            out.write_text("".join(lines))
            return {**facts, "chosen": str(chosen)}

        keep(_name(facts), write)
        return chosen

    def _tell_of_another(self, facts: dict[str, Any]) -> None:
        """Say once if a choice for such a problem is kept that is of no use now."""
        if self._told:
            return
        same = ("card", "kernel", "precision", "problem")
        for note in folder().glob("tile-*.json"):
            with suppress(OSError, ValueError):  # spoilt, or gone
                kept = json.loads(note.read_text())
                if isinstance(kept, dict) and all(kept.get(k) == facts[k] for k in same):
                    self._told = True
                    break
        if self._told:
            print(
                f"minigan: tiles that were chosen before (in {folder()}) do not hold for today's "
                "kernels and compiler, and are measured again",
                file=sys.stderr,
                flush=True,
            )


_tuner: ContextVar[Tuner | None] = ContextVar("tuner", default=None)
_noted: ContextVar[list[bool] | None] = ContextVar("noted", default=None)


@contextmanager
def tuning(tuner: Tuner | None) -> Iterator[None]:
    """Within the block products are computed as `tuner` finds fastest, or by the rule if None."""
    token = _tuner.set(tuner)
    try:
        yield
    finally:
        _tuner.reset(token)


@contextmanager
def noting() -> Iterator[list[bool]]:
    """Within the block it is listed of each product whether its plan was measured."""
    noted: list[bool] = []
    token = _noted.set(noted)
    try:
        yield noted
    finally:
        _noted.reset(token)


def settle(
    plans: Sequence[Plan],
    file: str,
    name: str,
    problem: np.ndarray,
    compute: Callable[[Plan], object],
) -> Plan:
    """The fastest of `plans` for a `problem` of kernel `name`, or the first, that of the rule."""
    tuner = _tuner.get()
    chosen = tuner.choice(plans, file, name, problem, compute) if tuner else None
    if (noted := _noted.get()) is not None:
        noted.append(chosen is not None)
    return chosen or plans[0]


def of_card() -> Tuner:
    """The tuner of the current card."""
    return _of_card(current_device())


@cache
def _of_card(device: int) -> Tuner:
    import cupy

    facts = cupy.cuda.runtime.getDeviceProperties(device)
    name, parts = facts["name"].decode(), facts["multiProcessorCount"]
    capability = f"compute capability {facts['major']}.{facts['minor']}"
    card = f"{name}, {capability}, {parts} multiprocessors"
    return Tuner(card, nvrtc.version(), Events())


class Events:
    """The current card's clock: CUDA events on the current stream."""

    def runs(self) -> bool:
        """Whether no graph is being captured: what is captured does not run."""
        import cupy

        return not cupy.cuda.get_current_stream().is_capturing()

    def __call__(self, compute: Callable[[], object]) -> float:
        import cupy

        compute()  # compiles it, and gets its memory
        busy, best = cupy.empty(1), math.inf
        for _ in range(REPEATS):
            begin, end = cupy.cuda.Event(), cupy.cuda.Event()
            # The card has something to do meanwhile, or the time to launch would be measured.
            kernel("busy_wait", "busy_wait", threads=32)((1,), np.int64(_BUSY), like=busy)
            begin.record()
            compute()
            end.record()
            end.synchronize()
            best = min(best, cupy.cuda.get_elapsed_time(begin, end))
        return best


@cache
def _sources(plans: tuple[Plan, ...], file: str, name: str, compiler: str) -> str:
    """A digest of the kernels that `plans` would run, and of what compiles them."""
    kernels = dict.fromkeys(plan.product(file, name) for plan in plans)
    texts = [key(unit(k.file, k.defines), k.file.parent, compiler) for k in kernels]
    return hashlib.sha256("".join(texts).encode()).hexdigest()


def _name(facts: dict[str, Any]) -> str:
    return f"tile-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]}.txt"

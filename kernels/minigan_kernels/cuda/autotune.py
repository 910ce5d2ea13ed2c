"""Which tile and how many split-K slices are fastest for a GEMM: measured once, kept on disk.

    with tuning(of_gpu()):
        y = conv2d(x, w)  # by the fastest of `tiling.choices`, from the first call on

Without a tuner the rule of `tiling.choose` holds. Nothing measures by itself: a sum that is split
in another way has other last bits, so a choice, once kept, stays. Each problem has a file of its
own, beside the compiled kernels. Its name depends on all that matters: the GPU, the problem, the
plans compared, the sources of their kernels and the compiler. Corrupt or mismatching files are
measured again; where a choice for other kernels or in another format was kept, one sentence on
stderr says so. Two processes may measure at once; the last to write wins.

The epilogue (bias and activation, moments, nothing) is not part of it. One choice serves all, so a
layer gives the same sums to the last bit whether it is fused or, for a second derivative, taken
apart. An epilogue costs about the same in each plan: arithmetic on values in registers, in the GEMM
kernel or in the one that adds slices.
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
from .cache import facts_of, folder, found, keep, key, unit
from .launch import current_device, is_planning, kernel
from .tiling import Plan

FORMAT = 2  # of the kept files; 1 did not name its format
MARGIN = 0.97  # of the rule's time: another plan must take less
REPEATS = 5  # the fastest counts
_BUSY = 2_000_000  # GPU clock ticks, about 1 ms: longer than it takes to launch what is timed


class Clock(Protocol):
    """Measures how long a GPU computes."""

    def runs(self) -> bool:
        """Whether time can be taken now."""

    def __call__(self, compute: Callable[[], object]) -> float:
        """Milliseconds of what compute() launches."""


class Tuner:
    """The choices for the GPU of that name by `clock`; `compiler` is the compiler's version."""

    def __init__(self, gpu: str, compiler: str, clock: Clock) -> None:
        self.gpu, self.compiler, self.clock = gpu, compiler, clock
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
                "card": self.gpu,
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
            with suppress(OSError):  # gone
                kept = facts_of(note.read_bytes())
                if all(kept.get(k) == facts[k] for k in same):
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
    """Within the block GEMMs run as `tuner` finds fastest, or by the rule if it is None."""
    token = _tuner.set(tuner)
    try:
        yield
    finally:
        _tuner.reset(token)


@contextmanager
def noting() -> Iterator[list[bool]]:
    """Within the block each GEMM adds to the list whether its plan was measured."""
    noted: list[bool] = []
    token = _noted.set(noted)
    try:
        yield noted
    finally:
        _noted.reset(token)


def current() -> Tuner | None:
    """The tuner of the innermost `tuning` block."""
    return _tuner.get()


def settle(
    plans: Sequence[Plan],
    file: str,
    name: str,
    problem: np.ndarray,
    compute: Callable[[Plan], object],
) -> Plan:
    """The fastest of `plans` for a `problem` of kernel `name`, or the first, that of the rule."""
    tuner = current()
    chosen = tuner.choice(plans, file, name, problem, compute) if tuner else None
    if (noted := _noted.get()) is not None:
        noted.append(chosen is not None)
    return chosen or plans[0]


def of_gpu() -> Tuner:
    """The tuner of the current GPU."""
    return _of_gpu(current_device())


@cache
def _of_gpu(device: int) -> Tuner:
    import cupy

    facts = cupy.cuda.runtime.getDeviceProperties(device)
    name, parts = facts["name"].decode(), facts["multiProcessorCount"]
    capability = f"compute capability {facts['major']}.{facts['minor']}"
    gpu = f"{name}, {capability}, {parts} multiprocessors"
    return Tuner(gpu, nvrtc.version(), Events())


class Events:
    """The current GPU's clock: CUDA events on the current stream."""

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
            # Keeps the GPU busy meanwhile, or the launch overhead would be measured.
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
    kernels = dict.fromkeys(plan.kernel(file, name) for plan in plans)
    texts = [key(unit(k.file, k.defines), k.file.parent, compiler) for k in kernels]
    return hashlib.sha256("".join(texts).encode()).hexdigest()


def _name(facts: dict[str, Any]) -> str:
    return f"tile-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]}.txt"

"""Times side by side: candidates take turns, disturbed samples are rejected, ratios are paired.

A machine is never quiet: clocks change, neighbours wake up. So candidates are not measured one
after the other, but in rounds in which each has one turn, and two of them are compared by the
ratio within a round. Medians and quartiles are over the samples that nothing disturbed.

Linux counts what each core has done, and how long the hypervisor let others have it (steal); what
this process has not done itself was somebody else's. A sample is disturbed if others used the cores
while it was taken, and for no other reason. That its own threads waited is none: a candidate that
makes itself wait now and then, because its threads wait for one another or start while another
library's still spin, takes that long, and without those samples it would be judged by its luckiest.

The cores' time is counted in ticks of 10 ms, so of a shorter sample nobody can say; what others
used of the cores in the whole comparison tells of it.
"""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .threads import processors

Step = Callable[[], object]

USED = 0.03  # share of the cores that others may use in a sample that counts as clean
TICKS = 20e-3  # seconds more of a core: the counts are whole ticks, those of two cores uneven
BUSY = 0.1  # share of the cores that others may use in a comparison that counts as undisturbed
MOST = 2 / 3  # share of the samples that are clean in one that counts as undisturbed, at least
FEW = 3  # samples that a number needs, and that a candidate far slower than the others gets
PATIENCE = 2  # times its budget that a comparison may take while samples are disturbed
GAP = 0.02  # seconds between samples: OpenMP's threads spin for some milliseconds after their work
WARM = 0.03  # seconds that cores which have rested may take until they are as fast as they can be


class Clock:
    """Time and what disturbs it; a test brings its own."""

    def now(self) -> float:
        """Seconds from some start."""
        return time.perf_counter()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def others(self) -> float | None:
        """Seconds of this process's cores that everybody else has used; None where none can say."""
        try:
            rows = [row[:3] + row[5:8] for row in _ticks()]  # neither idle nor waiting for a disk
        except (OSError, ValueError):
            return None
        return sum(map(sum, rows)) / os.sysconf("SC_CLK_TCK") - time.process_time()


def _ticks() -> list[list[int]]:
    """What each core that this process may use has done: user, nice, system, idle, ..., steal."""
    mine = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    lines = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
    return [[int(word) for word in words[1:]] for words in lines if words[0] in mine]


@dataclass(frozen=True)
class Sample:
    """One turn of one candidate."""

    seconds: float  # a call
    calls: int
    disturbed: bool = False  # others used the cores meanwhile


@dataclass(frozen=True)
class Timing:
    """Seconds a call of one candidate: the median and the quartiles of its clean samples.

    Of all samples if fewer than FEW are clean, and then it is disturbed.
    """

    median: float
    low: float
    high: float
    every: float  # the median of all samples
    clean: int  # samples that nothing disturbed
    samples: int
    disturbed: bool  # too few were clean, or others used the cores all the time


@dataclass(frozen=True)
class Ratio:
    """How many times as long one candidate took as another, over the rounds that both shared."""

    median: float
    low: float
    high: float
    rounds: int


@dataclass(frozen=True)
class Comparison:
    """All samples of a comparison: one dict a round, by candidate."""

    rounds: Sequence[Mapping[str, Sample]]
    others: float | None  # share of the cores that others used meanwhile

    def clean(self, name: str) -> dict[int, Sample]:
        """The undisturbed samples of a candidate by round."""
        taken = {i: row[name] for i, row in enumerate(self.rounds) if name in row}
        return {i: sample for i, sample in taken.items() if not sample.disturbed}

    def timing(self, name: str) -> Timing:
        """What `name` took."""
        every = [row[name].seconds for row in self.rounds if name in row]
        clean = [sample.seconds for sample in self.clean(name).values()]
        few = len(clean) < min(FEW, len(every))
        busy = self.others is not None and self.others > BUSY
        return Timing(
            *_quartiles(every if few else clean),
            statistics.median(every),
            len(clean),
            len(every),
            few or busy or len(clean) < MOST * len(every),
        )

    def timings(self) -> dict[str, Timing]:
        """What each candidate took."""
        return {name: self.timing(name) for name in self.rounds[0]}

    def fastest(self, names: Iterable[str], base: str) -> str | None:
        """The one of `names` whose ratio to `base` is least; None if there are no names.

        By ratios because they are what is told of it: medians over other rounds may say another.
        """
        return min(names, key=lambda name: self.ratio(name, base).median, default=None)

    def ratio(self, other: str, base: str) -> Ratio:
        """How many times as long `other` took as `base`: the median over rounds of the ratio.

        Of rounds in which both samples are clean, or of all rounds if those are too few.
        """
        ours, theirs = self.clean(base), self.clean(other)
        pairs = [(theirs[i].seconds, ours[i].seconds) for i in sorted(ours.keys() & theirs.keys())]
        if len(pairs) < FEW:
            shared = [row for row in self.rounds if other in row and base in row]
            pairs = [(row[other].seconds, row[base].seconds) for row in shared]
        return Ratio(*_quartiles([a / b for a, b in pairs]), len(pairs))


def compare(
    candidates: Mapping[str, Step],
    *,
    budget: float,
    least: int = 9,
    gap: float = GAP,
    shortest: float = 1e-3,
    prime: bool = False,
    clock: Clock | None = None,
) -> Comparison:
    """Take samples of all candidates in turns for about `budget` seconds.

    Rounds differ in order, so that nobody always follows the same neighbour. The comparison goes
    on, up to PATIENCE times the budget, until each candidate has `least` clean samples; one that
    would need more than twice its share of the budget for them takes part in the first few rounds
    only, and its time is not the others'. A sample is as many calls as fill `shortest` seconds for
    the fastest candidate; `prime` puts an unmeasured call before it, which wakes threads and fills
    caches, and after a gap as many as take WARM seconds.
    """
    clock, cores = clock or Clock(), len(processors())
    once = {name: _warm(step, clock) for name, step in candidates.items()}
    calls = max(1, round(shortest / max(min(once.values()), 1e-9)))
    most = 2 * budget / len(candidates)
    regular = [name for name, seconds in once.items() if seconds * least <= most]
    rounds: list[dict[str, Sample]] = []
    gc.collect()
    gc.freeze()  # what the libraries have imported is no garbage; looking through it takes long
    try:
        began, others, slow = clock.now(), clock.others(), 0.0
        while True:
            turn = [name for name in candidates if name in regular or len(rounds) < FEW]
            taken: dict[str, Sample] = {}
            for name in order_of(turn, len(rounds)):
                started = clock.now()
                clock.sleep(gap)
                if prime:
                    ready = clock.now() + (WARM if gap else 0.0)
                    candidates[name]()
                    while clock.now() < ready:
                        candidates[name]()
                taken[name] = _sample(candidates[name], calls, clock, cores)
                if name not in regular:
                    slow += clock.now() - started
            rounds.append({name: taken[name] for name in turn})
            elapsed = clock.now() - began
            spent = elapsed - slow
            found = Comparison(rounds, share(others, clock.others(), elapsed))
            enough = len(rounds) >= FEW and all(len(found.clean(n)) >= least for n in regular)
            if (enough and (spent >= budget or not regular)) or spent >= PATIENCE * budget:
                return found
    finally:
        gc.unfreeze()


def share(before: float | None, after: float | None, spent: float) -> float | None:
    """Share of the cores that others used in `spent` seconds, by the clock before and after."""
    if before is None or after is None:
        return None
    return max(0.0, after - before) / (spent * len(processors()))


def order_of(names: Sequence[str], number: int) -> list[str]:
    """Who is when in the round of that number.

    In twice as many rounds as there are names each comes after each other one as often (Williams
    1949, "Experimental designs balanced for the estimation of residual effects of treatments").
    """
    steps = [(i + 1) // 2 if i % 2 else -(i // 2) for i in range(len(names))]  # 0, 1, -1, 2, -2
    order = [names[(number // 2 + step) % len(names)] for step in steps]
    return order if number % 2 == 0 else order[::-1]


def _warm(step: Step, clock: Clock) -> float:
    """Seconds of the second call: the first one may compile."""
    step()
    began = clock.now()
    step()
    return clock.now() - began


def _sample(step: Step, calls: int, clock: Clock, cores: int) -> Sample:
    before = clock.others()
    began = clock.now()
    for _ in range(calls):
        step()
    seconds = clock.now() - began
    after = clock.others()
    used = 0.0 if before is None or after is None else after - before
    return Sample(seconds / calls, calls, used > USED * seconds * cores + TICKS)


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, lower and upper quartile."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return median, low, high

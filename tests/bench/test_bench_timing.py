"""The benchmarks' harness on a clock of its own: turns, what is rejected, what is told.

Nothing here asserts how long anything takes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest

from bench.threads import processors
from bench.timing import Clock, Comparison, Sample, compare


class Watch(Clock):
    """A clock that stands still until a candidate moves it."""

    def __init__(self) -> None:
        self.time = 0.0
        self.stolen = 0.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def others(self) -> float | None:
        return self.stolen

    def candidate(self, *seconds: float, stolen: tuple[float, ...] = (0.0,)) -> Callable[[], None]:
        """A step that takes each of `seconds` in turn, while others use each of `stolen`."""
        calls = 0

        def step() -> None:
            nonlocal calls
            self.time += seconds[calls % len(seconds)]
            self.stolen += stolen[calls % len(stolen)]
            calls += 1

        return step


def turns(names: str, rounds: int) -> list[str]:
    """Who is when in each round of a comparison of candidates with names of one letter."""
    watch, order = Watch(), []

    def step(name: str) -> Callable[[], None]:
        tick = watch.candidate(1.0)
        return lambda: (order.append(name), tick())[1]

    steps = {name: step(name) for name in names}
    found = compare(steps, budget=rounds * len(names), least=1, gap=0.0, clock=watch)
    assert len(found.rounds) == rounds
    seen = "".join(order)
    warm = "".join(2 * name for name in names)  # each is called twice before anything counts
    assert seen.startswith(warm)
    return [seen[i : i + len(names)] for i in range(len(warm), len(seen), len(names))]


def test_candidates_take_turns_and_every_second_round_runs_backwards() -> None:
    assert turns("ab", 4) == ["ab", "ba", "ba", "ab"]
    assert turns("abc", 6) == ["abc", "cba", "bca", "acb", "cab", "bac"]


@pytest.mark.parametrize("names", ["ab", "abc", "abcd", "abcdefg"])
def test_each_candidate_follows_each_other_one_as_often(names: str) -> None:
    after = Counter(pair for order in turns(names, 2 * len(names)) for pair in pairwise(order))
    assert after == {(a, b): 2 for a in names for b in names if a != b}


def test_a_comparison_ends_with_its_budget() -> None:
    watch = Watch()
    compare({"a": watch.candidate(0.1)}, budget=5, gap=0.0, clock=watch)
    assert 5 <= watch.time < 5.5


@pytest.mark.parametrize(("least", "seconds"), [(3, 1.0), (6, 1.5), (15, 2.0)])
def test_a_comparison_goes_on_while_samples_are_disturbed_but_not_forever(
    least: int, seconds: float
) -> None:
    watch = Watch()
    noisy = watch.candidate(0.1, stolen=(0.0, 0.0, 0.05, 0.09, 0.05))
    compare({"a": noisy}, budget=1, least=least, gap=0.0, clock=watch)
    assert watch.time == pytest.approx(seconds + 0.2, abs=0.15)  # and two calls to warm up


def test_a_disturbed_sample_is_rejected() -> None:
    watch = Watch()
    step = watch.candidate(1.0, 1.0, 1.0, 9.0, stolen=(0.0, 0.0, 0.0, 1.0))
    found = compare({"a": step}, budget=60, gap=0.0, clock=watch)
    timing = found.timing("a")
    assert timing.median == timing.low == timing.high == timing.every == 1.0
    assert 2 / 3 < timing.clean / timing.samples < 1
    assert not timing.disturbed


def test_a_candidate_that_makes_itself_wait_now_and_then_takes_that_long() -> None:
    watch = Watch()
    step = watch.candidate(1.0, 1.0, 2.0)  # its threads waited for one another: nobody else's
    timing = compare({"a": step}, budget=20, gap=0.0, clock=watch).timing("a")
    assert timing.clean == timing.samples
    assert timing.high == 2.0
    assert not timing.disturbed


def samples(*rows: tuple[float, bool]) -> Comparison:
    return Comparison([{"a": Sample(seconds, 1, disturbed)} for seconds, disturbed in rows], 0.0)


@pytest.mark.parametrize(
    ("clean", "disturbed", "doubtful"), [(6, 3, False), (6, 4, True), (3, 0, False), (2, 1, True)]
)
def test_a_number_is_doubtful_when_under_two_thirds_of_its_samples_are_clean(
    clean: int, disturbed: int, doubtful: bool
) -> None:
    timing = samples(*[(1.0, False)] * clean, *[(5.0, True)] * disturbed).timing("a")
    assert (timing.clean, timing.samples) == (clean, clean + disturbed)
    assert timing.disturbed == doubtful


def test_where_hardly_a_sample_is_clean_all_count_and_the_number_is_doubtful() -> None:
    for clean in ([], [(1.0, False)]):
        timing = samples(*clean, *[(5.0, True)] * 4).timing("a")
        assert timing.median == timing.every == 5.0
        assert timing.disturbed
    timing = samples((1.0, False), (2.0, False), (3.0, False), (7.0, True), (7.0, True)).timing("a")
    assert timing.median == 2.0  # of the clean ones
    assert timing.every == 3.0


def test_a_neighbour_that_never_rests_is_told_of() -> None:
    watch = Watch()

    def step() -> None:
        watch.time += 1.0
        watch.stolen += 0.5 * len(processors())

    found = compare({"a": step}, budget=20, gap=0.0, clock=watch)
    assert found.others == pytest.approx(0.5)
    assert found.timing("a").disturbed


def test_nothing_is_rejected_where_the_system_does_not_say() -> None:
    watch = Watch()
    watch.others = lambda: None  # type: ignore[method-assign]
    found = compare({"a": watch.candidate(1.0, 9.0)}, budget=60, gap=0.0, clock=watch)
    timing = found.timing("a")
    assert timing.clean == timing.samples
    assert found.others is None


def test_the_ratio_is_the_median_of_ratios_not_the_ratio_of_medians() -> None:
    def row(a: float, b: float, disturbed: bool = False) -> dict[str, Sample]:
        return {"a": Sample(a, 1), "b": Sample(b, 1, disturbed)}

    found = Comparison([row(1, 2), row(10, 20), row(2, 6), row(3, 100, disturbed=True)], None)
    ratio = found.ratio("b", "a")
    assert ratio.median == 2.0
    assert ratio.rounds == 3  # the fourth was disturbed
    assert found.timing("b").median / found.timing("a").median != 2.0


def test_the_fastest_is_so_by_the_ratio_that_is_told_of_it() -> None:
    def row(a: float, b: float, c: float, disturbed: bool = False) -> dict[str, Sample]:
        return {"a": Sample(a, 1, disturbed), "b": Sample(b, 1), "c": Sample(c, 1)}

    rows = [row(1, 3, 2), row(1, 3, 2), row(1, 3, 2), *[row(1, 1, 2, disturbed=True)] * 4]
    found = Comparison(rows, None)
    assert found.timing("b").median < found.timing("c").median
    assert found.fastest(["b", "c"], "a") == "c"
    assert found.fastest([], "a") is None


def test_a_candidate_far_slower_than_the_others_gets_few_samples_of_its_own_time() -> None:
    watch = Watch()
    steps = {"fast": watch.candidate(0.1), "slow": watch.candidate(50.0)}
    found = compare(steps, budget=40, gap=0.0, prime=True, clock=watch)  # two calls a sample
    assert found.timing("slow").samples == 3
    assert found.timing("fast").samples >= 190
    assert found.ratio("slow", "fast").median == pytest.approx(500)


def test_cores_that_rested_are_warm_before_a_sample() -> None:
    watch, began = Watch(), []

    def step() -> None:
        began.append(watch.now())
        watch.sleep(0.011)

    compare({"a": step}, budget=20, gap=1.0, prime=True, shortest=0.01, clock=watch)
    after = [b for a, b in pairwise(began) if b - a > 0.5]  # the first of each round
    assert len(after) >= 3
    for first in after[:-1]:
        calls = [time for time in began if first <= time < first + 0.5]
        assert len(calls) == 4  # three in 0.03 s, and the one that is measured


def test_short_calls_are_timed_by_the_dozen() -> None:
    watch = Watch()
    found = compare({"a": watch.candidate(1e-5)}, budget=0.1, gap=0.0, clock=watch)
    assert found.rounds[0]["a"].calls == 100
    assert found.timing("a").median == pytest.approx(1e-5)


def test_the_real_clock_says_what_it_can() -> None:
    clock = Clock()
    before, after = clock.others(), clock.others()
    assert before is None or after >= before - 0.1

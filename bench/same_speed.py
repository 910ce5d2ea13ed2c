"""Whether another checkout is as fast: `python -m bench same-speed CHECKOUT`.

A process of each checkout takes the same training steps, in turns of a fraction of a second, so
that whatever else the machine does slows both down. Each pair of turns gives one ratio, who goes
first changes from pair to pair, and the median of the ratios is judged. A change that is not meant
to cost anything is held to that: more than ALLOWED above 1 is slower.

Both checkouts are run by the Python of this one. What `bench tune` chose for one of them counts;
forget it first.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import checkouts
from .settings import say
from .threads import processors

HERE = Path(__file__).resolve().parents[1]
CHILD = Path(__file__).with_name("step_child.py")
ALLOWED = 0.02  # of a step's time
PAIRS = 15
SHORTEST = 0.2  # seconds of a turn, if one step takes less
POINTS = "ring"

# By name: a recipe, its fields, and the shape of its images or the name of its points.
Workloads = dict[str, tuple[str, dict[str, Any], list[int] | str]]
LARGE: Workloads = {
    "DCGAN, 64 pixels": ("dcgan", {"batch_size": 64, "width": 64}, [3, 64, 64]),
    "DCGAN, 32 pixels": ("dcgan", {"batch_size": 64, "width": 64}, [1, 32, 32]),
    "WGAN-GP, 64 pixels": ("wgan_gp", {"batch_size": 64, "n_critic": 1}, [3, 64, 64]),
    "dense GAN, 28 pixels": ("gan", {"batch_size": 100}, [1, 28, 28]),
}


@dataclass(frozen=True)
class Pace:
    """A workload's seconds a step here and there, and the quartiles of here over there."""

    here: float
    there: float
    low: float
    ratio: float
    high: float

    @property
    def slower(self) -> bool:
        """Whether the median ratio is above what chance and noise are allowed."""
        return self.ratio > 1 + ALLOWED


def main(words: Sequence[str]) -> int:
    """Compare and print; 0 if no step is slower, 1 if some are, 2 if it cannot be done."""
    from minigan.errors import UserError

    options = _parse(words)
    try:
        return 1 if compare(options) else 0
    except UserError as error:
        print(f"minigan bench: {error}", file=sys.stderr)
        return 2


def compare(options: argparse.Namespace) -> bool:
    """Whether some step is slower here; a table for each number of threads says which.

    Raises:
        UserError: if a checkout cannot take a step.
    """
    from minigan.errors import UserError

    from . import table

    slower = False
    for threads in options.threads:
        rows = []
        with _child(HERE, threads) as here, _child(options.checkout, threads) as there:
            for name, workload in workloads(options.recipes).items():
                pace = measured(here, there, workload, options.pairs)
                if pace is None:
                    say(f"{name}: left out, neither checkout takes it")
                    continue
                slower = slower or pace.slower
                rows.append(_row(name, pace))
                say(" ".join(rows[-1]))
        if not rows:
            raise UserError("nothing was measured: neither checkout takes any of these steps")
        table.show(
            f"{table.counted(threads, 'thread')}, {options.pairs} pairs",
            ("step", "here", "there", "here / there", "quartiles"),
            rows,
        )
    print("some steps are slower" if slower else "no step is slower")
    return slower


def workloads(recipes: Sequence[str]) -> Workloads:
    """The large steps of those recipes, and each recipe on points, where overhead is all."""
    found: Workloads = {name: work for name, work in LARGE.items() if work[0] in recipes}
    return found | {f"{name}, points": (name, {}, POINTS) for name in recipes}


def measured(
    here: subprocess.Popen[str],
    there: subprocess.Popen[str],
    workload: tuple[str, dict[str, Any], list[int] | str],
    pairs: int,
) -> Pace | None:
    """The pace of a workload; None if both checkouts refuse that recipe on points.

    Raises:
        UserError: if only one of them does, or a step fails.
    """
    from minigan.errors import UserError

    first = [ask(child, workload, 1) for child in (here, there)]
    refused = [answer for answer in first if isinstance(answer, str)]
    if len(refused) == 2 and workload[2] == POINTS:
        return None
    if refused:
        raise UserError(f"{workload[0]} is refused in one checkout: {refused[0]}")
    steps = max(1, round(SHORTEST / min(map(float, first))))
    taken: list[tuple[float, float]] = []
    for number in range(pairs):
        order = (here, there) if number % 2 else (there, here)
        seconds = {id(child): float(ask(child, workload, steps)) for child in order}
        taken.append((seconds[id(here)], seconds[id(there)]))
    low, ratio, high = statistics.quantiles([a / b for a, b in taken], n=4, method="inclusive")
    ours, theirs = (statistics.median(side) for side in zip(*taken, strict=True))
    return Pace(ours, theirs, low, ratio, high)


def ask(child: subprocess.Popen[str], workload: Sequence[Any], steps: int) -> float | str:
    """The seconds of a step in a child, or why the recipe does not take such data.

    Raises:
        UserError: if a step fails, which ends the child.
    """
    from minigan.errors import UserError

    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(json.dumps([*workload, steps]) + "\n")
        child.stdin.flush()
        answer: float | str = json.loads(child.stdout.readline())
    except (BrokenPipeError, json.JSONDecodeError) as error:
        raise UserError(
            "minigan in one of the checkouts cannot be run; it says why above"
        ) from error
    return answer


@contextmanager
def _child(checkout: Path, threads: int) -> Iterator[subprocess.Popen[str]]:
    """A process that takes steps of a checkout."""
    command = [sys.executable, str(CHILD), str(checkout)]
    pipe = subprocess.PIPE
    variables = checkouts.environment(checkout, threads, {})
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=variables) as child:
        try:
            yield child
        finally:
            child.kill()


def _row(name: str, pace: Pace) -> tuple[str, ...]:
    from . import table

    spread = f"{pace.low:.3f} to {pace.high:.3f}"
    return (
        name,
        table.duration(pace.here),
        table.duration(pace.there),
        f"{pace.ratio:.3f}",
        spread,
    )


def _parse(words: Sequence[str]) -> argparse.Namespace:
    made = checkouts.parser(
        "same-speed",
        "Whether another checkout takes training steps as fast.",
        [len(processors())],
    )
    made.add_argument("--pairs", type=int, default=PAIRS, help=f"of turns (default: {PAIRS})")
    options = checkouts.parse(made, words)
    if options.pairs < 2:
        made.error("--pairs must be at least 2")
    return options

"""Part `steps`: whole training steps, minigan beside everybody else, and the memory they take.

minigan's are its recipes as the training loop runs them: autograd, batch norm with running
statistics, Adam, data loading. The peers do the same work on the same data; what differs is said
in their files.
"""

from __future__ import annotations

from typing import Any

from . import memory, table
from .peers import ready
from .settings import Settings, say
from .timing import compare
from .workloads import EAGER, OURS, TUNED, Workload, workloads

TITLE = "Steps: one round of training, float32"


def measure(settings: Settings) -> dict[str, Any]:
    """Time all workloads, then measure the memory of the first."""
    rows = [_row(workload, settings) for workload in workloads(settings.quick)]
    found: dict[str, Any] = {"rows": rows}
    found["memory"] = [
        memory.of_peer(name, settings) for name in (OURS, EAGER, TUNED) if name in rows[0]["times"]
    ]
    return found


def best_of(row: dict[str, Any], library: str) -> str | None:
    """The peer of a row whose name begins with `library` and whose ratio to minigan is least.

    Of all that there are, the example as it is written too; by the ratio because that is printed.
    """
    ratios = {name: r["median"] for name, r in row["ratios"].items() if name.startswith(library)}
    return min(ratios, key=lambda name: ratios[name], default=None)


def _row(workload: Workload, settings: Settings) -> dict[str, Any]:
    say(f"steps: {workload.title}")
    steps, absent = ready(workload.peers)
    for name, reason in absent.items():
        say(f"  without {name}: {reason}")
    found = compare(steps, budget=settings.budget(workload.budget), least=7, prime=True)
    return {
        "workload": workload.key,
        "title": workload.title,
        "times": found.timings(),
        "ratios": {name: found.ratio(name, OURS) for name in steps if name != OURS},
        "absent": absent,
        "others": found.others,
    }


def show(result: dict[str, Any]) -> None:
    """Print a table for each workload, and that of the memory."""
    for row in result["rows"]:
        rows = []
        for name, timing in row["times"].items():
            ratio = row["ratios"].get(name)
            rows.append([
                name,
                table.seconds(timing),
                table.spread(timing),
                table.duration(timing["every"]),
                f"{timing['clean']}/{timing['samples']}",
                table.times(ratio),
                "" if ratio is None else table.spread_of_ratio(ratio),
            ])  # fmt: skip
        reasons: dict[str, list[str]] = {}
        for name, why in row["absent"].items():
            reasons.setdefault(why, []).append(name)
        notes = "\n".join(f"{why}: no {'; no '.join(names)}" for why, names in reasons.items())
        heading = ("", "median", "quartiles", "of all", "clean", "to minigan", "quartiles")
        title = f"{row['title']}, {table.counted(result['threads'], 'thread')}"
        table.show(title, heading, rows, notes)
    memory.show(result["memory"])

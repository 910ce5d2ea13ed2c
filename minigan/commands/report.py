"""`minigan report`: write the report of a run again, once or as often as the run changes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..training.run import Run
from ..training.snapshots import record
from ..training.writer import is_written
from .console import say, show
from .flags import parse, split_run

EVERY = 2.0  # seconds between two looks at a run, minimum
SHARE = 10  # at most one part in so many of the time goes into writing
DESCRIPTION = (
    "Write the report of a run again. With --watch it is written as often as the run changes, and "
    "the page loads itself again, until the run ends; Ctrl-C stops it before."
)


@dataclass(frozen=True)
class Report:
    """How to write it."""

    watch: bool = False  # write it again whenever the run has changed, until it ends


def main(words: list[str]) -> int:
    path, flags = split_run(words, "report")
    given = parse(Report, flags, verb="report RUN", description=DESCRIPTION)
    seen = _state(path)
    ended = refresh(path)
    show(path / "report.html")
    if given.watch and not ended:
        say("watching the run; Ctrl-C stops")
    pause = EVERY
    while given.watch and not ended:
        time.sleep(pause)
        began, now = time.monotonic(), _state(path)
        if now != seen:
            seen, ended = now, refresh(path)
        pause = max(EVERY, SHARE * (time.monotonic() - began))
    return 0


def refresh(path: Path) -> bool:
    """Write the report of the run in `path` again; whether the run has ended.

    Raises:
        UserError: if there is no run, one of its files is damaged, or the report cannot be written.
    """
    from ..viz.report import diverged, write_report

    run = Run.open(path)
    shown = record(run, live=is_written(path))
    try:
        write_report(run.report, shown)
    except OSError as error:
        raise UserError(f"{run.report} cannot be written ({error.strerror or error})") from error
    return shown.step >= run.config["steps"] or diverged(shown.rows)


def _state(path: Path) -> list[tuple[str, int, int]]:
    """What the report depends on: names, times and sizes."""
    names = ("config.json", "metrics.jsonl", "scores.json", "samples", "checkpoints", "lock")
    found = []
    for name in names:
        try:
            status = (path / name).stat()
        except OSError:  # not there, or not any more
            continue
        found.append((name, status.st_mtime_ns, status.st_size))
    return found

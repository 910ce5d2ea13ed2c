"""`minigan report`: write the report of a run again, once or as often as the run changes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from ..training.run import Run, resume_command
from ..training.snapshots import record
from ..training.writer import is_written
from .console import say, show
from .flags import parse, split_run

if TYPE_CHECKING:
    from ..viz.report import Record

EVERY = 2.0  # seconds between two looks at a run, minimum
SHARE = 10  # at most one part in so many of the time goes into writing
DESCRIPTION = (
    "Write the report of a run again. With --watch it is written as often as the run changes, and "
    "the page loads itself again, until the run ends or is interrupted; Ctrl-C stops it before."
)


@dataclass(frozen=True)
class Report:
    """How to write it."""

    watch: bool = False  # write it again whenever the run has changed, until it ends


def main(words: list[str]) -> int:
    path, flags = split_run(words, "report")
    given = parse(Report, flags, verb="report RUN", description=DESCRIPTION)
    seen = _state(path)
    shown = refresh(path)
    show(path / "report.html")
    if given.watch and shown.live:
        say("watching the run; Ctrl-C stops")
    pause = EVERY
    while given.watch and shown.live:
        time.sleep(pause)
        began, now = time.monotonic(), _state(path)
        if now != seen:
            seen, shown = now, refresh(path)
        pause = max(EVERY, SHARE * (time.monotonic() - began))
    if given.watch and not shown.ended:
        say(
            f"nobody trains the run now: it stopped at step {shown.step:,} of "
            f"{shown.config['steps']:,}, and {resume_command(path, shown.config['recipe'])} "
            "continues it"
        )
    return 0


def refresh(path: Path) -> Record:
    """Write the report of the run in `path` again, and give what it shows.

    Raises:
        UserError: if there is no run, one of its files is damaged, or the report cannot be written.
    """
    from ..viz.report import write_report

    run = Run.open(path)
    live = is_written(path)  # asked first: of a run that nobody writes the rest stays as it is
    shown = record(run, live=live)
    try:
        write_report(run.report, shown)
    except OSError as error:
        raise UserError(f"{run.report} cannot be written ({error.strerror or error})") from error
    return shown


def _state(path: Path) -> tuple[bool, list[tuple[str, int, int]]]:
    """What the report depends on: whether the run goes on, and names, times and sizes."""
    names = ("config.json", "metrics.jsonl", "scores.json", "samples", "checkpoints", "lock")
    found = []
    for name in names:
        try:
            status = (path / name).stat()
        except OSError:  # not there, or not any more
            continue
        found.append((name, status.st_mtime_ns, status.st_size))
    return is_written(path), found

"""Do the runs of examples/runs.toml that have no result yet, in pieces.

    python examples/runs.py                             list them, and what is done
    python examples/runs.py all --minutes 30 --where emoji=FOLDER
    python examples/runs.py emoji64-dcgan --where emoji=FOLDER --runs DIR

Each run trains in DIR/NAME (runs/NAME unless given) until it is finished or the minutes are over,
and is continued exactly by the next call. A finished run is evaluated, at its best checkpoint if it
has scored them, and what that says is kept in examples/results/runs/NAME.json, samples in
examples/pictures/runs. --where says where data
are that minigan does not know by name; runs.toml says what they are. Minutes of a result are those
of processors (all threads added), so they hold on a busy machine as well; they are without
evaluation, but with scores along the way.
"""

from __future__ import annotations

import argparse
import json
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minigan.errors import UserError
from minigan.files import atomic_write
from minigan.training.keeper import Scores
from minigan.training.run import Run

HERE = Path(__file__).parent
LIST, RESULTS, PICTURES = HERE / "runs.toml", HERE / "results" / "runs", HERE / "pictures" / "runs"
MINIGAN = [sys.executable, "-m", "minigan"]


@dataclass(frozen=True)
class Entry:
    """A run of the list: what follows `minigan train`, and the tables that show it."""

    name: str
    train: str
    tables: tuple[str, ...] = ()

    @property
    def result(self) -> Path:
        return RESULTS / f"{self.name}.json"

    @property
    def data(self) -> str:
        words = shlex.split(self.train)
        return words[words.index("--data") + 1] if "--data" in words else "glyphs"

    def words(self, where: dict[str, str]) -> list[str]:
        """The arguments of `minigan train`, with the place of data that have one."""
        return [
            where.get(word, word) if word == self.data else word for word in shlex.split(self.train)
        ]


def entries(path: Path | None = None) -> tuple[list[Entry], dict[str, str]]:
    """The runs of the list, in order, and what their data are.

    Raises:
        UserError: if two runs have one name.
    """
    path = path or LIST
    found = tomllib.loads(path.read_text("utf-8"))
    runs = [Entry(one["name"], one["train"], tuple(one["tables"])) for one in found["run"]]
    names = [run.name for run in runs]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UserError(f"{path} has two runs called {min(twice)}")
    return runs, found["data"]


def result_of(entry: Entry) -> dict[str, Any] | None:
    """What is known of a finished run; None if it is not finished, or was another run."""
    if not entry.result.is_file():
        return None
    found: dict[str, Any] = json.loads(entry.result.read_text("utf-8"))
    return found if found["train"] == entry.train else None


def carry_on(entry: Entry, runs: Path, where: dict[str, str], until: float) -> bool:
    """Train up to the end of the run or to the time `until` of the monotonic clock; whether it is
    finished.

    Raises:
        UserError: if minigan refuses the run, or it fails.
    """
    path = runs / entry.name
    if (path / "config.json").is_file():
        command = [*MINIGAN, "train", "--resume", "--out", str(path)]
    else:
        command = [*MINIGAN, "train", *entry.words(where), "--out", str(path)]
    before = _processor_seconds()
    with subprocess.Popen(command) as process:
        try:
            code = process.wait(timeout=max(1.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            code = process.wait()
    _add(path.with_suffix(".seconds"), _processor_seconds() - before)
    if code not in (0, 130):
        raise UserError(f"{shlex.join(command)} ended with {code}")
    return code == 0


def conclude(entry: Entry, runs: Path) -> None:
    """Evaluate a finished run, draw samples, and keep what it says.

    Raises:
        UserError: if it cannot be evaluated.
    """
    run = Run.open(runs / entry.name)
    path, course = run.path, Scores(run).rows()
    best = ["--step", "best"] if course else []
    PICTURES.mkdir(parents=True, exist_ok=True)
    picture = PICTURES / f"{entry.name}.png"
    _minigan("evaluate", str(path), *best)
    if run.data.is_image:
        _minigan("sample", str(path), *best, "--out", str(picture), "--overwrite")
    else:
        shutil.copyfile(run.pictures()[-1], picture)
    facts = json.loads((path / "scores.json").read_text("utf-8"))
    seconds = float(path.with_suffix(".seconds").read_text("utf-8"))
    found = {
        "name": entry.name,
        "train": entry.train,
        "steps": run.config["steps"],
        "scored": facts["step"],
        "seed": facts["seed"],
        "processor_minutes": round(seconds / 60, 2),
        "picture": f"pictures/runs/{picture.name}",
        "scores": facts["scores"],
        "course": course,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    with atomic_write(entry.result) as temporary:
        temporary.write_text(json.dumps(found, indent=2) + "\n", "utf-8")


def _minigan(*words: str) -> None:
    """Run a command of minigan's.

    Raises:
        UserError: if it fails.
    """
    if code := subprocess.run([*MINIGAN, *words], check=False).returncode:
        raise UserError(f"minigan {shlex.join(words)} ended with {code}")


def _processor_seconds() -> float:
    """Of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _add(file: Path, seconds: float) -> None:
    before = float(file.read_text("utf-8")) if file.is_file() else 0.0
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as temporary:
        temporary.write_text(f"{before + seconds:.1f}\n", "utf-8")


def main(words: Sequence[str] | None = None) -> None:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("names", nargs="*", help="runs of the list, or all")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after these")
    parser.add_argument("--where", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where runs are trained")
    asked = parser.parse_args(words)
    known, data = entries()
    if not asked.names:
        for entry in known:
            print(f"{'done' if result_of(entry) else '-':5}{entry.name:28}{entry.train}")
        return
    where = dict(one.split("=", 1) for one in asked.where)
    if unknown := set(asked.names) - {entry.name for entry in known} - {"all"}:
        raise UserError(f"{LIST.name} has no run {min(unknown)}")
    until = time.monotonic() + 60 * asked.minutes
    for entry in known:
        if not ({entry.name, "all"} & set(asked.names)) or result_of(entry):
            continue
        if entry.data in data and entry.data not in where:
            print(f"{entry.name}: say --where {entry.data}=FOLDER ({data[entry.data]})")
            continue
        if time.monotonic() >= until or not carry_on(entry, asked.runs, where, until):
            return
        conclude(entry, asked.runs)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))

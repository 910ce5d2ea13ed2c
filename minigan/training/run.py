"""The run directory: everything that a run leaves behind, and all that later commands need."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import atomic_write

FORMAT = 1  # of config.json


class Run:
    """A run directory.

    `config.json` is the resolved configuration, `metrics.jsonl` one row a step, `samples/` the
    pictures, `checkpoints/` the state, `report.html` the page that shows it all.
    """

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        self.path = path
        self.config = config
        self.samples = path / "samples"
        self.checkpoints = path / "checkpoints"
        self.metrics = path / "metrics.jsonl"
        self.report = path / "report.html"
        self.losses = path / "loss.png"
        self.animation = self.samples / "animation.gif"
        self.real_samples = self.samples / "real.png"
        self.class_histogram = self.samples / "classes.png"

    @classmethod
    def create(cls, path: Path, config: Mapping[str, Any]) -> Run:
        """Make a new run directory.

        Raises:
            UserError: if it holds a run already, or cannot be written.
        """
        run = cls(path, {"format": FORMAT, **config})
        if (path / "config.json").exists():
            raise UserError(
                f"{path} holds a run already; choose another --out, or continue it with --resume"
            )
        try:
            run.samples.mkdir(parents=True, exist_ok=True)
            run.checkpoints.mkdir(exist_ok=True)
            run.write_config()
        except OSError as error:
            raise UserError(
                f"the run directory {path} cannot be written ({error.strerror}); "
                "choose another --out"
            ) from error
        return run

    @classmethod
    def open(cls, path: Path) -> Run:
        """Open an existing run directory.

        Raises:
            UserError: if there is no run, or a newer minigan made it.
        """
        file = path / "config.json"
        try:
            config = json.loads(file.read_text())
            newer = config["format"] > FORMAT
            for key in ("steps", "seed", "sample_every", "checkpoint_every"):
                if not isinstance(config[key], int):
                    raise TypeError(f"{key} is {config[key]!r}")
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(f"{path} is not a run directory: it has no config.json") from None
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{file} is damaged: {error}") from error
        if newer:
            raise UserError(
                f"{file} has format {config['format']}, but this minigan reads up to {FORMAT}; "
                "install a newer one"
            )
        return cls(path, config)

    def write_config(self) -> None:
        with atomic_write(self.path / "config.json") as temporary:
            temporary.write_text(json.dumps(self.config, indent=2) + "\n")

    def record(self, row: Mapping[str, Any]) -> None:
        """Append a row to metrics.jsonl."""
        with open(self.metrics, "a") as file:
            file.write(json.dumps(row) + "\n")

    def sync(self) -> None:
        """Flush all rows to the disk, before a checkpoint is written that needs them."""
        if self.metrics.exists():
            with open(self.metrics, "rb") as file:
                os.fsync(file.fileno())

    def rows(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl; a last line that a crash cut short is left out.

        Raises:
            UserError: if another line is damaged.
        """
        if not self.metrics.exists():
            return []
        lines = self.metrics.read_bytes().splitlines(keepends=True)
        if lines and not lines[-1].endswith(b"\n"):
            lines.pop()
        rows = []
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                row = {**row, "step": int(row["step"]), "seconds": float(row["seconds"])}
            except (ValueError, TypeError, KeyError) as error:
                raise UserError(f"line {number} of {self.metrics} is damaged: {error}") from error
            rows.append(row)
        return rows

    def rewind(self, step: int) -> None:
        """Remove the rows and pictures after `step`, which a resumed run makes again."""
        self.samples.mkdir(exist_ok=True)  # a copy of a run may lack an empty folder
        rows = [row for row in self.rows() if row["step"] <= step]
        with atomic_write(self.metrics) as temporary:
            temporary.write_text("".join(json.dumps(row) + "\n" for row in rows))
        for picture in self.pictures():
            if step_of(picture) > step:
                picture.unlink()

    def picture(self, step: int) -> Path:
        """The path of the picture of the samples at `step`."""
        return self.samples / f"step-{step:06d}.png"

    def pictures(self) -> list[Path]:
        """The drawn samples, oldest first."""
        found = [p for p in self.samples.glob("step-*.png") if p.stem[5:].isdecimal()]
        return sorted(found, key=step_of)

    def other_pictures(self) -> list[Path]:
        """The pictures in samples/ that training did not draw, by name."""
        known = {*self.pictures(), self.real_samples, self.class_histogram}
        return sorted(set(self.samples.glob("*.png")) - known)


def step_of(picture: Path) -> int:
    """The step whose samples a picture shows."""
    return int(picture.stem[5:])


def fresh_directory(recipe: str, data: str) -> Path:
    """The first of runs/RECIPE-DATA-1, -2, ... that does not exist."""
    stem = f"{recipe}-{Path(data).name or 'data'}"
    number = 1
    while (path := Path("runs") / f"{stem}-{number}").exists():
        number += 1
    return path


def repeatable(command: str, data: str) -> str:
    """A run's command in a form that anybody can repeat: data (`data`) and recipes by name, and no
    --out.
    """
    kept, words = [], iter(shlex.split(command))
    for word in words:
        flag, equals, _ = word.partition("=")
        if flag in ("--data", "--out"):
            if not equals:
                next(words, None)
            if flag == "--data":  # the name of stacked data ends in -stackN, which --stack says
                kept += ["--data", re.sub(r"-stack\d$", "", data)]
        else:
            kept.append(Path(word).stem if word.endswith(".py") else word)
    return shlex.join(kept)


def provenance(device: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Versions of what computes, with those of the device, and the revision of minigan if it runs
    from a checkout.
    """
    packages = ("minigan", "numpy", "numba", "pillow", "matplotlib", "safetensors")
    versions = {"python": platform.python_version()} | {name: version(name) for name in packages}
    versions |= device or {}
    return {"versions": versions, "revision": _revision()}


def _revision() -> str | None:
    here = Path(__file__).parent.parent
    if not (here / ".git").exists():
        return None
    try:
        head = _git(here, "rev-parse", "--short=12", "HEAD")
        changed = _git(here, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None  # no git, or not a checkout of ours: the versions alone must do
    return f"{head}-dirty" if changed else head


def _git(folder: Path, *words: str) -> str:
    """The output of a git command; without optional locks git only reads."""
    answer = subprocess.run(
        ["git", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
    )
    return answer.stdout.strip()

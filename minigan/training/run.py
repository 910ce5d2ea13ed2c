"""The run directory: everything that a run leaves behind, and all that later commands need."""

from __future__ import annotations

import itertools
import json
import os
import platform
import re
import shlex
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import minigan_kernels as kernels

from ..errors import UserError
from ..files import atomic_write, sync_folder
from ..schema import SchemaError, check, lines, load, parse, shown
from .checkpoint import step_of
from .schema import CONFIG, EVALUATION, LOOK, SCORE, check_row

FORMAT = 1  # of config.json
IN_PYTHON = "python:"  # before the name of data or of a recipe that only a program had


@dataclass(frozen=True)
class DataFacts:
    """What a run knows of its data without them, under the names of a `Dataset`."""

    name: str
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    parts: tuple[str, ...]

    @property
    def is_image(self) -> bool:
        """Whether the samples are images, not points."""
        return len(self.shape) == 3


class Run:
    """A run directory.

    `config.json` is the resolved configuration, `metrics.jsonl` one row a step, `samples/` the
    pictures, `checkpoints/` the state, `report.html` the page that shows it all. `scores.jsonl` has
    the scores by which the best checkpoint is chosen, `scores.json` those of an evaluation, which
    leaves `nearest.png` too, `verdicts.jsonl` what was seen from time to time of how the game goes.
    """

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        self.path = path
        self.config = config
        self.samples = path / "samples"
        self.checkpoints = path / "checkpoints"
        self.metrics = path / "metrics.jsonl"
        self.report = path / "report.html"
        self.scores = path / "scores.jsonl"
        self.evaluated = path / "scores.json"
        self.looked = path / "verdicts.jsonl"
        self.nearest = path / "nearest.png"
        self.losses = path / "loss.png"
        self.animation = self.samples / "animation.gif"
        self.real_samples = self.samples / "real.png"
        self.class_histogram = self.samples / "classes.png"

    @classmethod
    def create(cls, path: Path, config: Mapping[str, Any]) -> Run:
        """Make a new run directory.

        Raises:
            UserError: if it holds a run already, or parts of one, or cannot be written.
        """
        run = cls(path, {"format": FORMAT, **config})
        if (path / "config.json").exists():
            raise UserError(
                f"{path} holds a run already; choose another --out, or continue it by the command "
                f"minigan train --resume --out {shlex.quote(str(path))}"
            )
        for left in (run.metrics, *run.checkpoints.glob("step-*")):  # rows would be added to them
            if os.path.lexists(left):
                raise UserError(
                    f"{path} holds a run without its config.json; choose another --out, or remove "
                    f"{left} and what else is there"
                )
        try:
            run.samples.mkdir(parents=True, exist_ok=True)
            run.checkpoints.mkdir(exist_ok=True)
            run.write_config()
        except OSError as error:
            raise unwritable(path, error) from error
        return run

    @classmethod
    def open(cls, path: Path) -> Run:
        """Open an existing run directory.

        Raises:
            UserError: if there is no run, a newer minigan made it, or its configuration is damaged.
        """
        file = path / "config.json"
        try:
            config = load(file)
            made = config.get("format") if isinstance(config, dict) else None
            if type(made) is int and made > FORMAT:
                raise UserError(
                    f"{file} has format {shown(made)}, but this minigan reads up to {FORMAT}; "
                    "install a newer one"
                )
            check(config, CONFIG)
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(f"{path} is not a run directory: it has no config.json") from None
        except OSError as error:
            raise UserError(f"{file} cannot be read ({error.strerror})") from error
        except SchemaError as error:
            raise damaged_config(file, error) from error
        return cls(path, CONFIG.completed(config))

    @property
    def data(self) -> DataFacts:
        """What the configuration knows of the data, whether they are still there or not."""
        data = self.config["data"]
        classes, stack = tuple(data["classes"]), data["stack"]
        parts: tuple[str, ...] = ()
        if stack > 1 and classes:  # tuples, whose last entry changes fastest: "a,a", "a,b", ...
            count, before = round(len(classes) ** (1 / stack)), len(classes[0]) + 1
            before = before * (stack - 1) // stack
            parts = tuple(name[before:] for name in classes[:count])
        return DataFacts(data["name"], tuple(data["shape"]), classes, parts)

    def write_config(self) -> None:
        with atomic_write(self.path / "config.json") as temporary:
            temporary.write_text(json.dumps(self.config, indent=2) + "\n")

    def record(self, row: Mapping[str, Any]) -> None:
        """Append a row to metrics.jsonl."""
        with open(self.metrics, "a") as file:
            file.write(json.dumps(row) + "\n")

    def sync(self) -> None:
        """Flush all rows to the disk, before a checkpoint is written that needs them."""
        written = [path for path in (self.metrics, self.looked) if path.exists()]
        for path in written:
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        if written:
            sync_folder(self.path)

    def rows(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl; a last line that a crash cut short is left out.

        Raises:
            UserError: if another line is damaged, or not of a later step than the one before.
        """
        rows: list[dict[str, Any]] = []
        try:
            for line in lines(self.metrics):
                row = parse(line)
                check_row(row, rows[-1]["step"] if rows else 0)
                rows.append({**row, "seconds": float(row["seconds"])})
        except FileNotFoundError:
            return []
        except SchemaError as error:
            raise UserError(
                f"line {len(rows) + 1} of {self.metrics} is damaged: {error}; remove the line"
            ) from error
        return rows

    def looks(self) -> list[dict[str, Any]]:
        """The rows of verdicts.jsonl; a last line that a crash cut short is left out.

        Raises:
            UserError: if another line is damaged, or not of a later step than the one before.
        """
        rows: list[dict[str, Any]] = []
        try:
            for line in lines(self.looked):
                row = parse(line)
                check(row, LOOK)
                if rows and row["step"] <= rows[-1]["step"]:
                    raise SchemaError(f"step {row['step']} comes after step {rows[-1]['step']}")
                rows.append(row)
        except FileNotFoundError:
            return []
        except SchemaError as error:
            raise UserError(
                f"line {len(rows) + 1} of {self.looked} is damaged: {error}; remove the line"
            ) from error
        return rows

    def evaluation(self) -> dict[str, Any] | None:
        """What the last `minigan evaluate` has found, or None.

        Raises:
            UserError: if its file is damaged.
        """
        try:
            found = load(self.evaluated)
            check(found, EVALUATION)
        except FileNotFoundError:
            return None
        except SchemaError as error:
            raise UserError(
                f"{self.evaluated} is damaged: {error}; remove it, or evaluate the run again"
            ) from error
        scores = [SCORE.completed(score) for score in found["scores"]]
        return {**EVALUATION.completed(found), "scores": scores}

    def rewind(self, step: int) -> None:
        """Remove the rows and pictures after `step`, which a resumed run makes again."""
        for folder in (self.samples, self.checkpoints):
            folder.mkdir(exist_ok=True)  # a copy of a run may lack an empty folder
        made = {self.metrics: self.rows()}
        if self.looked.exists():
            made[self.looked] = self.looks()
        for path, rows in made.items():
            kept = [json.dumps(row) + "\n" for row in rows if row["step"] <= step]
            with atomic_write(path) as temporary:
                temporary.write_text("".join(kept))
        for picture in self.pictures():
            if step_of(picture) > step:
                picture.unlink()

    def picture(self, step: int) -> Path:
        """The path of the picture of the samples at `step`."""
        return self.samples / f"step-{step:06d}.png"

    def pictures(self) -> list[Path]:
        """The drawn samples, oldest first."""
        drawn = (p for p in self.samples.glob("step-*.png") if p.stem[5:].isdecimal())
        found = [path for path in drawn if path.is_file()]
        return sorted(found, key=step_of)

    def other_pictures(self) -> list[Path]:
        """The pictures in samples/ that training did not draw, by name."""
        known = {*self.pictures(), self.real_samples, self.class_histogram}
        drawn = (p for p in self.samples.glob("*.png") if not p.name.startswith("."))
        found = {path for path in drawn if path.is_file()}  # what is being written has a dot
        return sorted(found - known)


def resume_command(path: Path, recipe: str) -> str:
    """The command that continues the run of `recipe` in `path`."""
    return f"minigan train --resume --out {shlex.quote(str(path))}{named_recipe(recipe)}"


def named_recipe(recipe: str) -> str:
    """The flag that names a recipe of one's own to a command on its run; empty for others."""
    if recipe.startswith(IN_PYTHON):
        recipe = f"{recipe.removeprefix(IN_PYTHON)}.py"  # into which the class can be written
    return f" --recipe {shlex.quote(recipe)}" if recipe.endswith(".py") else ""


def damaged_config(file: Path, why: object) -> UserError:
    """The error for a config.json that cannot be used, with what to do about it."""
    return UserError(f"{file} is damaged: {why}; correct it, or train again")


def fresh_directory(recipe: str, data: str) -> Path:
    """The first of runs/RECIPE-DATA-1, -2, ... that does not exist, taken by making it.

    Raises:
        UserError: if it cannot be made.
    """
    folder, stem = Path("runs"), f"{recipe}-{Path(data).name or 'data'}"
    try:
        folder.mkdir(exist_ok=True)
        for number in itertools.count(1):
            path = folder / f"{stem}-{number}"
            with suppress(FileExistsError):  # so that of two runs begun at once one goes on
                path.mkdir()
                return path
    except OSError as error:
        raise unwritable(folder, error) from error
    raise AssertionError("there is always a next number")


def unwritable(path: Path, error: OSError) -> UserError:
    """The error for a new run directory that cannot be written."""
    return UserError(
        f"the run directory {path} cannot be written ({error.strerror or error}); "
        "choose another --out"
    )


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


def chosen() -> dict[str, str]:
    """The algorithms that were tuned or forced on this CPU, on which the last bits of a run depend.

    Raises:
        UserError: if the file that keeps them is damaged.
    """
    try:
        return kernels.choices()
    except ValueError as error:
        raise UserError(str(error)) from error


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

"""Which checkpoints of a run stay: the newest ones, and the best by a score."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import atomic_write
from ..schema import (
    FLAG,
    NAME,
    NUMBER,
    TEXT,
    Maybe,
    SchemaError,
    Table,
    check,
    integer,
    lines,
    parse,
)
from . import checkpoint
from .checkpoint import kept, newest, step_of
from .run import Run
from .state import State

ROW = Table(
    {"step": integer(1), "score": NAME, "value": NUMBER, "higher_is_better": FLAG},
    {"title": (TEXT, ""), "baseline": (Maybe(NUMBER), None), "baseline_of": (TEXT, "")},
)


@dataclass(frozen=True)
class Scorer:
    """A score by which checkpoints are compared; `of` must not change the state that it scores.

    `title` says what it is. `baseline` is the same score of the real samples that `baseline_of`
    describes, if there is one. It is taken every `every` steps, of a state that is saved for it; at
    checkpoints if that is None.
    """

    name: str
    higher_is_better: bool
    of: Callable[[State], float]
    title: str = ""
    baseline: float | None = None
    baseline_of: str = ""
    every: int | None = None

    def row(self, state: State) -> dict[str, Any]:
        """The score of a state, as a row of scores.jsonl."""
        row: dict[str, Any] = {"step": state.step, "score": self.name}
        row |= {"value": float(self.of(state)), "higher_is_better": self.higher_is_better}
        if self.title:
            row["title"] = self.title
        if self.baseline is not None:
            row |= {"baseline": self.baseline, "baseline_of": self.baseline_of}
        return row


class Scores:
    """The scores of the checkpoints of a run: the file scores.jsonl, a row a checkpoint.

    The rows outlive the checkpoints. A last line that a crash cut short is left out.
    """

    def __init__(self, run: Run) -> None:
        self.file, self.checkpoints = run.scores, run.checkpoints
        self.name = run.config.get("best")

    def rows(self) -> list[dict[str, Any]]:
        """The rows, oldest first.

        Raises:
            UserError: if a line is damaged.
        """
        rows: list[dict[str, Any]] = []
        try:
            for line in lines(self.file):
                row = parse(line)
                check(row, ROW)
                rows.append(row)
        except FileNotFoundError:
            return []
        except SchemaError as error:
            raise UserError(
                f"line {len(rows) + 1} of {self.file} is damaged: {error}; remove the line"
            ) from error
        return rows

    def record(self, scorer: Scorer, state: State) -> None:
        """Score a state and append the row, unless it is there already."""
        if any((row["step"], row["score"]) == (state.step, scorer.name) for row in self.rows()):
            return
        row = scorer.row(state)
        with open(self.file, "a") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())  # or the best checkpoint might be taken for an old one

    def rewind(self, step: int) -> None:
        """Remove the rows after `step`, which a resumed run makes again."""
        if self.file.exists():
            rows = [row for row in self.rows() if row["step"] <= step]
            with atomic_write(self.file) as temporary:
                temporary.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def best(self) -> int | None:
        """The step of the best checkpoint that is there: the newest of equally good ones. None if
        none has the score by which this run compares them.
        """
        there = {step_of(path) for path in kept(self.checkpoints)}
        rows = [row for row in self.rows() if row["score"] == self.name and row["step"] in there]
        return max(rows, key=_rank)["step"] if rows else None


class Keeper:
    """Saves the states of a run; the `keep` newest stay, and the one that `scorer` finds best.

    On the way a state is saved every `every` steps, and whenever one is to be scored.
    """

    def __init__(self, run: Run, keep: int, scorer: Scorer | None, every: int = 1) -> None:
        self.run, self.keep, self.scorer, self.scores = run, keep, scorer, Scores(run)
        self.every = every

    def scores_at(self, step: int) -> bool:
        """Whether the state of a step on the way is to be scored."""
        return self.scorer is not None and step % (self.scorer.every or self.every) == 0

    def step(self, state: State) -> bool:
        """After a step on the way: save and score what is due. Whether a checkpoint was."""
        due, scored = state.step % self.every == 0, self.scores_at(state.step)
        if due or scored:
            self.save(state, scored=scored)
        return due

    def save(self, state: State, *, scored: bool = True) -> None:
        """Write a checkpoint, score it if it is to be, and remove those that need not stay.

        Raises:
            RunError: as `State.save`, or if the samples to be scored are not finite.
        """
        self.run.sync()
        state.save(self.run.checkpoints, self.run.config["recipe"])
        if scored:
            self.score(state)
        best = self.scores.best()
        checkpoint.prune(self.run.checkpoints, self.keep, spared=() if best is None else (best,))

    def score(self, state: State) -> None:
        """Score a state that is saved, if there is a scorer and it has not been scored yet."""
        if self.scorer is not None:
            self.scores.record(self.scorer, state)


def _rank(row: dict[str, Any]) -> tuple[float, int]:
    value = float(row["value"]) if row["higher_is_better"] else -float(row["value"])
    return -math.inf if math.isnan(value) else value, row["step"]


def chosen(run: Run, asked: str | None) -> Path | None:
    """The checkpoint that --step `asked` names: the number of a step, or best; the newest one if it
    is None. None if there is no checkpoint yet.

    Raises:
        UserError: if it is not kept; the message has the steps that are.
    """
    if asked is None:
        return newest(run.checkpoints)
    found = {step_of(path): path for path in kept(run.checkpoints)}
    best = Scores(run).best()
    marked = (f"{step} (the best)" if step == best else str(step) for step in found)
    there = f"the steps that are kept: {', '.join(marked) or 'none'}"
    if asked == "best":
        if best is None:
            raise UserError(
                f"{run.path} has no best checkpoint, which train --best SCORE chooses; {there}"
            )
        return found[best]
    if not (asked.isascii() and asked.isdecimal()):
        raise UserError(f"--step must be the number of a step, or best, not {asked!r}; {there}")
    if int(asked) not in found:
        raise UserError(f"{run.path} keeps no checkpoint of step {asked}; {there}")
    return found[int(asked)]

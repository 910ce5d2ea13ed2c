"""A score, and all those of a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from .classifier import Classifier


@dataclass(frozen=True)
class Score:
    """One score of a run.

    `error` is a standard error, for the inception score the deviation between its splits.
    `baseline` is the same score of what `baseline_of` says. It came of `real` and `fake` samples,
    0 where there were none. `note` is what else there is to say of this one value.
    """

    key: str
    name: str
    value: float
    error: float | None = None
    baseline: float | None = None
    baseline_of: str = ""
    real: int = 0
    fake: int = 0
    note: str = ""


@dataclass
class Evaluation:
    """All scores of a run that apply, what was left out and why, and who judged the images."""

    scores: list[Score] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    judge: Classifier | None = None

    def facts(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        return {
            "scores": [asdict(score) for score in self.scores],
            "left_out": self.left_out,
            "classifier": self.judge.facts() if self.judge else None,
        }

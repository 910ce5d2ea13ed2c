"""A score, and all those of a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from .classifier import Classifier


@dataclass(frozen=True)
class Score:
    """One score of a run.

    `error` is a standard error; for the inception score the standard deviation over its splits.
    `baseline` is the same score of the samples that `baseline_of` describes. `real` and `fake` are
    the numbers of samples used, and `note` is a remark on this value.
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
    """All scores of a run that apply, what was left out and why, and the judge of images.

    `features` identify the networks whose features were compared. `nearest` are some samples beside
    their nearest training pictures, (N, 1 + len(nearest_by), C, H, W) uint8, by each of
    `nearest_by`; the second half of them are the nearest of all.
    """

    scores: list[Score] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    judge: Classifier | None = None
    features: list[dict[str, Any]] = field(default_factory=list)
    nearest: np.ndarray | None = None
    nearest_by: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        return {
            "scores": [asdict(score) for score in self.scores],
            "left_out": self.left_out,
            "classifier": self.judge.facts() if self.judge else None,
            "features": self.features,
        }

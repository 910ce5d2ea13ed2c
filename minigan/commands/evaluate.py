"""`minigan evaluate`: score a run against the truth."""

from __future__ import annotations

import io
import json
import math
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..evaluation import evaluate
from ..evaluation.truth import truth
from ..files import atomic_write, numbered
from ..metrics.course import course
from ..metrics.score import Evaluation, Score
from ..training.run import provenance
from .console import say, show, show_table
from .flags import Count, OfRun, parse, split_run
from .open_run import open_run
from .report import refresh

CELL = 96  # pixels of a picture beside its nearest ones, about
FORMAT = 1  # of scores.json
DESCRIPTION = (
    "Score a run by all that applies to it, and keep the scores in its directory: of points and of "
    "stacked images the modes that it covers; of other images the kernel and Frechet distance, "
    "precision, recall, density and coverage by the features of a network that is trained here "
    "once, with labels or without, and by random ones, whether samples are copies, the inception "
    "score, and of small images the log-likelihood under Parzen windows; of recipes that know "
    "classes, read codes, classify or encode, how well they do. The run computes on the device, "
    "its judges always on the CPU."
)


@dataclass(frozen=True)
class Evaluate(OfRun):
    """How to score."""

    count: Count = None  # how many samples to draw; 10000 images, 26000 stacked ones, 2500 points
    encoded: Count = None  # how many test and training images to encode; as many as --count
    seed: int = 0  # of the latent vectors, and of the choice of real images


def main(words: list[str]) -> int:
    place, flags = split_run(words, "evaluate")
    given = parse(Evaluate, flags, verb="evaluate RUN", description=DESCRIPTION)
    for flag, value in (("--count", given.count), ("--encoded", given.encoded)):
        if value is not None and value < 1:
            raise UserError(f"{flag} must be at least 1, not {value}")
    device = given.opened()
    state, _, run = open_run(place, device, **given.at())
    train, test = truth(run.config["data"], say)
    asked: dict[str, Any] = asdict(given)
    for known in given.at():  # by the run, and its step below
        asked.pop(known)
    where = {field.name for field in fields(OfRun)}
    how = {key: value for key, value in asked.items() if key not in where}
    found = evaluate(state, train, test, **how, say=say)
    config = run.config
    rows = [row for row in run.rows() if row["step"] <= state.step]
    found.scores += course(rows, state.recipe.watched)
    facts: dict[str, Any] = {
        "format": FORMAT,
        "recipe": config["recipe"],
        "data": config["data"]["name"],
        "step": state.step,
        "minutes": round(rows[-1]["seconds"] / 60, 2) if rows else 0.0,
        "seed": config["seed"],
        "command": config["command"],
        "resumed": config["resumed"],
        "evaluation": {**asked, **provenance(device.versions())},
        **found.facts(),
    }
    path = run.path / "scores.json"
    _write(path, (json.dumps(_plain(facts), indent=2) + "\n").encode(), "scores")
    if found.nearest is not None:
        _write(run.nearest, _nearest(found), "nearest pictures")
    show_table(
        ("score", "value", "+-", "beside it", "of", "real", "fake"),
        [_row(score) for score in found.scores],
    )
    for text in found.left_out:
        say(f"left out: {text}")
    show("")
    if found.nearest is not None:
        show(run.nearest)
    show(path)
    refresh(run.path)  # which may fail: the scores have been told by then
    return 0


def _nearest(found: Evaluation) -> bytes:
    """The PNG of samples beside their nearest training pictures: two groups, side by side."""
    from ..viz.grid import image_grid, with_headings

    assert found.nearest is not None
    pictures, by = found.nearest, found.nearest_by  # (N, 1 + len(by), C, H, W)
    half = -(-len(pictures) // 2)
    left, right = pictures[:half], pictures[half:]
    blank = np.zeros_like(left[: half - len(right)])
    rows = np.concatenate([left, np.concatenate([right, blank])], axis=1)
    grid = image_grid(
        rows.reshape(-1, *rows.shape[2:]),
        value_range=(0, 255),
        columns=rows.shape[1],
        scale=max(1, round(CELL / max(rows.shape[-2:]))),
    )
    content = io.BytesIO()
    with_headings(grid, ["sample", *(f"by {name}" for name in by)] * 2).save(content, "PNG")
    return content.getvalue()


def _write(path: Path, content: bytes, what: str) -> None:
    """Write a file; another one that is there is kept under the next free number.

    Raises:
        UserError: if that cannot be.
    """
    try:
        _keep_and_write(path, content, what)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error})") from error


def _keep_and_write(path: Path, content: bytes, what: str) -> None:
    former = path.read_bytes() if path.is_file() and not path.is_symlink() else content
    aside = next(name for name in numbered(path) if not os.path.lexists(name))
    if former != content:
        with atomic_write(aside) as temporary:
            temporary.write_bytes(former)
    try:
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)
    except BaseException:
        if former != content:
            aside.unlink()
        raise
    if former != content:
        say(f"the former {what} are kept as {aside}")


def _row(score: Score) -> tuple[str, ...]:
    numbers = (
        "" if value is None else f"{value:.4g}"
        for value in (score.value, score.error, score.baseline)
    )
    counts = (f"{n:,}" if n else "" for n in (score.real, score.fake))
    name = score.name + (f": {score.note}" if score.note else "")
    return (name, *numbers, score.baseline_of, *counts)


def _plain(value: Any) -> Any:
    """JSON has no infinity: a score that is not finite becomes null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

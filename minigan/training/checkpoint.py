"""Checkpoints: the whole state of a run in one file of `minigan.weights`.

A file holds every player's and optimiser's arrays, and as facts the recipe, the step, the state of
the generator and the position in the data.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from .. import weights
from ..errors import UserError
from ..weights import save as save

KEPT = 2  # newest checkpoints that stay in a run directory
FORSAKEN = 3600  # age in seconds from which a temporary file is a dead process's


def load(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and facts of a checkpoint.

    Raises:
        UserError: if it is missing, damaged, no checkpoint of minigan, or of a newer format.
    """
    try:
        return weights.load(path)
    except weights.DamagedError as error:
        raise damaged(path, error.why) from error


def damaged(path: Path, why: object) -> UserError:
    """The error for a checkpoint that cannot be read, with what to do about it."""
    way = "remove it"
    if path in _all(path.parent):  # of a run
        older = [other for other in _all(path.parent) if step_of(other) < step_of(path)]
        way += f" to go on from step {step_of(older[-1])}" if older else " to begin the run again"
    return UserError(f"the checkpoint {path} is damaged: {why}; {way}")


def newest(folder: Path) -> Path | None:
    """The checkpoint of the latest step, if there is one."""
    found = _all(folder)
    return found[-1] if found else None


def prune(folder: Path) -> None:
    """Remove all but the newest checkpoints, and what killed processes left half written."""
    for path in _all(folder)[:-KEPT]:
        path.unlink()
    for path in folder.glob(".step-*.safetensors"):
        with suppress(FileNotFoundError):  # another process may have been faster
            if time.time() - path.stat().st_mtime > FORSAKEN:
                path.unlink()


def file_name(step: int) -> str:
    return f"step-{step:06d}.safetensors"


def _all(folder: Path) -> list[Path]:
    found = [path for path in folder.glob("step-*.safetensors") if path.stem[5:].isdecimal()]
    return sorted(found, key=step_of)


def step_of(path: Path) -> int:
    """The step that a checkpoint is of."""
    return int(path.stem[5:])

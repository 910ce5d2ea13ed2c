"""Checkpoints: the whole state of a run in one file of `minigan.weights`.

A file holds every player's and optimiser's arrays, and as facts the recipe, the step, the state of
the generator and the position in the data.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import weights
from ..errors import UserError
from ..nn import Module
from ..optim import Optimizer
from ..schema import MANY, SchemaError, check
from ..terminal import brief
from .nonfinite import nonfinite_array
from .schema import FACTS, KEPT

save = weights.write  # arrays and facts, atomically


def load(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and facts of a checkpoint.

    Raises:
        UserError: if it is missing, damaged, no checkpoint of minigan, or of a newer format.
    """
    try:
        return weights.read(path)
    except weights.DamagedError as error:
        raise damaged(path, error.why) from error


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose facts are checked, and its arrays by owner: "players/G", say."""

    path: Path
    step: int
    rng: dict[str, int]
    batches: int
    arrays: Mapping[str, dict[str, np.ndarray]]

    @classmethod
    def read(cls, path: Path, recipe: str) -> Checkpoint:
        """The checkpoint in `path`, of the recipe called `recipe`.

        Raises:
            UserError: if it is damaged, or of another recipe.
        """
        arrays, facts = load(path)
        try:
            check(facts, FACTS)
        except SchemaError as error:
            raise damaged(path, error) from error
        if facts["recipe"] != recipe:
            made, asked = brief(facts["recipe"]), brief(recipe)
            raise UserError(f"{path} is a checkpoint of {made}, not of {asked}")
        if path in kept(path.parent) and facts["step"] != step_of(path):
            raise damaged(path, f"it is of step {facts['step']}, unlike its name")
        owned: dict[str, dict[str, np.ndarray]] = {}
        for name, array in arrays.items():
            kind, _, rest = name.partition("/")
            owner, slash, rest = rest.partition("/")
            if kind not in ("players", "optimizers") or not slash:
                raise damaged(path, f"it has an array called {name!r}")
            owned.setdefault(f"{kind}/{owner}", {})[rest] = array
        return cls(path, facts["step"], facts["rng"], facts["batches"], owned)

    def check(self, kind: str, owners: Mapping[str, Module] | Mapping[str, Optimizer]) -> None:
        """Make sure that `write` can write into these players or optimisers.

        Raises:
            UserError: if the arrays do not fit them, or numbers among them cannot be.
        """
        mine = {f"{kind}/{owner}" for owner in owners}
        saved = {name for name in self.arrays if name.startswith(f"{kind}/")}
        if odd := sorted(mine ^ saved):
            raise self._unfit(f"{odd[0]} is {'missing' if odd[0] in mine else 'not in its recipe'}")
        for owner, part in owners.items():
            arrays, there = self.arrays[f"{kind}/{owner}"], part.state()
            for name in sorted(there.keys() | arrays.keys()):
                where = f"{kind}/{owner}/{name}"
                if name not in arrays or name not in there:
                    raise self._unfit(
                        f"{where} is {'missing' if name in there else 'not in its recipe'}"
                    )
                array, fits = arrays[name], there[name]
                if (array.dtype, array.shape) != (fits.dtype, fits.shape):
                    raise self._unfit(
                        f"{where} is of {array.dtype} and shape {array.shape}, but must be of "
                        f"{fits.dtype} and shape {fits.shape}"
                    )
            if isinstance(part, Optimizer) and not 0 <= (steps := int(arrays["steps"])) <= MANY:
                raise damaged(self.path, f"{kind}/{owner} has done {steps} updates")
            if bad := nonfinite_array(arrays):
                raise damaged(self.path, f"{kind}/{owner}/{bad} has values that are not finite")

    def write(self, kind: str, owners: Mapping[str, Module] | Mapping[str, Optimizer]) -> None:
        """Write the arrays into players or optimisers."""
        for owner, part in owners.items():
            part.load_state(self.arrays[f"{kind}/{owner}"])

    def _unfit(self, why: str) -> UserError:
        return UserError(
            f"{self.path} does not fit this run: {why}; use the recipe and the config.json with "
            "which it was trained, or train again"
        )


def damaged(path: Path, why: object) -> UserError:
    """The error for a checkpoint that cannot be read, with what to do about it."""
    way = "remove it"
    if path in kept(path.parent):  # of a run
        older = [other for other in kept(path.parent) if step_of(other) < step_of(path)]
        way += f" to go on from step {step_of(older[-1])}" if older else " to begin the run again"
    return UserError(f"the checkpoint {path} is damaged: {why}; {way}")


def newest(folder: Path) -> Path | None:
    """The checkpoint of the latest step, if there is one."""
    found = kept(folder)
    return found[-1] if found else None


def prune(folder: Path, keep: int = KEPT, *, spared: Collection[int] = ()) -> None:
    """Remove all but the `keep` newest checkpoints, and those of the steps `spared`."""
    for path in kept(folder)[:-keep]:
        if step_of(path) not in spared:
            path.unlink()


def file_name(step: int) -> str:
    return f"step-{step:06d}.safetensors"


def kept(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    found = [path for path in folder.glob("step-*.safetensors") if path.stem[5:].isdecimal()]
    return sorted(found, key=step_of)


def step_of(path: Path) -> int:
    """The step in the name of a checkpoint, or of a picture of samples."""
    return int(path.stem[5:])

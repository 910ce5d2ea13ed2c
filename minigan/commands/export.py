"""`minigan export`: the generator of a run as a file of its own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from .. import weights
from ..errors import UserError
from ..training.run import Run
from ..training.trained import Trained
from .console import show
from .flags import Folder, RecipeFile, Step, parse, split_run
from .open_run import open_trained

Player = Annotated[str, tyro.conf.arg(metavar="NAME")]


@dataclass(frozen=True)
class Export:
    """What to write."""

    out: Folder = None  # .safetensors or .npz; in the run directory unless given
    player: Player = "G"  # whose weights; of G the average, if samples are drawn from that
    step: Step = None  # the checkpoint of this step, or the best one; the newest unless given
    overwrite: bool = False  # replace a file that is there, instead of refusing
    recipe: RecipeFile = None  # the file of your own recipe; no file is executed but a named one


def main(words: list[str]) -> int:
    path, flags = split_run(words, "export")
    described = "Write the generator of a run, without what else training needs, for mg.load."
    given = parse(Export, flags, verb="export RUN", description=described)
    trained, run = open_trained(path, recipe=given.recipe, step=given.step)
    players = trained.recipe.shown(trained.players)
    if given.player not in players:
        raise UserError(f"{path} has no player {given.player}; there are {', '.join(players)}")
    out = given.out or path / f"{given.player}.safetensors"
    if os.path.lexists(out) and not given.overwrite:
        raise UserError(f"{out} is there already; add --overwrite, or choose another --out")
    try:
        Path(os.path.realpath(out)).parent.mkdir(parents=True, exist_ok=True)
        weights.save(players[given.player], out, facts=_facts(given.player, trained, run))
    except OSError as error:
        raise UserError(
            f"{out} cannot be written ({error.strerror or error}); choose another --out"
        ) from error
    show(out)
    return 0


def _facts(player: str, trained: Trained, run: Run) -> dict[str, object]:
    """What the file says of its weights: by which recipe, on which data, how long."""
    shown = trained.recipe.shown(trained.players)[player]
    names = [name for name, module in trained.players.items() if module is shown]
    return {
        "player": names[0],
        "recipe": run.config["recipe"],
        "hyper_parameters": run.config["hyper_parameters"],
        "step": trained.step,
        "seed": run.config["seed"],
        "data": {"name": run.data.name, "shape": list(run.data.shape)},
    }

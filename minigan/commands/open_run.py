"""Opening a run directory: its recipe, data and newest checkpoint, from config.json."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from .. import gans
from ..data import Dataset, load
from ..device import HOST, Device
from ..errors import UserError
from ..training import checkpoint
from ..training.run import Run
from ..training.state import State
from .console import say


def open_run(path: Path, device: Device = HOST) -> tuple[State, Dataset, Run]:
    """The run in `path`: its state, its data, and its directory.

    The state is that of the newest checkpoint, or the initial one if there is none yet. It is on
    `device`, wherever the run was trained.

    Raises:
        UserError: if there is no run, or its recipe, data or checkpoint cannot be used any more.
    """
    run = Run.open(path)
    try:
        state, dataset = _initial(run, device)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{path / 'config.json'} is damaged, or of another version of its recipe: "
            f"{type(error).__name__}: {error}"
        ) from error
    latest = checkpoint.newest(run.checkpoints)
    if latest is not None:
        state.restore(latest, run.config["recipe"])
    return state, dataset, run


def _initial(run: Run, device: Device) -> tuple[State, Dataset]:
    config, data = run.config, run.config["data"]
    recipe = gans.load(config["recipe"])(**config["hyper_parameters"])
    new = [f.name for f in fields(recipe) if f.name not in config["hyper_parameters"]]
    if new:
        taken = ", ".join(f"{name} {getattr(recipe, name)}" for name in new)
        say(f"{run.path} is of an earlier version of its recipe, and is taken to have {taken}")
    stack = data.get("stack", 1)  # absent in older runs
    dataset = load(data["source"], size=data["size"], stack=stack, seed=config["seed"], report=say)
    if [len(dataset), *dataset.shape] != [data["samples"], *data["shape"]]:
        raise UserError(
            f"the data in {data['source']} have changed since the run in {run.path}: there were "
            f"{data['samples']} samples of shape {tuple(data['shape'])}, and now "
            f"{len(dataset)} of {dataset.shape}"
        )
    return State.fresh(recipe, dataset, config["seed"], device), dataset

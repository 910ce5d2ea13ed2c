"""Opening a run directory, and `minigan train --resume`: continue a run."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from .. import gans
from ..data import Dataset, load
from ..device import HOST, Device
from ..errors import UserError
from ..training import checkpoint
from ..training.run import Run, provenance
from ..training.state import State
from .flags import Computing, Count, Folder, Place, Precision, UnknownFlagError, parse
from .length import Length, run_to_end, say


@dataclass(frozen=True)
class Continue(Length):
    """What a run that is continued can be told."""

    out: Folder = None  # the run directory to continue
    more: Count = None  # train this many rounds more, instead of up to --steps
    device: Place | None = None  # where to compute; as before unless given
    precision: Precision | None = None  # that a card multiplies in; as before unless given
    resume: bool = True  # continue the run in --out

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.more is not None and self.more < 1:
            raise UserError(f"--more must be at least 1, not {self.more}")
        if self.steps is not None and self.more is not None:
            raise UserError(
                "--steps N trains up to round N and --more N trains N more; give one of them"
            )


def resume(words: list[str]) -> int:
    """Continue the run that the words name; the exit code."""
    named = None if words[0].startswith("-") else words[0]
    flags = words[1:] if named else words
    place = _parse(flags, Continue()).out
    if place is None:
        raise UserError("--resume needs --out, the run directory to continue")
    before, where = Run.open(place).config, asdict(Computing())
    given = _parse(flags, Continue(graphs=before.get("graphs", True)))
    for key, default in where.items():  # a run from before there was a choice has the default
        asked = getattr(given, key, None)
        where[key] = before.get(key, default) if asked is None else asked
    device = Computing(**where).opened()
    state, dataset, run = open_run(place, device)
    recipe = run.config["recipe"]
    if named and gans.canonical(named) != recipe:
        raise UserError(f"{place} holds a run of {recipe}, not of {named}")
    steps = given.steps or (state.step + given.more if given.more else run.config["steps"])
    if steps < state.step:
        raise UserError(
            f"the run in {place} is at round {state.step} already; --steps {steps} lies behind it"
        )
    state.recipe.check_length(steps)
    run.rewind(state.step)
    command = shlex.join(["minigan", "train", *words])
    now = {"command": command, "step": state.step, **provenance(device.versions())}
    run.config |= {
        "steps": steps,
        **where,
        "graphs": given.graphs,
        "sample_every": given.sample_every or run.config["sample_every"],
        "checkpoint_every": given.checkpoint_every or run.config["checkpoint_every"],
        "resumed": [*run.config.get("resumed", []), now],
    }
    run.write_config()
    return run_to_end(state, dataset, run)


def open_run(path: Path, device: Device = HOST) -> tuple[State, Dataset, Run]:
    """The run in `path` as its newest checkpoint left it, or at its start if there is none yet,
    on `device`, wherever it was trained.

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
    since = [f.name for f in fields(recipe) if f.name not in config["hyper_parameters"]]
    if since:
        taken = ", ".join(f"{name} {getattr(recipe, name)}" for name in since)
        say(f"{run.path} is of an earlier version of its recipe, and is taken to have {taken}")
    stack = data.get("stack", 1)  # runs from before there was a choice have none
    dataset = load(data["source"], size=data["size"], stack=stack, seed=config["seed"], report=say)
    if [len(dataset), *dataset.shape] != [data["samples"], *data["shape"]]:
        raise UserError(
            f"the data in {data['source']} have changed since the run in {run.path}: there were "
            f"{data['samples']} samples of shape {tuple(data['shape'])}, and now "
            f"{len(dataset)} of {dataset.shape}"
        )
    return State.fresh(recipe, dataset, config["seed"], device), dataset


def _parse(flags: list[str], default: Continue) -> Continue:
    """The flags; one that belongs to a new run is refused as such."""
    described = "Continue a run where it stopped."
    try:
        return parse(Continue, flags, verb="train --resume", description=described, default=default)
    except UnknownFlagError as error:
        name = error.flag.removeprefix("--").removeprefix("no-").replace("-", "_")
        if error.value.out is not None:
            config = Run.open(error.value.out).config
            if name in {
                "data",
                "size",
                "stack",
                "seed",
                "deterministic",
                *config["hyper_parameters"],
            }:
                raise UserError(f"a resumed run keeps its {error.flag}; leave it out") from None
        raise

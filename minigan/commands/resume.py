"""`minigan train --resume`: continue a run."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass

from .. import gans
from ..errors import UserError
from ..training.run import Run, provenance
from .flags import Computing, Count, Folder, Place, Precision, UnknownFlagError, parse
from .open_run import open_run
from .session import Length, run_to_end


@dataclass(frozen=True)
class Continue(Length):
    """What can be set when a run is continued."""

    out: Folder = None  # the run directory to continue
    more: Count = None  # train this many steps more, instead of up to --steps
    device: Place | None = None  # where to compute; as before unless given
    precision: Precision | None = None  # of products on a GPU; as before unless given
    resume: bool = True  # continue the run in --out

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.more is not None and self.more < 1:
            raise UserError(f"--more must be at least 1, not {self.more}")
        if self.steps is not None and self.more is not None:
            raise UserError(
                "--steps N trains up to step N and --more N trains N more; give one of them"
            )


def resume(words: list[str]) -> int:
    """Continue the run that `words` name, and give the exit code."""
    named = None if words[0].startswith("-") else words[0]
    flags = words[1:] if named else words
    place = _parse(flags, Continue()).out
    if place is None:
        raise UserError("--resume needs --out, the run directory to continue")
    before, where = Run.open(place).config, asdict(Computing())
    given = _parse(flags, Continue(graphs=before.get("graphs", True)))
    for key, default in where.items():  # absent in older runs
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
            f"the run in {place} is at step {state.step} already; --steps {steps} is before that"
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


def _parse(flags: list[str], default: Continue) -> Continue:
    """The flags; those of a new run are refused as such."""
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

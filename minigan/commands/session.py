"""A training session of a new or a continued run: its length, and training up to its end."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..data import Dataset
from ..errors import UserError
from ..signals import interrupted
from ..training.keeper import Scorer
from ..training.loop import carry_out, unwritable
from ..training.run import Run, named_recipe, resume_command
from ..training.state import State
from .console import say, show
from .flags import Count, ScoreName


@dataclass(frozen=True)
class Length:
    """The length of a session, and how often it draws and saves."""

    steps: Count = None  # train up to this step; each recipe has its own default
    sample_every: Count = None  # steps between two sample pictures; a twentieth of the run
    checkpoint_every: Count = None  # steps between two checkpoints; a tenth of the run
    keep: Count = None  # newest checkpoints that stay; 2
    best: ScoreName = None  # keep the best checkpoint too, by kernel, coverage, frechet, modes, ...
    score_every: Count = None  # score every so many steps by --best, with a checkpoint each
    graphs: bool = True  # on a GPU replay steps from a CUDA graph, if possible; same bits

    def __post_init__(self) -> None:
        for flag in ("steps", "sample_every", "checkpoint_every", "keep", "score_every"):
            value = getattr(self, flag)
            if value is not None and value < 1:
                raise UserError(f"--{flag.replace('_', '-')} must be at least 1, not {value}")


def run_to_end(state: State, dataset: Dataset, run: Run, scorer: Scorer | None = None) -> int:
    """Train as the run's configuration says, and give the exit code.

    Raises:
        RunError: if a loss stops being finite, or the run directory cannot be written any more.
    """
    if state.step < run.config["steps"]:
        say(
            f"training {run.config['recipe']} on {dataset.name} up to step {run.config['steps']}; "
            f"pictures and checkpoints go to {run.path}"
        )
    number = carry_out(state, dataset, run, say, scorer)
    if number is not None:
        say(
            f"{interrupted(number)} at step {state.step}; "
            f"{resume_command(run.path, run.config['recipe'])} continues"
        )
        return 128 + number
    show(run.picture(state.step))
    show(run.report)
    say(finished(run))
    return 0


def finished(run: Run) -> str:
    """That a run has done all its steps, and how to go on."""
    steps, place = run.config["steps"], shlex.quote(str(run.path))
    named = named_recipe(run.config["recipe"])
    named += " --step best" if run.config["best"] else ""
    look = f"minigan sample {place}{named}" if run.data.is_image else str(run.report)
    more = f"{resume_command(run.path, run.config['recipe'])} --more {steps}"
    return (
        f"the run is finished ({steps:,} step{'s' if steps > 1 else ''}); to look: {look}; to "
        f"score: minigan evaluate {place}{named}; to go on: {more}"
    )


@contextmanager
def writable(run: Run) -> Iterator[None]:
    """Within the block a run directory is written.

    Raises:
        RunError: if it cannot be.
    """
    try:
        yield
    except OSError as error:
        raise unwritable(run, error) from error

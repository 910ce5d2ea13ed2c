"""A new run: from a recipe, what was asked of it, and its data to networks and a run directory.

`minigan train` and `minigan.train` both go through these steps, with whatever comes between:

    new = prepare(source, make, asked, device, say)  # checked; nothing is written yet
    with new_run(path, new.config(command), say) as run:  # the directory, which is locked
        number = carry_out(new.state, new.dataset, run, say, new.scorer)  # training.loop: trains it

`make` makes the recipe from the fields whose default depends on the data. Where the other fields
come from is its own affair: flags, keyword arguments, a file, another run.
"""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import gans
from .data import Dataset, lasting, load, outline
from .device import Device
from .errors import RunError, UserError
from .evaluation.scorer import scorer as score_by
from .random import Generator
from .training.keeper import Scorer
from .training.loop import check_range
from .training.pace import seconds_per_step
from .training.recipe import Recipe, defaults
from .training.run import chosen, provenance
from .training.schema import KEPT
from .training.state import State

PICTURES = 20  # sample pictures of a run, unless it is asked for another number
CHECKPOINTS = 10  # checkpoints on the way, unless it is asked for another number

Say = Callable[[str], None]
Make = Callable[[dict[str, Any]], Recipe]  # the recipe that has these defaults for its data


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What can be asked of a new run of any recipe; None leaves it to the recipe or the data."""

    data: str = "glyphs"  # a name from the catalogue, or a folder
    size: int | None = None  # height and width of the images, in pixels
    stack: int = 1  # images in the channels of each, 1 to 3
    seed: int = 0
    steps: int | None = None
    minutes: float | None = None  # as many steps as fit into this time, instead of steps
    sample_every: int | None = None  # steps between two sample pictures
    checkpoint_every: int | None = None  # steps between two checkpoints
    device: str = "cpu"
    precision: str = "float32"
    deterministic: bool = False
    graphs: bool = True
    keep: int | None = None  # newest checkpoints that stay
    best: str | None = None  # the score whose best checkpoint stays too


@dataclass(frozen=True)
class Source:
    """A recipe's class, and where it is from."""

    name: str  # canonical
    kind: type[Recipe]
    file: dict[str, str] | None  # the path and the hash of its file; None for minigan's own


@dataclass(frozen=True)
class New:
    """A run that is about to begin: its state before the first step, and its data."""

    source: Source
    state: State
    dataset: Dataset
    steps: int
    asked: Asked
    scorer: Scorer | None

    def config(self, command: str) -> dict[str, Any]:
        """The resolved configuration, for config.json; `command` is what the user said.

        Raises:
            UserError: if the file of tuned algorithms is damaged.
        """
        asked, dataset, recipe = self.asked, self.dataset, self.state.recipe
        return {
            "recipe": self.source.name,
            "recipe_doc": self.source.kind.__doc__,
            "recipe_file": self.source.file,
            "data": _facts(dataset, asked) | {"digest": dataset.digest()},
            "hyper_parameters": dataclasses.asdict(recipe),
            "steps": self.steps,
            "seed": asked.seed,
            "device": asked.device,
            "precision": asked.precision,
            "deterministic": asked.deterministic,
            "graphs": asked.graphs,
            "keep": asked.keep or KEPT,
            "best": asked.best,
            "sample_every": asked.sample_every or max(1, self.steps // PICTURES),
            "checkpoint_every": asked.checkpoint_every or max(1, self.steps // CHECKPOINTS),
            "command": command,
            **provenance(self.state.device.versions()),
            "choices": chosen(),
        }


def find(name: str) -> Source:
    """The recipe called `name`, or the one in the file `name`, which is executed.

    Raises:
        UserError: if there is none; the message has the nearest name.
    """
    file = gans.identity(gans.file_of(name))  # of what is about to be executed
    return Source(gans.canonical(name), gans.load(name), file)


def prepare(source: Source, make: Make, asked: Asked, device: Device, say: Say) -> New:
    """Read the data, make the recipe for them, and its networks on `device`.

    What can be refused before the data are read is refused then.

    Raises:
        UserError: if the recipe, the data and what was asked do not fit each other.
        RunError: if the memory does not suffice.
    """
    kind, needs = source.kind, "its data need"
    try:
        if asked.steps is not None and asked.minutes is not None:
            raise UserError("--steps and --minutes are two lengths; give one of them")
        _check_outline(kind, make, asked)
        dataset = load(asked.data, size=asked.size, stack=asked.stack, seed=asked.seed, report=say)
        known = defaults(kind, dataset)
        recipe = make(known)
        if "classes" in known:
            _check_classes(recipe, dataset)
        steps = asked.steps or kind.steps
        recipe.check_new(dataset.shape)
        recipe.check_length(steps)
        needs = "its networks need"
        state = State.fresh(recipe, dataset, asked.seed, device)
        check_range(state, asked.seed)
        if asked.minutes is not None:
            steps = _steps_within(asked.minutes, state, asked.graphs, say)
            recipe.check_length(steps)
            del state  # the steps that were timed are thrown away: the run is that of --steps
            gc.collect()  # of its memory: a state and its graph refer to each other
            state = State.fresh(recipe, dataset, asked.seed, device)
        scorer = None
        if asked.best is not None:
            scorer = score_by(asked.best, recipe, _facts(dataset, asked), say)
    except ValueError as error:
        raise UserError(f"minigan train {source.name}: {error}") from error
    except MemoryError as error:
        raise RunError(
            f"minigan train {source.name}: {needs} more memory than there is ({error}); give a "
            "smaller --size, or make them smaller"
        ) from error
    return New(source, state, dataset, steps, asked, scorer)


def _steps_within(minutes: float, state: State, graphs: bool, say: Say) -> int:
    """As many steps as `minutes` have room for, by the time that a few of them take; at least 1.

    Pictures and checkpoints come on top. The state is not to be used any more.
    """
    if graphs:
        state.use_graphs(say)
    seconds = seconds_per_step(state)
    steps = max(1, int(60 * minutes / max(seconds, 1e-9)))
    say(f"a step takes {seconds:.3g} s, so {minutes:g} minutes have room for {steps:,} steps")
    return steps


def _check_outline(kind: type[Recipe], make: Make, asked: Asked) -> None:
    """Make sure that a recipe can make such samples, before minutes go into reading them.

    Raises:
        UserError: if it cannot, whatever the images turn out to be.
    """
    known = outline(asked.data, size=asked.size, stack=asked.stack)
    if known is None:  # data by name are read in a second
        return
    refusals = []
    for shape in known.shapes:
        try:
            recipe = make(
                kind.defaults(shape, classes=known.classes, samples=known.samples, tags=known.tags)
            )
            recipe.check_new(shape)
            recipe.players(Generator(0), shape)
            return
        except UserError as error:
            refusals.append(error)
    raise refusals[0]


def _check_classes(recipe: Any, dataset: Dataset) -> None:
    """Make sure that a recipe has as many classes as the data.

    Raises:
        UserError: if another number was given.
    """
    tags, there = getattr(recipe, "tags", 1), len(dataset.classes)
    if recipe.classes**tags != there:
        told, them = f"--classes {recipe.classes}", "it"
        if tags > 1:
            told, them = f"{told} and --tags {tags}, {recipe.classes**tags} in all", "both"
        raise UserError(
            f"{dataset.name} has {there} classes, not those of {told}; leave {them} out"
        )


def _facts(dataset: Dataset, asked: Asked) -> dict[str, Any]:
    """What the configuration of a run knows of its data, but for their content."""
    return {
        "name": dataset.name,
        "source": lasting(asked.data),
        "size": asked.size,
        "stack": asked.stack,
        "samples": len(dataset),
        "shape": list(dataset.shape),
        "classes": list(dataset.classes),
    }

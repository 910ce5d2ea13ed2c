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
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .data import Dataset, Reading, lasting, load, outline
from .device import Device, cuda
from .errors import RunError, UserError
from .evaluation.scorer import scorer as score_by
from .live_run import LiveRun
from .notebook import say as tell
from .random import Generator
from .sources import Source, checked_fields, find, in_memory, in_python, recipe_source, written
from .training.keeper import Scorer
from .training.loop import check_range
from .training.pace import about, seconds_per_step
from .training.recipe import Recipe, defaults
from .training.run import IN_PYTHON, chosen, fresh_directory, provenance
from .training.schema import CENTURY, KEPT
from .training.state import State
from .training.writer import new_run

__all__ = ["Asked", "New", "Source", "find", "prepare", "train"]

MEASURED = 40  # steps of a run above which a few of them are timed first
PICTURES = 20  # sample pictures of a run, unless it is asked for another number
DEVICES, PRECISIONS = ("cpu", "cuda"), ("float32", "tf32", "bfloat16")
CHECKPOINTS = 10  # checkpoints on the way, unless it is asked for another number

Say = Callable[[str], None]
Make = Callable[[dict[str, Any]], Recipe]  # the recipe that has these defaults for its data


@dataclass(frozen=True, kw_only=True)
class Asked(Reading):
    """What can be asked of a new run of any recipe; None leaves it to the recipe or the data."""

    data: str | Dataset = "glyphs"  # a name from the catalogue, a folder, or in memory already
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
    score_every: int | None = None  # steps between two scores; without it checkpoints are scored

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("size", "steps", "sample_every", "checkpoint_every", "keep", "score_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"--{name.replace('_', '-')} must be at least 1, not {value}")
        if self.minutes is not None and not 0 < self.minutes <= CENTURY / 60:
            raise UserError(
                f"--minutes must be above 0 and at most {CENTURY / 60:,.0f}, not {self.minutes:g}"
            )
        if isinstance(self.data, Dataset):
            usual = {"size": None, "stack": 1, "best": None, "score_every": None}
            asked = [name for name, unset in usual.items() if getattr(self, name) != unset]
            if asked := [*asked, *(name for name in self.unusual() if name != "flip")]:
                raise UserError(
                    f"--{asked[0].replace('_', '-')} is for data by name or in a folder, not for "
                    "those in memory"
                )

    def opened(self) -> Device:
        """The device.

        Raises:
            UserError: if there is none, or it cannot compute in that way.
        """
        for name, there in (("device", DEVICES), ("precision", PRECISIONS)):
            if getattr(self, name) not in there:
                raise UserError(
                    f"--{name} is one of {', '.join(there)}, not {getattr(self, name)!r}"
                )
        return cuda.device(self.device, self.precision, deterministic=self.deterministic)


@dataclass(frozen=True)
class New:
    """A run that is about to begin: its state before the first step, and its data."""

    source: Source
    state: State
    dataset: Dataset
    steps: int
    asked: Asked
    scorer: Scorer | None
    length: str | None = None  # how long it takes, in words, if it was measured

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
            "best": None if self.scorer is None else self.scorer.name,
            "score_every": asked.score_every,
            "sample_every": asked.sample_every or max(1, self.steps // PICTURES),
            "checkpoint_every": asked.checkpoint_every or max(1, self.steps // CHECKPOINTS),
            "command": command,
            **provenance(self.state.device.versions()),
            "choices": chosen(),
        }


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
        dataset = asked.data
        if not isinstance(dataset, Dataset):
            how = {"size": asked.size, "stack": asked.stack} | asked.keywords()
            dataset = load(dataset, seed=asked.seed, report=say, **how)
        elif asked.flip:
            dataset = dataclasses.replace(dataset, flip=True)
        known = defaults(kind, dataset)
        recipe = make(known)
        if "classes" in known:
            _check_classes(recipe, dataset)
        steps = asked.steps or kind.steps
        recipe.check_new(dataset.shape)
        if asked.minutes is None:
            recipe.check_length(steps)
        needs = "its networks need"
        state = State.fresh(recipe, dataset, asked.seed, device)
        recipe.check_batches(state.batches)
        check_range(state, asked.seed)
        length = None
        if asked.minutes is not None or steps > MEASURED:
            steps, length = _measured(asked.minutes, steps, state, asked.graphs)
            recipe.check_length(steps)
            del state  # the steps that were timed are thrown away: the run is that of --steps
            gc.collect()  # of its memory: a state and its graph refer to each other
            state = State.fresh(recipe, dataset, asked.seed, device)
        scorer = None
        if asked.best is not None or asked.score_every is not None:
            scorer = score_by(asked.best, recipe, _facts(dataset, asked), say)
            scorer = dataclasses.replace(scorer, every=asked.score_every)
    except ValueError as error:
        raise UserError(f"minigan train {source.name}: {error}") from error
    except MemoryError as error:
        raise RunError(
            f"minigan train {source.name}: {needs} more memory than there is ({error}); give a "
            "smaller --size, or make them smaller"
        ) from error
    return New(source, state, dataset, steps, asked, scorer, length)


def _measured(
    minutes: float | None, steps: int, state: State, graphs: bool
) -> tuple[int, str | None]:
    """The number of steps, and in words how long they take, by the time of a few of them.

    As many steps as `minutes` have room for, at least 1; `steps` without them. Pictures and
    checkpoints come on top. The state is not to be used any more.
    """
    if graphs:
        state.use_graphs(lambda text: None)  # the run itself will say it
    if minutes is not None:
        seconds = seconds_per_step(state)
        steps = max(1, int(60 * minutes / max(seconds, 1e-9)))
        room = f"so {minutes:g} minutes have room for {steps:,} steps"
        return steps, f"a step takes {seconds:.3g} s, {room}"
    with suppress(RunError):  # the run itself will raise it, with its files written
        return steps, about(seconds_per_step(state, steps), steps)
    return steps, None


def train(
    recipe: str | Path | Recipe | type[Recipe] = "dcgan",
    *,
    data: Any = "glyphs",
    steps: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    device: str = "cpu",
    **options: Any,
) -> LiveRun:
    """Train a GAN, and give the run.

    `recipe` is a name that `minigan recipes` lists, the path of a file, or a class of your own that
    is derived from `minigan.recipe.Recipe`, or an instance, whose fields are all taken as they are.
    `data` is a name that `minigan data list` lists, a folder, a file such as a zip or an .npz, a
    `Dataset`, or arrays as `minigan.data.from_arrays` takes them: x, or (x, y).

    `steps` is each recipe's own unless given. The same `seed` gives the same bytes. `out` is the
    run directory, runs/RECIPE-DATA-1 or the next free number unless given. `device` is "cpu" or
    "cuda". `options` are the hyper-parameters, which are the recipe's fields, and what else
    `minigan train --help` lists: size, stack, sample_every, checkpoint_every, precision and more.

    In a notebook there are a bar and samples that renew themselves. Ctrl-C, or the notebook's stop
    button, ends the run in order: it is given back with `interrupted` true, its checkpoint is
    written, and `resume()` continues. A run of a class or of data that only this program has can be
    continued by this program alone.

    >>> run = train("gan", data="ring", steps=2, hidden=8, batch_size=16)
    >>> run
    <Run runs/gan-ring-1: gan on ring, step 2 of 2, finished, loss_D ..., loss_G ...>
    >>> run.samples(3).shape, sorted(run.losses())
    ((3, 2), ['D', 'G'])

    Raises:
        UserError: if the recipe, the data and what is asked do not fit each other.
        RunError: if a loss stops being finite, or the memory does not suffice.
    """
    settings = [f.name for f in dataclasses.fields(Asked)]
    names = [*settings, "out"]
    renamed = {*settings} - {"data", "steps", "seed", "device"}  # which are named arguments
    try:
        source = recipe_source(recipe)
        own = [f.name for f in dataclasses.fields(source.kind)]
        asked, fields = {"steps": steps, "seed": seed, "device": device}, {}
        for name, value in options.items():
            plain = name.removeprefix("run_")  # run_keep, say, where a recipe has a field keep
            if name in own or plain not in renamed:
                fields[name] = value
            else:
                asked[plain] = value
        names += own
        fields = checked_fields(source.kind, fields, names)

        def make(defaults: dict[str, Any]) -> Recipe:
            if isinstance(recipe, Recipe):
                return dataclasses.replace(recipe, **fields)
            return source.kind(**{**defaults, **fields})

        wanted = Asked(data=in_memory(data), **checked_fields(Asked, asked))
        new = prepare(source, make, wanted, wanted.opened(), tell)
        path = fresh_directory(source.short, new.dataset.name) if out is None else Path(out)
        if asked.pop("minutes", None) is not None:  # the call that makes the same run again
            asked["steps"] = new.steps
        command = written(recipe, {"data": data, **asked, **fields})
        with new_run(path, new.config(command), tell) as directory:
            if new.length is not None:
                tell(new.length)
            run = LiveRun(new.state, new.dataset, directory, new.scorer)
            run.train()
            return run
    except (UserError, RunError) as error:
        error.args = (in_python(str(error), names),)
        raise


def _check_outline(kind: type[Recipe], make: Make, asked: Asked) -> None:
    """Make sure that a recipe can make such samples, before minutes go into reading them.

    Raises:
        UserError: if it cannot, whatever the images turn out to be.
    """
    if isinstance(asked.data, Dataset):
        return
    known = outline(
        asked.data, size=asked.size, stack=asked.stack, reading=Reading.of(asked.keywords())
    )
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
    data = asked.data
    return {
        "name": dataset.name,
        "source": f"{IN_PYTHON}{data.name}" if isinstance(data, Dataset) else lasting(data),
        "size": asked.size,
        "stack": asked.stack,
        "samples": len(dataset),
        "shape": list(dataset.shape),
        "classes": list(dataset.classes),
        **asked.keywords(),
        "flip": dataset.flip,
    }

"""`minigan train`: train a GAN."""

from __future__ import annotations

import dataclasses
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import gans
from ..data import Dataset, catalogue, load, outline
from ..errors import RunError, UserError
from ..random import Generator
from ..training.loop import check_range
from ..training.recipe import Recipe, defaults
from ..training.run import chosen, fresh_directory, provenance
from ..training.state import State
from ..training.writer import new_run
from .console import say
from .flags import Computing, Count, Folder, UnknownFlagError, check_order, parse
from .resume import resume
from .session import Length, run_to_end

DEFAULT = "dcgan"
# `minigan train` without arguments: small enough for three minutes on two cores.
ALONE = ["dcgan", "--steps", "700"]
DESCRIPTION = (
    "Train a GAN. minigan train --resume --out DIR continues a run, with --steps N up to step N, "
    "or with --more N for N steps more."
)
PICTURES = 20  # sample pictures of a run, unless --sample-every says otherwise
CHECKPOINTS = 10  # checkpoints on the way, unless --checkpoint-every says otherwise


@dataclass(frozen=True)
class Start(Computing, Length):
    """What can be set for every new run."""

    data: str = "glyphs"  # a name from `minigan data list`, or a folder
    size: Count = None  # make images this many pixels high and wide
    stack: int = 1  # put this many images into the channels of each, 1 to 3
    seed: int = 0  # the same seed gives the same bytes
    out: Folder = None  # the run directory; runs/RECIPE-DATA-1 or the next free number
    resume: bool = False  # continue the run in --out: minigan train --resume --help


def main(words: list[str]) -> int:
    if "--resume" in words:
        return resume(words)
    if not words:
        words = ALONE
        say(f"minigan train alone means: minigan train {shlex.join(words)}")
    name, flags = _split(words)
    file = gans.identity(gans.file_of(name))
    kind = gans.load(name)
    if "-h" in flags or "--help" in flags:
        _parse(name, kind, ["--help"], kind())
    try:
        try:
            start, _ = _parse(name, kind, flags, kind())
        except UnknownFlagError as error:
            if flags == words:  # no recipe is named in its place
                check_order(error)
            raise
        device = start.opened()
        _check_outline(name, kind, flags, start)
        dataset = load(start.data, size=start.size, stack=start.stack, seed=start.seed, report=say)
        # Parsed again, now that the data are known: the recipe may have other defaults for them.
        known = defaults(kind, dataset)
        start, recipe = _parse(name, kind, flags, kind(**known))
        if "classes" in known:
            _check_classes(recipe, dataset)
        steps = start.steps or kind.steps
        recipe.check_new(dataset.shape)
        recipe.check_length(steps)
        state = State.fresh(recipe, dataset, start.seed, device)
        check_range(state, start.seed)
    except ValueError as error:
        raise UserError(f"minigan train {name}: {error}") from error
    except MemoryError as error:
        raise RunError(
            f"minigan train {name}: the networks need more memory than there is ({error}); give a "
            "smaller --size, or make them smaller"
        ) from error
    path = start.out or fresh_directory(Path(name).stem, dataset.name)
    config: dict[str, Any] = {
        "recipe": gans.canonical(name),
        "recipe_doc": kind.__doc__,
        "recipe_file": file,
        "data": {
            "name": dataset.name,
            "source": _absolute(start.data),
            "size": start.size,
            "stack": start.stack,
            "samples": len(dataset),
            "shape": list(dataset.shape),
            "classes": list(dataset.classes),
            "digest": dataset.digest(),
        },
        "hyper_parameters": dataclasses.asdict(recipe),
        "steps": steps,
        "seed": start.seed,
        "device": start.device,
        "precision": start.precision,
        "deterministic": start.deterministic,
        "graphs": start.graphs,
        "sample_every": start.sample_every or max(1, steps // PICTURES),
        "checkpoint_every": start.checkpoint_every or max(1, steps // CHECKPOINTS),
        "command": shlex.join(["minigan", "train", *words]),
        **provenance(device.versions()),
        "choices": chosen(),
    }
    with new_run(path, config, say) as run:
        return run_to_end(state, dataset, run)


def _check_outline(name: str, kind: type[Recipe], flags: list[str], start: Start) -> None:
    """Make sure that a recipe can make such samples, before minutes go into reading them.

    Raises:
        UserError: if it cannot, whatever the images turn out to be.
    """
    known = outline(start.data, size=start.size, stack=start.stack)
    if known is None:  # data by name are read in a second
        return
    refusals = []
    for shape in known.shapes:
        try:
            fields = kind.defaults(
                shape, classes=known.classes, samples=known.samples, tags=known.tags
            )
            _, recipe = _parse(name, kind, flags, kind(**fields))
            recipe.check_new(shape)
            recipe.players(Generator(0), shape)
            return
        except UserError as error:
            refusals.append(error)
    raise refusals[0]


def _check_classes(recipe: Any, dataset: Dataset) -> None:
    """Make sure that a recipe has as many classes as the data.

    Raises:
        UserError: if a flag gave another number.
    """
    tags, there = getattr(recipe, "tags", 1), len(dataset.classes)
    if recipe.classes**tags != there:
        told, them = f"--classes {recipe.classes}", "it"
        if tags > 1:
            told, them = f"{told} and --tags {tags}, {recipe.classes**tags} in all", "both"
        raise UserError(
            f"{dataset.name} has {there} classes, not those of {told}; leave {them} out"
        )


def _split(words: list[str]) -> tuple[str, list[str]]:
    """The recipe's name, the default one if there is none, and the flags."""
    if words and not words[0].startswith("-"):
        return words[0], words[1:]
    return DEFAULT, words


def _parse(
    name: str, kind: type[Recipe], flags: list[str], default: Recipe
) -> tuple[Start, Recipe]:
    both = dataclasses.make_dataclass(
        "Train",
        [("run", Start, field(default=Start())), ("recipe", kind, field(default=default))],
        frozen=True,
    )
    if any(word.partition("=")[0] == "--more" for word in flags):
        raise UserError("--more N continues a run: minigan train --resume --out DIR --more N")
    value: Any = parse(both, flags, verb=f"train {name}", description=DESCRIPTION)
    return value.run, value.recipe


def _absolute(data: str) -> str:
    """A name of the data that is valid in any folder: a known name unchanged, a path in full."""
    return data if data in {entry.name for entry in catalogue()} else str(Path(data).resolve())

"""`minigan sample`: draw samples from a run directory."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from ..errors import UserError
from ..files import is_stream, write_named
from ..random import Generator
from ..training.recipe import Recipe
from ..training.run import DataFacts, Run
from .console import show
from .flags import Count, Folder, OfRun, parse, split_run
from .open_run import open_trained

Class = Annotated[str | None, tyro.conf.arg(name="class", metavar="CLASS")]


@dataclass(frozen=True)
class Sample(OfRun):
    """What to draw."""

    out: Folder = None  # a PNG, or with --single a folder; in the run directory unless given
    count: int = 64  # how many samples
    seed: int = 0  # other seeds give other samples
    single: bool = False  # one PNG a sample, at its own size, instead of a grid
    walk: Count = None  # rows of this many steps, each between two latent vectors
    label: Class = None  # only samples of this class: its name or number; of a stack, such as 3,7
    sweep: Count = None  # a row a sample, along which the code of this number, from 1, changes


def main(words: list[str]) -> int:
    path, flags = split_run(words, "sample")
    described = "Draw samples from a run directory."
    given = parse(Sample, flags, verb="sample RUN", description=described)
    if given.count < 1 or (given.walk is not None and given.walk < 2):
        raise UserError("--count must be at least 1, and --walk at least 2")
    if given.walk is not None and given.sweep is not None:
        raise UserError("--walk and --sweep are two kinds of rows; give one of them")
    trained, run = open_trained(path, given.opened(), recipe=given.recipe)
    recipe, data = trained.recipe, run.data
    if not data.is_image:
        raise UserError(f"{data.name} has no images; its pictures are in {run.samples}")
    z, columns = _latents(given, recipe, Generator(given.seed, "sample"), run)
    if given.label is not None:
        z = _of_class(given.label, z, data, recipe, run)
    _write(given, run.path, trained.samples(z), recipe.output_range(data.shape), columns)
    return 0


def _latents(
    given: Sample, recipe: Recipe, rng: Generator, run: Run
) -> tuple[np.ndarray, int | None]:
    """The latent vectors to draw, and the number of columns, if that matters."""
    if given.walk:
        ends = recipe.latent(rng, 2 * -(-given.count // given.walk))
        pairs = zip(ends[::2], ends[1::2], strict=True)
        return np.concatenate([_between(a, b, given.walk) for a, b in pairs]), given.walk
    z = recipe.latent(rng, given.count)
    if given.sweep is None:
        return z, None
    swept = recipe.sweep(z, given.sweep)
    if swept is None:
        raise UserError(f"{run.config['recipe']} has no codes; leave out --sweep")
    columns = len(swept) // len(z)
    return swept[: -(-given.count // columns) * columns], columns


def _of_class(label: str, z: np.ndarray, data: DataFacts, recipe: Recipe, run: Run) -> np.ndarray:
    """Latent vectors like z that ask for the class whose name or number `label` is."""
    classes = data.classes
    numbers = range(0 if data.parts else len(classes))  # 3 is not half of 3,7
    by_name = {str(number): number for number in numbers}
    by_name |= {name: number for number, name in enumerate(classes)}
    labels = np.full(len(z), by_name.get(label, 0))
    found = recipe.with_labels(z, labels)
    if found is None:
        raise UserError(f"{run.config['recipe']} does not know classes; leave out --class")
    if label not in by_name:
        known = f"the classes are {', '.join(classes)}"
        if data.parts:
            each = f"one of {', '.join(data.parts)} for each channel"
            known = f"a class is {each}, such as {classes[1]}"
        raise UserError(f"there is no class {label}; {known}")
    return found


def _between(a: np.ndarray, b: np.ndarray, steps: int) -> np.ndarray:
    """Latent vectors on the straight line from a to b, both included."""
    t = np.linspace(0, 1, steps, dtype=np.float32).reshape(-1, *(1,) * a.ndim)
    return (1 - t) * a + t * b


def _write(
    given: Sample,
    run: Path,
    images: np.ndarray,
    value_range: tuple[float, float] | None,
    columns: int | None,
) -> None:
    from ..viz.grid import image_grid, save_grid, save_images

    assert value_range is not None
    out = given.out or run / ("singles" if given.single else "sample.png")
    into = not given.single and is_stream(out)
    try:
        if given.single:
            save_images(out, images, value_range=value_range)
        elif given.out is None:
            save_grid(out, images, value_range=value_range, columns=columns)
        else:
            Path(os.path.realpath(out)).parent.mkdir(parents=True, exist_ok=True)
            content = io.BytesIO()
            picture = image_grid(images, value_range=value_range, columns=columns)
            picture.save(content, format="PNG")
            write_named(out, content.getvalue())
    except OSError as error:
        raise UserError(
            f"{out} cannot be written ({error.strerror or error}); choose another --out"
        ) from error
    if not into:  # which may be standard output itself
        show(out)

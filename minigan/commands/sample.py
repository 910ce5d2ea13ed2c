"""`minigan sample`: draw samples from a run directory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from ..errors import UserError
from ..files import atomic_write, is_stream, numbered, write_named
from ..random import Generator
from ..training.recipe import Recipe
from ..training.run import DataFacts, Run
from .console import show
from .flags import Count, Folder, OfRun, parse, split_run
from .open_run import open_trained

Class = Annotated[str | None, tyro.conf.arg(name="class", metavar="CLASS")]


FPS = 10  # frames a second of an animation


@dataclass(frozen=True)
class Sample(OfRun):
    """What to draw."""

    out: Folder = None  # .png .jpg .webp, .gif (of a walk), .npz (arrays), or a folder of singles
    overwrite: bool = False  # replace what is there, instead of refusing or taking the next number
    count: int = 64  # how many samples
    seed: int = 0  # other seeds give other samples
    single: bool = False  # one PNG a sample, at its own size, instead of a grid
    walk: Count = None  # rows of this many steps, each between two latent vectors
    label: Class = None  # only samples of this class: its name or number; of a stack, such as 3,7
    sweep: Count = None  # a row a sample, along which the code of this number, from 1, changes


@dataclass(frozen=True)
class Drawn:
    """Samples (N, *shape) and their latent vectors z (N, ...), in rows of `columns` if not None.

    `value_range` is that of images, None of points; `labels` (N,) are the classes asked for.
    """

    samples: np.ndarray
    z: np.ndarray
    labels: np.ndarray | None
    columns: int | None
    value_range: tuple[float, float] | None
    headings: Sequence[str] = ()  # of the columns


def main(words: list[str]) -> int:
    path, flags = split_run(words, "sample")
    described = "Draw samples from a run directory."
    given = parse(Sample, flags, verb="sample RUN", description=described)
    if given.count < 1 or (given.walk is not None and given.walk < 2):
        raise UserError("--count must be at least 1, and --walk at least 2")
    if given.walk is not None and given.sweep is not None:
        raise UserError("--walk and --sweep are two kinds of rows; give one of them")
    _check_out(given)
    trained, run = open_trained(path, given.opened(), **given.at())
    recipe, data = trained.recipe, run.data
    if not data.is_image and (given.out is None or given.out.suffix.lower() != ".npz"):
        raise UserError(
            f"{data.name} has no images; its pictures are in {run.samples}, and --out FILE.npz "
            "gives the points"
        )
    z, columns = _latents(given, recipe, Generator(given.seed, "sample"), run)
    labels = None
    if given.label is not None:
        z, labels = _of_class(given.label, z, data, recipe, run)
    bounds = recipe.output_range(data.shape)
    headings = () if given.sweep is None or columns is None else _values(z[:columns])
    _write(given, run.path, Drawn(trained.samples(z), z, labels, columns, bounds, headings))
    return 0


def _check_out(given: Sample) -> None:
    """Make sure that --out can be written as it is named, before anything is drawn.

    Raises:
        UserError: if its suffix names no format or another kind of samples, or it would be
            overwritten.
    """
    from ..viz.formats import ANIMATION, SUFFIXES

    out = given.out
    if out is None:
        return
    suffix = out.suffix.lower()
    if given.single:
        if suffix in SUFFIXES:
            raise UserError(f"--single writes a folder of images, but --out {out} names a file")
        if not given.overwrite and _holds_images(out):
            raise UserError(f"{out} holds images already; add --overwrite, or choose another --out")
        return
    if out.is_dir():
        raise UserError(
            f"--out {out} is a folder; name a file in it, such as {out / 'samples.png'}, or add "
            "--single, which writes one PNG a sample into a folder"
        )
    if suffix not in SUFFIXES and not is_stream(out):
        fault = f"{suffix} is no format that can be written" if suffix else "it names no format"
        raise UserError(
            f"--out {out}: {fault}; there are {', '.join(SUFFIXES)}, and --single writes a folder "
            "of images"
        )
    if suffix == ANIMATION and given.walk is None and given.sweep is None:
        raise UserError(
            f"--out {out}: an animation shows a walk or the values of a code; add --walk 20 or "
            "--sweep 1, or choose .png"
        )
    there = out.is_file() and out.stat().st_size > 0 and not is_stream(out)
    if there and not given.overwrite:
        raise UserError(f"{out} is there already; add --overwrite, or choose another --out")


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


def _values(row: np.ndarray) -> list[str]:
    """The values of the code that changes along a row of latent vectors (m, ...): numbers, or of a
    one-hot code which one it is, from 0.
    """
    flat = row.reshape(len(row), -1)
    changes = flat[:, (flat != flat[0]).any(axis=0)]
    if changes.shape[1] == 1:
        return [f"{value:.2g}" for value in changes[:, 0]]
    return [str(which) for which in changes.argmax(axis=1)]


def _of_class(
    label: str, z: np.ndarray, data: DataFacts, recipe: Recipe, run: Run
) -> tuple[np.ndarray, np.ndarray]:
    """Latent vectors like z that ask for the class whose name or number `label` is, and the number
    for each.
    """
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
    return found, labels


def _between(a: np.ndarray, b: np.ndarray, steps: int) -> np.ndarray:
    """Latent vectors on the straight line from a to b, both included."""
    t = np.linspace(0, 1, steps, dtype=np.float32).reshape(-1, *(1,) * a.ndim)
    return (1 - t) * a + t * b


def _write(given: Sample, run: Path, drawn: Drawn) -> None:
    out = given.out or run / ("singles" if given.single else "sample.png")
    into = not given.single and is_stream(out)
    try:
        if given.single:
            out = _write_singles(given, out, drawn)
        elif given.out is None:
            out = _write_within(out, _content(out, drawn), given.overwrite)
        else:
            Path(os.path.realpath(out)).parent.mkdir(parents=True, exist_ok=True)
            write_named(out, _content(out, drawn))
    except OSError as error:
        raise UserError(
            f"{out} cannot be written ({error.strerror or error}); choose another --out"
        ) from error
    if not into:  # which may be standard output itself
        show(out)


def _content(out: Path, drawn: Drawn) -> bytes:
    """What is drawn, in the format that the suffix of `out` names."""
    from ..viz.formats import ANIMATION, ARRAYS, animation_bytes, array_bytes, picture_bytes
    from ..viz.grid import image_grid, with_headings

    suffix = out.suffix.lower()
    if suffix == ARRAYS:
        labels = {} if drawn.labels is None else {"labels": drawn.labels}
        return array_bytes({"samples": drawn.samples, "z": drawn.z, **labels})
    assert drawn.value_range is not None
    if suffix == ANIMATION:
        assert drawn.columns is not None
        frames = [
            image_grid(drawn.samples[i :: drawn.columns], value_range=drawn.value_range)
            for i in range(drawn.columns)
        ]
        return animation_bytes(frames, fps=FPS)
    picture = image_grid(drawn.samples, value_range=drawn.value_range, columns=drawn.columns)
    if drawn.headings:
        picture = with_headings(picture, drawn.headings)
    return picture_bytes(picture, suffix)


def _write_within(path: Path, content: bytes, overwrite: bool) -> Path:
    """Write a file of the run directory under the first name that holds nothing else; its path."""
    if not overwrite:
        for name in numbered(path):
            if not name.is_file() or name.is_symlink() or name.read_bytes() == content:
                path = name
                break
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
    return path


def _write_singles(given: Sample, folder: Path, drawn: Drawn) -> Path:
    """Write an image a sample; within the run directory into a folder that has none."""
    from ..viz.grid import save_images

    assert drawn.value_range is not None
    if given.out is None and not given.overwrite:
        folder = next(name for name in numbered(folder) if not _holds_images(name))
    save_images(folder, drawn.samples, value_range=drawn.value_range)
    return folder


def _holds_images(folder: Path) -> bool:
    """Whether a folder has images of an earlier draw."""
    return any(path.stem.isdecimal() for path in folder.glob("*.png"))

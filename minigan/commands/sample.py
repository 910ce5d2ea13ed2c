"""`minigan sample`: draw samples from a run directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from ..errors import UserError
from ..random import Generator
from .flags import Count, Folder, parse
from .resume import open_run

Class = Annotated[int | None, tyro.conf.arg(name="class", metavar="INT")]


@dataclass(frozen=True)
class Sample:
    """What to draw."""

    out: Folder = None  # a PNG, or with --single a folder; in the run directory unless given
    count: int = 64  # how many samples
    seed: int = 0  # other seeds give other samples
    single: bool = False  # one PNG a sample, at its own size, instead of a grid
    walk: Count = None  # rows of this many steps, each between two latent vectors
    label: Class = None  # only samples of this class


def main(words: list[str]) -> int:
    if not words or words[0].startswith("-"):
        if "--help" not in words and "-h" not in words:
            raise UserError("minigan sample needs a run directory: minigan sample RUN [flags]")
        words = ["RUN", *words]
    given = parse(
        Sample, words[1:], verb="sample RUN", description="Draw samples from a run directory."
    )
    if given.count < 1 or (given.walk is not None and given.walk < 2):
        raise UserError("--count must be at least 1, and --walk at least 2")
    state, dataset, run = open_run(Path(words[0]))
    if given.label is not None:
        raise UserError(f"{run.config['recipe']} does not know classes; leave out --class")
    if not dataset.is_image:
        raise UserError(f"{dataset.name} has no images; its pictures lie in {run.samples}")
    rng = Generator(given.seed, "sample")
    if given.walk:
        ends = state.recipe.latent(rng, 2 * -(-given.count // given.walk))
        z = np.concatenate(
            [_between(a, b, given.walk) for a, b in zip(ends[::2], ends[1::2], strict=True)]
        )
    else:
        z = state.recipe.latent(rng, given.count)
    _write(given, run.path, state.samples(z), state.recipe.output_range(dataset.shape))
    return 0


def _between(a: np.ndarray, b: np.ndarray, steps: int) -> np.ndarray:
    """Latent vectors on the straight line from a to b, both included."""
    t = np.linspace(0, 1, steps, dtype=np.float32).reshape(-1, *(1,) * a.ndim)
    return (1 - t) * a + t * b


def _write(
    given: Sample, run: Path, images: np.ndarray, value_range: tuple[float, float] | None
) -> None:
    from ..viz.grid import save_grid, save_images

    assert value_range is not None
    out = given.out or run / ("singles" if given.single else "sample.png")
    try:
        if given.single:
            save_images(out, images, value_range=value_range)
        else:
            out.parent.mkdir(parents=True, exist_ok=True)
            save_grid(out, images, value_range=value_range, columns=given.walk)
    except OSError as error:
        raise UserError(
            f"{out} cannot be written ({error.strerror}); choose another --out"
        ) from error
    print(out)

"""`minigan train`: train a GAN."""

from __future__ import annotations

import dataclasses
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..start import Asked, find, prepare
from ..training.recipe import Recipe
from ..training.run import fresh_directory
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


@dataclass(frozen=True)
class Start(Computing, Length):
    """What can be set for every new run."""

    data: str = "glyphs"  # a name from `minigan data list`, or a folder
    size: Count = None  # make images this many pixels high and wide
    stack: int = 1  # put this many images into the channels of each, 1 to 3
    seed: int = 0  # the same seed gives the same bytes
    out: Folder = None  # the run directory; runs/RECIPE-DATA-1 or the next free number
    resume: bool = False  # continue the run in --out: minigan train --resume --help

    def asked(self) -> Asked:
        return Asked(**{f.name: getattr(self, f.name) for f in dataclasses.fields(Asked)})


def main(words: list[str]) -> int:
    if "--resume" in words:
        return resume(words)
    if not words:
        words = ALONE
        say(f"minigan train alone means: minigan train {shlex.join(words)}")
    name, flags = _split(words)
    source = find(name)
    kind = source.kind
    if "-h" in flags or "--help" in flags:
        _parse(name, kind, ["--help"], kind())
    try:
        start, _ = _parse(name, kind, flags, kind())
    except UnknownFlagError as error:
        if flags == words:  # no recipe is named in its place
            check_order(error)
        raise
    except ValueError as error:  # of a recipe's own __post_init__
        raise UserError(f"minigan train {name}: {error}") from error
    # Parsed again, once the data are known: the recipe may have other defaults for them.
    new = prepare(
        source,
        lambda known: _parse(name, kind, flags, kind(**known))[1],
        start.asked(),
        start.opened(),
        say,
    )
    path = start.out or fresh_directory(Path(name).stem, new.dataset.name)
    with new_run(path, new.config(shlex.join(["minigan", "train", *words])), say) as run:
        return run_to_end(new.state, new.dataset, run)


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

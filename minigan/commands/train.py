"""`minigan train`: train a GAN."""

from __future__ import annotations

import dataclasses
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import tyro

from ..data import Reading
from ..errors import UserError
from ..start import Asked, find, prepare
from ..training.recipe import Recipe
from ..training.run import fresh_directory
from ..training.writer import new_run
from .console import say
from .flags import (
    Computing,
    Count,
    File,
    Folder,
    Minutes,
    UnknownFlagError,
    check_order,
    parse,
)
from .like import expanded, without
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
class Start(Computing, Length, Reading):
    """What can be set for every new run."""

    data: str = "glyphs"  # a name from `minigan data list`, a folder, or a file
    size: Count = None  # make images this many pixels high and wide
    stack: int = 1  # put this many images into the channels of each, 1 to 3
    seed: int = 0  # the same seed gives the same bytes
    minutes: Minutes = None  # instead of --steps: as many steps as fit, by a short measurement
    like: Folder = None  # repeat the run in this directory, but for the flags beside it
    config: File = None  # read flags from this JSON or TOML file, or a run's config.json
    out: Folder = None  # the run directory; runs/RECIPE-DATA-1 or the next free number
    resume: bool = False  # continue the run in --out: minigan train --resume --help

    def __post_init__(self) -> None:
        super().__post_init__()
        self.asked()  # so that what no run can be asked is refused with the flags

    def asked(self) -> Asked:
        return Asked(**{f.name: getattr(self, f.name) for f in dataclasses.fields(Asked)})


def main(words: list[str]) -> int:
    if "--resume" in words:
        return resume(words)
    if not words:
        words = ALONE
        say(f"minigan train alone means: minigan train {shlex.join(words)}")
    given = expanded(words)
    words = given.words
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
        raise given.blamed(error) from error
    except UserError as error:
        raise given.blamed(error) from error
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
    if start.minutes is not None:  # the command that makes the same run again
        words = [*without(words, "--minutes")[0], "--steps", str(new.steps)]
    with new_run(path, new.config(shlex.join(["minigan", "train", *words])), say) as run:
        if new.length is not None:
            say(new.length)
        return run_to_end(new.state, new.dataset, run, new.scorer)


def _split(words: list[str]) -> tuple[str, list[str]]:
    """The recipe's name, the default one if there is none, and the flags."""
    if words and not words[0].startswith("-"):
        return words[0], words[1:]
    return DEFAULT, words


def _parse(
    name: str, kind: type[Recipe], flags: list[str], default: Recipe
) -> tuple[Start, Recipe]:
    start = _beside(kind)
    both = dataclasses.make_dataclass(
        "Train",
        [("run", start, field(default=start())), ("recipe", kind, field(default=default))],
        frozen=True,
    )
    if any(word.partition("=")[0] == "--more" for word in flags):
        raise UserError("--more N continues a run: minigan train --resume --out DIR --more N")
    value: Any = parse(both, flags, verb=f"train {name}", description=DESCRIPTION)
    return value.run, value.recipe


def _beside(kind: type[Recipe]) -> type[Start]:
    """Start, whose flags that are fields of a recipe too get another name: --keep, say, --run-keep.

    A recipe of one's own may be older than the flag.
    """
    taken = {f.name for f in dataclasses.fields(kind)} & {f.name for f in dataclasses.fields(Start)}
    if not taken:
        return Start
    hints, default = get_type_hints(Start, include_extras=True), Start()
    renamed: Any = [
        (
            name,
            Annotated[hints[name], tyro.conf.arg(name=f"run-{name.replace('_', '-')}")],
            field(default=getattr(default, name)),
        )
        for name in sorted(taken)
    ]
    return dataclasses.make_dataclass("Start", renamed, bases=(Start,), frozen=True)

"""Flags from the fields of a dataclass."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tyro
from minigan_kernels import compiles

from .. import gans
from ..device import Device, cuda
from ..errors import UserError, nearest
from ..terminal import NARROW, columns
from .console import say, show_page

T = TypeVar("T")
Count = Annotated[int | None, tyro.conf.arg(metavar="INT")]
Place = Literal["cpu", "cuda"]
Precision = Literal["float32", "tf32", "bfloat16"]
Folder = Annotated[Path | None, tyro.conf.arg(metavar="PATH")]
ScoreName = Annotated[str | None, tyro.conf.arg(metavar="SCORE")]
Step = Annotated[str | None, tyro.conf.arg(metavar="N|best")]
PlaceOfData = Annotated[str | None, tyro.conf.arg(metavar="NAME|FOLDER")]
File = Annotated[str | None, tyro.conf.arg(metavar="FILE")]
RecipeFile = File  # of a recipe of one's own
Minutes = Annotated[float | None, tyro.conf.arg(metavar="FLOAT")]


@dataclass(frozen=True)
class Computing:
    """The device of a run, and how it computes."""

    device: Place = "cpu"  # where to compute
    precision: Precision = "float32"  # of products on a GPU; sums and weights are float32
    deterministic: bool = False  # tiles by a rule, not by time: all GPUs of a model agree

    def opened(self) -> Device:
        """The device.

        Raises:
            UserError: if there is none, or it cannot compute in that way.
        """
        if self.device == "cpu" and not compiles():
            say("NUMBA_DISABLE_JIT is set, so the plain NumPy kernels compute, which are slow")
        return cuda.device(self.device, self.precision, deterministic=self.deterministic)


@dataclass(frozen=True)
class OfRun(Computing):
    """What every command on a run takes."""

    recipe: RecipeFile = None  # the file of your own recipe; no file is executed but a named one
    step: Step = None  # the checkpoint of this step, or the best one; the newest unless given
    data: PlaceOfData = None  # where the run's data are now, if they have been moved

    def at(self) -> dict[str, str | None]:
        """What of the run is asked for, as `open_run` and `open_trained` take it."""
        return {"recipe": self.recipe, "step": self.step, "data": self.data}


class UnknownFlagError(UserError):
    """Unknown words, of which the first is a flag or stands where one belongs.

    `value` is the dataclass that the other flags give.
    """

    def __init__(self, words: Sequence[str], value: Any, verb: str) -> None:
        super().__init__(_unknown(words[0], flags_of(value), verb))
        self.words = words
        self.flag = words[0].partition("=")[0].replace("_", "-")
        self.value = value


def parse(
    kind: type[T], words: list[str], *, verb: str, description: str, default: T | None = None
) -> T:
    """The dataclass `kind` with its fields set from the flags in `words`, the others as in
    `default`.

    `--help` prints every flag with the comment beside its field, and exits.

    Raises:
        UserError: for an unknown flag, with the nearest known one, or a value that does not fit.
    """
    page, errors = _HelpPage(), io.StringIO()
    start: dict[str, Any] = {} if default is None else {"default": default}
    try:
        with (
            contextlib.redirect_stdout(page),
            contextlib.redirect_stderr(errors),
            _readable_width(),
        ):
            value, unknown = tyro.cli(
                kind,
                prog=f"minigan {verb}",
                description=description,
                args=words,
                config=(tyro.conf.OmitArgPrefixes,),
                return_unknown_args=True,
                **start,
            )
    except SystemExit as stop:
        if not stop.code:
            show_page(page.getvalue().rstrip("\n"))
            raise
        raise UserError(f"minigan {verb}: {_sentence(errors.getvalue(), words)}") from None
    if unknown:
        raise UnknownFlagError(unknown, value, verb)
    return value


class _HelpPage(io.StringIO):
    """What tyro prints, with colours and boxes as standard output would have them."""

    def __init__(self) -> None:
        super().__init__()
        self._out = sys.stdout

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self._out, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        return self._out is not None and self._out.isatty() and not os.environ.get("NO_COLOR")


@contextlib.contextmanager
def _readable_width() -> Iterator[None]:
    """Within the block tyro finds NARROW columns or more: it hangs where no letter fits a line."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(max(NARROW, columns()))
    try:
        yield
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before


def check_order(error: UnknownFlagError) -> None:
    """Make sure that no recipe is among the words that were not understood.

    Raises:
        UserError: if one is; the message says where it belongs.
    """
    known = gans.names()
    for word in error.words:
        if word.endswith(".py") or gans.canonical(word.lower()) in known:
            raise UserError(
                f"{word} is a recipe, which comes first, before the flags: minigan train {word}"
            ) from error


def split_run(words: Sequence[str], verb: str) -> tuple[Path, list[str]]:
    """The run directory that a command takes first, and its flags.

    Raises:
        UserError: if the first word is a flag.
    """
    if words and not words[0].startswith("-"):
        return Path(words[0]), list(words[1:])
    if "-h" in words or "--help" in words:
        return Path("RUN"), ["--help"]
    raise UserError(
        f"minigan {verb} needs a run directory first, before its flags: minigan {verb} RUN [flags]"
    )


def refuse_words(words: Sequence[str], verb: str, text: str) -> None:
    """Handle the words after a command that takes none but --help, which prints `text`.

    Raises:
        UserError: for any other word.
    """
    if words and words[0] in ("-h", "--help"):
        show_page(f"usage: minigan {verb}\n\n{text}")
        raise SystemExit(0)
    if words:
        raise UserError(f"minigan {verb} takes no {words[0]}; say minigan {verb} alone")


def flags_of(value: Any) -> list[str]:
    """The flags of a dataclass, nested ones without prefix."""
    names = []
    for field in dataclasses.fields(value):
        inner = getattr(value, field.name)
        if dataclasses.is_dataclass(inner):
            names += flags_of(inner)
        else:
            names.append("--" + field.name.replace("_", "-"))
    return names


# What flags are called elsewhere, and how such flags begin here.
_ELSEWHERE = {
    "--batch": "--batch-size",
    "--beta": "--beta1",
    "--cuda": "--device",
    "--dataset": "--data",
    "--epochs": "--steps",
    "--gpu": "--device",
    "--image-size": "--size",
    "--iterations": "--steps",
    "--iters": "--steps",
    "--latent-dim": "--latent-size",
    "--learning-rate": "--lr",
    "--nz": "--latent-size",
    "--output": "--out",
}


def _unknown(word: str, flags: list[str], verb: str) -> str:
    flag = word.split("=")[0].replace("_", "-")
    near = _meant(flag, flags)
    hint = f"did you mean {near}?" if near else f"minigan {verb} --help lists what there is"
    if word.startswith("-"):
        return f"minigan {verb} has no flag {word}; {hint}"
    if Path(word).is_dir():
        return f"minigan {verb} takes one run, and {word} is another; give them one after the other"
    return f"minigan {verb} does not know what to do with {word!r}; {hint}"


def _meant(flag: str, flags: list[str]) -> str | None:
    """The flags that `flag` may have meant: one that is near, or those of each player."""
    here = _ELSEWHERE.get(flag, flag)
    if here in flags:
        return here
    of_players = [name for name in flags if name.startswith(here + "-")]
    if 1 <= len(of_players) <= 3 and here not in ("-", "--"):
        return " or ".join(of_players)
    return nearest(flag, flags)


def _sentence(message: str, words: list[str]) -> str:
    """One sentence for tyro's message about a value: which flag it is, and what it was given."""
    plain = "".join(c if c.isprintable() and c not in "╭╮╰╯│─" else " " for c in message)
    for position, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag.startswith("--") and flag in plain:
            given = value if equals else next(iter(words[position + 1 : position + 2]), "")
            if not given or (given.startswith("--") and not equals):
                return f"{flag} needs a value"
            return f"{flag} does not take {given!r}; --help says what it takes"
    return " ".join(plain.split())

"""`minigan recipes`: the GANs that can be trained, what each is for, and what it takes."""

from __future__ import annotations

import sys
import textwrap

from .. import gans
from ..errors import UserError
from ..terminal import NARROW, columns, visible
from ..training.recipe import Recipe
from .console import show_page
from .flags import refuse_words

PICTURES = "examples/pictures"  # in the repository
INDENT = 10
FOOT = (
    "Minutes are those of the runs in examples/README.md, of images of 28 pixels on two CPU cores "
    "that did other work as well.",
    "minigan train RECIPE trains one; minigan train RECIPE --help explains its own flags.",
)


def main(words: list[str]) -> int:
    refuse_words(words, "recipes", "List the GANs that can be trained.")
    terminal = sys.stdout is not None and sys.stdout.isatty()
    width = max(NARROW, columns()) if terminal else sys.maxsize
    blocks = []
    for name in gans.names():
        try:
            lines = _about(gans.load(name))
        except UserError as error:  # in a file of the user's: the others are still listed
            lines = [str(error)]
        blocks.append(_block(name, [line for line in lines if line], width))
    show_page("\n\n".join(blocks))
    show_page("\n" + "\n".join(textwrap.fill(line, width) for line in FOOT))
    return 0


def _about(kind: type[Recipe]) -> list[str]:
    """What a recipe's file says of it: its purpose, paper, data and length, and its picture."""
    module = (sys.modules[kind.__module__].__doc__ or "").strip().split("\n\n")[0]
    purpose = " ".join(module.partition(":")[2].split() or module.split()).rstrip(".")
    paper = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
    own = vars(kind)  # what it has inherited was measured on another
    minutes = f", at most {own['minutes']:g} minutes" if own.get("minutes") else ""
    on = f"trains on {kind.takes}; " if kind.takes else ""
    picture = f"picture: {PICTURES}/{own['picture']}" if own.get("picture") else ""
    return [purpose, paper, f"{on}{kind.steps:,} steps{minutes}", picture]


def _block(name: str, lines: list[str], width: int) -> str:
    """Lines under each other beside a name, wrapped with an indent."""
    indent = " " * INDENT
    text = [
        textwrap.fill(
            visible(line), width, initial_indent=indent, subsequent_indent=indent,
            break_on_hyphens=False, break_long_words=False,
        )
        for line in lines
    ]  # fmt: skip
    whole = "\n".join(text)
    head = f"{visible(name):{INDENT - 1}} "
    return head + whole[INDENT:] if len(head) == INDENT else f"{visible(name)}\n{whole}"

"""`minigan recipes`: the GANs that can be trained."""

from __future__ import annotations

from .. import gans
from ..errors import UserError
from .console import show_page, show_table
from .flags import refuse_words


def main(words: list[str]) -> int:
    refuse_words(words, "recipes", "List the GANs that can be trained.")
    rows = []
    for name in gans.names():
        try:
            kind = gans.load(name)
        except UserError as error:  # in a file of the user's: the others are still listed
            rows.append((name, "-", str(error)))
            continue
        paper = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
        rows.append((name, str(kind.steps), paper))
    show_table(("recipe", "steps", "paper"), rows)
    show_page("\nminigan train RECIPE --help explains a recipe's own flags")
    return 0

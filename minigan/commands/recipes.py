"""`minigan recipes`: the GANs that can be trained."""

from __future__ import annotations

from .. import gans
from ..errors import UserError
from .table import refuse, show


def main(words: list[str]) -> int:
    refuse(words, "recipes", "List the GANs that can be trained.")
    rows = []
    for name in gans.names():
        try:
            kind = gans.load(name)
        except UserError as error:  # a file of the user's; the others are still worth a look
            rows.append((name, "-", str(error)))
            continue
        paper = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
        rows.append((name, str(kind.steps), paper))
    show(("recipe", "rounds", "paper"), rows)
    print("\nminigan train RECIPE --help explains a recipe's own flags")
    return 0

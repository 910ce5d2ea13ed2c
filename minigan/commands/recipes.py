"""`minigan recipes`: the GANs that can be trained."""

from __future__ import annotations

from .. import gans


def main(words: list[str]) -> int:
    from .table import refuse, show

    refuse(words, "recipes", "List the GANs that can be trained.")
    rows = []
    for name in gans.names():
        kind = gans.load(name)
        paper = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
        rows.append((name, str(kind.steps), paper))
    show(("recipe", "rounds", "paper"), rows)
    print("\nminigan train RECIPE --help explains a recipe's own flags")
    return 0

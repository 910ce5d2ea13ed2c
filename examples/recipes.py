"""Put the table of GANs into the README, from the recipes themselves.

    python examples/recipes.py

A recipe's file begins with the GAN's name and its idea, `"NAME: idea."`; the docstring of its class
begins with the paper: authors, year, title, and a number of arXiv's.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from minigan import gans
from minigan.errors import UserError
from minigan.page_parts import rewrite_part
from minigan.training.recipe import Recipe

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- recipes: written by examples/recipes.py -->", "<!-- end of recipes -->"

IDEA = re.compile(r"(?P<name>[\w-]+): (?P<idea>.+)\.")
PAPER = re.compile(r'(?P<authors>[^"]+) (?P<year>\d{4}), ".+?", arXiv:(?P<arxiv>[\d.]+\d)')


def section() -> str:
    """The text between the marks: a row a recipe, the oldest paper first."""
    folder = Path(gans.__file__).parent  # others may be found in folders of the user's
    rows = [row(name, gans.load(name)) for name in gans.names() if (folder / f"{name}.py").exists()]
    heads = ["| GAN | year | idea | command |", "| --- | --- | --- | --- |"]
    return "\n".join([*heads, *(text for _, text in sorted(rows))])


def row(name: str, kind: type[Recipe]) -> tuple[tuple[str, str], str]:
    """The year and the number on arXiv, which order papers by time, and the line of the table.

    Raises:
        UserError: if one of the two docstrings does not begin as it should.
    """
    module = inspect.getdoc(inspect.getmodule(kind)) or ""
    cited = " ".join((kind.__doc__ or "").split())
    idea, paper = IDEA.match(module.split("\n\n")[0]), PAPER.match(cited)
    if idea is None:
        raise UserError(f'{name}.py should begin with """NAME: idea."""')
    if paper is None:
        raise UserError(
            f'{kind.__name__} should begin with: Authors 2014, "Title", arXiv:1406.2661'
        )
    year, arxiv = paper["year"], paper["arxiv"]
    cells = (
        f"[{idea['name']}](minigan/gans/{name}.py)",
        f"[{year}](https://arxiv.org/abs/{arxiv})",
        idea["idea"],
        f"`minigan train {name}`",
    )
    return (year, arxiv), f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    rewrite_part(README, BEGIN, END, section())

"""`minigan data`: the data sets by name, and fetching them."""

from __future__ import annotations

from ..data import catalogue, load
from ..errors import UserError
from .console import say, show, show_page, show_table

USAGE = """usage: minigan data list          the data sets that --data knows by name
       minigan data fetch NAME    fetch one now, instead of when it is first used"""


def main(words: list[str]) -> int:
    if words == ["list"]:
        rows = []
        for entry in catalogue():
            kind = entry.kind if entry.cached is None else f"in {entry.cached}"
            shape = " x ".join(map(str, entry.shape))
            rows.append((entry.name, kind, shape, f"{entry.count:,}", entry.source, entry.terms))
        show_table(("name", "where", "shape", "samples", "source", "terms"), rows)
        show_page(
            "\n--data takes a folder as well: idx files as MNIST's, or images in class folders"
        )
        return 0
    if len(words) == 2 and words[0] == "fetch":
        dataset = load(words[1], report=say)
        show(f"{dataset.name}: {len(dataset):,} samples of shape {dataset.shape}")
        return 0
    if words and words[0] in ("-h", "--help"):
        show_page(USAGE)
        return 0
    raise UserError("minigan data knows: minigan data list, and minigan data fetch NAME")

"""Pictures in colour: the grids, curves and scores of the runs of examples/runs.toml.

    python examples/runs.py all --where emoji=FOLDER --where cifar10=FOLDER
    python examples/colour.py

Rewrites the part of examples/README.md between the two marks from what is in examples/results/runs,
and draws the kernel distance over the processor's minutes of each table of several runs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from examples.runs import Entry, entries, result_of
from minigan.errors import UserError
from minigan.page_parts import rewrite_part

HERE = Path(__file__).parent
PAGE, PICTURES = HERE / "README.md", HERE / "pictures"
BEGIN, END = "<!-- colour: written by examples/colour.py -->", "<!-- end of colour -->"

TABLES = {
    "first": "Noto's emoji, 64 pixels: dcgan at its defaults",
    "emoji64": "Noto's emoji, 64 pixels, about 20 minutes of two cores each",
    "emoji64-hour": "The same pictures for an hour",
    "emoji128": "Noto's emoji, 128 pixels",
    "cifar10": "CIFAR-10, the 10,000 images of its first batch, 32 pixels",
}
NOTO = (
    "Learned from Noto Emoji by Google, [Apache-2.0](https://www.apache.org/licenses/LICENSE-2.0): "
    "EMOJI is the folder png/72 of github.com/googlefonts/noto-emoji."
)
SCORES = {  # key to the column's name and the format of its numbers
    "kernel": ("kernel distance", ".4f"),
    "precision": ("precision", ".2f"),
    "recall": ("recall", ".2f"),
    "coverage": ("coverage", ".2f"),
    "agreement": ("class agreement", ".2f"),
}

Result = dict[str, Any]


def section(runs: list[Entry]) -> str:
    """The text between the marks, of the runs that have a result."""
    parts = []
    for table, title in TABLES.items():
        found = [result for run in runs if table in run.tables and (result := result_of(run))]
        if found:
            noto = [NOTO] if any("--data emoji" in one["train"] for one in found) else []
            parts += [f"### {title}", *noto, _table(found), *map(_grid, found)]
            if any(len(one["course"]) > 1 for one in found):
                parts.append(f"![kernel distance over processor minutes]({_curves_of(table)})")
    return "\n\n".join(parts)


def _table(found: list[Result]) -> str:
    """A line a run, each score with that of real pictures in brackets."""
    rows = [{score["key"]: score for score in one["scores"]} for one in found]
    keys = [key for key in SCORES if any(key in row for row in rows)]
    head = ["run", "steps", "best at", "processor minutes", *(SCORES[key][0] for key in keys)]
    lines = [head, ["---", *["--:"] * (len(head) - 1)]]
    for one, row in zip(found, rows, strict=True):
        cells = [f"`{one['train'].split()[0]}`", f"{one['steps']:,}", f"{one['scored']:,}"]
        cells.append(f"{one['processor_minutes']:.0f}")
        lines.append(cells + [_number(row.get(key), SCORES[key][1]) for key in keys])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(score: dict[str, Any] | None, kind: str) -> str:
    if score is None or score["value"] is None:
        return "-"
    beside = score.get("baseline")
    return f"{score['value']:{kind}}" + ("" if beside is None else f" ({beside:{kind}})")


def _grid(one: Result) -> str:
    name, command = one["train"].split()[0], one["train"]
    for data in entries()[1]:  # has no name that minigan knows, but a place
        command = command.replace(f"--data {data} ", f"--data {data.upper()} ")
    return (
        f"`minigan train {command}`\n\n"
        f"![pictures that {name} draws after {one['scored']:,} steps]({one['picture']})"
    )


def _curves_of(table: str) -> str:
    return f"pictures/runs/{table}-course.png"


def draw(table: str, title: str, found: list[Result]) -> None:
    """The kernel distance over the processor's minutes, on a logarithmic scale, a line a run."""
    from minigan.viz import style

    figure = style.new_figure(7, 4)
    axes = figure.subplots()
    for one in found:
        rows = [row for row in one["course"] if row["score"] == "kernel" and row["value"] > 0]
        step = np.array([row["step"] for row in rows], float)
        minutes = step * (one["processor_minutes"] / one["steps"])
        values = [row["value"] for row in rows]
        axes.plot(minutes, values, marker="o", markersize=3, label=one["train"].split()[0])
    axes.set_yscale("log")
    axes.legend(frameon=False, fontsize=9)
    style.style_axes(axes, x="processor minutes", y="kernel distance")
    style.heading(axes, title)
    path = HERE / _curves_of(table)
    path.parent.mkdir(parents=True, exist_ok=True)
    style.save_figure(path, figure)


def main() -> None:
    runs, _ = entries()
    for table, title in TABLES.items():
        found = [result for run in runs if table in run.tables and (result := result_of(run))]
        if any(len(one["course"]) > 1 for one in found):
            draw(table, title, found)
    rewrite_part(PAGE, BEGIN, END, section(runs))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))

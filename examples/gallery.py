"""Put runs into the gallery of examples/README.md: their last pictures, and what made them.

    python examples/gallery.py RUN [RUN ...]

Copies the newest sample picture of each run to examples/pictures (the animation, if its samples
are numbers), writes what its config.json and metrics.jsonl say of it to
examples/results/gallery.json, and rewrites the part of the page between the two gallery marks from
that. These runs replace the whole gallery.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from minigan.errors import UserError
from minigan.files import atomic_write
from minigan.page_parts import rewrite_part
from minigan.training.run import Run, repeatable

HERE = Path(__file__).parent
PAGE, RESULTS = HERE / "README.md", HERE / "results" / "gallery.json"
BEGIN, END = "<!-- gallery: written by examples/gallery.py -->", "<!-- end of gallery -->"

Entry = dict[str, Any]


def main(folders: list[str]) -> None:
    if not folders:
        raise UserError("python examples/gallery.py wants the run directories to be shown")
    entries = [entry(Run.open(Path(folder))) for folder in folders]
    with atomic_write(RESULTS) as temporary:
        temporary.write_text(json.dumps(entries, indent=2) + "\n")
    rewrite_part(PAGE, BEGIN, END, section(entries))


def entry(run: Run) -> Entry:
    """What the gallery says of a run; its picture is copied to examples/pictures."""
    config, last = run.config, run.rows()[-1]
    is_line = len(config["data"]["shape"]) == 1
    source = run.samples / "animation.gif" if is_line else run.pictures()[-1]
    picture = f"{config['recipe']}-{config['data']['name']}{source.suffix}"
    shutil.copyfile(source, HERE / "pictures" / picture)
    command = repeatable(config["command"], config["data"]["name"])
    if config.get("resumed"):  # and equals a run that went so far at once
        command = f"{re.sub(r' --steps[ =][0-9]+', '', command)} --steps {last['step']}"
    return {
        "recipe": config["recipe"],
        "data": config["data"]["name"],
        "command": command,
        "picture": picture,
        "steps": last["step"],
        "seed": config["seed"],
        "minutes": round(last["seconds"] / 60, 1),
    }


def section(entries: list[Entry]) -> str:
    """The text between the marks."""
    return "\n".join(
        f"`{one['command']}`\n\n"
        f"![{_shows(one)}](pictures/{one['picture']})\n\n"
        f"Step {one['steps']:,}, seed {one['seed']}, {one['minutes']:.1f} minutes.\n"
        for one in entries
    ).strip()


def _shows(one: Entry) -> str:
    if one["picture"].endswith(".gif"):
        return f"an animation of {one['recipe']} on {one['data']}: densities of data and samples, D"
    return f"images that {one['recipe']} generates after training on {one['data']}"


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))

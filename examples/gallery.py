"""Put runs into the README: their last pictures, and what made them.

    python examples/gallery.py RUN [RUN ...]

Copies the newest sample picture of each run to examples/pictures and rewrites the part of the
README between the two gallery marks from the runs' own config.json and metrics.jsonl.
One-dimensional runs bring their animation.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from minigan.errors import UserError
from minigan.files import rewrite_part
from minigan.training.run import Run, repeatable

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
BEGIN, END = "<!-- gallery: written by examples/gallery.py -->", "<!-- end of gallery -->"


def main(folders: list[str]) -> None:
    if not folders:
        raise UserError("python examples/gallery.py wants the run directories to be shown")
    entries = [_entry(Run.open(Path(folder))) for folder in folders]
    rewrite_part(README, BEGIN, END, "\n".join(entries))


def _entry(run: Run) -> str:
    config, last = run.config, run.rows()[-1]
    source, suffix = run.pictures()[-1], ".png"
    if len(config["data"]["shape"]) == 1:
        source, suffix = run.samples / "animation.gif", ".gif"
    name = f"{config['recipe']}-{config['data']['name']}{suffix}"
    shutil.copyfile(source, HERE / "pictures" / name)
    minutes = last["seconds"] / 60
    command = repeatable(config["command"], config["data"]["name"])
    if config.get("resumed"):  # and equals a run that went so far at once
        command = f"{re.sub(r' --steps[ =][0-9]+', '', command)} --steps {last['step']}"
    return (
        f"`{command}`\n\n"
        f"![{config['recipe']} on {config['data']['name']}](examples/pictures/{name})\n\n"
        f"Round {last['step']:,}, seed {config['seed']}, {minutes:.1f} minutes.\n"
    )


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))

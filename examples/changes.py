"""DCGAN's five changes, each taken back: what they are worth, in a table and a strip of pictures.

    minigan train examples/changed_dcgan.py --data mnist --minutes 10 --score-every 500 --out A
    minigan train examples/changed_dcgan.py --no-batch-norm ... --out B
    python examples/changes.py A B ...

The other flags are --no-strides, --no-all-convolutional, --slope 0 and --no-tanh. The paper's case
for its changes is how images look (Radford et al. 2015, arXiv:1511.06434, section 3). Here all runs
have the same data and the same minutes. Each row has the run's scores in scores.jsonl, and what D
thinks at its end: the means over its last twentieth. Writes examples/results/changes.json,
examples/pictures/changes.png, with a row of samples a run, and a table in examples/README.md.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from minigan.commands.open_run import open_trained
from minigan.errors import UserError
from minigan.files import atomic_write
from minigan.page_parts import rewrite_part
from minigan.random import Generator
from minigan.training.keeper import Scores
from minigan.training.run import Run

HERE = Path(__file__).parent
PAGE, RESULTS = HERE / "README.md", HERE / "results" / "changes.json"
PICTURE, RECIPE = HERE / "pictures" / "changes.png", HERE / "changed_dcgan.py"
BEGIN, END = "<!-- changes: written by examples/changes.py -->", "<!-- end of changes -->"

COLUMNS = 12  # samples in the strip of a run
ROWS: dict[str, dict[str, Any]] = {  # what makes a run one of a row, in the order of the table
    "DCGAN": {},
    "without batch norm": {"batch_norm": False},
    "pooling, upsampling": {"strides": False},
    "dense hidden layers": {"all_convolutional": False},
    "ReLU in D": {"slope": 0.0},
    "sigmoid at the output": {"tanh": False},
}
UNCHANGED = {"batch_norm": True, "strides": True, "all_convolutional": True, "tanh": True,
             "slope": 0.2}  # fmt: skip


def row_of(run: Run) -> str:
    """The row that a run belongs to.

    Raises:
        UserError: if it is of another recipe, or has taken back several changes.
    """
    fields = run.config["hyper_parameters"]
    if Path(run.config["recipe"]).name != RECIPE.name:
        raise UserError(f"{run.path} is no run of {RECIPE.name}; train one with minigan train")
    mine = {key: fields[key] for key, value in UNCHANGED.items() if fields[key] != value}
    for name, changed in ROWS.items():
        if mine == changed:
            return name
    raise UserError(f"{run.path} differs from DCGAN in {', '.join(mine)}; one change is a row")


def read(run: Run) -> dict[str, Any]:
    """What the table says of a run.

    Raises:
        UserError: if it has no scores.
    """
    rows, scored = run.rows(), Scores(run).rows()
    if not (rows and scored):
        raise UserError(f"{run.path} has no scores.jsonl; train with --score-every")
    name = scored[-1]["score"]
    values = [row["value"] for row in scored if row["score"] == name]
    last = rows[-max(1, len(rows) // 20) :]
    means = {key: float(np.mean([row[key] for row in last])) for key in ("D(x)", "D(G(z))")}
    return {
        "row": row_of(run),
        "data": run.config["data"]["name"],
        "seed": run.config["seed"],
        "steps": rows[-1]["step"],
        "minutes": round(rows[-1]["seconds"] / 60, 1),
        "score": name,
        "last": values[-1],
        "best": (max if scored[-1]["higher_is_better"] else min)(values),
        **means,
    }


def strip(run: Run) -> tuple[np.ndarray, tuple[float, float]]:
    """Samples of the run's newest checkpoint, and their range; the same latent vectors for all."""
    trained, _ = open_trained(run.path, recipe=str(RECIPE))
    bounds = trained.recipe.output_range(run.data.shape)
    assert bounds is not None
    return trained.samples(trained.recipe.latent(Generator(0, "changes"), COLUMNS)), bounds


def section(found: list[dict[str, Any]]) -> str:
    """The table in examples/README.md, and the picture."""
    if not found:
        return "No run has been compared yet."
    one = found[0]
    lines = [
        f"Scores are {one['score']}, on {one['data']}; the picture has a row of samples for each "
        "run, in the same order.",
        "",
        "| | steps | minutes | score at the end | best | D(x) | D(G(z)) | seed |",
        "| --- | --: | --: | --: | --: | --: | --: | --: |",
    ]
    lines += [
        f"| {r['row']} | {r['steps']:,} | {r['minutes']:.1f} | {r['last']:.3g} | {r['best']:.3g} "
        f"| {r['D(x)']:.2f} | {r['D(G(z))']:.2f} | {r['seed']} |"
        for r in found
    ]
    names = ", ".join(r["row"] for r in found)
    return "\n".join([*lines, "", f"![samples in rows: {names}](pictures/{PICTURE.name})"])


def main(folders: list[str]) -> None:
    if not folders:
        raise UserError(f"python examples/changes.py wants run directories of {RECIPE.name}")
    runs = [Run.open(Path(folder)) for folder in folders]
    runs.sort(key=lambda run: ([*ROWS].index(row_of(run)), run.config["seed"]))
    found = [read(run) for run in runs]
    for key in ("data", "score"):
        if len(kinds := {r[key] for r in found}) > 1:
            raise UserError(f"the runs differ in their {key}: {', '.join(sorted(kinds))}")
    draw(runs)
    RESULTS.parent.mkdir(exist_ok=True)
    with atomic_write(RESULTS) as temporary:
        temporary.write_text(json.dumps(found, indent=2) + "\n")
    rewrite_part(PAGE, BEGIN, END, section(found))


def draw(runs: list[Run]) -> None:
    from minigan.viz.grid import save_grid

    rows = []
    for run in runs:
        samples, (low, high) = strip(run)
        rows.append((samples - low) / (high - low))
    PICTURE.parent.mkdir(exist_ok=True)
    save_grid(PICTURE, np.concatenate(rows), value_range=(0, 1), columns=COLUMNS)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))

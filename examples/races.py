"""Which learns faster: the scores of several runs over their minutes of training.

    minigan train dcgan --data mnist --minutes 10 --score-every 500 --out A
    minigan train wgan --data mnist --minutes 10 --score-every 100 --out B
    python examples/races.py mnist A B [RUN ...]

The first word names the race: for "WGAN may be faster and better" runs of dcgan, wgan and wgan_gp,
and for "with Adam the critic breaks down" (Arjovsky et al. 2017, arXiv:1701.07875, section 4.2)
runs of wgan with each --optimizer. Runs that differ in nothing but the seed share a colour and a
line of the table, which has their mean and its standard error.

Beside the score stand how sharp samples are, and of recipes with a likelihood bound, such as vae,
its value on test images. Sharpness is the mean square of the Laplacian of images with pixels in
[0, 1] (as in Tolstikhin et al. 2017, arXiv:1711.01558, section 4), divided by that of real images.

Writes examples/results/race-NAME.json, examples/pictures/race-NAME.png, and all races to
examples/README.md.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

from minigan.commands.open_run import open_run
from minigan.data import Dataset, NoSplitError, load
from minigan.errors import UserError
from minigan.files import atomic_write
from minigan.page_parts import rewrite_part
from minigan.random import Generator
from minigan.tensor import Tensor
from minigan.training.keeper import Scores
from minigan.training.recipe import Players, defaults
from minigan.training.run import Run
from minigan.training.state import State

HERE = Path(__file__).parent
PAGE = HERE / "README.md"
BEGIN, END = "<!-- races: written by examples/races.py -->", "<!-- end of races -->"

IMAGES = 1000  # samples, and real images, whose sharpness is compared
NAME = re.compile(r"[a-z0-9-]+")

Result = dict[str, Any]


def read(folder: Path) -> Result:
    """What a race says of a run: its score over the minutes, and how sharp its samples are.

    Raises:
        UserError: if it has no scores.
    """
    recipe = Run.open(folder).config["recipe"]
    state, dataset, run = open_run(folder, recipe=recipe if recipe.endswith(".py") else None)
    scored, rows = Scores(run).rows(), run.rows()
    if not scored:
        raise UserError(f"{folder} has no scores.jsonl; train with --score-every")
    name = scored[-1]["score"]
    minutes = {row["step"]: row["seconds"] / 60 for row in rows}
    points = [
        [round(minutes[row["step"]], 3), row["value"]]
        for row in scored
        if row["score"] == name and row["step"] in minutes
    ]
    return {
        "title": title(Path(recipe).stem, state, dataset),
        "data": dataset.name,
        "seed": run.config["seed"],
        "steps": rows[-1]["step"],
        "minutes": round(rows[-1]["seconds"] / 60, 2),
        "score": name,
        "higher_is_better": scored[-1]["higher_is_better"],
        "points": points,
        "sharpness": relative_sharpness(state, dataset.x[:IMAGES]),
        "bound": bound(state, run),
    }


def title(name: str, state: State, dataset: Dataset) -> str:
    """The recipe's name, and the fields in which it differs from its defaults for these data."""
    kind = type(state.recipe)
    plain = kind(**defaults(kind, dataset))
    changed = [
        f"{key.replace('_', ' ')} {value}"
        for key, value in vars(state.recipe).items()
        if value != getattr(plain, key)
    ]
    return ", ".join([name, *changed])


def sharpness(images: np.ndarray) -> float:
    """The mean square of the Laplacian of images (N, C, H, W) with pixels in [0, 1]."""
    around = images[..., :-2, 1:-1] + images[..., 2:, 1:-1]
    around = around + images[..., 1:-1, :-2] + images[..., 1:-1, 2:]
    return float(np.square(around - 4 * images[..., 1:-1, 1:-1], dtype=float).mean())


def relative_sharpness(state: State, real: np.ndarray) -> float | None:
    """That of samples by that of real images, uint8; None of points."""
    bounds = state.recipe.output_range(real.shape[1:])
    if bounds is None:
        return None
    low, high = bounds
    samples = state.samples(state.recipe.latent(Generator(0, "races"), IMAGES))
    ratio = sharpness((samples - low) / (high - low)) / sharpness(real / np.float32(255))
    return float(f"{ratio:.3g}")


def bound(state: State, run: Run) -> float | None:
    """The mean likelihood bound of test images, in nats; None if there is no such thing."""
    data, ask = run.config["data"], getattr(state.recipe, "bound", None)
    if ask is None:
        return None
    try:
        test = load(data["source"], size=data["size"], seed=run.config["seed"], split="test")
    except NoSplitError:
        return None
    low, high = state.recipe.output_range(test.shape) or (0.0, 1.0)
    x = (low + test.x[:IMAGES] * np.float32((high - low) / 255)).astype(np.float32)
    rng = Generator(0, "bound")

    def each(players: Players, batch: Any) -> Any:
        likelihood, kl = ask(players, Tensor(batch), Tensor(state.recipe.latent(rng, len(batch))))
        return (likelihood - kl).data

    found = state.ask(each, x)
    assert found is not None
    return round(float(found.mean(dtype=float)), 1)


def groups(runs: list[Result]) -> dict[str, list[Result]]:
    """Runs that differ in nothing but the seed, by their title."""
    found: dict[str, list[Result]] = {}
    for run in runs:
        found.setdefault(run["title"], []).append(run)
    return found


def draw(path: Path, runs: list[Result]) -> None:
    from minigan.viz import style

    colours = (style.FAKE, style.DISCRIMINATOR, style.OPTIMUM, *style.OTHERS)
    figure = style.new_figure(8, 4.2)
    axes = figure.subplots()
    for i, (name, members) in enumerate(groups(runs).items()):
        for j, run in enumerate(members):
            x, y = np.array(run["points"], float).reshape(-1, 2).T
            options = {"color": colours[i % len(colours)], "lw": 1.4, "marker": "o"}
            axes.plot(x, y, **options, markersize=3, label=None if j else style.label(name))
    if min(value for run in runs for _, value in run["points"]) > 0:
        axes.set_yscale("log")
    axes.set_xlim(left=0)
    way = "higher" if runs[0]["higher_is_better"] else "lower"
    style.style_axes(
        axes, x="minutes of training", y=f"{style.label(runs[0]['score'])}, {way} is better"
    )
    style.heading(axes, style.label(runs[0]["data"]))
    axes.legend(frameon=False, fontsize=9, loc="upper right")
    path.parent.mkdir(exist_ok=True)
    style.save_figure(path, figure)


def section() -> str:
    """The tables and pictures in examples/README.md, of all results."""
    found = sorted((HERE / "results").glob("race-*.json"))
    parts = [table(path.stem, json.loads(path.read_text())) for path in found]
    return "\n\n".join(parts) or "No race has been run yet."


def table(name: str, runs: list[Result]) -> str:
    lines = [
        f"Score: {runs[0]['score']}, on {runs[0]['data']}.",
        "",
        "| | steps | minutes | score at the end | best | sharpness | bound | seeds |",
        "| --- | --: | --: | --: | --: | --: | --: | --- |",
    ]
    best = max if runs[0]["higher_is_better"] else min
    for title, members in groups(runs).items():
        cells = [
            title,
            f"{np.mean([run['steps'] for run in members]):,.0f}",
            f"{np.mean([run['minutes'] for run in members]):.1f}",
            _mean([run["points"][-1][1] for run in members]),
            _mean([best(value for _, value in run["points"]) for run in members]),
            _mean([run["sharpness"] for run in members]),
            _mean([run["bound"] for run in members]),
            ", ".join(str(run["seed"]) for run in members),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    names = ", ".join(groups(runs))
    return "\n".join([*lines, "", f"![the scores of {names} over minutes](pictures/{name}.png)"])


def _mean(values: list[float | None]) -> str:
    """The mean over the seeds, and of several its standard error; a dash if one is missing."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "-"
    error = f" ± {np.std(known, ddof=1) / len(known) ** 0.5:.2g}" if len(known) > 1 else ""
    return f"{np.mean(known):.4g}{error}"


def main(name: str, folders: list[str]) -> None:
    if not NAME.fullmatch(name) or not folders:
        raise UserError("python examples/races.py wants a name, such as mnist, and run directories")
    runs = [read(Path(folder)) for folder in folders]
    for key in ("data", "score"):
        if len(kinds := {run[key] for run in runs}) > 1:
            raise UserError(f"the runs differ in their {key}: {', '.join(sorted(kinds))}")
    results = HERE / "results" / f"race-{name}.json"
    results.parent.mkdir(exist_ok=True)
    with atomic_write(results) as temporary:
        temporary.write_text("[\n" + ",\n".join(map(json.dumps, runs)) + "\n]\n")
    draw(HERE / "pictures" / f"race-{name}.png", runs)
    rewrite_part(PAGE, BEGIN, END, section())


if __name__ == "__main__":
    try:
        main(sys.argv[1] if sys.argv[1:] else "", sys.argv[2:])
    except UserError as error:
        sys.exit(str(error))

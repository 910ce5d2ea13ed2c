"""Mode collapse, measured: six GANs on the ring of 8 and the grid of 25 Gaussians.

    python examples/modes.py [--seeds 3] [--best pacgan:10] [--only NAME] [--readme]

Each run makes the same number of updates of D on batches of the same size, and is scored by the
protocol of PacGAN (Lin et al. 2018, arXiv:1712.04086, section 4.1): 2,500 generated points, modes
covered, share of high quality, reverse KL. After each run examples/results/modes.json is written;
what is in it is not run again, unless it was made with other settings: then it is neither shown nor
kept. `--draw` shows the points of the first seed.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from minigan import gans
from minigan.data import Dataset, load
from minigan.files import atomic_write
from minigan.metrics.modes import POINTS, mode_scores
from minigan.page_parts import rewrite_part
from minigan.random import Generator
from minigan.training.recipe import Recipe
from minigan.training.state import State

HERE = Path(__file__).parent
RESULTS, PICTURE = HERE / "results" / "modes.json", HERE / "pictures" / "modes.png"
PAGE = HERE / "README.md"
BEGIN, END = "<!-- modes: written by examples/modes.py -->", "<!-- end of modes -->"

BATCH, UPDATES = 256, 3000  # of D, in every run; PacGAN's are packs of two
DATA = ("ring", "grid")
# Networks: G 2-128-128-128-2 with batch norm and ReLU, D 2-128-128-128-1 with ReLU. PacGAN's G has
# tanh units and no batch norm, its D an R1 penalty, and both are 192 wide for packs of two; gan has
# a G 2-128-128-2 with ReLU, and a D with two layers of 64 maxout units of 5 pieces.
# R1's weight is a square of lengths, so on the ring, a quarter as wide, it is a sixteenth.
FALLING = {"lr_steps": UPDATES}
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "gan": ("gan", {"hidden": 128, "units": 64}),
    "pacgan-1": ("pacgan", {"packing": 1, "hidden": 128, "r1": 0.1, "beta2": 0.99, **FALLING}),
    "pacgan, no R1": ("pacgan", {"batch_size": 2 * BATCH, "r1": 0.0, **FALLING}),
    "lsgan": ("lsgan", FALLING),
    "wgan": ("wgan", {}),
    "wgan_gp": ("wgan_gp", FALLING),
    "sngan": ("sngan", FALLING),
    "pacgan": ("pacgan", {"batch_size": 2 * BATCH, "r1": 0.05, **FALLING}),
}


def run(row: str, data: str, seed: int) -> dict[str, Any]:
    """Train one row on one data set and score it."""
    dataset = load(data, seed=seed)
    recipe = recipe_of(row, dataset)
    rounds = UPDATES // getattr(recipe, "n_critic", 1)
    state = State.fresh(recipe, dataset, seed)
    began = time.process_time()
    for _ in range(rounds):
        state.advance()
    seconds = round(time.process_time() - began, 1)
    x = points(state, POINTS, seed)
    assert dataset.mixture is not None
    found: dict[str, Any] = {"row": row, "data": data, "seed": seed, "updates": UPDATES}
    found |= {"seconds": seconds, "hyper_parameters": asdict(recipe)}
    scores = asdict(mode_scores(x, dataset.mixture))
    if not np.isfinite(scores["reverse_kl"]):  # no mode at all; JSON has no infinity
        scores["reverse_kl"] = None
    found |= scores
    return found | {"points": np.round(x[:300], 3).tolist() if seed == 0 else None}


def recipe_of(row: str, dataset: Dataset) -> Recipe:
    """The recipe of a row, with its settings for a data set."""
    name, fields = ROWS[row]
    if dataset.name == "ring" and "r1" in fields:
        fields = fields | {"r1": fields["r1"] / 16}
    kind = gans.load(name)
    default = kind.defaults(dataset.shape, classes=len(dataset.classes), samples=len(dataset))
    return kind(**(default | {"batch_size": BATCH} | fields))


def current(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those results that a run with the settings of today would give again; a setting that there
    was none of when a result was made is taken to have been the recipe's default, as in a resume.
    """
    data = {name: load(name) for name in DATA}
    settings = {(row, name): asdict(recipe_of(row, data[name])) for row in ROWS for name in DATA}

    def same(result: dict[str, Any]) -> bool:
        key = result["row"], result["data"]
        if key not in settings or result["updates"] != UPDATES:
            return False
        default = asdict(gans.load(ROWS[key[0]][0])())
        return default | result["hyper_parameters"] == settings[key]

    return [result for result in results if same(result)]


def points(state: State, count: int, seed: int) -> np.ndarray:
    """Generated points (count, 2) of latent vectors that training has not seen."""
    return state.samples(state.recipe.latent(Generator(seed, "modes"), count))


def table(results: list[dict[str, Any]]) -> str:
    """Mean and standard error over the seeds of each row, as Markdown."""
    lines = [
        "| | ring of 8 | HQ % | reverse KL | grid of 25 | HQ % | reverse KL | seeds | minutes |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        cells, seeds, seconds = [row], [], []
        for data in DATA:
            runs = [r for r in results if (r["row"], r["data"]) == (row, data)]
            seeds.append(str(len(runs)))
            seconds += [r["seconds"] for r in runs]
            for key, scale, digits in (("covered", 1, 1), ("high_quality", 100, 1)):
                cells.append(_mean([scale * r[key] for r in runs], digits))
            cells.append(
                _mean([np.inf if (kl := r["reverse_kl"]) is None else kl for r in runs], 3)
            )
        minutes = f"{np.mean(seconds) / 60:.1f}" if seconds else "-"
        lines.append(f"| {' | '.join([*cells, ' / '.join(seeds), minutes])} |")
    return "\n".join(lines)


def _mean(values: list[float], digits: int) -> str:
    if not values:
        return "-"
    if len(values) == 1 or not np.isfinite(values).all():  # there is no error to show
        return f"{np.mean(values):.{digits}f}"
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{np.mean(values):.{digits}f}±{error:.{digits}f}"


def draw(results: list[dict[str, Any]]) -> None:
    """The points of seed 0: a row of panels for each data set, real modes as crosses; of the rows
    that have a run of that seed.
    """
    from minigan.viz.style import FAKE, REAL, heading, new_figure, save_figure, style_axes

    first = [r for r in results if r["seed"] == 0]
    rows = [row for row in ROWS if any(r["row"] == row for r in first)]
    figure = new_figure(2.1 * len(rows), 4.6)
    panels = figure.subplots(len(DATA), len(rows), squeeze=False)
    for line, data in zip(panels, DATA, strict=True):
        means = _mixture_of(load(data)).means
        for axes, row in zip(line, rows, strict=True):
            style_axes(axes, grid=None)
            heading(axes, f"{row}, {data}")
            axes.set_aspect("equal")
            axes.plot(*means.T, "+", color=REAL, markersize=5, alpha=0.5)
            for r in (r for r in first if (r["row"], r["data"]) == (row, data)):
                axes.plot(*np.array(r["points"]).T, ".", color=FAKE, markersize=2)
            reach = 1.3 * np.abs(means).max()
            axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
    PICTURE.parent.mkdir(exist_ok=True)
    save_figure(PICTURE, figure)


def _mixture_of(dataset: Dataset) -> Any:
    assert dataset.mixture is not None
    return dataset.mixture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ... of every row")
    parser.add_argument("--best", default="pacgan:10", help="ROW:SEEDS, a row with more seeds")
    parser.add_argument("--only", choices=ROWS, help="run this row alone")
    parser.add_argument("--data", choices=DATA, help="run this data set alone")
    parser.add_argument("--minutes", type=float, default=1e9, help="start no run after this time")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the JSON to continue")
    parser.add_argument("--draw", action="store_true", help="draw examples/pictures/modes.png")
    parser.add_argument(
        "--readme", action="store_true", help="put the table into examples/README.md"
    )
    given = parser.parse_args()
    best, _, most = given.best.partition(":")
    stored = json.loads(given.results.read_text()) if given.results.exists() else []
    results = current(stored)
    if len(results) < len(stored):
        print(f"{len(stored) - len(results)} results are of other settings, and do not count")
    done = {(r["row"], r["data"], r["seed"]) for r in results}
    began = time.monotonic()
    for row in [given.only] if given.only else ROWS:
        for data in [given.data] if given.data else DATA:
            for seed in range(int(most) if row == best else given.seeds):
                if (row, data, seed) in done or time.monotonic() - began > 60 * given.minutes:
                    continue
                results.append(found := run(row, data, seed))
                print({k: v for k, v in found.items() if k not in ("points", "hyper_parameters")})
                given.results.parent.mkdir(exist_ok=True)
                with atomic_write(given.results) as temporary:
                    lines = ",\n".join(json.dumps(r) for r in results)
                    temporary.write_text(f"[\n{lines}\n]\n")
    print(table(results))
    if given.draw:
        draw(results)
    if given.readme:
        rewrite_part(PAGE, BEGIN, END, table(results))


if __name__ == "__main__":
    main()

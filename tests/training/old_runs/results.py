"""What a run directory gives: measured once when the run was kept, and by every later revision.

Only what users rely on is used here: the command line, the files of a run directory, and the
methods of a recipe. The modules behind them may move.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors import safe_open

from minigan import gans
from minigan.cli import main
from minigan.random import Generator
from minigan.tensor import no_grad

HERE = Path(__file__).parent
RUNS = HERE / "runs"
RECIPES = HERE / "recipes"  # the value of MINIGAN_RECIPES for all of these runs

Arrays = dict[str, np.ndarray]

KEPT = 16  # values of each array that stand for it
SAMPLES = 4  # that are kept as numbers
PICTURED = 4  # that are kept as pixels
MORE = "2"  # steps by which a run is continued
SCORED = ["--count", "300", "--encoded", "20"]


def command(*words: str | Path) -> None:
    """Run a command that must succeed."""
    code = main([str(word) for word in words])
    assert code == 0, f"minigan {' '.join(map(str, words))} ended with {code}"


def config_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "config.json").read_text())


def newest(run: Path) -> Path:
    return max((run / "checkpoints").glob("step-*.safetensors"))


def arrays_of(checkpoint: Path) -> Arrays:
    with safe_open(checkpoint, "numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def thinned(array: np.ndarray, count: int = KEPT) -> np.ndarray:
    """At most `count` values of an array, evenly spread."""
    flat = array.reshape(-1)
    return flat[np.unique(np.linspace(0, len(flat) - 1, count).astype(int))] if len(flat) else flat


def copied(run: Path, to: Path) -> Path:
    """A copy of a run, with the empty folders that git does not keep."""
    shutil.copytree(run, to)
    (to / "checkpoints").mkdir(exist_ok=True)
    return to


def generated(run: Path) -> np.ndarray:
    """Values of a few samples, at most 128 of each, from G as the newest checkpoint left it."""
    config = config_of(run)
    recipe = gans.load(config["recipe"])(**config["hyper_parameters"])
    players = recipe.players(Generator(0, "players"), tuple(config["data"]["shape"]))
    players |= getattr(recipe, "copies", lambda players: {})(players)  # new since these runs
    arrays = arrays_of(newest(run))
    for name, player in players.items():
        prefix = f"players/{name}/"
        player.load_state(
            {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}
        )
        player.eval()
    with no_grad():
        # When these runs were made, `generate` itself took the average.
        shown = getattr(recipe, "shown", lambda players: players)(players)
        made = recipe.generate(shown, recipe.latent(Generator(1, "old runs"), SAMPLES))
    return np.stack([thinned(sample, 128) for sample in made.numpy()])


def pictured(run: Path, picture: Path) -> np.ndarray:
    """The pixels that `minigan sample` draws into the file `picture`."""
    command("sample", run, "--count", str(PICTURED), "--seed", "1", "--out", picture)
    with Image.open(picture) as image:
        return np.array(image)


def scored(run: Path) -> list[dict[str, Any]]:
    """The scores of `minigan evaluate`."""
    command("evaluate", run, *SCORED, "--seed", "1")
    return json.loads((run / "scores.json").read_text())["scores"]


def continued(run: Path, *how_far: str) -> tuple[Arrays, list[dict[str, Any]]]:
    """A few values of each array, and the losses of all steps, after the run is continued."""
    recipe = config_of(run)["recipe"]
    named = ["--recipe", recipe] if recipe.endswith(".py") else []  # no other file is executed
    command("train", "--resume", "--out", run, *how_far, *named)
    return thinned_state(run), rows_of(run)


def thinned_state(run: Path) -> Arrays:
    return {name: thinned(array) for name, array in arrays_of(newest(run)).items()}


def rows_of(run: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl, without the seconds."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]

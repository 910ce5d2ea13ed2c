"""Tiny recipes, data and runs that several test files share."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minigan import gans
from minigan.cli import main
from minigan.data import Dataset
from minigan.device import HOST, Device
from minigan.tensor import Tensor
from minigan.training.device_batches import DeviceBatches
from minigan.training.recipe import Recipe
from minigan.training.state import State

SMALL = {
    "width": 4, "hidden": 8, "units": 6, "latent_size": 5, "batch_size": 4, "labels": 10,
    "encoding_steps": 2,
}  # fmt: skip

# A GAN on images of 8 x 8 pixels: a whole run of a few steps takes well under a second.
FLAGS = ["--hidden", "8", "--units", "6", "--latent-size", "5", "--batch-size", "4"]

COMMAND = [sys.executable, "-c", "import sys; from minigan.cli import main; sys.exit(main())"]

FAILING = '''
from dataclasses import dataclass

from minigan import Tensor, log, nn
from minigan.optim import SGD
from minigan.recipe import Recipe


@dataclass(frozen=True)
class Failing(Recipe):
    """A recipe whose loss of G is undefined in its third step."""

    batch_size: int = 4  # samples in a batch

    def output_range(self, shape):
        return 0.0, 1.0

    def players(self, rng, shape):
        n = shape[0] * shape[1] * shape[2]
        G = nn.Sequential(nn.Linear(2, n, rng=rng, activation=nn.Sigmoid()), nn.Reshape(*shape))
        return {"G": G, "D": nn.Sequential(nn.Flatten(), nn.Linear(n, 1, rng=rng))}

    def optimizers(self, players):
        return {name: SGD(p.parameters(), 1e-3) for name, p in players.items()}

    def round(self, players, batches, rng, step):
        yield "D", (players["D"](next(batches)) ** 2).mean(), {}
        made = players["D"](players["G"](Tensor(self.latent(rng, 4))))
        sign = -1.0 if step == 2 else 1.0
        yield "G", log(sign * (made * made + 1.0)).mean(), {}

    def latent(self, rng, n):
        return rng.normal((n, 2))
'''


def images(shape: tuple[int, ...] = (1, 28, 28), count: int = 24) -> Dataset:
    """Noise of two classes."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (count, *shape), np.uint8)
    return Dataset("noise", x, np.arange(count, dtype=np.int64) % 2, ("even", "odd"))


def points(dimensions: int, count: int = 24) -> Dataset:
    x = np.random.default_rng(0).standard_normal((count, dimensions)).astype(np.float32)
    return Dataset("cloud", x)


def recipe(name: str, **fields: Any) -> Recipe:
    """The recipe with small networks, and `fields` as given."""
    kind = gans.load(name)
    known = kind.__dataclass_fields__
    return kind(**{k: v for k, v in SMALL.items() if k in known} | fields)


def state(
    name: str,
    dataset: Dataset | None = None,
    *,
    seed: int = 0,
    device: Device = HOST,
    **fields: Any,
) -> State:
    return State.fresh(recipe(name, **fields), dataset or images(), seed, device)


def updates(state: State) -> Iterator[tuple[str, Tensor, dict[str, float]]]:
    """The updates of one step, none of them applied."""
    feed = DeviceBatches(state.batches)
    for name, loss, extras in state.recipe.round(state.players, feed, state.rng, state.step):
        yield name, loss, {key: float(value) for key, value in extras.items()}


def write_idx(folder: Path, count: int = 12, side: int = 8) -> Path:
    """A folder in MNIST's format with noise of ten classes."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (count, side, side), np.uint8)
    labels = (np.arange(count) % 10).astype(np.uint8)
    for kind, array in (("images", pixels), ("labels", labels)):
        head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
        path = folder / f"train-{kind}-idx{array.ndim}-ubyte"
        path.write_bytes(head + array.tobytes())
    return folder


def rows(count: int) -> list[dict[str, Any]]:
    """Metrics of so many steps."""
    rng = np.random.default_rng(0)
    return [
        {
            "step": 10 * (i + 1),
            "seconds": 0.1 * i,
            "loss_D": 1.0 + 0.1 * rng.normal(),
            "loss_G": 0.7 + 0.1 * rng.normal(),
            "D(x)": 0.6,
            "D(G(z))": 0.4,
        }
        for i in range(count)
    ]


def tree(folder: Path) -> dict[str, str]:
    """Every path below `folder`, hidden ones too, and a digest of every file."""
    found = {}
    for path in sorted(folder.rglob("*")):
        key = str(path.relative_to(folder))
        found[key] = sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
    return found


@dataclass
class Answer:
    """What a command gave back."""

    code: int
    out: str
    err: str


class Shell:
    """The command line, in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *words: str | Path) -> Answer:
        self.capsys.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Answer(code, *self.capsys.readouterr())

    def succeeds(self, *words: str | Path) -> Answer:
        answer = self(*words)
        assert answer.code == 0, answer.err
        return answer

    def refuses(self, *words: str | Path, says: tuple[str, ...] = (), code: int = 2) -> str:
        """The one sentence with which a command is refused; it must contain all of `says`."""
        answer = self(*words)
        assert answer.code == code, (answer.code, answer.err)
        assert "Traceback" not in answer.err
        lines = answer.err.splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith("minigan: ")
        for part in says:
            assert part in lines[0], (part, lines[0])
        return lines[0]


def one_sentence(error: Exception, *says: str) -> None:
    """Assert that an error is one sentence with any of `says`."""
    text = str(error)
    assert "\n" not in text
    assert not says or any(part in text for part in says), text


def same_but_for_time(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> bool:
    """Whether the rows of two runs are equal apart from the seconds."""
    strip = [[{k: v for k, v in row.items() if k != "seconds"} for row in rows] for rows in (a, b)]
    return strip[0] == strip[1]


def environment(**variables: str) -> dict[str, str]:
    """This process's environment, with `variables` and without colours."""
    return {**os.environ, "NO_COLOR": "1", **variables}


def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on training draws nothing, which takes most of a short run's time."""
    for name in ("draw_data", "draw_samples", "draw_progress"):
        monkeypatch.setattr(f"minigan.training.loop.{name}", lambda *args, **options: None)

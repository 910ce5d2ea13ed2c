"""Fuzzing cases of a run directory: what is read of it, with one of its files changed."""

from __future__ import annotations

import functools
import io
import json
import random
import shutil
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import tiny
from fuzz import mutated, mutated_json, mutated_json_lines

from minigan import weights
from minigan.cli import main
from minigan.commands.open_run import open_run, open_trained
from minigan.errors import RunError
from minigan.training import checkpoint
from minigan.training.run import Run
from minigan.training.snapshots import draw_progress, record
from minigan.viz.report import write_report
from minigan.weights.facts import checksum

Reader = Callable[[], object]


@functools.cache
def whole() -> Path:
    """A run of two steps, and beside it its data."""
    folder = Path(tempfile.mkdtemp(prefix="run-readers-"))
    data = tiny.write_idx(folder / "digits")
    words = ["train", "gan", *tiny.FLAGS, "--data", str(data), "--steps", "2", "--init-g", "1"]
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        assert main([*words, "--out", str(folder / "run")]) == 0
        assert main(["train", "--resume", "--out", str(folder / "run"), "--more", "1"]) == 0
    return folder / "run"


def copied(folder: Path) -> Path:
    return Path(shutil.copytree(whole(), folder / "run"))


def everything(run: Path) -> None:
    """Read all of a run: as `sample`, as `train --resume` and as the report do."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        trained, found = open_trained(run)
        trained.samples(trained.recipe.latent(trained.rng, 2))
        state, _, found = open_run(run)
        found.rewind(state.step)
        found.write_config()
        write_report(found.report, record(found))
        try:
            state.advance()
        except RunError:  # hyper-parameters of any size may let a loss overflow
            return
        state.samples(state.recipe.latent(state.rng, 2))


def config(rng: random.Random, folder: Path) -> Reader:
    run = copied(folder)
    file = run / "config.json"
    file.write_bytes(mutated_json(rng, json.loads(file.read_text())))
    return lambda: everything(run)


def metrics(rng: random.Random, folder: Path) -> Reader:
    run = copied(folder)
    file = run / "metrics.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_bytes(mutated_json_lines(rng, rows))

    def read() -> None:
        found = Run.open(run)
        if drawn:
            draw_progress(found)
        write_report(found.report, record(found))

    drawn = rng.random() < 0.1  # it takes a hundred times as long
    return read


def facts(rng: random.Random, folder: Path) -> Reader:
    """A checkpoint whose facts are changed, and whose checksum is right all the same."""
    run = copied(folder)
    path = checkpoint.newest(run / "checkpoints")
    assert path is not None
    arrays, known = weights.read(path)
    resigned(path, arrays, mutated_json(rng, known))
    return lambda: everything(run)


def arrays(rng: random.Random, folder: Path) -> Reader:
    """A checkpoint whose arrays are changed, and whose checksum is right all the same."""
    run = copied(folder)
    path = checkpoint.newest(run / "checkpoints")
    assert path is not None
    found, known = weights.read(path)
    for _ in range(rng.choice((1, 1, 2))):
        spoil(rng, found)
    weights.write(path, found, {k: v for k, v in known.items() if k != "format"})
    return lambda: everything(run)


def checkpoint_file(rng: random.Random, folder: Path) -> Reader:
    run = copied(folder)
    path = checkpoint.newest(run / "checkpoints")
    assert path is not None
    data = path.read_bytes()
    path.write_bytes(mutated(rng, data, head=8 + int.from_bytes(data[:8], "little")))
    return lambda: everything(run)


def resigned(path: Path, found: dict[str, np.ndarray], text: bytes) -> None:
    """Write a checkpoint whose facts are a text of any kind, with a checksum if it can have one."""
    from safetensors.numpy import save_file

    said = text.decode("utf-8", "replace")
    try:
        value = json.loads(said)
        if isinstance(value, dict):
            value.pop("checksum", None)
            value["checksum"] = checksum(found, value)
            said = json.dumps(value)
    except (ValueError, RecursionError):
        pass  # it is refused before the checksum counts
    plain = {name: np.asarray(array, order="C") for name, array in found.items()}
    save_file(
        dict(sorted(plain.items())), path, {"minigan": said.encode("utf-8", "replace").decode()}
    )


def spoil(rng: random.Random, found: dict[str, np.ndarray]) -> None:
    """Change one of the arrays: its values, type, shape or name."""
    name = rng.choice(sorted(found))
    array = found[name]
    changes: tuple[Callable[[], Any], ...] = (
        lambda: np.full_like(array, rng.choice((0, 1, 127))),
        lambda: np.full_like(array, np.nan) if array.dtype.kind == "f" else array - 10**6,
        lambda: array * np.asarray(-1, array.dtype),
        lambda: array.astype(rng.choice((np.float64, np.float16, np.int64, np.uint8, np.bool_))),
        lambda: array.reshape(-1),
        lambda: array[..., None],
        lambda: np.zeros((), array.dtype),
        lambda: np.zeros((0, *array.shape), array.dtype),
    )
    kind = rng.random()
    if kind < 0.7:
        with np.errstate(all="ignore"):
            found[name] = np.array(rng.choice(changes)())
        return
    value = found.pop(name) if kind < 0.9 else found[name]
    other = (f"{name}x", name.upper(), name.split("/", 1)[-1], f"players/{name}", "", "/", "a/b")
    if rng.random() < 0.7:
        found[rng.choice(other)] = value

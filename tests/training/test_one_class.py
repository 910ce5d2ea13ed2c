"""Runs of an earlier minigan, for which a single class folder was a class."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from PIL import Image
from tiny import Shell

from minigan.commands.open_run import open_run
from minigan.data import Dataset, load
from minigan.data.earlier import in_one_class
from minigan.data.stacked import stack
from minigan.evaluation.truth import truth


@pytest.fixture
def cats(tmp_path: Path) -> Path:
    for i in range(6):
        (tmp_path / "mine" / "cats").mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "mine" / "cats" / f"{i}.png")
    return tmp_path / "mine"


def as_before(folder: Path) -> Dataset:
    data = load(folder, size=8)
    return Dataset(data.name, data.x, np.zeros(6, np.int64), ("cats",))


def test_an_old_run_of_one_class_goes_on(cats: Path, shell: Shell, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["--data", cats, "--size", "8", "--steps", "2", "--out", out, *tiny.FLAGS[:2]]
    shell.succeeds("train", "gan", *words, "--batch-size", "4")
    path = out / "config.json"
    config = json.loads(path.read_text())
    assert config["data"]["classes"] == []
    open_run(out)
    digest = as_before(cats).digest()
    config["data"] |= {"classes": ["cats"], "digest": digest}
    path.write_text(json.dumps(config))
    _, dataset, run = open_run(out)
    assert (dataset.classes, dataset.digest()) == (("cats",), digest)
    assert run.config["data"]["digest"] == digest
    said = shell.succeeds("train", "--resume", "--out", out, "--more", "1").err
    assert "changed" not in said
    train, test = truth(config["data"], lambda text: None)
    assert (train.digest(), test) == (digest, None)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_class_is_that_of_before(cats: Path, count: int) -> None:
    before = stack(as_before(cats), count)
    now = stack(load(cats, size=8), count)
    assert now.classes == ()
    facts: dict[str, Any] = {"classes": list(before.classes), "stack": count}
    assert in_one_class(now, facts).digest() == before.digest()


@pytest.mark.parametrize("classes", [[], ["a", "b"]])
def test_other_data_stay_as_they_are(cats: Path, classes: list[str]) -> None:
    data = load(cats, size=8)
    assert in_one_class(data, {"classes": classes, "stack": 1}) is data
    named = as_before(cats)
    assert in_one_class(named, {"classes": ["dogs"], "stack": 1}) is named

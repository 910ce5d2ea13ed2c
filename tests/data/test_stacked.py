"""Images stacked as channels: which they are, and how their modes and their labels are scored."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from tiny import Shell

from minigan import evaluation, nn
from minigan.data import Dataset, load
from minigan.data.glyphs import glyphs
from minigan.data.stacked import first_channel, labels_of_parts, stack
from minigan.errors import UserError
from minigan.evaluation import evaluate
from minigan.metrics import classifier as judges
from minigan.metrics.score import Score
from minigan.optim import Optimizer
from minigan.random import Generator
from minigan.tensor import Array, Tensor
from minigan.training.loop import _fixed_latents
from minigan.training.recipe import Players, Recipe, Shape
from minigan.training.state import State

BASE, TEST = glyphs(size=12, count=300), glyphs(size=12, count=200, split="test")
CLASS = {image.tobytes(): int(y) for d in (BASE, TEST) for image, y in zip(d.x, d.y, strict=True)}


# --- The data --------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3])
def test_each_channel_holds_all_images_with_their_classes(count: int) -> None:
    data = stack(BASE, count)
    assert data.shape == (count, 12, 12)
    assert (len(data), data.name, data.parts) == (300, f"glyphs-stack{count}", BASE.classes)
    assert len(data.classes) == 10**count
    np.testing.assert_array_equal(data.x[:, 0], BASE.x[:, 0])
    assert data.y is not None
    parts = labels_of_parts(data, data.y)
    for c in range(count):
        seen = [CLASS[image.tobytes()] for image in data.x[:, c : c + 1]]
        np.testing.assert_array_equal(parts[:, c], seen)
        assert {x.tobytes() for x in data.x[:, c]} == {x.tobytes() for x in BASE.x}
    names = [",".join(map(str, row)) for row in parts]
    assert [data.classes[k] for k in data.y] == names
    assert (np.abs(np.corrcoef(parts.T)) - np.eye(count)).max() < 0.2


def test_another_seed_stacks_other_images_together() -> None:
    same, other = stack(BASE, 2), stack(BASE, 2, seed=1)
    np.testing.assert_array_equal(same.x, stack(BASE, 2).x)
    assert (same.x != other.x).any()
    assert (same.x != stack(BASE, 2, split="test").x).any()


def test_the_first_channel_is_what_was_stacked(tmp_path: Path) -> None:
    """To the byte: then both have one classifier."""
    digits = tiny.write_idx(tmp_path / "digits", count=12)
    single, again = load(digits), first_channel(load(digits, stack=3))
    assert judges._digest(single, None) == judges._digest(again, None)
    assert (again.name, again.classes) == (single.name, single.classes)
    assert stack(single, 1) is single
    bare = stack(Dataset("bare", BASE.x), 2)
    assert bare.y is None
    assert first_channel(bare).y is None


@pytest.mark.parametrize(
    ("data", "count", "says"),
    [
        (BASE, 4, "1 to 3"),
        (BASE, 0, "1 to 3"),
        (tiny.points(2), 2, "one channel"),
        (tiny.images((3, 8, 8)), 2, "one channel"),
    ],
)
def test_what_cannot_be_stacked(data: Dataset, count: int, says: str) -> None:
    with pytest.raises(UserError, match="--stack") as refusal:
        stack(data, count)
    tiny.one_sentence(refusal.value, says)


# --- The scores ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cheat(Recipe):
    """Draws real stacks: z is the class of each channel. What is asked for, it gives in the first
    channel, and in the second one a 0 for every 9.
    """

    collapsed: bool = False  # draws 3,7 and nothing else, unless it is asked

    def output_range(self, shape: Shape) -> tuple[float, float]:
        return 0.0, 1.0

    def players(self, rng: Generator, shape: Shape) -> Players:
        return {"G": nn.Flatten()}

    def optimizers(self, players: Players) -> dict[str, Optimizer]:
        return {}

    def latent(self, rng: Generator, n: int) -> np.ndarray:
        return np.full((n, 2), (3, 7)) if self.collapsed else rng.integers((n, 2), 10)

    def generate(self, players: Players, z: Array) -> Tensor:
        first = np.array([np.flatnonzero(BASE.y == k)[0] for k in range(10)])
        return Tensor((BASE.x[first[z], 0] / 255).astype(np.float32))

    def with_labels(self, z: Array, labels: Array) -> Array:
        second = labels % 10
        return np.stack([labels // 10, np.where(second == 9, 0, second)], axis=1)


class Judge:
    """Knows the images by heart."""

    name, classes = "classifier of glyphs", 10

    def classify(self, images: np.ndarray) -> np.ndarray:
        return np.array([CLASS[image.tobytes()] for image in images])

    def facts(self) -> dict[str, object]:
        return {}


def scored(
    monkeypatch: pytest.MonkeyPatch,
    test: Dataset | None,
    count: int | None = 2000,
    **fields: Any,
) -> dict[str, Score]:
    monkeypatch.setattr(evaluation, "classifier", lambda *data, say: Judge())
    train, test = stack(BASE, 2), None if test is None else stack(test, 2, split="test")
    state = State.fresh(Cheat(batch_size=8, **fields), train, 0)
    found = evaluate(state, train, test, count=count)
    assert any("single channels" in text for text in found.left_out)
    return {score.key: score for score in found.scores}


def test_a_perfect_sampler_covers_all_tuples(monkeypatch: pytest.MonkeyPatch) -> None:
    found = scored(monkeypatch, TEST)
    for key in ("modes", "modes_well"):
        assert (found[key].value, found[key].baseline) == (100, 100)
    assert found["modes"].name == "modes covered, of 100"
    for kl in (found["reverse_kl"].value, found["reverse_kl"].baseline):
        assert kl == pytest.approx(99 / 4000, rel=0.5)  # of a perfect one with 2,000 samples
    assert found["modes"].baseline_of == "stacked test images"
    assert scored(monkeypatch, None)["modes"].baseline_of == "stacked training images"


def test_without_labels_of_test_images_training_images_stand_beside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = scored(monkeypatch, Dataset("glyphs", TEST.x))
    assert found["modes"].baseline_of == "stacked training images"


def test_stacks_are_judged_by_as_many_samples_as_in_the_papers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = scored(monkeypatch, TEST, count=None)
    assert (found["modes"].fake, found["modes"].real) == (26_000, 26_000)


def test_a_collapsed_sampler_covers_one(monkeypatch: pytest.MonkeyPatch) -> None:
    found = scored(monkeypatch, TEST, collapsed=True)
    assert (found["modes"].value, found["modes_well"].value) == (1, 1)
    assert found["reverse_kl"].value == pytest.approx(np.log(100))


def test_each_label_has_an_agreement_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    found = scored(monkeypatch, TEST)
    assert found["agreement_1"].value == 1
    assert found["agreement_2"].value == found["agreement"].value == pytest.approx(0.9)
    assert found["agreement"].baseline == 1


def test_the_pictures_of_a_run_show_classes_from_the_first_to_the_last() -> None:
    z, columns = _fixed_latents(Cheat(batch_size=8), stack(BASE, 2), 0)
    assert columns is not None
    assert (len(z), len(columns)) == (8 * 16, 16)
    assert (columns[0], columns[-1]) == (stack(BASE, 2).classes[0], stack(BASE, 2).classes[-1])
    assert set(z[:, 0]) == set(range(10))
    np.testing.assert_array_equal(z[::16], z[:1].repeat(8, axis=0))  # a column is one class


# --- The commands ----------------------------------------------------------------------------


def test_a_run_on_stacks(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judges, "STEPS", 2)
    monkeypatch.setattr(judges, "user_cache", lambda: tmp_path / "cache")
    digits, run = tiny.write_idx(tmp_path / "digits", count=40), tmp_path / "run"
    small = ["--hidden", "8", "--width", "4", "--latent-size", "5", "--batch-size", "4"]
    words = ["train", "cgan", "--data", digits, "--stack", "2", *small, "--out", run]
    shell.succeeds(*words, "--steps", "2")
    config = json.loads((run / "config.json").read_text())
    assert (config["data"]["stack"], config["data"]["shape"]) == (2, [2, 8, 8])
    assert config["data"]["name"] == "digits-stack2"
    known = config["hyper_parameters"]
    assert (known["classes"], known["tags"]) == (10, 2)
    shell.succeeds("train", "--resume", "--out", run, "--more", "1")
    shell.refuses("train", "--resume", "--out", run, "--stack", "3", says=("--stack",))

    files = [tmp_path / f"{i}.png" for i in range(3)]
    for file, label in zip(files, ("3,7", "7,3", "3,8"), strict=True):
        shell.succeeds("sample", run, "--class", label, "--count", "4", "--out", file)
    assert len({file.read_bytes() for file in files}) == 3
    shell.refuses("sample", run, "--class", "3", says=("no class 3", "each channel", "such as 0,1"))

    shell.succeeds("evaluate", run, "--count", "200")
    facts = json.loads((run / "scores.json").read_text())
    keys = {score["key"] for score in facts["scores"]}
    assert keys == {"modes", "modes_well", "reverse_kl", "agreement", "agreement_1", "agreement_2"}
    assert facts["classifier"]["data"] == "digits"
    shell.refuses("train", "gan", "--data", "ring", "--stack", "2", says=("--stack", "ring"))

"""What the scripts in examples/ that compare runs, and losses, measure and write."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image
from tiny import Shell

import examples.changes as changes
import examples.divergence as divergence
import examples.races as races
from minigan import Tensor, absolute, gans, nn
from minigan.errors import UserError
from minigan.random import Generator
from minigan.training.run import Run
from minigan.training.state import State

# --- Two lines -------------------------------------------------------------------------------


def test_the_divergence_is_flat_and_the_distance_is_not() -> None:
    assert {divergence.jensen_shannon(t) for t in divergence.THETAS} == {np.log(2)}
    assert divergence.jensen_shannon(0.0) == divergence.wasserstein(0.0) == 0
    assert [divergence.wasserstein(t) for t in (-0.5, 0.25)] == [0.5, 0.25]


@pytest.mark.parametrize("theta", [-0.6, 0.6])
def test_a_pull_is_the_gradient_towards_the_data(theta: float) -> None:
    """Of a D whose logit falls by 3 for each unit of distance, where it is -2 or so."""

    class Slope(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return -3 * absolute(x[:, 0])

    rng, belief = Generator(0), 1 / (1 + np.exp(3 * abs(theta)))
    for name, expected in (
        ("saturating", 3 * belief),
        ("non-saturating", 3 * (1 - belief)),
        ("critic", 3.0),
    ):
        found = divergence.pull(divergence.LOSSES[name], Slope(), theta, rng)
        # log(1 - D) falls as D rises, so its pull has the sign of the others.
        assert found == pytest.approx(expected, rel=1e-5), name


def test_two_lines_are_measured_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"{divergence.BEGIN}\nold\n{divergence.END}\n")
    for name, value in (("PAGE", page), ("RESULTS", tmp_path / "found.json"),
                        ("PICTURE", tmp_path / "found.png"), ("THETAS", (-0.6, 0.6))):  # fmt: skip
        monkeypatch.setattr(divergence, name, value)
    monkeypatch.setattr(sys, "argv", ["divergence.py", "--steps", "3"])
    divergence.main()
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["at"] == [0, 1, 2, 3]
    assert all(len(values) == 4 for values in found["course"].values())
    assert "| critic |" in page.read_text()
    assert (tmp_path / "found.png").stat().st_size > 1000


# --- Changes, and races ----------------------------------------------------------------------


FLAGS = ["--width", "4", "--latent-size", "5", "--batch-size", "4", "--steps", "2"]


def with_scores(folder: Path, *values: float, score: str = "kernel distance") -> Path:
    """The run with a score for each of its first steps."""
    rows = [
        {"step": i + 1, "score": score, "value": value, "higher_is_better": False}
        for i, value in enumerate(values)
    ]
    (folder / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 64)])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"batch_norm": False},
        {"strides": False},
        {"all_convolutional": False},
        {"tanh": False},
        {"batch_norm": False, "strides": False, "all_convolutional": False, "tanh": False},
    ],
    ids=lambda fields: "-".join(fields) or "none",
)
def test_a_changed_dcgan_differs_in_what_it_says(
    fields: dict[str, bool], shape: tuple[int, ...]
) -> None:
    small = {"width": 4, "latent_size": 5, "batch_size": 4, "hidden": 6}
    kind = gans.load(str(changes.RECIPE))
    state = State.fresh(kind(**small, **fields), tiny.images(shape), 0)
    if not fields:
        assert tiny.state("dcgan", tiny.images(shape)).advance() == state.advance()
    G, D = state.players["G"], state.players["D"]
    layers = [*G.modules().values(), *D.modules().values()]
    kinds = {type(layer) for layer in layers}
    normed = kinds & {nn.BatchNorm1d, nn.BatchNorm2d}
    assert bool(normed) == fields.get("batch_norm", True)
    assert ({nn.MaxPool2d, nn.UpsampleNearest} <= kinds) != fields.get("strides", True)
    strided = [c for c in layers if getattr(c, "options", {}).get("stride") == 2]
    strides = [c for c in strided if not isinstance(c, nn.MaxPool2d)]
    assert bool(strides) == fields.get("strides", True)
    assert (nn.Linear in kinds) != fields.get("all_convolutional", True)
    if fields.get("batch_norm", True) is False:
        convolutions = [c for c in layers if isinstance(c, nn.Conv2d | nn.ConvTranspose2d)]
        assert all(c.bias is not None for c in convolutions)
    x = state.samples(state.recipe.latent(state.rng, 3))
    assert x.shape == (3, *shape)
    tanh = fields.get("tanh", True)
    assert state.recipe.output_range(shape) == ((-1, 1) if tanh else (0, 1))
    output = [layer.activation for layer in layers if hasattr(layer, "activation")]
    assert sum(isinstance(a, nn.Sigmoid) for a in output) == (not tanh)
    assert sum(isinstance(a, nn.Tanh) for a in output) == tanh
    before = [p.data.copy() for p in (G.parameters() | D.parameters()).values()]
    state.advance()
    after = [p.data for p in (G.parameters() | D.parameters()).values()]
    assert all((a != b).any() for a, b in zip(before, after, strict=True))


def test_changes_are_compared(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"{changes.BEGIN}\nold\n{changes.END}\n")
    for name, value in (("PAGE", page), ("RESULTS", tmp_path / "changes.json"),
                        ("PICTURE", tmp_path / "changes.png")):  # fmt: skip
        monkeypatch.setattr(changes, name, value)
    runs = {}
    for flag in ("--no-tanh", "--slope=0", "--no-strides --no-tanh", ""):
        runs[flag] = tmp_path / f"run{flag.replace(' ', '')}"
        shell.succeeds("train", changes.RECIPE, *FLAGS, *flag.split(), "--out", runs[flag])
    with pytest.raises(UserError, match="wants run directories"):
        changes.main([])
    with pytest.raises(UserError, match=r"no scores.jsonl.*--score-every"):
        changes.main([str(runs[""])])
    for folder, values in zip(runs.values(), ((3, 4), (5, 6), (7, 8), (2, 1)), strict=True):
        with_scores(folder, *map(float, values))
    with pytest.raises(UserError, match="differs from DCGAN in strides, tanh"):
        changes.main([str(runs["--no-strides --no-tanh"])])
    changes.main([str(runs[flag]) for flag in ("--no-tanh", "--slope=0", "")])
    lines = [line.split(" | ") for line in page.read_text().splitlines() if line.startswith("| ")]
    assert [(line[0], line[3], line[4]) for line in lines[2:]] == [
        ("| DCGAN", "1", "1"), ("| ReLU in D", "6", "5"), ("| sigmoid at the output", "4", "3"),
    ]  # fmt: skip
    with Image.open(tmp_path / "changes.png") as picture:
        assert picture.width / picture.height == pytest.approx(changes.COLUMNS / 3, rel=0.05)
    with_scores(runs[""], 1.0, score="another")
    with pytest.raises(UserError, match="differ in their score: another, kernel distance"):
        changes.main([str(runs[""]), str(runs["--no-tanh"])])


def test_a_change_is_one_of_a_changed_dcgan(finished: Path) -> None:
    with pytest.raises(UserError, match=r"no run of changed_dcgan.py"):
        changes.row_of(Run.open(finished))


def test_a_race_is_drawn(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"{races.BEGIN}\nold\n{races.END}\n")
    monkeypatch.setattr(races, "PAGE", page)
    monkeypatch.setattr(races, "HERE", tmp_path)
    runs = []
    for name, seed in (("vae", 0), ("dcgan", 0), ("dcgan", 1)):
        runs.append(tmp_path / f"{name}{seed}")
        shell.succeeds("train", name, *FLAGS, "--seed", str(seed), "--out", runs[-1])
    with pytest.raises(UserError, match="wants a name"):
        races.main("Not a name", [str(runs[0])])
    with pytest.raises(UserError, match=r"no scores.jsonl.*--score-every"):
        races.main("glyphs", [str(runs[0])])
    for folder, values in zip(runs, ((3.0, 2.0), (5.0, 6.0), (7.0, 8.0)), strict=True):
        with_scores(folder, *values)
    races.main("glyphs", [str(folder) for folder in runs])
    found = json.loads((tmp_path / "results" / "race-glyphs.json").read_text())
    assert [run["seed"] for run in found] == [0, 0, 1]
    assert [run["points"][1][1] for run in found] == [2, 6, 8]
    assert found[0]["bound"] < 0
    assert found[1]["bound"] is None
    assert all(run["sharpness"] > 0 for run in found)
    rows = [line.split(" | ") for line in page.read_text().splitlines() if line.startswith("| ")]
    assert [row[3] for row in rows[2:]] == ["2", "7 ± 1"]
    assert [row[4] for row in rows[2:]] == ["2", "6 ± 1"]
    assert rows[2][0] == "| vae, batch size 4, latent size 5, width 4"
    assert (tmp_path / "pictures" / "race-glyphs.png").stat().st_size > 1000
    with_scores(runs[0], 1.0, score="another")
    with pytest.raises(UserError, match="differ in their score"):
        races.main("glyphs", [str(folder) for folder in runs])


def test_a_title_says_what_is_not_as_usual() -> None:
    plain = tiny.images((3, 64, 64))
    state = State.fresh(gans.load(str(changes.RECIPE))(tanh=False, batch_size=4), plain, 0)
    assert races.title("mine", state, plain) == "mine, batch size 4, tanh False"


def test_sharp_is_what_has_edges() -> None:
    step = np.zeros((1, 1, 8, 8), np.float32)
    step[..., 4:] = 1
    ramp = np.tile(np.linspace(0, 1, 8, dtype=np.float32), (1, 1, 8, 1))
    assert races.sharpness(step) == pytest.approx(2 / 6)  # -1 and 1 beside the edge, of 6 columns
    assert races.sharpness(ramp) == pytest.approx(0, abs=1e-10)

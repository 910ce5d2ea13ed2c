"""What the scripts in examples/ measure and write, without the training that they are for."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from tiny import Shell

import examples.arithmetic as arithmetic
import examples.changes as changes
import examples.critic as critic
import examples.curve as curve
import examples.divergence as divergence
import examples.features as features
import examples.gallery as gallery
import examples.modes as modes
import examples.races as races
from minigan import Tensor, no_grad
from minigan.data import Dataset, load
from minigan.errors import UserError
from minigan.page_parts import around_part
from minigan.training.run import Run, repeatable

# --- The page ---------------------------------------------------------------------------------


def test_the_page_shows_the_newest_results() -> None:
    """Scores have a test of their own."""
    text = gallery.PAGE.read_text(encoding="utf-8")
    gallery_found, modes_found, features_found, divergence_found = (
        json.loads(script.RESULTS.read_text()) for script in (gallery, modes, features, divergence)
    )
    changed = json.loads(changes.RESULTS.read_text()) if changes.RESULTS.exists() else []
    for script, shown in (
        (gallery, gallery.section(gallery_found)),
        (modes, modes.table(modes.current(modes_found))),
        (critic, critic.section()),
        (features, features.section(features_found)),
        (divergence, divergence.section(divergence_found)),
        (changes, changes.section(changed)),
        (races, races.section()),
    ):
        assert text == shown.join(around_part(text, script.BEGIN, script.END)), script.__name__


# --- The curve -------------------------------------------------------------------------------


def scored(run: Path, step: int, value: float) -> Path:
    score = {"key": "parzen", "name": "the likelihood", "value": value, "error": 0.5}
    score |= {"baseline": 243.0, "baseline_of": "training images"}
    facts = {"recipe": "gan", "data": "ring", "seed": 0, "step": step, "scores": [score]}
    (run / "scores.json").write_text(json.dumps(facts))
    return run


def test_a_curve_has_a_point_for_each_number_of_rounds(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curve, "HERE", tmp_path)
    with pytest.raises(UserError, match="minigan evaluate"):
        curve.main([str(run)])
    for step, value in ((60, 2.0), (6, 1.0), (60, 3.0)):
        curve.main([str(scored(run, step, value))])
    found = json.loads((tmp_path / "results" / "curve-gan-mnist.json").read_text())
    assert [(p["steps"], p["value"]) for p in found["points"]] == [(6, 1.0), (60, 3.0)]
    assert (tmp_path / "pictures" / "curve-gan-mnist.png").stat().st_size > 1000


def test_a_curve_is_of_one_run(run: Path) -> None:
    """Another run would make it rise or fall for another reason than the rounds."""
    before = curve.with_point({}, scored(run, 6, 1.0))
    del before["hyper_parameters"]["ema"]  # as of a run from before there was such a thing
    assert curve.with_point(before, run)["hyper_parameters"]["ema"] == 0
    config = json.loads((run / "config.json").read_text())
    config["hyper_parameters"]["lr"] *= 2
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="differs from the curve in its hyper_parameters"):
        curve.with_point(before, run)
    (run / "scores.json").write_text(
        json.dumps({"recipe": "gan", "data": "ring", "seed": 0, "step": 6, "scores": []})
    )
    with pytest.raises(UserError, match="no log-likelihood"):
        curve.with_point({}, run)


# --- The gallery -----------------------------------------------------------------------------


def test_a_gallery_of_nothing_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"{gallery.BEGIN}\nold\n{gallery.END}\n")
    monkeypatch.setattr(gallery, "PAGE", page)
    with pytest.raises(UserError, match="wants the run directories"):
        gallery.main([])
    assert "old" in page.read_text()


def test_the_gallery_shows_a_run(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"{gallery.BEGIN}\nold\n{gallery.END}\n")
    (tmp_path / "pictures").mkdir()
    monkeypatch.setattr(gallery, "PAGE", page)
    monkeypatch.setattr(gallery, "HERE", tmp_path)
    monkeypatch.setattr(gallery, "RESULTS", tmp_path / "gallery.json")
    gallery.main([str(finished)])
    data = Run.open(finished).config["data"]["name"]
    text = page.read_text()
    assert "`minigan train gan --hidden 8" in text
    assert f"--data {data} --steps 2 --init-g 1`" in text
    assert "Step 2, seed 0, 0.0 minutes.\n" in text
    assert f"![images that gan generates after training on {data}](pictures/gan-{data}.png)" in text
    assert str(finished.parent) not in text
    assert (tmp_path / "pictures" / f"gan-{data}.png").is_file()

    config = json.loads((finished / "config.json").read_text())
    (finished / "config.json").write_text(json.dumps(config | {"resumed": [{"step": 1}]}))
    gallery.main([str(finished)])  # which is repeated in one go
    assert f"--data {data} --init-g 1 --steps 2`" in page.read_text()


@pytest.mark.parametrize(
    ("command", "data", "shown"),
    [
        ("train gan --data /home/me/mnist --out /tmp/run --k 2", "mnist", "--data mnist --k 2"),
        ("train gan --data=/home/me/mnist --out=/tmp/run --k=2", "mnist", "--data mnist --k=2"),
        ("train gan --data mnist --stack 2", "mnist-stack2", "--data mnist --stack 2"),
    ],
)
def test_a_command_is_shown_without_paths(command: str, data: str, shown: str) -> None:
    assert repeatable(f"minigan {command}", data) == f"minigan train gan {shown}"


# --- Modes -----------------------------------------------------------------------------------


def entry(row: str, **changed: Any) -> dict[str, Any]:
    """A result as it is stored, with some hyper-parameters changed."""
    settings = asdict(modes.recipe_of(row, modes.load("ring"))) | changed
    return {"row": row, "data": "ring", "seed": 0, "updates": modes.UPDATES, "seconds": 1.0,
            "hyper_parameters": settings, "covered": 8, "total": 8, "high_quality": 0.5,
            "reverse_kl": 0.1, "points": [[0.0, 0.0]]}  # fmt: skip


def test_a_result_from_before_a_field_was_there_counts_where_the_field_is_as_by_default() -> None:
    before, other, gone = entry("lsgan"), entry("lsgan"), entry("lsgan", momentum=0.5)
    del before["hyper_parameters"]["ema"]
    del other["hyper_parameters"]["latent_size"]  # 100 by default, and 2 in the row
    assert modes.current([before, other, gone]) == [before]


def test_results_of_other_settings_are_neither_counted_nor_kept_from_running_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right, wrong = entry("lsgan"), entry("pacgan", r1=77.0)
    assert modes.current(
        [right, wrong, right | {"updates": 7}, entry("wgan") | {"row": "old"}]
    ) == [right]
    stored, ran = tmp_path / "modes.json", []
    stored.write_text(json.dumps([right, wrong]))

    def run(row: str, data: str, seed: int) -> dict[str, Any]:
        ran.append((row, data, seed))
        return entry(row)

    monkeypatch.setattr(modes, "run", run)
    words = ["modes.py", "--data", "ring", "--seeds", "1", "--best", "pacgan:1"]
    monkeypatch.setattr(sys, "argv", [*words, "--results", str(stored)])
    modes.main()
    assert "1 results are of other settings" in capsys.readouterr().out
    assert ran == [(row, "ring", 0) for row in modes.ROWS if row != "lsgan"]
    found = json.loads(stored.read_text())
    assert [r["hyper_parameters"]["r1"] for r in found if r["row"] == "pacgan"] == [0.05 / 16]


# --- The critic, and arithmetic --------------------------------------------------------------


def test_the_distance_is_that_of_the_points_that_a_critic_sees() -> None:
    state = tiny.state("wgan", tiny.points(1), hidden=8)
    for _ in range(3):
        state.advance()
    before = {name: array.copy() for name, array in state.players["G"].state().items()}
    z = state.recipe.latent(state.rng, 50)
    found = critic.seen_by_critic(state, z)
    for name, array in state.players["G"].state().items():
        np.testing.assert_array_equal(array, before[name])
    assert np.abs(found - state.samples(z)).max() > 1e-3  # by running moments they are others
    with no_grad():
        np.testing.assert_array_equal(found, state.players["G"](Tensor(z)).numpy())


def test_slant_is_that_of_the_strokes() -> None:
    image = np.zeros((1, 9, 9), np.float32)
    image[0, :, 4] = 1
    leaning = np.zeros((1, 9, 9), np.float32)
    leaning[0, np.arange(9), 8 - np.arange(9)] = 1  # a column to the right for each row up
    np.testing.assert_allclose(arithmetic.slant(np.stack([image, leaning])), [0, 1], atol=1e-4)


def test_upright_is_what_has_no_slant() -> None:
    """Of slants that are nearly all to the right, as in handwriting."""
    slants, weights = np.random.default_rng(0).normal([0.4, 0], [0.3, 1], (4000, 2)).T
    found = arithmetic.concepts(slants, weights)
    for name in ("upright", "bold"):
        assert len(found[name]) > 50
        assert np.abs(slants[found[name]]).max() < 0.25
    assert slants[found["slanted"]].min() > 0.6
    assert weights[found["bold"]].min() > weights[found["upright"]].max()


# --- Features --------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [4, 7, 8, 14, 28])
def test_every_plane_becomes_sixteen_cells(side: int) -> None:
    y = np.random.default_rng(0).standard_normal((2, 3, side, side))
    found = features.pooled(y)
    assert found.shape == (2, 3, 4, 4)
    np.testing.assert_array_equal(found.max(axis=(2, 3)), y.max(axis=(2, 3)))
    if side % 4 == 0:
        cells = y.reshape(2, 3, 4, side // 4, 4, side // 4)
        np.testing.assert_array_equal(found, cells.max(axis=(3, 5)))
    with pytest.raises(UserError, match=r"3x3.*--size"):
        features.pooled(y[:, :, :3, :3])


def test_the_penalty_is_chosen_on_images_of_all_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    y = np.repeat(np.arange(5), 20)
    x = np.eye(5, dtype=np.float32)[y]
    seen = []

    def svm(x: np.ndarray, y: np.ndarray, c: float, classes: int) -> np.ndarray:
        seen.append(set(y))
        return np.zeros((x.shape[1] + 1, classes), np.float32)

    monkeypatch.setattr(features, "svm", svm)
    features.accuracy(x.copy(), y, x.copy(), y)
    assert all(len(classes) == 5 for classes in seen)


@pytest.mark.parametrize(
    ("name", "channels"), [("dcgan", 4 + 8 + 16), ("sngan", 4 + 8 + 8), ("wgan", 4 + 8)]
)
def test_all_convolutions_of_d_give_features(name: str, channels: int) -> None:
    state = tiny.state(name)
    x = next(state.batches)
    assert state.ask(features.features, x).shape == (len(x), 16 * channels)


@pytest.mark.parametrize(("name", "says"), [("gan", "no convolutions"), ("cgan", "no sequence")])
def test_a_d_without_convolutions_is_refused(name: str, says: str) -> None:
    state = tiny.state(name)
    with pytest.raises(UserError, match=rf"{says}.*take a dcgan's"):
        state.ask(features.features, next(state.batches))


def test_as_many_images_of_each_class_have_labels() -> None:
    dataset = tiny.images(count=24)
    found = features.with_labels(dataset, 6)
    assert found.y is not None
    np.testing.assert_array_equal(np.bincount(found.y), [3, 3])
    assert features.with_labels(dataset, None) is dataset
    for labels in (1, 26):
        with pytest.raises(UserError, match="of each class; give other --labels"):
            features.with_labels(dataset, labels)
    with pytest.raises(UserError, match=r"noise has no labels.*--on"):
        features.with_labels(Dataset("noise", dataset.x), 6)


def test_moments_are_those_of_the_images_that_are_given() -> None:
    state = tiny.state("dcgan")
    bright = np.full((100, 1, 28, 28), 0.9, np.float32)
    norm = next(m for m in state.players["D"].modules().values() if hasattr(m, "running_mean"))
    features.with_moments_of(state, np.tile(bright, (60, 1, 1, 1)))
    before = norm.running_mean.copy()
    features.with_moments_of(state, bright)
    np.testing.assert_allclose(norm.running_mean, before, rtol=1e-3, atol=1e-5)
    features.with_moments_of(state, -bright)
    assert np.abs(norm.running_mean - before).max() > 1e-3


def test_whitened_patches_have_no_correlation_and_triangles_are_sparse() -> None:
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (40, 2, 12, 12)).astype(np.float32)
    x = (x + np.roll(x, 1, axis=3)) / 2  # neighbours are alike
    found = features.KMeans.of(x, 5, 4000)
    windows = np.lib.stride_tricks.sliding_window_view(x, (6, 6), axis=(2, 3))
    patches = windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, 72)
    normal = features.contrast_normalised(patches)
    np.testing.assert_allclose(normal.mean(axis=1), 0, atol=1e-5)
    assert normal.std(axis=1).min() > 0.9
    before, after = (np.cov(a.T) for a in (normal, (normal - found.mean) @ found.whitening))
    off = [np.abs(c - np.diag(np.diag(c))).max() / np.diag(c).max() for c in (before, after)]
    assert off[1] < 0.5 * off[0]
    whole = found(x)
    assert whole.shape == (40, 4 * 5)
    np.testing.assert_allclose(found(x, batch=7), whole, rtol=1e-4)
    white = (features.contrast_normalised(patches[:49]) - found.mean) @ found.whitening
    far = np.sqrt(np.square(white[:, None] - found.centroids).sum(axis=2))
    near = np.maximum(0, far.mean(axis=1, keepdims=True) - far).reshape(7, 7, 5)
    np.testing.assert_allclose(whole[0, :5], near[:4, :4].sum(axis=(0, 1)), rtol=1e-3)
    np.testing.assert_allclose(whole[0, -5:], near[4:, 4:].sum(axis=(0, 1)), rtol=1e-3)


def test_the_features_of_a_run_are_measured_beside_others(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sklearn")
    flags = ["--width", "4", "--latent-size", "5", "--batch-size", "4", "--steps", "2"]
    shell.succeeds("train", "dcgan", *flags, "--out", tmp_path / "run")
    page, results = tmp_path / "README.md", tmp_path / "features.json"
    page.write_text(f"{features.BEGIN}\nold\n{features.END}\n")
    results.write_text("[]")
    for name, value in (("PAGE", page), ("RESULTS", results), ("CENTROIDS", 4),
                        ("PATCHES", 500), ("load", few)):  # fmt: skip
        monkeypatch.setattr(features, name, value)
    words = ["features.py", str(tmp_path / "run"), "--labels"]
    for labels in ("100", "50", "100"):
        monkeypatch.setattr(sys, "argv", [*words, labels])
        features.main()
    found = json.loads(results.read_text())
    assert [(r["data"], r["train"]) for r in found] == [("glyphs", 100), ("glyphs", 50)]
    assert [row["of"] for row in found[0]["rows"]] == [
        "pixels", "k-means, 4 centroids", "D untrained", "D after 2 steps",
    ]  # fmt: skip
    text = page.read_text()
    assert features.WITHOUT_SVHN in text
    assert features.WITHOUT_SVHN not in features.section([found[0] | {"data": "SVHN"}])
    assert "D and k-means have seen glyphs" in features.section([found[0] | {"data": "other"}])
    monkeypatch.setattr(sys, "argv", [*words, "100", "--on", "ring"])
    with pytest.raises(UserError, match="ring has images of"):
        features.main()


def few(*args: Any, **options: Any) -> Dataset:
    """Data of which 300 are enough."""
    return load(*args, **options)[:300]

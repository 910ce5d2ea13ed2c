"""Steps on colour pictures: whether PyTorch is given the same networks, and what is kept of a run.

Nothing here asserts how long anything takes.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigan as mg
from bench import picture_layers, picture_memory, pictures_step, results
from bench.layers import DIRECTIONS
from bench.peers import UnavailableError, ours
from bench.picture_layers import Place
from bench.picture_peers import EAGER, TUNED, peers
from bench.workloads import OURS
from minigan import gans, nn
from minigan.errors import RunError
from minigan.penalties import gradient_penalty

torch = pytest.importorskip("torch", exc_type=ImportError)
from bench.peers import torch_pictures, torch_twin  # noqa: E402

SHAPE = (3, 32, 32)
RNG = mg.Generator(0)
STEPS = pictures_step.RECIPES


def plain(values: Any) -> np.ndarray:
    found = values.detach() if hasattr(values, "detach") else values
    return np.asarray(found.numpy() if hasattr(found, "numpy") else found)


def close(theirs: Any, mine: mg.Tensor) -> None:
    np.testing.assert_allclose(theirs.detach().numpy(), mine.numpy(), rtol=1e-3, atol=2e-4)


# --- The same networks -----------------------------------------------------------------------


@pytest.mark.parametrize("name", STEPS)
def test_the_twins_of_a_recipes_networks_compute_the_same(name: str) -> None:
    recipe = ours.picture_recipe(name, SHAPE, 4)
    players = recipe.players(mg.Generator(0), SHAPE)
    for module in players["D"].modules().values():
        if isinstance(module, nn.SpectralNorm):
            module.converge(200)  # its twin's iteration has another order
    G, D = (torch_twin.twin(players[player]) for player in "GD")
    z = recipe.latent(mg.Generator(1), 4)
    fake, made = players["G"](mg.Tensor(z)), G(torch.from_numpy(np.array(z)))
    close(made, fake)
    close(D(made), players["D"](fake))
    count = {"G": G, "D": D}
    for player, net in count.items():
        mine = sum(p.size for p in players[player].parameters().values())
        assert mine == sum(p.numel() for p in net.parameters())


def test_the_twin_of_a_critic_has_the_same_gradient_penalty() -> None:
    recipe = ours.picture_recipe("wgan_gp", SHAPE, 4)
    critic = recipe.players(mg.Generator(0), SHAPE)["D"]
    x = RNG.normal((4, *SHAPE))
    penalty = gradient_penalty(critic, mg.Tensor(x), mg.Tensor(x), mg.Generator(0))
    first = mg.grad(penalty, next(iter(critic.parameters().values())))
    theirs, there = torch_twin.twin(critic), torch.from_numpy(x.copy()).requires_grad_(True)
    (slope,) = torch.autograd.grad(theirs(there).sum(), there, create_graph=True)
    expected = ((slope.flatten(1).square().sum(1) + 1e-12).sqrt() - 1).square().mean()
    close(expected, penalty)
    (gradient,) = torch.autograd.grad(expected, next(theirs.parameters()))
    close(gradient, first)


LAYERS: dict[str, nn.Module] = {
    "same": nn.Conv2d(3, 4, 4, padding="same", rng=RNG),
    "valid": nn.Conv2d(3, 4, 3, rng=RNG, bias=False, activation=nn.ELU()),
    "beyond": nn.ConvTranspose2d(3, 4, 3, 2, 1, 1, rng=RNG, activation=nn.Sigmoid()),
    "norm": nn.BatchNorm(3, activation=nn.LeakyReLU(0.1)),
    "no scale": nn.BatchNorm2d(3, learn_scale=False),
    "mean": nn.AvgPool2d(2),
    "blocks": nn.Sequential(nn.UpsampleNearest(2), nn.Identity(), nn.ReLU(), nn.Tanh()),
    "vectors": nn.Sequential(nn.Flatten(), nn.Linear(192, 6, rng=RNG), nn.Reshape(2, 3)),
}


@pytest.mark.parametrize("case", LAYERS)
def test_the_twin_of_a_layer_computes_the_same_and_leaves_its_input(case: str) -> None:
    x = RNG.normal((2, 3, 8, 8))
    there = torch.from_numpy(x.copy())
    twin = torch_twin.twin(LAYERS[case])
    close(twin(there), LAYERS[case](mg.Tensor(x)))
    np.testing.assert_array_equal(there.numpy(), x)
    trained = sum(p.numel() for p in twin.parameters() if p.requires_grad)
    assert trained == sum(p.size for p in LAYERS[case].parameters().values())


def test_a_layer_without_a_twin_is_named() -> None:
    for layer, says in (
        (nn.Sequential(nn.MaxPool2d(2)), "MaxPool2d has no twin"),
        (nn.SpectralNorm(nn.Conv2d(3, 4, 4, padding="same", rng=RNG), rng=RNG), "padded layer"),
    ):
        with pytest.raises(UnavailableError, match=says):
            torch_twin.twin(layer)


# --- The same steps --------------------------------------------------------------------------


@pytest.mark.parametrize("name", STEPS)
def test_the_peers_take_their_steps(name: str) -> None:
    assert {p.name for p in peers(name, SHAPE, 4)} == {OURS, EAGER, TUNED}
    for tuned in (False, True):
        step = torch_pictures.step(name, SHAPE, 4, tuned=tuned)
        assert np.isfinite(step()).all()  # type: ignore[call-overload]
    assert torch_pictures.disobeyed(name, SHAPE, 4) == []


def changed(patch: pytest.MonkeyPatch, **fields: Any) -> None:
    """From now on the recipe dcgan has other fields."""
    recipe = dataclasses.replace(ours.picture_recipe("dcgan", SHAPE, 4), **fields)
    patch.setattr(torch_pictures, "picture_recipe", lambda *_: recipe)


def test_what_a_step_does_not_do_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    changed(monkeypatch, clip_norm=1.0, two_logits=True, ema=0.5)
    assert torch_pictures.disobeyed("dcgan", SHAPE, 4) == ["clip_norm", "two_logits"]
    changed(monkeypatch, optimizer="sgd")
    with pytest.raises(UnavailableError, match="SGD has no twin"):
        torch_pictures.step("dcgan", SHAPE, 4)
    with pytest.raises(UnavailableError, match="gan has no step"):
        torch_pictures.step("gan", SHAPE, 4)
    with pytest.raises(UnavailableError, match="pixels"):
        ours.pictures("dcgan", (3, 9, 9), 4)


def test_weights_are_averaged_and_d_learns_again(monkeypatch: pytest.MonkeyPatch) -> None:
    changed(monkeypatch, ema=0.5)
    game = torch_pictures.Game("dcgan", SHAPE, 4, tuned=True)
    before = next(game.G.parameters()).detach().clone()
    list(torch_pictures.ROUNDS["dcgan"](game))
    assert not any(p.requires_grad for p in game.D.parameters())
    game.after_step()
    assert all(p.requires_grad for p in game.D.parameters())
    now = next(game.G.parameters()).detach()
    middle = (before + now) / 2
    assert torch.allclose(next(game.average.parameters()), middle, atol=1e-6)
    assert not torch.equal(before, now)


# --- Layers ----------------------------------------------------------------------------------


def test_each_layer_that_occurs_is_found_once() -> None:
    found, left_out = picture_layers.places("sngan", SHAPE, 4)
    kinds = [place.kind for place in found]
    kind = gans.load("sngan")
    recipe = kind(**kind.defaults(SHAPE, classes=0, samples=100) | {"batch_size": 4})
    made = [m for p in recipe.players(RNG, SHAPE).values() for m in p.modules().values()]
    expected = {m.weight.shape for m in made if hasattr(m, "weight")}
    shapes = set()
    for place in found:
        ends = (place.takes[1], place.gives[1])
        square = (place.window[0],) * 2 if len(place.takes) == 4 else ()
        if place.kind != "norm":
            shapes.add((*(ends if place.kind == "transposed" else ends[::-1]), *square))
    assert shapes == expected
    assert {*kinds} == {"dense", "conv", "transposed", "norm"}
    assert left_out == []
    assert found[0].name == f"dense {recipe.latent_size}→{found[0].gives[1]}"
    place = Place("conv", (4, 3, 32, 16), (4, 8, 16, 8), (4, 2, 1))
    assert place.conv() is None  # not square


PLACES = [
    Place("conv", (2, 3, 8, 8), (2, 4, 4, 4), (4, 2, 1)),
    Place("transposed", (2, 4, 4, 4), (2, 3, 8, 8), (4, 2, 1)),
    Place("dense", (4, 6), (4, 5)),
    Place("norm", (4, 6, 2, 2), (4, 6, 2, 2)),
]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.kind)
def test_pytorch_is_given_the_same_layers(place: Place) -> None:
    for mine, theirs in picture_layers._steps(place).values():
        exact = mine[OURS]()
        for step in theirs.values():
            found = step()
            if not isinstance(exact, dict):
                other = found[0] if isinstance(found, tuple) else found
                np.testing.assert_allclose(plain(other), plain(exact), rtol=1e-3, atol=1e-4)
                continue
            for a, b in zip(found, exact.values(), strict=True):
                np.testing.assert_allclose(plain(a), plain(b), rtol=1e-3, atol=1e-4)


def test_layers_need_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_layers, "module", lambda _: None)
    with pytest.raises(mg.UserError, match="--no-layers"):
        picture_layers.places("sngan", SHAPE, 4)


# --- The command -----------------------------------------------------------------------------


def test_a_quick_run_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pictures_step, "limit", lambda threads: None)
    memory = {"before": 1, "first": 7_000_001, "peak": 3_000_001, "step": 3_000_000}
    monkeypatch.setattr(picture_memory, "of_step", lambda name, *_: {"peer": name, **memory})
    monkeypatch.setattr(picture_layers, "places", lambda *_: (PLACES[:1], ["an odd one"]))
    words = ["--quick", "--out", str(tmp_path), "--seconds", "1", "--sizes", "32", "9"]
    assert pictures_step.main([*words, "--recipes", "dcgan", "lsgan"]) == 0
    (file,) = tmp_path.iterdir()
    found = results.load(file.stem, tmp_path)
    assert found is not None
    rows = [(row["recipe"], row["shape"][1]) for row in found["rows"]]
    assert rows == [("dcgan", 32), ("lsgan", 32)]
    assert [*found["refused"]] == ["dcgan 9", "lsgan 9"]
    for row in found["rows"]:
        assert row["times"].keys() == {OURS, EAGER, TUNED}
        assert row["ratios"].keys() == {EAGER, TUNED}
    assert [row["recipes"] for row in found["layers"]] == [["dcgan 32", "lsgan 32"]] * 3
    assert [row["direction"] for row in found["layers"]] == [*DIRECTIONS]
    said = " ".join(capsys.readouterr().out.split())
    assert "3 MB 7 MB" in said
    assert "Short of PyTorch: " in said
    assert "Not timed: an odd one." in said
    assert "no dcgan 9: " in said


def test_what_cannot_be_measured_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pictures_step, "limit", lambda threads: None)
    words = ["--quick", "--out", str(tmp_path), "--recipes", "dcgan", "--sizes", "9"]
    assert pictures_step.main(words) == 2
    assert "nothing was measured: minigan cannot take its step" in capsys.readouterr().err
    (tmp_path / "file").touch()
    monkeypatch.setattr(results, "complete", lambda *_: {"seconds": 1.0})
    monkeypatch.setattr(pictures_step, "show", lambda found: None)
    assert pictures_step.main(["--quick", "--out", str(tmp_path / "file")]) == 1
    assert f"{tmp_path}/file: File exists" in capsys.readouterr().err
    for wrong, says in (
        (["--batch", "1"], "--batch must be at least 2"),
        (["--channels", "0"], "--channels must be at least 1"),
        (["--sizes", "4"], "--sizes must be at least 8"),
        (["--seconds", "nan"], "--seconds must be above 0"),
        (["--threads", "0"], "--threads must be from 1"),
        (["--recipes", "gan"], "invalid choice"),
        (["--quick"], "say with --out"),
    ):
        with pytest.raises(SystemExit):
            pictures_step.main(wrong)
        assert says in capsys.readouterr().err


def test_the_memory_of_a_step_is_that_of_a_process_of_its_own() -> None:
    found = picture_memory.of_step(EAGER, "lsgan", SHAPE, 64, 1)
    assert found["peer"] == EAGER
    assert 0 < found["step"] == found["peak"] - found["before"]
    assert found["first"] > found["before"]
    with pytest.raises(RunError, match=r"the memory of nobody was not measured: \['StopIteration"):
        picture_memory.of_step("nobody", "lsgan", SHAPE, 4, 1)

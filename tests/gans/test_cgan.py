"""CGAN: what is asked for is what is drawn."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from draw import normal
from PIL import Image
from tiny import Shell

from minigan import Tensor, gans, losses, nn, no_grad
from minigan.data.stacked import stack
from minigan.errors import UserError
from minigan.random import Generator
from minigan.testing import check_gradients
from minigan.viz.grid import CAPTION_HEIGHT


def rng() -> Generator:
    return Generator(0, "conditional")


DENSE = {"dense": True, "width": 32, "hidden": 256}  # the last two are what --dense does without


def note(inputs: dict[nn.Module, int], module: nn.Module, given: tuple[Any, ...], _: Any) -> None:
    """Keep how many channels a module was given."""
    inputs[module] = given[0].shape[1]


def test_every_layer_sees_y() -> None:
    state = tiny.state("cgan")
    x = Tensor(next(state.batches))
    y = Tensor(state.recipe.vectors(np.zeros(4, np.int64)))
    for player, first in (("G", Tensor(normal(4, 5).astype(np.float32))), ("D", x)):
        network = state.players[player]
        assert isinstance(network, nn.Conditional)
        inputs: dict[nn.Module, int] = {}
        with nn.watching(functools.partial(note, inputs)), no_grad():
            network(first, y)
        assert len(network.blocks) == 4
        for block in network.blocks:
            layer = block[0] if isinstance(block, nn.Sequential) else block
            axis = 0 if isinstance(layer, nn.ConvTranspose2d) else 1
            assert layer.weight.shape[axis] == inputs[block]
        assert inputs[network.blocks[0]] == first.shape[1] + 10


def test_cgans_dense_networks_are_the_papers() -> None:
    state = tiny.state("cgan", **DENSE)
    G, D = state.players["G"], state.players["D"]
    sizes = [
        [layer.weight.shape for layer in network.modules().values() if isinstance(layer, nn.Linear)]
        for network in (G, D)
    ]
    assert sizes[0] == [(200, 5), (1000, 10), (1200, 1200), (784, 1200)]
    assert sizes[1] == [(240 * 5, 784), (50 * 5, 10), (240 * 4, 290), (1, 240)]
    assert state.recipe.output_range((1, 28, 28)) == (0.0, 1.0)
    assert all(math.isfinite(value) for value in state.advance().values())


@pytest.mark.parametrize("name", ["width", "hidden", "lr_d", "lr_g", "beta1"])
def test_what_dense_networks_do_without_is_refused_beside_them(name: str) -> None:
    given = {"width": 16, "hidden": 16, "lr_d": 0.1, "lr_g": 0.1, "beta1": 0.1}[name]
    flag = name.replace("_", "-")
    kind, shape = gans.load("cgan"), (1, 28, 28)
    both = kind(**{"dense": True, name: given})  # as a run may be that was trained before
    with pytest.raises(UserError, match=f"--{flag} must be left out beside --dense, not {given}"):
        both.check_new(shape)
    kind(**{name: given}).check_new(shape)
    kind(dense=True, batch_size=100, ema=0.0).check_new(shape)


@pytest.mark.parametrize("dense", [False, True])
def test_samples_depend_on_z_and_on_y(dense: bool) -> None:
    state = tiny.state("cgan", **DENSE if dense else {})
    z = state.recipe.latent(rng(), 6)
    of_two, of_three = (state.recipe.with_labels(z, np.full(6, label)) for label in (2, 3))
    np.testing.assert_array_equal(of_two[:, :5], z[:, :5])
    np.testing.assert_array_equal(of_two[:, 5:], np.eye(10)[[2] * 6])
    a, b = state.samples(of_two), state.samples(of_three)
    assert np.abs(a - b).max() > 0
    assert np.abs(a[0] - a[1]).max() > 0


@pytest.mark.parametrize("dense", [False, True])
def test_several_labels_may_hold_at_once(dense: bool) -> None:
    fields = DENSE if dense else {}
    state = tiny.state("cgan", stack(tiny.images(), 2), classes=2, tags=2, **fields)
    before = {name: player.copy().state() for name, player in state.players.items()}
    state.advance()
    for name, player in state.players.items():
        assert any((before[name][n] != p.data).any() for n, p in player.parameters().items())
    z = state.recipe.latent(rng(), 50)
    np.testing.assert_array_equal(z[:, 5:].reshape(50, 2, 2).sum(axis=2), 1)
    assert len(np.unique(z[:, 5:], axis=0)) == 4
    z = state.recipe.with_labels(z[:4], np.array([0, 1, 2, 3]))
    y = [[1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1]]
    np.testing.assert_array_equal(z[:, 5:], y)
    z[:, :5] = z[0, :5]
    assert np.abs(np.diff(state.samples(z), axis=0)).max(axis=(1, 2, 3)).min() > 0


def test_gradients_through_both_networks_with_two_labels() -> None:
    state = tiny.state("cgan", tiny.images((1, 8, 8)), classes=3, width=2, hidden=3)
    G, D = (state.players[name].astype(np.float64) for name in ("G", "D"))
    for seed, p in enumerate([*G.parameters().values(), *D.parameters().values()]):
        p.data = p.data + 0.5 * normal(*p.shape, seed=seed)
    names, y = list(G.parameters()), np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1.0]])

    def f(z: Tensor, *values: Tensor) -> Tensor:
        with G.replaced(dict(zip(names, values, strict=True))):
            return losses.non_saturating_loss(D(G(z, Tensor(y)), Tensor(y)))

    check_gradients(f, [normal(3, 5), *(p.data for p in G.parameters().values())], order=1)


def test_cgan_says_what_it_needs() -> None:
    with pytest.raises(UserError, match="labels"):
        gans.load("cgan").defaults((1, 28, 28), classes=0, samples=100)
    with pytest.raises(UserError, match="halved 2 times, such as 28"):
        tiny.state("cgan", tiny.images((1, 30, 30)))
    with pytest.raises(UserError, match="--classes must be more than the label 1"):
        tiny.state("cgan", classes=1).advance()
    with pytest.raises(UserError, match="--classes must be more than the label 3"):
        tiny.state("cgan", stack(tiny.images(), 2), classes=1, tags=2, batch_size=24).advance()
    asked = {"classes": 1000, "samples": 100}
    assert gans.load("cgan").defaults((3, 28, 28), **asked, tags=3) == {
        "classes": 10,
        "tags": 3,
        "halvings": 2,
    }
    assert gans.load("cgan").defaults((3, 28, 28), **asked) == {
        "classes": 1000,
        "tags": 1,
        "halvings": 2,
    }


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["cgan", "--classes", "20"], "10 classes, not those of --classes 20; leave it out"),
        (["cgan", "--tags", "2"], "10 classes, not those of --classes 10 and --tags 2, 100 in all"),
        (["cgan", "--stack", "2", "--classes", "5"], "100 classes, not those of --classes 5 and"),
        (["cgan", "--stack", "2", "--classes", "100"], "--tags 2, 10000 in all; leave both out"),
        (["sgan", "--classes", "5"], "10 classes, not those of --classes 5; leave it out"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_other_classes_than_the_datas_are_refused(
    shell: Shell, tmp_path: Path, words: list[str], says: str
) -> None:
    data = tiny.write_idx(tmp_path / "digits", count=24)
    run = tmp_path / "run"
    shell.refuses("train", *words, "--data", data, "--batch-size", "4", "--out", run, says=(says,))
    assert not run.exists()


def test_a_tuple_of_classes_may_be_one_label(shell: Shell, tmp_path: Path) -> None:
    data = tiny.write_idx(tmp_path / "digits", count=24)
    words = ["--stack", "2", "--tags", "1", "--classes", "100", "--width", "4", "--hidden", "8"]
    words += ["--batch-size", "4", "--steps", "1"]
    shell.succeeds("train", "cgan", "--data", data, *words, "--out", tmp_path / "run")


def test_samples_of_one_class(runs: Any, shell: Shell, tmp_path: Path) -> None:
    run = runs("cgan", shell)
    files = [tmp_path / f"{i}.png" for i in range(3)]
    for file, words in zip(files, (["--class", "7"], ["--class", "8"], []), strict=True):
        shell.succeeds("sample", run, "--count", "4", "--out", file, *words)
    assert len({file.read_bytes() for file in files}) == 3
    shell.refuses("sample", run, "--class", "cat", says=("no class cat", "0, 1, 2"))
    shell.refuses("sample", run, "--class", "10", says=("no class 10",))
    shell.refuses("sample", run, "--sweep", "1", says=("cgan has no codes", "--sweep"))


def test_pictures_of_a_run_have_a_column_for_each_class(runs: Any, shell: Shell) -> None:
    with Image.open(runs("cgan", shell) / "samples" / "step-000002.png") as picture:
        height = picture.height - CAPTION_HEIGHT  # the classes stand above the columns
        assert picture.width / height == pytest.approx(10 / 8, rel=0.02)

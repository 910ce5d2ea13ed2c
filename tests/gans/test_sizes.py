"""Networks fit the picture: every recipe makes images of 28 to 128 pixels, or says which."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minigan import gans, nn
from minigan.data import Dataset
from minigan.errors import UserError
from minigan.gans._sizes import PLANES, SIDES, Halving, halvings
from minigan.random import Generator
from minigan.training.recipe import Recipe, Shape
from minigan.training.state import State
from tests.support import tiny

DENSE = {"gan": 64, "sgan": 32}  # the largest side in colour of recipes without convolutions
SMALL = {"width": 4, "hidden": 8, "units": 6, "latent_size": 5, "batch_size": 2, "packing": 2}


def made(name: str, shape: Shape, **fields: Any) -> Recipe:
    """The recipe with the defaults that a run on images of `shape` would have, but slim."""
    kind = gans.load(name)
    known = kind.defaults(shape, classes=10, samples=20) | fields
    slim = {key: value for key, value in SMALL.items() if key in kind.__dataclass_fields__}
    recipe = kind(**known | slim | fields)
    recipe.check_new(shape)
    return recipe


@pytest.mark.parametrize("name", gans.names())
@pytest.mark.parametrize("side", SIDES)
def test_every_recipe_fits_the_picture_or_says_which_it_takes(name: str, side: int) -> None:
    shape = (3, side, side)
    if side > DENSE.get(name, side):
        with pytest.raises(
            UserError, match=f"{name} is made of dense layers.*--size {DENSE[name]}"
        ):
            made(name, shape)
        return
    recipe = made(name, shape)
    state = tiny_state(recipe, shape)
    assert state.samples(recipe.latent(state.rng, 2)).shape == (2, *shape)
    if name in DENSE or vars(recipe).get("dense"):
        return
    planes = [layer for p in ("G", "D") for layer in convolutions(state.players.get(p))]
    assert planes
    # No dense layer sees more than 7 x 7 pixels, whatever the picture's size is.
    most = 7 * 7 * 4 * 2 ** (halvings(side, side) - 1) + 8 + 10
    for player in state.players.values():
        for module in player.modules().values():
            if isinstance(module, nn.Linear):
                assert min(module.weight.shape) <= most
                assert max(module.weight.shape) <= 4 * most


def convolutions(player: nn.Module | None) -> list[nn.Module]:
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    modules = {} if player is None else player.modules()
    return [module for module in modules.values() if isinstance(module, kinds)]


def tiny_state(recipe: Recipe, shape: Shape) -> State:
    pixels = np.random.default_rng(0).integers(0, 256, (20, *shape)).astype(np.uint8)
    y = np.arange(20) % 10
    return State.fresh(recipe, Dataset("tiny", pixels, y, tuple("0123456789")), 0)


@pytest.mark.parametrize("name", ["wgan_gp", "sngan", "lsgan", "began", "infogan", "cgan", "bigan"])
@pytest.mark.parametrize("side", [48, 64])
def test_deep_networks_train(name: str, side: int) -> None:
    shape = (3, side, side)
    state = tiny_state(made(name, shape), shape)
    assert not vars(state.recipe).get("dense")
    before = state.players["G"].state_dict()
    row = state.advance()
    assert all(np.isfinite(value) for value in row.values())
    after = state.players["G"].state_dict()
    assert any((before[key] != after[key]).any() for key in before)


def test_the_rule_leaves_four_to_seven_pixels() -> None:
    left = {side: side >> halvings(side, side) for side in SIDES}
    assert left == {28: 7, 32: 4, 48: 6, 64: 4, 96: 6, 128: 4}
    assert halvings(8, 8) == 2  # at least twice, as ever
    assert halvings(32, 64) == 3  # by the shorter side
    for side, (smallest, *_, last) in PLANES.items():
        assert 2 * last == side
        assert smallest in (4, 6)


def test_an_old_run_halved_twice_whatever_its_size_was() -> None:
    for name in gans.names():
        kind = gans.load(name)
        if issubclass(kind, Halving):
            assert kind().halvings == 2
    old = gans.load("lsgan")(width=4, latent_size=5)  # as its configuration is read: no such field
    G = old.players(Generator(0), (1, 64, 64))["G"]
    assert G.state_dict()["layers.0.weight"].shape == (8 * 16 * 16, 5)
    assert gans.load("bigan")().dense  # there was nothing else


@pytest.mark.parametrize("name", ["lsgan", "infogan", "began"])
def test_a_side_that_the_rule_does_not_fit_is_refused_unless_told_otherwise(name: str) -> None:
    shape = (1, 36, 36)
    with pytest.raises(UserError, match=r"halved 3 times, such as 32, 48.*\(1, 36, 36\).*--size"):
        made(name, shape).players(Generator(0), shape)
    recipe = made(name, shape, halvings=2)
    assert tiny_state(recipe, shape).samples(recipe.latent(Generator(0), 2)).shape == (2, *shape)


@pytest.mark.parametrize(
    ("count", "named"),
    [
        (3, "3 times, such as 32, 48, 64, 96 or 128 pixels, but"),
        (7, "7 times, such as 128 pixels, but"),
        (8, "8 times, but"),
    ],
)
def test_the_sides_that_a_refusal_names_can_be_halved_so_often(count: int, named: str) -> None:
    with pytest.raises(UserError, match=f"halved {named}"):
        made("lsgan", (1, 28, 28), halvings=count).players(Generator(0), (1, 28, 28))


def test_halvings_are_refused_where_they_say_nothing() -> None:
    with pytest.raises(UserError, match="--halvings must be at least 2"):
        gans.load("lsgan")(halvings=1)
    with pytest.raises(UserError, match="--halvings must be left out for points"):
        gans.load("wgan")(halvings=3).check_new((2,))
    with pytest.raises(UserError, match="--halvings must be left out beside dense"):
        gans.load("bigan")(halvings=3).check_new((1, 28, 28))
    with pytest.raises(UserError, match="--halvings must be left out beside dense"):
        gans.load("cgan")(halvings=3, dense=True).check_new((1, 28, 28))


def test_points_have_no_halvings() -> None:
    known = gans.load("wgan_gp").defaults((2,), classes=0, samples=100)
    assert "halvings" not in known
    assert tiny.state("wgan_gp", tiny.points(2), **known | {"batch_size": 4}).advance()


def test_samples_are_read_only_where_a_recipe_prepares_something_by_them() -> None:
    """Five thousand pictures of 128 pixels are a gigabyte of floats."""
    wants = {
        (name, len(shape)): gans.load(name)().prepares(shape)
        for name in ("lsgan", "sngan", "pacgan", "gan", "dcgan")
        for shape in ((3, 64, 64), (2,))
    }
    assert [key for key, wanted in wants.items() if wanted] == [
        ("lsgan", 1), ("sngan", 1), ("pacgan", 1), ("gan", 3), ("gan", 1),
    ]  # fmt: skip
    kind = gans.load("lsgan")

    class Own(kind):  # type: ignore[valid-type, misc]
        def prepare(self, players: Any, x: Any) -> None:
            """Of images too."""

    assert Own().prepares((3, 64, 64))

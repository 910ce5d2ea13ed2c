"""The gradients of every recipe are right on all its data, and a planted error of 10 % is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest

from minigan import gans, nn
from minigan.errors import UserError
from minigan.tensor import PRIMITIVES, Tensor, grad, primitive
from minigan.testing import (
    GradientError,
    RecipeCheck,
    UndecidedError,
    check_recipe,
    checks_of,
)

ALL = gans.names()
IMAGES = ["images", "stacked images"]
POINTS = ["points in 1-D", "points in 2-D"]
WITH_POINTS = {"gan", "lsgan", "pacgan", "sgan", "sngan", "wgan", "wgan_gp"}
PENALIZED = [("wgan_gp", "images"), ("wgan_gp", "points in 2-D"), ("pacgan", "points in 2-D")]


def check_of(name: str, data: str, player: str, **fields: Any) -> RecipeCheck:
    checks, _ = checks_of(gans.load(name), **fields)
    return next(c for c in checks if (c.data, c.player) == (data, player))


# --- Right -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_every_player_is_checked_on_every_kind_of_data(name: str) -> None:
    checks, refused = checks_of(gans.load(name))
    assert {c.data for c in checks} == {*IMAGES, *(POINTS if name in WITH_POINTS else [])}
    assert {c.data for c in checks} | refused.keys() == {*IMAGES, *POINTS}
    assert all(isinstance(error, UserError) for error in refused.values())
    for data in {c.data for c in checks}:
        mine = [c for c in checks if c.data == data]
        assert {c.player for c in mine} == mine[0].point.state.optimizers.keys()
        assert [c.update for c in mine] == list(range(len(mine)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_every_recipe_is_right(name: str) -> None:
    assert check_recipe(gans.load(name)) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize("name", ["began", "cgan"])
def test_recipes_with_many_kinks_are_right_for_any_seed(name: str, seed: int) -> None:
    assert check_recipe(gans.load(name), seed=seed) < 1e-5


@pytest.mark.parametrize(
    ("name", "data", "player"),
    [
        ("began", "images", "D"),
        ("cgan", "stacked images", "D"),
        ("sgan", "points in 1-D", "G"),
        ("wgan_gp", "points in 2-D", "D"),
        ("sngan", "points in 2-D", "D"),
    ],
)
def test_some_recipes_are_right(name: str, data: str, player: str) -> None:
    found = check_of(name, data, player)()
    assert found.error < found.tolerance == 1e-5
    parameters = check_of(name, data, player).point.state.players[player].parameters()
    assert found.directions == 2 * len(parameters) + 1  # of two orders, and by the loss itself


@pytest.mark.parametrize("first", [1e-3, 1e-2])
def test_kinks_within_the_step_are_met_and_avoided(
    first: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a first step that crosses many, as the usual one would in a larger network."""
    from minigan.testing import gradients

    monkeypatch.setattr(gradients, "STEPS", [first / 10**k for k in range(6)])
    found = check_of("began", "images", "G")()
    assert found.error < 1e-5
    assert found.kinks > 5
    assert found.kinks <= found.drawn


VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("dcgan", {"two_logits": True, "l2_d": 0.1, "kl_g": 0.1}),
    ("dcgan", {"saturating": True, "smooth": 0.9}),
    ("gan", {"at_once": True}),
    ("gan", {"saturating": True}),
    ("began", {"normalize": False}),
    ("cgan", {"dense": True}),
    ("infogan", {"learn_std": True, "gaussian": 1}),
    ("sgan", {"fake_class": True, "feature_matching": False}),
    ("wgan_gp", {"n_critic": 2}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "fields"), VARIANTS, ids=lambda v: str(v))
def test_a_variant_is_right(name: str, fields: dict[str, Any]) -> None:
    assert check_recipe(gans.load(name), **fields) < 1e-5


# --- Wrong -------------------------------------------------------------------------------------


def scaled(p: Tensor) -> Tensor:
    """p, with 10 % too much gradient."""
    return 1.1 * p - (0.1 * p).detach()


@pytest.fixture
def faint() -> Iterator[Callable[[Tensor], Tensor]]:
    """The identity, whose gradient is right and the derivatives of that 10 % too small."""
    before = dict(PRIMITIVES)
    yield primitive(lambda x: x, "faint").gradients(lambda g, y, x: 0.9 * g + 0.1 * g.detach())
    PRIMITIVES.clear()
    PRIMITIVES.update(before)


def planted(check: RecipeCheck, name: str, wrong: Callable[[Tensor], Tensor]) -> Any:
    """Within the block the recipe sees wrong(p) for the parameter `name` of the check's player."""
    recipe, player = check.point.state.recipe, check.player

    def round(players: Any, *others: Any) -> Any:
        p = players[player].parameters()[name]
        with players[player].replaced({name: wrong(p)}):
            yield from recipe.round(players, *others)

    return mock.patch.object(check.point.state, "recipe", SimpleNamespace(round=round))


def slopes(check: RecipeCheck) -> dict[str, float]:
    """The size of the derivative of the loss by each parameter, relative to the largest one."""
    parameters = check.point.state.players[check.player].parameters()
    values = tuple(Tensor(p.data) for p in parameters.values())
    found = grad(check.point.loss(check.update, check.player, values), values, allow_unused=True)
    size = [
        float(np.linalg.norm(g.data) * np.sqrt(np.mean(np.square(v.data))))
        for g, v in zip(found, values, strict=True)
    ]
    return dict(zip(parameters, np.array(size) / max(size), strict=True))


def finds(check: RecipeCheck, name: str, wrong: Callable[[Tensor], Tensor], order: int) -> None:
    says = rf"order {order} with respect to {check.player}'s {name} of shape"
    with planted(check, name, wrong), pytest.raises(GradientError, match=says):
        check()


# What has no influence: the last bias of a critic, as its loss is a difference (of a hinge loss, if
# all values are within it); the length of a direction in one dimension; and what only shifts values
# before batch norm.
IDLE = {
    "began": {"encoder.layers.3.beta"},
    "sgan": {"features.layers.2.v"},
    "sngan": {"layers.4.layer.bias"},
    "wgan": {"layers.4.bias", "layers.3.bias"},
    "wgan_gp": {"layers.3.bias"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_an_error_in_any_one_parameter_of_a_recipe_is_found(name: str) -> None:
    checks, _ = checks_of(gans.load(name))
    for check in checks:
        sizes = slopes(check)
        idle = {parameter for parameter, slope in sizes.items() if slope < 1e-12}
        assert idle <= (IDLE.get(name, set()) if check.player == "D" else set())
        for parameter in sizes.keys() - idle:
            finds(check, parameter, scaled, 1)


@pytest.mark.parametrize(
    ("name", "data", "player", "parameter"),
    [
        ("began", "images", "D", "encoder.layers.0.bias"),
        ("cgan", "images", "D", "blocks.0.bias"),
        ("gan", "points in 1-D", "G", "layers.1.bias"),
        ("wgan_gp", "points in 2-D", "D", "layers.0.bias"),
        ("sngan", "images", "D", "layers.1.layer.weight"),
    ],
)
def test_an_error_in_one_parameter_is_found(
    name: str, data: str, player: str, parameter: str
) -> None:
    finds(check_of(name, data, player), parameter, scaled, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_an_error_in_the_second_derivative_of_a_recipe_is_found(
    name: str, faint: Callable[[Tensor], Tensor]
) -> None:
    """In any one parameter: the gradient itself is right."""
    checks = [c for c in checks_of(gans.load(name))[0] if c.data in (IMAGES[0], POINTS[1])]
    for check in checks:
        for parameter, slope in slopes(check).items():
            if slope > 1e-12:
                with (
                    planted(check, parameter, faint),
                    pytest.raises(GradientError, match="order 2"),
                ):
                    check()


class Faint(nn.Module):
    """A network whose derivatives by its input have wrong derivatives."""

    def __init__(self, inner: nn.Module, faint: Callable[[Tensor], Tensor]) -> None:
        self.inner, self.faint = inner, faint

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(self.faint(x))


@pytest.mark.parametrize(("name", "data"), PENALIZED)
def test_an_error_in_the_path_of_a_gradient_penalty_is_found(
    name: str, data: str, faint: Callable[[Tensor], Tensor]
) -> None:
    """The critic and its slope are right, the penalty's gradient is not."""
    check = check_of(name, data, "D")
    recipe = check.point.state.recipe

    def round(players: Any, *others: Any) -> Any:
        yield from recipe.round(players | {"D": Faint(players["D"], faint)}, *others)

    other = mock.Mock(wraps=recipe, round=round)
    with (
        mock.patch.object(check.point.state, "recipe", other),
        pytest.raises(GradientError, match="order 1 with respect to D's"),
    ):
        check()


RULES = [
    ("conv2d_dx", 1, "wgan_gp", "images", "D"),
    ("leaky_relu_dx", 0, "wgan_gp", "images", "D"),
    ("matmul", 1, "wgan_gp", "points in 1-D", "D"),
    ("conv2d_dw", 0, "gon", "images", "G"),
    ("softplus", 0, "gan", "points in 2-D", "D"),
    ("absolute", 0, "began", "images", "G"),
    ("exp", 0, "sgan", "images", "D"),
]


@pytest.mark.parametrize(("rule", "position", "name", "data", "player"), RULES)
def test_an_error_in_the_rule_of_a_primitive_is_found(
    rule: str, position: int, name: str, data: str, player: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = check_of(name, data, player)
    rules = list(PRIMITIVES[rule].rules)
    right = rules[position]
    assert right is not None
    rules[position] = lambda *a, **k: 1.1 * right(*a, **k)
    monkeypatch.setattr(PRIMITIVES[rule], "rules", tuple(rules))
    with pytest.raises(GradientError, match=f"with respect to {player}'s"):
        check()


# --- Neither -----------------------------------------------------------------------------------


def test_a_player_whose_parameters_are_clipped_between_two_updates_is_undecided() -> None:
    check, second = (
        c
        for c in checks_of(gans.load("wgan"), n_critic=2)[0]
        if (c.data, c.player) == (POINTS[1], "D")
    )
    check()
    with pytest.raises(UndecidedError, match="writes the parameters of D between two updates"):
        second()


def test_what_has_no_influence_is_said() -> None:
    found = check_of("wgan", "points in 2-D", "D")()
    assert found.idle == ["D's layers.3.bias"]
    assert str(found).endswith("; no influence here: D's layers.3.bias")


def test_a_check_changes_nothing() -> None:
    check = check_of("began", "images", "D")
    state = check.point.state
    before = {n: {k: a.copy() for k, a in p.state().items()} for n, p in state.players.items()}
    first, again = check(), check()
    assert first == again
    for name, player in state.players.items():
        for key, p in player.parameters().items():
            np.testing.assert_array_equal(p.data, before[name][key])

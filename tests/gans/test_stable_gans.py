"""LSGAN, WGAN, WGAN-GP, SNGAN and PacGAN are what their papers say, on images and on points."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import tiny

from minigan import Tensor, gans, grad, nn
from minigan.data import Dataset
from minigan.errors import UserError

NAMES = ["lsgan", "wgan", "wgan_gp", "sngan", "pacgan"]
SHAPES = [tiny.images((3, 32, 32)), tiny.images((1, 28, 32)), tiny.points(2), tiny.points(1)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("data", SHAPES, ids=["32", "28x32", "2-D", "1-D"])
def test_each_makes_images_and_points(name: str, data: Dataset) -> None:
    points = {} if data.is_image else gans.load(name).defaults(data.shape, classes=0, samples=24)
    state = tiny.state(name, data, **points | {"batch_size": 4})
    before = state.samples(z := state.recipe.latent(state.rng, 3))
    for _ in range(2):
        row = state.advance()
    assert all(math.isfinite(value) for value in row.values()), row
    after = state.samples(z)
    assert after.shape == (3, *data.shape)
    assert (after != before).any()


@pytest.mark.parametrize("name", NAMES)
def test_a_side_that_does_not_halve_twice_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"halved 2 times, such as 28.*\(1, 30, 30\).*--size"):
        tiny.state(name, tiny.images((1, 30, 30)))


@pytest.mark.parametrize("name", ["lsgan", "wgan", "wgan_gp", "sngan", "pacgan"])
def test_the_first_rectifiers_bend_within_the_data(name: str) -> None:
    """Each crosses zero on a line no farther from the origin than the data are, and not all there:
    with biases of zero, a network of rectifiers has to learn first where the data lie."""
    data = tiny.points(2, count=200)
    far = Dataset("far", 50 * data.x)
    state = tiny.state(name, far, hidden=64, batch_size=8)
    first = next(m for m in state.players["D"].modules().values() if isinstance(m, nn.Linear))
    weight = first.weight.data
    if name == "sngan":
        weight = state.players["D"].modules()["layers.0"].normalised().data
    distance = np.abs(first.bias.data) / np.linalg.norm(weight, axis=1)
    reach = np.abs(far.x).max()
    assert 0.8 * reach < distance.max() <= reach * 1.001
    assert distance.mean() == pytest.approx(reach / 2, rel=0.2)


def test_lsgan_has_the_targets_of_the_paper() -> None:
    recipe = gans.load("lsgan")()
    assert (recipe.a, recipe.b, recipe.c) == (0, 1, 1)  # equation 9
    assert tiny.state("lsgan").advance() != tiny.state("lsgan", a=-1.0, c=0.0).advance()


def test_wgan_has_the_settings_of_algorithm_1() -> None:
    recipe = gans.load("wgan")()
    found = (recipe.batch_size, recipe.n_critic, recipe.clip, recipe.lr)
    assert found == (64, 5, 0.01, 5e-5)


def test_wgan_clips_the_critic_and_nothing_else() -> None:
    state = tiny.state("wgan", clip=0.003)
    state.advance()
    critic = [p.data for p in state.players["D"].parameters().values()]
    assert max(np.abs(p).max() for p in critic) <= np.float32(0.003)
    assert max(np.abs(p.data).max() for p in state.players["G"].parameters().values()) > 0.003


@pytest.mark.parametrize("name", ["wgan", "wgan_gp", "sngan"])
def test_n_critic_is_the_number_of_critic_updates(name: str) -> None:
    state = tiny.state(name, n_critic=3)
    state.advance()
    assert (state.optimizers["D"].steps, state.optimizers["G"].steps) == (3, 1)
    assert state.batches.position == 3  # each one sees fresh data


@pytest.mark.parametrize("name", ["wgan", "wgan_gp"])
def test_a_critic_reports_its_estimate_and_no_probability(name: str) -> None:
    state = tiny.state(name)
    row = state.advance()
    if name == "wgan":
        assert row["estimate"] == pytest.approx(-row["loss_D"])
    else:
        loss = -row["estimate"] + state.recipe.penalty * row["penalty"]
        assert row["loss_D"] == pytest.approx(loss, rel=1e-5)
    assert state.realness(next(state.batches)) is None


@pytest.mark.parametrize("data", [tiny.images(), tiny.points(2)], ids=["images", "points"])
def test_the_critic_of_wgan_gp_has_no_batch_norm(data: Dataset) -> None:
    critic = tiny.state("wgan_gp", data).players["D"]
    assert not any(isinstance(m, nn.BatchNorm) for m in critic.modules().values())


@pytest.mark.parametrize("name", ["lsgan", "wgan_gp", "sngan", "pacgan"])
def test_the_learning_rates_fall_to_zero_in_the_same_step(name: str) -> None:
    state = tiny.state(name, lr_steps=10, lr_d=1.0, lr_g=1.0)
    turns = getattr(state.recipe, "n_critic", 1)
    for player, each in (("D", turns), ("G", 1)):
        lr = state.optimizers[player].lr
        assert [lr(0), lr(5 * each), lr(10 * each), lr(99 * each)] == pytest.approx([1, 0.5, 0, 0])


# --- PacGAN ------------------------------------------------------------------------------------


def test_packs_are_joined_along_channels_and_features() -> None:
    recipe: Any = tiny.recipe("pacgan", packing=2)
    images = np.arange(4 * 3 * 2 * 2, dtype=np.float32).reshape(4, 3, 2, 2)
    packed = recipe.pack(Tensor(images)).data
    assert packed.shape == (2, 6, 2, 2)
    np.testing.assert_array_equal(packed[1, :3], images[2])
    np.testing.assert_array_equal(packed[1, 3:], images[3])
    points = np.arange(8, dtype=np.float32).reshape(4, 2)
    np.testing.assert_array_equal(recipe.pack(Tensor(points)).data, points.reshape(2, 4))


def test_the_discriminator_sees_a_pack_and_never_mixes_real_and_generated() -> None:
    state = tiny.state("pacgan", tiny.points(2), packing=2)
    seen = []
    with nn.watching(lambda m, x, y: seen.append(x[0].data) if m is state.players["D"] else None):
        state.advance()
    assert [x.shape for x in seen] == [(2, 4)] * 3
    state.batches.position = 0
    np.testing.assert_array_equal(seen[0], next(state.batches).reshape(2, 4))
    np.testing.assert_array_equal(seen[1], seen[2])  # the same generated ones in both updates


def test_each_first_unit_begins_with_one_sample_of_a_pack_of_points() -> None:
    state = tiny.state("pacgan", tiny.points(2), packing=2, hidden=6)
    weight = next(iter(state.players["D"].parameters().values())).data
    for unit, row in enumerate(weight):
        assert (row[:2] != 0).all() == (unit % 2 == 0)
        assert (row[2:] != 0).all() == (unit % 2 == 1)
        assert np.count_nonzero(row) == 2


def test_r1_is_the_squared_slope_of_d_where_samples_are_real() -> None:
    plain = tiny.state("pacgan", tiny.points(2), packing=2, r1=0.0)
    held = tiny.state("pacgan", tiny.points(2), packing=2, r1=3.0)
    real = Tensor(held.batches.at(0)[0])
    slope = grad(held.players["D"](held.recipe.pack(real)).sum(), real).data  # type: ignore[attr-defined]
    added = 1.5 * np.square(slope).sum() / (len(real) / 2)  # gamma / 2, a mean over the packs
    assert added > 0.01
    assert held.advance()["loss_D"] - plain.advance()["loss_D"] == pytest.approx(added, rel=1e-4)


def test_r1_is_for_points_alone() -> None:
    with pytest.raises(UserError, match=r"--r1 must be 0 for images.*batch norm, not 0\.1"):
        tiny.recipe("pacgan", r1=0.1).check_new((1, 28, 28))


def test_a_batch_must_consist_of_whole_packs() -> None:
    with pytest.raises(UserError, match="--batch-size must be a multiple of --packing 3, not 4"):
        tiny.recipe("pacgan", packing=3)


def test_packing_of_one_is_a_plain_gan_of_another_size() -> None:
    one, two = tiny.state("pacgan", packing=1), tiny.state("pacgan", packing=2)
    x = Tensor(next(one.batches))
    assert one.players["D"](x).shape == (4,)
    assert two.players["D"](two.recipe.pack(x)).shape == (2,)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("wgan", {"clip": 0.0}),
        ("sngan", {"lipschitz": 0.0}),
        ("wgan_gp", {"ema": 1.0}),
        ("wgan_gp", {"beta1": -0.1}),
        ("dcgan", {"clip_norm": -1.0}),
        ("dcgan", {"l2_d": -1.0}),
    ],
)
def test_what_cannot_be_is_refused(name: str, fields: dict[str, float]) -> None:
    with pytest.raises(UserError, match=f"--{next(iter(fields)).replace('_', '-')} must be"):
        tiny.state(name, **fields)


# --- DCGAN's options -----------------------------------------------------------------------------


def test_dcgan_clips_what_its_optimisers_get() -> None:
    tight = tiny.state("dcgan", optimizer="sgd", clip_norm=1e-3, lr_d=1.0, lr_g=1.0, beta1=0.0)
    before = {n: p.data.copy() for n, p in tight.players["D"].parameters().items()}
    tight.advance()
    after = tight.players["D"].parameters()
    moved = math.sqrt(sum(((after[n].data - before[n]) ** 2).sum() for n in before))
    assert moved == pytest.approx(1e-3, rel=1e-3)  # lr 1: the step is the clipped gradient


@pytest.mark.parametrize(
    "fields", [{"optimizer": "sgd"}, {"optimizer": "rmsprop"}, {"l2_d": 0.1}, {"kl_g": 0.1}]
)
def test_an_option_of_dcgan_is_another_computation(fields: dict[str, Any]) -> None:
    plain, other = tiny.state("dcgan"), tiny.state("dcgan", **fields)
    for state in (plain, other):
        state.advance()
    assert plain.advance() != other.advance()


def test_l2_adds_the_squares_of_d_alone() -> None:
    plain, other = tiny.state("dcgan"), tiny.state("dcgan", l2_d=0.5)
    squares = sum((p.data**2).sum() for p in plain.players["D"].parameters().values())
    difference = other.advance()["loss_D"] - plain.advance()["loss_D"]
    assert difference == pytest.approx(0.5 * squares, rel=1e-4)


def test_lsgan_may_normalise_the_weights_of_d_instead_of_its_batches() -> None:
    state = tiny.state("lsgan", SHAPES[0], spectral=True)
    layers = state.players["D"].modules().values()
    normed = [layer.layer for layer in layers if isinstance(layer, nn.SpectralNorm)]
    assert len(normed) == 3  # two convolutions and the last, dense layer
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in layers)
    row = state.advance()
    assert all(math.isfinite(value) for value in row.values())
    with pytest.raises(UserError, match="--spectral must be left out for points"):
        gans.load("lsgan")(spectral=True).check_new((2,))

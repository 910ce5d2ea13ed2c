"""Every recipe runs, is exact, moves one player at a time, and is what its paper says."""

from __future__ import annotations

import math
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from tiny import Shell

from minigan import Tensor, gans, nn
from minigan.data import Dataset
from minigan.errors import UserError
from minigan.random import Generator
from minigan.training.run import Run
from minigan.training.state import State

ALL = gans.names()

VARIANTS: list[tuple[str, dict[str, Any], Dataset]] = [
    ("dcgan", {}, tiny.images((1, 28, 28))),
    ("dcgan", {}, tiny.images((1, 32, 32))),
    ("dcgan", {}, tiny.images((3, 32, 32))),
    ("dcgan", {}, tiny.images((3, 64, 64))),
    ("dcgan", {"two_logits": True}, tiny.images()),
    ("dcgan", {"saturating": True}, tiny.images()),
    ("dcgan", {"smooth": 0.9}, tiny.images()),
    ("dcgan", {"two_logits": True, "saturating": True, "smooth": 0.9}, tiny.images()),
    ("dcgan", {"optimizer": "sgd"}, tiny.images()),
    ("dcgan", {"optimizer": "rmsprop", "clip_norm": 0.5}, tiny.images()),
    ("dcgan", {"l2_d": 0.1, "kl_g": 0.1}, tiny.images()),
    ("gan", {}, tiny.images((3, 5, 7))),
    ("gan", {"saturating": True}, tiny.images()),
    ("gan", {"smooth": 0.9}, tiny.images()),
    ("gan", {"k": 2}, tiny.images()),
    ("gan", {"at_once": True}, tiny.images()),
    ("gan", {}, tiny.points(1)),
    ("gan", {}, tiny.points(2)),
]


def parameters(state: State) -> dict[str, bytes]:
    """The bytes of each player's parameters."""
    return {
        name: b"".join(p.data.tobytes() for p in player.parameters().values())
        for name, player in state.players.items()
    }


def changed(before: dict[str, bytes], after: dict[str, bytes]) -> set[str]:
    return {player for player in before if before[player] != after[player]}


def everything(state: State) -> bytes:
    """The bytes of all players' parameters and buffers."""
    return b"".join(a.tobytes() for p in state.players.values() for a in p.state().values())


def test_the_first_two_recipes_are_there() -> None:
    assert {"gan", "dcgan"} <= set(ALL)


# --- Every recipe ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_three_steps_give_finite_losses_of_every_player(name: str) -> None:
    state = tiny.state(name)
    for number in (1, 2, 3):
        row = state.advance()
        assert state.step == number
        assert {f"loss_{player}" for player in state.optimizers} <= row.keys()
        assert all(math.isfinite(value) for value in row.values()), row


@pytest.mark.parametrize("name", ALL)
def test_an_update_moves_its_own_player_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tiny.state(name)
    seen = [parameters(state)]
    turns = []
    for player, optimizer in state.optimizers.items():

        def step(gradients: Any, player: str = player, plain: Any = optimizer.step) -> None:
            before = parameters(state)
            # Between two updates nothing moves but what moved last: its weights may be clipped.
            assert changed(seen[-1], before) <= set(turns[-1:])
            plain(gradients)
            seen.append(parameters(state))
            turns.append(player)
            assert changed(before, seen[-1]) == {player}

        monkeypatch.setattr(optimizer, "step", step)
    state.advance()
    assert set(turns) == set(state.optimizers)


@pytest.mark.parametrize("name", ALL)
def test_samples_have_the_shape_and_range_of_the_data_and_change_nothing(name: str) -> None:
    dataset = tiny.images()
    state = tiny.state(name, dataset)
    state.advance()
    before = everything(state)
    z = state.recipe.latent(state.rng, 5)
    offset = state.rng.offset
    made = state.samples(z)
    assert made.shape == (5, *dataset.shape)
    low, high = state.recipe.output_range(dataset.shape)
    assert low <= made.min() <= made.max() <= high
    assert made.dtype == np.float32
    np.testing.assert_array_equal(state.samples(z), made)
    np.testing.assert_allclose(state.samples(z, batch=2), made, atol=1e-6)
    assert state.rng.offset == offset
    assert everything(state) == before
    assert all(m.training for player in state.players.values() for m in player.modules().values())


@pytest.mark.parametrize("name", ALL)
def test_realness_is_a_probability_of_each_sample(name: str) -> None:
    dataset = tiny.images()
    state = tiny.state(name, dataset)
    x = next(state.batches)
    offset = state.rng.offset
    found = state.realness(x)
    if found is not None:
        assert found.shape == (len(x),)
        assert ((found >= 0) & (found <= 1)).all()
        np.testing.assert_array_equal(state.realness(x), found)  # no dropout in inference
        assert state.rng.offset == offset


@pytest.mark.parametrize("name", ALL)
def test_the_seed_decides_every_byte_of_a_checkpoint(name: str, tmp_path: Path) -> None:
    files = []
    for number, seed in enumerate((0, 0, 1)):
        state = tiny.state(name, seed=seed)
        for _ in range(3):
            state.advance()
        folder = tmp_path / str(number)
        folder.mkdir()
        files.append(state.save(folder, name).read_bytes())
    assert files[0] == files[1]
    assert files[0] != files[2]


@pytest.mark.parametrize("name", ALL)
def test_a_restored_state_goes_on_as_if_nothing_had_been(name: str, tmp_path: Path) -> None:
    whole, first = tiny.state(name), tiny.state(name)
    rows = [whole.advance() for _ in range(4)]
    again = [first.advance() for _ in range(2)]
    second = tiny.state(name)
    second.restore(first.save(tmp_path, name), name)
    again += [second.advance() for _ in range(2)]
    assert again == rows
    assert second.save(tmp_path, name).read_bytes() == whole.save(tmp_path, name).read_bytes()


def resumed_equals_whole(shell: Shell, name: str, tmp_path: Path, half: int) -> None:
    data = tiny.write_idx(tmp_path / "digits", count=24, side=28)
    known = gans.load(name).__dataclass_fields__
    flags = [
        word
        for field, value in tiny.SMALL.items()
        if field in known
        for word in (f"--{field.replace('_', '-')}", str(value))
    ]
    flags += ["--data", str(data), "--seed", "3", "--sample-every", str(half)]
    flags += ["--checkpoint-every", str(half)]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    shell.succeeds("train", name, *flags, "--steps", str(2 * half), "--out", whole)
    shell.succeeds("train", name, *flags, "--steps", str(half), "--out", parts)
    shell.succeeds("train", "--resume", "--out", parts, "--steps", str(2 * half))
    last = f"checkpoints/step-{2 * half:06d}.safetensors"
    assert (parts / last).read_bytes() == (whole / last).read_bytes()
    rows = Run.open(whole).rows()
    assert [row["step"] for row in rows] == list(range(1, 2 * half + 1))
    assert tiny.same_but_for_time(Run.open(parts).rows(), rows)
    for step in (0, half, 2 * half):
        picture = f"samples/step-{step:06d}.png"
        assert (parts / picture).read_bytes() == (whole / picture).read_bytes()


@pytest.mark.parametrize("name", ALL)
def test_two_and_two_resumed_steps_equal_four(name: str, shell: Shell, tmp_path: Path) -> None:
    resumed_equals_whole(shell, name, tmp_path, 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_fifty_and_fifty_resumed_steps_equal_a_hundred(
    name: str, shell: Shell, tmp_path: Path
) -> None:
    resumed_equals_whole(shell, name, tmp_path, 50)


@pytest.mark.parametrize("name", ALL)
def test_every_field_says_what_it_is(name: str, shell: Shell) -> None:
    text = shell.succeeds("train", name, "--help").out
    flags = [f"--{field.name.replace('_', '-')}" for field in fields_of(gans.load(name))]
    assert all(flag in text for flag in flags)
    assert gans.load(name).__doc__.split("\n")[0].split(",")[0] in text


# --- Their variants --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "fields", "dataset"),
    VARIANTS,
    ids=[
        f"{name}-{'-'.join(fields)}-{'x'.join(map(str, data.shape))}"
        for name, fields, data in VARIANTS
    ],
)
def test_a_variant_trains(name: str, fields: dict[str, Any], dataset: Dataset) -> None:
    state = tiny.state(name, dataset, **fields)
    before = parameters(state)
    for _ in range(2):
        row = state.advance()
        assert all(math.isfinite(value) for value in row.values()), row
        assert 0 <= row["D(x)"] <= 1
        assert 0 <= row["D(G(z))"] <= 1
    after = parameters(state)
    assert all(before[player] != after[player] for player in before)
    made = state.samples(state.recipe.latent(state.rng, 3))
    assert made.shape == (3, *dataset.shape)
    assert state.realness(next(state.batches)).shape == (state.recipe.batch_size,)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("dcgan", {"saturating": True}),
        ("dcgan", {"smooth": 0.9}),
        ("dcgan", {"two_logits": True}),
        ("gan", {"saturating": True}),
        ("gan", {"smooth": 0.9}),
        ("gan", {"keep_hidden": 1.0}),
    ],
)
def test_a_variant_is_another_computation(name: str, fields: dict[str, Any]) -> None:
    assert tiny.state(name).advance() != tiny.state(name, **fields).advance()


def test_k_is_the_number_of_discriminator_updates() -> None:
    once, thrice = tiny.state("gan"), tiny.state("gan", k=3)
    for state, updates in ((once, 1), (thrice, 3)):
        state.advance()
        assert (state.optimizers["D"].steps, state.optimizers["G"].steps) == (updates, 1)
        assert state.batches.position == updates  # each one sees fresh data


@pytest.mark.parametrize("at_once", [False, True])
def test_both_players_may_move_from_where_they_are(at_once: bool) -> None:
    """Losses that do not depend on whether the other player has moved yet."""
    still, moving = (tiny.state("gan", at_once=at_once) for _ in range(2))
    updates = [*still.recipe.round(still.players, still.feed, still.rng, 0)]
    losses = {f"loss_{name}": loss.item() for name, loss, _ in updates}
    row = moving.advance()
    assert ({name: row[name] for name in losses} == losses) == at_once
    with pytest.raises(UserError, match="--k must be 1"):
        tiny.state("gan", at_once=True, k=2)


@pytest.mark.parametrize("shape", [(1, 29, 29), (1, 28, 32), (1, 16, 16), (2,)])
def test_dcgan_says_which_shapes_it_makes(shape: tuple[int, ...]) -> None:
    data = tiny.images(shape) if len(shape) == 3 else tiny.points(*shape)
    with pytest.raises(UserError, match=r"28, 32, 48, 64, 96 or 128 pixels.*--data"):
        tiny.state("dcgan", data)


def test_points_have_defaults_of_their_own() -> None:
    kind = gans.load("gan")
    for dimensions in (1, 2):
        fields = kind.defaults((dimensions,), classes=0, samples=100)
        assert fields["latent_size"] == dimensions  # so that Figure 1 can show z and G(z)
        assert fields.keys() <= kind.__dataclass_fields__.keys()
    of_images = kind.defaults((1, 28, 28), classes=10, samples=100)
    assert of_images.keys() == {"noise", "weight_d", "momentum_steps", "at_once"}


# --- What the papers say ---------------------------------------------------------------------


def layers(network: nn.Module) -> list[nn.Module]:
    return [m for m in network.modules().values() if not isinstance(m, nn.Sequential)]


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64)])
@pytest.mark.parametrize("two_logits", [False, True])
def test_dcgan_is_built_as_the_paper_says(shape: tuple[int, ...], two_logits: bool) -> None:
    state = tiny.state("dcgan", tiny.images(shape), two_logits=two_logits)
    G, D = state.players["G"], state.players["D"]
    for network in (G, D):
        kinds = {type(layer) for layer in layers(network)}
        assert not kinds & {nn.MaxPool2d, nn.AvgPool2d, nn.UpsampleNearest, nn.Linear, nn.Maxout}
        assert nn.BatchNorm2d in kinds
    up = [layer for layer in layers(G) if isinstance(layer, nn.ConvTranspose2d)]
    down = [layer for layer in layers(D) if isinstance(layer, nn.Conv2d)]
    assert len(up) == len(down) == {28: 4, 32: 4, 64: 5}[shape[1]]
    # Batch norm in G after every layer but the output, in D after all but the first and the last.
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in layers(G)) == len(up) - 1
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in layers(D)) == len(down) - 2
    assert G[-1] is up[-1]
    assert isinstance(up[-1].activation, nn.Tanh)
    assert isinstance(D[0], nn.Conv2d)
    assert not isinstance(D[1], nn.BatchNorm2d)
    assert [type(a) for a in layers(G) if isinstance(a, nn.LeakyReLU)] == [nn.ReLU] * len(up[:-1])
    slopes = [a.slope for a in layers(D) if isinstance(a, nn.LeakyReLU)]
    assert slopes == [0.2] * len(down[:-1])
    x = Tensor(next(state.batches))
    assert D(x).shape == (4, 2 if two_logits else 1)
    # Each strided layer halves the plane; 7 pixels become 4.
    sides = [row.output[-1] for row in nn.summary(D, x) if row.layer == "Conv2d"]
    assert all((a + 1) // 2 == b for a, b in zip([shape[1], *sides], sides[:-1], strict=False))
    assert sides[-1] == 1


def test_dcgan_starts_as_the_paper_says() -> None:
    state = tiny.state("dcgan", width=16)
    weights = [p.data for n, p in state.players["G"].parameters().items() if p.ndim == 4]
    assert np.concatenate([w.ravel() for w in weights]).std() == pytest.approx(0.02, rel=0.05)
    recipe = gans.load("dcgan")()
    assert (recipe.batch_size, recipe.lr_d, recipe.beta1) == (64, 2e-4, 0.5)
    assert (recipe.lr_g, recipe.latent_size) == (1e-3, 100)  # lr_g is not the paper's, as it says
    z = state.recipe.latent(state.rng, 1000)
    assert -1 <= z.min() < -0.9
    assert 0.9 < z.max() <= 1


def test_gan_is_built_as_the_paper_says() -> None:
    state = tiny.state("gan")
    G, D = state.players["G"], state.players["D"]
    assert sum(isinstance(layer, nn.Maxout) for layer in layers(D)) == 2
    assert [layer.keep for layer in layers(D) if isinstance(layer, nn.Dropout)] == [0.8, 0.5, 0.5]
    assert not any(isinstance(layer, nn.Dropout | nn.Maxout) for layer in layers(G))
    linear = [layer for layer in layers(G) if isinstance(layer, nn.Linear)]
    kinds = [type(layer.activation) for layer in linear]
    assert kinds == [nn.ReLU, nn.ReLU, nn.Sigmoid]
    assert state.recipe.output_range((1, 28, 28)) == (0.0, 1.0)
    points = tiny.state("gan", tiny.points(2))
    last = [m for m in layers(points.players["G"]) if isinstance(m, nn.Linear)][-1]
    assert last.activation is None  # points have no ends
    assert points.recipe.output_range((2,)) is None


def test_gan_drops_out_in_training_and_not_in_inference() -> None:
    state = tiny.state("gan")
    D = state.players["D"]
    x = Tensor(next(state.batches))
    assert (D(x).numpy() != D(x).numpy()).any()
    with D.evaluating():
        np.testing.assert_array_equal(D(x).numpy(), D(x).numpy())
    assert (D(x).numpy() != D(x).numpy()).any()


def test_gan_on_images_has_the_settings_of_the_authors_code() -> None:
    kind = gans.load("gan")
    images = kind.defaults((1, 28, 28), classes=10, samples=60_000)
    recipe = kind(**images)
    assert (recipe.weight_d, recipe.batch_size, recipe.latent_size) == (0.5, 100, 100)
    assert recipe.momentum_steps == 250 * 50_000 // recipe.batch_size
    assert recipe.at_once
    z = recipe.latent(Generator(0, "test"), 1000)
    assert z.var() == pytest.approx(1, abs=0.01)
    assert 1.73 < z.max() < 3**0.5
    half, whole = tiny.state("gan", weight_d=0.5), tiny.state("gan")
    assert half.advance()["loss_D"] == pytest.approx(0.5 * whole.advance()["loss_D"])


def test_gan_on_points_has_the_loss_of_algorithm_1() -> None:
    kind = gans.load("gan")
    recipe = kind(**kind.defaults((1,), classes=0, samples=100))
    z = recipe.latent(Generator(0, "test"), 1000)
    assert 0.99 < z.max() < 1
    assert recipe.weight_d == 1


def test_gan_follows_the_papers_schedules() -> None:
    state = tiny.state("gan", lr=0.1, lr_decay=2.0, lr_least=0.02, momentum_steps=10)
    D = state.optimizers["D"]
    assert [D.lr(step) for step in (0, 1, 2, 3, 50)] == pytest.approx(
        [0.1, 0.05, 0.025, 0.02, 0.02]
    )
    momenta = [D.momentum(step) for step in (0, 5, 10, 1000)]
    assert momenta == pytest.approx([0.5, 0.6, 0.7, 0.7])

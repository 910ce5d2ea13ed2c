"""What any recipe may have from its base: an average of weights, clipping, falling rates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from tiny import Shell

from minigan import Tensor, gans, nn
from minigan.errors import UserError
from minigan.optim import SGD, Optimizer
from minigan.random import Generator
from minigan.recipe import EMA, GradientClipping, LearningRateDecay, Players, Shape
from minigan.tensor import Array
from minigan.training.run import Run
from minigan.training.state import State
from minigan.weights import read

AVERAGED = [name for name in gans.names() if issubclass(gans.load(name), EMA)]
LATER = [name for name in AVERAGED if not gans.load(name).warms]  # type: ignore[attr-defined]

RECIPE = '''
from dataclasses import dataclass

import numpy as np

from minigan import Tensor, nn
from minigan.optim import SGD
from minigan.recipe import EMA, GradientClipping, LearningRateDecay


@dataclass(frozen=True)
class Mine(EMA, GradientClipping, LearningRateDecay):
    """A recipe of one's own."""

    batch_size: int = 4  # samples in a batch

    def output_range(self, shape):
        return 0.0, 1.0

    def players(self, rng, shape):
        n = shape[0] * shape[1] * shape[2]
        G = nn.Sequential(nn.Linear(2, n, rng=rng, activation=nn.Sigmoid()), nn.Reshape(*shape))
        return {"G": G, "D": nn.Sequential(nn.Flatten(), nn.Linear(n, 1, rng=rng))}

    def prepare(self, players, x):
        players["G"][0].bias.data[...] = x.mean()

    def optimizers(self, players):
        return {name: SGD(p.parameters(), self.falling(0.5)) for name, p in players.items()}

    def round(self, players, batches, rng, step):
        G, D = players["G"], players["D"]
        yield "D", (D(next(batches)) ** 2).mean(), {}
        yield "G", ((D(G(Tensor(self.latent(rng, 4)))) - 1) ** 2).mean(), {}

    def latent(self, rng, n):
        return rng.normal((n, 2))

    def generate(self, players, z):
        return players["G"](Tensor(z))
'''


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    file = tmp_path / "mine.py"
    file.write_text(RECIPE)
    return file


def arrays(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in module.state().items()}


# --- The average of weights ------------------------------------------------------------------


def test_the_recipes_with_an_average_are_found() -> None:
    """So that the tests below cannot pass by seeing none."""
    assert {"cgan", "sgan", "wgan_gp", "sngan", "pacgan", "dcgan", "gan"} <= set(AVERAGED)


@pytest.mark.parametrize("name", LATER)
def test_samples_come_from_the_average_of_the_weights(name: str) -> None:
    state = tiny.state(name, ema=0.5)
    G, slow = state.players["G"], state.players["average"]
    start = arrays(slow)
    state.advance()
    moved = False
    for key, value in slow.state().items():
        np.testing.assert_allclose(value, (start[key] + G.state()[key]) / 2, rtol=1e-5, atol=1e-6)
        moved |= bool((value != G.state()[key]).any())
    assert moved
    z = state.recipe.latent(state.rng, 3)
    made = state.samples(z)
    with slow.evaluating():
        np.testing.assert_array_equal(made, slow(Tensor(z)).data)
    with G.evaluating():
        assert (made != G(Tensor(z)).data).any()
    assert "average" not in state.optimizers
    assert "average" not in tiny.state(name, ema=0.0).players


@pytest.mark.parametrize("name", LATER)
def test_an_average_changes_nothing_in_training(name: str) -> None:
    plain, averaged = tiny.state(name, ema=0.0), tiny.state(name, ema=0.9)
    for _ in range(3):
        assert plain.advance() == averaged.advance()
    for player, module in plain.players.items():
        for key, array in module.state().items():
            np.testing.assert_array_equal(array, averaged.players[player].state()[key])


@pytest.mark.parametrize("name", AVERAGED)
def test_an_average_is_restored(name: str, tmp_path: Path) -> None:
    whole, first = (tiny.state(name, ema=0.9) for _ in range(2))
    for state, steps in ((whole, 4), (first, 2)):
        for _ in range(steps):
            state.advance()
    second = tiny.state(name, ema=0.9)
    second.restore(first.save(tmp_path, name), name)
    for _ in range(2):
        second.advance()
    assert second.save(tmp_path, name).read_bytes() == whole.save(tmp_path, name).read_bytes()


def test_a_recipe_of_ones_own_has_an_average(mine: Path, shell: Shell, tmp_path: Path) -> None:
    """By naming its base: in the checkpoint, in what is sampled, and exact when resumed."""
    data = tiny.write_idx(tmp_path / "digits")
    said = " ".join(shell.succeeds("train", mine, "--help").out.replace("│", " ").split())
    assert "samples come from an average of G's weights with this decay, if above 0" in said
    assert "limit of the joint norm of a player's gradients, if above 0" in said
    assert "steps over which the learning rates fall to zero" in said
    flags = ["--data", data, "--ema", "0.7", "--sample-every", "2", "--checkpoint-every", "2"]
    whole, parts, without = (tmp_path / part for part in ("whole", "parts", "without"))
    shell.succeeds("train", mine, *flags, "--steps", "4", "--out", whole)
    shell.succeeds("train", mine, *flags, "--steps", "2", "--out", parts)
    shell.succeeds("train", "--resume", "--out", parts, "--steps", "4", "--recipe", mine)
    for file in ("checkpoints/step-000004.safetensors", "samples/step-000004.png"):
        assert (parts / file).read_bytes() == (whole / file).read_bytes()
    shell.succeeds("train", mine, *flags[:2], "--steps", "4", "--out", without)

    run = Run.open(whole)
    assert run.config["hyper_parameters"]["ema"] == 0.7
    assert tiny.same_but_for_time(run.rows(), Run.open(without).rows())
    found, _ = read(run.checkpoints / "step-000004.safetensors")
    plain, _ = read(without / "checkpoints" / "step-000004.safetensors")
    own = {key for key in found if key.startswith("players/average/")}
    assert found.keys() - plain.keys() == own
    assert len(own) == 2
    for key in own:
        assert (found[key] != found[key.replace("average", "G")]).any()
    picture = "samples/step-000004.png"  # drawn by the recipe's own `generate`
    assert (whole / picture).read_bytes() != (without / picture).read_bytes()


def test_an_average_begins_as_its_player_does(mine: Path) -> None:
    """With what `prepare` made of it, and so does one of D."""
    kind = gans.load(str(mine))
    state = State.fresh(kind(ema=0.5), tiny.images(), 0)  # type: ignore[call-arg]
    G, slow = (arrays(state.players[name]) for name in ("G", "average"))
    assert G["layers.0.bias"].min() > 0.1
    for key, value in slow.items():
        np.testing.assert_array_equal(value, G[key])
    state = tiny.state("sgan")
    D, slow = (arrays(state.players[name]) for name in ("D", "average"))
    for key, value in slow.items():
        np.testing.assert_array_equal(value, D[key])


# --- Clipping and rates ----------------------------------------------------------------------


def test_every_optimiser_of_a_recipe_clips(mine: Path) -> None:
    kind: Any = gans.load(str(mine))
    state = State.fresh(kind(clip_norm=1e-3), tiny.images(), 0)
    before = {name: arrays(state.players[name]) for name in ("G", "D")}
    state.advance()
    for name, start in before.items():
        after = state.players[name].state()
        step = math.sqrt(sum(np.square(after[key] - start[key]).sum() for key in start))
        assert step == pytest.approx(0.5 * 1e-3, rel=1e-2)  # the first learning rate is 0.5
    with pytest.raises(UserError, match="--clip-norm must be 0 or above, not -1"):
        kind(clip_norm=-1.0)


def test_rates_fall_to_zero_in_the_last_step(mine: Path, shell: Shell, tmp_path: Path) -> None:
    kind: Any = gans.load(str(mine))
    recipe = kind(lr_steps=10)
    assert [recipe.falling(2.0)(n) for n in (0, 5, 10, 99)] == pytest.approx([2, 1, 0, 0])
    thrice = recipe.falling(2.0, updates=3)
    assert [thrice(n) for n in (0, 15, 30, 99)] == pytest.approx([2, 1, 0, 0])
    held = recipe.falling(2.0, updates=2, hold=6)
    assert [held(n) for n in (0, 12, 16, 20)] == pytest.approx([2, 2, 1, 0])
    recipe.check_length(10)
    with pytest.raises(UserError, match=r"learning rate is 0 after step 10.*--lr-steps"):
        recipe.check_length(11)


def test_bases_may_be_joined_in_any_order() -> None:
    """Each does its part and lets the others do theirs."""

    @dataclass(frozen=True)
    class One(LearningRateDecay, GradientClipping, EMA):
        def players(self, rng: Generator, shape: Shape) -> Players:
            return {"G": nn.Linear(2, 2, rng=rng)}

        def optimizers(self, players: Players) -> dict[str, Optimizer]:
            return {"G": SGD(players["G"].parameters(), self.falling(0.1))}

        def output_range(self, shape: Shape) -> None:
            return None

        def latent(self, rng: Generator, n: int) -> Array:
            return rng.normal((n, 2))

    recipe = One(ema=0.5, clip_norm=0.1, lr_steps=3)
    state = State.fresh(recipe, tiny.points(2, count=100), 0)
    assert list(state.players) == ["G", "average"]
    assert state.optimizers["G"].clip is not None
    assert list(state.optimizers) == ["G"]
    with pytest.raises(UserError, match="step 3"):
        recipe.check_length(4)
    with pytest.raises(UserError, match="--ema must be from 0 to below 1"):
        One(ema=1.0)

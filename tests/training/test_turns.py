"""A step opened up: its updates one by one, with the bytes of a step that nobody looks at."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tiny
from strict import FakeGpu, strict_kernels

from minigan.device import to_host
from minigan.errors import DivergedError
from minigan.gans.gan import GAN
from minigan.optim import clip_by_norm
from minigan.random import Generator
from minigan.training.graph_replay import CHECKED
from minigan.training.state import State, Turn


@pytest.fixture
def strict_arrays() -> Iterator[None]:
    with strict_kernels():
        yield


def look(state: State) -> list[Turn]:
    """One step, at each of whose updates all is read that there is to read."""
    seen = []
    for turn in state.turns():
        float(turn.loss)
        for gradient in turn.gradients.values():
            np.linalg.norm(to_host(gradient.data))
        for player in state.players.values():
            for array in player.arrays().values():
                to_host(array).sum()
        state.samples(state.recipe.latent(Generator(7), 3))
        seen.append(turn)
    return seen


def row(turns: list[Turn]) -> dict[str, float]:
    found: dict[str, float] = {}
    for turn in turns:
        found |= {f"loss_{turn.player}": turn.loss.item(), **turn.extras}
    return found


def equal(a: State, b: State) -> bool:
    pairs = zip(a._arrays().values(), b._arrays().values(), strict=True)
    same = all(to_host(x).tobytes() == to_host(y).tobytes() for x, y in pairs)
    return same and (a.step, a.counters) == (b.step, b.counters)


@pytest.mark.parametrize("name", ["gan", "wgan_gp", "infogan", "glo"])
def test_looking_changes_no_byte(name: str, tmp_path: Path) -> None:
    looked, usual = tiny.state(name), tiny.state(name)
    for _ in range(2):
        assert row(look(looked)) == usual.advance()
    assert equal(looked, usual)
    saved = [s.save(tmp_path, name).read_bytes() for s in (looked, usual)]
    assert saved[0] == saved[1]


def test_a_turn_is_applied_when_it_is_given() -> None:
    state = tiny.state("gan")

    def weights(name: str) -> list[bytes]:
        return [p.data.tobytes() for p in state.players[name].parameters().values()]

    before = {name: weights(name) for name in state.players}
    turns = state.turns()
    first = next(turns)
    other = next(iter(state.players.keys() - {first.player}))
    assert weights(first.player) != before[first.player]
    assert weights(other) == before[other]
    assert state.step == 0
    assert [turn.player for turn in turns] == [other]
    assert weights(other) != before[other]
    assert state.step == 1


def test_a_turn_has_a_gradient_for_each_parameter_as_it_was_before_clipping() -> None:
    state = tiny.state("gan")
    unclipped = next(tiny.state("gan").turns()).gradients
    for optimizer in state.optimizers.values():
        optimizer.clip = partial(clip_by_norm, limit=1e-12)
    for turn in state.turns():
        parameters = state.optimizers[turn.player].parameters
        shapes = {name: gradient.shape for name, gradient in turn.gradients.items()}
        assert shapes == {name: p.shape for name, p in parameters.items()}
        if turn.player == "D":
            assert all((g.data == unclipped[n].data).all() for n, g in turn.gradients.items())
        assert turn.loss.shape == ()
        assert all(type(extra) is float for extra in turn.extras.values())


def test_a_turn_keeps_no_graph_in_memory() -> None:
    """What a step has computed is gone once it is over, though somebody keeps its turns."""
    kept: list[weakref.ref] = []

    class Watched(GAN):
        def round(self, players, batches, rng, step):  # type: ignore[no-untyped-def]
            for name, loss, extras in super().round(players, batches, rng, step):
                kept.append(weakref.ref(loss))
                yield name, loss, extras
                del loss, extras

    state = State.fresh(Watched(hidden=8, units=6, latent_size=5, batch_size=4), tiny.images(), 0)
    seen = look(state)
    gc.collect()
    assert len(seen) == len(kept) == 2
    assert [reference() for reference in kept] == [None, None]


@pytest.mark.usefixtures("strict_arrays")
def test_steps_are_replayed_again_after_one_that_was_looked_at() -> None:
    looked, usual = (tiny.state("gan", device=FakeGpu()) for _ in range(2))
    said: list[str] = []
    looked.use_graphs(said.append)
    for step in range(2 * CHECKED + 4):
        opened = step in (0, CHECKED + 2)
        assert (row(look(looked)) if opened else looked.advance()) == usual.advance()
    assert equal(looked, usual)
    assert not said
    assert looked.replay is not None
    assert looked.replay.graph is not None


def test_a_loss_that_is_not_finite_ends_the_step_before_its_update() -> None:
    state = tiny.state("gan")
    for parameter in state.players["D"].parameters().values():
        parameter.data = np.full_like(parameter.data, np.nan)
    with pytest.raises(DivergedError, match=r"in step 1; .*"):
        list(state.turns())
    assert state.step == 0

"""Steps that are replayed from a graph, and what keeps a wrong graph from being used.

That every recipe's steps are the same when they are replayed is tested in test_device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import minigan_kernels as kernels
import numpy as np
import pytest
import strict
import tiny
from cuda_tools import needs_gxx
from minigan_kernels.memo import Capture
from strict import FakeGpu, Strict

from minigan import nn, optim, random
from minigan.data import Dataset
from minigan.device import NO_MEMORY, CaptureError, graph_inputs, to_host
from minigan.device.graph_inputs import SymbolicStep
from minigan.errors import DivergedError, UserError
from minigan.gans.cgan import CGAN
from minigan.gans.gan import GAN
from minigan.gans.glo import GLO
from minigan.ops import softplus
from minigan.optim import Adam, optimizers
from minigan.random import Generator
from minigan.tensor import Array
from minigan.training import graph_replay
from minigan.training.device_batches import DeviceBatches
from minigan.training.graph_replay import CAPTURED, CHECKED, copy_into_static
from minigan.training.state import State

OTHERWISE = "gives other values when it is replayed"


@pytest.fixture(autouse=True)
def _strict() -> Iterator[None]:
    with strict.strict_kernels():
        yield


def states(name: str = "gan", data: Dataset | None = None) -> tuple[State, State, list[str]]:
    """A state that replays steps, one that does not, and why the first does not either."""
    said: list[str] = []
    replayed, usual = (tiny.state(name, data, device=FakeGpu()) for _ in range(2))
    replayed.use_graphs(lambda text: said.append(text.partition("because a step ")[2]))
    return replayed, usual, said


def same(replayed: State, usual: State, steps: int = CHECKED + 2) -> bool:
    """Whether two states report the same in all steps, and are the same in the end."""
    rows = [replayed.advance() == usual.advance() for _ in range(steps)]
    arrays = zip(replayed._arrays().values(), usual._arrays().values(), strict=True)
    return all(rows) and all(to_host(a).tobytes() == to_host(b).tobytes() for a, b in arrays)


# --- Planted mistakes ------------------------------------------------------------------------


def the_step_is_counted_on_the_host(patch: pytest.MonkeyPatch) -> None:
    def move(self: Adam, ps: Any, gs: Any, *states: Any, lr: Any) -> None:
        options = {**self.options, "decoupled": self.decoupled, "step": self.steps + 1}
        kernels.adam(ps, gs, *states, lr=lr, **options)

    patch.setattr(Adam, "_move", move)


def the_rate_is_computed_on_the_host(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(optim.Optimizer, "_now", lambda self, schedule: schedule(self.steps))


def noise_goes_on_from_one_place(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(random, "graph_scalar", lambda compute, kind: compute())


def steps_are_not_counted_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(optimizers, "on_replay", lambda action: action())


def a_decay_stays_the_same(patch: pytest.MonkeyPatch) -> None:
    fill = graph_inputs.Inputs.fill
    patch.setattr(graph_inputs.Inputs, "fill", lambda self, number: fill(self, self.step))


def batches_stay_the_same(patch: pytest.MonkeyPatch) -> None:
    def arrays(self: graph_inputs.Inputs, like: Any, fetch: Any) -> list[Array]:
        return [Strict(array) for array in like]  # as if a graph held the host's memory

    patch.setattr(graph_inputs.Inputs, "arrays", arrays)


PACGAN = "pacgan", tiny.points(2)


@pytest.mark.parametrize(
    ("plant", "recipe"),
    [
        (the_step_is_counted_on_the_host, PACGAN),
        (the_rate_is_computed_on_the_host, PACGAN),
        (noise_goes_on_from_one_place, PACGAN),
        (steps_are_not_counted_on, PACGAN),
        (a_decay_stays_the_same, ("cgan", None)),
        (batches_stay_the_same, PACGAN),
    ],
)
def test_a_step_that_is_not_the_same_when_replayed_is_found(
    plant: Callable[[pytest.MonkeyPatch], None],
    recipe: tuple[str, Dataset | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        plant(patch)
        replayed, usual, said = states(*recipe)
        assert same(replayed, usual)
        assert said == [OTHERWISE]
        patch.setattr(graph_replay, "CHECKED", 0)  # then it is used
        replayed, usual, said = states(*recipe)
        assert not same(replayed, usual)
        assert not said


def test_arrays_that_a_step_replaces_go_on_from_where_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(graph_replay, "copy_into_static", lambda target, static: None)
    replayed, usual, _ = states("dcgan")
    assert not same(replayed, usual)  # the running moments of batch norm


# --- What no graph holds ---------------------------------------------------------------------


def drawn_on_the_host(self: Generator, shape: Any, kernel: Any, **options: Any) -> Array:
    out = np.empty(shape, np.float32)
    kernel(out, key=self.key, offset=self._advance(-(-out.size // 4)), **options)
    return self.device.put(out)


def put(self: DeviceBatches, kind: str, fetch: Any) -> list[Array]:
    return [self.device.put(array) for array in fetch()]


def reads(self: Any, players: Any, batches: Any, rng: Any, step: Any) -> Any:
    for name, loss, extras in GAN_ROUND(self, players, batches, rng, step):
        loss.item()
        yield name, loss, extras


def multiplies(self: Any, players: Any, batches: Any, rng: Any, step: Any) -> Any:
    w = players["G"].parameters()["layers.0.weight"].data
    np.matmul(w, w.T)
    yield from GAN_ROUND(self, players, batches, rng, step)


def brings(self: Any, players: Any, batches: Any, rng: Any, step: Any) -> Any:
    w = players["G"].parameters()["layers.0.weight"].data
    np.asarray(np.ones(3), like=w)
    yield from GAN_ROUND(self, players, batches, rng, step)


def fails(self: Any, players: Any, batches: Any, rng: Any, step: Any) -> Any:
    if isinstance(step, SymbolicStep):
        raise KeyError("what is only there as usual")
    yield from GAN_ROUND(self, players, batches, rng, step)


GAN_ROUND = GAN.round


@pytest.mark.parametrize(
    ("owner", "name", "mistake", "why"),
    [
        (Generator, "_draw", drawn_on_the_host, "copies values to the GPU"),
        (DeviceBatches, "_device_batch", put, "copies values to the GPU"),
        (GAN, "round", brings, "copies values to the GPU"),
        (GAN, "round", reads, "reads a value back from the GPU"),
        (GAN, "round", multiplies, "calls cuBLAS"),
        (
            GAN,
            "round",
            fails,
            "cannot be captured (KeyError: 'what is only there as usual')",
        ),
    ],
)
def test_what_cannot_be_captured_is_named_and_runs_as_usual(
    owner: type, name: str, mistake: Any, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, mistake)
    replayed, usual, said = states()
    assert same(replayed, usual)
    assert said == [why]
    assert replayed.counters == usual.counters


def test_a_gradient_that_cannot_be_captured_is_named_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine says around the error which gradient it was."""
    monkeypatch.setattr(softplus, "rules", (lambda g, y, x: g * x.data.ravel()[0].item(),))
    replayed, usual, said = states()
    assert same(replayed, usual)
    assert said == ["reads a value back from the GPU"]


NUMBER: Any = SymbolicStep()


@pytest.mark.parametrize(
    "look",
    [
        lambda: NUMBER + 1,
        lambda: 1 + NUMBER,
        lambda: 10 / NUMBER,
        lambda: NUMBER % 2,
        lambda: -NUMBER,
        lambda: NUMBER == 0,
        lambda: NUMBER < 3,
        lambda: min(1, NUMBER),
        lambda: int(NUMBER),
        lambda: float(NUMBER),
        lambda: bool(NUMBER),
        lambda: f"{NUMBER}",
        lambda: str(NUMBER),
        lambda: {NUMBER},
        lambda: range(NUMBER),
        lambda: [0][NUMBER],
        lambda: NUMBER.bit_length(),
        lambda: np.float32(2) * NUMBER,
        lambda: np.asarray(NUMBER),
        lambda: np.zeros(3) * NUMBER,
    ],
)
def test_nobody_can_look_at_the_number_of_a_captured_step(look: Callable[[], Any]) -> None:
    with pytest.raises(CaptureError, match="its own number"):
        look()


def test_a_number_is_asked_about_in_its_step_alone() -> None:
    assert graph_inputs.graph_scheduled(lambda n: n / 4, 3) == 0.75
    with pytest.raises(CaptureError, match="keeps its number"):
        graph_inputs.graph_scheduled(lambda n: n / 4, NUMBER)


class Full(FakeGpu):
    """A GPU that has room for a graph, or for a step as usual beside it, but not for all."""

    def __init__(self, fits: int) -> None:
        self.fits = fits  # steps

    def capture(self, work: Any) -> Any:
        def counted() -> Any:
            self.step_is_begun()
            return work()

        return super().capture(counted)

    def step_is_begun(self) -> None:
        self.fits -= 1
        if self.fits < 0:
            self.fits = 100
            raise MemoryError("full")


@pytest.mark.parametrize(("fits", "full"), [(0, None), (1, CAPTURED), (1, CHECKED)])
def test_a_gpu_without_room_for_a_graph_runs_steps_as_usual(
    fits: int, full: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    usual = tiny.state("gan", device=FakeGpu())
    replayed = tiny.state("gan", device=Full(fits))
    replayed.use_graphs(said.append)
    for number in range(CHECKED + 1):
        if number + 1 == full:  # a step as usual beside the graph, after one update
            step = replayed.optimizers["D"].step

            def fail(gradients: Any, step: Any = step) -> None:
                step(gradients)
                if graph_inputs.capturing() is None:
                    monkeypatch.undo()
                    raise MemoryError("full")

            monkeypatch.setattr(replayed.optimizers["D"], "step", fail)
        assert replayed.advance() == usual.advance()
    assert said == [f"steps are not replayed from a CUDA graph, because a step {NO_MEMORY}"]
    assert replayed.replay is not None
    assert replayed.replay.graph is None


# --- Memoized weights ------------------------------------------------------------------------


def sampled_as_usual() -> tuple[bool, list[str]]:
    """Whether rounds are the same when they are replayed, and what is drawn between them."""
    z = np.ones((2, 5, 1, 1), np.float32)
    with strict.strict_kernels(packed=True):
        replayed, usual, said = states("dcgan")
        for _ in range(2 * CHECKED):
            drawn = [state.samples(z).tobytes() for state in (replayed, usual)]
            if drawn[0] != drawn[1] or not same(replayed, usual, 1):
                return False, said
    return True, said


def test_packed_weights_are_never_stale() -> None:
    assert sampled_as_usual() == (True, [])


def test_weights_packed_in_a_capture_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """The step after it would read what no kernel has written yet."""
    monkeypatch.setattr(strict, "capturing", lambda: nullcontext(Capture()))
    with pytest.raises(DivergedError, match="nan in step 2"):
        sampled_as_usual()


def test_weights_packed_between_replays_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Capture, "invalidate", lambda self: None)
    assert sampled_as_usual() == (False, [])


# --- Arrays at their places ------------------------------------------------------------------


def test_arrays_that_change_places_are_not_mixed_up() -> None:
    first, second, third = (Strict(np.full(2, n)) for n in (1.0, 2.0, 3.0))
    holds = {"a": first, "b": second, "c": third}
    places = dict(holds)
    holds |= {"a": second, "b": first, "c": Strict(np.full(2, 4.0))}
    target: Any = SimpleNamespace(device_arrays=lambda: holds, replace_arrays=holds.update)
    copy_into_static(target, places)
    assert all(holds[name] is place for name, place in places.items())
    assert [float(holds[name].get()[0]) for name in "abc"] == [2.0, 1.0, 4.0]


def test_a_module_takes_arrays_in_the_place_of_its_own() -> None:
    layer = nn.BatchNorm(3)
    weight, shared = layer.gamma, nn.Sequential(layer, layer)
    shared.replace_arrays({"layers.0.gamma": np.zeros(3), "layers.0.running_mean": np.ones(3)})
    assert layer.gamma is weight
    assert not weight.data.any()
    assert layer.running_mean.all()
    assert layer.running_var.all()


def test_a_state_that_is_restored_captures_anew(tmp_path: Any) -> None:
    replayed, usual, said = states()
    saved = usual.save(tmp_path, "gan")
    assert same(replayed, usual)
    for state in (replayed, usual):
        state.restore(saved, "gan")
        state.rng.key += 1
    assert same(replayed, usual)
    assert not said


def test_more_numbers_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_inputs, "MAX_SCALARS", 3)
    replayed, usual, said = states()
    assert same(replayed, usual)
    assert said == ["has over 3 numbers that differ from step to step"]


# --- Labels are checked before they go to a GPU ---------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "fields", "says"),
    [(CGAN, {"classes": 1}, "more than the label 1"), (GLO, {"samples": 4}, "number of images")],
)
def test_labels_that_do_not_fit_are_refused_on_a_gpu_too(
    recipe: type, fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(UserError, match=says):
        tiny.state(recipe.__module__.split(".")[-1], device=FakeGpu(), **fields).advance()


def test_a_symbol_that_there_is_none_of_has_no_vector_on_a_gpu() -> None:
    table = nn.Embedding(3, 2, rng=Generator(0))
    rows = table(np.array([2, 0])).numpy()
    table.to(FakeGpu())
    found = table(Strict(np.array([2, 0, 3, -1]))).numpy()
    np.testing.assert_array_equal(found[:2], rows)
    assert np.isnan(found[2:]).all()


# --- The kernels of a real GPU, emulated ----------------------------------------------------


@needs_gxx
@pytest.mark.slow  # compiles some thirty kernels
def test_the_kernels_for_gpus_read_what_varies_where_it_lies() -> None:
    with strict.strict_kernels("cuda"):
        said: list[str] = []
        replayed, usual = (
            tiny.state("gan", tiny.points(2), device=FakeGpu(), hidden=3, units=3, batch_size=2)
            for _ in range(2)
        )
        replayed.use_graphs(said.append)
        assert same(replayed, usual)
        assert not said

"""Rounds that are replayed from a graph, and what keeps a wrong graph from being used.

That every recipe's rounds are the same when they are replayed is tested in test_device.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import minigan_kernels as kernels
import numpy as np
import pytest
import strict
import tiny
from cuda_tools import needs_gxx
from strict import Card, Strict, StrictShuttle

from minigan import card, nn, optim, random, replay
from minigan.data import Dataset
from minigan.device import HOST, NO_ROOM, UnrepeatableError, to_host
from minigan.errors import UserError
from minigan.feed import TensorFeed
from minigan.gans.cgan import CGAN
from minigan.gans.gan import GAN
from minigan.gans.glo import GLO
from minigan.ops import softplus
from minigan.optim import Adam
from minigan.random import Generator
from minigan.replay import CAPTURED, CHECKED, RoundNumber, settle
from minigan.tensor import Array
from minigan.train import State

OTHERWISE = "gives other values when it is replayed"


@pytest.fixture(autouse=True)
def _card() -> Iterator[None]:
    with strict.strict_kernels():
        yield


def states(name: str = "gan", data: Dataset | None = None) -> tuple[State, State, list[str]]:
    """A state that replays rounds, one that does not, and why the first does not either."""
    said: list[str] = []
    replayed, usual = (tiny.state(name, data, device=Card()) for _ in range(2))
    replayed.use_graphs(lambda text: said.append(text.partition("because a round ")[2]))
    return replayed, usual, said


def same(replayed: State, usual: State, rounds: int = CHECKED + 2) -> bool:
    """Whether two states report the same in all rounds, and are the same in the end."""
    rows = [replayed.round() == usual.round() for _ in range(rounds)]
    arrays = zip(replayed._arrays().values(), usual._arrays().values(), strict=True)
    return all(rows) and all(to_host(a).tobytes() == to_host(b).tobytes() for a, b in arrays)


# --- Planted mistakes ------------------------------------------------------------------------


def the_step_is_counted_on_the_host(patch: pytest.MonkeyPatch) -> None:
    def move(self: Adam, ps: Any, gs: Any, *states: Any) -> None:
        lr = self._now(self.lr)
        kernels.adam(ps, gs, *states, lr=lr, step=self.steps + 1, **self.options)

    patch.setattr(Adam, "_move", move)


def the_rate_is_computed_on_the_host(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(optim.Optimizer, "_now", lambda self, schedule: schedule(self.steps))


def noise_goes_on_from_one_place(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(random, "varying", lambda compute, kind: compute())


def steps_are_not_counted_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(optim, "each_time", lambda action: action())


def a_decay_stays_the_same(patch: pytest.MonkeyPatch) -> None:
    fill = replay.Inputs.fill
    patch.setattr(replay.Inputs, "fill", lambda self, number: fill(self, self.round_number))


def batches_stay_the_same(patch: pytest.MonkeyPatch) -> None:
    def arrays(self: replay.Inputs, like: Any, fetch: Any) -> list[Array]:
        return [Strict(array) for array in like]  # as if a graph held the host's memory

    patch.setattr(replay.Inputs, "arrays", arrays)


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
def test_a_round_that_is_not_the_same_when_replayed_is_found(
    plant: Callable[[pytest.MonkeyPatch], None],
    recipe: tuple[str, Dataset | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        plant(patch)
        replayed, usual, said = states(*recipe)
        assert same(replayed, usual)
        assert said == [OTHERWISE]
        patch.setattr(replay, "CHECKED", 0)  # then it is used
        replayed, usual, said = states(*recipe)
        assert not same(replayed, usual)
        assert not said


def test_arrays_that_a_round_replaces_go_on_from_where_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replay, "settle", lambda rounds, places: None)
    replayed, usual, _ = states("dcgan")
    assert not same(replayed, usual)  # the running moments of batch norm


# --- What no graph holds ---------------------------------------------------------------------


def drawn_on_the_host(self: Generator, shape: Any, kernel: Any, **options: Any) -> Array:
    out = np.empty(shape, np.float32)
    kernel(out, key=self.key, offset=self._advance(-(-out.size // 4)), **options)
    return self.device.put(out)


def put(self: TensorFeed, kind: str, fetch: Any) -> list[Array]:
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
    if isinstance(step, RoundNumber):
        raise KeyError("what is only there as usual")
    yield from GAN_ROUND(self, players, batches, rng, step)


GAN_ROUND = GAN.round


@pytest.mark.parametrize(
    ("owner", "name", "mistake", "why"),
    [
        (Generator, "_draw", drawn_on_the_host, "copies values to the card"),
        (TensorFeed, "_there", put, "copies values to the card"),
        (GAN, "round", brings, "copies values to the card"),
        (GAN, "round", reads, "reads a value back from the card"),
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
    assert said == ["reads a value back from the card"]


NUMBER: Any = RoundNumber()


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
def test_nobody_can_look_at_the_number_of_a_captured_round(look: Callable[[], Any]) -> None:
    with pytest.raises(UnrepeatableError, match="its own number"):
        look()


def test_a_number_is_asked_about_in_its_round_alone() -> None:
    assert replay.of_round(lambda n: n / 4, 3) == 0.75
    with pytest.raises(UnrepeatableError, match="keeps its number"):
        replay.of_round(lambda n: n / 4, NUMBER)


class Full(Card):
    """A card that has room for a graph, or for a round as usual beside it, but not for all."""

    def __init__(self, fits: int) -> None:
        self.fits = fits  # rounds

    def capture(self, work: Any) -> Any:
        def counted() -> Any:
            self.round_is_begun()
            return work()

        return super().capture(counted)

    def round_is_begun(self) -> None:
        self.fits -= 1
        if self.fits < 0:
            self.fits = 100
            raise MemoryError("full")


@pytest.mark.parametrize(("fits", "full"), [(0, None), (1, CAPTURED), (1, CHECKED)])
def test_a_card_without_room_for_a_graph_runs_rounds_as_usual(
    fits: int, full: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    usual = tiny.state("gan", device=Card())
    replayed = tiny.state("gan", device=Full(fits))
    replayed.use_graphs(said.append)
    for number in range(CHECKED + 1):
        if number + 1 == full:  # a round as usual beside the graph, after one update
            step = replayed.optimizers["D"].step

            def fail(gradients: Any, step: Any = step) -> None:
                step(gradients)
                if replay.capturing() is None:
                    monkeypatch.undo()
                    raise MemoryError("full")

            monkeypatch.setattr(replayed.optimizers["D"], "step", fail)
        assert replayed.round() == usual.round()
    assert said == [f"rounds are not replayed from a CUDA graph, because a round {NO_ROOM}"]
    assert replayed.replay is not None
    assert replayed.replay.graph is None


# --- Arrays at their places ------------------------------------------------------------------


def test_arrays_that_change_places_are_not_mixed_up() -> None:
    first, second, third = (Strict(np.full(2, n)) for n in (1.0, 2.0, 3.0))
    holds = {"a": first, "b": second, "c": third}
    places = dict(holds)
    holds |= {"a": second, "b": first, "c": Strict(np.full(2, 4.0))}
    rounds: Any = SimpleNamespace(places=lambda: holds, replace=holds.update)
    settle(rounds, places)
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
    monkeypatch.setattr(replay, "ROOM", 3)
    replayed, usual, said = states()
    assert same(replayed, usual)
    assert said == ["has over 3 numbers that differ from round to round"]


# --- Batches for the next round ---------------------------------------------------------------


@pytest.mark.parametrize("graphs", [False, True])
def test_every_batch_but_the_first_comes_while_the_card_computes(
    graphs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three in a round, over the end of an epoch of six."""
    usual = tiny.state("wgan", n_critic=3)
    state = tiny.state("wgan", device=Card(), n_critic=3)
    if graphs:
        state.use_graphs(print)
    events: list[str] = []
    for owner, name in ((Card, "put"), (StrictShuttle, "send"), (StrictShuttle, "take")):
        real = getattr(owner, name)

        def noted(self: Any, *arrays: Any, real: Any = real, name: str = name) -> Any:
            if name != "put" or arrays[0].ndim == 4:
                events.append(name)
            return real(self, *arrays)

        monkeypatch.setattr(owner, name, noted)
    monkeypatch.setattr(
        Strict, "get", lambda self, get=Strict.get: events.append("read") or get(self)
    )
    for number in range(CHECKED + 2):
        events.clear()
        assert state.round() == usual.round()
        assert state.batches.position == usual.batches.position
        if number + 1 not in ((1, CAPTURED, CHECKED) if graphs else (1,)):
            assert events == ["take"] * 3 + ["send"] * 3 + ["read"]
    assert same(state, usual, 1)


def test_a_round_that_asks_for_other_batches_gets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = tiny.state("gan", device=Card()).batches
    feed = TensorFeed(batches, Card())
    whole = [batches.at(i) for i in range(4)]
    first = next(feed)
    feed.prefetch()
    x, labels = feed.labelled()  # not what was expected
    feed.prefetch()
    y, places = feed.indexed()
    feed.prefetch()
    batches.position = 3  # as a checkpoint that is restored does
    last = next(feed)
    feed.prefetch()
    assert batches.position == 4
    for tensor, (expected, _) in zip((first, x, y, last), whole, strict=True):
        np.testing.assert_array_equal(tensor.numpy(), expected)
    np.testing.assert_array_equal(labels.get(), whole[1][1])
    np.testing.assert_array_equal(batches.dataset.y[places.get()], whole[2][1])


def test_a_batch_that_is_refused_is_refused_in_its_own_round() -> None:
    batches = tiny.state("gan", device=Card()).batches
    feed, calls = TensorFeed(batches, Card()), iter((True, False, False))

    def check(labels: np.ndarray) -> None:
        if not next(calls):
            raise UserError("no such label")

    feed.labelled(check)
    feed.prefetch()
    assert batches.position == 1
    with pytest.raises(UserError, match="no such label"):
        feed.labelled(check)


# --- Labels are checked before they go to a card ---------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "fields", "says"),
    [(CGAN, {"classes": 1}, "more than the label 1"), (GLO, {"samples": 4}, "number of images")],
)
def test_labels_that_do_not_fit_are_refused_on_a_card_too(
    recipe: type, fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(UserError, match=says):
        tiny.state(recipe.__module__.split(".")[-1], device=Card(), **fields).round()


def test_a_symbol_that_there_is_none_of_has_no_vector_on_a_card() -> None:
    table = nn.Embedding(3, 2, rng=Generator(0))
    rows = table(np.array([2, 0])).numpy()
    table.to(Card())
    found = table(Strict(np.array([2, 0, 3, -1]))).numpy()
    np.testing.assert_array_equal(found[:2], rows)
    assert np.isnan(found[2:]).all()


# --- The kernels of a real card, emulated ----------------------------------------------------


@needs_gxx
@pytest.mark.slow  # compiles some thirty kernels
def test_the_kernels_for_cards_read_what_varies_where_it_lies() -> None:
    with strict.strict_kernels("cuda"):
        said: list[str] = []
        replayed, usual = (
            tiny.state("gan", tiny.points(2), device=Card(), hidden=3, units=3, batch_size=2)
            for _ in range(2)
        )
        replayed.use_graphs(said.append)
        assert same(replayed, usual)
        assert not said


# --- What CuPy is asked for ------------------------------------------------------------------


class CuPy:
    """A stand-in that notes what is done with graphs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        self.pools: list[Any] = []  # what each gets its memory by
        note, pools = self.done.append, self.pools

        @contextlib.contextmanager
        def within(name: str) -> Iterator[None]:
            note(f"in {name}")
            yield
            note(f"out of {name}")

        class Stream:
            def __init__(self, non_blocking: bool) -> None:
                assert non_blocking

            def __enter__(self) -> None:
                note("in stream")

            def __exit__(self, *_: object) -> None:
                note("out of stream")

            def begin_capture(self) -> None:
                note("begin")

            def end_capture(self) -> Any:
                note("end")
                return SimpleNamespace(launch=partial(note, "launch"))

        class Pool:
            malloc = "memory"

            def __init__(self, allocator: Any = None) -> None:
                pools.append(allocator)

            def __del__(self) -> None:
                note("no pool")

            def free_all_blocks(self) -> None:
                note("free")

        cupy = ModuleType("cupy")
        default = Pool()
        cupy.get_default_memory_pool = lambda: default  # type: ignore[attr-defined]
        cupy.empty = lambda shape, dtype: note("empty")  # type: ignore[attr-defined]
        cupy.cuda = SimpleNamespace(  # type: ignore[attr-defined]
            Stream=Stream,
            MemoryPool=Pool,
            using_allocator=within,
            runtime=SimpleNamespace(CUDARuntimeError=RuntimeError),
            Memory=self.memory,
            MemoryPointer=lambda memory, offset: (memory, offset),
        )
        monkeypatch.setitem(sys.modules, "cupy", cupy)

    def memory(self, size: int) -> str:
        if size > 1000:
            name = "MemoryAllocation: out of memory" if size < 2000 else "IllegalAddress: ..."
            raise RuntimeError(f"cudaError{name}")
        return f"{size} bytes"


def test_a_shuttle_waits_for_its_place_and_work_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []

    class Stream:
        def __init__(self, name: str = "copies", non_blocking: bool = False) -> None:
            self.name, self.events = name, 0
            assert non_blocking == (name == "copies")

        def record(self) -> Any:
            self.events += 1
            name = f"{self.name} {self.events}"
            done.append(f"record {name}")
            return SimpleNamespace(
                name=name, synchronize=lambda: done.append(f"host waits for {name}")
            )

        def wait_event(self, event: Any) -> None:
            done.append(f"{self.name} wait for {event.name}")

    class Place:
        def __init__(self, shape: Any, dtype: Any) -> None:
            self.array = np.empty(shape, dtype)

        def set(self, array: np.ndarray, stream: Stream) -> None:
            self.array[...] = array
            done.append(f"set on {stream.name}")

        def copy(self) -> np.ndarray:
            done.append("copy")
            return self.array.copy()

    cupy, cupyx, work = ModuleType("cupy"), ModuleType("cupyx"), Stream("work")
    cupy.empty, cupyx.empty_pinned = Place, np.empty  # type: ignore[attr-defined]
    cupy.cuda = SimpleNamespace(  # type: ignore[attr-defined]
        Stream=lambda non_blocking: Stream(non_blocking=non_blocking),
        get_current_stream=lambda: work,
    )
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "cupyx", cupyx)
    shuttle = card.Cuda().shuttle()
    shuttle.send([np.arange(3)])
    first = ["record work 1", "copies wait for work 1", "set on copies", "record copies 1"]
    assert done == first
    done.clear()
    np.testing.assert_array_equal(shuttle.take()[0], np.arange(3))
    assert done == ["work wait for copies 1", "copy", "record work 2"]
    done.clear()
    shuttle.send([np.arange(3) + 1])
    assert done == [
        "host waits for copies 1", "copies wait for work 2", "set on copies", "record copies 2",
    ]  # fmt: skip
    np.testing.assert_array_equal(shuttle.take()[0], np.arange(3) + 1)
    done.clear()
    shuttle.send([np.arange(4)])  # of another shape, to another place, when the old one is read
    assert done[0] == "host waits for copies 2"
    np.testing.assert_array_equal(shuttle.take()[0], np.arange(4))


BEGUN = ["free", "in stream", "in memory", "begin"]


def test_a_capture_has_a_stream_and_memory_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    cupy = CuPy(monkeypatch)
    result, launch = card.Cuda().capture(lambda: cupy.done.append("work") or 7)
    assert result == 7
    assert cupy.done == [*BEGUN, "work", "end", "out of memory", "out of stream"]
    cupy.done.clear()
    launch()
    launch()
    assert cupy.done == ["launch", "launch"]
    del launch
    assert cupy.done == ["launch", "launch", "no pool"]


def test_memory_that_a_graph_uses_is_given_to_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """CuPy's pool frees what it can before it gives up: in the midst of a capture, that is what
    kernels will write that are captured already. And what the host writes before each launch must
    not be what a kernel had before.
    """
    cupy, device = CuPy(monkeypatch), card.Cuda()
    device.capture(lambda: device.lasting(3, np.float32))
    done = ["in None", "empty", "out of None"]
    assert cupy.done[:7] == [*BEGUN, *done]
    _, allocate = cupy.pools
    assert allocate(512) == ("512 bytes", 0)
    with pytest.raises(MemoryError, match="out of memory"):
        allocate(1024)
    with pytest.raises(RuntimeError, match="Illegal"):
        allocate(4096)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (RuntimeError("the current stream is capturing, so D2H transfers are"), "reads a value"),
        (RuntimeError("the current stream is capturing, so H2D transfers are"), "copies values"),
        (RuntimeError("... is capturing, so synchronous API calls are"), "waits for the card"),
        (RuntimeError("cudaErrorStreamCaptureUnsupported: operation not"), "waits for the card"),
        (NotImplementedError("calling cuBLAS API during stream capture is"), "calls cuBLAS"),
        (MemoryError("Out of memory allocating 512 bytes"), "needs more memory"),
        (UnrepeatableError("uses its own number"), "uses its own number"),
    ],
)
def test_a_capture_that_fails_is_ended_and_says_why(
    error: Exception, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cupy = CuPy(monkeypatch)

    def work() -> None:
        try:
            raise error
        except Exception as inner:
            raise ValueError("the gradient of softplus failed") from inner

    with pytest.raises(UnrepeatableError, match=why):
        card.Cuda().capture(work)
    assert cupy.done[:5] == [*BEGUN, "end"]


def test_an_error_that_has_nothing_to_do_with_capturing_stays_what_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    CuPy(monkeypatch)
    with pytest.raises(ValueError, match="shapes"):
        card.Cuda().capture(lambda: (_ for _ in ()).throw(ValueError("H2D: shapes")))


def test_the_computer_itself_captures_nothing() -> None:
    state = tiny.state("gan")
    state.use_graphs(print)
    assert state.replay is None
    with pytest.raises(TypeError):
        HOST.capture(int)

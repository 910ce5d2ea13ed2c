"""GPUs: batches for the next step, and what CuPy is asked for to capture one."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import strict
import tiny
from minigan_kernels.memo import freeze, memoize, writable
from strict import FakeGpu, Strict, StrictPrefetcher

from minigan.data import Dataset
from minigan.device import HOST, CaptureError, cuda, to_host
from minigan.errors import UserError
from minigan.training.device_batches import DeviceBatches
from minigan.training.graph_replay import CAPTURED, CHECKED
from minigan.training.state import State


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


# --- Batches for the next step ---------------------------------------------------------------


@pytest.mark.parametrize("graphs", [False, True])
def test_every_batch_but_the_first_comes_while_the_gpu_computes(
    graphs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three in a step, over the end of an epoch of six."""
    usual = tiny.state("wgan", n_critic=3)
    state = tiny.state("wgan", device=FakeGpu(), n_critic=3)
    if graphs:
        state.use_graphs(print)
    events: list[str] = []
    for owner, name in ((FakeGpu, "put"), (StrictPrefetcher, "send"), (StrictPrefetcher, "take")):
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
        assert state.advance() == usual.advance()
        assert state.batches.position == usual.batches.position
        if number + 1 not in ((1, CAPTURED, CHECKED) if graphs else (1,)):
            assert events == ["take"] * 3 + ["send"] * 3 + ["read"]
    assert same(state, usual, 1)


def test_a_step_that_asks_for_other_batches_gets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = tiny.state("gan", device=FakeGpu()).batches
    feed = DeviceBatches(batches, FakeGpu())
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


def test_a_batch_that_is_refused_is_refused_in_its_own_step() -> None:
    batches = tiny.state("gan", device=FakeGpu()).batches
    feed, calls = DeviceBatches(batches, FakeGpu()), iter((True, False, False))

    def check(labels: np.ndarray) -> None:
        if not next(calls):
            raise UserError("no such label")

    feed.labelled(check)
    feed.prefetch()
    assert batches.position == 1
    with pytest.raises(UserError, match="no such label"):
        feed.labelled(check)


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
    prefetcher = cuda.Cuda().prefetcher()
    prefetcher.send([np.arange(3)])
    first = ["record work 1", "copies wait for work 1", "set on copies", "record copies 1"]
    assert done == first
    done.clear()
    np.testing.assert_array_equal(prefetcher.take()[0], np.arange(3))
    assert done == ["work wait for copies 1", "copy", "record work 2"]
    done.clear()
    prefetcher.send([np.arange(3) + 1])
    assert done == [
        "host waits for copies 1", "copies wait for work 2", "set on copies", "record copies 2",
    ]  # fmt: skip
    np.testing.assert_array_equal(prefetcher.take()[0], np.arange(3) + 1)
    done.clear()
    prefetcher.send([np.arange(4)])  # of another shape, to another place, when the old one is read
    assert done[0] == "host waits for copies 2"
    np.testing.assert_array_equal(prefetcher.take()[0], np.arange(4))


BEGUN = ["free", "in stream", "in memory", "begin"]


def test_a_capture_has_a_stream_and_memory_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    cupy = CuPy(monkeypatch)
    result, launch = cuda.Cuda().capture(lambda: cupy.done.append("work") or 7)
    assert result == 7
    assert cupy.done == [*BEGUN, "work", "end", "out of memory", "out of stream"]
    cupy.done.clear()
    launch()
    launch()
    assert cupy.done == ["launch", "launch"]
    del launch
    assert cupy.done == ["launch", "launch", "no pool"]


def test_what_a_capture_memoizes_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    CuPy(monkeypatch)
    w, computed = np.ones(3), []
    freeze(w)

    def packed() -> int:
        return memoize(w, "packed", lambda: computed.append(1) or len(computed))

    def work() -> list[int]:
        before = packed()
        with writable(w):
            pass
        return [before, packed(), packed()]

    assert packed() == 1
    result, launch = cuda.Cuda().capture(work)
    assert result == [2, 3, 3]
    assert [packed(), packed()] == [4, 4]
    launch()  # writes w
    assert [packed(), packed()] == [5, 5]


def test_memory_that_a_graph_uses_is_given_to_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """CuPy's pool frees what it can before it gives up: in the midst of a capture, that is what
    kernels will write that are captured already. And what the host writes before each launch must
    not be what a kernel had before.
    """
    cupy, device = CuPy(monkeypatch), cuda.Cuda()
    device.capture(lambda: device.empty_static(3, np.float32))
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
        (RuntimeError("... is capturing, so synchronous API calls are"), "waits for the GPU"),
        (RuntimeError("cudaErrorStreamCaptureUnsupported: operation not"), "waits for the GPU"),
        (NotImplementedError("calling cuBLAS API during stream capture is"), "calls cuBLAS"),
        (MemoryError("Out of memory allocating 512 bytes"), "needs more memory"),
        (CaptureError("uses its own number"), "uses its own number"),
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

    with pytest.raises(CaptureError, match=why):
        cuda.Cuda().capture(work)
    assert cupy.done[:5] == [*BEGUN, "end"]


def test_an_error_that_has_nothing_to_do_with_capturing_stays_what_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    CuPy(monkeypatch)
    with pytest.raises(ValueError, match="shapes"):
        cuda.Cuda().capture(lambda: (_ for _ in ()).throw(ValueError("H2D: shapes")))


def test_the_computer_itself_captures_nothing() -> None:
    state = tiny.state("gan")
    state.use_graphs(print)
    assert state.replay is None
    with pytest.raises(TypeError):
        HOST.capture(int)

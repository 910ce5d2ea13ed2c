"""What is measured of tiles, when, and where it is kept: clocks are planted, no GPU is needed."""

from __future__ import annotations

import json
import multiprocessing
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import minigan_kernels as kernels
import numpy as np
import pytest
from cuda_tools import Emulated, needs_gxx
from hypothesis import given
from hypothesis import strategies as st
from minigan_kernels.cuda import autotune, nvrtc, tiling
from minigan_kernels.cuda.autotune import MARGIN, Tuner, noting, tuning
from minigan_kernels.cuda.launch import Kernel, kernel, planning

from minigan.commands import layer_kernels

GPU = "a GPU"
X, W = (np.random.default_rng(i).standard_normal((2, 64, 9, 9 - i)) for i in range(2))
W = W[:, :, :3, :3].repeat(40, 0)  # (80, 64, 3, 3)


class Clock:
    """Finds the plan of that number, counted from the rule's, the fastest."""

    def __init__(self, fastest: int, factor: float = 0.5) -> None:
        self.fastest, self.factor = fastest, factor
        self.asked = 0
        self.capturing = False

    def runs(self) -> bool:
        return not self.capturing

    def __call__(self, compute: Callable[[], object]) -> float:
        self.asked += 1
        return self.factor if self.asked - 1 == self.fastest else 1.0


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "minigan" / "cuda"


def chosen(tuner: Tuner | None, precision: str = "float32", w: np.ndarray = W) -> tuple[Any, bool]:
    """The tile and the slices that a convolution takes, and whether they were measured."""
    seen: list[tuple[Any, int]] = []
    kernel_of = tiling.Plan.kernel

    def watched(self: tiling.Plan, *words: str) -> Kernel:
        seen.append((self.tile, self.split_k))
        return kernel_of(self, *words)

    with pytest.MonkeyPatch.context() as patch, kernels.use("cuda"), tiling.precision(precision):
        patch.setattr(tiling.Plan, "kernel", watched)
        patch.setattr(Kernel, "__call__", lambda *_, **__: None)
        with tuning(tuner), noting() as noted:
            kernels.conv2d(X.astype(np.float32), w.astype(np.float32))
    return seen[-1], noted[-1]


def plans(precision: str = "float32") -> list[tuple[Any, int]]:
    """What it may take; the rule's first."""
    with tiling.precision(precision):
        gemm = tiling.GemmShape(2 * 7 * 7, 80, 64 * 9)
        rule = tiling.choose(np.float32, gemm, multiprocessors=132)
        return [(p.tile, p.split_k) for p in tiling.choices(rule, gemm, multiprocessors=132)]


def test_what_may_be_chosen_is_what_the_tests_cover() -> None:
    sizes = st.integers(0, 10**6)

    @given(
        st.builds(tiling.GemmShape, sizes, sizes, sizes, st.integers(1, 500)), st.integers(1, 200)
    )
    def each(gemm: tiling.GemmShape, count: int) -> None:
        for precision in tiling.PRECISIONS:
            with tiling.precision(precision):
                rule = tiling.choose(np.float32, gemm, multiprocessors=count)
                found = tiling.choices(rule, gemm, multiprocessors=count)
                assert found[:1] == ([rule] if all(gemm) else [])
                for each in (rule, *found):
                    assert each.tile in tiling.TILES[precision]
                    assert each.split_k in tiling.SPLIT_K
                    assert each.precision == precision
                    assert each[:2] == rule[:2]  # operands lie as they do for the rule's
                assert len(set(map(str, found))) == len(found)

    each()


@pytest.mark.parametrize("precision", tiling.PRECISIONS)
def test_the_fastest_is_taken_and_kept_for_later_runs(precision: str, folder: Path) -> None:
    may = plans(precision)
    assert len(may) > 2
    for number in range(1, len(may)):
        clock, name = Clock(number), f"{GPU} {number}"
        tuner = Tuner(name, "13.0", clock)
        assert chosen(tuner, precision) == (may[number], True)
        assert clock.asked == len(may)
        assert chosen(tuner, precision) == (may[number], True)
        later = Clock(0)
        assert chosen(Tuner(name, "13.0", later), precision) == (may[number], True)
        assert (clock.asked, later.asked) == (len(may), 0)
    assert len(list(folder.glob("tile-*.txt"))) == len(may) - 1


def test_without_a_tuner_and_where_nothing_is_much_faster_the_rule_holds() -> None:
    rule = plans()[0]
    assert chosen(None) == (rule, False)
    assert chosen(Tuner(GPU, "13.0", Clock(1, MARGIN + 0.01))) == (rule, True)


@needs_gxx
def test_what_was_chosen_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")  # compiled kernels are there
    x, w = X.astype(np.float32), W.astype(np.float32)
    number = len(plans()) - 1
    tile, split_k = plans()[number]
    assert split_k > 1
    with kernels.use("cuda"):
        with tiling.force(tiling.TILES["float32"].index(tile), split_k):
            wanted = kernels.conv2d(x, w)
        tuner = Tuner(GPU, "13.0", Clock(number))
        monkeypatch.setattr("minigan_kernels.cuda.autotune.keep", lambda *_: None)
        with tuning(tuner):
            assert kernels.conv2d(x, w).tobytes() == wanted.tobytes()
        assert kernels.conv2d(x, w).tobytes() != wanted.tobytes()  # or nothing was compared


def spoil(note: Path, **facts: Any) -> None:
    note.write_text(json.dumps(json.loads(note.read_text()) | facts))


@pytest.mark.parametrize(
    "damage",
    [
        lambda table, note: table.write_text("1"),
        lambda table, note: table.unlink(),
        lambda table, note: note.write_text(note.read_text()[:-9]),
        lambda table, note: note.write_bytes(b"\xff\xfe"),
        lambda table, note: note.write_text("[]"),
        lambda table, note: spoil(note, card="another"),
        lambda table, note: spoil(note, problem="another"),
        lambda table, note: spoil(note, chosen="512x512x64, 9 stages, 8x8 warps, 1 resident"),
        lambda table, note: spoil(note, chosen=[1]),
    ],
)
def test_what_is_spoilt_or_anothers_is_measured_again(
    damage: Callable[[Path, Path], None], folder: Path
) -> None:
    chosen(Tuner(GPU, "13.0", Clock(1)))
    (table,) = folder.glob("tile-*.txt")
    damage(table, table.with_name(table.name + ".json"))
    again = Clock(2)
    assert chosen(Tuner(GPU, "13.0", again)) == (plans()[2], True)
    assert again.asked == len(plans())
    assert chosen(Tuner(GPU, "13.0", Clock(0))) == (plans()[2], True)
    assert {path.name for path in folder.iterdir()} == {table.name, table.name + ".json"}


def test_a_choice_is_that_of_a_gpu_a_compiler_a_precision_and_a_problem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen(Tuner(GPU, "13.0", Clock(1)))
    for gpu, compiler, precision, w in (
        ("another", "13.0", "float32", W),
        (GPU, "13.1", "float32", W),
        (GPU, "13.0", "tf32", W),
        (GPU, "13.0", "float32", W[:72]),
    ):
        clock = Clock(1)
        chosen(Tuner(gpu, compiler, clock), precision, w)
        assert clock.asked > 2
    fewer = {name: tiles[1:] for name, tiles in tiling.TILES.items()}
    monkeypatch.setattr(tiling, "TILES", fewer)
    clock = Clock(0)
    chosen(Tuner(GPU, "13.0", clock))
    assert clock.asked == len(plans())


@pytest.mark.parametrize(
    "other", [{"format": 1}, {"format": 3}, {"sources": "other kernels"}, {"among": []}]
)
def test_what_was_chosen_for_other_kernels_is_measured_again_after_one_sentence(
    other: dict[str, Any], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen(Tuner(GPU, "13.0", Clock(1)))
    assert not capsys.readouterr().err
    (note,) = folder.glob("tile-*.json")
    spoil(note, **other)
    before = note.rename(note.with_name("tile-before.txt.json"))
    tuner = Tuner(GPU, "13.0", Clock(2))
    assert chosen(tuner) == (plans()[2], True)
    said = capsys.readouterr().err
    assert str(folder) in said
    assert "are measured again" in said
    assert said.count("\n") == 1
    chosen(tuner, w=W[:72])
    chosen(Tuner(GPU, "13.0", Clock(0)))
    assert not capsys.readouterr().err
    assert before.exists()  # another version of minigan may go by it


def test_a_choice_for_another_problem_or_card_is_no_reason_for_a_word(
    capsys: pytest.CaptureFixture[str],
) -> None:
    chosen(Tuner(GPU, "13.0", Clock(1)))
    chosen(Tuner("another", "13.0", Clock(1)))
    chosen(Tuner(GPU, "13.0", Clock(1)), w=W[:72])
    assert not capsys.readouterr().err


def test_nothing_is_measured_while_a_graph_is_captured() -> None:
    clock = Clock(1)
    tuner = Tuner(GPU, "13.0", clock)
    clock.capturing = True
    assert chosen(tuner) == (plans()[0], False)
    assert clock.asked == 0
    clock.capturing = False  # a round that warms up
    assert chosen(tuner) == (plans()[1], True)
    clock.capturing = True
    assert chosen(tuner) == (plans()[1], True)


def test_nothing_is_measured_where_a_plan_is_forced_or_launches_are_only_listed() -> None:
    x, w, clock = X.astype(np.float32), W.astype(np.float32), Clock(1)
    with kernels.use("cuda"), tuning(Tuner(GPU, "13.0", clock)), planning() as listed:
        kernels.conv2d(x, w)
        with tiling.force(1, 2), noting() as noted:
            kernels.conv2d(x, w)
    assert listed
    assert not noted
    assert clock.asked == 0


class Tuned(Emulated):
    """A GPU that measures, by a planted clock."""

    def tuner(self) -> Any:
        return Tuner(GPU, "13.0", Clock(1))


def test_a_deterministic_card_goes_by_the_rule() -> None:
    with Tuned().context():
        assert isinstance(autotune._tuner.get(), Tuner)
    with Tuned(deterministic=True).context():
        assert autotune._tuner.get() is None
    assert autotune._tuner.get() is None


def test_a_gpu_is_timed_by_its_own_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPU is kept busy until all that is timed was launched; the fastest time counts."""
    happened: list[str] = []
    times = [5.0, 3.0, 4.0, 2.0, 6.0]
    events = iter(["begin", "end"] * len(times))

    class Event:
        def __init__(self) -> None:
            self.name = next(events)

        def record(self) -> None:
            happened.append(self.name)

        def synchronize(self) -> None:
            happened.append("synchronize")

    facts = {"name": b"NVIDIA H200", "major": 9, "minor": 0, "multiProcessorCount": 132}
    cupy = ModuleType("cupy")
    cupy.is_available = lambda: True
    cupy.empty = lambda size: type("ndarray", (), {"__module__": "cupy"})()
    cupy.cuda = ModuleType("cupy.cuda")
    cupy.cuda.Event = Event
    cupy.cuda.get_elapsed_time = lambda begin, end: times.pop()
    capturing: list[bool] = [True, False]
    stream = type("Stream", (), {"is_capturing": lambda self: capturing.pop()})()
    cupy.cuda.get_current_stream = lambda: stream
    cupy.cuda.runtime = ModuleType("cupy.cuda.runtime")
    cupy.cuda.runtime.getDevice = lambda: 7
    cupy.cuda.runtime.getDeviceProperties = lambda number: facts
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(nvrtc, "version", lambda: "13.5")
    monkeypatch.setattr(Kernel, "__call__", lambda self, *_, **__: happened.append(self.name))

    tuner = autotune.of_gpu()
    assert tuner.gpu == "NVIDIA H200, compute capability 9.0, 132 multiprocessors"
    assert tuner.compiler == "13.5"
    assert autotune.of_gpu() is tuner
    assert [tuner.clock.runs(), tuner.clock.runs()] == [True, False]
    assert tuner.clock(lambda: happened.append("compute")) == 2.0
    once = ["busy_wait", "begin", "compute", "end", "synchronize"]
    assert happened == ["compute", *once * autotune.REPEATS]


@needs_gxx
def test_a_gpu_is_busy_for_some_of_its_ticks() -> None:
    kernel("busy_wait", "busy_wait", threads=32)((1,), np.int64(1000))


def test_doctor_says_what_was_measured() -> None:
    class Known:
        def choice(self, plans: list[tiling.Plan], file: str, name: str, *_: Any) -> Any:
            return plans[-1] if name == "convolve_dw" else None

    class Half(Emulated):
        def tuner(self) -> Any:
            return Known()

    rows = layer_kernels.kernels_of_layers(Half("bfloat16"))
    for _, _, *others, weight in rows:
        assert weight.endswith(", measured")
        assert not any("measured" in words for words in others)
    assert sum(words.endswith(", by the rule") for row in rows for words in row) > 10


def _measure(barrier: Any, fastest: int) -> None:
    barrier.wait(60)
    assert chosen(Tuner(GPU, "13.0", Clock(fastest))) in [(p, True) for p in plans()[1:3]]


@pytest.mark.slow
def test_two_processes_may_measure_at_once(folder: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(2)
    both = [spawn.Process(target=_measure, args=(barrier, n)) for n in (1, 2)]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    assert chosen(Tuner(GPU, "13.0", Clock(1)))[0] in plans()[1:3]
    assert len(list(folder.iterdir())) == 2

"""The benchmarks: what they compare, what is kept of a run, and whether it runs.

Nothing here asserts how long anything takes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from email.message import Message
from pathlib import Path

import minigan_kernels
import numpy as np
import pytest
from minigan_kernels.algorithms import registered
from minigan_kernels.checks import conv_window
from minigan_kernels.cpu.conv import select, winograd

import minigan as mg
from bench import __main__ as bench_main
from bench import (
    kernels,
    ladder,
    machine,
    naive,
    table,
    threads,
    tune,
)
from bench.layers import DIRECTIONS, Layer, dcgan
from bench.memory import resident
from bench.peers import Peer, Size, UnavailableError, peer, ready
from bench.settings import Settings
from bench.threads import using
from bench.timing import Clock, Comparison, Sample
from bench.workloads import OURS, workloads
from minigan.commands import bench as command
from minigan.errors import UserError
from minigan.gans.dcgan import DCGAN

ROOT = Path(__file__).resolve().parents[2]
SAVED = sorted((ROOT / "bench" / "results").glob("*.json"))


# --- What is compared ------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not say what is resident")
def test_the_memory_that_is_measured_is_there() -> None:
    """Zeros that nobody has written are one page however many they are."""
    before = resident()
    vectors = machine._vectors_to_add()
    assert resident() - before > 0.9 * vectors.nbytes


def test_a_roof_that_was_measured_while_others_used_the_cores_is_doubtful() -> None:
    class Watch(Clock):
        used = 0.0

        def now(self) -> float:
            return self.used  # as long as it takes

        def others(self) -> float | None:
            self.used += 1.0
            return self.used

    assert machine.roofline(1, 1, 8, Watch()).disturbed
    quiet = Clock()
    quiet.others = lambda: None  # type: ignore[method-assign]
    roof = machine.roofline(1, 1, 8, quiet)
    assert not roof.disturbed
    assert roof.gbytes > 0
    assert table.doubt({"disturbed": True}, "7") == "7?"


def test_threads_are_as_before_afterwards() -> None:
    import numba

    before = numba.get_num_threads()
    with using(1):
        assert numba.get_num_threads() == 1
    assert numba.get_num_threads() == before


def test_the_layers_are_those_of_the_recipe() -> None:
    players = DCGAN(width=64).players(mg.Generator(seed=0), (3, 64, 64))
    of = {name: p.parameters().values() for name, p in players.items()}
    shapes = {name: [p.shape for p in found if p.ndim == 4] for name, found in of.items()}
    for player in ("D", "G"):
        assert [x.weight for x in dcgan() if x.player == player] == shapes[player]


@pytest.mark.parametrize("layer", dcgan(side=32, width=4, batch=2), ids=lambda x: x.name)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_every_rung_of_the_ladder_computes_the_same(layer: Layer, direction: str) -> None:
    arrays = kernels.operands(layer)
    name = layer.kernel_of(direction)
    exact = kernels.ours(layer, direction, arrays)()
    image, w, output = (np.ascontiguousarray(arrays[k]) for k in ("image", "w", "output"))
    edges = (layer.stride, layer.padding)
    out = np.zeros(exact.shape, np.float32)
    loops = {
        "conv2d": lambda: naive.conv2d(image, w, out, *edges),
        "conv2d_dx": lambda: naive.conv2d_dx(output, w, out, *edges),
        "conv2d_dw": lambda: naive.conv2d_dw(image, output, out, *edges),
    }
    loops[name]()
    np.testing.assert_allclose(out, exact, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("layer", dcgan(side=32, width=4, batch=2), ids=lambda x: x.name)
def test_pytorch_is_given_the_same_layers(layer: Layer, direction: str) -> None:
    pytest.importorskip("torch", exc_type=ImportError)
    from bench.peers import torch_kernels

    arrays = kernels.operands(layer)
    exact = kernels.ours(layer, direction, arrays)()
    for step in torch_kernels.conv(layer, direction, *arrays.values()).values():
        np.testing.assert_allclose(step(), exact, rtol=1e-3, atol=1e-4)


def test_pytorch_is_given_the_same_networks() -> None:
    """Layer for layer; minigan's has three biases more, of 64, 1 and 3 values."""
    pytest.importorskip("torch", exc_type=ImportError)
    from bench.peers import torch_dcgan

    size = Size((3, 64, 64))
    players = DCGAN(width=64).players(mg.Generator(seed=0), size.image)
    theirs = {"G": torch_dcgan.generator(size), "D": torch_dcgan.discriminator(size)}
    for name, more in (("G", [(3,)]), ("D", [(64,), (1,)])):
        mine = sorted(p.shape for p in players[name].parameters().values())
        assert mine == sorted([*(tuple(p.shape) for p in theirs[name].parameters()), *more])


def test_a_peer_that_cannot_take_part_says_why() -> None:
    def broken() -> Callable[[], object]:
        raise RuntimeError("no compiler\nand more")

    def absent() -> Callable[[], object]:
        raise UnavailableError("this version has none")

    steps, reasons = ready(
        [
            Peer("works", lambda: lambda: None),
            Peer("broken", broken),
            Peer("absent", absent),
            Peer("not there", lambda: __import__("a_library_that_is_not_there")),
        ]
    )
    assert list(steps) == ["works"]
    assert reasons == {
        "broken": "RuntimeError: no compiler",
        "absent": "this version has none",
        "not there": "a_library_that_is_not_there is not installed",
    }


@pytest.mark.parametrize("workload", workloads(quick=True), ids=lambda w: w.key)
def test_minigan_takes_every_step(workload: object) -> None:
    first = workload.peers[0]  # type: ignore[attr-defined]
    assert first.name == OURS
    first.build()()


@pytest.mark.parametrize(
    "path", ["torch_dcgan.eager", "torch_wgan_gp.critic_step", "jax_dcgan.jitted"]
)
def test_the_peers_take_their_steps(path: str) -> None:
    pytest.importorskip(path.partition("_")[0], exc_type=ImportError)
    numbers = peer("", path, Size((3, 32, 32), 4, 4)).build()()
    assert np.isfinite(numbers).all()  # type: ignore[call-overload]


def test_nothing_is_kept_where_the_ladder_says_so() -> None:
    from minigan_kernels.memo import freeze_result

    array = np.zeros(3, np.float32)
    freeze_result(array, ())
    assert winograd.memoize(array, "once", lambda: 1) == 1
    assert winograd.memoize(array, "once", lambda: 2) == 1
    with ladder.nothing_kept():
        assert winograd.memoize(array, "once", lambda: 2) == 2
    assert winograd.memoize(array, "once", lambda: 3) == 1


def test_the_rungs_on_a_layer_do_nothing_but_the_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What forgets in the step takes as long as a small layer, and its arrays keep nothing."""
    transforms: list[int] = []
    counts: dict[str, int] = {}

    def comparison(steps: dict[str, Callable[[], object]], **_: object) -> Comparison:
        for name in ("Winograd F(4x4)", "kept transforms"):
            transforms.clear()
            steps[name]()
            steps[name]()
            counts[name] = len(transforms)
        return Comparison([{name: Sample(1.0, 1) for name in steps}] * 3, None)

    done = winograd._transform_weights
    monkeypatch.setattr(
        winograd, "_transform_weights", lambda *a: (transforms.append(1), done(*a))[1]
    )
    monkeypatch.setattr(ladder, "compare", comparison)
    monkeypatch.setattr(ladder, "nothing_kept", lambda: pytest.fail("it would be timed as well"))
    rows = [{"layer": {}} for _ in ladder.RUNGS]
    layer = Layer("D", 8, 16, 32, 32)  # tiles enough to keep the filters for
    ladder._climb_layer(layer, "forward", rows, Settings(1, quick=True))
    assert counts == {"Winograd F(4x4)": 2, "kept transforms": 1}


# --- The command -----------------------------------------------------------------------------


def test_the_command_passes_its_words_on(capfd: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--help"]) == 0
    said = capfd.readouterr().out
    assert all(part in said for part in ("kernels", "steps", "growth", "ladder", "overhead"))
    assert command.main(["everything"]) == 2
    assert command.main(["steps", "--quick"]) == 2
    assert "--out" in capfd.readouterr().err
    assert command.main(["tune", "--quick"]) == 2
    assert "nothing worth remembering" in capfd.readouterr().err


@pytest.mark.parametrize("threads", [None, 1])
def test_every_part_has_the_whole_machine_and_is_told_how_much_of_it_to_use(
    threads: int | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A part that finds fewer cores takes them for all, and its result for the machine's."""
    said: list[list[str]] = []
    monkeypatch.setattr(bench_main, "limit", lambda threads: pytest.fail("its children inherit it"))
    monkeypatch.setattr(bench_main, "processors", lambda: [0, 1, 2])
    monkeypatch.setattr(bench_main.subprocess, "call", lambda words, cwd: said.append(words[3:]))
    words = [] if threads is None else ["--threads", str(threads)]
    assert bench_main.main(["all", "--out", str(tmp_path), *words]) == 0
    parts = {words[0] for words in said}
    assert parts == bench_main.PARTS.keys() - {"endurance"}
    counts = [(words[0], words[words.index("--threads") + 1]) for words in said]
    expected = {(part, str(threads or 3)) for part in parts} | {("steps", "1")}
    assert set(counts) == expected
    assert len(counts) == len(expected)


def test_everybody_has_one_processor_of_each_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a core has two, peers that count processors would start two threads on each."""
    held: list[set[int]] = []
    monkeypatch.setattr(threads, "processors", lambda: [0, 2])
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(
        threads.os, "sched_setaffinity", lambda _, cpus: held.append(cpus), raising=False
    )
    for name in threads.VARIABLES:
        monkeypatch.setenv(name, "")
    threads.limit(2)
    threads.limit(1)
    assert held == [{0, 2}, {0}]
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: {0, 2})
    threads.limit(2)
    assert len(held) == 2  # as it is already


def test_without_a_checkout_the_command_says_where_the_benchmarks_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "CHECKOUT", tmp_path)
    for lines, words in (
        (["Homepage, https://one", "Repository, https://two/x"], "git clone https://two/x, go"),
        (["Homepage, https://one"], "git clone https://one, go there"),
        (["Changelog, https://three"], "clone its repository, go there"),
    ):
        known = Message()
        for line in lines:
            known["Project-URL"] = line
        monkeypatch.setattr(command, "metadata", lambda _, known=known: known)
        with pytest.raises(UserError, match=words):
            command.main(["steps"])


ALGORITHM = """
import minigan_kernels
from minigan_kernels.reference import conv

@minigan_kernels.register("mine", "conv2d_dx", takes=lambda layer: layer.groups == 1)
def mine(g, w, **options):
    return conv.conv2d_dx(g, w, **options)
"""


def test_an_algorithm_of_ones_own_is_measured_beside_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(ALGORITHM)
    layer = Layer("D", 2, 16, 16, 8)
    monkeypatch.setattr(select, "cache_folder", lambda: tmp_path / "kernels")
    monkeypatch.setattr(tune, "dcgan", lambda **_: [layer])
    monkeypatch.setattr(kernels, "module", lambda _: None)
    select.cache_clear()
    try:
        bench_main._register(file)
        assert "registered: mine" in capsys.readouterr().err
        row = kernels._row(layer, "dx", Settings(1, quick=True))
        assert "mine" in row["times"]
        assert "mine" not in kernels._row(layer, "forward", Settings(1, quick=True))["times"]

        def comparison(steps: dict[str, Callable[[], object]], **_: object) -> Comparison:
            sample = {name: Sample(0.1 if name == "mine" else 1.0, 1) for name in steps}
            return Comparison([sample] * 5, 0.0)

        monkeypatch.setattr(tune, "compare", comparison)
        tune.tune(Settings(1))
        assert list(select.remembered().values()) == ["mine"]
        heading = capsys.readouterr().out
        assert "mine" in heading
        nothing = tmp_path / "nothing.py"
        for text, words in (("", "registers no algorithm"), (None, "there is no file")):
            if "mine" in registered:
                minigan_kernels.unregister("mine")
            nothing.write_text(text) if text is not None else nothing.unlink()
            with pytest.raises(UserError, match=words):
                bench_main._register(nothing)
    finally:
        if "mine" in registered:
            minigan_kernels.unregister("mine")
        select.cache_clear()


def test_a_file_of_algorithms_is_for_the_parts_that_measure_them(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert command.main(["steps", "--algorithms", "mine.py"]) == 2
    assert "--algorithms is for kernels and tune" in capfd.readouterr().err
    assert command.main(["kernels", "--algorithms", "mine.py"]) == 2
    assert "say with --out where it goes" in capfd.readouterr().err


def test_tuning_remembers_a_clear_winner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = [Layer("D", 2, 16, 16, 8), Layer("D", 2, 32, 16, 8)]
    speed = {"direct": [0.5, 0.99], "winograd": [1.0, 1.0], "winograd2": [2.0, 2.0]}
    turns: dict[str, int] = {}

    def comparison(steps: dict[str, Callable[[], object]], **_: object) -> Comparison:
        for step in steps.values():
            step()  # each algorithm runs
        assert "direct" in select.remembered().values()  # until all is measured
        turn = turns.setdefault("layers", 0) // len(DIRECTIONS)
        turns["layers"] += 1
        row = {name: Sample(speed.get(name, [3.0, 3.0])[turn], 1) for name in steps}
        return Comparison([row] * 5, 0.0)

    def interrupted(*_: object, **__: object) -> Comparison:
        raise KeyboardInterrupt

    monkeypatch.setattr(select, "cache_folder", lambda: tmp_path / "kernels")
    monkeypatch.setattr(tune, "dcgan", lambda **_: layers)
    select.cache_clear()
    try:
        window = conv_window(layers[1].weight, 2, 1, 1)
        of_second = ("conv2d", layers[1].image, layers[1].output, window, 1)
        select.remember(*of_second, "direct")  # by an earlier run
        monkeypatch.setattr(tune, "compare", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tune.tune(Settings(1))
        assert list(select.remembered().values()) == ["direct"]
        monkeypatch.setattr(tune, "compare", comparison)
        tune.tune(Settings(1))
        for layer, algorithm in zip(layers, ("direct", "winograd"), strict=True):
            window = conv_window(layer.weight, layer.stride, layer.padding, 1)
            of_layer = ("conv2d", layer.image, layer.output, window, 1, np.dtype(np.float32))
            assert select.choose(*of_layer)[0] == algorithm
        select.forget()
        assert select.choose(*of_layer)[0] == "winograd"
    finally:
        select.cache_clear()

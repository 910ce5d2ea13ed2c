"""The benchmarks: what they compare, what is kept of a run, and whether it runs.

Nothing here asserts how long anything takes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from minigan_kernels.cpu import plan
from minigan_kernels.shapes import conv_window

import minigan as mg
from bench import (
    endurance,
    kernels,
    ladder,
    machine,
    naive,
    overhead,
    plots,
    readme,
    results,
    table,
    tune,
)
from bench.layers import DIRECTIONS, Layer, dcgan
from bench.memory import resident
from bench.peers import Peer, Size, UnavailableError, peer, ready
from bench.settings import Settings
from bench.steps import best_of
from bench.threads import using
from bench.timing import Clock, Comparison, Sample
from bench.workloads import EAGER, OURS, TUNED, workloads
from minigan.commands import bench as command
from minigan.errors import UserError
from minigan.files import around_part
from minigan.gans.dcgan import DCGAN
from minigan.viz.style import new_figure

ROOT = Path(__file__).resolve().parents[1]
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
    from minigan_kernels.cpu import winograd
    from minigan_kernels.derived import freeze_result

    array = np.zeros(3, np.float32)
    freeze_result(array, ())
    assert winograd.derived(array, "once", lambda: 1) == 1
    assert winograd.derived(array, "once", lambda: 2) == 1
    with ladder.nothing_kept():
        assert winograd.derived(array, "once", lambda: 2) == 2
    assert winograd.derived(array, "once", lambda: 3) == 1


# --- What is kept of a run -------------------------------------------------------------------


def test_a_quick_run_is_whole(tmp_path: Path) -> None:
    """The command line, from the words to the file, in a process of its own."""
    answer = subprocess.run(
        [sys.executable, "-m", "bench", "overhead", "--quick", "--out", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert "leaky_relu" in answer.stdout
    found = results.load("overhead", tmp_path)
    assert found is not None
    assert found["quick"]
    assert {row["name"] for row in found["rows"]} == set(overhead.operations())


def test_endurance_times_two_states_of_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endurance, "EARLY", 10)  # a tenth of it, because it is quick
    monkeypatch.setattr(endurance, "LATE", 30)
    steps: dict[str, int] = {}

    def comparison(rounds: dict[str, Callable[[], object]], **_: object) -> Comparison:
        for name, step in rounds.items():
            step()
            steps[name] = step.__self__.step  # type: ignore[attr-defined]
        return Comparison([{name: Sample(1.0, 1) for name in rounds}] * 5, 0.0)

    monkeypatch.setattr(endurance, "compare", comparison)
    found = results.plain(endurance.measure(Settings(1, quick=True)))
    assert steps == {"round 1": 2, "round 3": 4}
    assert [row["round"] for row in found["rows"]] == [1, 2, 3]
    assert found["ratio"]["median"] == 1
    assert "from round 1 to round 3" in endurance.growth(found)


def test_a_result_that_lacks_something_is_refused(tmp_path: Path) -> None:
    whole = dict.fromkeys(results.KEYS, 0) | {
        "format": results.FORMAT,
        "part": "steps",
        "rows": [{"ms": 1.23456}],
    }
    results.save("whole", whole, tmp_path)
    assert results.load("whole", tmp_path)["rows"] == [{"ms": 1.235}]  # type: ignore[index]
    assert results.load("nothing", tmp_path) is None
    for wrong, word in (
        ({k: v for k, v in whole.items() if k != "machine"}, "lacks machine"),
        (whole | {"format": 99}, "format 99"),
        (whole | {"rows": []}, "measured nothing"),
        (whole | {"rows": [{"ms": float("nan")}]}, r"steps\.rows\.0\.ms is nan"),
    ):
        with pytest.raises(ValueError, match=word):
            results.save("wrong", wrong, tmp_path)


@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.stem)
def test_what_is_committed_is_whole_and_small(path: Path) -> None:
    found = results.check(json.loads(path.read_text()))
    assert not found["quick"], "measure without --quick before it is committed"
    assert found["part"] == path.stem.split("-")[0]
    assert path.stat().st_size < 100_000
    if found["part"] in plots.DRAWN:
        assert (path.parent / f"{plots.DRAWN[found['part']][0]}.png").is_file()


def test_the_readme_shows_the_newest_results() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    parts = around_part(text, readme.BEGIN, readme.END)
    assert text == readme.section().join(parts), "say python -m bench readme"


def timing(seconds: float, *, disturbed: bool = False) -> dict[str, float]:
    return {"median": seconds, "low": seconds, "high": seconds, "disturbed": disturbed}


def saved(folder: Path, part: str, *, revision: str = "abc", **more: object) -> None:
    """A result of one part as its file holds it."""
    machine = {"cpu": "a CPU", "vectors": "vectors", "versions": {"torch": "1.2"}}
    whole = dict.fromkeys(results.KEYS, 1) | {"format": results.FORMAT, "measured": "a day"}
    whole |= {"part": part, "machine": machine | {"revision": revision}, "memory": [], **more}
    results.save(part, whole, folder)


def step_row(disturbed: tuple[str, ...] = ()) -> dict[str, object]:
    seconds = {OURS: 0.1, EAGER: 0.3, TUNED: 0.2}
    return {
        "title": "a step",
        "times": {name: timing(s, disturbed=name in disturbed) for name, s in seconds.items()},
        "ratios": {name: timing(10 * s) for name, s in seconds.items() if name != OURS},
    }


def test_the_section_names_the_machine_and_the_ratios(tmp_path: Path) -> None:
    saved(tmp_path, "steps", rows=[step_row()])
    text = readme.section(tmp_path)
    assert "**a CPU**" in text
    assert "PyTorch 1.2" in text
    assert "measured a day at revision abc in one process" in text
    assert "| a step | **100 ms** | 300 ms (3.00x) | 200 ms (2.00x) | - | - |" in text
    assert "?" not in text


def test_the_section_marks_what_was_disturbed(tmp_path: Path) -> None:
    saved(tmp_path, "steps", rows=[step_row(disturbed=(OURS, TUNED))])
    times = {"minigan": timing(1e-3, disturbed=True), "PyTorch": timing(2e-3)}
    rows = [
        {"name": "D", "planes": "8", "direction": d, "times": times, "peer": "PyTorch",
         "ratios": {"minigan": timing(2.0)}}
        for d in DIRECTIONS
    ]  # fmt: skip
    roof = {"gflops": 5.0, "gbytes": 6.0, "disturbed": True}
    saved(tmp_path, "kernels", rows=rows, roofline=roof)
    text = readme.section(tmp_path)
    assert "| a step | **100 ms?** | 300 ms (3.00x) | 200 ms? (2.00x) | - | - |" in text
    assert "| D | 8 | 1.00? (2.00x) |" in text
    assert "5? GFLOP/s" in text
    assert readme.DOUBTS in text


def test_the_section_says_what_was_measured_at_another_time(tmp_path: Path) -> None:
    saved(tmp_path, "steps", rows=[step_row()])
    saved(tmp_path, "steps-1", rows=[step_row()])
    assert "On one thread:" in readme.section(tmp_path)
    saved(tmp_path, "steps-1", rows=[step_row()], revision="xyz")
    assert "On one thread (measured a day at revision xyz):" in readme.section(tmp_path)
    saved(tmp_path, "steps-1", rows=[step_row()], measured="another")
    assert "On one thread (measured another at revision abc):" in readme.section(tmp_path)


def test_the_best_is_the_one_whose_ratio_is_least() -> None:
    """Of all that a library has, whatever the medians, which are over other rounds, say."""
    times = {OURS: timing(1.0), EAGER: timing(3.0), TUNED: timing(2.0), "JAX": timing(0.5)}
    ratios = {EAGER: timing(2.4), TUNED: timing(2.5), "JAX": timing(0.5)}
    assert best_of({"times": times, "ratios": ratios}, "PyTorch") == EAGER
    assert best_of({"times": {}, "ratios": {}}, "PyTorch") is None


def test_a_picture_marks_what_was_disturbed() -> None:
    for disturbed in (False, True):
        axes = new_figure(1, 1).add_subplot()
        plots._doubt(axes, {"disturbed": disturbed}, (1.0, 1.0))
        assert [text.get_text() for text in axes.texts] == ["?"] * disturbed


def test_a_readme_without_its_marks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("# minigan")
    with pytest.raises(UserError, match="lacks the lines"):
        readme.rewrite(path)
    assert path.read_text() == "# minigan"


# --- The command -----------------------------------------------------------------------------


def test_the_command_passes_its_words_on(capfd: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--help"]) == 0
    said = capfd.readouterr().out
    assert all(part in said for part in ("kernels", "steps", "growth", "ladder", "overhead"))
    assert command.main(["everything"]) == 2
    assert command.main(["steps", "--quick"]) == 2
    assert "--out" in capfd.readouterr().err


def test_without_a_checkout_the_command_says_where_the_benchmarks_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "CHECKOUT", tmp_path)
    with pytest.raises(UserError, match="its repository"):
        command.main(["steps"])


def test_tuning_remembers_a_clear_winner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = [Layer("D", 2, 16, 16, 8), Layer("D", 2, 32, 16, 8)]
    speed = {"direct": [0.5, 0.99], "winograd": [1.0, 1.0], "winograd2": [2.0, 2.0]}
    turns: dict[str, int] = {}

    def comparison(steps: dict[str, Callable[[], object]], **_: object) -> Comparison:
        for step in steps.values():
            step()  # each algorithm runs
        turn = turns.setdefault("layers", 0) // len(DIRECTIONS)
        turns["layers"] += 1
        row = {name: Sample(speed.get(name, [3.0, 3.0])[turn], 1) for name in steps}
        return Comparison([row] * 5, 0.0)

    monkeypatch.setattr(plan, "cache_folder", lambda: tmp_path / "kernels")
    monkeypatch.setattr(tune, "dcgan", lambda **_: layers)
    monkeypatch.setattr(tune, "compare", comparison)
    plan._remembered.cache_clear()
    try:
        tune.tune(Settings(1, quick=True))
        for layer, algorithm in zip(layers, ("direct", "winograd"), strict=True):
            window = conv_window(layer.weight, layer.stride, layer.padding, 1)
            of_layer = ("conv2d", layer.image, layer.output, window, 1, np.dtype(np.float32))
            assert plan.choose(*of_layer)[0] == algorithm
        plan.forget()
        assert plan.choose(*of_layer)[0] == "winograd"
    finally:
        plan._remembered.cache_clear()

"""What is kept of a run of the benchmarks, and what the pages and the pictures make of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from minigan_kernels.cpu.conv import select

from bench import endurance, overhead, plots, readme, results
from bench.layers import DIRECTIONS
from bench.settings import Settings
from bench.steps import best_of
from bench.timing import Comparison, Sample
from bench.workloads import EAGER, OURS, TUNED
from minigan.errors import UserError
from minigan.page_parts import around_part
from minigan.viz.style import new_figure

ROOT = Path(__file__).resolve().parents[2]
SAVED = sorted((ROOT / "bench" / "results").glob("*.json"))


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
    assert found["choices"] == select.remembered()
    assert {row["name"] for row in found["rows"]} == set(overhead.operations())


def test_what_is_imported_is_counted_with_all_that_the_steps_import() -> None:
    code = (
        "import sys; from bench import memory; seen = []; "
        "memory.start_anew = lambda: seen.append('numba' in sys.modules); "
        "memory.main('minigan', '1', 'quick'); assert all(seen)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert found["imported"] <= found["built"]


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
    assert "from step 1 to step 3" in endurance.growth(found)


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


def test_the_pages_show_the_newest_results() -> None:
    for path, begin, end, shown in (
        (readme.PAGE, readme.BEGIN, readme.END, readme.section()),
        (readme.README, readme.SHORT_BEGIN, readme.SHORT_END, readme.summary()),
    ):
        text = path.read_text(encoding="utf-8")
        assert text == shown.join(around_part(text, begin, end)), "say python -m bench readme"


def timing(seconds: float, *, disturbed: bool = False) -> dict[str, float]:
    return {"median": seconds, "low": seconds, "high": seconds, "disturbed": disturbed}


def saved(folder: Path, part: str, *, revision: str = "abc", **more: object) -> None:
    """A result of one part as its file holds it."""
    machine = {"cpu": "a CPU", "vectors": "vectors", "versions": {"torch": "1.2"}}
    whole = dict.fromkeys(results.KEYS, 1) | {"format": results.FORMAT, "measured": "a day"}
    whole |= {
        "part": part,
        "choices": {},
        "machine": machine | {"revision": revision},
        "memory": [],
        **more,
    }
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
    assert "measured a day at revision abc. In one process" in text
    assert "take turns: minigan, PyTorch 1.2." in text
    assert "| a step | **100 ms** | 300 ms (3.00x) | 200 ms (2.00x) | - | - |" in text
    assert "?" not in text
    assert "choose each layer's algorithm." in text
    saved(tmp_path, "steps", rows=[step_row()], choices={"a layer": "direct"})
    assert "choose each layer's algorithm, as it did here." in readme.section(tmp_path)


def test_the_section_tells_of_the_matrix_unit_and_shows_steps_without_it(tmp_path: Path) -> None:
    saved(tmp_path, "steps", rows=[step_row()])
    assert readme.MATRIX_UNIT not in readme.section(tmp_path)
    machine = {"cpu": "a CPU", "versions": {}, "revision": "abc"}
    saved(tmp_path, "steps", rows=[step_row()], machine=machine | {"vectors": "wide with AMX"})
    idle = machine | {"vectors": "wide, AMX idle"}
    saved(tmp_path, "steps-vectors", rows=[step_row()], machine=idle)
    text = readme.section(tmp_path)
    assert readme.MATRIX_UNIT in text
    assert "With `MINIGAN_AMX=0`, as on a CPU without a matrix unit:\n\n|" in text


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


def test_growth_is_drawn_with_what_did_not_change() -> None:
    rows = [
        {"kind": kind, "value": value, "times": {OURS: timing(1e-2 * value)}}
        for kind in ("batch", "width")
        for value in (8, 16)
    ]
    result = {"rows": rows, "base": "8x8x1", "threads": 1, "machine": {"cpu": "a CPU"}}
    figure = plots.growth(result)
    assert figure.get_supxlabel().endswith("What does not change: 8x8x1.")


def test_a_picture_marks_what_was_disturbed() -> None:
    for disturbed in (False, True):
        axes = new_figure(1, 1).add_subplot()
        plots._doubt(axes, {"disturbed": disturbed}, (1.0, 1.0))
        assert [text.get_text() for text in axes.texts] == ["?"] * disturbed


def test_a_page_without_its_marks_is_refused(tmp_path: Path) -> None:
    page, short = tmp_path / "page.md", tmp_path / "README.md"
    page.write_text(f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n")
    short.write_text("# minigan")
    with pytest.raises(UserError, match="lacks the lines"):
        readme.rewrite(page, short, tmp_path)
    assert "Nothing is measured yet" in page.read_text()
    assert short.read_text() == "# minigan"
    with pytest.raises(UserError, match="lacks the lines"):
        readme.rewrite(short, short, tmp_path)


def test_the_summary_has_the_lost_row_and_the_ratio_without_the_matrix_unit(tmp_path: Path) -> None:
    assert "Nothing is measured yet" in readme.summary(tmp_path)
    lost = step_row() | {"title": "lost", "ratios": {EAGER: timing(0.8), TUNED: timing(1.2)}}
    alone = step_row() | {"title": "alone", "ratios": {}}
    saved(tmp_path, "steps", rows=[step_row(), lost, alone])
    text = readme.summary(tmp_path)
    assert "| a step | 100 ms | 200 ms | 2.00x |" in text
    assert "| lost | 100 ms | 300 ms | 0.80x: PyTorch is faster |" in text
    assert "| alone | 100 ms | - | - |" in text
    assert "measured a day at revision abc. CPU: a CPU (vectors), 1 thread" in text
    assert "PyTorch: 1.2." in text
    assert "without AMX" not in text
    machine = {"cpu": "a CPU", "versions": {}, "revision": "abc", "vectors": "wide with AMX"}
    saved(tmp_path, "steps", rows=[step_row(disturbed=(OURS,)), lost], machine=machine)
    saved(tmp_path, "steps-vectors", rows=[step_row() | {"ratios": {TUNED: timing(1.5)}}])
    text = readme.summary(tmp_path)
    assert "| PyTorch / minigan | without AMX |" in text
    assert "| a step | 100 ms? | 200 ms | 2.00x | 1.50x |" in text
    assert "| lost | 100 ms | 300 ms | 0.80x: PyTorch is faster | - |" in text
    assert text.endswith(readme.DOUBTS.strip())

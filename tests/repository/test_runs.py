"""The list of runs behind the page in colour, and the script that does them in pieces."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import examples.colour as colour
import examples.runs as runs
from minigan.cli import main
from minigan.commands.train import _parse
from minigan.errors import UserError
from minigan.page_parts import around_part
from minigan.start import find

TINY = "gan --data ring --steps 6 --hidden 8 --units 6 --batch-size 16 --checkpoint-every 3"
LIST = f"""
[data]
mine = "a folder"

[[run]]
name = "tiny"
train = "{TINY}"
tables = ["tiny"]

[[run]]
name = "other"
train = "dcgan --data mine --steps 2"
tables = []
"""


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A list of two runs, with folders of its own."""
    path = tmp_path / "runs.toml"
    path.write_text(LIST)
    monkeypatch.setattr(runs, "LIST", path)
    monkeypatch.setattr(runs, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(runs, "PICTURES", tmp_path / "pictures")
    return tmp_path


def test_every_run_of_the_list_can_be_started() -> None:
    known, data = runs.entries()
    assert known
    for entry in known:
        name, *flags = entry.words({})
        kind = find(name).kind
        _parse(name, kind, flags, kind())
        assert entry.data in data or entry.data in ("glyphs", "mnist", "ring")
        assert set(entry.tables) <= {*colour.TABLES, "features", "changes", "races"}, entry.name


def test_the_page_shows_what_is_done() -> None:
    text = colour.PAGE.read_text(encoding="utf-8")
    shown = colour.section(runs.entries()[0])
    assert text == shown.join(around_part(text, colour.BEGIN, colour.END))


def test_a_run_is_continued_where_it_was_stopped(
    listed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = listed / "runs"
    assert (
        main(
            [
                "train",
                *TINY.replace("--steps 6", "--steps 3").split(),
                "--out",
                str(folder / "tiny"),
            ]
        )
        == 0
    )
    config = json.loads((folder / "tiny" / "config.json").read_text())
    (folder / "tiny" / "config.json").write_text(json.dumps(config | {"steps": 6}))
    runs.main(["tiny", "--runs", str(folder)])
    entry = runs.entries()[0][0]
    found = runs.result_of(entry)
    assert found is not None
    assert (found["steps"], found["seed"], found["train"]) == (6, 0, TINY)
    assert found["processor_minutes"] > 0
    assert "modes" in {score["key"] for score in found["scores"]}
    assert (listed / "pictures" / "tiny.png").is_file()
    before = entry.result.read_bytes()
    capfd.readouterr()
    runs.main(["tiny", "--runs", str(folder)])  # there is nothing left to do
    assert entry.result.read_bytes() == before
    assert capfd.readouterr() == ("", "")


def test_what_has_no_place_or_time_is_left(
    listed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs.main(["other", "--runs", str(listed / "runs")])
    assert "say --where mine=FOLDER (a folder)" in capsys.readouterr().out
    runs.main(["all", "--runs", str(listed / "runs"), "--minutes", "0"])
    assert not (listed / "runs").exists()
    with pytest.raises(UserError, match="no run nothing"):
        runs.main(["nothing"])


def test_a_run_that_fails_or_changed_has_no_result(listed: Path) -> None:
    entry = runs.Entry("tiny", "gan --data ring --steps 6 --hidden 0")
    with pytest.raises(UserError, match="ended with 2"):
        runs.carry_on(entry, listed / "runs", {}, float("inf"))
    runs.RESULTS.mkdir()
    entry.result.write_text(json.dumps({"train": TINY}))
    assert runs.result_of(entry) is None
    assert runs.result_of(runs.Entry("tiny", TINY)) == {"train": TINY}


def test_two_runs_of_one_name_are_refused(listed: Path) -> None:
    (listed / "runs.toml").write_text(LIST.replace('"other"', '"tiny"'))
    with pytest.raises(UserError, match="two runs called tiny"):
        runs.entries()


def test_a_table_has_each_run_with_its_scores_and_those_of_real_pictures() -> None:
    one = {
        "train": "dcgan --data emoji --size 64",
        "steps": 2800,
        "scored": 2520,
        "processor_minutes": 31.4,
        "picture": "pictures/runs/emoji64-dcgan.png",
        "scores": [{"key": "kernel", "value": 0.02, "baseline": 0.001}],
        "course": [],
    }
    other = one | {"scores": [{"key": "recall", "value": None}], "train": "glo --data emoji"}
    lines = colour._table([one, other]).splitlines()
    assert lines[0] == "| run | steps | best at | processor minutes | kernel distance | recall |"
    assert lines[2] == "| `dcgan` | 2,800 | 2,520 | 31 | 0.0200 (0.0010) | - |"
    assert lines[3] == "| `glo` | 2,800 | 2,520 | 31 | - | - |"


def test_curves_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(colour, "HERE", tmp_path)
    course = [{"step": step, "score": "kernel", "value": 1 / step} for step in (10, 20)]
    one = {"train": "dcgan", "steps": 20, "processor_minutes": 2.0, "course": course}
    colour.draw("emoji64", "A title", [one])
    assert (tmp_path / "pictures" / "runs" / "emoji64-course.png").stat().st_size > 5000

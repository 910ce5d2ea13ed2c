"""Disks that are full, quotas that are used up, file systems that are read-only, file by file."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
from tiny import Shell

from minigan.data import download
from minigan.data.download import File, Source
from minigan.errors import UserError
from minigan.training import checkpoint
from minigan.training.run import Run

ERRORS = [errno.ENOSPC, errno.EDQUOT, errno.EROFS]
RHYTHM = ["--steps", "4", "--sample-every", "2", "--checkpoint-every", "2"]
Fails = Callable[[str, int], None]


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> Fails:
    """From now on files of this name cannot be written."""

    def begin(name: str, number: int) -> None:
        replace, record = Path.replace, Run.record

        def failing_replace(self: Path, target: Path) -> Path:
            if target.name == name:
                raise OSError(number, os.strerror(number), str(self))
            return replace(self, target)

        def failing_record(self: Run, row: Any) -> None:
            if name == "metrics.jsonl" and row["step"] == 3:
                with open(self.metrics, "a") as file:
                    file.write('{"step": 3, "secon')
                raise OSError(number, os.strerror(number))
            record(self, row)

        monkeypatch.setattr(Path, "replace", failing_replace)
        monkeypatch.setattr(Run, "record", failing_record)

    return begin


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Path:
    from minigan.cli import main

    out = tmp_path_factory.mktemp("straight") / "run"
    assert main(words(digits, out)) == 0
    return out


def words(digits: Path, out: Path) -> list[str]:
    return ["train", "gan", *tiny.FLAGS, "--data", str(digits), *RHYTHM, "--out", str(out)]


def hidden(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.is_file()]


@pytest.mark.parametrize(
    ("name", "number"),
    [
        *(("step-000004.safetensors", number) for number in ERRORS),
        *(("metrics.jsonl", number) for number in ERRORS),
        ("real.png", errno.ENOSPC), ("classes.png", errno.ENOSPC),
        ("step-000000.png", errno.EDQUOT), ("step-000000.safetensors", errno.ENOSPC),
        ("step-000002.png", errno.EDQUOT), ("step-000002.safetensors", errno.ENOSPC),
        ("loss.png", errno.EDQUOT), ("report.html", errno.EROFS),
        ("animation.gif", errno.ENOSPC),
    ],
)  # fmt: skip
def test_a_run_ends_in_one_sentence_and_can_go_on(
    name: str, number: int, digits: Path, straight: Path, shell: Shell, tmp_path: Path,
    fails: Fails, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    run = tmp_path / "run"
    fails(name, number)
    answer = shell(*words(digits, run))
    assert answer.code == 1
    assert "Traceback" not in answer.err
    last = answer.err.splitlines()[-1]
    assert last == (
        f"minigan: {run} cannot be written ({os.strerror(number)}); once it can be, continue with "
        f"minigan train --resume --out {run}"
    )
    assert hidden(run) == []
    assert not (run / "lock").exists()
    newest = checkpoint.newest(run / "checkpoints")
    if newest is not None:
        checkpoint.load(newest)
        assert checkpoint.step_of(newest) >= (2 if "4" in name or name == "metrics.jsonl" else 0)
    monkeypatch.undo()
    shell.succeeds("train", "--resume", "--out", run)
    for file in ("checkpoints/step-000004.safetensors", "samples/animation.gif", "loss.png"):
        assert (run / file).read_bytes() == (straight / file).read_bytes()
    assert tiny.same_but_for_time(Run.open(run).rows(), Run.open(straight).rows())


@pytest.mark.parametrize("number", ERRORS)
def test_a_new_run_says_where_it_cannot_be(
    number: int, digits: Path, shell: Shell, tmp_path: Path, fails: Fails
) -> None:
    fails("config.json", number)
    says = (f"{tmp_path / 'run'} cannot be written ({os.strerror(number)})", "--out")
    shell.refuses(*words(digits, tmp_path / "run"), says=says)
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl"])
@pytest.mark.parametrize("number", ERRORS)
def test_a_run_that_cannot_go_on_stays_as_it_is(
    name: str, number: int, run: Path, shell: Shell, fails: Fails
) -> None:
    config, rows = (run / "config.json").read_bytes(), Run.open(run).rows()
    fails(name, number)
    says = (f"{run} cannot be written ({os.strerror(number)})", "--resume")
    shell.refuses("train", "--resume", "--out", run, "--more", "1", says=says, code=1)
    assert (run / "config.json").read_bytes() == config
    assert Run.open(run).rows() == rows
    assert hidden(run) == []


@pytest.mark.parametrize("number", ERRORS)
@pytest.mark.parametrize(
    ("more", "name", "place"),
    [
        ([], "sample.png", "sample.png"),
        (["--single"], "0001.png", "singles"),
        (["--out", "mine.png"], "mine.png", "mine.png"),
    ],
)
def test_a_sample_says_where_it_cannot_be(
    more: list[str], name: str, place: str, number: int, run: Path, shell: Shell, fails: Fails,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(run)
    fails(name, number)
    says = (f"{place} cannot be written ({os.strerror(number)}); choose another --out",)
    shell.refuses("sample", ".", "--count", "4", *more, says=says)
    assert hidden(run) == []


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize("number", ERRORS)
def test_an_evaluation_says_where_it_cannot_be(
    number: int, run: Path, shell: Shell, fails: Fails
) -> None:
    (run / "scores.json").write_text("old")
    fails("scores.json", number)
    answer = shell("evaluate", run, "--count", "10")
    assert answer.code == 2
    sentence = f"minigan: {run / 'scores.json'} cannot be written ({os.strerror(number)})"
    assert answer.err.splitlines()[-1] == sentence
    assert (run / "scores.json").read_text() == "old"
    assert hidden(run) == []


def test_a_classifier_that_cannot_be_kept_judges_all_the_same(
    run: Path, shell: Shell, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def failing_replace(self: Path, target: Path) -> Path:
        if "classifiers" in target.parts:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", failing_replace)
    answer = shell.succeeds("evaluate", run, "--count", "10")
    assert "it could not be kept (No space left on device)" in answer.err
    assert list((own_cache / "minigan/classifiers").iterdir()) == []


@pytest.mark.parametrize("number", ERRORS)
def test_a_download_says_where_it_cannot_be(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch_file(*arguments: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(download, "_fetch_file", fetch_file)
    source = Source("numbers", (), (File("a", 1, "sha256:00"),), (), "none")
    with pytest.raises(UserError) as caught:
        download.fetch(source, tmp_path / "cache")
    tiny.one_sentence(caught.value, os.strerror(number))
    assert "XDG_CACHE_HOME" in str(caught.value)


@pytest.mark.parametrize("part", ["steps", "tune"])
def test_a_benchmark_says_what_it_cannot_write(
    part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    from bench import __main__ as bench

    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "steps.json"))

    monkeypatch.setattr(bench, "limit", lambda threads: None)
    monkeypatch.setattr(bench, "_measure", full)
    monkeypatch.setattr(bench, "_tune", full)
    assert bench.main([part]) == 1
    said = capsys.readouterr().err
    assert said == f"minigan bench: {tmp_path / 'steps.json'}: No space left on device\n"

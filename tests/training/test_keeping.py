"""Which checkpoints of a run stay, which one is the best, and how one is chosen."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from PIL import Image
from tiny import Shell

from minigan.errors import UserError
from minigan.start import Asked
from minigan.training import checkpoint
from minigan.training.keeper import Keeper, Scorer, Scores, chosen
from minigan.training.run import Run

SCORED = ["--data", "ring", "--hidden", "8", "--batch-size", "16", "--checkpoint-every", "1"]


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.no_pictures(monkeypatch)


def steps(run: Path) -> list[int]:
    return [checkpoint.step_of(path) for path in checkpoint.kept(run / "checkpoints")]


def scores(run: Path) -> list[tuple[int, float]]:
    lines = (run / "scores.jsonl").read_text().splitlines()
    return [(row["step"], row["value"]) for row in map(json.loads, lines)]


@pytest.fixture
def by_value(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the score of each step be what a test says."""

    def use(values: dict[int, float], *, higher: bool = True) -> None:
        from minigan import start
        from minigan.commands import resume

        def scorer(name: str, *_: Any) -> Scorer:
            return Scorer(name, higher, lambda state: values[state.step])

        monkeypatch.setattr(start, "score_by", scorer)
        monkeypatch.setattr(resume, "score_by", scorer)

    return use


# --- Which stay ------------------------------------------------------------------------------


@pytest.mark.parametrize(("more", "left"), [([], [3, 4]), (["--keep", "1"], [4]),
                                            (["--keep", "9"], [0, 1, 2, 3, 4])])  # fmt: skip
def test_as_many_stay_as_are_to_be_kept(
    more: list[str], left: list[int], shell: Shell, tmp_path: Path
) -> None:
    shell.succeeds("train", "gan", *SCORED, "--steps", "4", *more, "--out", tmp_path / "run")
    assert steps(tmp_path / "run") == left


def test_a_run_of_before_keeps_two_and_scores_none(shell: Shell, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shell.succeeds("train", "gan", *SCORED, "--steps", "2", "--out", run)
    config = json.loads((run / "config.json").read_text())
    for later in ("keep", "best"):
        del config[later]
    (run / "config.json").write_text(json.dumps(config))
    shell.succeeds("train", "--resume", "--more", "2", "--out", run)
    assert steps(run) == [3, 4]
    assert not (run / "scores.jsonl").exists()


def test_what_is_asked_on_resuming_holds_from_then_on(
    shell: Shell, tmp_path: Path, by_value: Callable[..., None]
) -> None:
    by_value({2: 1.0, 3: 1.0, 4: 1.0, 5: 0.5})
    run = tmp_path / "run"
    shell.succeeds("train", "gan", *SCORED, "--steps", "2", "--out", run)
    more = ["train", "--resume", "--out", run, "--more"]
    shell.succeeds(*more, "2", "--keep", "1", "--best", "it")
    shell.succeeds(*more, "1")
    assert steps(run) == [4, 5]
    assert [step for step, _ in scores(run)] == [2, 3, 4, 5]


@pytest.mark.parametrize("higher", [True, False])
def test_the_best_stays_beside_the_newest(
    higher: bool, shell: Shell, tmp_path: Path, by_value: Callable[..., None]
) -> None:
    sign = 1 if higher else -1
    by_value({1: sign * 3.0, 2: sign * 5.0, 3: math.nan, 4: sign * 4.0}, higher=higher)
    run = tmp_path / "run"
    words = ["--steps", "4", "--keep", "1", "--best", "anything", "--out", run]
    answer = shell.succeeds("train", "gan", *SCORED, *words)
    assert f"to score: minigan evaluate {run} --step best;" in answer.err
    assert steps(run) == [2, 4]
    assert Scores(Run.open(run)).best() == 2
    assert chosen(Run.open(run), "best").name == "step-000002.safetensors"


def test_a_resumed_run_goes_on_comparing(
    shell: Shell, tmp_path: Path, by_value: Callable[..., None]
) -> None:
    values = {1: 1.0, 2: 7.0, 3: 2.0, 4: 2.0, 5: 2.0}
    by_value(values)
    words = ["train", "gan", *SCORED, "--best", "it"]
    shell.succeeds(*words, "--steps", "5", "--out", tmp_path / "straight")
    shell.succeeds(*words, "--steps", "3", "--out", tmp_path / "halves")
    with open(tmp_path / "halves/scores.jsonl", "a") as file:
        file.write('{"step": 9, "score": "it", "value": 99.0, "higher_is_better": true}\n{"st')
    shell.succeeds("train", "--resume", "--steps", "5", "--out", tmp_path / "halves")
    for run in (tmp_path / "straight", tmp_path / "halves"):
        assert steps(run) == [2, 4, 5]
        assert scores(run) == [*values.items()]


def test_what_was_saved_but_not_scored_is_scored_on_resuming(
    shell: Shell, tmp_path: Path, by_value: Callable[..., None]
) -> None:
    """A process may be killed between the two."""
    by_value({1: 1.0, 2: 9.0, 3: 1.0})
    run = tmp_path / "run"
    shell.succeeds("train", "gan", *SCORED, "--best", "it", "--steps", "2", "--out", run)
    (run / "scores.jsonl").write_text((run / "scores.jsonl").read_text().splitlines()[0] + "\n")
    shell.succeeds("train", "--resume", "--steps", "3", "--out", run)
    assert scores(run) == [(1, 1.0), (2, 9.0), (3, 1.0)]


def test_scoring_changes_no_byte(shell: Shell, tmp_path: Path) -> None:
    words = ["train", "gan", *SCORED, "--steps", "3"]
    shell.succeeds(*words, "--out", tmp_path / "plain")
    shell.succeeds(*words, "--best", "reverse_kl", "--out", tmp_path / "scored")
    ends = [tmp_path / name / "checkpoints/step-000003.safetensors" for name in ("plain", "scored")]
    assert ends[0].read_bytes() == ends[1].read_bytes()
    rows = [Run.open(tmp_path / name).rows() for name in ("plain", "scored")]
    assert tiny.same_but_for_time(*rows)


def test_equally_good_checkpoints_leave_the_newest(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", {"recipe": "gan", "best": "it"})
    state = tiny.state("gan")
    keeper = Keeper(run, 9, Scorer("it", True, lambda state: 1.0))
    for state.step in (1, 2):
        keeper.save(state)
    assert keeper.scores.best() == 2


def test_a_finished_run_says_so_and_how_to_go_on(shell: Shell, run: Path) -> None:
    sentence = (
        f"the run is finished (2 steps); to look: minigan sample {run}; to score: minigan evaluate "
        f"{run}; to go on: minigan train --resume --out {run} --more 2"
    )
    answer = shell.succeeds("train", "--resume", "--out", run)
    assert answer.err.splitlines() == [sentence]
    *_, more = sentence.partition("to go on: minigan ")
    answer = shell.succeeds(*more.split())
    assert "(4 steps)" in answer.err.splitlines()[-1]


# --- Which scores ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["modes", "high_quality", "reverse_kl"])
def test_points_are_scored_as_evaluate_scores_them(name: str, shell: Shell, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shell.succeeds("train", "gan", *SCORED, "--steps", "1", "--best", name, "--out", run)
    ((step, value),) = scores(run)
    assert step == 1
    assert value >= 0


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize("name", ["inception", "agreement"])
def test_images_are_scored_by_their_classifier(name: str, shell: Shell, tmp_path: Path) -> None:
    data = tiny.write_idx(tmp_path / "digits", count=24)
    small = ["--hidden", "8", "--width", "4", "--latent-size", "5", "--batch-size", "4"]
    words = ["--data", data, "--steps", "1", "--best", name, "--out", tmp_path / "run"]
    shell.succeeds("train", "cgan", *small, *words)
    ((_, value),) = scores(tmp_path / "run")
    assert (1 <= value <= 10) if name == "inception" else (0 <= value <= 1)


@pytest.mark.usefixtures("own_cache")
def test_a_score_that_there_is_not_is_refused_with_those_that_there_are(
    shell: Shell, digits: Path, here: Path
) -> None:
    images = ["train", "gan", *tiny.FLAGS, "--data", digits, "--best"]
    shell.refuses(*images, "fid", says=("--best fid", "kernel, frechet,", "inception"))
    shell.refuses(*images, "agreement", says=("coverage, inception",))
    shell.refuses("train", "gan", "--data", "ring", "--best", "frechet", says=("reverse_kl",))
    assert not [*here.glob("runs/*")]


# --- Which is used ---------------------------------------------------------------------------


def test_every_verb_takes_the_checkpoint_that_is_named(
    shell: Shell, tmp_path: Path, by_value: Callable[..., None]
) -> None:
    by_value({1: 1.0, 2: 9.0, 3: 1.0, 4: 1.0})
    run = tmp_path / "run"
    shell.succeeds("train", "gan", *SCORED, "--best", "it", "--steps", "4", "--out", run)
    drawn = {}
    for asked in ("2", "best", "4", None):
        out = tmp_path / f"{asked}.npz"
        more = [] if asked is None else ["--step", asked]
        shell.succeeds("sample", run, *more, "--count", "4", "--out", out)
        with np.load(out) as arrays:
            drawn[asked] = arrays["samples"]
    np.testing.assert_array_equal(drawn["best"], drawn["2"])
    np.testing.assert_array_equal(drawn[None], drawn["4"])
    assert (drawn["2"] != drawn["4"]).any()
    shell.succeeds("evaluate", run, "--step", "best", "--count", "50")
    assert json.loads((run / "scores.json").read_text())["step"] == 2


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("7", "keeps no checkpoint of step 7; the steps that are kept: 1, 2"),
        ("best", "has no best checkpoint, which train --best SCORE chooses"),
        ("newest", "--step must be the number of a step, or best, not 'newest'"),
        ("-1", "not '-1'"),
    ],
)
def test_a_step_that_is_not_kept_is_refused_with_those_that_are(
    asked: str, says: str, run: Path, shell: Shell
) -> None:
    for verb in ("sample", "evaluate"):
        shell.refuses(verb, run, f"--step={asked}", says=(says, "the steps that are kept: 1, 2"))


def test_a_damaged_score_is_named(run: Path) -> None:
    (run / "scores.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(UserError, match=r"line 1 of .*scores.jsonl is damaged: score is missing"):
        chosen(Run.open(run), "best")


# --- A score every so many steps -------------------------------------------------------------


def test_a_score_every_so_many_steps_has_a_checkpoint_each(
    shell: Shell, tmp_path: Path, by_value: Callable[..., None]
) -> None:
    by_value({2: 1.0, 4: 9.0, 6: 1.0, 7: 2.0})
    run, words = tmp_path / "run", ["train", "gan", *SCORED[:-2], "--checkpoint-every", "3"]
    words += ["--score-every", "2", "--best", "it", "--keep", "1"]
    shell.succeeds(*words, "--steps", "7", "--out", run)
    assert scores(run) == [(2, 1.0), (4, 9.0), (6, 1.0), (7, 2.0)]
    assert steps(run) == [4, 7]
    assert json.loads((run / "config.json").read_text())["score_every"] == 2


def test_a_resumed_run_scores_the_same_steps(shell: Shell, tmp_path: Path) -> None:
    words = ["train", "gan", *SCORED, "--score-every", "2"]
    shell.succeeds(*words, "--steps", "6", "--out", tmp_path / "straight")
    shell.succeeds(*words, "--steps", "4", "--out", tmp_path / "halves")
    shell.succeeds("train", "--resume", "--steps", "6", "--out", tmp_path / "halves")
    one, other = ((tmp_path / name / "scores.jsonl").read_text() for name in ("straight", "halves"))
    assert one == other
    assert json.loads((tmp_path / "straight/config.json").read_text())["best"] == "modes"
    ends = [
        tmp_path / f"{name}/checkpoints/step-000006.safetensors" for name in ("straight", "halves")
    ]
    assert ends[0].read_bytes() == ends[1].read_bytes()


def test_scoring_often_changes_no_byte(shell: Shell, tmp_path: Path) -> None:
    words = ["train", "gan", *SCORED, "--steps", "3"]
    shell.succeeds(*words, "--out", tmp_path / "plain")
    shell.succeeds(*words, "--score-every", "1", "--out", tmp_path / "scored")
    ends = [tmp_path / name / "checkpoints/step-000003.safetensors" for name in ("plain", "scored")]
    assert ends[0].read_bytes() == ends[1].read_bytes()


def test_a_run_that_is_resumed_may_be_scored_from_then_on(shell: Shell, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shell.succeeds("train", "gan", *SCORED, "--steps", "2", "--out", run)
    config = json.loads((run / "config.json").read_text())
    del config["score_every"]  # as in a run of before
    (run / "config.json").write_text(json.dumps(config))
    shell.succeeds("train", "--resume", "--more", "4", "--score-every", "2", "--out", run)
    assert [step for step, _ in scores(run)] == [2, 4, 6]


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize("name", [None, "precision", "recall", "density", "coverage"])
def test_pictures_without_labels_are_scored_beside_real_ones(
    name: str | None, shell: Shell, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(24):
        pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    how = ["--score-every", "1"] if name is None else ["--best", name]
    words = ["--data", folder, "--size", "8", "--steps", "2", *how, "--out", tmp_path / "run"]
    shell.succeeds("train", "gan", *tiny.FLAGS, *words)
    rows = [json.loads(line) for line in (tmp_path / "run/scores.jsonl").read_text().splitlines()]
    assert {row["score"] for row in rows} == {name or "kernel"}
    assert [row["step"] for row in rows] == [1, 2]
    for row in rows:
        assert row["title"].endswith(
            "of 12 samples (rotation classifier of pictures, 128 features)"
        )
        assert row["baseline_of"] == "the other half of the training images"
        assert math.isfinite(row["baseline"])
    shell.succeeds("report", tmp_path / "run")
    report = (tmp_path / "run/report.html").read_text()
    assert f"Line chart of the score over the steps. {rows[0]['title']}" in report
    assert "real images: the other half of the training images" in report
    answer = shell(
        "train", "gan", *tiny.FLAGS, "--data", folder, "--size", "8", "--best", "frechet"
    )
    assert answer.code == 2
    assert answer.err.splitlines()[-1] == (
        "minigan: --best frechet wants 129 images or more on each side, and there are 12 training "
        "images in each half of pictures; choose another score, or give more images"
    )


def test_a_damaged_score_leaves_the_rest_of_the_report(shell: Shell, run: Path) -> None:
    (run / "scores.jsonl").write_text('{"step": 1}\n')
    shell.succeeds("report", run)
    assert "is damaged: score is missing" in (run / "report.html").read_text()


@pytest.mark.parametrize(("name", "value"), [("best", "kernel"), ("score_every", 2)])
def test_data_of_a_program_are_scored_when_the_run_is_over(name: str, value: Any) -> None:
    with pytest.raises(UserError, match=f"--{name.replace('_', '-')} is for data by name or in a"):
        Asked(data=tiny.images(), **{name: value})

"""`minigan.train`: a run from Python, with what a notebook does with it."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import tiny
from tiny import Shell

from minigan import nn, signals
from minigan.data import from_arrays
from minigan.errors import DivergedError, UserError
from minigan.gans.cgan import CGAN
from minigan.gans.gan import GAN
from minigan.live_run import LiveRun
from minigan.recipe import Recipe
from minigan.sources import Source, checked_fields, recipe_source
from minigan.start import train
from minigan.training.keeper import Scores
from minigan.training.run import Run
from minigan.training.state import State

SMALL: dict[str, Any] = {"hidden": 8, "units": 6, "latent_size": 5, "batch_size": 4}
BYTES = np.random.default_rng(0).integers(0, 256, (24, 1, 8, 8), np.uint8)
LABELS = np.arange(24) % 3 - 1


@dataclass(frozen=True)
class Own(GAN):
    """A recipe that only this file has."""

    size: ClassVar[int] = 3


class Bare(GAN):
    """A field without @dataclass."""

    extra: int = 3


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> LiveRun:
    """A run of four steps that tests only read."""
    out = tmp_path_factory.mktemp("start") / "run"
    return train("gan", data=(BYTES, LABELS), steps=4, seed=7, out=out, **SMALL)


def contents(path: Path) -> dict[str, Any]:
    """What a run leaves, apart from times."""
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    kept = {n: h for n, h in tiny.tree(path).items() if n.startswith(("samples/", "checkpoints/"))}
    return kept | {"rows": [{k: v for k, v in row.items() if k != "seconds"} for row in rows]}


# --- A run -------------------------------------------------------------------------------------


def test_python_trains_the_run_that_the_command_does(
    digits: Path, shell: Shell, tmp_path: Path
) -> None:
    flags = [*tiny.FLAGS, "--lr", "0.05", "--seed", "3", "--data", digits, "--steps", "3"]
    shell.succeeds("train", "gan", *flags, "--out", tmp_path / "a")
    train("gan", data=digits, steps=3, seed=3, lr=0.05, out=tmp_path / "b", **SMALL)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    ours, theirs = (json.loads((tmp_path / n / "config.json").read_text()) for n in "ab")
    assert ours.pop("command").startswith("minigan train gan ")
    assert theirs.pop("command").startswith(f"minigan.train('gan', data='{digits}', steps=3, ")
    assert ours == theirs
    shell.succeeds("train", "--resume", "--out", tmp_path / "b", "--more", "1")


def test_scores_are_those_of_the_command_and_change_nothing(shell: Shell, tmp_path: Path) -> None:
    a, b = (train("gan", data="ring", steps=2, out=tmp_path / n, **SMALL) for n in "ab")
    found = a.scores(count=50, seed=1)
    shell.succeeds("evaluate", a.path, "--count", 50, "--seed", 1)
    said = json.loads((a.path / "scores.json").read_text())["scores"]
    values = {s["key"]: np.inf if s["value"] is None else s["value"] for s in said}
    assert {key: values[key] for key in found} == found
    assert sorted(found) == ["high_quality", "modes", "reverse_kl"]
    with pytest.raises(UserError, match="count must be an integer of at least 1, not 0"):
        a.scores(0)
    assert contents(a.resume(more=1).path) == contents(b.resume(more=1).path)


def test_scores_of_data_that_only_this_program_has(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(50, 2))
    own = train("gan", data=points, steps=1, out=tmp_path / "run", **SMALL)
    with pytest.raises(UserError, match="no score applies to this run"):
        own.scores()


def test_samples_are_those_of_the_command(run: LiveRun, shell: Shell, tmp_path: Path) -> None:
    from minigan.viz.grid import save_grid

    found = run.samples(5, seed=2)
    assert found.shape == (5, 1, 8, 8)
    assert found.dtype == np.float32
    words = ["sample", run.path, "--count", 5, "--seed", 2, "--out", tmp_path / "a.png"]
    shell.succeeds(*words)
    bounds = run.recipe.output_range((1, 8, 8))
    assert bounds is not None
    save_grid(tmp_path / "b.png", found, value_range=bounds)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_metrics_and_losses_are_arrays(run: LiveRun) -> None:
    metrics, losses = run.metrics(), run.losses()
    assert metrics["step"].tolist() == [1, 2, 3, 4]
    assert metrics["step"].dtype == np.int64
    assert set(metrics) == {"step", "seconds", "loss_D", "loss_G", "D(x)", "D(G(z))"}
    assert set(losses) == {"D", "G"}
    assert (losses["G"] == metrics["loss_G"]).all()
    assert all(values.shape == (4,) for values in metrics.values())


def test_a_value_that_a_step_lacks_is_nan(run: LiveRun) -> None:
    rows = [{"step": 1, "seconds": 0.0, "a": 1.0}, {"step": 2, "seconds": 0.1, "b": None}]
    directory = SimpleNamespace(rows=lambda: rows)
    found = LiveRun(run.state, run.dataset, directory).metrics()  # type: ignore[arg-type]
    assert np.isnan(found["a"]).tolist() == [False, True]
    assert np.isnan(found["b"]).all()
    empty = LiveRun(run.state, run.dataset, SimpleNamespace(rows=list))  # type: ignore[arg-type]
    assert empty.metrics() == {}


def test_a_run_shows_itself(run: LiveRun, capsys: pytest.CaptureFixture[str]) -> None:
    assert repr(run).startswith(f"<Run {run.path}: gan on arrays, step 4 of 4, finished, loss_")
    page = run._repr_html_()
    assert "step 4 of 4" in page
    assert page.count("<img ") == 1
    run.show()
    assert capsys.readouterr().err == f"{run.path}/samples/step-000004.png\n"
    assert repr(run.report) == f"<Report {run.path}/report.html: open it in a browser>"
    frame = run.report._repr_html_()
    assert frame.startswith("<iframe ")
    assert "&lt;!doctype html" in frame.lower()
    assert Path(run.report) == run.path / "report.html"


def test_the_generator_is_a_module(run: LiveRun) -> None:
    assert isinstance(run.generator, nn.Module)
    assert run.generator is run.players["G"]
    averaged = GAN(**SMALL)
    shown = LiveRun(tiny.state("began"), run.dataset, run.directory)
    assert shown.generator is shown.recipe.shown(shown.players)["G"]
    assert averaged.shown(run.players)["G"] is run.generator
    without = LiveRun(tiny.state("gan"), run.dataset, run.directory)
    del without.players["G"]
    with pytest.raises(UserError, match=r"has no G; run.players are D"):
        without.generator  # noqa: B018


def test_a_code_for_each_image_refuses_mirrors_before_there_is_a_run(tmp_path: Path) -> None:
    images = np.zeros((8, 1, 28, 28), np.uint8)
    options = {"width": 4, "batch_size": 4, "latent_size": 5, "out": tmp_path / "run"}
    with pytest.raises(UserError, match=r"code for each image.*leave out flip"):
        train("glo", data=images, steps=1, flip=True, **options)
    assert not (tmp_path / "run").exists()


def test_samples_of_a_class(run: LiveRun, tmp_path: Path) -> None:
    small = {name: n for name, n in tiny.SMALL.items() if hasattr(CGAN, name)}
    given = train("cgan", data=(BYTES, LABELS), steps=1, out=tmp_path / "run", **small)
    assert (given.samples(4, label="0") == given.samples(4, label=1)).all()  # -1, 0, 1
    assert (given.samples(4, label="0") != given.samples(4, label="1")).any()
    with pytest.raises(UserError, match="no class '7'; the classes are -1, 0, 1"):
        given.samples(4, label="7")
    with pytest.raises(UserError, match="gan does not know classes"):
        run.samples(4, label=0)
    with pytest.raises(UserError, match="count must be"):
        run.samples(0)


# --- Going on ----------------------------------------------------------------------------------


def test_a_run_that_another_program_has_continued_is_left_alone(
    digits: Path, shell: Shell, tmp_path: Path
) -> None:
    ours = train("gan", data=digits, steps=2, out=tmp_path / "run", **SMALL)
    shell.succeeds("train", "--resume", "--out", tmp_path / "run", "--more", "1")
    before = tiny.tree(ours.path)
    with pytest.raises(UserError, match="continued by another program, up to step 3; go on there"):
        ours.resume(more=5)
    assert tiny.tree(ours.path) == before
    interrupted = train("gan", data=digits, steps=2, out=tmp_path / "b", **SMALL)
    there = Run.open(interrupted.path)
    there.config |= {"resumed": [{"step": 2}]}  # and it has not done a step yet
    there.write_config()
    with pytest.raises(UserError, match="continued by another program, up to step 2"):
        interrupted.resume(more=1)


FAILURES = [RuntimeError("between two updates"), DivergedError("of a loss", {"loss_D": 1.0})]


@pytest.mark.parametrize("failure", FAILURES)
def test_after_a_failure_between_two_updates_it_goes_on_from_the_newest_checkpoint(
    failure: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**SMALL, "sample_every": 2, "checkpoint_every": 2}
    whole = train("gan", data=(BYTES, LABELS), steps=5, out=tmp_path / "a", **options)
    ours = train("gan", data=(BYTES, LABELS), steps=3, out=tmp_path / "b", **options)
    done = GAN.round

    def fails(self: GAN, players: Any, batches: Any, rng: Any, step: int) -> Any:
        updates = done(self, players, batches, rng, step)
        yield next(updates)
        if step == 4:
            raise failure
        yield from updates

    with monkeypatch.context() as patch:
        patch.setattr(GAN, "round", fails)
        with pytest.raises(type(failure)):
            ours.resume(steps=5)
    assert ours.step == 4
    ours.resume(steps=5)
    found, expected = contents(ours.path), contents(whole.path)
    names = {"rows", "samples/step-000005.png", "checkpoints/step-000005.safetensors"}
    assert {name: found[name] for name in names} == {name: expected[name] for name in names}
    assert [part["step"] for part in ours.config["resumed"]] == [3, 4]


def test_a_step_that_was_looked_at_is_done_again(tmp_path: Path) -> None:
    a, b = (train("gan", data=BYTES, steps=2, out=tmp_path / n, **SMALL) for n in "ab")
    next(a.state.turns())
    b.state.advance()
    assert contents(a.resume(more=1).path) == contents(b.resume(more=1).path)
    assert a.metrics()["step"].tolist() == [1, 2, 3]


def test_what_came_after_the_newest_checkpoint_is_forgotten(tmp_path: Path) -> None:
    options = {**SMALL, "checkpoint_every": 2, "best": "modes", "keep": 3}
    ours = train("gan", data="ring", steps=4, out=tmp_path / "run", **options)
    (ours.path / "checkpoints/step-000004.safetensors").unlink()
    ours.resume(steps=3)
    assert ours.step == 3
    assert [row["step"] for row in Scores(ours.directory).rows()] == [2, 3]
    for saved in ours.directory.checkpoints.iterdir():
        saved.unlink()
    before = tiny.tree(ours.path)
    with pytest.raises(UserError, match="has no checkpoint to go on from; train a new run"):
        ours.resume(more=1)
    assert tiny.tree(ours.path) == before


def interrupt_after(patch: pytest.MonkeyPatch, steps: int) -> None:
    advance = State.advance

    def interrupted(self: State) -> dict[str, float]:
        row = advance(self)
        if self.step == steps:
            os.kill(os.getpid(), signal.SIGINT)
        return row

    patch.setattr(State, "advance", interrupted)


def test_ctrl_c_keeps_the_checkpoint_and_resume_ends_in_the_bytes_of_a_whole_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = signal.getsignal(signal.SIGINT)
    options = {**SMALL, "sample_every": 2, "checkpoint_every": 2}
    whole = train("gan", data=(BYTES, LABELS), steps=5, out=tmp_path / "a", **options)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        found = train("gan", data=(BYTES, LABELS), steps=3, out=tmp_path / "b", **options)
    assert found.interrupted
    assert "interrupted" in repr(found)
    assert (found.path / "checkpoints/step-000002.safetensors").is_file()
    assert "resume() continues" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is usual
    assert not signals._raised

    assert found.resume() is found
    assert not found.interrupted
    found.resume(more=2)
    ours, theirs = contents(found.path), contents(whole.path)
    last = {"rows", "samples/step-000005.png", "checkpoints/step-000005.safetensors"}
    assert last <= ours.keys() & theirs.keys()
    film = {"samples/animation.gif"}  # which shows the end of each part as well
    assert all(ours[name] == theirs[name] for name in (ours.keys() & theirs.keys()) - film)
    assert [part["step"] for part in found.config["resumed"]] == [2, 3]
    assert found.config["resumed"][1]["command"] == "run.resume(steps=5)"
    with pytest.raises(UserError, match=r"at step 5 already; resume\(more=100\)"):
        found.resume()
    with pytest.raises(UserError, match="give one"):
        found.resume(1, steps=9)
    with pytest.raises(UserError, match="more must be an integer of at least 1, not 0"):
        found.resume(0)


def test_a_run_that_diverges_says_so(tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(tiny.FAILING)
    with pytest.raises(DivergedError, match="loss of G is nan in step 3") as failed:
        train(tmp_path / "failing.py", data=BYTES, steps=5, out=tmp_path / "run")
    assert "loss_D" in failed.value.row


# --- Recipes and data as Python has them -------------------------------------------------------


def test_a_class_of_ones_own_is_a_recipe_but_has_no_name(
    here: Path, shell: Shell, run: LiveRun
) -> None:
    Path("runs/Own-arrays-1").mkdir(parents=True)
    ours = train(Own, data=(BYTES, LABELS), steps=1, **SMALL)
    assert ours.path == Path("runs/Own-arrays-2")
    assert ours.config["recipe"] == "python:Own"
    assert ours.config["recipe_doc"] == Own.__doc__
    shell.refuses("sample", ours.path, says=("the class Own", "--recipe Own.py"))


def test_an_instance_is_taken_as_it_is(tmp_path: Path) -> None:
    ours = train(Own(**SMALL, lr=0.25), data=BYTES, steps=1, out=tmp_path / "a", lr_least=0.125)
    fields = ours.config["hyper_parameters"]
    assert (fields["lr"], fields["lr_least"], fields["hidden"]) == (0.25, 0.125, 8)


def test_classes_of_ours_are_known_by_name() -> None:
    assert recipe_source(GAN) == Source("gan", GAN, None)
    assert recipe_source(CGAN(latent_size=4)) == Source("cgan", CGAN, None)


def test_a_class_that_is_typed_in_has_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python calls the file of a program from standard input <stdin>."""
    typed: Any = ModuleType("typed")
    typed.__file__ = "<stdin>"
    exec("from minigan.gans.gan import GAN\nclass Typed(GAN): pass", vars(typed))
    monkeypatch.setitem(sys.modules, "typed", typed)
    assert recipe_source(typed.Typed) == Source("python:Typed", typed.Typed, None)


def test_data_in_memory_are_said_to_be_there_only(run: LiveRun, shell: Shell) -> None:
    assert run.config["data"]["name"] == "arrays"
    assert run.config["data"]["source"] == "python:arrays"
    assert run.config["data"]["classes"] == ["-1", "0", "1"]
    assert "<ndarray (24, 1, 8, 8)>" in run.config["command"]
    shell.refuses("train", "--resume", "--out", run.path, "--more", "1", says=("arrays",))


def test_numbers_of_numpy_are_numbers() -> None:
    given = {"lr": np.float32(0.5), "lr_least": 1, "momentum": np.int64(0), "hidden": np.uint8(8)}
    found = checked_fields(GAN, given)
    assert found == {"lr": 0.5, "lr_least": 1.0, "momentum": 0, "hidden": 8}
    assert [type(value) for value in found.values()] == [float, float, float, int]


REFUSED: dict[str, tuple[tuple[Any, ...], dict[str, Any], str]] = {
    "an unknown field": (("gan",), {"lrr": 1}, "GAN has no hyper-parameter lrr; did you mean lr?"),
    "an unknown setting": (("gan",), {"stepss": 1}, "did you mean steps?"),
    "nothing near": (("gan",), {"xyzzyx": 1}, "there are "),
    "another type": (("gan",), {"lr": "high"}, "lr is 'high', but must be a"),
    "a flag's name": (("gan",), {"batch_size": 0}, "batch_size must be at least 1, not 0"),
    "no steps": (("gan",), {"steps": 0}, "steps must be at least 1, not 0"),
    "half a step": (("gan",), {"steps": 1.5}, "steps is 1.5, but must be an integer"),
    "a device": (("gan",), {"device": "gpu"}, "device is one of cpu, cuda, not 'gpu'"),
    "a precision": (("gan",), {"precision": "tf32"}, "say device cuda, or precision float32"),
    "minutes": (("gan",), {"minutes": 6e7}, "minutes must be above 0 and at most 53,"),
    "another out": (("gan",), {"run_out": "x"}, "GAN has no hyper-parameter run_out; did you "),
    "other steps": (("gan",), {"run_steps": 3}, "GAN has no hyper-parameter run_steps; did you "),
    "more data": (("gan",), {"run_data": "grid"}, "GAN has no hyper-parameter run_data; did you "),
    "a seed": (("gan",), {"seed": -1}, "The seed -1 is outside"),
    "a recipe": (("gann",), {}, "did you mean gan?"),
    "a number": ((3,), {}, "class derived from minigan.recipe.Recipe, not 3"),
    "another class": ((dict,), {}, "class derived from minigan.recipe.Recipe, not dict"),
    "no dataclass": ((Bare,), {}, "Bare has the field extra but is no dataclass"),
    "nothing of a recipe": ((Recipe,), {}, "Recipe has no "),
    "data": (("gan",), {"data": "ringg"}, "did you mean ring?"),
    "no data": (("gan",), {"data": 3}, "x is no array, but of type int"),
    "floats": (("gan",), {"data": BYTES / 255}, "from_arrays(x, y, range=...) makes data of them"),
    "a size": (
        ("gan",),
        {"data": from_arrays(BYTES), "size": 9},
        "size is for data by name",
    ),
    "a large batch": (("gan",), {"data": BYTES, "batch_size": 99}, "give batch_size from 1 to 24."),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_rest_is_refused_with_the_way_out(case: str, here: Path) -> None:
    given, options, says = REFUSED[case]
    with pytest.raises((UserError, TypeError)) as refused:
        train(*given, **{"data": "ring", **options})
    assert says in str(refused.value), str(refused.value)
    assert "--" not in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not list(here.iterdir())


def test_a_directory_with_a_run_is_left_alone(run: LiveRun) -> None:
    before = tiny.tree(run.path)
    with pytest.raises(UserError, match="holds a run already; choose another out") as refused:
        train("gan", data=BYTES, steps=1, out=run.path, **SMALL)
    assert f"by the command minigan train --resume --out {run.path}" in str(refused.value)
    assert tiny.tree(run.path) == before


# --- In a notebook -----------------------------------------------------------------------------


class Handle:
    """A display of IPython."""

    def __init__(self, content: dict[str, str]) -> None:
        self.shown = [content]

    def update(self, content: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.shown.append(content)


@pytest.fixture
def displays(monkeypatch: pytest.MonkeyPatch) -> list[Handle]:
    """The displays of a notebook that this program is said to run in."""
    made: list[Handle] = []

    def display(content: dict[str, str], *, raw: bool, display_id: bool) -> Handle:
        assert raw
        assert display_id
        made.append(Handle(content))
        return made[-1]

    shell = SimpleNamespace(kernel=object())
    ipython = SimpleNamespace(get_ipython=lambda: shell, display=SimpleNamespace(display=display))
    monkeypatch.setitem(sys.modules, "IPython", ipython)  # type: ignore[arg-type]
    return made


def test_a_notebook_shows_a_bar_and_samples_that_renew_themselves(
    displays: list[Handle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {**SMALL, "sample_every": 2, "out": tmp_path / "run"}
    found = train("gan", data=(BYTES, LABELS), steps=4, **options)
    line, sheet = displays
    assert line.shown[0]["text/plain"] == "step 0/4"
    assert line.shown[-1]["text/plain"].startswith("step 4/4  ")
    assert 'value="4" max="4"' in line.shown[-1]["text/html"]
    pictures = [content["text/plain"][-10:] for content in sheet.shown]
    assert pictures == ["000000.png", "000002.png", "000004.png"]
    assert all("image/png" in content for content in sheet.shown)
    said = capsys.readouterr()
    assert "training gan on arrays up to step 4" in said.out  # not red, as a notebook's errors are
    assert not said.err
    found.show()
    assert displays[2].shown[0] == sheet.shown[-1]


def test_a_terminal_of_ipython_is_no_notebook(
    displays: list[Handle], monkeypatch: pytest.MonkeyPatch, run: LiveRun
) -> None:
    ipython: Any = sys.modules["IPython"]
    for shell in (None, SimpleNamespace(), SimpleNamespace(kernel=None)):
        monkeypatch.setattr(ipython, "get_ipython", lambda shell=shell: shell)
        run.show()
    assert displays == []


def test_the_arguments_are_documented() -> None:
    text = train.__doc__ or ""
    told: Callable[[str], bool] = text.__contains__
    assert all(told(f"`{name}`") for name in ("recipe", "data", "steps", "seed", "out", "options"))

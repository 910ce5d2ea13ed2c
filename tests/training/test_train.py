"""The training loop and its run directory: what a run leaves, and how it stops and goes on."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image
from tiny import Shell

from minigan import gans, nn
from minigan.errors import UserError
from minigan.random import Generator
from minigan.training.loop import check_range
from minigan.training.recipe import Recipe
from minigan.training.run import Run
from minigan.training.state import State
from minigan.viz.plots import save_losses

EVERY = re.compile(r"step-(\d+)\.png")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Path:
    """A run of 6 steps, with pictures after each second one; tests only read it."""
    from minigan.cli import main

    out = tmp_path_factory.mktemp("finished") / "run"
    words = ["train", "gan", *tiny.FLAGS, "--data", str(digits), "--seed", "5", "--lr", "0"]
    words += ["--lr-least", "0", "--steps", "6", "--sample-every", "2", "--checkpoint-every", "2"]
    assert main([*words, "--out", str(out)]) == 0
    return out


def drawn(run: Path) -> list[int]:
    """The steps whose samples were drawn."""
    names = sorted(path.name for path in (run / "samples").iterdir())
    return [int(match[1]) for name in names if (match := EVERY.fullmatch(name))]


def saved(run: Path) -> list[int]:
    """The steps whose checkpoints are there."""
    return sorted(int(path.stem.split("-")[1]) for path in (run / "checkpoints").iterdir())


# --- The run directory -----------------------------------------------------------------------


def test_samples_are_drawn_at_the_chosen_steps_from_fixed_latent_vectors(finished: Path) -> None:
    assert drawn(finished) == [0, 2, 4, 6]
    pictures = {(finished / f"samples/step-{n:06d}.png").read_bytes() for n in (0, 2, 4, 6)}
    assert len(pictures) == 1  # with a learning rate of 0 only another z could change them


def test_samples_change_when_the_generator_does(digits: Path, shell: Shell, tmp_path: Path) -> None:
    flags = [*tiny.FLAGS, "--data", digits, "--steps", "3", "--checkpoint-every", "100"]
    shell.succeeds("train", "gan", *flags, "--out", tmp_path / "run", "--init-d", "0.5")
    pictures = sorted((tmp_path / "run/samples").glob("step-*.png"))
    assert len(pictures) == 4  # every step is drawn, in so short a run
    assert pictures[0].read_bytes() != pictures[-1].read_bytes()
    with Image.open(tmp_path / "run/samples/animation.gif") as film:
        assert film.format == "GIF"
        assert film.n_frames > 1


def test_the_last_step_is_drawn_and_saved_whatever_the_rhythm(
    digits: Path, shell: Shell, tmp_path: Path
) -> None:
    rhythm = ["--steps", "5", "--sample-every", "3", "--checkpoint-every", "2"]
    shell.succeeds(
        "train", "gan", *tiny.FLAGS, "--data", digits, *rhythm, "--out", tmp_path / "run"
    )
    assert drawn(tmp_path / "run") == [0, 3, 5]
    assert saved(tmp_path / "run") == [4, 5]  # the newest two


def test_metrics_have_one_row_a_step(finished: Path) -> None:
    lines = (finished / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    for row in rows:
        assert list(row) == ["step", "seconds", "loss_G", "loss_D", "D(x)", "D(G(z))"]
    seconds = [row["seconds"] for row in rows]
    assert seconds == sorted(seconds)
    assert seconds[0] >= 0


def test_config_says_all_that_the_run_depends_on(finished: Path, digits: Path) -> None:
    config = json.loads((finished / "config.json").read_text())
    assert config["format"] == 1
    assert config["recipe"] == "gan"
    assert (config["seed"], config["steps"], config["device"]) == (5, 6, "cpu")
    assert (config["sample_every"], config["checkpoint_every"]) == (2, 2)
    assert config["data"]["source"] == str(digits.resolve())
    assert (config["data"]["samples"], config["data"]["shape"]) == (12, [1, 8, 8])
    assert config["data"]["classes"] == list("0123456789")
    fields = config["hyper_parameters"]
    assert (fields["hidden"], fields["units"], fields["lr"]) == (8, 6, 0.0)
    assert fields["pieces"] == 5  # defaults too
    assert config["command"].startswith("minigan train gan --hidden 8")
    assert {"python", "minigan", "numpy", "numba"} <= config["versions"].keys()
    assert "revision" in config


def test_the_report_is_one_file_that_shows_the_run(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html>")
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert len([source for source in sources if source.startswith("data:image")]) >= 4
    for word in ("gan", "loss_D", "loss_G", "momentum_steps", "--seed 5"):
        assert word in page


def test_the_data_are_shown_before_the_first_step(
    finished: Path, digits: Path, shell: Shell, tmp_path: Path
) -> None:
    for name in ("samples/real.png", "samples/classes.png", "loss.png"):
        with Image.open(finished / name) as picture:
            picture.verify()
    answer = shell.succeeds(
        "train", "gan", *tiny.FLAGS, "--data", digits, "--steps", "1", "--out", tmp_path / "run"
    )
    assert "12 samples" in answer.err
    assert "0: 2" in answer.err  # the class histogram, in words
    assert str(tmp_path / "run") in answer.out  # and at the end where the pictures are


def test_nothing_but_the_run_is_left_in_the_run_directory(finished: Path) -> None:
    files = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    pictures = {f"samples/step-{step:06d}.png" for step in (0, 2, 4, 6)}
    assert files - pictures == {
        "checkpoints/step-000004.safetensors",
        "checkpoints/step-000006.safetensors",
        "config.json",
        "loss.png",
        "metrics.jsonl",
        "report.html",
        "samples/animation.gif",
        "samples/classes.png",
        "samples/real.png",
    }


def test_the_same_command_gives_the_same_bytes(digits: Path, shell: Shell, tmp_path: Path) -> None:
    trees = []
    for name in ("a", "b"):
        words = [*tiny.FLAGS, "--data", digits, "--steps", "3", "--out", tmp_path / name]
        shell.succeeds("train", "gan", *words, "--checkpoint-every", "100")
        trees.append(tiny.tree(tmp_path / name))
    timed = {"config.json", "metrics.jsonl", "report.html", "loss.png"}  # --out and seconds
    assert trees[0].keys() == trees[1].keys()
    assert {k for k in trees[0] if trees[0][k] != trees[1][k]} <= timed


@pytest.mark.parametrize("data", ["mixture1d", "ring"])
def test_points_are_drawn_too(data: str, shell: Shell, tmp_path: Path) -> None:
    words = ["--hidden", "8", "--units", "6", "--batch-size", "8", "--steps", "2"]
    rhythm = ["--sample-every", "2", "--checkpoint-every", "2"]
    shell.succeeds("train", "gan", "--data", data, *words, *rhythm, "--out", tmp_path / "run")
    assert drawn(tmp_path / "run") == [0, 2]
    assert (tmp_path / "run/samples/animation.gif").is_file()
    assert json.loads((tmp_path / "run/config.json").read_text())["data"]["source"] == data


POINTS_GAN = Path(__file__).parents[2] / "examples" / "points_gan.py"


def on_a_line() -> list[str]:
    """The recipes that make points of one dimension."""
    able = [str(POINTS_GAN)]
    for name in gans.names():
        with contextlib.suppress(UserError):
            tiny.recipe(name).players(Generator(0, "players"), (1,))
            able.append(name)
    return able


def test_more_than_one_paper_makes_points_on_a_line() -> None:
    assert {"gan", "lsgan", "pacgan", "sngan", "wgan", "wgan_gp"} <= set(on_a_line())


@pytest.mark.parametrize("name", on_a_line(), ids=lambda name: Path(name).stem)
def test_a_line_is_drawn_with_a_critic_too(name: str, shell: Shell, tmp_path: Path) -> None:
    known = gans.load(name).__dataclass_fields__
    small = [f"--{k.replace('_', '-')}={v}" for k, v in tiny.SMALL.items() if k in known]
    words = ["--data", "mixture1d", "--steps", "1", "--out", tmp_path / "run"]
    shell.succeeds("train", name, *small, *words)
    assert drawn(tmp_path / "run") == [0, 1]


def test_a_run_without_a_directory_takes_the_next_free_one(
    digits: Path, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        shell.succeeds("train", "gan", *tiny.FLAGS, "--data", digits, "--steps", "1")
        assert (tmp_path / f"runs/gan-{digits.name}-{number}/report.html").is_file()


# --- Losses that stop being finite -----------------------------------------------------------


def test_an_undefined_loss_ends_the_run_and_says_where_it_arose(
    digits: Path, tmp_path: Path
) -> None:
    (tmp_path / "failing.py").write_text(tiny.FAILING)
    line = next(i for i, text in enumerate(tiny.FAILING.splitlines(), 1) if "log(sign" in text)
    words = ["--data", digits, "--steps", "6", "--checkpoint-every", "1"]
    ended = subprocess.run(
        [*tiny.COMMAND, "train", tmp_path / "failing.py", *words, "--out", tmp_path / "run"],
        capture_output=True,
        text=True,
        env=tiny.environment(),
        timeout=120,
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "Warning" not in ended.stderr
    sentence = ended.stderr.splitlines()[-1]
    assert re.match(r"minigan: the loss of G is nan in step 3\b", sentence)
    assert "log of (4, 1)" in sentence
    assert f"failing.py:{line} in round" in sentence
    assert saved(tmp_path / "run") == [1, 2]
    rows = Run.open(tmp_path / "run").rows()
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert [math.isfinite(row["loss_D"]) for row in rows] == [True, True, True]
    assert [math.isfinite(row["loss_G"]) for row in rows] == [True, True, False]


def test_a_run_that_diverged_shows_it(digits: Path, shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(tiny.FAILING)
    run = tmp_path / "run"
    words = ["--data", digits, "--steps", "6", "--checkpoint-every", "9", "--out", run]
    ended = shell("train", tmp_path / "failing.py", *words)
    assert ended.code == 1
    assert "the loss of G is nan in step 3" in ended.err.splitlines()[-1]
    assert "Diverged in step 3 of 6" in (run / "report.html").read_text()
    plot = (run / "loss.png").read_bytes()
    rows = Run.open(run).rows()
    save_losses(run / "without.png", rows[:2], title=f"{tmp_path}/failing.py on {digits.name}")
    assert plot != (run / "without.png").read_bytes()
    save_losses(run / "with.png", rows, title=f"{tmp_path}/failing.py on {digits.name}")
    assert plot == (run / "with.png").read_bytes()


def test_why_a_run_failed_is_said_on_a_full_disk_too(
    digits: Path, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "failing.py").write_text(tiny.FAILING)

    def full(*args: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("minigan.training.loop.draw_progress", full)
    words = ["--data", digits, "--steps", "6", "--checkpoint-every", "9", "--out", tmp_path / "run"]
    ended = shell("train", tmp_path / "failing.py", *words)
    assert ended.code == 1
    assert "the loss of G is nan in step 3" in ended.err.splitlines()[-1]


def test_a_run_that_failed_keeps_the_checkpoints_of_a_good_one(
    digits: Path, shell: Shell, tmp_path: Path
) -> None:
    (tmp_path / "failing.py").write_text(tiny.FAILING)
    words = ["train", tmp_path / "failing.py", "--data", digits, "--checkpoint-every", "1"]
    good, bad = tmp_path / "good", tmp_path / "bad"
    shell.succeeds(*words, "--steps", "2", "--out", good)
    with np.errstate(invalid="ignore"):
        assert shell(*words, "--steps", "6", "--out", bad).code == 1
    name = "checkpoints/step-000002.safetensors"
    assert (bad / name).read_bytes() == (good / name).read_bytes()
    shell.succeeds("sample", bad, "--count", "1", "--recipe", tmp_path / "failing.py")


def test_a_run_that_diverges_says_so(digits: Path, tmp_path: Path) -> None:
    words = [*tiny.FLAGS, "--data", digits, "--steps", "50", "--lr", "1e30", "--init-d", "1"]
    ended = subprocess.run(
        [*tiny.COMMAND, "train", "gan", *map(str, words), "--out", tmp_path / "run"],
        capture_output=True,
        text=True,
        env=tiny.environment(),
        timeout=120,
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "Warning" not in ended.stderr
    sentence = ended.stderr.splitlines()[-1]
    assert re.match(r"minigan: the loss of [DG] is (nan|inf|-inf) in step \d+; ", sentence)
    assert saved(tmp_path / "run")


def test_a_generator_that_diverges_in_its_last_update_says_so(digits: Path, tmp_path: Path) -> None:
    """No loss comes after that update, but the samples do."""
    rate = 'float("inf") if name == "G" else 1e-3'
    text = tiny.FAILING.replace("p.parameters(), 1e-3", f"p.parameters(), {rate}")
    assert text != tiny.FAILING
    (tmp_path / "failing.py").write_text(text)
    words = ["--data", digits, "--steps", "1", "--out", tmp_path / "run"]
    ended = subprocess.run(
        [*tiny.COMMAND, "train", tmp_path / "failing.py", *words],
        capture_output=True,
        text=True,
        env=tiny.environment(),
        timeout=120,
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("minigan: ")


# --- The range of the data -------------------------------------------------------------------


def ranged(bounds: tuple[float, float], activation: nn.Module | None) -> Recipe:
    """A recipe whose generator ends in `activation`, while it says that its range is `bounds`."""
    from minigan.gans.gan import GAN

    class Ranged(GAN):
        def output_range(self, shape: tuple[int, ...]) -> tuple[float, float]:
            return bounds

        def players(self, rng, shape):  # type: ignore[no-untyped-def]
            players = super().players(rng, shape)
            players["G"][2].activation = activation
            return players

    return Ranged(hidden=8, units=6, latent_size=5, batch_size=4, init_g=0.05)


@pytest.mark.parametrize(
    ("bounds", "activation", "fits"),
    [
        ((0.0, 1.0), nn.Sigmoid(), True),
        ((-1.0, 1.0), nn.Tanh(), True),
        ((-1.0, 1.0), nn.Sigmoid(), False),
        ((0.0, 1.0), nn.Tanh(), False),
        ((0.0, 255.0), nn.Sigmoid(), False),
        ((-1.0, 1.0), None, True),  # a linear output has no ends
    ],
    ids=["sigmoid", "tanh", "sigmoid-wide", "tanh-narrow", "sigmoid-255", "linear"],
)
def test_the_datas_range_must_fit_the_generators_output(
    bounds: tuple[float, float], activation: nn.Module | None, fits: bool
) -> None:
    state = State.fresh(ranged(bounds, activation), tiny.images(), 0)
    if fits:
        check_range(state, 0)
    else:
        low, high = (0, 1) if isinstance(activation, nn.Sigmoid) else (-1, 1)
        with pytest.raises(UserError, match=rf"from {low} to {high}.*output_range"):
            check_range(state, 0)


def test_every_recipes_own_range_fits() -> None:
    for name in ("gan", "dcgan"):
        check_range(tiny.state(name), 0)


def test_a_range_that_does_not_fit_is_found_before_anything_is_written(
    digits: Path, shell: Shell, tmp_path: Path
) -> None:
    text = tiny.FAILING.replace("return 0.0, 1.0", "return -1.0, 1.0")
    (tmp_path / "wrong.py").write_text(text)
    before = tiny.tree(tmp_path)
    words = ["--data", digits, "--steps", "2", "--out", tmp_path / "run"]
    answer = shell("train", tmp_path / "wrong.py", *words)
    assert answer.code == 2
    assert "the data from -1 to 1" in answer.err.splitlines()[-1]
    left = {k: v for k, v in tiny.tree(tmp_path).items() if "__pycache__" not in k}
    assert left == before  # so that the same command works once the recipe is mended

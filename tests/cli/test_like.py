"""`minigan train --like RUN`, `--config FILE` and `--minutes N`."""

from __future__ import annotations

import itertools
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import tiny
from tiny import Shell

from minigan.commands.like import expanded
from minigan.gans.gan import GAN
from minigan.start import train
from minigan.training import checkpoint, pace
from minigan.training.run import Run

WORDS = [
    "--data", "ring", "--hidden", "8", "--batch-size", "16", "--steps", "3", "--seed", "4",
    "--keep", "3",
]  # fmt: skip


class Mine(GAN):
    """A recipe that only this file has, beside other classes of that kind."""


class Other(GAN):
    """With two of them the file is no recipe's."""


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.no_pictures(monkeypatch)


@pytest.fixture
def ring(shell: Shell, tmp_path: Path) -> Path:
    """A run of three steps on points."""
    shell.succeeds("train", "gan", *WORDS, "--out", tmp_path / "ring")
    return tmp_path / "ring"


def end(run: Path) -> bytes:
    newest = checkpoint.newest(run / "checkpoints")
    assert newest is not None
    return newest.read_bytes()


# --- --like ----------------------------------------------------------------------------------


def test_a_run_like_another_is_the_same_run(ring: Path, shell: Shell, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shell.succeeds("train", "--like", ring, "--out", again)
    assert end(again) == end(ring)
    one, other = (Run.open(run).config for run in (ring, again))
    for config in (one, other):
        del config["command"]
    assert one == other


def test_flags_beside_it_win(ring: Path, shell: Shell, tmp_path: Path) -> None:
    other = tmp_path / "other"
    flags = ["--seed", "5", "--hidden=6", "--no-graphs", "--steps", "40"]
    shell.succeeds("train", "--like", ring, *flags, "--out", other)
    config = Run.open(other).config
    assert (config["seed"], config["steps"], config["graphs"]) == (5, 40, False)
    assert config["hyper_parameters"]["hidden"] == 6
    assert config["hyper_parameters"]["batch_size"] == 16
    assert (config["sample_every"], config["keep"]) == (2, 3)  # a twentieth of the new length


def test_a_run_that_was_resumed_gives_only_what_was_given(
    ring: Path, shell: Shell, tmp_path: Path
) -> None:
    shell.succeeds("train", "--resume", "--out", ring, "--more", "57")
    shell.succeeds("train", "--like", ring, "--steps", "40", "--out", tmp_path / "a")
    found = Run.open(tmp_path / "a").config
    assert (found["sample_every"], found["checkpoint_every"]) == (2, 4)
    assert "every" not in found["command"]
    shell.succeeds("train", "--resume", "--out", ring, "--more", "1", "--sample-every", "7")
    config = json.loads((ring / "config.json").read_text())
    for command in ("minigan train gan", "minigan.train('gan', data='ring', steps=3, seed=4)"):
        config["command"] = command
        config["checkpoint_every"] = 1 if "steps" in command else 600  # of 6,000 steps
        (ring / "config.json").write_text(json.dumps(config))
        words = expanded(["--like", str(ring)]).words
        assert [word for word in words if "every" in word] == ["--sample-every=7"]


def test_its_command_needs_the_other_run_no_more(ring: Path, shell: Shell, tmp_path: Path) -> None:
    shell.succeeds("train", "--like", ring, "--out", tmp_path / "a")
    program, *words = shlex.split(Run.open(tmp_path / "a").config["command"])
    assert program == "minigan"
    assert "--like" not in words
    words[words.index(str(tmp_path / "a"))] = str(tmp_path / "b")
    shell.succeeds(*words)
    assert end(tmp_path / "b") == end(ring)


def test_a_recipe_file_must_be_named_again(shell: Shell, tmp_path: Path, digits: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(tiny.FAILING)
    words = ["--data", digits, "--steps", "1"]
    shell.succeeds("train", mine, *words, "--out", tmp_path / "a")
    like = ["--like", tmp_path / "a", "--out", tmp_path / "b"]
    shell.refuses("train", *like, says=(f"is of the recipe file {mine}", "name it first"))
    shell.succeeds("train", mine, *like)
    assert end(tmp_path / "a") == end(tmp_path / "b")


def test_a_run_of_what_only_a_program_had_is_refused_with_what_is_missing(
    shell: Shell, here: Path
) -> None:
    small = {"hidden": 8, "batch_size": 4, "steps": 1}
    train(Mine, data=np.zeros((8, 2), np.float32), out="a", **small)
    refused = shell.refuses("train", "--like", "a")
    assert refused == (
        "minigan: a/config.json is of the class Mine, which a Python program had; write the class "
        "into a file Mine.py of its own, and name that first, after minigan train"
    )
    shell.refuses("train", "gan", "--like", "a", says=("is of the class Mine",))
    (here / "Mine.py").write_text(MINE)
    data = ("a/config.json is of data that only a Python program had; say by --data which",)
    shell.refuses("train", "Mine.py", "--like", "a", says=data)
    shell.refuses("train", "Mine.py", "--config", "a/config.json", says=data)
    shell.succeeds("train", "Mine.py", "--like", "a", "--data", "ring", "--out", "b")
    assert Run.open(here / "b").config["hyper_parameters"]["hidden"] == 8


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--like"], ("--like needs a value",)),
        (["--like", "--seed", "3"], ("--like needs a value",)),
        (["--like", "missing"], ("missing is not a run directory",)),
        (["dcgan", "--like", "{ring}"], ("is of the recipe gan, not of dcgan",)),
        (["--like", "{ring}", "--config", "a.json"], ("give one of them",)),
    ],
)
def test_what_is_like_nothing_is_refused(
    words: list[str], says: tuple[str, ...], ring: Path, shell: Shell, here: Path
) -> None:
    shell.refuses("train", *(word.format(ring=ring) for word in words), says=says)
    assert tiny.tree(here) == {}


# --- --config --------------------------------------------------------------------------------

JSON = {"recipe": "gan", "data": "ring", "hidden": 8, "batch-size": 16, "steps": 3, "seed": 4}
TOML = 'recipe = "gan"\ndata = "ring"\nhidden = 8\nbatch_size = 16\nsteps = 3\nseed = 4\n'


def test_flags_can_be_read_from_a_file(ring: Path, shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(JSON))
    (tmp_path / "a.toml").write_text(TOML)
    for file in (tmp_path / "a.json", tmp_path / "a.toml", ring / "config.json"):
        run = tmp_path / f"from {file.name}"
        shell.succeeds("train", "--config", file, "--out", run)
        assert end(run) == end(ring)
        shell.succeeds("train", "gan", f"--config={file}", "--steps", "1", "--out", f"{run} 1")
        assert Run.open(Path(f"{run} 1")).config["steps"] == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", ("cannot be read (", "JSON or TOML file of flags")),
        ("[1]", ("is a list of 1, but should be an object",)),
        ('{"recipe": "gan", "hiden": 3}', ("a.json: ", "--hiden", "did you mean --hidden?")),
        ('{"recipe": "gan", "hidden": "many"}', ("a.json: ", "--hidden does not take 'many'")),
        ('{"recipe": "gan", "hidden": {"a": 1}}', ("a.json: hidden is an object",)),
        (
            '{"recipe": "gan", "resume": true}',
            ("a.json: resume cannot stand", "--resume --out RUN"),
        ),
        ('{"recipe": "gan", "no-resume": true}', ("a.json: no-resume cannot stand in a file",)),
        ('{"recipe": "gan", "config": "b"}', ("a.json: config cannot stand in a file", "in one")),
        ('{"recipe": "gan", "like": "runs/a"}', ("a.json: like cannot stand", "give --like RUN")),
        ('{"recipe": 3}', ("a.json: recipe is 3, but must be a name",)),
        ('{"recipe": "mine.py"}', ("the recipe file mine.py", "name it first")),
        ('{"hyper_parameters": {}}', ("a.json is damaged: format is missing",)),
        ('{"recipe": "gan", "data": "--resume"}', ("There is no data set or folder --resume",)),
    ],
)
def test_a_file_without_flags_is_refused(
    text: str, says: tuple[str, ...], shell: Shell, here: Path
) -> None:
    (here / "a.json").write_text(text)
    shell.refuses("train", "--config", "a.json", says=says)
    shell.refuses("train", "--config", "b.json", says=("--config b.json cannot be read",))
    assert tiny.tree(here).keys() == {"a.json"}


# --- --minutes -------------------------------------------------------------------------------


def test_minutes_become_steps_and_the_run_is_that_of_the_steps(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = itertools.count(100.0, 6.0)  # a look at the clock before each step, and one after
    monkeypatch.setattr(pace, "clock", lambda: next(times))
    words = ["train", "gan", "--data", "ring", "--hidden", "8", "--batch-size", "16"]
    timed = tmp_path / "timed"
    answer = shell.succeeds(*words, "--minutes", "0.75", "--out", timed)
    assert "a step takes 6 s, so 0.75 minutes have room for 7 steps" in answer.err
    shell.succeeds(*words, "--steps", "7", "--out", tmp_path / "counted")
    assert end(timed) == end(tmp_path / "counted")
    one, other = (Run.open(tmp_path / name) for name in ("timed", "counted"))
    assert tiny.same_but_for_time(one.rows(), other.rows())
    assert {k: v for k, v in one.config.items() if k != "command"} == {
        k: v for k, v in other.config.items() if k != "command"
    }
    assert re.fullmatch(r"minigan train gan .* --out \S+ --steps 7", one.config["command"])


SHORT = '''
from dataclasses import dataclass
from minigan.gans.gan import GAN
from minigan.training.recipe import LearningRateDecay

@dataclass(frozen=True)
class Short(LearningRateDecay, GAN):
    """A recipe that learns for lr_steps only."""
'''


def test_minutes_are_a_length_of_their_own_where_learning_ends(
    shell: Shell, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "short.py").write_text(SHORT)
    words = ["train", "short.py", "--data", "ring", "--hidden", "8", "--batch-size", "16"]
    shell.refuses(*words, "--lr-steps", "7", says=("to step 6000; give --steps 7",))
    for most in ("7", "6"):
        monkeypatch.setattr("minigan.start.seconds_per_step", lambda state: 6.0)
        timed = shell(*words, "--lr-steps", most, "--minutes", "0.75", "--out", most)
        assert timed.code == (0 if most == "7" else 2)
    assert Run.open(here / "7").config["steps"] == 7
    assert "from there to step 7; give --steps 6" in timed.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--minutes", "0"], "--minutes must be above 0 and at most 53,333,333, not 0"),
        (["--minutes", "nan"], "--minutes must be above 0 and at most 53,333,333, not nan"),
        (["--minutes", "5.4e7"], "--minutes must be above 0 and at most 53,333,333, not 5.4e+07"),
        (["--minutes", "1", "--steps", "3"], "--steps and --minutes are two lengths"),
        (["--keep", "0"], "--keep must be at least 1, not 0"),
    ],
)
def test_a_length_that_cannot_be_is_refused(
    words: list[str], says: str, shell: Shell, here: Path
) -> None:
    shell.refuses("train", "gan", "--data", "ring", *words, says=(says,))
    assert tiny.tree(here) == {}


# --- Flags that a recipe has too -------------------------------------------------------------

MINE = '''
from dataclasses import dataclass
from minigan.gans.gan import GAN

@dataclass(frozen=True)
class Mine(GAN):
    """A recipe that is older than the flag of this name."""

    keep: float = 0.5  # which fraction of something is kept
'''


def test_a_field_of_ones_own_recipe_keeps_its_flag(shell: Shell, tmp_path: Path) -> None:
    mine, run = tmp_path / "mine.py", tmp_path / "run"
    mine.write_text(MINE)
    small = ["--data", "ring", "--hidden", "8", "--batch-size", "16", "--steps", "1"]
    shell.succeeds("train", mine, *small, "--keep", "0.25", "--run-keep", "7", "--out", run)
    config = Run.open(run).config
    assert (config["hyper_parameters"]["keep"], config["keep"]) == (0.25, 7)
    shell.succeeds("train", mine, "--like", run, "--out", tmp_path / "again")
    assert end(tmp_path / "again") == end(run)
    found = Run.open(tmp_path / "again").config
    assert (found["hyper_parameters"]["keep"], found["keep"]) == (0.25, 7)
    words = expanded([str(mine), "--like", str(run), "--keep", "0.5", "--run-keep", "3"]).words
    told = [word for word in words if word.partition("=")[0] in ("--keep", "--run-keep")]
    assert told == ["--keep", "--run-keep"]
    text = (run / "config.json").read_text()
    text = text.replace('"hyper_parameters": {', '"hyper_parameters": {"steps": 5,')
    (run / "config.json").write_text(text)
    words = expanded([str(mine), "--like", str(run), "--minutes", "1"]).words
    told = [word for word in words if word.startswith(("--steps", "--run-steps"))]
    assert told == ["--steps=5"]  # the field, which --minutes says nothing about

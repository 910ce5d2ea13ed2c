"""What a run directory asks of its user: the recipe's file named, the data as they were; and what
it does not ask: the data for samples, empty folders, steps after one that went wrong.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from PIL import Image
from tiny import Shell

from minigan import weights
from minigan.commands.open_run import open_run, open_trained
from minigan.data import Dataset, load
from minigan.data.stacked import stack
from minigan.errors import RunError, UserError
from minigan.training import checkpoint
from minigan.training.run import Run

MARKED = """
from pathlib import Path

Path(__file__).with_suffix(".ran").write_text("")
"""

# A loss that is finite, and from step 3 on a gradient or a moment that is not.
NANS = '''
from dataclasses import dataclass

import numpy as np

from minigan import Tensor, nn, sqrt
from minigan.optim import SGD
from minigan.recipe import Recipe


@dataclass(frozen=True)
class NaNs(Recipe):
    """Goes wrong in its third step, as `how` says."""

    batch_size: int = 4  # samples in a batch
    how: str = "gradient"  # where the first value is that is not finite

    def output_range(self, shape):
        return None

    def players(self, rng, shape):
        G, D = nn.Linear(2, shape[0], rng=rng), nn.Linear(shape[0], 1, rng=rng)
        return {"G": nn.Sequential(G), "D": nn.Sequential(D)}

    def optimizers(self, players):
        return {name: SGD(p.parameters(), 1e-3, momentum=0.5) for name, p in players.items()}

    def round(self, players, batches, rng, step):
        yield "D", (players["D"](next(batches)) ** 2).mean(), {}
        made = players["D"](players["G"](Tensor(self.latent(rng, 4))))
        yield "G", (sqrt(0.0 * made * made) if step == 2 else made * made).mean(), {}

    def latent(self, rng, n):
        return rng.normal((n, 2))
'''


def change(run: Path, **values: Any) -> None:
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | values))


# --- No file is executed that is not named -------------------------------------------------------


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A recipe of one's own that leaves a mark when it is executed."""
    path = tmp_path / "mine.py"
    path.write_text(tiny.FAILING + MARKED)
    return path


@pytest.fixture
def own(mine: Path, digits: Path, shell: Shell, tmp_path: Path) -> Path:
    """A run of it, after which there is no mark."""
    words = ["--data", digits, "--steps", "2", "--checkpoint-every", "1"]
    shell.succeeds("train", mine, *words, "--out", tmp_path / "own")
    mine.with_suffix(".ran").unlink()
    return tmp_path / "own"


COMMANDS = [["sample", "RUN", "--count", "1"], ["evaluate", "RUN"]]
COMMANDS += [["train", "--resume", "--out", "RUN", "--steps", "2"]]


def words_on(command: list[str], run: Path) -> list[str]:
    return [str(run) if word == "RUN" else word for word in command]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_no_file_is_executed_that_is_not_named(
    own: Path, mine: Path, shell: Shell, command: list[str]
) -> None:
    before = tiny.tree(own)
    said = shell.refuses(*words_on(command, own), says=(str(own), f"add --recipe {mine}"))
    assert "no file is executed that you do not name" in said
    assert not mine.with_suffix(".ran").exists()
    assert tiny.tree(own) == before


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
@pytest.mark.parametrize("where", ["run/weights.py", "run/../run/samples/x.py", "{run}/x.py"])
def test_a_file_in_the_directory_is_not_executed(
    run: Path, shell: Shell, command: list[str], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run directory from somebody else."""
    monkeypatch.chdir(run.parent)
    file = Path(where.format(run=run))
    file.write_text(tiny.FAILING + MARKED)
    change(run, recipe=str(file), recipe_file=None)
    shell.refuses(*words_on(command, run), says=("--recipe",))
    assert not file.with_suffix(".ran").exists()


def test_a_named_file_is_executed(own: Path, mine: Path, shell: Shell) -> None:
    for words in (
        ["sample", own, "--count", "1", "--recipe", mine],
        ["train", "--resume", "--out", own, "--steps", "2", "--recipe", mine],
        ["train", "--resume", "--out", own, "--steps", "2", mine],
        ["train", mine, "--resume", "--out", own, "--steps", "2"],
    ):
        assert "not as it was" not in shell.succeeds(*words).err
        mine.with_suffix(".ran").unlink()


def test_the_run_keeps_the_path_and_the_hash(own: Path, mine: Path, run: Path) -> None:
    from hashlib import sha256

    known = Run.open(own).config["recipe_file"]
    assert known == {"path": str(mine), "sha256": sha256(mine.read_bytes()).hexdigest()}
    assert Run.open(run).config["recipe_file"] is None  # of a recipe of minigan's


def test_a_file_that_changed_is_said_and_recorded(own: Path, mine: Path, shell: Shell) -> None:
    mine.write_text(mine.read_text() + "\n# another version\n")
    said = f"{mine} is not as it was when {own} was trained"
    assert said in shell.succeeds("sample", own, "--count", "1", "--recipe", mine).err
    words = ["train", "--resume", "--out", own, "--steps", "2", "--recipe", mine]
    assert said in shell.succeeds(*words).err
    config = Run.open(own).config
    assert config["resumed"][0]["recipe_file"]["sha256"] != config["recipe_file"]["sha256"]
    assert said not in shell.succeeds(*words).err  # it is as the run used it last


def test_a_file_that_moved_is_known_by_its_hash_or_its_name(
    own: Path, mine: Path, shell: Shell, tmp_path: Path
) -> None:
    other = tmp_path / "other.py"
    shutil.move(mine, other)
    assert "not as it was" not in shell.succeeds("sample", own, "--recipe", other).err
    other.write_text(other.read_text() + "\n# another version\n")
    shell.refuses("sample", own, "--recipe", other, says=(f"run of {mine}, not of {other}",))
    (tmp_path / "there").mkdir()
    shutil.move(other, tmp_path / "there/mine.py")
    said = shell.succeeds("sample", own, "--recipe", tmp_path / "there/mine.py").err
    assert "there/mine.py is not as it was" in said


def test_no_file_takes_the_place_of_a_recipe_of_minigans(
    run: Path, mine: Path, shell: Shell
) -> None:
    named = shutil.copy(mine, mine.parent / "gan.py")
    for file in (mine, named):
        shell.refuses("sample", run, "--recipe", file, says=(f"run of gan, not of {file}",))
        assert not Path(file).with_suffix(".ran").exists()
    shell.succeeds("sample", run, "--recipe", "gan")


def test_two_recipes_are_not_believed(own: Path, mine: Path, shell: Shell) -> None:
    words = ["train", "other.py", "--resume", "--out", own, "--recipe", mine]
    shell.refuses(*words, says=("other.py", "two recipes"))


# --- The data as they were -----------------------------------------------------------------------


@pytest.fixture
def exchanged(run: Path, tmp_path: Path) -> Path:
    """A run whose images were exchanged for as many others."""
    folder = tiny.write_idx(tmp_path / "mine")
    config = json.loads((run / "config.json").read_text())
    change(run, data=config["data"] | {"source": str(folder)})
    open_run(run)
    file = folder / "train-images-idx3-ubyte"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    return run


def test_a_run_does_not_go_on_with_other_data(exchanged: Path, shell: Shell) -> None:
    before = tiny.tree(exchanged)
    words = ["train", "--resume", "--out", exchanged, "--more", "1"]
    says = ("have changed since the run", "as many, but not the same", "--accept-changes")
    shell.refuses(*words, says=says)
    assert tiny.tree(exchanged) == before
    digest = Run.open(exchanged).config["data"]["digest"]
    assert "the run goes on with these" in shell.succeeds(*words, "--accept-changes").err
    assert Run.open(exchanged).config["data"]["digest"] != digest
    shell.succeeds(*words)  # these are its data now


def test_a_run_may_go_on_with_more_data(run: Path, shell: Shell, tmp_path: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    folder = tiny.write_idx(tmp_path / "more", count=13)
    change(run, data=config["data"] | {"source": str(folder)})
    words = ["train", "--resume", "--out", run, "--more", "1"]
    shell.refuses(*words, says=("there were 12 samples, and now 13", "--accept-changes"))
    shell.succeeds(*words, "--accept-changes")
    assert Run.open(run).config["data"]["samples"] == 13


def test_data_of_another_shape_never_fit(run: Path, shell: Shell, tmp_path: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    folder = tiny.write_idx(tmp_path / "large", side=9)
    change(run, data=config["data"] | {"source": str(folder)})
    words = ["train", "--resume", "--out", run, "--more", "1", "--accept-changes"]
    shell.refuses(*words, says=("do not fit the run", "(1, 8, 8)", "(1, 9, 9)"))


def test_scores_against_other_data_are_said_to_be(
    exchanged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    open_run(exchanged)  # as evaluate does
    assert "as many, but not the same" in capsys.readouterr().err


def test_an_older_run_without_a_digest_goes_on(exchanged: Path, shell: Shell) -> None:
    config = json.loads((exchanged / "config.json").read_text())
    del config["data"]["digest"]
    change(exchanged, data=config["data"])
    shell.succeeds("train", "--resume", "--out", exchanged, "--more", "1")
    assert Run.open(exchanged).config["data"]["digest"] is not None


# --- Algorithms ----------------------------------------------------------------------------------


def test_other_algorithms_are_said_and_recorded(
    run: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["train", "--resume", "--out", run, "--more", "1"]
    assert Run.open(run).config["choices"] is not None
    tuned = {"forward 4x1x8x8 to 4 by (3, 3, 1, 1) in 1, 8 lanes": "im2col"}
    monkeypatch.setattr("minigan_kernels.choices", lambda: tuned)
    change(run, choices={})
    said = shell.succeeds(*words).err
    assert "the algorithms chosen here changed" in said
    assert f"{next(iter(tuned))}: as the rule has it, now im2col" in said
    assert Run.open(run).config["resumed"][0]["choices"] == tuned
    assert "chosen here" not in shell.succeeds(*words).err  # as they were for the last steps


def test_an_older_run_knows_no_algorithms(run: Path, shell: Shell) -> None:
    config = json.loads((run / "config.json").read_text())
    del config["choices"]
    (run / "config.json").write_text(json.dumps(config))
    said = shell.succeeds("train", "--resume", "--out", run, "--more", "1").err
    assert "chosen here" not in said


def test_a_damaged_file_of_algorithms_is_said(
    digits: Path, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged() -> dict[str, str]:
        raise ValueError("choices.json is damaged; remove it")

    monkeypatch.setattr("minigan_kernels.choices", damaged)
    words = ["train", "gan", *tiny.FLAGS, "--data", digits, "--steps", "1"]
    shell.refuses(*words, "--out", tmp_path / "run", says=("choices.json is damaged; remove it",))
    assert not (tmp_path / "run").exists()


# --- The run directory alone ---------------------------------------------------------------------


def test_samples_need_no_data(run: Path, shell: Shell, tmp_path: Path) -> None:
    shell.succeeds("sample", run, "--out", tmp_path / "before.png")
    config = json.loads((run / "config.json").read_text())
    change(run, data=config["data"] | {"source": str(tmp_path / "gone")})
    shell.succeeds("sample", run, "--out", tmp_path / "after.png")
    assert (tmp_path / "after.png").read_bytes() == (tmp_path / "before.png").read_bytes()
    for words in (["evaluate", run], ["train", "--resume", "--out", run, "--more", "1"]):
        shell.refuses(*words, says=(str(run), "are needed for this", "gone", "--data"))


def test_classes_are_known_without_data(shell: Shell, digits: Path, tmp_path: Path) -> None:
    data = shutil.copytree(digits, tmp_path / "mine")
    small = ["--width", "2", "--hidden", "4", "--latent-size", "3", "--batch-size", "4"]
    words = ["train", "cgan", "--data", data, "--stack", "2", *small, "--steps", "1"]
    shell.succeeds(*words, "--out", tmp_path / "run")
    shutil.rmtree(data)
    shell.succeeds("sample", tmp_path / "run", "--class", "3,7", "--count", "2")
    says = ("one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 for each channel",)
    shell.refuses("sample", tmp_path / "run", "--class", "3", says=says)


def test_the_classes_of_channels_are_read_from_their_tuples(run: Path) -> None:
    """Also if a name has a comma."""
    x, y = np.zeros((3, 1, 4, 4), np.uint8), np.arange(3)
    for count in (2, 3):
        data = stack(Dataset("odd", x, y, ("a,b", "", "long name")), count)
        config = json.loads((run / "config.json").read_text())
        config["data"] |= {"classes": list(data.classes), "stack": count}
        (run / "config.json").write_text(json.dumps(config))
        found = Run.open(run).data
        assert found.parts == data.parts
        assert found.classes == data.classes


def test_points_have_no_picture_without_data(shell: Shell, tmp_path: Path) -> None:
    small = ["--hidden", "8", "--latent-size", "2", "--batch-size", "8"]
    shell.succeeds(
        "train", "lsgan", "--data", "ring", *small, "--steps", "1", "--out", tmp_path / "run"
    )
    shell.refuses("sample", tmp_path / "run", says=("ring has no images",))


@pytest.mark.parametrize("name", ["samples", "checkpoints"])
def test_a_copy_without_a_folder_goes_on(run: Path, shell: Shell, name: str) -> None:
    shutil.rmtree(run / name)
    shell.succeeds("train", "--resume", "--out", run, "--more", "1")
    assert any((run / name).iterdir())


def test_before_the_first_checkpoint_samples_need_the_data(run: Path, shell: Shell) -> None:
    shutil.rmtree(run / "checkpoints")
    shell.succeeds("sample", run)
    config = json.loads((run / "config.json").read_text())
    change(run, data=config["data"] | {"source": "/nowhere"})
    shell.refuses("sample", run, says=("are needed for this", "/nowhere"))


# --- What is not finite --------------------------------------------------------------------------


def test_a_step_that_is_not_finite_is_not_saved(shell: Shell, tmp_path: Path) -> None:
    mine, run = tmp_path / "nans.py", tmp_path / "run"
    mine.write_text(NANS)
    rhythm = ["--steps", "6", "--checkpoint-every", "1", "--sample-every", "6"]
    ended = shell("train", mine, "--data", "ring", *rhythm, "--out", run)
    assert ended.code == 1
    said = ended.err.splitlines()[-1]
    assert "the parameter layers.0.weight of G is not finite after step 3" in said
    assert "the checkpoint of step 2 is kept" in said
    assert f"(minigan train --resume --out {run} --recipe {mine} continues from it)" in said
    assert said.endswith("train again with a lower learning rate")
    newest = checkpoint.newest(run / "checkpoints")
    assert newest is not None
    assert checkpoint.step_of(newest) == 2
    arrays, _ = checkpoint.load(newest)
    assert all(np.isfinite(array).all() for array in arrays.values())
    again = shell("train", "--resume", "--out", run, "--recipe", mine)
    assert again.code == 1
    assert again.err.splitlines()[-1] == said
    mine.write_text(NANS.replace("step == 2", "False"))
    shell.succeeds("train", "--resume", "--out", run, "--recipe", mine)
    assert Run.open(run).rows()[-1]["step"] == 6


def test_moments_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    state = tiny.state("dcgan")
    state.save(tmp_path, "dcgan")
    before = tiny.tree(tmp_path)
    name = next(iter(state.optimizers["D"].slot))
    state.optimizers["D"].slot[name][...] = np.inf
    state.step = 1
    with pytest.raises(Exception, match=f"{name} in the optimiser of D is not finite") as caught:
        state.save(tmp_path, "dcgan")
    assert type(caught.value).__name__ == "RunError"
    assert tiny.tree(tmp_path) == before


def test_a_checkpoint_that_is_not_finite_names_the_older_one(run: Path, shell: Shell) -> None:
    """As an older minigan has written it."""
    shell.succeeds("train", "--resume", "--out", run, "--more", "1")
    path = checkpoint.newest(run / "checkpoints")
    assert path is not None
    arrays, facts = weights.read(path)
    arrays["players/G/layers.0.weight"][0, 0] = np.nan
    del facts["format"]
    weights.write(path, arrays, facts)
    for opened in (open_run, open_trained):
        with pytest.raises(UserError, match="remove it to go on from step 2"):
            opened(run)
    path.unlink()
    shell.succeeds("train", "--resume", "--out", run, "--more", "1")


# --- Pictures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["noise", "cut", "other size", "bomb"])
def test_a_picture_that_fits_no_film_is_named(run: Path, shell: Shell, kind: str) -> None:
    odd = run / "samples/step-000001.png"
    if kind == "noise":
        odd.write_bytes(b"no picture")
    elif kind == "cut":
        odd.write_bytes((run / "samples/step-000002.png").read_bytes()[:100])
    elif kind == "other size":
        Image.new("RGB", (3, 3)).save(odd)
    else:
        Image.new("1", (8, 8)).save(odd)
        data = bytearray(odd.read_bytes())
        data[16:24] = struct.pack(">II", 60_000, 60_000)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
        odd.write_bytes(data)
    words = ["train", "--resume", "--out", run, "--more", "1"]
    ended = shell(*words)
    assert ended.code == 1
    last = ended.err.splitlines()[-1]
    assert last.startswith("minigan: no film was made: ")
    assert str(odd) in last
    assert "Finished: 3 steps" in (run / "report.html").read_text()
    odd.unlink()
    shell.succeeds("train", "--resume", "--out", run)
    assert (run / "samples/animation.gif").is_file()


@pytest.mark.parametrize("name", ["step-000007.png", "mine.png"])
def test_a_folder_is_no_picture(run: Path, shell: Shell, name: str) -> None:
    (run / "samples" / name).mkdir()
    shell.succeeds("train", "--resume", "--out", run, "--more", "1")


def test_the_data_that_a_run_knows_are_those_it_had(finished: Path) -> None:
    found, data = Run.open(finished).data, load(Run.open(finished).config["data"]["source"])
    assert found.shape == data.shape
    assert found.classes == data.classes
    assert found.parts == data.parts == ()
    assert found.is_image


# --- Values that are not finite, and what is no file ------------------------------------------


def test_a_buffer_that_is_not_finite_is_not_saved(run: Path) -> None:
    state, _, found = open_run(run)
    before = {path.name: path.read_bytes() for path in found.checkpoints.iterdir()}
    state.players["D"].own_moment = np.array([np.nan], np.float32)  # type: ignore[assignment]
    state.step += 1
    with pytest.raises(RunError, match=r"the buffer own_moment of D is not finite .* is kept"):
        state.save(found.checkpoints, found.config["recipe"])
    assert {path.name: path.read_bytes() for path in found.checkpoints.iterdir()} == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_in_place_of_a_checkpoint_is_not_waited_for(run: Path) -> None:
    (path,) = [p for p in (run / "checkpoints").iterdir() if "2" in p.name]
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match="is damaged: it is not a file; remove it"):
        open_run(run)

"""The command line: what is wrong is said in one sentence, and nothing is lost."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image
from tiny import Shell

from minigan import GraphError, gans, weights
from minigan.training import checkpoint

# --- What is wrong with the words ------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["trian"], ["trian", "train"]),
        (["xyzzy"], ["xyzzy", "train", "doctor"]),
        (["--stesp", "3"], ["--stesp"]),
        (["recipes", "gan"], ["recipes", "gan"]),
        (["doctor", "--fast"], ["doctor", "--fast"]),
        (["data"], ["minigan data list"]),
        (["data", "lsit"], ["minigan data list"]),
        (["data", "fetch", "mnits"], ["mnits", "mnist"]),
        (["gradcheck", "dcgna"], ["dcgna", "dcgan"]),
        (["gradcheck", "--fast"], ["--fast"]),
        (["train", "dcgna"], ["dcgna", "did you mean dcgan?"]),
        (["train", "xyzzy"], ["xyzzy", "dcgan", "gan"]),
        (["train", "missing.py"], ["missing.py"]),
        (["train", "gan", "--hiden", "3"], ["--hiden", "did you mean --hidden?"]),
        (["train", "gan", "--hiden=3"], ["--hiden", "--hidden"]),
        (["train", "--stesp", "3"], ["--stesp", "did you mean --steps?"]),
        (["train", "gan", "dcgan"], ["dcgan"]),
        (["train", "gan", "--steps"], ["--steps needs a value"]),
        (["train", "gan", "--steps", "--seed", "3"], ["--steps needs a value"]),
        (["train", "gan", "--steps", "many"], ["--steps", "many"]),
        (["train", "gan", "--steps=many"], ["--steps", "many"]),
        (["train", "gan", "--steps", "1.5"], ["--steps", "1.5"]),
        (["train", "gan", "--steps", "0"], ["--steps", "at least 1", "0"]),
        (["train", "gan", "--steps", "-5"], ["--steps", "at least 1", "-5"]),
        (["train", "gan", "--sample-every", "0"], ["--sample-every", "at least 1"]),
        (["train", "gan", "--checkpoint-every", "-1"], ["--checkpoint-every", "at least 1"]),
        (["train", "gan", "--lr", "fast"], ["--lr", "fast"]),
        (["train", "gan", "--seed", "-1"], ["seed", "-1"]),
        (["train", "gan", "--seed", str(2**64)], ["seed", str(2**64)]),
        (["train", "gan", "--device", "tpu"], ["--device", "tpu"]),
        (["train", "gan", "--size", "0"], ["--size", "1", "not 0"]),
        (["train", "gan", "--size", "100000"], ["100000", "1024"]),
        (["train", "gan", "--batch-size", "0"], ["--batch-size", "at least 1"]),
        (["train", "gan", "--batch-size", "-4"], ["--batch-size", "at least 1"]),
        (["train", "gan", "--batch-size", "13"], ["--batch-size", "12 samples", "1 to 12"]),
        (["train", "dcgan"], ["28, 32, 48, 64, 96 or 128 pixels", "--size"]),  # the digits have 8
        (["train", "gan", "--more", "3"], ["--more", "--resume"]),
        (["train", "--resume"], ["--resume needs --out"]),
        (["train", "gan", "--resume"], ["--resume needs --out"]),
        (["train", "--resume", "."], ["minigan train --resume --out ."]),
        (["train", "dcgan", "--lr", "1"], ["did you mean --lr-d or --lr-g?"]),
        (["train", "dcgan", "--learning-rate=1"], ["did you mean --lr-d or --lr-g?"]),
        (["train", "gan", "--learning-rate", "1"], ["did you mean --lr?"]),
        (["train", "gan", "--epochs", "1"], ["did you mean --steps?"]),
        (["train", "gan", "--unheard-of", "1"], ["--help lists what there is"]),
        (["evaluate", ".", "."], ["takes one run", "one after the other"]),
        (["report", ".", "."], ["takes one run", "one after the other"]),
        (["train", "--resume", "--out", "missing"], ["missing", "not a run directory"]),
        (["sample"], ["needs a run directory"]),
        (["sample", "--count", "3"], ["needs a run directory"]),
        (["sample", "missing"], ["missing", "not a run directory"]),
    ],
    ids=lambda value: " ".join(value).replace(str(2**64), "2^64") if value else "nothing",
)
def test_a_slip_of_the_tongue_costs_one_sentence(
    shell: Shell, here: Path, digits: Path, words: list[str], says: list[str]
) -> None:
    more: list[str | Path] = []
    if words[0] == "train" and "--resume" not in words and not words[-1].startswith("--"):
        more = ["--data", digits, *([] if "--batch-size" in words else ["--batch-size", "4"])]
    shell.refuses(*words, *more, says=tuple(says))
    assert tiny.tree(here) == {}  # nothing was begun


@pytest.mark.parametrize("name", ["gan", "dcgan"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "1e400"])
def test_no_value_of_a_hyper_parameter_gives_a_traceback(
    shell: Shell,
    here: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
) -> None:
    for slow in ("draw_data", "draw_progress"):
        monkeypatch.setattr(f"minigan.training.loop.{slow}", lambda *args, **options: None)
    data = tiny.write_idx(tmp_path / "digits", side=28)
    small = {f"--{k.replace('_', '-')}": str(v) for k, v in tiny.SMALL.items()}
    known = [f"--{k.replace('_', '-')}" for k in gans.load(name).__dataclass_fields__]
    rhythm = ["--steps", "1", "--sample-every", "9", "--checkpoint-every", "9"]
    wrong = []
    for flag in known:
        flags = {k: v for k, v in small.items() if k in known} | {flag: value}
        words = [word for pair in flags.items() for word in pair]
        run = here / flag.strip("-")
        try:
            with np.errstate(all="ignore"):
                answer = shell("train", name, "--data", data, *rhythm, *words, "--out", run)
        except Exception as error:
            wrong.append((flag, value, repr(error)))
            continue
        assert answer.code in (0, 1, 2)
        assert answer.code == 0 or answer.err.splitlines()[-1].startswith("minigan: ")
        if answer.code == 2 and run.exists():
            wrong.append((flag, value, f"a run directory is left by: {answer.err}"))
    assert not wrong


@pytest.mark.parametrize("flag", ["--k", "--hidden", "--units", "--pieces", "--latent-size"])
@pytest.mark.parametrize("value", ["0", "-1"])
def test_a_network_of_nothing_is_refused(
    shell: Shell, here: Path, digits: Path, flag: str, value: str
) -> None:
    words = ["--data", digits, "--batch-size", "4", "--steps", "1", flag, value]
    sentence = shell.refuses("train", "gan", *words, says=(value,))
    assert flag.strip("-") in sentence.replace("_", "-")
    assert tiny.tree(here) == {}


# --- What is wrong with the data -------------------------------------------------------------


def refuses_data(shell: Shell, here: Path, data: Path, *says: str) -> str:
    before = tiny.tree(data) if data.is_dir() else {}
    sentence = shell.refuses(
        "train", "gan", *tiny.FLAGS, "--data", data, "--out", here / "run", says=says
    )
    assert tiny.tree(here) == {}
    assert (tiny.tree(data) if data.is_dir() else {}) == before
    return sentence


def test_a_missing_data_folder(shell: Shell, here: Path, tmp_path: Path) -> None:
    refuses_data(shell, here, tmp_path / "nothing", str(tmp_path / "nothing"), "glyphs")


def test_a_misspelt_data_set(shell: Shell, here: Path) -> None:
    shell.refuses("train", "gan", "--data", "glyhps", says=("glyhps", "did you mean glyphs?"))
    shell.refuses("train", "gan", "--data", "mnits", says=("mnits", "did you mean mnist?"))
    assert tiny.tree(here) == {}


def test_a_far_path_is_not_taken_for_a_misspelt_name(shell: Shell, here: Path) -> None:
    sentence = shell.refuses("train", "gan", "--data", "/no/such/nonexist", says=("/no/such",))
    assert "did you mean" not in sentence


def test_a_file_in_place_of_a_folder(shell: Shell, here: Path, digits: Path) -> None:
    file = digits / "train-images-idx3-ubyte"
    refuses_data(shell, here, file, file.name, "folder")


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"])
def test_missing_and_truncated_idx_files(
    shell: Shell, here: Path, tmp_path: Path, name: str
) -> None:
    data = tiny.write_idx(tmp_path / "digits")
    whole = (data / name).read_bytes()
    for length in (0, 3, 7, len(whole) - 1):
        (data / name).write_bytes(whole[:length])
        refuses_data(shell, here, data, name)
    (data / name).write_bytes(whole + b"\0")
    refuses_data(shell, here, data, name)
    (data / name).unlink()
    refuses_data(shell, here, data, name)


def test_a_broken_image_among_good_ones(shell: Shell, here: Path, tmp_path: Path) -> None:
    data = tmp_path / "pictures"
    for label in "ab":
        (data / label).mkdir(parents=True)
        for number in range(4):
            Image.new("L", (9, 9), 40 * number).save(data / label / f"{number}.png")
    whole = (data / "b/2.png").read_bytes()
    for broken in (b"", b"no image", whole[: len(whole) // 2]):
        (data / "b/2.png").write_bytes(broken)
        refuses_data(shell, here, data, "b/2.png", "repair it, take it out")


def test_a_folder_without_images(shell: Shell, here: Path, tmp_path: Path) -> None:
    data = tmp_path / "empty"
    data.mkdir()
    refuses_data(shell, here, data, str(data), "no image")
    (data / "notes.txt").write_text("nothing to see")
    (data / "sub").mkdir()
    refuses_data(shell, here, data, str(data), "no image")


# --- What is wrong with the run directory ----------------------------------------------------


def test_a_run_directory_that_holds_a_run_is_kept(shell: Shell, run: Path, digits: Path) -> None:
    before = tiny.tree(run)
    words = ["train", "gan", *tiny.FLAGS, "--data", digits, "--steps", "3", "--out", run]
    shell.refuses(*words, says=(str(run), "holds a run already", "--out", "--resume"))
    assert tiny.tree(run) == before


def test_a_run_directory_below_a_file(shell: Shell, here: Path, digits: Path) -> None:
    (here / "file").write_text("mine")
    words = ["train", "gan", *tiny.FLAGS, "--data", digits, "--steps", "1", "--out"]
    for out in (here / "file", here / "file" / "run", here / "file" / "deep" / "run"):
        shell.refuses(*words, out, says=(str(out), "cannot be written", "--out"))
    assert tiny.tree(here).keys() == {"file"}
    assert (here / "file").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="the root user may write anywhere")
def test_a_read_only_run_directory(shell: Shell, here: Path, digits: Path) -> None:
    here.chmod(0o555)
    try:
        words = ["train", "gan", *tiny.FLAGS, "--data", digits, "--steps", "1"]
        for out in (here, here / "run"):
            shell.refuses(*words, "--out", out, says=(str(out), "cannot be written", "--out"))
    finally:
        here.chmod(0o755)
    assert tiny.tree(here) == {}


def test_a_read_only_file_system(
    shell: Shell, here: Path, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    words = ["train", "gan", *tiny.FLAGS, "--data", digits, "--steps", "1", "--out", here / "run"]
    shell.refuses(*words, says=(str(here / "run"), "Read-only file system", "--out"))
    assert tiny.tree(here) == {}


def test_resume_as_another_recipe(shell: Shell, run: Path) -> None:
    before = tiny.tree(run)
    words = ["train", "dcgan", "--resume", "--out", run, "--more", "1"]
    shell.refuses(*words, says=(str(run), "run of gan, not of dcgan"))
    assert tiny.tree(run) == before


def test_a_checkpoint_of_another_recipe(shell: Shell, run: Path) -> None:
    path = checkpoint.newest(run / "checkpoints")
    arrays, facts = checkpoint.load(path)
    checkpoint.save(path, arrays, {**facts, "recipe": "dcgan"})
    before = tiny.tree(run)
    for words in (["train", "--resume", "--out", run], ["sample", run]):
        shell.refuses(*words, says=(str(path), "checkpoint of dcgan, not of gan"))
    assert tiny.tree(run) == before


def test_a_checkpoint_of_a_newer_format(
    shell: Shell, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkpoint.newest(run / "checkpoints")
    arrays, facts = checkpoint.load(path)
    with monkeypatch.context() as patch:
        patch.setattr(weights.facts, "FORMAT", 99)
        facts.pop("format")
        checkpoint.save(path, arrays, facts)
    before = tiny.tree(run)
    for words in (["train", "--resume", "--out", run], ["sample", run]):
        shell.refuses(*words, says=(str(path), "99", "install a newer"))
    assert tiny.tree(run) == before


def test_a_damaged_checkpoint(shell: Shell, run: Path) -> None:
    path = checkpoint.newest(run / "checkpoints")
    path.write_bytes(path.read_bytes()[:-20])
    (run / "checkpoints/step-000001.safetensors").unlink()
    before = tiny.tree(run)
    for words in (["train", "--resume", "--out", run], ["sample", run]):
        shell.refuses(*words, says=(str(path), "damaged", "; remove it to begin the run again"))
    assert tiny.tree(run) == before


def test_a_damaged_checkpoint_beside_an_older_one(shell: Shell, run: Path) -> None:
    shell.succeeds("train", "--resume", "--out", run, "--more", "1")
    path, older = (run / f"checkpoints/step-00000{step}.safetensors" for step in (3, 2))
    assert older.exists()
    path.write_bytes(path.read_bytes()[:-20])
    shell.refuses("sample", run, says=(str(path), "damaged", "; remove it to go on from step 2"))
    path.unlink()
    shell.succeeds("train", "--resume", "--out", run, "--more", "1")
    assert checkpoint.newest(run / "checkpoints") == path


def test_a_config_of_a_newer_format(shell: Shell, run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "format": 99}))
    before = tiny.tree(run)
    for words in (["train", "--resume", "--out", run], ["sample", run]):
        shell.refuses(*words, says=("config.json", "99", "install a newer"))
    assert tiny.tree(run) == before


def test_a_config_that_lacks_something(shell: Shell, run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    crashes = []
    for key in ("format", "recipe", "hyper_parameters", "data", "steps", "seed", "sample_every"):
        spoilt = [{k: v for k, v in config.items() if k != key}]
        spoilt += [{**config, key: value} for value in (None, "x", [])]
        for broken in spoilt:
            (run / "config.json").write_text(json.dumps(broken))
            try:
                answer = shell("train", "--resume", "--out", run, "--more", "1")
            except Exception as error:
                crashes.append((key, broken.get(key, "missing"), repr(error)))
                continue
            assert answer.code in (0, 2), (key, broken.get(key), answer.err)
    assert not crashes


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", '"text"', "\x00\x01"])
def test_a_config_that_is_none(shell: Shell, run: Path, text: str) -> None:
    (run / "config.json").write_text(text)
    shell.refuses("train", "--resume", "--out", run, says=("config.json",))
    shell.refuses("sample", run, says=("config.json",))


def test_metrics_that_are_broken(shell: Shell, run: Path) -> None:
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    for broken in ("rubbish\n" + lines[1], lines[0] + "rubbish\n", "{}\n" + lines[1], "7\n"):
        (run / "metrics.jsonl").write_text(broken)
        before = tiny.tree(run)
        words = ["train", "--resume", "--out", run, "--more", "1"]
        shell.refuses(*words, says=("metrics.jsonl",))
        assert tiny.tree(run) == before


def test_a_run_without_metrics_can_be_resumed(shell: Shell, run: Path) -> None:
    (run / "metrics.jsonl").unlink()
    shell.succeeds("train", "--resume", "--out", run, "--more", "1")
    assert checkpoint.newest(run / "checkpoints").name == "step-000003.safetensors"


def test_data_that_have_changed(shell: Shell, run: Path, tmp_path: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    config["data"]["source"] = str(tiny.write_idx(tmp_path / "other", count=13))
    (run / "config.json").write_text(json.dumps(config))
    before = tiny.tree(run)
    words = ["train", "--resume", "--out", run, "--more", "1"]
    shell.refuses(*words, says=("other", "12 samples", "13"))
    assert tiny.tree(run) == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--data", "glyphs"], ["--data"]),
        (["--seed", "3"], ["--seed"]),
        (["--seed=3"], ["--seed"]),
        (["--size", "28"], ["--size"]),
        (["--lr", "0.5"], ["--lr", "keeps"]),
        (["--batch_size", "2"], ["batch", "keeps"]),
        (["--hidden", "3"], ["--hidden", "keeps"]),
        (["--steps", "1"], ["--steps 1", "step 2"]),
        (["--steps", "3", "--more", "3"], ["--steps", "--more"]),
        (["--more", "0"], ["--more", "at least 1"]),
        (["--more", "-3"], ["--more", "at least 1"]),
        (["--stesp", "3"], ["--stesp", "--steps"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_what_a_resumed_run_cannot_be_told(
    shell: Shell, run: Path, words: list[str], says: list[str]
) -> None:
    before = tiny.tree(run)
    shell.refuses("train", "--resume", "--out", run, *words, says=tuple(says))
    assert tiny.tree(run) == before


# --- What is wrong with a wish for samples ---------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--count", "0"], ["--count"]),
        (["--count", "-3"], ["--count"]),
        (["--walk", "1"], ["--walk"]),
        (["--class", "3"], ["--class", "gan"]),
        (["--seed", "x"], ["--seed", "x"]),
        (["--cuont", "3"], ["--cuont", "--count"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_samples_that_cannot_be_had(
    shell: Shell, run: Path, words: list[str], says: list[str]
) -> None:
    before = tiny.tree(run)
    shell.refuses("sample", run, *words, says=tuple(says))
    assert tiny.tree(run) == before


def test_samples_that_cannot_be_written(shell: Shell, run: Path, here: Path) -> None:
    (here / "file").write_text("mine")
    (here / "folder").mkdir()
    out = here / "file" / "a.png"
    shell.refuses("sample", run, "--out", out, says=(str(out), "cannot be written", "--out"))
    shell.refuses("sample", run, "--out", here / "folder", says=("folder is a folder", "--single"))
    for out in (here / "file", here / "file" / "deep"):
        words = ["sample", run, "--single", "--out", out]
        shell.refuses(*words, says=(str(out), "cannot be written", "--out"))
    assert tiny.tree(here).keys() == {"file", "folder"}


def test_samples_of_a_folder_that_is_no_run(shell: Shell, here: Path, digits: Path) -> None:
    shell.refuses("sample", here, says=(str(here), "config.json"))
    shell.refuses("sample", digits / "train-images-idx3-ubyte", says=("not a run directory",))
    assert tiny.tree(here) == {}


BROKEN = """
from minigan.gans.gan import GAN


class Broken(GAN):
    \"\"\"A GAN whose players do not fit each other.\"\"\"

    def round(self, players, batches, rng, step):
        real = next(batches)
        yield "D", players["D"](real[:, :, 1:]).mean(), {}
"""


def test_a_shape_error_in_a_recipe_is_one_sentence(shell: Shell, here: Path, digits: Path) -> None:
    (here / "broken.py").write_text(BROKEN)
    words = ["train", here / "broken.py", *tiny.FLAGS, "--data", digits, "--out", here / "run"]
    answer = shell(*words, "--steps", "2")
    assert answer.code == 1
    assert "Traceback" not in answer.err
    last = answer.err.splitlines()[-1]
    assert last.startswith("minigan: ")
    assert "of shape (4, 56)" in last
    with pytest.raises(GraphError):
        shell(*words[:-1], here / "again", "--steps", "2", "--debug")

"""Faults from outside: full disks, hostile files. One sentence, nothing damaged, and a way on."""

from __future__ import annotations

import gzip
import json
import resource
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import tiny
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tiny import Shell

from minigan.commands.open_run import open_run
from minigan.data import load
from minigan.errors import UserError
from minigan.files import atomic_write
from minigan.training import checkpoint
from minigan.training.run import Run

FUZZ = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


# --- A full disk -----------------------------------------------------------------------------


def limited(size: int, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """A command that cannot write more than `size` bytes to any file."""
    return subprocess.run(
        [*tiny.COMMAND, *map(str, words)],
        capture_output=True,
        text=True,
        env=tiny.environment(),
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )


def temporary(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.is_file()]


@pytest.mark.parametrize("size", [0, 2_000, 6_000, 30_000])
def test_a_disk_that_is_full_from_the_start(digits: Path, tmp_path: Path, size: int) -> None:
    # What fails is, in turn: the configuration, a picture, the first checkpoint, a larger picture.
    run = tmp_path / "run"
    words = ["--data", digits, "--steps", "3", "--checkpoint-every", "1", "--out", run]
    ended = limited(size, "train", "gan", *tiny.FLAGS, *words)
    assert "Traceback" not in ended.stderr
    assert ended.returncode in (1, 2)
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("minigan: ")
    assert str(run) in last
    assert "File too large" in last  # what the system says of it
    assert temporary(tmp_path) == []


def test_a_disk_that_fills_up_leaves_a_run_that_can_go_on(
    shell: Shell, run: Path, digits: Path, tmp_path: Path
) -> None:
    size = checkpoint.newest(run / "checkpoints").stat().st_size - 1
    before = checkpoint.newest(run / "checkpoints").read_bytes()
    ended = limited(size, "train", "--resume", "--out", run, "--more", "2")
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("minigan: ")
    assert temporary(run) == []
    assert checkpoint.newest(run / "checkpoints").read_bytes() == before
    json.loads((run / "config.json").read_text())
    shell.succeeds("train", "--resume", "--out", run, "--steps", "4")
    straight = tmp_path / "straight"
    words = ["--data", digits, "--steps", "4", "--checkpoint-every", "9", "--out", straight]
    shell.succeeds("train", "gan", *tiny.FLAGS, "--init-g", "1", *words)
    name = "checkpoints/step-000004.safetensors"
    assert (run / name).read_bytes() == (straight / name).read_bytes()


def test_output_that_cannot_be_written(digits: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    for words in (["recipes"], ["--help"], ["train", "--help"]):
        with open("/dev/full", "w") as full:
            ended = subprocess.run(
                [*tiny.COMMAND, *words],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                env=tiny.environment(),
            )
        assert ended.returncode != 0
        assert "Traceback" not in ended.stderr


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    file.write_text("old")
    for error in (OSError("full"), KeyboardInterrupt()):
        with pytest.raises(type(error)), atomic_write(file) as path:  # noqa: PT012
            path.write_text("new, but only half of i")
            raise error
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]
    with atomic_write(file) as path:
        path.write_text("new")
    assert file.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


# --- Interruptions ---------------------------------------------------------------------------


def test_a_second_ctrl_c_ends_a_run_at_once(digits: Path, tmp_path: Path) -> None:
    """Also then the newest checkpoint is whole, there is no traceback, and the code says it."""
    run = tmp_path / "run"
    rhythm = ["--steps", "1000000", "--sample-every", "1000000", "--checkpoint-every", "5"]
    words = ["train", "gan", *tiny.FLAGS, "--data", digits, *rhythm, "--out", run]
    with subprocess.Popen(
        [*tiny.COMMAND, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=tiny.environment(),
    ) as process:
        try:
            deadline = time.monotonic() + 120
            while not (run / "metrics.jsonl").exists():
                assert process.poll() is None, process.communicate()[1]
                assert time.monotonic() < deadline
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "Traceback" not in err
    checkpoint.load(checkpoint.newest(run / "checkpoints"))


def test_no_memory_is_said_in_one_sentence(
    shell: Shell, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from minigan.training.state import State

    def exhausted(self: State) -> dict[str, float]:
        raise MemoryError("Unable to allocate 64 GiB")

    monkeypatch.setattr(State, "advance", exhausted)
    words = ["--data", digits, "--steps", "2", "--out", tmp_path / "run"]
    answer = shell("train", "gan", *tiny.FLAGS, *words)
    assert answer.code == 1
    last = answer.err.splitlines()[-1]
    assert last.startswith("minigan: out of memory")
    assert last.endswith("; train again with a smaller --batch-size")


@pytest.mark.parametrize(
    ("verb", "remedy"),
    [("sample", "try a smaller --count"), ("recipes", "end what else takes memory here")],
)
def test_what_helps_against_no_memory_is_the_verbs_own(
    verb: str, remedy: str, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(words: list[str]) -> int:
        raise MemoryError("Unable to allocate 64 GiB")

    monkeypatch.setattr(f"minigan.commands.{verb}.main", exhausted)
    last = shell.refuses(verb, code=1)
    assert last == f"minigan: out of memory (Unable to allocate 64 GiB); {remedy}"


# --- Hostile files ---------------------------------------------------------------------------


def load_or_refuse(folder: Path) -> None:
    """Anything but a data set or one sentence is a failure."""
    try:
        dataset = load(folder)
    except UserError as error:
        tiny.one_sentence(error, "idx", str(folder))
    else:
        assert len(dataset) > 0
        assert dataset.y is not None
        assert len(dataset.y) == len(dataset)


@FUZZ
@given(st.binary(max_size=64), st.sampled_from(["images-idx3", "labels-idx1"]), st.booleans())
@example(b"\0\0\x08\x03" + b"\xff" * 12, "images-idx3", False)  # promises 2^96 bytes
@example(b"\0\0\x08\x03" + b"\xff" * 12, "images-idx3", True)
@example(b"\0\0\x08\x03" + b"\0" * 12, "images-idx3", False)
@example(b"\0\0\x08\x01" + b"\0" * 4, "labels-idx1", False)
def test_noise_in_place_of_an_idx_file(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, kind: str, packed: bool
) -> None:
    folder = tiny.write_idx(tmp_path_factory.mktemp("noise"))
    (folder / f"train-{kind}-ubyte").write_bytes(gzip.compress(noise) if packed else noise)
    load_or_refuse(folder)


@FUZZ
@given(st.data())
def test_a_damaged_idx_file(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tiny.write_idx(tmp_path_factory.mktemp("damaged"))
    file = folder / data.draw(
        st.sampled_from(["train-images-idx3-ubyte", "train-labels-idx1-ubyte"])
    )
    whole = file.read_bytes()
    packed = data.draw(st.booleans())
    damaged = bytearray(gzip.compress(whole, mtime=0) if packed else whole)
    position = data.draw(st.integers(0, len(damaged) - 1))
    if data.draw(st.booleans()):
        del damaged[position:]
    else:
        damaged[position] ^= data.draw(st.integers(1, 255))
    file.write_bytes(damaged)
    load_or_refuse(folder)


def test_an_idx_file_that_unpacks_to_far_more_than_it_says(tmp_path: Path) -> None:
    folder = tiny.write_idx(tmp_path)
    bomb = struct.pack(">BBBB3I", 0, 0, 8, 3, 12, 8, 8) + bytes(10_000_000)
    (folder / "train-images-idx3-ubyte").write_bytes(gzip.compress(bomb))
    with pytest.raises(UserError, match="train-images-idx3-ubyte goes on after"):
        load(folder)


@FUZZ
@given(st.data())
def test_a_damaged_checkpoint_gives_the_same_state_or_one_sentence(
    finished: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = checkpoint.newest(finished / "checkpoints").read_bytes()
    damaged = bytearray(whole)
    position = data.draw(st.integers(0, len(damaged) - 1))
    if data.draw(st.booleans()):
        del damaged[position:]
    else:
        damaged[position] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    path.write_bytes(damaged)
    state = tiny.state("gan", load(Run.open(finished).config["data"]["source"]))
    try:
        state.restore(path, "gan")
    except UserError as error:
        tiny.one_sentence(error, str(path))
    else:
        again = state.save(tmp_path_factory.mktemp("again"), "gan")
        assert checkpoint.load(again)[1]["step"] == 2
        assert again.read_bytes() == whole


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 40) | st.floats() | st.text("abc/.", max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=4,
)


@FUZZ
@given(st.data())
def test_a_config_of_any_content_gives_one_sentence(
    finished: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    run = tmp_path_factory.mktemp("config")
    if not run.exists():
        shutil.copytree(finished, run)
    config = json.loads((finished / "config.json").read_text())
    key = data.draw(st.sampled_from(["format", "recipe", "hyper_parameters", "data", "seed"]))
    if data.draw(st.booleans()):
        config[key] = data.draw(json_values)
    elif isinstance(config[key], dict):
        config[key][data.draw(st.sampled_from(sorted(config[key])))] = data.draw(json_values)
    else:
        del config[key]
    (run / "config.json").write_text(json.dumps(config))
    try:
        open_run(run)
    except UserError as error:
        tiny.one_sentence(error)


@FUZZ
@given(st.binary(max_size=60))
@example(b"\xff\xfe\n")
@example(b"[" * 100_000)
@example(b"null\n")
@example(b'{"step": "x", "seconds": 1}\n')
def test_metrics_of_any_content_give_rows_or_one_sentence(
    finished: Path, tmp_path_factory: pytest.TempPathFactory, noise: bytes
) -> None:
    run = Run(tmp_path_factory.getbasetemp(), {})
    run.metrics.write_bytes((finished / "metrics.jsonl").read_bytes() + noise)
    try:
        rows = run.rows()
    except UserError as error:
        tiny.one_sentence(error, "metrics.jsonl")
    else:
        assert [row["step"] for row in rows[:2]] == [1, 2]
        assert all(isinstance(row["step"], int) for row in rows)


def test_a_run_whose_data_hold_labels_no_more_is_refused(run: Path, tmp_path: Path) -> None:
    """The labels' file is damaged between two commands; the run is not."""
    folder = tiny.write_idx(tmp_path / "digits")
    config = json.loads((run / "config.json").read_text())
    config["data"]["source"] = str(folder)
    (run / "config.json").write_text(json.dumps(config))
    open_run(run)
    (folder / "train-labels-idx1-ubyte").unlink()
    before = tiny.tree(run)
    with pytest.raises(UserError, match="train-labels"):
        open_run(run)
    assert tiny.tree(run) == before


def test_a_seed_of_any_size_within_its_range_works() -> None:
    for seed in (0, 2**32, 2**64 - 1):
        row = tiny.state("gan", seed=seed).advance()
        assert np.isfinite(row["loss_D"])

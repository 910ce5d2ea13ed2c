"""Checkpoints: whole or absent, the same bytes for the same state, and never half believed."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from minigan import weights
from minigan.errors import UserError
from minigan.training import checkpoint
from minigan.training.run import Run
from minigan.training.state import State

FACTS: dict[str, Any] = {"recipe": "gan", "step": 3, "rng": {"key": 2**64 - 1, "offset": 5}}


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "players/G/0.weight": rng.standard_normal((2, 3)).astype(np.float32),
        "players/G/0.bias": np.array([], np.float32),
        "optimizers/G/steps": np.array(7),
        "b": np.array([True, False]),
        "a": np.arange(6, dtype=np.int64).reshape(2, 3).T,  # not contiguous
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "step-000003.safetensors"
    checkpoint.save(path, arrays(), FACTS)
    return path


def refusal(path: Path) -> str:
    """The one sentence with which a checkpoint is refused."""
    with pytest.raises(UserError) as caught:
        checkpoint.load(path)
    sentence = str(caught.value)
    assert str(path) in sentence
    assert "\n" not in sentence
    return sentence


def test_what_was_saved_comes_back(file: Path) -> None:
    loaded, facts = checkpoint.load(file)
    assert loaded.keys() == arrays().keys()
    for name, array in arrays().items():
        assert loaded[name].dtype == array.dtype
        assert loaded[name].shape == array.shape  # also the one without dimensions
        np.testing.assert_array_equal(loaded[name], array)
    assert facts.items() >= FACTS.items()
    assert facts["rng"]["key"] == 2**64 - 1  # not rounded to a float


def test_no_pickle_is_needed_to_read_one(file: Path) -> None:
    read = safetensors.numpy.load_file(file)
    np.testing.assert_array_equal(read["optimizers/G/steps"], 7)


def test_the_same_state_gives_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    forward = arrays()
    backward = dict(reversed(arrays().items()))
    checkpoint.save(tmp_path / "a", forward, FACTS)
    checkpoint.save(tmp_path / "b", backward, dict(reversed(FACTS.items())))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_missing_checkpoint(tmp_path: Path) -> None:
    assert "there is no checkpoint" in refusal(tmp_path / "no.safetensors")
    assert checkpoint.newest(tmp_path) is None


def test_a_folder_is_no_checkpoint(tmp_path: Path) -> None:
    refusal(tmp_path)


def test_every_truncation_is_found(file: Path) -> None:
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        assert "damaged" in refusal(file)


def test_an_appended_byte_is_found(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\0")
    assert "damaged" in refusal(file)


def test_no_flipped_bit_changes_what_is_believed(file: Path) -> None:
    whole = file.read_bytes()
    believed = []
    for position in range(len(whole)):
        for bit in (0, 4):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << bit
            file.write_bytes(damaged)
            try:
                loaded, facts = checkpoint.load(file)
            except UserError:
                continue
            same = facts.items() >= FACTS.items() and all(
                np.array_equal(loaded[name], array) and loaded[name].dtype == array.dtype
                for name, array in arrays().items()
            )
            if not (same and loaded.keys() == arrays().keys()):
                believed.append((position, bit, facts))
    assert not believed, believed[:3]


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_no_checkpoint(noise: bytes) -> None:
    path = scratch() / "noise.safetensors"
    path.write_bytes(noise)
    refusal(path)


@settings(max_examples=40, deadline=None)
@given(st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=3), st.text())
def test_metadata_of_any_kind_is_refused(value: object, text: str) -> None:
    path = scratch() / "metadata.safetensors"
    for metadata in (
        json.dumps(value),
        text,
        json.dumps({"format": value}),
        json.dumps({"format": 1, "checksum": value}),
        json.dumps({"format": 1, "recipe": value, "step": value}),
    ):
        safetensors.numpy.save_file(arrays_without_views(), path, {"minigan": metadata})
        refusal(path)


def test_a_newer_format_says_what_to_do(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = weights.facts.FORMAT + 1
    with monkeypatch.context() as patch:
        patch.setattr(weights.facts, "FORMAT", newer)
        checkpoint.save(file, arrays(), FACTS)
    sentence = refusal(file)
    assert f"format {newer}" in sentence
    assert f"reads up to {weights.facts.FORMAT}" in sentence
    assert "install a newer" in sentence


def test_another_programs_safetensors_file(tmp_path: Path) -> None:
    for metadata in (None, {"format": "pt"}):
        safetensors.numpy.save_file(arrays_without_views(), tmp_path / "x", metadata)
        assert "not a checkpoint of minigan" in refusal(tmp_path / "x")


def test_a_checkpoint_without_what_a_run_needs_is_refused(tmp_path: Path) -> None:
    state = tiny.state("gan")
    path = state.save(tmp_path, "gan")
    whole, facts = checkpoint.load(path)
    for missing in ("recipe", "step", "rng", "batches"):
        checkpoint.save(path, whole, {k: v for k, v in facts.items() if k != missing})
        with pytest.raises(UserError, match=r"damaged|does not fit"):
            tiny.state("gan").restore(path, "gan")
    for missing in ("players/G/layers.0.weight", "optimizers/D/steps"):
        assert missing in whole
        checkpoint.save(path, {k: v for k, v in whole.items() if k != missing}, facts)
        with pytest.raises(UserError, match=r"does not fit this run"):
            tiny.state("gan").restore(path, "gan")
    checkpoint.save(path, whole | {"stray": np.zeros(1)}, facts)
    with pytest.raises(UserError, match=r"damaged|does not fit"):
        tiny.state("gan").restore(path, "gan")


def test_a_checkpoint_of_other_sizes_or_of_another_recipe_changes_nothing(tmp_path: Path) -> None:
    path = tiny.state("gan", hidden=9).save(tmp_path, "gan")
    state = tiny.state("gan")
    before = everything(state)
    with pytest.raises(UserError, match="shape"):
        state.restore(path, "gan")
    with pytest.raises(UserError, match="is a checkpoint of gan, not of dcgan"):
        state.restore(path, "dcgan")
    assert everything(state) == before


def test_only_the_newest_two_stay(tmp_path: Path) -> None:
    run = Run(tmp_path, {})
    run.checkpoints.mkdir()
    for step in (1, 20, 999_998, 999_999, 1_000_000):  # seven digits sort after six
        checkpoint.save(run.checkpoints / checkpoint.file_name(step), arrays(), FACTS)
        checkpoint.prune(run.checkpoints)
    names = {path.name for path in run.checkpoints.iterdir()}
    assert names == {"step-999999.safetensors", "step-1000000.safetensors"}
    assert checkpoint.newest(run.checkpoints).name == "step-1000000.safetensors"


def test_files_of_other_names_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "step-best.safetensors").write_bytes(b"mine")
    for step in (1, 2, 3):
        checkpoint.save(tmp_path / checkpoint.file_name(step), arrays(), FACTS)
    checkpoint.prune(tmp_path)
    assert (tmp_path / "step-best.safetensors").read_bytes() == b"mine"
    assert checkpoint.newest(tmp_path).name == "step-000003.safetensors"


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt(), MemoryError()],
    ids=["full", "interrupt", "memory"],
)
def test_a_failed_save_leaves_the_old_checkpoint_and_nothing_else(
    file: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    before = tiny.tree(file.parent)

    def half(arrays: object, path: Path, metadata: object) -> None:
        Path(path).write_bytes(b"half of a checkpoint")
        raise error

    monkeypatch.setattr(safetensors.numpy, "save_file", half)
    with pytest.raises(type(error)):
        checkpoint.save(file, arrays(), {**FACTS, "step": 4})
    with pytest.raises(type(error)):
        checkpoint.save(file.with_name("step-000004.safetensors"), arrays(), FACTS)
    assert tiny.tree(file.parent) == before


def test_nobody_sees_half_of_a_checkpoint(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    plain = safetensors.numpy.save_file

    def watched(*args: Any) -> None:
        plain(*args)
        _, facts = checkpoint.load(file)
        seen.append(facts["step"])

    monkeypatch.setattr(safetensors.numpy, "save_file", watched)
    checkpoint.save(file, arrays(), {**FACTS, "step": 4})
    assert seen == [3]  # while the new one is written the old one is whole
    assert checkpoint.load(file)[1]["step"] == 4


def everything(state: State) -> bytes:
    parts = [*state.players.values(), *state.optimizers.values()]
    arrays = [array.tobytes() for part in parts for array in part.state().values()]
    return b"".join([*arrays, repr((state.rng.state, state.batches.position, state.step)).encode()])


def arrays_without_views() -> dict[str, np.ndarray]:
    return {name: np.ascontiguousarray(array) for name, array in arrays().items()}


_scratch: list[Path] = []


@pytest.fixture(autouse=True)
def _folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    if not _scratch:
        _scratch.append(tmp_path_factory.mktemp("scratch"))


def scratch() -> Path:
    """A folder for tests that Hypothesis calls many times."""
    return _scratch[0]

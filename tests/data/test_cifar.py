"""CIFAR-10's python batches: what is read, and what is refused."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minigan.data import NoSplitError, cifar, load, outline
from minigan.errors import UserError


def batch(count: int, seed: int) -> dict[bytes, Any]:
    rng = np.random.default_rng(seed)
    data = rng.integers(0, 256, (count, 3072), np.uint8)
    return {b"data": data, b"labels": [int(k) for k in rng.integers(0, 10, count)]}


def write(path: Path, content: object) -> None:
    path.write_bytes(pickle.dumps(content, protocol=4))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in (1, 3):
        write(tmp_path / f"data_batch_{i}", batch(4, i))
    write(tmp_path / "test_batch", batch(2, 9))
    write(tmp_path / "batches.meta", {b"label_names": [b"thing%d" % i for i in range(10)]})
    return tmp_path


def test_batches_are_joined_and_the_lacking_ones_told(folder: Path) -> None:
    told: list[str] = []
    data = load(folder, report=told.append)
    assert data.name == "cifar10"
    assert data.shape == (3, 32, 32)
    first, third = batch(4, 1), batch(4, 3)
    assert data.y is not None
    assert data.y.tolist() == first[b"labels"] + third[b"labels"]
    np.testing.assert_array_equal(data.x[5].ravel(), third[b"data"][1])
    assert data.classes[2] == "thing2"
    assert "data_batch_2, data_batch_4, data_batch_5" in told[0]
    assert len(load(folder, split="test")) == 2
    (folder / "test_batch").unlink()
    with pytest.raises(NoSplitError, match="lacks test_batch"):
        load(folder, split="test")
    assert load(folder, size=16).shape == (3, 16, 16)


class Hostile:
    def __reduce__(self) -> Any:
        return os.mkdir, ("hostile",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (Hostile(), "mkdir"),
        ([1, 2], "holds a list"),
        ({b"labels": [1]}, "lacks uint8 data"),
        ({b"data": np.zeros((2, 7), np.uint8), b"labels": [1, 2]}, "3072 columns"),
        ({b"data": np.zeros((2, 3072)), b"labels": [1, 2]}, "uint8"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]}, "one label an image"),
        ({b"data": np.zeros((1, 3072), np.uint8), b"labels": [-1]}, "from 0 on"),
        ({b"data": np.zeros((1, 3072), np.uint8), b"labels": ["x"]}, "from 0 on"),
        ({b"data": np.zeros((1, 3072), np.uint8), b"labels": [12]}, "label 12"),
    ],
)
def test_what_is_no_batch_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, content: object, words: str
) -> None:
    monkeypatch.chdir(folder)
    write(folder / "test_batch", content)
    with pytest.raises(UserError, match=words):
        load(folder, split="test")
    assert not (folder / "hostile").exists()


def test_a_file_cut_short_is_named(folder: Path) -> None:
    path = folder / "data_batch_3"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match="data_batch_3"):
        load(folder)


def test_a_split_that_is_not_there(folder: Path) -> None:
    (folder / "test_batch").unlink()
    with pytest.raises(UserError, match="lacks test_batch"):
        load(folder, split="test")
    (folder / "batches.meta").unlink()
    assert load(folder).classes[9] == "9"


def test_what_is_known_before_reading_counts_the_batches_that_are_there(folder: Path) -> None:
    known = outline(folder)
    assert known is not None
    assert 8 <= known.samples < 20  # of files that have 4 images each, and some bytes more
    assert outline(folder, size=64).shapes == ((3, 64, 64),)
    (folder / "test_batch").unlink()
    with pytest.raises(NoSplitError, match="lacks test_batch"):
        cifar.outline(folder, split="test", size=None)

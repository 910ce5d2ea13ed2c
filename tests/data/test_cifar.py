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


# --- Plain files, and CIFAR-100 ----------------------------------------------------------------

ROWS = np.random.default_rng(1).integers(0, 256, (6, 3072), np.uint8)
FINE, COARSE = np.array([99, 0, 7, 7, 50, 3], np.uint8), np.arange(6, dtype=np.uint8)


def plain(*columns: np.ndarray) -> bytes:
    return np.column_stack([*columns, ROWS]).tobytes()


def hundred(folder: Path, *, pickled: bool) -> Path:
    names = [f"fine {i}" for i in range(100)]
    if pickled:
        batch = {b"data": ROWS, b"fine_labels": FINE.tolist(), b"coarse_labels": COARSE.tolist()}
        for name in ("train", "test"):
            write(folder / name, batch)
        write(folder / "meta", {b"fine_label_names": [name.encode() for name in names]})
    else:
        for name in ("train.bin", "test.bin"):
            (folder / name).write_bytes(plain(COARSE, FINE))
        (folder / "fine_label_names.txt").write_text("\n".join(names) + "\n\n")
    return folder


@pytest.mark.parametrize("pickled", [True, False])
@pytest.mark.parametrize("split", ["train", "test"])
def test_cifar100s_fine_labels_are_the_classes(tmp_path: Path, pickled: bool, split: str) -> None:
    data = load(hundred(tmp_path, pickled=pickled), split=split)
    np.testing.assert_array_equal(data.x.reshape(6, -1), ROWS)
    assert (data.name, len(data.classes), data.classes[99]) == ("cifar100", 100, "fine 99")
    assert data.y is not None
    assert data.y.tolist() == FINE.tolist()
    known = outline(tmp_path, split=split)
    assert known is not None
    assert (known.shapes, known.classes) == (((3, 32, 32),), 100)
    for name in ("meta", "fine_label_names.txt"):
        (tmp_path / name).unlink(missing_ok=True)
    assert load(tmp_path, split=split).classes[7] == "7"  # told by its content


def test_plain_batches_of_cifar10(tmp_path: Path) -> None:
    for i in (1, 2):
        (tmp_path / f"data_batch_{i}.bin").write_bytes(plain(FINE % 10))
    (tmp_path / "batches.meta.txt").write_text("".join(f"thing {i}\n" for i in range(10)) + "\n")
    told: list[str] = []
    data = load(tmp_path, report=told.append)
    assert (data.name, len(data), data.classes[9]) == ("cifar10", 12, "thing 9")
    np.testing.assert_array_equal(data.x[6:].reshape(6, -1), ROWS)
    assert "data_batch_3.bin, data_batch_4.bin, data_batch_5.bin" in told[0]
    known = outline(tmp_path)
    assert known is not None
    assert known.samples == 12
    with pytest.raises(NoSplitError, match=r"lacks test_batch\.bin"):
        load(tmp_path, split="test")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("data_batch_1.bin", plain(FINE % 10)[:-1], "no rows of 3,073"),
        ("data_batch_1.bin", plain(FINE), "label 99 but there are 10"),
        ("data_batch_1.bin", b"", "empty"),
        ("data_batch_1.bin", b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        ("batches.meta.txt", b"one\ntwo\n", "has 2 names, but CIFAR-10 has 10"),
        ("batches.meta.txt", b"<html>no</html>", "a page in HTML"),
    ],
)
def test_spoilt_plain_batches(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / "data_batch_1.bin").write_bytes(plain(FINE % 10))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words):
        load(tmp_path)


def test_files_that_have_cifar100s_names_alone_are_none_of_it(tmp_path: Path) -> None:
    (tmp_path / "train").write_bytes(b"what")
    (tmp_path / "train.bin").write_bytes(b"what")
    with pytest.raises(UserError, match="holds no image"):
        load(tmp_path)
    (tmp_path / "meta").write_bytes(b"what")
    with pytest.raises(UserError, match="no batch of CIFAR-100"):
        load(tmp_path)


def test_the_real_batches_as_plain_files(tmp_path: Path) -> None:
    default = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(os.environ.get("MINIGAN_TEST_DATA", default)) / "cifar10" / "cifar-10-batches-py"
    if not folder.is_dir():
        pytest.skip(f"no test data {folder}")
    real = load(folder, split="test")
    assert real.y is not None
    rows = np.column_stack([real.y.astype(np.uint8), real.x.reshape(len(real), -1)])
    (tmp_path / "test_batch.bin").write_bytes(rows.tobytes())
    (tmp_path / "batches.meta.txt").write_text("\n".join(real.classes))
    assert load(tmp_path, split="test").digest() == real.digest()

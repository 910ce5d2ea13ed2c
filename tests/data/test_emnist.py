"""EMNIST's idx files: which data set is meant, upright images, and the names of the classes."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from minigan.data import NoSplitError, load, outline
from minigan.errors import UserError

UPRIGHT = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)  # (N, H, W)
LETTERS = np.array([1, 26, 3, 1, 2], np.uint8)
MAPPING = "".join(f"{i} {64 + i} {96 + i}\n" for i in range(1, 27))


def idx(array: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.tobytes()


def write(
    folder: Path, name: str, labels: np.ndarray = LETTERS, part: str = "train", count: int = 5
) -> None:
    images = idx(UPRIGHT[:count].swapaxes(1, 2))  # as EMNIST has them
    (folder / f"emnist-{name}-{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
    (folder / f"emnist-{name}-{part}-labels-idx1-ubyte").write_bytes(idx(labels[:count]))


def test_letters_are_upright_and_named(tmp_path: Path) -> None:
    write(tmp_path, "letters")
    write(tmp_path, "letters", part="test", count=2)
    (tmp_path / "emnist-letters-mapping.txt").write_text(MAPPING)
    data = load(tmp_path)
    np.testing.assert_array_equal(data.x[:, 0], UPRIGHT)
    assert (data.name, len(data.classes), data.classes[:2]) == ("emnist-letters", 26, ("aA", "bB"))
    assert data.y is not None
    assert data.y.tolist() == [0, 25, 2, 0, 1]
    assert len(load(tmp_path, split="test")) == 2
    known = outline(tmp_path)
    assert known is not None
    assert (known.shapes, known.classes, known.samples) == (((1, 4, 3),), 26, 5)
    assert load(tmp_path, size=8).shape == (1, 8, 8)


def test_without_names_classes_are_numbers(tmp_path: Path) -> None:
    write(tmp_path, "letters")
    assert load(tmp_path).classes[:2] == ("1", "2")
    digits = tmp_path / "digits"
    digits.mkdir()
    write(digits, "digits", LETTERS % 3)
    data = load(digits)
    assert data.classes == ("0", "1", "2")
    with pytest.raises(NoSplitError, match="emnist-digits-test-images"):
        load(digits, split="test")


def test_one_of_several_is_named_by_a_file(tmp_path: Path) -> None:
    write(tmp_path, "letters")
    write(tmp_path, "digits", LETTERS % 3)
    with pytest.raises(UserError, match="2 data sets of EMNIST: digits, letters; name a file"):
        load(tmp_path)
    file = tmp_path / "emnist-letters-train-images-idx3-ubyte.gz"
    assert load(file).name == "emnist-letters"
    known = outline(file)
    assert known is not None
    assert known.classes == 26
    file.unlink()
    with pytest.raises(UserError, match="lacks the train images"):
        load(tmp_path / "emnist-letters-train-labels-idx1-ubyte")


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ("1 65\n2\n", "line b'2'"),
        ("1 65\n1 66\n", "line b'1 66'"),
        ("1 65\none 66\n", "one 66"),
        ("1 7\n", "line b'1 7'"),
        ("999 65\n", "line b'999 65'"),
        ("1 65\n2 65\n", "in its own way"),
        ("\n", "in its own way"),
        ("", "empty"),
        ("<html>no</html>", "a page in HTML"),
        ("1 65\n2 66\n", "label 26, which emnist-letters-mapping.txt does not name"),
    ],
)
def test_a_damaged_mapping_is_refused(tmp_path: Path, mapping: str, words: str) -> None:
    write(tmp_path, "letters")
    (tmp_path / "emnist-letters-mapping.txt").write_text(mapping)
    with pytest.raises(UserError) as refused:
        load(tmp_path)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_sizes_must_agree(tmp_path: Path) -> None:
    write(tmp_path, "letters")
    (tmp_path / "emnist-letters-train-labels-idx1-ubyte").write_bytes(idx(LETTERS[:3]))
    with pytest.raises(UserError, match=r"5 images .* 3 labels"):
        load(tmp_path)

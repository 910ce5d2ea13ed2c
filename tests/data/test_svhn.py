"""SVHN's files of MATLAB's format 5, written here byte by byte: what is read, what is refused."""

from __future__ import annotations

import contextlib
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigan.data import NoSplitError, load, outline, svhn
from minigan.errors import UserError

X = np.random.default_rng(0).integers(0, 256, (7, 3, 32, 32), np.uint8)  # (N, C, H, W)
Y = np.array([1, 10, 3, 9, 10, 2, 1], np.uint8)


def element(order: str, kind: int, content: bytes) -> bytes:
    if 0 < len(content) <= 4:  # in the tag, as MATLAB writes it
        return struct.pack(f"{order}I", len(content) << 16 | kind) + content.ljust(4, b"\0")
    return struct.pack(f"{order}2I", kind, len(content)) + content + bytes(-len(content) % 8)


def matrix(name: str, array: np.ndarray, order: str = "<", **changed: Any) -> bytes:
    """An array of bytes as a miMATRIX element."""
    shape = changed.get("shape", array.shape)
    body = element(order, 6, struct.pack(f"{order}2I", changed.get("flags", 9), 0))
    body += element(order, 5, struct.pack(f"{order}{len(shape)}i", *shape))
    body += element(order, 1, name.encode())
    body += element(order, changed.get("kind", 2), array.tobytes(order="F"))
    return element(order, 14, body)


def mat(*elements: bytes, order: str = "<", packed: bool = True) -> bytes:
    mark = b"IM" if order == "<" else b"MI"
    head = b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(124) + struct.pack(f"{order}H", 256)
    content = head + mark
    for each in elements:
        if packed:
            squeezed = zlib.compress(each)
            content += struct.pack(f"{order}2I", 15, len(squeezed)) + squeezed
        else:
            content += each
    return content


def arrays(order: str = "<", count: int = len(X)) -> tuple[bytes, bytes]:
    return (
        matrix("X", X[:count].transpose(2, 3, 1, 0), order),
        matrix("y", Y[:count, None], order),
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("swapped", [True, False])
def test_what_matlab_writes_is_read(
    tmp_path: Path, order: str, packed: bool, swapped: bool
) -> None:
    parts = arrays(order)
    other = matrix("meta", np.zeros((1, 3), np.uint8), order)
    parts = (parts[1], other, parts[0]) if swapped else parts
    (tmp_path / "train_32x32.mat").write_bytes(mat(*parts, order=order, packed=packed))
    data = load(tmp_path)
    np.testing.assert_array_equal(data.x, X)
    assert data.y is not None
    assert data.y.tolist() == [1, 0, 3, 9, 0, 2, 1]
    assert (data.name, data.classes) == ("svhn", tuple("0123456789"))
    known = outline(tmp_path)
    assert known is not None
    assert (known.shapes, known.classes, known.samples) == (((3, 32, 32),), 10, 7)
    assert load(tmp_path, size=8).shape == (3, 8, 8)


def test_more_images_than_are_turned_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(svhn, "_TURNED", 3)
    monkeypatch.setattr(svhn, "_PIECE", 1000)
    (tmp_path / "any.name").write_bytes(mat(*arrays()))
    np.testing.assert_array_equal(load(tmp_path / "any.name").x, X)


def test_parts_and_single_files(tmp_path: Path) -> None:
    for name, count in (("train", 7), ("test", 2), ("extra", 4)):
        (tmp_path / f"{name}_32x32.mat").write_bytes(mat(*arrays(count=count)))
    said: list[str] = []
    assert len(load(tmp_path, report=said.append)) == 7
    assert len(said) == 1
    assert "passed over" in said[0]
    assert "extra_32x32.mat" in said[0]
    assert len(load(tmp_path, split="test")) == 2
    extra = tmp_path / "extra_32x32.mat"
    assert len(load(extra)) == 4
    assert len(load(extra, split="test")) == 2
    with pytest.raises(NoSplitError, match="taken as training data"):
        load(tmp_path / "test_32x32.mat", split="test")
    (tmp_path / "test_32x32.mat").unlink()
    with pytest.raises(NoSplitError, match=r"test_32x32\.mat"):
        load(extra, split="test")
    with pytest.raises(NoSplitError, match=r"there is no .*test_32x32\.mat"):
        load(tmp_path, split="test")


GOOD_X, GOOD_Y = arrays()
HUGE = struct.pack("<2I", 15, 2**31)
BAD: dict[str, tuple[bytes, str]] = {
    "format 7.3": (b"MATLAB 7.3 MAT-file".ljust(126) + b"IM", "format 7.3"),
    "no order": (mat(GOOD_X, GOOD_Y).replace(b"IM", b"??", 1), "no byte order"),
    "nothing after the head": (mat(), "lacks X and y"),
    "no labels": (mat(GOOD_X), "lacks y"),
    "cut short": (mat(GOOD_X, GOOD_Y)[:-20], "cut short"),
    "cut short, plain": (mat(GOOD_X, GOOD_Y, packed=False)[:-20], "cut short"),
    "a long element": (mat(GOOD_X) + HUGE, "cut short"),
    "two X": (mat(GOOD_X, GOOD_X, GOOD_Y), "two arrays X"),
    "no zlib": (mat() + struct.pack("<2I", 15, 4) + b"what", "damaged"),
    "a short stream": (mat(GOOD_X[:2000], GOOD_Y), "cut short"),
    "complex": (mat(matrix("X", X[:1], flags=9 | 0x800), GOOD_Y), "class 9"),
    "a cell": (mat(matrix("X", X[:1], flags=1), GOOD_Y), "class 1"),
    "floats": (mat(matrix("X", X[:1], kind=9), GOOD_Y), "type 9"),
    "a huge shape": (
        mat(matrix("X", X[:1], shape=(2**31 - 1, 2**31 - 1, 3, 2**31 - 1)), GOOD_Y), "not as many"
    ),
    "a negative shape": (mat(matrix("X", X[:1], shape=(-1, -32, 3, 32)), GOOD_Y), "not as many"),
    "a long shape": (mat(matrix("X", X[:1], shape=(1,) * 20), GOOD_Y), "element of 80 bytes"),
    "another X": (mat(matrix("X", X), GOOD_Y), "X of shape"),
    "another y": (mat(GOOD_X, matrix("y", Y[None])), "y that is not"),
    "y of 0": (mat(GOOD_X, matrix("y", Y[:, None] - 1)), "y that is not"),
    "y of 11": (mat(GOOD_X, matrix("y", Y[:, None] + 1)), "y that is not"),
    "fewer labels": (mat(GOOD_X, matrix("y", Y[:3, None])), "7 images but 3 labels"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
    "an empty file": (b"", "empty"),
    "something": (b"what" * 100, "not of MATLAB's format 5"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_what_is_refused(tmp_path: Path, kind: str) -> None:
    content, words = BAD[kind]
    (tmp_path / "train_32x32.mat").write_bytes(content)
    with pytest.raises(UserError) as refused:
        load(tmp_path)
    assert words in str(refused.value)
    assert "train_32x32.mat" in str(refused.value)


def test_a_promise_beyond_what_deflate_can_hold_takes_no_memory(tmp_path: Path) -> None:
    """1.8 GB in a stream of a few bytes: refused before memory is taken."""
    body = matrix("X", X[:1], shape=(32, 32, 3, 600_000))
    tag = struct.pack("<2I", 2, 32 * 32 * 3 * 600_000)
    at = body.find(struct.pack("<2I", 2, X[:1].nbytes))
    body = struct.pack("<2I", 14, 2**31 - 1) + body[8:at] + tag
    (tmp_path / "train_32x32.mat").write_bytes(mat(body, GOOD_Y))
    with pytest.raises(UserError, match="not as many bytes"):
        load(tmp_path)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_damaged_file_never_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(mat(*arrays(count=1), packed=data.draw(st.booleans())))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(120, 220))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "train_32x32.mat"
    path.write_bytes(bytes(content[: data.draw(st.integers(100, len(content)))]))
    with contextlib.suppress(UserError):  # any other exception fails the test
        assert load(path.parent).x.dtype == np.uint8

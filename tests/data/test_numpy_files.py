"""NumPy's files as data: layouts, ranges, names and labels; and what is refused."""

from __future__ import annotations

import contextlib
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentences import one_sentence

from minigan.data import Batches, NoSplitError, Reading, load, numpy_files, outline
from minigan.data.reading import held_out
from minigan.errors import UserError

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (6, 3, 8, 9), np.uint8)
LABELS = np.array([4, 2, 4, 7, 7, 2])


def npy(folder: Path, x: Any, name: str = "a.npy") -> Path:
    np.save(folder / "made.npy", x)
    return (folder / "made.npy").rename(folder / name)


def npz(folder: Path, **arrays: Any) -> Path:
    np.savez_compressed(folder / "a.npz", **arrays)
    return folder / "a.npz"


def refusal(place: Path, **options: Any) -> str:
    with pytest.raises(UserError) as refused:
        load(place, **options)
    text = str(refused.value)
    assert "\n" not in text
    assert len(text.replace(str(place), "")) < 320, text
    return text


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (BYTES, BYTES),
        (np.asfortranarray(BYTES), BYTES),
        (BYTES.transpose(0, 2, 3, 1), BYTES),
        (BYTES[:, 0], BYTES[:, :1]),
        (BYTES[:, 0, :, :, None], BYTES[:, :1]),
    ],
    ids=["NCHW", "Fortran", "NHWC", "NHW", "NHW1"],
)
@pytest.mark.parametrize("mapped", [False, True])
def test_layouts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: Any, expected: Any, mapped: bool
) -> None:
    if mapped:
        monkeypatch.setattr(numpy_files, "_MAPPED", 1)
    path = npy(tmp_path, given, "pictures.of.mine")  # its content tells what it is
    data = load(path)
    np.testing.assert_array_equal(data.x, expected)
    assert (data.name, data.y, data.classes) == ("pictures.of", None, ())
    known = outline(path)
    assert known is not None
    assert (known.shapes, known.samples, known.mapped) == ((data.shape,), 6, mapped)
    assert load(path, size=4).x.shape == (6, expected.shape[1], 4, 4)


def test_a_large_npy_stays_in_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numpy_files, "_MAPPED", 1)
    monkeypatch.setattr("minigan.data.memory._available", lambda: 10)
    path = npy(tmp_path, BYTES)
    known = outline(path)
    assert known is not None
    data = load(path)
    assert not data.x.flags.writeable
    base: Any = data.x
    while base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    with pytest.raises(UserError, match="of memory"):
        outline(path, size=64)


def test_options_of_a_large_npy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numpy_files, "_MAPPED", 1)
    path = npy(tmp_path, BYTES)
    reading = Reading(hold_out=2)
    rest, held = held_out(6, 2)
    for split, part in (("train", rest), ("test", held)):
        np.testing.assert_array_equal(load(path, hold_out=2, split=split).x, BYTES[part])
        known = outline(path, split=split, reading=reading)
        assert known is not None
        assert (known.samples, known.mapped) == (len(part), False)
    # There is room for the samples that are held out, but not for those that are left.
    monkeypatch.setattr("minigan.data.memory._available", lambda: 3 * BYTES[0].nbytes)
    assert len(load(path, hold_out=2, split="test")) == 2
    for use in (lambda: load(path, hold_out=2), lambda: outline(path, reading=reading)):
        with pytest.raises(UserError, match=r"copy of 4 samples of .* that --hold-out needs would"):
            use()
    flipped = load(path, flip=True)
    assert isinstance(flipped.x.base, np.memmap)
    batch, _ = Batches(flipped, 6, seed=0, output_range=(0, 255)).at(0)
    sides = [*BYTES, *BYTES[..., ::-1]]
    drawn = [next(i for i, x in enumerate(sides) if np.array_equal(x, shown)) for shown in batch]
    assert sorted(i % 6 for i in drawn) == [*range(6)]
    assert min(drawn) < 6 <= max(drawn)
    np.testing.assert_array_equal(flipped.x, BYTES)


@pytest.mark.parametrize(
    ("x", "low", "high"),
    [
        (BYTES / 255, 0, 1),
        ((BYTES / 127.5 - 1).astype(np.float32), -1, 1),
        ((BYTES / 255).astype(np.float16), 0, 1),
        (BYTES.astype(np.float64), 0, 255),
        (BYTES.astype(np.int64), 0, 255),
        (BYTES > 100, 0, 1),
    ],
    ids=["0..1", "-1..1", "float16", "0..255", "int64", "bool"],
)
def test_clear_ranges(tmp_path: Path, x: np.ndarray, low: int, high: int) -> None:
    found = load(npy(tmp_path, x)).x.astype(float)
    exact = (x.astype(float) - low) * 255 / (high - low)
    assert np.abs(found - exact).max() <= 0.5001


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (BYTES / 100, "0 to 2.55, which is not clearly"),
        (BYTES / 1000, "0 to 0.255, which is not clearly"),
        (BYTES / 127.5 - 0.2, "not clearly"),
        (BYTES.astype(float) - 1, "not clearly"),
        (BYTES.astype(int) // 16, "not clearly"),  # as scikit-learn's digits
        (BYTES * 2.0, "not clearly"),
        (BYTES // 128, "0 and 1 alone"),
        (np.where(BYTES[3, 1, 2, 3] == BYTES, np.nan, BYTES / 255), "not finite"),
        (np.where(BYTES[3, 1, 2, 3] == BYTES, -np.inf, BYTES / 255), "not finite"),
        (BYTES.astype(str), "not numbers"),
        (BYTES[:0], "is empty"),
        (BYTES[0].transpose(1, 2, 0), "shape (8, 9, 3); images are"),
        (BYTES.reshape(6, -1), "points (N, D) and flat images"),
        (RNG.integers(0, 256, (5, 3, 4, 3), np.uint8), "first or last"),
        (RNG.integers(0, 256, (5, 8, 8, 4), np.uint8), "with 1 or 3 channels"),
        (RNG.integers(0, 256, (8, 8, 3, 50), np.uint8), "with 1 or 3 channels"),
        (RNG.integers(0, 256, (2, 1, 3, 2000), np.uint8), "sides of 1 to 1024"),
        (BYTES[0, 0, 0], "shape (9,)"),
        (np.uint8(3), "shape ()"),
    ],
)
def test_what_is_not_clear_is_refused(tmp_path: Path, x: Any, words: str) -> None:
    text = refusal(npy(tmp_path, x))
    assert words in text
    assert "a.npy" in text


@pytest.mark.parametrize(
    "names",
    [("x", "y"), ("images", "labels"), ("data", "label"), ("x_train", "y_train"),
     ("train_images", "train_labels"), ("arr_0", "arr_1"), ("x", "label")],
)  # fmt: skip
def test_names_in_an_npz(tmp_path: Path, names: tuple[str, str]) -> None:
    path = npz(tmp_path, **{names[0]: BYTES, names[1]: LABELS[:, None]})
    data = load(path)
    np.testing.assert_array_equal(data.x, BYTES)
    assert (data.name, data.classes) == ("a", ("2", "4", "7"))
    assert data.y is not None
    assert data.y.tolist() == [1, 0, 1, 2, 2, 0]
    known = outline(path)
    assert known is not None
    assert (known.shapes, known.classes, known.samples) == (((3, 8, 9),), 3, 6)


def test_an_npz_without_labels_or_with_one(tmp_path: Path) -> None:
    assert load(npz(tmp_path, x=BYTES)).y is None
    data = load(npz(tmp_path, x=BYTES, y=np.zeros(6, int)))
    assert (data.y, data.classes) == (None, ())  # one class is no class
    known = outline(tmp_path / "a.npz")
    assert known is not None
    assert known.classes == 0
    # Without a name that says so, an array of another length is no labels.
    said: list[str] = []
    path = npz(tmp_path, arr_0=BYTES, arr_1=BYTES)
    assert load(path, report=said.append).y is None
    assert said == [f"passed over arr_1 in {path}"]


def test_nothing_is_passed_over_in_a_file_of_one_array(tmp_path: Path) -> None:
    said: list[str] = []
    assert len(load(npy(tmp_path, BYTES), report=said.append)) == len(BYTES)
    assert said == []


def test_labels_may_be_names(tmp_path: Path) -> None:
    data = load(npz(tmp_path, x=BYTES, y=np.array(list("bcabca"))))
    assert data.classes == ("a", "b", "c")


def test_a_test_part(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {"x_train": BYTES, "y_train": LABELS, "extra": LABELS}
    path = npz(tmp_path, **arrays, x_test=BYTES[:2], y_test=LABELS[:2])
    said: list[str] = []
    test = load(path, split="test", report=said.append)
    assert (len(test), test.classes) == (2, ("2", "4"))
    assert said == [f"passed over extra in {path}"]
    known = outline(path, split="test")
    assert known is not None
    assert known.samples == 2
    with pytest.raises(NoSplitError, match="none of its arrays is x_test, test_images"):
        load(npz(tmp_path, **arrays), split="test")
    with pytest.raises(NoSplitError, match="has no test images"):
        load(npy(tmp_path, BYTES), split="test")


def archive(folder: Path, entries: list[tuple[str, bytes]]) -> Path:
    with zipfile.ZipFile(folder / "a.npz", "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries:
            file.writestr(name, content)
    return folder / "a.npz"


def content(x: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, x, **options)
    return file.getvalue()


def header(shape: str, dtype: str = "|u1", data: bytes = b"") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text + data


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (content([{}], allow_pickle=True), "array of object"),
        (content(BYTES)[:-1], "not as many bytes"),
        (content(BYTES) + b"x", "not as many bytes"),
        (content(BYTES)[:20], "damaged"),
        (header("(1, 1, 8, 99999999999999)"), "not as many bytes"),
        (header("(-1, 1, 8, 8)", data=bytes(64)), "not as many bytes"),
        (header("(1, 1, 2, 2)", "<c8", bytes(32)), "array of complex64"),
        (header("(1, 1, 2, 2)", "<M8[s]", bytes(32)), "array of datetime64"),
        (header("__import__('os')"), "damaged"),
        (b"\x93NUMPY\3\0" + content(BYTES)[8:], "a version"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_damaged_and_hostile_files(tmp_path: Path, bad: bytes, words: str, packed: bool) -> None:
    path = archive(tmp_path, [("x.npy", bad)])
    if not packed:
        path = tmp_path / "a.npy"
        path.write_bytes(bad)
    assert words in refusal(path)


def test_damaged_archives(tmp_path: Path) -> None:
    whole = archive(tmp_path, [("x.npy", content(BYTES)), ("y.npy", content(LABELS))])
    packed = whole.read_bytes()
    for spoilt in (packed[:-30], packed[:200] + b"!!!!" + packed[204:]):
        whole.write_bytes(spoilt)
        assert "damaged" in refusal(whole)
    other = archive(tmp_path, [("x.npy", content(BYTES)), ("run.sh", b"")])
    assert "not arrays" in refusal(other)
    assert "none of x, images" in refusal(npz(tmp_path, a=BYTES))
    assert "y is (3,)" in refusal(npz(tmp_path, x=BYTES, y=LABELS[:3]))


def test_an_entry_that_promises_much_is_refused_unread(tmp_path: Path) -> None:
    path = archive(tmp_path, [("x.npy", header("(1000, 3, 512, 512)"))])
    packed = bytearray(path.read_bytes())
    place = packed.find(b"PK\1\2")
    packed[place + 24 : place + 28] = (1000 * 3 * 512 * 512 + 128).to_bytes(4, "little")
    path.write_bytes(bytes(packed))
    assert "promises more than its bytes can hold" in refusal(path)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_damaged_file_never_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    whole = content(BYTES[:, 0])
    packed = archive(folder, [("x.npy", whole), ("y.npy", content(LABELS))]).read_bytes()
    spoilt = bytearray(data.draw(st.sampled_from([whole, packed])))
    for _ in range(data.draw(st.integers(1, 3))):
        # The headers are at the ends.
        place = data.draw(st.integers(0, 150)) * data.draw(st.sampled_from([1, -1]))
        spoilt[place % len(spoilt)] = data.draw(st.integers(0, 255))
    (folder / "file").write_bytes(bytes(spoilt))
    with contextlib.suppress(UserError):  # any other exception fails the test
        assert load(folder / "file").x.dtype == np.uint8


def test_the_errors_are_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for x in (BYTES / 100, BYTES.reshape(6, -1), BYTES // 128):
        npy(tmp_path, x)
        with pytest.raises(UserError) as refused:
            load("a.npy")
        one_sentence(refused.value)

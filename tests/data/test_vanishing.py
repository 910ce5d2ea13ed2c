"""No data vanish without a word: each file of a folder is read, refused, or counted."""

from __future__ import annotations

import gzip
import os
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from minigan.data import Dataset, NoSplitError, download, load
from minigan.data.picture import FORMATS, SUFFIXES
from minigan.errors import UserError


def picture(path: Path, colour: Any = "red", mode: str = "RGB", **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (8, 8), colour).save(path, **options)
    return path


def told(folder: Path, **options: Any) -> tuple[Dataset, list[str]]:
    said: list[str] = []
    data = load(folder, size=8, report=said.append, **options)
    return data, [text for text in said if "images" not in text.split()[-1]]


# --- Kinds of files ----------------------------------------------------------------------------

WRITERS = {
    ".apng": "PNG", ".jpe": "JPEG", ".jfif": "JPEG", ".dib": "DIB", ".tif": "TIFF", ".ppm": "PPM",
    ".pgm": "PPM", ".pbm": "PPM", ".pnm": "PPM", ".jp2": "JPEG2000", ".j2k": "JPEG2000",
    ".avif": "AVIF", ".webp": "WEBP", ".qoi": "QOI",
}  # fmt: skip


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_suffix_is_read(tmp_path: Path, suffix: str) -> None:
    kind = WRITERS.get(suffix)
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    colour, mode = {".pgm": (200, "L"), ".pbm": (1, "1")}.get(suffix, ((9, 99, 199), "RGB"))
    picture(tmp_path / f"a{suffix}", colour, mode, format=kind)
    data, said = told(tmp_path)
    assert said == []
    expected = {"L": (200,), "1": (255,)}.get(mode, (9, 99, 199))
    difference = data.x[0, :, 4, 4].astype(int) - expected
    assert np.abs(difference).max() <= (6 if suffix in (".avif", ".jfif", ".webp") else 4)


def test_files_of_other_kinds_are_counted(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "0.png")
    for name in ("a/1.heic", "a/2.HEIC", "a/deep/3.svg", "notes.txt", "LICENSE", ".hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "a" / "gone.png").symlink_to(tmp_path / "nothing")
    (tmp_path / "a" / "elsewhere").symlink_to(tmp_path / "a", target_is_directory=True)
    data, said = told(tmp_path)
    assert len(data) == 1
    text, _ = said  # and that one class is none
    assert text.startswith("passed over 7 files (2 .heic, ")
    for kind in ("1 .svg", "1 .txt", "1 without suffix", "1 broken link", "1 linked folder"):
        assert kind in text


def test_many_kinds_of_files_end_in_dots(tmp_path: Path) -> None:
    picture(tmp_path / "0.png")
    for i in range(9):
        (tmp_path / f"x.k{i}").write_text("")
    assert told(tmp_path)[1][0].endswith(".k5, ...)")


def test_nothing_starts_another_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow opens PostScript under any name, and runs Ghostscript on it."""
    monkeypatch.setattr("subprocess.check_call", lambda *a, **k: pytest.fail("a program starts"))
    page = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    (tmp_path / "a.png").write_bytes(page)
    assert "EPS" not in FORMATS
    with pytest.raises(UserError, match="no image of a known format"):
        load(tmp_path)


# --- Splits and classes ------------------------------------------------------------------------


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("car", "plane", "train"):
        picture(tmp_path / name / "0.png")
    data, said = told(tmp_path)
    assert data.classes == ("car", "plane", "train")
    assert said == ["the folder train is taken for a class, as there are others beside it"]
    with pytest.raises(NoSplitError, match="no test images"):
        load(tmp_path, split="test")


@pytest.mark.parametrize("other", ["test", "val", "valid", "validation", "dev"])
def test_train_beside_another_split_is_a_split(tmp_path: Path, other: str) -> None:
    for name in ("train", other, "masks"):
        picture(tmp_path / name / "a" / "0.png")
        picture(tmp_path / name / "b" / "0.png")
    data, said = told(tmp_path)
    assert (len(data), data.classes) == (2, ("a", "b"))
    unread = sorted({"masks", other} - {"test"})
    assert said == [f"passed over the folders {', '.join(unread)}: neither train nor test"]


def test_train_alone_is_a_split(tmp_path: Path) -> None:
    picture(tmp_path / "train" / "0.png")
    (tmp_path / "notes").mkdir()
    assert told(tmp_path)[0].classes == ()
    with pytest.raises(NoSplitError, match=r"there is no .*test"):
        load(tmp_path, split="test")


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="its names are text")
def test_names_that_are_no_text_become_text(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/d\xe9"
    for name in (b"caf\xe9", b"caf\\xe9", b"b"):
        os.makedirs(folder + b"/" + name)
        with open(folder + b"/" + name + b"/0\xff.png", "wb") as file:
            Image.new("L", (8, 8)).save(file, "PNG")
    data = load(os.fsdecode(folder))
    assert data.name == "d\\xe9"
    assert data.classes == ("b", "caf\\xe9", "caf\\xe9 (2)")
    "".join((data.name, *data.classes)).encode()


@pytest.mark.skipif(sys.platform == "win32", reason="no file may have such a name")
def test_a_refusal_is_one_line_whatever_the_names(tmp_path: Path) -> None:
    folder = tmp_path / "two\nlines"
    picture(folder / "a" / "\x1b[31m.png").write_bytes(b"x")
    with pytest.raises(UserError) as refusal:
        load(folder)
    assert r"two\nlines/a/\x1b[31m.png cannot be read" in str(refusal.value)
    with pytest.raises(NoSplitError, match=r"two\\nlines has no test images"):
        load(folder, split="test")


# --- Where data are looked for -----------------------------------------------------------------


@pytest.mark.parametrize("data", ["", " ", "\t\n"])
def test_an_empty_name_is_not_this_folder(data: str) -> None:
    with pytest.raises(UserError, match="--data is empty"):
        load(data)


@pytest.mark.parametrize("data", ["a\0b", "x" * 5000, "~nobody-of-that-name/x"])
def test_a_name_that_no_folder_can_have(data: str) -> None:
    with pytest.raises(UserError, match=r"names no folder|no data set or folder"):
        load(data)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("MNIST/raw/train-images-idx3-ubyte", "there are idx files in .*raw; give that folder"),
        ("MNIST/raw/t10k-labels-idx1-ubyte.gz", "there are idx files in .*raw"),
        ("a/b/c/train-labels.idx1-ubyte", "there are idx files in .*c;"),
        ("cifar/cifar-10-batches-py/data_batch_1", "there are CIFAR's batches in .*-py;"),
        ("train-images-idx3-ubyte/train-images-idx3-ubyte", "there are idx files in"),
        ("a/b/c/d/e/data_batch_1", "no image .* only 1 file"),
        ("data.parquet", r"only 1 file \(1 .parquet\); give the folder or zip .* SVHN"),
    ],
)
def test_a_folder_above_the_data_names_what_is_below(
    tmp_path: Path, place: str, words: str
) -> None:
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_bytes(b"")
    with pytest.raises(UserError, match=words):
        load(tmp_path)


# --- What is no data ---------------------------------------------------------------------------

IMPOSTORS = {
    "a pointer of git-LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
    "a pointer of git-annex": b"/annex/objects/SHA256E-s9--00.gz\n",
    "a page in HTML": b"\n<!DOCTYPE html><html>404",
    "perhaps of an error": b"\xef\xbb\xbf<html>",
    "a text in XML": b"<?xml version='1.0'?><Error/>",
    "a zip archive": b"PK\3\4" + bytes(60),
    "an xz file": b"\xfd7zXZ\0" + bytes(60),
    "a tar archive": bytes(257) + b"ustar\0" + bytes(250),
    "empty": b"",
}
PLACES = {
    "idx": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "idx.gz": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "CIFAR-10": ("data_batch_1",),
    "names of CIFAR-10": ("batches.meta", "data_batch_2"),
    "image": ("a.png", "b.png"),
}


@pytest.mark.parametrize("names", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize(("what", "content"), IMPOSTORS.items(), ids=IMPOSTORS)
def test_what_is_no_data_is_called_what_it_is(
    tmp_path: Path, what: str, content: bytes, names: tuple[str, ...]
) -> None:
    if what == "a tar archive" and names[0].startswith("train-"):
        content = b"\1" + content[1:]  # else it is an idx file of an unknown type
    for name in names:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=what) as refusal:
        load(tmp_path)
    assert names[0] in str(refusal.value)
    assert str(refusal.value).isprintable()


def test_an_archive_given_as_data_is_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "data.tar").write_bytes(IMPOSTORS["a tar archive"])
    with pytest.raises(UserError, match="is a tar archive, which is not read; unpack it"):
        load(tmp_path / "data.tar")
    with zipfile.ZipFile(tmp_path / "mnist.zip", "w") as packed:
        packed.writestr("data/train-images-idx3-ubyte", b"")
    with pytest.raises(
        UserError, match=r"mnist\.zip holds no image, only 1 file .* unpack it and give"
    ):
        load(tmp_path / "mnist.zip")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.npz", b"", "is empty; fetch it again"),
        ("a.zip", b"<html>no</html>", "is a page in HTML"),
        ("a.npy", b"what", "is no .npy file, or damaged"),
        ("a.MAT", b"what", "is no .mat file, or damaged"),
        ("a.png", b"what", "is one image; give the folder that it is in"),
        ("a.parquet", b"what", "of a kind that is not read; give the folder"),
        ("a.zip", None, "There is no file"),
        ("a.npz", None, "There is no file"),
    ],
)
def test_a_file_that_is_no_data_is_called_what_it_is(
    tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words) as refusal:
        load(tmp_path / name)
    assert str(tmp_path / name) in str(refusal.value)


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".zip", ".mat"])
def test_a_folder_above_a_file_of_data_names_it(tmp_path: Path, suffix: str) -> None:
    content = {".npy": b"\x93NUMPY", ".mat": b"MATLAB 5.0 MAT-file"}.get(suffix)
    path = tmp_path / "deep" / f"a{suffix}"
    path.parent.mkdir()
    if content is None:
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr("x.npy" if suffix == ".npz" else "x.png", b"")
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match="holds no image, but there") as refusal:
        load(tmp_path)
    assert f"{path}; give that file" in str(refusal.value)


@pytest.mark.parametrize(("what", "content"), list(IMPOSTORS.items())[:5])
def test_a_mirror_that_sends_no_data_is_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, content: bytes
) -> None:
    def receive(session: object, url: str, part: Path, file: download.File, report: object) -> None:
        part.write_bytes(content.ljust(file.size))

    monkeypatch.setattr(download, "_receive", receive)
    file = download.File("file", 200, "sha256:00")
    source = download.Source("some", ("http://one/",), (file,), (), "free")
    with pytest.raises(UserError, match=rf"http://one/: its file .* \(hash\): .*{what}") as refusal:
        download.fetch(source, tmp_path)
    assert str(refusal.value).isprintable()
    assert {path.name for path in tmp_path.iterdir()} == {".lock"}


# --- Bombs -------------------------------------------------------------------------------------


def idx(*shape: int, content: bytes | None = None) -> bytes:
    head = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
    return head + (bytes(int(np.prod(shape))) if content is None else content)


def idx_folder(folder: Path, images: bytes, labels: bytes) -> Path:
    (folder / "train-images-idx3-ubyte").write_bytes(images)
    (folder / "train-labels-idx1-ubyte").write_bytes(labels)
    return folder


def zeros(shape: tuple[int, ...]) -> bytes:
    """A gzip file of so many zeros, made of one compressed block after another."""
    block = gzip.compress(bytes(1 << 20), 9, mtime=0)
    whole, rest = divmod(int(np.prod(shape)), 1 << 20)
    head = gzip.compress(idx(*shape, content=b""), mtime=0)
    return head + block * whole + gzip.compress(bytes(rest), mtime=0)


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (zeros((40, 8, 1 << 20)), idx(40), "more than 100 times"),
        (idx(2, 8, 1025), idx(2), r"images of shape \(8, 1025\); sides of 1 to 1024"),
        (zeros((300_000, 32, 32)), idx(2), "more than 100 times"),
        (idx(3, 8, 8), zeros((300 << 20,)), "more than 100 times"),
        (idx(3, 8, 8), idx(4), "3 images but .* 4 labels"),
        (idx(3, 0, 8), idx(3), "holds no image"),
        (idx(3, 8, 8), idx(0), "holds no value"),
        (idx(*([1] * 9)), idx(3), "9 dimensions"),
        (bytes([0, 0, 8, 255]) + bytes(4 * 255), idx(3), "255 dimensions"),
    ],
)
def test_what_a_header_promises_is_judged_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: bytes, labels: bytes, words: str
) -> None:
    asked: list[int] = []
    monkeypatch.setattr("minigan.data.idx._body", lambda *a: asked.append(1) or np.zeros(1))
    with pytest.raises(UserError, match=words):
        load(idx_folder(tmp_path, images, labels))
    assert not asked


def test_many_equal_labels_are_no_bomb(tmp_path: Path) -> None:
    folder = idx_folder(tmp_path, idx(100_000, 1, 1), zeros((100_000,)))
    assert len(load(folder)) == 100_000


def test_data_beyond_the_memory_are_refused_before_it_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(tmp_path / "pictures" / "0.png")
    (tmp_path / "digits").mkdir()
    idx_folder(tmp_path / "digits", idx(10, 8, 8), idx(10))
    monkeypatch.setattr("minigan.data.memory._available", lambda: 3000)
    for data, options in (
        ("pictures", {"size": 32}),
        ("digits", {"size": 32}),
        ("glyphs", {}),
        ("digits", {"stack": 3, "size": 17}),
    ):
        place = data if data == "glyphs" else tmp_path / data
        with pytest.raises(UserError, match=r"0\.0 GB; give a smaller --size, or fewer images"):
            load(place, **options)
    monkeypatch.setattr("minigan.data.memory._available", lambda: None)
    assert load(tmp_path / "digits", stack=3, size=17).shape == (3, 17, 17)

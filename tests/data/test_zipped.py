"""Zip archives of pictures: the same data as unpacked, and nothing hostile is believed."""

from __future__ import annotations

import contextlib
import pickle
import stat
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from minigan.data import NoSplitError, Reading, cache, decoding, load, outline, zipped
from minigan.errors import UserError

PICTURES = ("cats/1.png", "cats/deep/0.png", "dogs/1.PNG", "dogs/10.png", "dogs/2.png")


def folder(place: Path, names: tuple[str, ...] = PICTURES) -> Path:
    for i, name in enumerate(names):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (9, 8, 3), np.uint8)
        Image.fromarray(pixels).save(place / name, format="PNG")
    return place


def packed(place: Path, into: Path, top: str = "", method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(into, "w", method) as archive:
        for path in sorted(place.rglob("*"), reverse=True):
            archive.write(path, f"{top}{path.relative_to(place)}")
    return into


@pytest.mark.parametrize("top", ["", "all/"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_is_its_folder(tmp_path: Path, top: str, method: int) -> None:
    unpacked = load(folder(tmp_path / "pictures"), size=8)
    path = packed(tmp_path / "pictures", tmp_path / "pictures.of.mine", top, method)
    found = load(path, size=8)
    assert found.digest() == unpacked.digest()
    assert (found.name, found.classes) == ("pictures.of", ("cats", "dogs"))
    known, same = outline(path), outline(tmp_path / "pictures")
    assert known == same
    with pytest.raises(NoSplitError, match="no test images"):
        load(path, split="test")


MANY = tuple(f"{'ab'[i % 2]}/{i:03}.png" for i in range(cache.FEWEST + 6))


def test_an_archive_is_decoded_once(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked = load(folder(tmp_path / "pictures", MANY), size=8)
    path = packed(tmp_path / "pictures", tmp_path / "pictures.zip")
    decoded: list[str] = []
    read = decoding.read_picture

    def counted(file: Any, *rest: Any, **more: Any) -> Any:
        decoded.append(file.name)
        return read(file, *rest, **more)

    monkeypatch.setattr(decoding, "read_picture", counted)
    known = outline(path, size=8)
    assert known is not None
    assert known.mapped
    first = load(path, size=8)
    assert (len(decoded), isinstance(first.x, np.memmap)) == (len(MANY), True)
    again = load(path, size=8)
    assert len(decoded) == len(MANY)
    assert first.digest() == again.digest() == unpacked.digest()
    packed(folder(tmp_path / "pictures", MANY[::-1]), path)  # other pixels by the same names
    assert load(path, size=8).digest() == load(tmp_path / "pictures", size=8).digest()
    assert again.digest() != load(path, size=8).digest()


@pytest.mark.parametrize("split", ["train", "test"])
def test_archives_are_read_as_folders_are_asked_to(
    tmp_path: Path, own_cache: Path, split: str
) -> None:
    place = folder(tmp_path / "pictures", MANY)
    (place / MANY[5]).write_bytes(b"none")
    path = packed(place, tmp_path / "pictures.zip")
    options: dict[str, Any] = {
        "crop": "random", "background": "red", "skip_broken": True, "flip": True, "hold_out": 9,
    }  # fmt: skip
    told: list[str] = []
    found, same = (
        load(where, size=8, split=split, report=said, **options)
        for where, said in ((path, told.append), (place, None))
    )
    assert found.digest() == same.digest()
    assert (found.flip, found.wide is None) == (True, False)
    reading = Reading(**options)
    assert outline(path, split=split, reading=reading) == outline(
        place, split=split, reading=reading
    )
    (left_out,) = [text for text in told if "left out" in text]
    assert f"cannot be read: {MANY[5]} (no image" in left_out  # by its name in the archive
    with pytest.raises(UserError, match=r"--skip-broken"):
        load(path, size=8)


def test_parts_flat_pictures_and_what_is_passed_over(tmp_path: Path) -> None:
    parts = folder(tmp_path / "parts", ("train/a/1.png", "train/b/1.png", "test/b/1.png"))
    path = packed(parts, tmp_path / "parts.zip")
    assert load(path, size=8).classes == ("a", "b")
    test = load(path, size=8, split="test")
    assert (len(test), test.classes) == (1, ("b",))
    flat = folder(tmp_path / "flat", ("1.png", "2.png", "__MACOSX/1.png", ".hidden/3.png"))
    (flat / "notes.txt").write_text("no picture")
    path = packed(flat, tmp_path / "flat.zip", "flat/")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("LICENSE", "free")
        link = zipfile.ZipInfo("flat/link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    said: list[str] = []
    data = load(packed(flat, tmp_path / "mac.zip"), size=8)
    assert (len(data), data.y) == (2, None)
    data = load(path, size=8, report=said.append)
    assert len(data) == 2
    assert said[0] == "passed over 3 files (1 link, 1 without suffix, 1 .txt)"


def test_names_by_windows(tmp_path: Path) -> None:
    place = folder(tmp_path / "p", ("a/1.png", "b/1.png"))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("a/1.png", "b/1.png"):
            info = zipfile.ZipInfo(name)
            info.filename = "top/" + name
            info.filename = info.filename.replace("/", "\\")
            archive.writestr(info, (place / name).read_bytes())
    assert load(tmp_path / "a.zip", size=8).classes == ("a", "b")


def entry(folder: Path, name: str, content: bytes = b"", **options: Any) -> Path:
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(name), content, **options)
    return folder / "a.zip"


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as refused:
        load(path, size=8)
    text = str(refused.value)
    assert "\n" not in text
    assert str(path) in text
    return text


@pytest.mark.parametrize(
    "name", ["/etc/a.png", "../a.png", "a/../../b.png", "C:/a.png", "..\\a.png", "\\a.png"]
)
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    assert "leads out of the archive" in refusal(entry(tmp_path, name, b"x"))


def patched(path: Path, place: int, value: int, size: int, *, local: bool = False) -> Path:
    """The archive with a field of its (last) entry changed, in the directory and before the bytes.

    `place` counts in the directory's record.
    """
    content = bytearray(path.read_bytes())
    start = content.rfind(b"PK\1\2")
    content[start + place : start + place + size] = value.to_bytes(size, "little")
    if local:
        at = int.from_bytes(content[start + 42 : start + 46], "little")
        content[at + place - 2 : at + place - 2 + size] = value.to_bytes(size, "little")
    path.write_bytes(bytes(content))
    return path


def test_encrypted_and_strangely_packed_archives(tmp_path: Path) -> None:
    path = patched(entry(tmp_path, "a.png", b"x" * 100), 8, 1, 2)
    assert "is encrypted; unpack it with its password" in refusal(path)
    path = entry(tmp_path, "a.png", b"x" * 100, compress_type=zipfile.ZIP_BZIP2)
    assert "method 12" in refusal(path)


def test_bombs_by_declared_and_by_real_size(tmp_path: Path) -> None:
    path = entry(tmp_path, "a.png", b"x" * 100)
    assert "promises 4,000,000,000 bytes" in refusal(patched(path, 24, 4_000_000_000, 4))
    # More is in it than it declares: no more than that is unpacked.
    path = entry(tmp_path, "a.png", bytes(10**7), compress_type=zipfile.ZIP_DEFLATED)
    assert "has not its 100 bytes" in refusal(patched(path, 24, 100, 4))
    # One stream that is in many entries.
    path = entry(tmp_path, "a.png", b"x" * 100)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("b.png", b"y" * 100)
    assert "overlap" in refusal(patched(path, 42, 0, 4))
    # More bytes than the archive has, which would take memory to read.
    path = entry(tmp_path, "a.png", bytes(10**4), compress_type=zipfile.ZIP_DEFLATED)
    assert "overlap" in refusal(patched(path, 20, 4_000_000_000, 4))


def test_damaged_archives(tmp_path: Path) -> None:
    place = folder(tmp_path / "p", ("a.png", "b.png"))
    path = packed(place, tmp_path / "p.zip", method=zipfile.ZIP_STORED)
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    assert "damaged zip archive" in refusal(path)
    at = whole.find(b"IDAT")
    path.write_bytes(whole[:at] + b"JUNK" + whole[at + 4 :])
    assert "checksum" in refusal(path)
    path.write_bytes(b"X" * 4 + whole[4:])
    assert "no .zip file" in refusal(path)
    start = whole.rfind(b"PK\3\4", 0, whole.find(b"PK\1\2"))
    path.write_bytes(whole[:start] + b"XXXX" + whole[start + 4 :])
    assert "not where it should be" in refusal(path)
    packed(place, path)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.write(place / "a.png", "a.png")
    assert "two files of the name a.png" in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "")
    assert "holds no image" in refusal(path)


def test_a_member_is_what_a_path_is(tmp_path: Path) -> None:
    place = folder(tmp_path / "p", ("a/one.PNG", "a/two.png"))
    path = packed(place, tmp_path / "p.zip")
    (member, other), rest = zipped.members(path)
    real = place / "a" / "one.PNG"
    assert (member.name, member.suffix, rest) == (real.name, real.suffix, {})
    assert (str(member), member.parts) == (f"{path}/a/one.PNG", ("a", "one.PNG"))
    assert member.stat().st_size == real.stat().st_size
    assert member.stat().st_mtime_ns == path.stat().st_mtime_ns
    sent = pickle.loads(pickle.dumps(member))  # to another process
    for each in (member, sent):
        with each.open("rb") as file:
            assert file.read() == real.read_bytes()
    with pytest.raises(ValueError, match="'w'"):
        member.open("w")
    assert other != member


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_damaged_archive_never_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    place = tmp_path_factory.mktemp("damaged")
    path = packed(folder(place / "p", ("a/1.png", "b/2.png")), place / "p.zip")
    content = bytearray(path.read_bytes())
    ends = [m for m in range(len(content)) if content[m : m + 2] == b"PK"]
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.sampled_from(ends)) + data.draw(st.integers(0, 50))
        content[at % len(content)] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content))
    with contextlib.suppress(UserError):  # any other exception fails the test
        assert len(load(path, size=4)) in (1, 2)


def test_the_sizes_of_the_local_header() -> None:
    assert zipped._LOCAL.size == struct.calcsize("<4sHHHHHIIIHH")

"""Decoded pictures in files: found again, noticed when they change, never half there."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny import Shell

from minigan.commands.caches import caches
from minigan.data import Dataset, cache, decoding, load, outline, picture
from minigan.errors import UserError

COUNT = 70


@pytest.fixture(autouse=True)
def kept(own_cache: Path) -> Path:
    """Where decoded pictures are kept."""
    return own_cache / "minigan" / "pictures"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return fill(tmp_path / "pictures")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the pictures that are decoded, as they are."""
    names: list[str] = []
    read = picture.read_picture

    def counted(path: Any, *rest: Any, **more: Any) -> Any:
        names.append(path.name)
        return read(path, *rest, **more)

    monkeypatch.setattr(decoding, "read_picture", counted)
    return names


def fill(place: Path, count: int = COUNT, *, mode: str = "RGB") -> Path:
    place.mkdir()
    rng = np.random.default_rng(count)
    for i in range(count):
        pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).convert(mode).save(place / f"{i:03}.png")
    return place


def held(data: Dataset) -> bool:
    """Whether the pixels are in memory, not in a file."""
    return not isinstance(data.x, np.memmap)


def test_pictures_are_decoded_once(pictures: Path, decoded: list[str], kept: Path) -> None:
    said: list[str] = []
    first = load(pictures, size=8, report=said.append)
    assert sorted(decoded) == [f"{i:03}.png" for i in range(COUNT)]
    second = load(pictures, size=8, report=said.append)
    assert len(decoded) == COUNT
    assert said == [f"{COUNT} images, as they were decoded before, from {kept}"]
    assert not held(first)
    assert not held(second)
    np.testing.assert_array_equal(first.x, second.x)
    for i in (0, COUNT - 1):
        there = np.asarray(Image.open(pictures / f"{i:03}.png")).transpose(2, 0, 1)
        np.testing.assert_array_equal(second.x[i], there)
    (file,) = kept.iterdir()
    np.testing.assert_array_equal(np.load(file), second.x)
    with pytest.raises(ValueError, match="read-only"):
        second.x[0] = 0


def test_the_order_is_that_of_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = fill(tmp_path / "p", 100)
    monkeypatch.setattr(decoding, "_processors", lambda: 1)
    alone = np.array(load(place, size=8).x)
    monkeypatch.setattr(decoding, "_processors", lambda: 7)
    next(cache.folder().glob("*.npy")).unlink()
    np.testing.assert_array_equal(load(place, size=8).x, alone)


def test_progress_is_shown_of_many_to_those_who_ask(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load(pictures, size=8)
    load(pictures, size=8, report=print)
    load(fill(tmp_path / "few", 9), size=8, report=print)
    assert "reading pictures" not in capsys.readouterr().err
    load(pictures, size=9, report=print)
    assert "reading pictures 70/70" in capsys.readouterr().err


def test_few_pictures_are_read_each_time(tmp_path: Path, kept: Path) -> None:
    assert held(load(fill(tmp_path / "few", cache.FEWEST - 1)))
    assert not kept.exists()
    assert not outline(tmp_path / "few").mapped


def changed(place: Path) -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(place / "003.png")


def touched(place: Path) -> None:
    found = (place / "003.png").stat()
    os.utime(place / "003.png", ns=(found.st_atime_ns, found.st_mtime_ns + 1))


def renamed(place: Path) -> None:
    (place / "003.png").rename(place / "999.png")


def added(place: Path) -> None:
    changed(place)
    (place / "003.png").rename(place / "998.png")


@pytest.mark.parametrize(
    "change", [changed, touched, renamed, added, lambda place: (place / "003.png").unlink()]
)
def test_a_change_is_noticed(
    pictures: Path, decoded: list[str], kept: Path, change: Callable[[Path], object]
) -> None:
    load(pictures, size=8)
    change(pictures)
    decoded.clear()
    data = load(pictures, size=8)
    names = sorted(path.name for path in pictures.iterdir())
    assert sorted(decoded) == names
    for i, name in enumerate(names):
        there = np.asarray(Image.open(pictures / name)).transpose(2, 0, 1)
        np.testing.assert_array_equal(data.x[i], there)
    assert len([*kept.iterdir()]) == 1  # what is out of date is gone


def test_other_options_are_other_pixels(pictures: Path, kept: Path) -> None:
    options: list[dict[str, Any]] = [
        {}, {"size": 10}, {"crop": "none"}, {"background": "red"}, {"crop": "random"},
        {"skip_broken": True}, {"hold_out": 3},
    ]  # fmt: skip
    for number, option in enumerate(options, 1):
        load(pictures, **({"size": 8} | option))
        assert len([*kept.iterdir()]) == number
    load(pictures, size=8, flip=True)
    load(pictures, size=8, hold_out=3, split="test")
    assert len([*kept.iterdir()]) == len(options)


def test_grey_pictures_take_a_third(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_MOVED", 1000)  # a few pictures at once
    place = fill(tmp_path / "grey", mode="L")
    data = load(place, size=8)
    assert data.x.shape == (COUNT, 1, 8, 8)
    for i in range(COUNT):
        np.testing.assert_array_equal(data.x[i, 0], np.asarray(Image.open(place / f"{i:03}.png")))
    Image.new("RGB", (8, 8), "red").save(place / "zzz.png")
    assert load(place, size=8).shape == (3, 8, 8)


def test_broken_pictures_leave_no_gap(pictures: Path, kept: Path, decoded: list[str]) -> None:
    for name in ("002.png", "069.png"):
        (pictures / name).write_bytes(b"")
    with pytest.raises(UserError, match=r"2 of the 70 images.*002\.png.*069\.png"):
        load(pictures, size=8)
    assert not [*kept.iterdir()]
    told: list[list[str]] = [[], []]
    first, second = (load(pictures, size=8, skip_broken=True, report=s.append) for s in told)
    assert told[1][1:] == told[0]
    assert "left out 2 of 70 images" in told[0][0]
    assert len(first) == len(second) == 68
    np.testing.assert_array_equal(
        second.x[2], np.asarray(Image.open(pictures / "003.png")).transpose(2, 0, 1)
    )


def test_damage_is_told_again(tmp_path: Path) -> None:
    place = fill(tmp_path / "p")
    exif = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\xff" * 20
    Image.new("RGB", (8, 8)).save(place / "a.jpg", exif=exif)
    said: list[list[str]] = [[], []]
    for texts in said:
        load(place, size=8, report=texts.append)
    assert [text for text in said[0] if "although damaged" in text] == said[1][1:]


@pytest.mark.parametrize(
    "spoil", [lambda b: b[:-9], lambda b: b[:50], lambda b: b"", lambda b: b"x" * 500]
)
def test_a_damaged_file_is_written_anew(
    pictures: Path, kept: Path, decoded: list[str], spoil: Callable[[bytes], bytes]
) -> None:
    right = np.array(load(pictures, size=8).x)
    (file,) = kept.iterdir()
    file.write_bytes(spoil(file.read_bytes()))
    np.testing.assert_array_equal(load(pictures, size=8).x, right)
    assert len(decoded) == 2 * COUNT


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_what_was_interrupted_is_not_used(
    pictures: Path, kept: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    read = picture.read_picture

    def stops(path: Any, *rest: Any, **more: Any) -> Any:
        if path.name == "060.png":
            raise error
        return read(path, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(decoding, "read_picture", stops)
        with pytest.raises(BaseException):  # noqa: B017, PT011
            load(pictures, size=8)
    assert not [*kept.iterdir()]
    assert len(load(pictures, size=8)) == COUNT


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("place", ["_promise", "_one_channel"])
def test_without_room_they_stay_in_memory(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    pictures = fill(tmp_path / "p", mode="L")
    monkeypatch.setattr(decoding, place, full)
    said: list[str] = []
    data = load(pictures, size=8, report=said.append)
    assert held(data)
    assert data.shape == (1, 8, 8)
    (told,) = said
    assert told.startswith(f"decoded images cannot be kept in {kept} (No space left on device), so")
    monkeypatch.setattr(decoding, "check_memory", lambda *_: (_ for _ in ()).throw(UserError("GB")))
    with pytest.raises(UserError, match="GB"):
        load(pictures, size=8)


def test_a_cache_that_is_no_folder(pictures: Path, kept: Path) -> None:
    kept.parent.mkdir(parents=True)
    kept.write_text("in the way")
    assert held(load(pictures, size=8))


def test_two_at_once(pictures: Path, kept: Path) -> None:
    first = load(pictures, size=8)
    place, key = next(kept.iterdir()).stem.split("-")
    before = np.array(first.x)
    # Another process that has begun at the same time ends now, while the first file is mapped.
    job = decoding.Job([*sorted(pictures.iterdir())], "", 8, (255, 255, 255))

    def again(file: Any) -> tuple[tuple[int, ...], dict[str, Any]]:
        return decoding.into_file(job, file, progress=False)[0], {"told": [], "left_out": []}

    cache.write(place, key, again)
    np.testing.assert_array_equal(first.x, before)
    np.testing.assert_array_equal(load(pictures, size=8).x, before)
    assert len([*kept.iterdir()]) == 1


def test_a_digest_is_remembered(
    pictures: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pictures / "a").mkdir()
    (pictures / "b").mkdir()
    for i, path in enumerate(sorted(pictures.glob("*.png"))):
        path.rename(pictures / "ab"[i % 2] / path.name)
    data = load(pictures, size=8)
    plain = Dataset(data.name, np.array(data.x), data.y, data.classes)
    right = plain.digest()
    assert data.digest() == right
    read: list[int] = []
    whole = np.ascontiguousarray
    monkeypatch.setattr(
        "minigan.data.dataset.np.ascontiguousarray", lambda x: read.append(x.ndim) or whole(x)
    )
    assert load(pictures, size=8).digest() == right
    assert 4 not in read  # no pixel
    # Whatever else is in it is not taken for it.
    assert data.y is not None
    others = [
        data[1:], data[::2], data[::-1], Dataset("c", data.x, 1 - data.y, data.classes),
        Dataset("c", data.x), Dataset("c", data.x, data.y, ("b", "a")),
        Dataset("c", data.x.transpose(0, 1, 3, 2), data.y, data.classes),
    ]  # fmt: skip
    for other in others:
        same = Dataset("c", np.array(other.x), other.y, other.classes)
        assert other.digest() == other.digest() == same.digest() != right
    names = {path.suffix for path in kept.iterdir()}
    assert names == {".npy", ".json"}


def test_a_damaged_memory_of_digests_is_not_believed(pictures: Path, kept: Path) -> None:
    right = load(pictures, size=8).digest()
    (file,) = kept.glob("*.json")
    for text in ("{", "[]", '{"a": 1}'):
        file.write_text(text)
        assert load(pictures, size=8).digest() == right


def test_the_cache_is_shown_and_emptied(shell: Shell, pictures: Path, kept: Path) -> None:
    load(pictures, size=8).digest()
    forsaken = kept / ".half.0123abcd.unfinished.npy"
    forsaken.write_bytes(b"")
    (kept / "mine.txt").write_text("mine")
    (shown,) = [one for one in caches() if one.name == "pictures"]
    assert shown.size()[0] == 2
    shell.succeeds("data", "clean", "pictures")
    assert [path.name for path in kept.iterdir()] == ["mine.txt"]


def test_pictures_larger_than_the_memory(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minigan.data.memory._available", lambda: 100)
    known = outline(pictures, size=8)
    assert known is not None
    assert known.mapped
    assert len(load(pictures, size=8)) == COUNT
    cache.folder().rename(cache.folder().with_name("away"))
    cache.folder().write_text("in the way")
    with pytest.raises(UserError, match="GB of memory"):
        load(pictures, size=8)

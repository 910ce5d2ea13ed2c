"""Pictures of every mode, depth and condition: the right values, or the sentence that refuses."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from minigan.data import load, picture
from minigan.errors import UserError

GREY = np.array([0, 32768, 257 * 77, 65535], np.uint16).repeat(2) * np.ones((8, 1), np.uint16)
EIGHT = np.array([0, 128, 77, 255], np.uint8).repeat(2) * np.ones((8, 1), np.uint8)


def only(folder: Path, said: list[str] | None = None) -> np.ndarray:
    data = load(folder, size=8, report=None if said is None else said.append)
    assert len(data) == 1
    return data.x[0]


def save(path: Path, image: Image.Image | np.ndarray, **options: Any) -> None:
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(path, **options)


# --- Depth ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jp2"])
def test_sixteen_bits_are_scaled_to_eight(tmp_path: Path, name: str) -> None:
    save(tmp_path / name, GREY)
    np.testing.assert_array_equal(only(tmp_path)[0], EIGHT)


def test_sixteen_bits_of_the_other_byte_order(tmp_path: Path) -> None:
    save(tmp_path / "a.tif", Image.frombytes("I;16B", (8, 8), GREY.astype(">u2").tobytes()))
    np.testing.assert_array_equal(only(tmp_path)[0], EIGHT)


@pytest.mark.parametrize("top", [65535, 1023, 255, 15])
def test_pgm_of_any_depth(tmp_path: Path, top: int) -> None:
    values = (EIGHT.astype(np.int64) * top + 127) // 255
    content = values.astype(">u2" if top > 255 else "u1").tobytes()
    (tmp_path / "a.pgm").write_bytes(b"P5 8 8 %d\n" % top + content)
    expected = values * 255 / top
    assert np.abs(only(tmp_path)[0] - expected).max() <= 1


def test_tiff_of_twelve_bits(tmp_path: Path) -> None:
    values = np.array([0, 4095, 2048, 1241], np.uint16).repeat(2)
    packed = b"".join(
        bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255])
        for a, b in np.tile(values, 8).reshape(-1, 2).tolist()
    )
    save(tmp_path / "a.tif", np.frombuffer(packed, np.uint8).reshape(8, 12))  # as many bytes
    content = (tmp_path / "a.tif").read_bytes()
    with Image.open(tmp_path / "a.tif") as image:
        tags = {tag: entry for tag, entry in ((256, 8), (258, 12)) if tag in image.tag_v2}
    for tag, value in tags.items():
        place = next(
            at
            for at in range(len(content) - 12)
            if content[at : at + 2] == tag.to_bytes(2, "little")
            and content[at + 4 : at + 8] == b"\1\0\0\0"
            and content[at + 2 : at + 4] in (b"\3\0", b"\4\0")
        )
        content = content[: place + 8] + value.to_bytes(4, "little") + content[place + 12 :]
    (tmp_path / "a.tif").write_bytes(content)
    assert only(tmp_path)[0, 0].tolist() == [0, 0, 255, 255, 128, 128, 77, 77]


def test_tiff_whose_white_is_zero(tmp_path: Path) -> None:
    save(tmp_path / "a.tif", GREY, tiffinfo={262: 0})
    with Image.open(tmp_path / "a.tif") as image:
        assert image.tag_v2[262] == 0
    np.testing.assert_array_equal(only(tmp_path)[0], 255 - EIGHT)


@pytest.mark.parametrize("kind", [np.int32, np.uint32, np.int16, np.float32, np.float64])
@pytest.mark.parametrize("top", [200, 60_000])
def test_values_without_a_known_range_are_refused(tmp_path: Path, kind: type, top: int) -> None:
    if kind is np.int16:
        top = min(top, 30_000)
    values = np.full((8, 8), top, kind)
    mode = "F" if np.issubdtype(kind, np.floating) else "I"
    image = Image.fromarray(values.astype(np.float32 if mode == "F" else np.int32))
    save(tmp_path / "a.tif", image)
    with pytest.raises(UserError, match=rf"a\.tif .*mode {mode}, whose range is unknown; convert"):
        load(tmp_path)


# --- Modes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 70, (70, 70, 70)),
        ("LA", (70, 255), (70, 70, 70)),
        ("LA", (70, 0), (255, 255, 255)),
        ("RGB", (9, 99, 199), (9, 99, 199)),
        ("RGBA", (9, 99, 199, 255), (9, 99, 199)),
        ("RGBA", (9, 99, 199, 0), (255, 255, 255)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("YCbCr", (81, 90, 240), (238, 14, 14)),
        ("LAB", (255, 128, 128), (255, 255, 255)),
    ],
)
def test_a_tiff_of_each_mode(
    tmp_path: Path, mode: str, colour: Any, expected: tuple[int, ...]
) -> None:
    save(tmp_path / "a.tif", Image.new(mode, (8, 8), colour))
    with Image.open(tmp_path / "a.tif") as image:
        assert image.mode == mode
    found = only(tmp_path)[:, 4, 4].astype(int)
    assert np.abs(found - expected).max() <= (2 if mode in ("YCbCr", "LAB") else 0)


def test_of_several_frames_the_first_is_read(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (8, 8), "white"), Image.new("RGB", (8, 8), "black")
    for kind in ("gif", "tif", "webp", "png"):
        save(tmp_path / f"a.{kind}", first, save_all=True, append_images=[second])
    assert load(tmp_path, size=8).x.min() == 255


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation_is_undone(tmp_path: Path, orientation: int) -> None:
    corner = np.zeros((8, 8), np.uint8)
    corner[:4, :2] = 200
    turned = Image.fromarray(corner)
    # What a camera held in this way stores: the inverse of what EXIF asks a viewer to do.
    stored = {
        1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: np.transpose,
        6: np.rot90, 7: lambda a: np.rot90(a, 2).T, 8: lambda a: np.rot90(a, -1),
    }[orientation](np.asarray(turned))  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(tmp_path / "a.png", np.ascontiguousarray(stored), exif=exif)
    np.testing.assert_array_equal(only(tmp_path)[0], corner)


def test_damaged_exif_data_are_told_and_the_image_is_read(tmp_path: Path) -> None:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "a" * 100, 6
    Image.new("RGB", (8, 8), (200, 0, 0)).save(file, "JPEG", exif=exif)
    content = file.getvalue()
    place = content.index(b"Exif\0\0") + 14  # after the header of the EXIF data
    (tmp_path / "a.jpg").write_bytes(content[:place] + b"\xff" * 40 + content[place + 40 :])
    said: list[str] = []
    assert abs(int(only(tmp_path, said)[0, 4, 4]) - 200) < 4
    assert "1 images are read although damaged, such as" in said[-1]
    assert "a.jpg" in said[-1]
    assert said[-1].isprintable()


# --- Limits --------------------------------------------------------------------------------------


def bomb(folder: Path, kind: str, mode: str, size: tuple[int, int]) -> None:
    save(folder / f"a.{kind}", Image.new(mode, size))


@pytest.mark.parametrize("kind", ["webp", "jp2", "avif"])
def test_formats_whose_decoders_copy_have_lower_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    name = {"webp": "WEBP", "jp2": "JPEG2000", "avif": "AVIF"}[kind]
    assert picture._LARGEST[name] < picture.LARGEST
    monkeypatch.setitem(picture._LARGEST, name, 16 * 16 - 1)
    bomb(tmp_path, kind, "RGB", (16, 16))
    with pytest.raises(UserError, match="16 x 16 pixels, more than the 255 that are read"):
        load(tmp_path)


def test_a_file_has_a_limit_of_bytes(tmp_path: Path) -> None:
    with open(tmp_path / "a.bmp", "wb") as file:
        file.truncate(picture._LARGEST_FILE + 1)  # a hole
    with pytest.raises(UserError, match="a file of more than 268,435,456 bytes"):
        load(tmp_path)


MEASURED = """
import sys
from minigan.data import load
from minigan.errors import UserError
try:
    load(sys.argv[1], size=8)
except UserError as error:
    print(error)
# Of this program alone: getrusage counts the memory of the process that started it as well.
status = open("/proc/self/status").read()
print(status.split("VmHWM:")[1].split()[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the unit of memory is that of Linux")
@pytest.mark.parametrize(
    ("kind", "mode", "size"),
    [
        *(("png", mode, (9000, 9900)) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
        *(("jpg", mode, (9000, 9900)) for mode in ("L", "RGB", "CMYK")),
        *(("tif", mode, (8000, 8300)) for mode in ("RGBA", "CMYK")),
        ("tif", "I;16", (9000, 9900)),
        *(("bmp", "RGB", (9000, 9900)), ("gif", "P", (9000, 9900)), ("ppm", "RGB", (9000, 9900))),
        *(("webp", "RGBA", (5700, 5800)), ("avif", "RGB", (5700, 5800))),
        *(("jp2", "RGBA", (4000, 4100)), ("qoi", "RGBA", (9000, 9900))),
    ],
)
def test_the_largest_pictures_take_less_than_a_gigabyte(
    tmp_path: Path, kind: str, mode: str, size: tuple[int, int]
) -> None:
    options: dict[str, Any] = {"speed": 10} if kind == "avif" else {}
    save(tmp_path / f"a.{kind}", Image.new(mode, size), **options)
    if kind in ("png", "jpg"):  # turned: this needs a second copy
        exif = Image.Exif()
        exif[0x0112] = 6
        save(tmp_path / f"a.{kind}", Image.new(mode, size), exif=exif)
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path)], capture_output=True, text=True, check=True
    )
    *refusal, peak = done.stdout.splitlines()
    assert not refusal
    assert int(peak) * 1024 < 1 << 30


@pytest.mark.parametrize("size", [(0, 8), (8, 0)])
def test_a_picture_without_pixels(tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "a.ppm").write_bytes(b"P6 %d %d 255\n" % size)
    with pytest.raises(UserError, match=r"a\.ppm cannot be read"):
        load(tmp_path)

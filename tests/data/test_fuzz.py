"""Mutated files of data: each is read, or refused in one line, within limits (see support/fuzz.py).

The quick set tries a few hundred of each kind, `pytest -m long` more than 20,000 in all.
"""

from __future__ import annotations

import gzip
import io
import pickle
import random
import struct
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import urllib3
from fuzz import Case, fuzz, mutated
from PIL import Image, features

from minigan.data import download, load
from minigan.data.download import File, Source

if not sys.platform.startswith("linux"):
    pytest.skip("the limits of the harness are those of Linux", allow_module_level=True)

Read = Callable[[], object]

# --- idx -----------------------------------------------------------------------------------------


def idx(array: np.ndarray) -> bytes:
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return head + array.tobytes()


IMAGES = idx(np.random.default_rng(0).integers(0, 256, (12, 9, 7), np.uint8))
LABELS = idx(np.arange(12, dtype=np.uint8) % 5)


def idx_folder(rng: random.Random, folder: Path) -> Read:
    """Plain and gzipped files; a gzip file is changed itself, or in what it holds."""
    for kind, content, other in (
        ("train-images-idx3-ubyte", IMAGES, LABELS),
        ("train-labels-idx1-ubyte", LABELS, IMAGES),
    ):
        data = mutated(rng, content, other, 16) if rng.random() < 0.6 else content
        if rng.random() < 0.6:
            data = gzip.compress(data, mtime=0)
            if rng.random() < 0.5:
                data = mutated(rng, data, b"", 12)
        (folder / kind).write_bytes(data)
    size = rng.choice((None, None, 5))
    return lambda: load(folder, size=size)


# --- CIFAR-10 ------------------------------------------------------------------------------------


@cache
def batches() -> list[bytes]:
    """Valid batches, in all protocols, orders of values, and with keys of both kinds."""
    data = np.random.default_rng(0).integers(0, 256, (3, 3072), np.uint8)
    found = []
    for protocol in range(6):
        for array in (data, np.asfortranarray(data)):
            names = [b"a_%d.png" % i for i in range(3)]
            batch = {b"labels": [1, 0, 9], b"data": array, b"filenames": names, b"n": 2**40}
            text = {key.decode(): value for key, value in batch.items()}
            found += [pickle.dumps(batch, protocol), pickle.dumps(text, protocol)]
    return found


def cifar_batch(rng: random.Random, folder: Path) -> Read:
    program, other = rng.choice(batches()), rng.choice(batches())
    # The operations are before and after the pixels; few changes of these matter.
    start = program.find(bytes(np.random.default_rng(0).integers(0, 256, 8, np.uint8)))
    head = rng.choice((64, 250, max(64, start)))
    data = mutated(rng, program, other, head)
    if rng.random() < 0.2:  # the end, where labels may be
        data = program[:-100] + mutated(rng, program[-100:], other, 100)
    (folder / "data_batch_1").write_bytes(data)
    if rng.random() < 0.2:
        meta = pickle.dumps({b"label_names": [b"a", b"b"] * 5}, rng.randrange(6))
        (folder / "batches.meta").write_bytes(mutated(rng, meta, other))
    return lambda: load(folder)


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


PARTS = (
    b"cnumpy\ndtype\n(" + text("u1") + b"\x89\x88tR",
    b"(K\3" + text("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb",
    b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\0tC\1btR",
    b"cnumpy.core.numeric\n_frombuffer\n",
    b"B\0\x0c\0\0" + bytes(3072),
    b"\x96\0\x0c\0\0\0\0\0\0" + bytes(3072),
    b"(K\1(K\1M\0\x0ct",
    b"c_codecs\nencode\n" + text("a" * 50) + text("latin1") + b"\x86R",
    *(text(name) for name in ("data", "labels", "C", "F", "latin1", "numpy", "dtype", "b")),
    *(b"]", b"}", b")", b"(", b"N", b"\x88", b"\x89", b"K\1", b"M\0\x0c", b"J\xff\xff\xff\xff"),
    *(b"a", b"e", b"s", b"u", b"d", b"l", b"t", b"\x85", b"\x86", b"\x87", b"R", b"b", b"\x93"),
    *(b"q\0", b"q\1", b"h\0", b"h\1", b"\x94", b"r\xff\xff\xff\xff", b"j\xff\xff\xff\xff", b"0"),
    *(b"2", b"Q", b"\x81", b"\x82\1", b"\x97", b"I1\n", b"I01\n", b"L5L\n", b"S'a\\x00'\n"),
    *(b"Vb\\u0041\n", b"p7\n", b"g7\n", b"\x8a\2\1\1", b"\x8e" + b"\xff" * 8, b"."),
)


def cifar_program(rng: random.Random, folder: Path) -> Read:
    """Programs of random operations, some of them repeated very often."""
    parts = [rng.choice(PARTS) for _ in range(rng.choice((3, 10, 40)))]
    if rng.random() < 0.2:
        place = rng.randrange(len(parts))
        parts[place] *= 60_000 // len(parts[place])
    (folder / "data_batch_1").write_bytes(b"".join(parts) + b".")
    return lambda: load(folder)


# --- Pictures ------------------------------------------------------------------------------------

KINDS: dict[str, tuple[str, ...]] = {
    "png": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "jpg": ("L", "RGB", "CMYK"),
    "gif": ("L", "P", "RGB"),
    "tif": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "F", "I;16", "I;16B"),
    "bmp": ("1", "L", "P", "RGB", "RGBA"),
    "webp": ("RGB", "RGBA"),
    "ppm": ("1", "L", "RGB", "I;16"),
    "jp2": ("L", "RGB", "RGBA", "I;16"),
    "qoi": ("RGB", "RGBA"),
    "avif": ("RGB", "RGBA"),
}


@cache
def picture(kind: str, mode: str, variant: int) -> bytes:
    """A valid file; the variants have other sizes, compression, EXIF data and frames."""
    side = (17, 40)[variant % 2]
    drawn = np.random.default_rng(variant).integers(0, 256, (side, side + 3, 4), np.uint8)
    image = Image.fromarray(drawn)
    if mode.startswith("I;16"):
        image = Image.fromarray(drawn[..., 0].astype(np.uint16) * 257)
        image = image.convert(mode) if mode != "I;16" else image
    elif mode == "LAB":
        image = Image.merge("LAB", image.split()[:3])
    else:
        image = (
            image.convert("RGB").convert(mode)
            if mode not in ("RGBA", "LA")
            else image.convert(mode)
        )
    options: dict[str, Any] = {}
    if variant >= 2 and kind in ("png", "jpg", "tif", "webp", "avif"):
        exif = Image.Exif()
        exif[0x0112], exif[0x010E] = 6, "about"
        options["exif"] = exif
    if variant >= 2 and kind == "tif" and mode in ("L", "RGB", "RGBA"):
        options["compression"] = ("tiff_lzw", "tiff_adobe_deflate")[variant % 2]
    if variant == 3 and kind == "gif":
        options |= {
            "save_all": True,
            "append_images": [image.transpose(Image.Transpose.ROTATE_180)],
        }
    if variant == 3 and kind == "jpg":
        options["progressive"] = True
    file = io.BytesIO()
    image.save(
        file, {"jpg": "JPEG", "tif": "TIFF", "jp2": "JPEG2000"}.get(kind, kind.upper()), **options
    )
    return file.getvalue()


def pictures(rng: random.Random, folder: Path) -> Read:
    kinds = [kind for kind in KINDS if kind != "avif" or features.check("avif")]
    kind = rng.choice(kinds)
    data = picture(kind, rng.choice(KINDS[kind]), rng.randrange(4))
    other_kind = rng.choice((kind, kind, rng.choice(kinds)))
    other = picture(other_kind, rng.choice(KINDS[other_kind]), 0)
    name = "a." + rng.choice((kind, kind, kind, rng.choice(kinds)))
    (folder / name).write_bytes(mutated(rng, data, other, rng.choice((64, 400))))
    return lambda: load(folder, size=rng.choice((8, 64)))


# --- Folders -------------------------------------------------------------------------------------

NAMES = (
    b"train", b"test", b"val", b"a", b"b", b".hidden", b"caf\xe9", b"a\nb", b"\x1b[31m", b"x" * 200,
    b"0.png", b"a.PNG", b"b.jpg", b"c.txt", b"LICENSE", b"\xff.png", b"%s.ppm", b"data_batch_1",
    b"train-images-idx3-ubyte", b"train-labels-idx1-ubyte.gz", b"\xd7\x90", b"\xe2\x80\xae.gif",
)  # fmt: skip


def class_folders(rng: random.Random, folder: Path) -> Read:
    """Folders of any names at several depths, with files that are pictures, and others."""
    places = [bytes(folder)]
    for _ in range(rng.randrange(1, 12)):
        place = rng.choice(places[-2:]) + b"/" + rng.choice(NAMES)
        path = Path(place.decode("utf-8", "surrogateescape"))
        if path.exists() or path.is_symlink():
            continue
        kind = rng.random()
        if kind < 0.3:
            path.mkdir()
            places.append(place)
            continue
        if kind < 0.35:
            path.symlink_to(rng.choice(("nothing", ".", "..", str(folder), path.name)))
            continue
        content = picture(rng.choice(("png", "jpg", "ppm")), "RGB", 0)
        path.write_bytes(content if kind < 0.97 else rng.choice((b"", b"<html>", b"text")))
    return lambda: load(folder, size=8, split=rng.choice(("train", "train", "test")))


# --- Downloads -----------------------------------------------------------------------------------


class Answer:
    """What a mirror that does as it likes answers."""

    def __init__(self, rng: random.Random, start: int) -> None:
        self.status_code = rng.choice((200, 200, 206, 206, 404, 500, 301, 204))
        self.reason = rng.choice(("OK", "Not Found", "a\r\nb", "", "\x1b[31m"))
        size = len(IMAGES)
        content = rng.choice((IMAGES, IMAGES[start:], mutated(rng, IMAGES), b"", b"<html>"))
        self.headers = rng.choice(
            (
                {},
                {"Content-Length": str(rng.choice((size, size - start, 0, -1, 10**30)))},
                {"Content-Range": f"bytes {rng.choice((start, 0, -1))}-{size - 1}/{size}"},
                {"Content-Range": "bytes \x1b[31m", "Content-Length": "\x1b[31m"},
            )
        )
        self.raw, self.rng, self.content = self, rng, content

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def stream(self, amount: int, decode_content: bool) -> Iterator[bytes]:
        for place in range(0, len(self.content), 200):
            if self.rng.random() < 0.05:
                raise urllib3.exceptions.ProtocolError("the connection\r\nbroke")
            yield self.content[place : place + 200]
        while self.rng.random() < 0.9:
            yield bytes(self.rng.choice((0, 1, 1 << 16)))


class Session:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def get(self, url: str, headers: dict[str, str], **options: Any) -> Answer:
        if self.rng.random() < 0.1:
            raise self.rng.choice(
                (requests.Timeout, requests.ConnectionError, requests.TooManyRedirects)
            )("a\r\nb")
        told = headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-")
        start, answer = int(told), Answer(self.rng, int(told))
        if self.rng.random() < 0.3:  # an honest one, though its connection may break
            answer.status_code, answer.content = 206, IMAGES[start:]
            answer.headers = {"Content-Range": f"bytes {start}-"}
        return answer


def downloads(rng: random.Random, folder: Path) -> Read:
    """A file from mirrors that answer anything, beside a part that holds anything."""
    import hashlib

    told = rng.choice((IMAGES, IMAGES, LABELS))
    file = File("file", len(IMAGES), f"sha256:{hashlib.sha256(told).hexdigest()}")
    source = Source("some", ("http://one/", "http://two/"), (file,), ("a",), "free")
    if rng.random() < 0.5:
        (folder / "file.part").write_bytes(rng.choice((IMAGES[:300], mutated(rng, IMAGES))))
    if rng.random() < 0.2:
        (folder / "file").write_bytes(mutated(rng, IMAGES))

    def read() -> None:
        requests.Session = lambda: Session(rng)  # type: ignore[assignment, misc]
        download.fetch(source, folder)
        assert (folder / "file").read_bytes() == told, "a file of another hash was kept"

    return read


# --- The tests -----------------------------------------------------------------------------------

CASES: dict[Case, int] = {  # the number of inputs of the long test
    idx_folder: 5000,
    cifar_batch: 5000,
    cifar_program: 3000,
    pictures: 8000,
    class_folders: 2000,
    downloads: 1000,
}


def check(case: Case, count: int, seed: int) -> str:
    report = fuzz(case, count, seed=seed)
    assert not report.findings, str(report)
    # Both happen, or the inputs say nothing about the reader.
    assert report.refused > 0.1 * count, str(report)
    assert case is cifar_program or report.read > 0.03 * count, str(report)
    return str(report)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_some_mutated_inputs(case: Case) -> None:
    check(case, CASES[case] // 25, seed=0)


@pytest.mark.long
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_many_mutated_inputs(case: Case, record_property: Callable[[str, object], None]) -> None:
    record_property("found", check(case, CASES[case], seed=1))

"""Mutated files of NumPy, MATLAB and zip: each is read, or refused in one line, within limits (see
support/fuzz.py). The quick set tries some hundred of each kind, `pytest -m long` thousands.
"""

from __future__ import annotations

import io
import random
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from fuzz import Case, fuzz, mutated
from PIL import Image

from minigan.data import load

if not sys.platform.startswith("linux"):
    pytest.skip("the limits of the harness are those of Linux", allow_module_level=True)

Read = Callable[[], object]
X = np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), np.uint8)
Y = np.array([1, 10, 2, 1], np.uint8)


@cache
def arrays() -> list[bytes]:
    """Valid files of NumPy's."""
    found = []
    for x in (X[:, :, :9, :9], X[:, 0], X[..., :8] / 255, X.transpose(0, 2, 3, 1), X > 100):
        file = io.BytesIO()
        np.save(file, x)
        found.append(file.getvalue())
    for save in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        save(file, x=X[:, :, :8, :8], y=Y)
        found.append(file.getvalue())
        file = io.BytesIO()
        save(file, x_train=X[:, 0], x_test=X[:2, 0], y_train=np.array(list("abca")))
        found.append(file.getvalue())
    return found


def numpy_file(rng: random.Random, folder: Path) -> Read:
    whole, other = rng.choice(arrays()), rng.choice(arrays())
    head = rng.choice((64, 130, 300))
    data = mutated(rng, whole, other, head)
    if rng.random() < 0.4:  # the directory of an archive
        data = whole[:-300] + mutated(rng, whole[-300:], other, 300)
    (folder / "file").write_bytes(data)
    size, split = rng.choice((None, None, 5)), rng.choice(("train", "train", "train", "test"))
    return lambda: load(folder / "file", size=size, split=split)


def element(kind: int, content: bytes) -> bytes:
    if 0 < len(content) <= 4:
        return struct.pack("<I", len(content) << 16 | kind) + content.ljust(4, b"\0")
    return struct.pack("<2I", kind, len(content)) + content + bytes(-len(content) % 8)


@cache
def matrices() -> tuple[bytes, bytes]:
    found = []
    for name, array in (("X", X.transpose(2, 3, 1, 0)), ("y", Y[:, None])):
        shape = struct.pack(f"<{array.ndim}i", *array.shape)
        parts = (element(6, struct.pack("<2I", 9, 0)), element(5, shape), element(1, name.encode()))
        found.append(element(14, b"".join(parts) + element(2, array.tobytes(order="F"))))
    return found[0], found[1]


def svhn_file(rng: random.Random, folder: Path) -> Read:
    """An element is changed, before it is packed or after; or the header is."""
    content = b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM"
    if rng.random() < 0.05:
        content = mutated(rng, content)
    for part, other in zip(matrices(), reversed(matrices()), strict=True):
        data = mutated(rng, part, other, 80) if rng.random() < 0.4 else part
        if rng.random() < 0.6:
            packed = zlib.compress(data)
            data = struct.pack("<2I", 15, len(packed)) + packed
            data = mutated(rng, data, b"", 12) if rng.random() < 0.2 else data
        content += data
    (folder / "train_32x32.mat").write_bytes(content)
    return lambda: load(folder, size=rng.choice((None, 5)))


@cache
def archives() -> list[bytes]:
    pictures = []
    for x in X:
        file = io.BytesIO()
        Image.fromarray(x.transpose(1, 2, 0)).save(file, format="PNG")
        pictures.append(file.getvalue())
    found = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        for names in (("a/0.png", "a/1.png", "b/c/2.png"), ("0.png", "1.png"), ("train/0.png",)):
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w", method) as archive:
                for name, picture in zip(names, pictures, strict=False):
                    archive.writestr(name, picture)
            found.append(file.getvalue())
    return found


def zip_of_pictures(rng: random.Random, folder: Path) -> Read:
    whole, other = rng.choice(archives()), rng.choice(archives())
    data = mutated(rng, whole, other, 60)
    if rng.random() < 0.7:  # the directory
        data = whole[:-250] + mutated(rng, whole[-250:], other, 250)
    (folder / "file.zip").write_bytes(data)
    return lambda: load(folder / "file.zip", size=8)


CASES: dict[Case, int] = {numpy_file: 5000, svhn_file: 4000, zip_of_pictures: 4000}


def check(case: Case, count: int, seed: int) -> str:
    report = fuzz(case, count, seed=seed)
    assert not report.findings, str(report)
    # Both happen, or the inputs say nothing about the reader.
    assert report.refused > 0.1 * count, str(report)
    assert report.read > 0.03 * count, str(report)
    return str(report)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_some_mutated_inputs(case: Case) -> None:
    check(case, CASES[case] // 25, seed=0)


@pytest.mark.long
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_many_mutated_inputs(case: Case, record_property: Callable[[str, object], None]) -> None:
    record_property("found", check(case, CASES[case], seed=1))

"""Mutated files of weights: each is read, or refused in one line (see support/fuzz.py)."""

from __future__ import annotations

import io
import pickle
import random
import sys
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import pytorch_files as files
from fuzz import Case, fuzz, mutated

from minigan.weights import load, save

if not sys.platform.startswith("linux"):
    pytest.skip("the limits of the harness are those of Linux", allow_module_level=True)

Read = Callable[[], object]

ARRAYS = {
    "0.weight": np.asfortranarray(np.arange(24, dtype=np.float32).reshape(2, 12)),
    "0.bias": np.ones(3),
    "count": np.array(7),
    "half": np.ones((2, 2), np.float16),
    "flags": np.array([True, False]),
}


@cache
def programs() -> list[bytes]:
    tensors, _ = files.of_arrays(ARRAYS)
    return [
        files.state_dict({name: files.tensor(t, legacy=old) for name, t in tensors.items()})
        for old in (False, True)
    ]


def zipped(rng: random.Random, folder: Path) -> Read:
    """The zip is changed itself, or the program in it, or a storage."""
    _, values = files.of_arrays(ARRAYS)
    program, other = programs()
    kind = rng.random()
    if kind < 0.5:
        program = mutated(rng, program, other, len(program))
    elif kind < 0.6:
        key = rng.choice(list(values))
        values[key] = mutated(rng, values[key])
    elif kind < 0.65:
        values[rng.choice(("9", "../data.pkl", "0/0", "\0"))] = values.pop("0")
    data = files.zipped(program, values, order=rng.choice((b"little", b"big", None)))
    if kind > 0.65:
        data = mutated(rng, data, files.zip_of({"x": np.ones(2)}), 400)
    (folder / "a.pth").write_bytes(data)
    return lambda: load(folder / "a.pth")


def legacy(rng: random.Random, folder: Path) -> Read:
    data = files.legacy_of(ARRAYS)
    data = mutated(rng, data, files.legacy_of({"x": np.ones(2)}), rng.choice((200, 900)))
    (folder / "a.pt").write_bytes(data)
    return lambda: load(folder / "a.pt")


PARTS = (
    *(files.tensor(t) for t in files.of_arrays(ARRAYS)[0].values()),
    b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch._utils\n_rebuild_parameter\n",
    b"ccollections\nOrderedDict\n", b"ctorch\nSize\n", b"ctorch\nFloatStorage\n", b"(" * 3,
    b"cnumpy\ndtype\n(" + files.text("f4") + b"\x89\x88tR", b"ctorch\nload\n",
    *(files.text(name) for name in ("storage", "0", "1", "cpu", "x", "module")),
    *(files.number(n) for n in (0, 1, 2, 12, 24, -1, 2**62)), files.numbers((2, 12)),
    *(b"]", b"}", b")", b"(", b"N", b"\x88", b"G" + bytes(8), b"a", b"e", b"s", b"u", b"d", b"l"),
    *(b"t", b"\x85", b"\x86", b"\x87", b"R", b"b", b"Q", b"\x93", b"q\0", b"q\1", b"h\0", b"h\1"),
    *(b"\x94", b"0", b"2", b"\x81", b"r\xff\xff\xff\xff", b"."),
)  # fmt: skip


def program(rng: random.Random, folder: Path) -> Read:
    """Programs of random operations, some of them repeated very often."""
    parts = [rng.choice(PARTS) for _ in range(rng.choice((3, 10, 40)))]
    if rng.random() < 0.2:
        place = rng.randrange(len(parts))
        parts[place] *= 60_000 // len(parts[place])
    _, values = files.of_arrays(ARRAYS)
    data = b"}" + files.text("y") + files.tensor(files.of_arrays(ARRAYS)[0]["count"])
    data = b"".join(parts) + rng.choice((b".", b"0.", data + b"s."))
    (folder / "a.bin").write_bytes(files.zipped(data, values))
    return lambda: load(folder / "a.bin")


def plain_pickle(rng: random.Random, folder: Path) -> Read:
    data = pickle.dumps({name: np.array(a) for name, a in ARRAYS.items()}, rng.randrange(6))
    (folder / "a.pkl").write_bytes(mutated(rng, data, programs()[0], len(data)))
    return lambda: load(folder / "a.pkl")


def npz(rng: random.Random, folder: Path) -> Read:
    """The archive is changed itself, or an array in it; packed or not."""
    file = io.BytesIO()
    pack = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(file, "w", pack) as archive:
        for name, array in ARRAYS.items():
            one = io.BytesIO()
            np.save(one, array)
            content = one.getvalue()
            if rng.random() < 0.2:
                content = mutated(rng, content, b"", 128)
            archive.writestr(f"{name}.npy", content)
    data = file.getvalue()
    if rng.random() < 0.4:
        data = mutated(rng, data, b"", 200)
    (folder / "a.npz").write_bytes(data)
    return lambda: load(folder / "a.npz")


def safetensors(rng: random.Random, folder: Path) -> Read:
    """Files with and without the facts of ours."""
    from safetensors.numpy import save as serialize

    path = folder / "a.safetensors"
    arrays = {name: np.array(a, order="C") for name, a in ARRAYS.items()}
    if rng.random() < 0.5:
        save(arrays, path)
    else:
        path.write_bytes(serialize(arrays))
    data = path.read_bytes()
    if rng.random() < 0.3:
        data = data.replace(b'"F16"', rng.choice((b'"BF16"', b'"I16"', b'"F8_E4M3"', b'"U16"')))
    head = 8 + int.from_bytes(data[:8], "little")
    if rng.random() < 0.3:
        path.write_bytes(data[:head] + rng.randbytes(len(data) - head))
    else:
        path.write_bytes(mutated(rng, data, b"", head))
    return lambda: load(path)


CASES: list[Case] = [zipped, legacy, program, plain_pickle, npz, safetensors]


def check(case: Case, count: int, seed: int) -> str:
    report = fuzz(case, count, seed=seed)
    assert not report.findings, str(report)
    # Both happen, or the inputs say nothing about the reader.
    assert report.refused > 0.1 * count, str(report)
    assert case is program or report.read > 0.02 * count, str(report)
    return str(report)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_some_mutated_files(case: Case) -> None:
    check(case, 200, seed=0)


@pytest.mark.long
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_many_mutated_files(case: Case, record_property: Callable[[str, object], None]) -> None:
    record_property("found", check(case, 4000, seed=1))

"""Saving weights and loading them: which formats, which suffixes, and what is refused."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from minigan import Generator, Tensor, nn, weights
from minigan.errors import UserError


def net(seed: int = 0) -> nn.Module:
    rng = Generator(seed)
    return nn.Sequential(nn.Linear(3, 4, rng=rng), nn.BatchNorm1d(4), nn.Linear(4, 1, rng=rng))


SUFFIXES = ["safetensors", "npz", "SAFETENSORS"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_network_comes_back(tmp_path: Path, suffix: str) -> None:
    one, other, path = net(), net(seed=1), tmp_path / f"net.{suffix}"
    weights.save(one, path)
    assert other.load_state_dict(weights.load(path)) == ([], [])
    for name, array in one.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name], array, strict=True)
    first = path.read_bytes()
    weights.save(one.state_dict(), str(path))  # replaces it, with the same bytes
    assert path.read_bytes() == first
    weights.save(path, one)  # the other order
    assert path.read_bytes() == first
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


ODD: dict[str, Any] = {
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "every other": np.arange(10, dtype=np.int16)[::2],
    "big-endian": np.arange(3, dtype=">i4"),
    "tensor": Tensor([[1.0, 2.0]]),
    "number": 3,
    "truth": True,
    "half": np.array([1.5, 65504], np.float16),
    "empty": np.zeros((0, 2)),
    "a/b\nc'é": np.ones(1),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_arrays_of_any_form(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"odd.{suffix}"
    weights.save(ODD, path)
    found = weights.load(path)
    assert set(found) == set(ODD)
    for name, value in ODD.items():
        array = value.numpy() if isinstance(value, Tensor) else np.asarray(value)
        np.testing.assert_array_equal(found[name], array)
        assert found[name].shape == array.shape
        dtype = np.dtype(np.float32) if name == "half" else array.dtype.newbyteorder("=")
        assert found[name].dtype == dtype
        assert found[name].flags.c_contiguous
        assert found[name].flags.writeable
        assert found[name].dtype.isnative


def test_other_libraries_read_them(tmp_path: Path) -> None:
    weights.save(net(), tmp_path / "a.safetensors")
    weights.save(net(), tmp_path / "a.npz")
    wanted = net().state_dict()
    with np.load(tmp_path / "a.npz") as theirs:
        for found in (safetensors.numpy.load_file(tmp_path / "a.safetensors"), dict(theirs)):
            assert set(found) == set(wanted)
            for name, array in wanted.items():
                np.testing.assert_array_equal(found[name], array, strict=True)


def test_facts_go_into_the_metadata(tmp_path: Path) -> None:
    weights.save(net(), tmp_path / "a.safetensors", facts={"recipe": "dcgan"})
    arrays, facts = weights.read(tmp_path / "a.safetensors")
    assert facts["recipe"] == "dcgan"
    assert set(arrays) == set(net().state_dict())


def test_what_safetensors_itself_writes_of_a_weight(tmp_path: Path) -> None:
    """It takes C order for granted, so a state is in C order, and `save` sees to it."""
    weight = nn.Linear(3, 4, rng=Generator(0)).weight
    assert not weight.numpy().flags.c_contiguous
    weights.save({"w": weight}, tmp_path / "a.safetensors")
    safetensors.numpy.save_file(
        {"w": nn.Linear(3, 4, rng=Generator(0)).state_dict()["weight"]}, tmp_path / "b.safetensors"
    )
    for name in ("a.safetensors", "b.safetensors"):
        np.testing.assert_array_equal(weights.load(tmp_path / name)["w"], weight.numpy())


def foreign(header: str, content: bytes) -> bytes:
    text = header.encode()
    return struct.pack("<Q", len(text)) + text + content


def test_safetensors_from_elsewhere(tmp_path: Path) -> None:
    wide = np.array([1.5, -2.0, np.inf], np.float32)
    bits = (wide.view(np.uint32) >> 16).astype("<u2").tobytes()
    header = (
        '{"b":{"dtype":"BF16","shape":[3,1],"data_offsets":[0,6]},'
        '"h":{"dtype":"F16","shape":[],"data_offsets":[6,8]},'
        '"t":{"dtype":"BOOL","shape":[2],"data_offsets":[8,10]},'
        '"__metadata__":{"format":"pt"}}'
    )
    content = bits + np.float16(0.5).tobytes() + bytes([0, 2])
    path = tmp_path / "a.safetensors"
    path.write_bytes(foreign(header, content))
    found = weights.load(path)
    np.testing.assert_array_equal(found["b"], wide[:, None], strict=True)
    np.testing.assert_array_equal(found["h"], np.array(0.5, np.float32), strict=True)
    np.testing.assert_array_equal(found["t"], [False, True], strict=True)
    assert all(array.flags.writeable for array in found.values())
    fewer = '{"x":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}}'
    path.write_bytes(foreign(fewer, bytes(2)))
    with pytest.raises(UserError, match=r"x in .* is of F8_E4M3, and minigan reads F64"):
        weights.load(path)


def test_a_changed_bit_of_ours_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    weights.save(net(), path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="its checksum does not match"):
        weights.load(path)


REFUSED: dict[str, tuple[Callable[[Path], object], type[Exception], str]] = {
    "pth": (
        lambda p: weights.save(net(), p / "a.pth"),
        UserError,
        r"be a \.pth file.*a.safetensors",
    ),
    "no suffix": (lambda p: weights.save(net(), p / "a"), UserError, "without a suffix"),
    "a number": (lambda p: weights.save(3, p / "a.npz"), TypeError, "by name are saved, not a int"),
    "a list": (lambda p: weights.save([net()], p / "a.npz"), TypeError, "not a list"),
    "two modules": (lambda p: weights.save({"G": net()}, p / "a.npz"), TypeError, "G is a Sequ"),
    "a text": (lambda p: weights.save({"x": "y"}, p / "a.npz"), TypeError, "x is a str, and"),
    "objects": (lambda p: weights.save({"x": [None]}, p / "a.npz"), TypeError, "x is a list, and"),
    "complex": (lambda p: weights.save({"x": 1j}, p / "a.npz"), TypeError, "x is a complex"),
    "a name": (lambda p: weights.save({3: 1}, p / "a.npz"), TypeError, "text, not 3"),
    "two paths": (lambda p: weights.save("b.npz", p / "a.npz"), TypeError, "not a str"),
    "a stream": (lambda p: weights.save(net(), io.BytesIO()), TypeError, "not in a BytesIO"),
    "no folder": (lambda p: weights.save(net(), p / "no" / "a.npz"), OSError, "No such file"),
    "a folder": (
        lambda p: weights.save(net(), (p / "f.npz").mkdir() or p / "f.npz"),
        OSError,
        "is a",
    ),
    "no file": (lambda p: weights.load(p / "a.safetensors"), UserError, "there is no file"),
    "no npz": (lambda p: weights.load(p / "a.npz"), UserError, "there is no file"),
    "no pth": (lambda p: weights.load(p / "a.pth"), UserError, "there is no file"),
    "unknown": (
        lambda p: weights.load(p / "a.h5"),
        UserError,
        r"none of the suffixes \.safetensors",
    ),
    "a run": (lambda p: weights.load(p), UserError, "is a folder; minigan export .* writes"),
    "no path": (lambda p: weights.load(3), TypeError, r'mg\.load\("net\.safetensors"\)'),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(tmp_path: Path, name: str) -> None:
    call, kind, words = REFUSED[name]
    with pytest.raises(kind, match=words):
        call(tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


HOSTILE: dict[str, tuple[str, bytes, str]] = {
    "empty": ("a.safetensors", b"", "empty; fetch it again"),
    "a pointer": ("a.npz", b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
    "no zip": ("a.npz", b"what", "damaged"),
    "no header": ("a.safetensors", bytes(20), "damaged"),
    "absurd header": ("a.safetensors", b"\xff" * 40, "damaged"),
}


@pytest.mark.parametrize(("file", "content", "words"), HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_such_file(tmp_path: Path, file: str, content: bytes, words: str) -> None:
    (tmp_path / file).write_bytes(content)
    with pytest.raises(UserError, match=words) as caught:
        weights.load(tmp_path / file)
    assert str(caught.value).isprintable()


def header(descr: str, shape: str) -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text


NPY: dict[str, tuple[bytes, str]] = {
    "objects": (header("'|O'", "(1,)") + bytes(8), "an array of object"),
    "text": (header("'<U9'", "(1,)") + bytes(36), "an array of <U9"),
    "fields": (header("[('a', '<f4')]", "(1,)") + bytes(4), "an array of"),
    "too long": (header("'<f4'", "(9999999999999,)") + bytes(8), "larger than its entry"),
    "too short": (header("'<f4'", "(1,)") + bytes(8), "another size than its shape"),
    "negative": (header("'<f4'", "(-1, -2)") + bytes(8), "shape that is none"),
    "no header": (b"\x93NUMPY\1\0\xff\xff", "damaged"),
    "a version": (b"\x93NUMPY\3\0\0\0\0\0", "of a version"),
}


@pytest.mark.parametrize("name", NPY)
@pytest.mark.parametrize("pack", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_hostile_arrays_in_an_npz(tmp_path: Path, name: str, pack: int) -> None:
    content, words = NPY[name]
    with zipfile.ZipFile(tmp_path / "a.npz", "w", pack) as archive:
        archive.writestr("x.npy", content)
    with pytest.raises(UserError, match=words) as caught:
        weights.load(tmp_path / "a.npz")
    assert str(caught.value).isprintable()


def test_a_packed_npz_is_read(tmp_path: Path) -> None:
    arrays = {"x": np.zeros((100, 100), np.float32), "y": np.asfortranarray(np.ones((2, 3)))}
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    for name, array in weights.load(tmp_path / "a.npz").items():
        np.testing.assert_array_equal(array, arrays[name], strict=True)


def test_a_link_is_followed_and_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, link = tmp_path / "a.safetensors", tmp_path / "link.safetensors"
    weights.save(net(), path)
    link.symlink_to(path)
    weights.save(net(seed=1), link)
    assert link.is_symlink()
    before = path.read_bytes()

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        weights.save(net(seed=2), path)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2

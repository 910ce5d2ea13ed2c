"""Files of PyTorch written byte by byte, valid and hostile, without PyTorch."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

MAGIC = b"\x80\x02\x8a\x0a" + (0x1950A86A20F9469CFC6C).to_bytes(10, "little") + b"."
SECOND = b"\x80\x02M\xe9\x03."  # 1001
CODES = {
    "Float": "<f4", "Double": "<f8", "Half": "<f2", "Long": "<i8", "Int": "<i4", "Short": "<i2",
    "Char": "i1", "Byte": "u1", "Bool": "?", "BFloat16": "<u2",
}  # fmt: skip
KINDS = {np.dtype(code): kind for kind, code in CODES.items()}


class Saved(NamedTuple):
    """A tensor as a file has it: a view of the storage `key`."""

    key: str
    kind: str
    numel: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    view: tuple[int, int] | None = None  # of the storage, in the older layout


def text(value: str) -> bytes:
    encoded = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def number(value: int) -> bytes:
    if 0 <= value < 256:
        return b"K" + bytes([value])
    return b"\x8a\x08" + value.to_bytes(8, "little", signed=True)


def numbers(values: Iterable[int]) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def tensor(saved: Saved, *, legacy: bool = False) -> bytes:
    """The operations that rebuild a tensor."""
    storage = b"(" + text("storage") + f"ctorch\n{saved.kind}Storage\n".encode()
    storage += text(saved.key) + text("cpu") + number(saved.numel)
    if legacy:
        view = b"N"
        if saved.view is not None:
            view = b"(" + text("view") + b"".join(map(number, saved.view)) + b"t"
        storage += view
    made = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"tQ" + number(saved.offset)
    made += numbers(saved.shape) + numbers(saved.strides)
    return made + b"\x89ccollections\nOrderedDict\n)RtR"


def state_dict(tensors: Mapping[str, bytes]) -> bytes:
    """A whole program: an OrderedDict with the attribute that PyTorch gives it."""
    items = b"".join(text(name) + made for name, made in tensors.items())
    head = b"\x80\x02ccollections\nOrderedDict\n)Rq\x00(" + items + b"u"
    return head + b"}" + text("_metadata") + b"ccollections\nOrderedDict\n)Rsb."


def of_arrays(
    arrays: Mapping[str, np.ndarray],
) -> tuple[dict[str, Saved], dict[str, bytes]]:
    """Each array as a tensor with a storage of its own, and the values of these."""
    tensors, values = {}, {}
    for position, (name, array) in enumerate(arrays.items()):
        key, strides = str(position), [step // array.itemsize for step in array.strides]
        kind = KINDS[array.dtype]
        tensors[name] = Saved(key, kind, array.size, 0, array.shape, tuple(strides))
        values[key] = array.tobytes("A")
    return tensors, values


def zipped(
    program: bytes,
    values: Mapping[str, bytes],
    *,
    root: str = "archive",
    order: bytes | None = b"little",
    extra: Sequence[tuple[str, bytes]] = (),
    compression: int = zipfile.ZIP_STORED,
) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr(f"{root}/data.pkl", program)
        if order is not None:
            archive.writestr(f"{root}/byteorder", order)
        for key, content in values.items():
            archive.writestr(f"{root}/data/{key}", content)
        archive.writestr(f"{root}/version", b"3\n")
        for name, content in extra:
            archive.writestr(name, content)
    return file.getvalue()


def zip_of(arrays: Mapping[str, np.ndarray]) -> bytes:
    """What `torch.save` writes of a state dict."""
    tensors, values = of_arrays(arrays)
    return zipped(state_dict({name: tensor(t) for name, t in tensors.items()}), values)


def legacy(
    program: bytes,
    values: Mapping[str, tuple[int, bytes]],
    *,
    little: bytes = b"\x88",
    keys: Sequence[str] | None = None,
) -> bytes:
    """The older layout; `values` are counts and contents by key."""
    system = b"\x80\x02}" + text("little_endian") + little + b"s."
    names = b"\x80\x02](" + b"".join(map(text, values if keys is None else keys)) + b"e."
    rest = b"".join(struct.pack("<q", count) + content for count, content in values.values())
    return MAGIC + SECOND + system + program + names + rest


def legacy_of(arrays: Mapping[str, np.ndarray]) -> bytes:
    """What `torch.save(..., _use_new_zipfile_serialization=False)` writes of a state dict."""
    tensors, values = of_arrays(arrays)
    counted = {t.key: (t.numel, values[t.key]) for t in tensors.values()}
    made = {name: tensor(t, legacy=True) for name, t in tensors.items()}
    return legacy(state_dict(made), counted)


# What tests write and read again.
_RNG = np.random.default_rng(0)
ARRAYS: dict[str, np.ndarray] = {
    "0.weight": _RNG.standard_normal((2, 3, 4, 4), np.float32),
    "0.bias": _RNG.standard_normal(3),
    "transposed": np.asfortranarray(_RNG.standard_normal((4, 5)).astype(np.float32)),
    "half": _RNG.standard_normal(5).astype(np.float16),
    "1.num_batches_tracked": np.array(2**40),
    "int": np.array([-(2**31), 7], np.int32),
    "short": np.array([-5, 6], np.int16),
    "char": np.array([[-5], [6]], np.int8),
    "byte": np.arange(6, dtype=np.uint8).reshape(3, 1, 2),
    "bool": np.array([True, False]),
    "empty": np.zeros((0, 3), np.float32),
    "café": np.ones(1, np.float32),
}
LAYOUTS: dict[str, Callable[[dict[str, np.ndarray]], bytes]] = {
    "zip": zip_of,
    "legacy": legacy_of,
}


def same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert list(found) == list(wanted)
    for name, array in wanted.items():
        widened = array.astype(np.float32) if array.dtype == np.float16 else array
        np.testing.assert_array_equal(found[name], widened, strict=True)
        assert found[name].flags.c_contiguous
        assert found[name].flags.writeable

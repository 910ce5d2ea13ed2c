"""Pickles of CIFAR-10: all that Python and NumPy write is read, and no program is obeyed."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minigan.data import cifar, cifar_pickle, load
from minigan.errors import UserError

DATA = np.random.default_rng(0).integers(0, 256, (3, 3072), np.uint8)
DATA[0, :6] = np.frombuffer(b"\n\\'\0\xff\"", np.uint8)  # what a text would have to escape
LABELS = [9, 0, 4]


def batch(data: np.ndarray = DATA) -> dict[Any, Any]:
    return {
        b"batch_label": b"training batch 1 of 5",
        b"labels": LABELS,
        b"data": data,
        b"filenames": [b"a_s_01.png", b"caf\xc3\xa9.png", b""],
        b"extra": (1, 2**40, None, (), [True, -70000]),
    }


def check(folder: Path, program: bytes) -> None:
    (folder / "data_batch_1").write_bytes(program)
    found = load(folder)
    np.testing.assert_array_equal(found.x, DATA.reshape(3, 3, 32, 32))
    assert found.y is not None
    assert found.y.tolist() == LABELS


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("layout", ["C", "F", "read-only", "strided"])
def test_all_protocols_and_layouts_are_read(tmp_path: Path, protocol: int, layout: str) -> None:
    data = {
        "C": DATA,
        "F": np.asfortranarray(DATA),
        "read-only": np.frombuffer(DATA.tobytes(), np.uint8).reshape(DATA.shape),
        "strided": np.repeat(DATA, 2, axis=1)[:, ::2],
    }[layout]
    check(tmp_path, pickle.dumps(batch(data), protocol))


@pytest.mark.parametrize("protocol", range(6))
def test_keys_may_be_text(tmp_path: Path, protocol: int) -> None:
    """As of a file of Python 2 that was loaded with encoding="latin1" and saved again."""
    again = {key.decode(): value for key, value in batch().items()}
    check(tmp_path, pickle.dumps(again, protocol))
    meta = {"label_names": [f"name {i}" for i in range(10)]}
    (tmp_path / "batches.meta").write_bytes(pickle.dumps(meta, protocol))
    assert load(tmp_path).classes[3] == "name 3"


@pytest.mark.parametrize("protocol", range(6))
def test_the_names_of_numpy_1_are_known(tmp_path: Path, protocol: int) -> None:
    program = pickle.dumps(batch(), protocol)
    old = program
    for part in (b"multiarray", b"numeric"):
        old = old.replace(b"cnumpy._core." + part, b"cnumpy.core." + part)
        length = bytes([len(b"numpy._core." + part)])
        shorter = bytes([len(b"numpy.core." + part)])
        old = old.replace(
            b"\x8c" + length + b"numpy._core." + part, b"\x8c" + shorter + b"numpy.core." + part
        )
    assert old != program
    check(tmp_path, old)


def python2(protocol: int) -> bytes:
    """A batch as Python 2 writes it, byte by byte: bytes are texts, and integers may be long."""
    raw = DATA.tobytes()

    def text(value: bytes) -> bytes:
        if protocol == 0:
            return b"S" + repr(value)[1:].encode() + b"\n"
        if len(value) < 256:
            return b"U" + bytes([len(value)]) + value
        return b"T" + struct.pack("<I", len(value)) + value

    def number(value: int) -> bytes:
        if protocol == 0:
            return b"I%d\n" % value
        return b"K" + bytes([value]) if 0 <= value < 256 else b"J" + struct.pack("<i", value)

    shape = b"(L3L\n" + number(3072) + b"t" if protocol == 0 else b"(" + number(3) + b"M\0\x0ct"
    boolean = {0: b"I00\n", 1: b"I00\n", 2: b"\x89"}[protocol]
    array = b"cnumpy.core.multiarray\n_reconstruct\np1\n(cnumpy\nndarray\np2\n"
    array += b"(" + number(0) + b"t" + text(b"b") + b"tR"
    kind = b"(cnumpy\ndtype\n(" + text(b"u1") + number(0) + number(1) + b"tR"
    kind += b"(" + number(3) + text(b"|") + b"NNN" + number(-1) * 2 + number(0) + b"tb"
    array += b"(" + number(1) + shape + kind[1:] + boolean + text(raw) + b"tb"
    labels = b"(l" + b"".join(number(k) + b"a" for k in LABELS)
    if protocol:
        labels = b"]q\1(" + b"".join(number(k) for k in LABELS) + b"e"
    head = b"(d" if protocol == 0 else b"}"
    start = b"\x80\2" if protocol == 2 else b""
    items = text(b"labels") + labels + b"s" + text(b"data") + array + b"s"
    return start + head + items + text(b"name") + text(b'it\'s "one"\n') + b"s."


@pytest.mark.parametrize("protocol", range(3))
def test_what_python_2_writes_is_read(tmp_path: Path, protocol: int) -> None:
    program = python2(protocol)
    assert pickle.loads(program, encoding="bytes")[b"labels"] == LABELS
    check(tmp_path, program)


# --- hostile programs --------------------------------------------------------------------------


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


U1 = b"cnumpy\ndtype\n(" + text("u1") + b"\x89\x88tR"
EMPTY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\0tC\1btR"
FROM = b"cnumpy.core.numeric\n_frombuffer\n"
VOID = b"cnumpy\ndtype\n(" + text("V8") + b"tR"
PIXELS = b"B" + struct.pack("<I", 3072) + bytes(3072)
BOMB = b"cnumpy\ndtype\n(" + text("U3") + b"K\1K\1tR"
ENCODE = b"c_codecs\nencode\n" + text("a" * 1000) + b"q\0" + text("latin1") + b"q\1\x86R0"

HOSTILE = {
    "a function": (b"cposix\nsystem\n(" + text("true") + b"tR.", "call 'posix.system'"),
    "a function by its stack": (text("os") + text("system") + b"\x93.", "call 'os.system'"),
    "eval": (b"cbuiltins\neval\n.", "call 'builtins.eval'"),
    "an array's constructor": (b"cnumpy\nndarray\n(K\5tR.", "calls ndarray in a way"),
    "control codes": (b"c\x1b[31mred\nx\n.", r"x1b\[31mred.x'"),
    "a line of two": (b"c" + b"a" * 500 + b"\r\nx\n.", "aaaa'"),
    "an instance": (b"(iposix\nsystem\n.", "operation 0x69"),
    "an object": (b"(cnumpy\ndtype\no.", "operation 0x6f"),
    "a new object": (b"cnumpy\ndtype\n)\x81.", "operation 0x81"),
    "a persistent id": (b"K\1Q.", "operation 0x51"),
    "a persistent id as text": (b"Pabc\n.", "operation 0x50"),
    "an extension": (b"\x82\1.", "operation 0x82"),
    "a buffer from elsewhere": (b"\x97.", "operation 0x97"),
    "a set": (b"\x8f.", "operation 0x8f"),
    "a copy of the top": (b"]2.", "operation 0x32"),
    "bytes of an absurd length": (b"\x8e" + b"\xff" * 8 + b"a.", "operation 0x8e"),
    "a buffer of an absurd length": (b"\x96" + b"\xff" * 8 + b"a.", "ends too early"),
    "a text of an absurd length": (b"X\xff\xff\xff\xffa.", "ends too early"),
    "a long integer": (b"\x8a\xff" + b"\1" * 255 + b".", "more than 8 bytes"),
    "many digits": (b"I" + b"9" * 100_000 + b"\n.", "more than 20 digits"),
    "many long digits": (b"L" + b"9" * 5000 + b"L\n.", "more than 20 digits"),
    "no digits": (b"Ione\n.", "invalid literal"),
    "a far place of the memo": (b"Nr\xff\xff\xff\xff.", "holds a NoneType"),
    "a place that nobody filled": (b"h\1.", "do not fit"),
    "an empty stack": (b".", "stack is too short"),
    "a mark on the top": (b"(.", "stack is too short"),
    "a mark in a tuple": (b"K\1(\x86.", "stack is too short"),
    "no mark": (b"K\1t.", "do not fit"),
    "an unknown escape": (b"S'\\d'\n.", "do not fit"),
    "half an escape": (b"S'\\x1'\n.", "escape"),
    "no quotes": (b"Sabc\n.", "without quotes"),
    "a list as a key": (b"}]K\1s.", "no text"),
    "a tuple as a key": (b"}" + b")" + b"\x85" * 100_000 + b"Ns.", "no text"),
    "items of a list": (b"]K\1K\2s.", "no dictionary"),
    "a key without a value": (b"(K\1d.", "no dictionary"),
    "an append to a tuple": (b")K\1a.", "no list"),
    "an append to an array": (EMPTY + b"K\1a.", "no list"),
    "a call of a text": (text("f") + b")R.", "cannot be called"),
    "a state for a name": (b"cnumpy\ndtype\n}b.", "what has none in a batch"),
    "a state for a list": (b"]}b.", "what has none in a batch"),
    "a type with fields": (VOID, "another type than uint8"),
    "a type of texts": (BOMB, "another type than uint8"),
    "a state with fields": (
        U1 + b"(K\3" + text("|") + b"N(" + text("f") + b"t}K\xffK\xffK\0tb.",
        "no array of uint8",
    ),
    "a state of another size": (
        EMPTY + b"(K\1(K\2M\0\x0ct" + U1 + b"\x89" + PIXELS + b"tb.",
        "n rows",
    ),
    "fewer columns": (EMPTY + b"(K\1(K\x02M\0\x06t" + U1 + b"\x89" + PIXELS + b"tb.", "n rows"),
    "a negative size": (
        EMPTY + b"(K\1(J\xff\xff\xff\xffM\0\x0ct" + U1 + b"\x89" + PIXELS + b"tb.",
        "n rows",
    ),
    "one axis": (EMPTY + b"(K\1(M\0\x0ct" + U1 + b"\x89" + PIXELS + b"tb.", "n rows"),
    "values of a list": (EMPTY + b"(K\1(K\1M\0\x0ct" + U1 + b"\x89]tb.", "no array of uint8"),
    "a buffer of another size": (
        FROM + b"(" + PIXELS + U1 + b"K\5M\0\x0c\x86" + text("C") + b"tR.",
        "n rows",
    ),
    "a buffer in no order": (
        FROM + b"(" + PIXELS + U1 + b"K\1M\0\x0c\x86" + text("A") + b"tR.",
        "calls from_buffer",
    ),
    "another encoding": (
        b"c_codecs\nencode\n" + text("a") + text("rot13") + b"\x86R.",
        "calls encode",
    ),
    "an encoding again and again": (
        b"c_codecs\nencode\nq\2]h\2" + text("a" * 1000) + b"q\0" + text("latin1") + b"q\1\x86Ra"
        + b"h\2h\0h\1\x86Ra" * 500 + b".",
        "again and again",
    ),
    "nothing": (b"", "is not a batch of CIFAR-10 but empty"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
    "a page": (b" <!DOCTYPE HTML><html>", "a page in HTML"),
    "an archive": (b"PK\3\4" + bytes(100), "a zip archive"),
    "a dictionary without images": (b"}.", "lacks uint8 data"),
    "an empty array": (b"}" + text("data") + EMPTY + b"s.", "lacks uint8 data"),
    "no dictionary": (b"K\1.", "holds a int"),
}  # fmt: skip


@pytest.mark.parametrize(("program", "words"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_program_is_refused_in_one_line(
    tmp_path: Path, program: bytes, words: str
) -> None:
    path = tmp_path / "data_batch_1"
    path.write_bytes(program)
    with pytest.raises(UserError, match=words) as refusal:
        load(tmp_path)
    assert str(refusal.value).isprintable()
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize("code", [b"]", b"(", b"Nq\0"])
def test_a_program_ends_however_long_it_is(code: bytes) -> None:
    with pytest.raises(ValueError, match="more than 1,000,000 operations"):
        cifar_pickle.load(code * 1_100_000)


def test_deep_nesting_is_built_and_freed() -> None:
    assert isinstance(cifar_pickle.load(b"]" * 200_000 + b"a" * 199_999 + b"."), list)
    assert isinstance(cifar_pickle.load(b")" + b"\x85" * 400_000 + b"."), tuple)


def test_a_file_is_limited_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "data_batch_1"
    with open(path, "wb") as file:
        file.truncate(cifar._LARGEST + 1)  # a hole
    with pytest.raises(UserError, match=r"268,435,457 bytes, more than 268,435,456"):
        load(tmp_path)


@pytest.mark.parametrize(
    "labels", [[0, 1], [0, 1, 10], [0, 1, -1], [0, 1, True], [0, 1, 1.0], (0, 1, 2), [0, 1, 2**70]]
)
def test_labels_are_numbers_of_classes(tmp_path: Path, labels: Any) -> None:
    program = pickle.dumps({b"data": DATA, b"labels": labels})
    (tmp_path / "data_batch_1").write_bytes(program)
    with pytest.raises(UserError, match=r"label|damaged"):
        load(tmp_path)


def test_a_class_name_is_text(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(batch()))
    names = [b"caf\xe9", "\ud800", *(str(i) for i in range(8))]
    (tmp_path / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    assert load(tmp_path).classes[:2] == ("caf\\xe9", r"\xed\xa0\x80")


def test_no_name_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    programs = [pickle.dumps(LABELS), pickle.dumps(DATA, 2)]

    def fail(*args: object) -> None:
        raise AssertionError("Python's or NumPy's own reader was called")

    monkeypatch.setattr(np._core.multiarray, "_reconstruct", fail)
    monkeypatch.setattr(pickle, "Unpickler", fail)
    assert cifar_pickle.load(programs[0]) == LABELS
    array = cifar_pickle.load(programs[1]).array
    np.testing.assert_array_equal(array, DATA)

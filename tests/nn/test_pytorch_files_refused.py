"""PyTorch's files that are damaged, hostile or of another kind: refused in one line, never run."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_files as files
from pytorch_files import ARRAYS, LAYOUTS, Saved, same

import minigan.weights.pytorch as reader
from minigan.errors import UserError
from minigan.weights import load

ONE = Saved("0", "Float", 4, 0, (2, 2), (2, 1))
FOUR = {"0": np.arange(4, dtype=np.float32).tobytes()}


def spoilt(**changes: Any) -> bytes:
    saved = ONE._replace(**changes)
    return files.zipped(files.state_dict({"x": files.tensor(saved)}), FOUR)


def program(operations: bytes) -> bytes:
    return files.zipped(b"\x80\x02" + operations, FOUR)


WHOLE = files.state_dict({"x": files.tensor(ONE)})
OLD = files.state_dict({"x": files.tensor(ONE, legacy=True)})
LEGACY = files.legacy(OLD, {"0": (4, FOUR["0"])})
X = files.text("x")
MANY = b"ctorch\nFloatStorage\n"
TREE = b"]q\0" + b"(h\0h\0lq\0" * 60  # 2 ** 60 values in 300 bytes
BIG = 2**62

HOSTILE: dict[str, tuple[bytes, str]] = {
    # calls
    "a function": (
        program(b"cposix\nsystem\n(" + files.text("true") + b"tR."),
        "needs posix.system",
    ),
    "eval": (program(b"cbuiltins\neval\n."), "needs builtins.eval, and no code"),
    "a network": (program(b"ctorch.nn.modules.linear\nLinear\n)\x81."), "needs torch.nn.modules"),
    "a stack name": (
        program(files.text("os") + files.text("system") + b"\x93."),
        "needs os.system",
    ),
    "a source": (program(b"(" + files.text("module") + X + b"tQ."), "needs a module's source"),
    "a loader": (program(b"ctorch.storage\n_load_from_bytes\n."), "needs torch.storage"),
    "a new object": (program(b"ccollections\nOrderedDict\n)\x81."), "operation 0x81"),
    "an instance": (program(b"(icollections\nOrderedDict\n."), "operation 0x69"),
    "a storage called": (program(MANY + b")R."), "cannot be called"),
    "a tensor called": (program(b"ctorch._utils\n_rebuild_tensor_v2\n)R."), "tensor in a way"),
    "a state of a list": (program(b"]}b."), "what has none"),
    "an identity": (program(b"K\1Q."), "no storage's"),
    "control codes": (program(b"c\x1b[31m\nx\n."), "needs"),
    # tensors
    "a large shape": (spoilt(shape=(2, 3)), "is not within"),
    "an absurd shape": (spoilt(shape=(BIG, BIG)), "is not within"),
    "an expanded shape outside": (spoilt(shape=(9, 2), strides=(0, 4)), "is not within"),
    "a large stride": (spoilt(strides=(3, 1)), "is not within"),
    "an absurd stride": (spoilt(strides=(BIG, 1)), "is not within"),
    "an offset": (spoilt(offset=1), "is not within"),
    "an absurd offset": (spoilt(offset=BIG), "is not within"),
    "a negative offset": (spoilt(offset=-1), "are none"),
    "a negative stride": (spoilt(strides=(-1, 1)), "are none"),
    "a negative shape": (spoilt(shape=(-2, 2)), "are none"),
    "an offset of nothing": (spoilt(shape=(0,), strides=(1,), offset=5), "is not within"),
    "an absurd shape of nothing": (spoilt(shape=(0, BIG)), "absurd shape"),
    "fewer strides": (spoilt(strides=(1,)), "2 axes and 1 strides"),
    "many axes": (spoilt(shape=(1,) * 40, strides=(0,) * 40), "strides are none"),
    "a long identity": (program(b"(" + b"N" * 99 + b"tQ."), "no storage's"),
    "a truth as a shape": (
        program(WHOLE[2:].replace(files.numbers((2, 2)), b"(\x88\x88t")),
        "are none",
    ),
    # storages
    "a larger storage": (spoilt(numel=5), "cut short"),
    "a smaller storage": (spoilt(numel=3, shape=(3,), strides=(1,)), "absurd size"),
    "a negative storage": (spoilt(numel=-1), "size that is none"),
    "a storage that is not there": (spoilt(key="7"), "lacks data/7"),
    "a storage elsewhere": (spoilt(key="../version"), "lacks data/../version"),
    "one storage, two kinds": (
        files.zipped(
            files.state_dict({"x": files.tensor(ONE), "y": files.tensor(ONE._replace(kind="Int"))}),
            FOUR,
        ),
        "in two ways",
    ),
    # what is built
    "a text": (program(X + b"."), "no tensors by name"),
    "two of one name": (
        program(
            b"}("
            + X
            + b"}"
            + X
            + files.tensor(ONE)
            + b"s"
            + files.text("x.x")
            + files.tensor(ONE)
            + b"u."
        ),
        "two tensors called x.x",
    ),
    "deep": (program(b"]" * 50 + files.tensor(ONE) + b"a" * 50 + b"."), "nested more than 16"),
    "a circle": (program(b"]q\0h\0a."), "nested more than 16"),
    "a tree": (program(TREE + b"."), "nested more than 16"),
    "a wide tree": (
        program(b"]q\0(" + b"N" * 99 + b"eq\1(" + b"h\1" * 99 + b"lq\2(" + b"h\2" * 99 + b"l."),
        "more than 200,000 values",
    ),
    "a long name": (
        program(b"}" + files.text("x" * 501) + files.tensor(ONE) + b"s."),
        "more than 500 charact",
    ),
    "a name that is true": (program(b"}\x88Ns."), "no text"),
    "a list copied": (
        program(
            b"]("
            + (X + b"N\x86") * 50
            + b"eq\0"
            + b"ccollections\nOrderedDict\nq\1]"
            + b"h\1h\0\x85Ra" * 900
            + b"."
        ),
        "again and again",
    ),
    # the zip
    "compressed": (files.zipped(WHOLE, FOUR, compression=zipfile.ZIP_DEFLATED), "are compressed"),
    "TorchScript": (
        files.zipped(WHOLE, FOUR, extra=[("archive/constants.pkl", b"")]),
        "TorchScript, which is",
    ),
    "an order": (files.zipped(WHOLE, FOUR, order=b"middle"), "byte order that is none"),
    "a long order": (files.zipped(WHOLE, FOUR, order=b"little" * 9), "byteorder has an absurd"),
    "two roots": (files.zipped(WHOLE, FOUR, extra=[("b/data.pkl", b"")]), "has no data.pkl"),
    "no root": (files.zipped(WHOLE, FOUR, root="a/b"), "has no data.pkl"),
    "half a zip": (files.zipped(WHOLE, FOUR)[:300], "damaged"),
    "a flipped byte": (
        files.zipped(WHOLE, FOUR).replace(FOUR["0"], FOUR["0"][:-1] + b"\1"),
        "Bad CRC-32",
    ),
    # the older layout
    "another magic": (LEGACY.replace(files.SECOND, b"\x80\x02M\xea\x03."), "does not begin"),
    "half of it": (LEGACY[:-3], "ends too early"),
    "half a program": (LEGACY[:120], "ends too early"),
    "more behind it": (LEGACY + b"x", "goes on behind"),
    "another count": (files.legacy(OLD, {"0": (3, FOUR["0"])}), "another size than its tensors"),
    "an absurd count": (files.legacy(OLD, {"0": (-1, FOUR["0"])}), "another size than its tensors"),
    "no keys": (files.legacy(OLD, {}), "list of storages"),
    "a key twice": (files.legacy(OLD, {"0": (4, FOUR["0"])}, keys=["0", "0"]), "list of storages"),
    "a key more": (files.legacy(OLD, {"0": (4, FOUR["0"])}, keys=["0", "1"]), "list of storages"),
    "a part outside": (
        files.legacy(
            files.state_dict({"x": files.tensor(ONE._replace(view=(2, 3)), legacy=True)}),
            {"0": (4, FOUR["0"])},
        ),
        "part of a storage",
    ),
    # other files
    "nothing": (b"", "empty"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
    "a page": (b" <!DOCTYPE HTML><html>", "a page in HTML"),
    "a tar": (bytes(257) + b"ustar\x0000" + bytes(300), "save it again with a newer"),
    "noise": (b"\x93NUMPY\1\0 and more", "damaged"),
    "a pickle of text": (pickle.dumps("x"), "no tensors by name"),
}


# Files that are whole, and how each is saved so that it is read.
UNREAD: dict[str, tuple[bytes, str]] = {
    "expanded": (
        spoilt(shape=(10**9,), strides=(0,)),
        r"an expanded view, x, .* as x.contiguous\(\)",
    ),
    "expanded, absurd": (spoilt(shape=(BIG, BIG), strides=(0, 0)), "an expanded view, x"),
    "overlapping tensors": (
        files.zipped(
            files.state_dict(
                {
                    str(i): files.tensor(Saved("0", "Byte", 9999, i, (9000,), (1,)))
                    for i in range(99)
                }
            ),
            {"0": bytes(9999)},
        ),
        r"far larger than the file; .* x.clone\(\)",
    ),
    "complex": (spoilt(kind="ComplexFloat"), r"a complex tensor, .* as torch.view_as_real\(x\)"),
    "unsigned": (program(b"ctorch._utils\n_rebuild_tensor_v3\n."), r"uint16 .* as x.float\(\)"),
    "sparse": (program(b"ctorch._utils\n_rebuild_sparse_tensor\n."), r"sparse .* x.to_dense\(\)"),
    "quantized": (program(b"ctorch._utils\n_rebuild_qtensor\n."), r"quantized .* x.dequantize\(\)"),
    "negated": (
        program(files.tensor(ONE)[:-2] + b"}" + files.text("neg") + b"\x88stR."),
        r"negated view, .* x.resolve_neg\(\)",
    ),
    "one tensor": (program(files.tensor(ONE) + b"."), r"alone; .* torch.save\({'x': x}, path\)"),
    "one array": (pickle.dumps(ARRAYS["0.bias"]), "one tensor alone"),
    "nothing": (program(b"}."), "no tensors by name; save the weights"),
    "a name of a tuple": (program(b"})Ns."), "no text; save the weights"),
    "objects": (pickle.dumps({"x": np.array([{}])}), "another type than float32"),
    "dates": (pickle.dumps({"x": np.array(["2020"], "M8[D]")}), "another type"),
}


@pytest.mark.parametrize(("content", "words"), UNREAD.values(), ids=UNREAD)
def test_what_is_not_read_is_not_called_damaged(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words) as refusal:
        load(path)
    assert type(refusal.value) is UserError
    assert "damaged" not in str(refusal.value)
    assert str(refusal.value).isprintable()
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize(("content", "words"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_refused_in_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words) as refusal:
        load(path)
    assert str(refusal.value).isprintable()
    assert str(path) in str(refusal.value)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(files.zipped(WHOLE, FOUR, extra=[("archive/data/0", FOUR["0"])]))
    with pytest.raises(UserError, match="one entry twice"):
        load(path)


def test_entries_that_overlap_are_not_read_again_and_again(tmp_path: Path) -> None:
    """Many names for one place of the file: a bomb, though nothing in it is compressed."""
    tensors = {str(i): Saved(str(i), "Byte", 9000, 0, (9000,), (1,)) for i in range(60)}
    program = files.state_dict({name: files.tensor(t) for name, t in tensors.items()})
    whole = files.zipped(program, {"0": bytes(9000)} | {str(i): b"" for i in range(1, 60)})
    path = tmp_path / "a.pth"
    path.write_bytes(_all_entries_at_one_place(whole))
    with pytest.raises(
        UserError, match=r"damaged: (Overlapped|its data/\d+ has an absurd|File name)"
    ):
        load(path)


def _all_entries_at_one_place(content: bytes) -> bytes:
    """A zip whose directory says of each storage that it lies where the first one does."""
    changed, place = bytearray(content), 0
    first = None
    while (place := changed.find(b"PK\1\2", place)) >= 0:
        name = changed[
            place + 46 : place + 46 + int.from_bytes(changed[place + 28 : place + 30], "little")
        ]
        if name.startswith(b"archive/data/"):
            if first is None:
                first = changed[place + 16 : place + 28], changed[place + 42 : place + 46]
            changed[place + 16 : place + 28], changed[place + 42 : place + 46] = first
        place += 4
    return bytes(changed)


def test_no_module_is_imported_and_no_pickle_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise AssertionError("Python's own reader was called")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, fail)
    monkeypatch.setattr("importlib.import_module", fail)
    (tmp_path / "a.pth").write_bytes(files.zip_of(ARRAYS))
    same(load(tmp_path / "a.pth"), ARRAYS)


def test_a_program_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "PROGRAM", 200)
    for layout in LAYOUTS.values():
        (tmp_path / "a.pth").write_bytes(layout(ARRAYS))
        with pytest.raises(UserError, match=r"absurd size|ends too early"):
            load(tmp_path / "a.pth")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    import os

    if not hasattr(os, "mkfifo"):
        pytest.skip("there are no pipes with names")
    os.mkfifo(tmp_path / "a.pth")
    with pytest.raises(UserError, match="is not a file"):
        load(tmp_path / "a.pth")

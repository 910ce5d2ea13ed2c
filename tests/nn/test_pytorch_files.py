"""PyTorch's files: both layouts are read, and nothing in them is run or believed.

The files of the quick tests are written byte by byte (support/pytorch_files.py); the slow ones
compare with what PyTorch itself writes.
"""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import pytorch_files as files
from pytorch_files import ARRAYS, LAYOUTS, Saved, same

from minigan.errors import UserError
from minigan.weights import load


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".pkl", ".ckpt", ".pth.tar"])
def test_a_state_dict(tmp_path: Path, layout: str, suffix: str) -> None:
    path = tmp_path / f"net{suffix}"
    path.write_bytes(LAYOUTS[layout](ARRAYS))
    same(load(path), ARRAYS)


def both(
    tensors: dict[str, Saved], values: dict[str, bytes], path: Path
) -> list[dict[str, np.ndarray]]:
    """What is read of the same tensors in each layout."""
    made = files.state_dict({name: files.tensor(t) for name, t in tensors.items()})
    path.write_bytes(files.zipped(made, values))
    found = [load(path)]
    made = files.state_dict({name: files.tensor(t, legacy=True) for name, t in tensors.items()})
    sizes = {t.key: t.numel for t in tensors.values()}
    path.write_bytes(files.legacy(made, {k: (sizes[k], v) for k, v in values.items()}))
    return [*found, load(path)]


def test_views_of_one_storage(tmp_path: Path) -> None:
    flat = np.arange(12, dtype=np.float32)
    tensors = {
        "whole": Saved("s", "Float", 12, 0, (3, 4), (4, 1)),
        "again": Saved("s", "Float", 12, 0, (3, 4), (4, 1)),
        "steps": Saved("s", "Float", 12, 1, (2, 3), (1, 4)),
        "last": Saved("s", "Float", 12, 11, (), ()),
        "nothing": Saved("s", "Float", 12, 12, (0,), (1,)),
    }
    for found in both(tensors, {"s": flat.tobytes()}, tmp_path / "a.pth"):
        np.testing.assert_array_equal(found["whole"], flat.reshape(3, 4))
        assert found["whole"] is found["again"]  # as in PyTorch
        np.testing.assert_array_equal(found["steps"], [[1, 5, 9], [2, 6, 10]])
        assert found["last"] == 11
        assert found["nothing"].shape == (0,)


def test_an_expanded_tensor(tmp_path: Path) -> None:
    tensors = {
        "row": Saved("s", "Float", 2, 0, (3, 2), (0, 1)),
        "one": Saved("s", "Float", 2, 1, (5,), (0,)),
        "windows": Saved("s", "Float", 2, 0, (1, 2, 2), (0, 0, 1)),
    }
    for found in both(tensors, {"s": np.float32([1, 2]).tobytes()}, tmp_path / "a.pth"):
        np.testing.assert_array_equal(found["row"], [[1, 2]] * 3)
        np.testing.assert_array_equal(found["one"], [2] * 5)
        np.testing.assert_array_equal(found["windows"], [[[1, 2]] * 2])
        assert all(array.flags.c_contiguous and array.flags.writeable for array in found.values())


def test_a_part_of_a_storage(tmp_path: Path) -> None:
    saved = Saved("s", "Float", 6, 1, (2,), (1,), view=(3, 3))
    program = files.state_dict({"x": files.tensor(saved, legacy=True)})
    content = np.arange(6, dtype=np.float32).tobytes()
    (tmp_path / "a.pth").write_bytes(files.legacy(program, {"s": (6, content)}))
    np.testing.assert_array_equal(load(tmp_path / "a.pth")["x"], [4, 5])


def test_bfloat16_and_booleans_of_any_byte(tmp_path: Path) -> None:
    wide = np.array([1.5, -2.0, 3e38, np.inf], np.float32)
    values = {"b": (wide.view(np.uint32) >> 16).astype("<u2").tobytes(), "t": bytes([0, 2, 255])}
    tensors = {
        "b": Saved("b", "BFloat16", 4, 0, (2, 2), (1, 2)),
        "t": Saved("t", "Bool", 3, 0, (3,), (1,)),
    }
    for found in both(tensors, values, tmp_path / "a.pth"):
        exact = (wide.view(np.uint32) & 0xFFFF0000).view(np.float32)
        np.testing.assert_array_equal(found["b"], exact.reshape(2, 2).T, strict=True)
        np.testing.assert_array_equal(found["t"], [False, True, True], strict=True)


def test_the_other_byte_order(tmp_path: Path) -> None:
    arrays = {name: a for name, a in ARRAYS.items() if name != "half"}
    tensors, _ = files.of_arrays(arrays)
    values = {
        tensors[name].key: array.astype(array.dtype.newbyteorder(">")).tobytes("A")
        for name, array in arrays.items()
    }
    program = files.state_dict({name: files.tensor(t) for name, t in tensors.items()})
    (tmp_path / "a.pth").write_bytes(files.zipped(program, values, order=b"big"))
    same(load(tmp_path / "a.pth"), arrays)
    (tmp_path / "a.pth").write_bytes(files.legacy_of(arrays).replace(b"endian\x88", b"endian\x89"))
    with pytest.raises(UserError, match="written on a big-endian machine"):
        load(tmp_path / "a.pth")


def test_nested_dictionaries(tmp_path: Path) -> None:
    one = files.tensor(Saved("0", "Float", 1, 0, (1,), (1,)))
    program = b"\x80\x02}(" + files.text("epoch") + b"K\3" + files.text("lr") + b"G" + bytes(8)
    program += files.text("model") + b"}(" + files.text("w") + one + b"u" + files.text("opt") + b"}"
    program += b"K\5" + b"](" + one + b"Ne" + b"su."
    (tmp_path / "a.pth").write_bytes(files.zipped(program, {"0": bytes(4)}))
    assert list(load(tmp_path / "a.pth")) == ["model.w", "opt.5.0"]


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_of_arrays(tmp_path: Path, protocol: int) -> None:
    """As of other frameworks; big-endian arrays too."""
    arrays = {**ARRAYS, "big": ARRAYS["0.bias"].astype(">f8")}
    nested = {"net": {name: np.array(a) for name, a in arrays.items()}, "step": 3}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(nested, protocol))
    same(
        load(tmp_path / "a.pkl"),
        {f"net.{n}": a.astype(a.dtype.newbyteorder("=")) for n, a in arrays.items()},
    )


# --- PyTorch itself ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("old", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_pytorch_writes(tmp_path: Path, old: bool, protocol: int) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ConvTranspose2d(4, 2, 4)
    )
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    tied = torch.arange(6.0)
    extra = {
        "view": tied.reshape(2, 3).t(),
        "tail": tied[3:],
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "bfloat16": torch.randn(3).bfloat16(),
        "half": torch.randn(3).half(),
        "bool": torch.tensor([True, False]),
        "scalar": torch.tensor(3, dtype=torch.int16),
        "empty": torch.empty(0, 2),
        "size": torch.Size([2]),
    }
    path = tmp_path / "a.pth"
    torch.save(
        {"net": net.state_dict(), "extra": extra, "optimizer": optimizer.state_dict(), "step": 3},
        path,
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=not old,
    )
    found = load(path)
    for name, tensor in net.state_dict().items():
        np.testing.assert_array_equal(found[f"net.{name}"], tensor.numpy(), strict=True)
    for name, tensor in extra.items():
        if name != "size":
            plain = (
                tensor.detach().float()
                if tensor.dtype.itemsize == 2 and name != "scalar"
                else tensor.detach()
            )
            np.testing.assert_array_equal(found[f"extra.{name}"], plain.numpy(), strict=True)
    assert "optimizer.state.0.exp_avg" in found


@pytest.mark.slow
@pytest.mark.parametrize("old", [False, True], ids=["zip", "legacy"])
def test_what_pytorch_writes_and_is_not_read(tmp_path: Path, old: bool) -> None:
    """Each is read when it is saved as its sentence says."""
    torch = pytest.importorskip("torch")
    unread = {
        "torch.view_as_real(x)": torch.ones(3) * 1j,
        "x.float()": torch.ones(3, dtype=torch.uint16),
        "x.to_dense()": torch.eye(3).to_sparse(),
        "x.resolve_neg()": torch._neg_view(torch.ones(3)),
        "x.contiguous()": torch.ones(1).expand(10**5),
    }
    path = tmp_path / "a.pth"
    for way, x in unread.items():
        torch.save({"x": x}, path, _use_new_zipfile_serialization=not old)
        with pytest.raises(UserError, match=f"save it in PyTorch as {re.escape(way)}$"):
            load(path)
        instead = eval(way, {"torch": torch, "x": x})
        torch.save({"x": instead}, path, _use_new_zipfile_serialization=not old)
        np.testing.assert_array_equal(load(path)["x"], instead.numpy())


@pytest.mark.slow
def test_a_network_of_pytorch_computes_the_same_here(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from minigan import Generator, Tensor, nn

    torch.manual_seed(0)
    theirs = torch.nn.Sequential(
        torch.nn.ConvTranspose2d(5, 8, 4), torch.nn.BatchNorm2d(8), torch.nn.ReLU(),
        torch.nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1), torch.nn.Flatten(),
        torch.nn.Linear(3 * 64, 6), torch.nn.LayerNorm(6),
        torch.nn.utils.spectral_norm(torch.nn.Linear(6, 2)),
    )  # fmt: skip
    theirs(torch.randn(4, 5, 1, 1))
    torch.save(torch.nn.DataParallel(theirs).state_dict(), tmp_path / "a.pth")
    rng = Generator(0)
    mine = nn.Sequential(
        nn.ConvTranspose2d(5, 8, 4, rng=rng), nn.BatchNorm2d(8), nn.ReLU(),
        nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1, rng=rng), nn.Flatten(),
        nn.Linear(3 * 64, 6, rng=rng), nn.LayerNorm(6),
        nn.SpectralNorm(nn.Linear(6, 2, rng=rng), rng=rng),
    )  # fmt: skip
    assert mine.load_state_dict(load(tmp_path / "a.pth")) == ([], [])
    assert mine.load_state_dict(theirs.state_dict()) == ([], [])  # as it is, without a file
    x = np.random.default_rng(0).standard_normal((3, 5, 1, 1), np.float32)
    theirs.eval(), mine.eval()
    wanted = theirs(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(mine(Tensor(x)).numpy(), wanted, rtol=1e-4, atol=1e-5)
    back = {name: torch.tensor(array) for name, array in mine.state_dict(names="pytorch").items()}
    assert back.keys() == {n for n in theirs.state_dict() if not n.endswith("num_batches_tracked")}
    for name, tensor in back.items():
        np.testing.assert_array_equal(tensor, theirs.state_dict()[name])
    theirs.load_state_dict(back)  # strictly: nothing is missing
    again = theirs(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(again, wanted, rtol=1e-5)

"""States on their way out of modules and optimisers, and back: layouts, dtypes, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from draw import normal
from safetensors.numpy import load_file, save_file

from minigan import Generator, Tensor, grad, nn, optim


class Net(nn.Module):
    """Every layout that a parameter has, and a buffer of integers."""

    def __init__(self, seed: int = 0) -> None:
        rng = Generator(seed)
        self.conv = nn.Conv2d(3, 4, 3, rng=rng)
        self.up = nn.ConvTranspose2d(4, 2, 4, stride=2, rng=rng)
        self.norm = nn.BatchNorm2d(2)
        self.linear = nn.Linear(2 * 14 * 14, 3, rng=rng)
        self.weighted = nn.WeightNormLinear(3, 2, rng=rng)
        self.table = nn.Embedding(5, 2, rng=rng)
        self.spectral = nn.SpectralNorm(nn.Linear(2, 1, rng=rng), rng=rng)
        self.count = np.array(seed)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.Flatten()(self.norm(self.up(self.conv(x))))
        return self.spectral(self.weighted(self.linear(x)) + self.table([0, 1]))


def trained() -> tuple[Net, optim.Optimizer]:
    net = Net()
    rule = optim.Adam(net.parameters(), 0.1)
    x = Tensor(normal(2, 3, 8, 8, dtype=np.float32))
    rule.step(grad(net(x).sum(), net.parameters()))
    return net, rule


def owners() -> dict[str, Any]:
    net, rule = trained()
    return {"module": net, "optimiser": rule}


@pytest.mark.parametrize("owner", ["module", "optimiser"])
def test_a_state_is_plain_copies(owner: str) -> None:
    one = owners()[owner]
    arrays, state = one.arrays(), one.state()
    assert any(not array.flags.c_contiguous for array in arrays.values())
    assert list(state) == list(arrays)
    for name, array in state.items():
        assert type(array) is np.ndarray
        assert array.flags.c_contiguous
        assert array.flags.owndata
        assert not array.flags.writeable  # writing it would change nothing
        assert not np.shares_memory(array, arrays[name])
        np.testing.assert_array_equal(array, arrays[name], strict=True)


@pytest.mark.parametrize("owner", ["module", "optimiser"])
def test_a_state_survives_other_people_s_files(owner: str, tmp_path: Path) -> None:
    one = owners()[owner]
    save_file(one.state(), tmp_path / "a.safetensors")
    np.savez(tmp_path / "a.npz", **one.state())
    fresh = Net(seed=1)
    other = fresh if owner == "module" else optim.Adam(fresh.parameters(), 0.1)
    for loaded in (load_file(tmp_path / "a.safetensors"), dict(np.load(tmp_path / "a.npz"))):
        for array in other.arrays().values():
            if array.flags.writeable:
                array[...] = 0
        other.load_state(loaded)
        for name, array in one.state().items():
            np.testing.assert_array_equal(other.state()[name], array, strict=True)


FORMS: dict[str, Callable[[np.ndarray], Any]] = {
    "transposed": lambda a: a.T.copy().T,
    "every other": lambda a: np.repeat(a[None], 2, axis=0)[::2][0],
    "backwards": lambda a: a.reshape(-1)[::-1].copy()[::-1].reshape(a.shape),
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "wide": lambda a: a.astype(np.float64) if a.dtype.kind == "f" else a.astype(np.int32),
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    "lists": lambda a: a.tolist(),
    "tensors": lambda a: Tensor(a),
    "of NaN": lambda a: np.full_like(a, np.nan) if a.dtype.kind == "f" else a,
    "infinite": lambda a: np.full_like(a, np.inf, np.float64) if a.dtype.kind == "f" else a,
}


@pytest.mark.parametrize("owner", ["module", "optimiser"])
@pytest.mark.parametrize("form", FORMS)
def test_a_state_is_loaded_in_any_form(form: str, owner: str) -> None:
    one = owners()[owner]
    given = {name: FORMS[form](array) for name, array in one.state().items()}
    fresh = Net(seed=1)
    other = fresh if owner == "module" else optim.Adam(fresh.parameters(), 0.1)
    layouts = {name: (a.dtype, a.strides) for name, a in other.arrays().items()}
    other.load_state(given)
    for name, array in other.arrays().items():
        assert (array.dtype, array.strides) == layouts[name]
        value = given[name].data if isinstance(given[name], Tensor) else given[name]
        np.testing.assert_array_equal(array, value)


REFUSED: dict[str, tuple[str, Callable[[np.ndarray], Any], str]] = {
    "shape": ("conv.weight", lambda a: a[:-1], r"conv.weight has shape \(4, 3, 3, 3\), not \(3, "),
    "transposed": ("linear.weight", lambda a: a.T, r"linear.weight has shape \(3, 392\), not"),
    "complex": ("conv.weight", lambda a: a + 0j, "is float32, to which complex64 is not converted"),
    "text": ("conv.bias", lambda a: a.astype(str), "conv.bias is float32, to which <U32 is not"),
    "objects": ("conv.bias", lambda a: a.astype(object), "to which object is not converted"),
    "real count": ("count", lambda a: np.array(1.5), "count is int64, to which float64 is not"),
    "too large": (
        "norm.beta",
        lambda a: np.full(2, 1e300),
        "numbers that float32 cannot",
    ),
    "too large count": ("count", lambda a: np.array(2**63, np.uint64), "numbers that int64 cannot"),
    "nothing": ("norm.beta", lambda a: None, "norm.beta has shape"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_whole(name: str) -> None:
    key, damage, words = REFUSED[name]
    net = Net()
    before = net.state()
    other = {n: a + a.dtype.type(1) for n, a in before.items()}
    with pytest.raises(ValueError, match=words):
        net.load_state(other | {key: damage(other[key])})
    for n, array in net.state().items():
        np.testing.assert_array_equal(array, before[n])


@pytest.mark.parametrize("state", [[], None, "state.npz", Net()])
def test_what_is_no_state_is_refused(state: Any) -> None:
    for owner in owners().values():
        with pytest.raises(TypeError, match="a saved state is arrays by name, not"):
            owner.load_state(state)


def test_parameters_may_be_exchanged_with_one_another() -> None:
    net = nn.Sequential(nn.Linear(2, 2, rng=Generator(0)), nn.Linear(2, 2, rng=Generator(1)))
    before = net.state()
    mine = net.arrays()
    net.load_state({name: mine[name.translate(str.maketrans("01", "10"))] for name in mine})
    for name, array in net.state().items():
        np.testing.assert_array_equal(array, before[name.translate(str.maketrans("01", "10"))])

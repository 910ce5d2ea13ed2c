"""Parameters: what is trained, and how a bare tensor is refused."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigan as mg
from minigan import Generator, Tensor, grad, nn, optim

ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)
FORTRAN = np.asfortranarray(ARRAY)
FROZEN = ARRAY.copy()
FROZEN.setflags(write=False)


class Scaled(nn.Module):
    """A module of one's own: a parameter, a buffer, a part."""

    def __init__(self) -> None:
        self.scale = nn.Parameter(1.0)
        self.offset = np.ones(1, np.float32)
        self.part = nn.Linear(3, 1, rng=Generator(0))

    def forward(self, x: Tensor) -> Tensor:
        return self.part(x) * self.scale + self.offset


# --- What a parameter is ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (ARRAY, np.float32), (FORTRAN, np.float32), (FROZEN, np.float32),
        (ARRAY.astype(np.float64), np.float64), (ARRAY.tolist(), np.float32),
        (Tensor(ARRAY), np.float32), (mg.relu(Tensor(FORTRAN)), np.float32),
        (nn.Parameter(ARRAY), np.float32),
    ],
    ids=["array", "Fortran", "frozen", "float64", "list", "tensor", "result", "parameter"],
)  # fmt: skip
def test_a_parameter_is_a_copy_without_history(data: Any, dtype: Any) -> None:
    p = nn.Parameter(data)
    np.testing.assert_array_equal(p.numpy(), ARRAY)
    assert (p.dtype, p.node) == (dtype, None)
    given = data.data if isinstance(data, Tensor) else np.asarray(data)
    assert not np.shares_memory(p.data, given)  # optimisers write it
    if isinstance(data, (Tensor, np.ndarray)):
        assert p.data.strides == given.strides


def test_a_parameter_of_another_dtype_and_of_a_number() -> None:
    assert nn.Parameter(ARRAY, np.float64).dtype == np.float64
    assert nn.Parameter(0.5).shape == ()
    assert repr(nn.Parameter([0.5, 2])) == "Parameter([0.5, 2. ], float32)"
    assert not hasattr(nn.Parameter(0.5), "__dict__")


COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("array", [ARRAY, FORTRAN], ids=["C", "Fortran"])
def test_a_copy_of_a_parameter_is_one(how: str, array: np.ndarray) -> None:
    p = nn.Parameter(array)
    twin = COPIES[how](p)
    assert type(twin) is nn.Parameter
    np.testing.assert_array_equal(twin.numpy(), array)
    assert twin.data.strides == array.strides
    assert not np.shares_memory(twin.data, p.data)


def test_what_is_computed_from_a_parameter_is_no_parameter() -> None:
    p = nn.Parameter(ARRAY)
    for result in (p * 2, p.T, p[0], p.detach(), p.astype(np.float64), mg.relu(p)):
        assert type(result) is Tensor
    assert p.detach().data is p.data
    np.testing.assert_array_equal(grad((p * p).sum(), p).numpy(), 2 * ARRAY)


def test_a_module_trains_its_parameters_alone() -> None:
    net = Scaled()
    assert list(net.parameters()) == ["scale", "part.weight", "part.bias"]
    assert list(net.buffers()) == ["offset"]
    rule, before = optim.SGD(net.parameters(), 0.1), net.state()
    rule.step(grad(net(ARRAY).sum(), net.parameters()))
    changed = [name for name, array in net.state().items() if (array != before[name]).all()]
    assert changed == ["scale", "part.weight", "part.bias"]
    for twin in (net.copy(), pickle.loads(pickle.dumps(net)), net.astype(np.float64)):
        assert list(twin.parameters()) == list(net.parameters())
        assert all(type(p) is nn.Parameter for p in twin.parameters().values())
    assert net.scale.dtype == np.float64


# --- Bare tensors ----------------------------------------------------------------------------

WAY = (
    r" is a bare tensor: write nn\.Parameter\(x\) if it is to be trained, "
    r"x\.numpy\(\)\.copy\(\) for a buffer; keep a result in a local variable, or return it"
)


def test_a_bare_tensor_is_refused_as_an_attribute() -> None:
    net: Any = Scaled()
    for value in (Tensor(1.0), net(ARRAY), net.scale.detach()):
        with pytest.raises(TypeError, match=r"^Scaled\.kept" + WAY):
            net.kept = value
        with pytest.raises(TypeError, match=r"^Scaled\.scale" + WAY):
            net.scale = value
    assert not hasattr(net, "kept")
    assert type(net.scale) is nn.Parameter


@pytest.mark.parametrize("place", ["list", "dict", "tuple", "part"])
def test_a_bare_tensor_is_refused_where_it_is_found(place: str) -> None:
    net: Any = Scaled()
    x = Tensor(1.0)
    net.kept = {"list": [0, [x]], "dict": {"0": {"x": x}}, "tuple": (x,), "part": nn.Tanh()}[place]
    if place == "part":
        net.kept.seen = [x]
    for use in (net.parameters, net.buffers, net.state, net.arrays, lambda: net.load_state({})):
        with pytest.raises(TypeError, match=r"^Scaled\.kept\.(1\.0|0\.x|0|seen\.0)" + WAY):
            use()


def test_tensors_take_the_place_of_parameters_for_a_while() -> None:
    net, tensor = Scaled(), Tensor(2.0)
    found = {name: mg.multiply(p, 2.0) for name, p in net.parameters().items()}
    with net.replaced(found):
        assert list(net.parameters().values()) == list(found.values())
        with net.replaced({"scale": tensor}), net.replaced({"scale": tensor}):
            assert net.parameters()["scale"] is tensor
        assert net.parameters()["scale"] is found["scale"]
    assert all(type(p) is nn.Parameter for p in net.parameters().values())
    vars(net)["scale"] = tensor  # as an object does that knows nothing of modules
    with pytest.raises(TypeError, match=r"^Scaled\.scale" + WAY):
        net.parameters()


def test_an_array_of_a_tensor_is_a_buffer() -> None:
    net: Any = Scaled()
    net.mean = mg.relu(Tensor(ARRAY)).numpy()
    assert list(net.buffers()) == ["offset", "mean"]
    net.load_state({name: array + 1 for name, array in net.state().items()})
    np.testing.assert_array_equal(net.mean, ARRAY + 1)

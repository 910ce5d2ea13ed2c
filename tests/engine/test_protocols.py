"""What Python and NumPy ask of a tensor: numbers, text, NumPy's own functions."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from draw import normal, tensor

import minigan as mg
from minigan.tensor import Tensor, grad, no_grad


def test_a_loss_is_formatted_as_its_number() -> None:
    loss = Tensor(2.0) * 1.5
    assert f"{loss:.3f} {loss:>8.2g} {loss:e} {Tensor(3):d} {Tensor([[1.5]]):.1f}" == (
        "3.000        3 3.000000e+00 3 1.5"
    )
    assert f"{loss}" == str(loss) == format(loss) == "Tensor(3., float32, from multiply)"
    assert f"{loss!r:>40}".strip() == repr(loss)
    with pytest.raises(TypeError, match=r"shape \(2, 3\) is not one number"):
        f"{tensor(2, 3):.3f}"


def test_conversions_to_numbers() -> None:
    x = Tensor(2.75)
    assert (int(x), round(x), round(x, 1), math.trunc(x), math.floor(x), math.ceil(x)) == (
        2, 3, 2.8, 2, 2, 3,
    )  # fmt: skip
    assert type(round(x)) is int
    assert (float(x), complex(x), bool(x)) == (2.75, 2.75 + 0j, True)
    assert int(Tensor([[7]])) == 7


@pytest.mark.parametrize("convert", [int, float, complex, round, math.trunc, math.floor])
def test_several_numbers_are_not_one(convert: Callable[[Any], Any]) -> None:
    for x in (tensor(2, 3), Tensor([])):
        with pytest.raises(TypeError, match="is not one number"):
            convert(x)


def test_an_integer_is_an_index() -> None:
    values = ["a", "b", "c"]
    assert values[Tensor(1)] == "b"
    assert list(range(Tensor(2))) == [0, 1]
    assert normal(3)[Tensor(2)] == normal(3)[2]
    for x in (Tensor(1.0), Tensor([1]), Tensor(True)):
        with pytest.raises(TypeError, match="is no integer"):
            values[x]


# --- NumPy's functions -----------------------------------------------------------------------

OWN = ("absolute", "add", "cos", "divide", "exp", "log", "maximum", "minimum", "multiply",
       "negative", "power", "sin", "sqrt", "square", "subtract", "tanh", "matmul")  # fmt: skip


@pytest.mark.parametrize("name", OWN)
def test_a_function_by_which_minigan_computes_is_minigans(name: str) -> None:
    function = getattr(np, name)
    given = [tensor(2, 2) * 0.1 + 2, tensor(2, 2, seed=1) * 0.1 + 2][: function.nin]
    for args in [given] if function.nin == 1 else [given, [given[0].numpy(), given[1]]]:
        mine, theirs = function(*args), getattr(mg, name)(*args)
        assert isinstance(mine, Tensor)
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())
        x = args[-1]
        np.testing.assert_array_equal(grad(mine.sum(), x).numpy(), grad(theirs.sum(), x).numpy())


NAMED = ("sum", "mean", "max", "min", "var", "std", "zeros_like", "clip", "stack", "concatenate",
         "where", "reshape", "transpose", "squeeze", "pad", "expand_dims", "einsum", "swapaxes",
         "broadcast_to")  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_a_function_of_numpy_names_minigans(name: str) -> None:
    x = tensor(2, 2)
    args: dict[str, tuple[Any, ...]] = {
        "clip": (x, 0, 1), "stack": ([x, x],), "concatenate": ([x, x],), "where": (True, x, 0),
        "reshape": (x, 4), "expand_dims": (x, 0), "pad": (x, 1), "einsum": ("ij->j", x),
        "swapaxes": (x, 0, 1), "broadcast_to": (x, (2, 2, 2)),
    }  # fmt: skip
    with pytest.raises(TypeError, match=rf"^numpy\.{name} knows.* minigan\.{name}, or x\.numpy"):
        getattr(np, name)(*args.get(name, (x,)))
    with no_grad():
        getattr(np, name)(*args.get(name, (x,)))


NONE_OWN: dict[str, Callable[[Any], Any]] = {
    "isnan": np.isnan,
    "isfinite": np.isfinite,
    "sign": np.sign,
    "log1p": np.log1p,
    "floor": np.floor,
    "arctan2": lambda x: np.arctan2(x, 1.0),
    "add.reduce": np.add.reduce,
    "linalg.norm": np.linalg.norm,
    "fft.fft": np.fft.fft,
    "array_equal": lambda x: np.array_equal(x, x),
    "array_equiv": lambda x: np.array_equiv(x, x.numpy()),
    "allclose": lambda x: np.allclose(x.numpy(), x),
    "isclose": lambda x: np.isclose(x, x),
    "argsort": np.argsort,
    "median": np.median,
    "cumsum": np.cumsum,
    "nan_to_num": np.nan_to_num,
    "copyto": lambda x: np.copyto(np.zeros((2, 2)), x),
}


@pytest.mark.parametrize("name", NONE_OWN)
def test_a_function_that_minigan_has_not_says_so(name: str) -> None:
    x = tensor(2, 2)
    with pytest.raises(
        TypeError, match=rf"^numpy\.{name} knows no gradients: .*x\.numpy\(\).*no_grad"
    ):
        NONE_OWN[name](x)
    with no_grad():
        found = NONE_OWN[name](x)
    assert not isinstance(found, Tensor)


def test_a_function_that_minigan_composes_says_of_what() -> None:
    x = tensor(2, 2)
    for call, way in (
        (np.linalg.norm, r"say minigan\.sqrt\(minigan\.sum\(x \* x, axis\)\)"),
        (np.prod, r"minigan\.exp"),
        (lambda x: np.tile(x, 2), r"minigan\.broadcast_to"),
        (np.median, "composition of minigan's functions"),
    ):
        with pytest.raises(TypeError, match=way):
            call(x)


def test_equal_tensors_are_never_called_different() -> None:
    x, y = tensor(3), tensor(3)
    for compare in (np.array_equal, np.array_equiv, np.allclose):
        for a, b in ((x, y), (x, y.numpy()), (x.numpy(), y)):
            with pytest.raises(TypeError, match="knows no gradients"):
                compare(a, b)
            with no_grad():
                assert compare(a, b)
    with no_grad():
        assert not np.array_equal(x, x + 1)


def test_shapes_are_told() -> None:
    x = tensor(2, 3)
    assert (np.shape(x), np.ndim(x), np.size(x)) == ((2, 3), 2, 6)


def test_an_array_takes_no_tensor_in_place() -> None:
    array = normal(3)
    with pytest.raises(TypeError, match=r"numpy\.add knows no gradients"):
        array += tensor(3)


def test_every_protocol_is_declared_for_type_checkers() -> None:
    from minigan.methods import TensorMethods
    from minigan.ops.protocols import METHODS

    source = inspect.getsource(TensorMethods)
    assert not [n for n in METHODS if f"def {n}(" not in source and n not in dir(object)]

"""What is done otherwise here says so in one sentence, and no completion shows it."""

from __future__ import annotations

import copy
import inspect
import pickle
import pydoc
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from draw import normal
from sentences import one_sentence

import minigan as mg
from minigan import Tensor, grad, losses, nn, optim, random
from minigan.hints import Elsewhere, absent, also, completed, told
from minigan.ops.hints import FUNCTIONS
from minigan.tensor_hints import CREATION, GRAD, TENSOR

A = normal(2, 3, seed=3)
RNG = mg.Generator(0)


def x() -> Tensor:
    return Tensor(A)


# --- What says how it is done ----------------------------------------------------------------

SAID: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "mg.device('cuda')": (lambda: mg.device("cuda"), TypeError, r"net\.to\('cuda'\)"),
    "x.backward()": (lambda: x().backward(), AttributeError, r"minigan\.grad\(loss, net\.par"),
    "x.grad": (lambda: x().grad, AttributeError, r"minigan\.grad\(loss"),
    "x.requires_grad": (lambda: x().requires_grad, AttributeError, "minigan.grad"),
    "x.requires_grad = True": (
        lambda: setattr(x(), "requires_grad", True), AttributeError, "minigan.grad",
    ),
    "x.grad = None": (lambda: setattr(x(), "grad", None), AttributeError, "kept nowhere"),
    "x.normal_()": (lambda: x().normal_(), AttributeError, "nn.init.normal"),
    "x.add_(1)": (lambda: x().add_(1), AttributeError, "cannot be written in place"),
    "x.zero_()": (lambda: x().zero_(), AttributeError, "where, pad or concatenate"),
    "x.size(0)": (lambda: x().size(0), TypeError, r"x\.shape\[0\]"),
    "x.size()": (lambda: x().size(), TypeError, r"x\.shape"),
    "x.float()": (lambda: x().float(), AttributeError, "astype"),
    "x.t()": (lambda: x().t(), AttributeError, r"x\.T"),
    "x.norm()": (lambda: x().norm(), AttributeError, "minigan.sqrt"),
    "x.repeat(2)": (lambda: x().repeat(2), AttributeError, "minigan.broadcast_to"),
    "x.byteswap()": (lambda: x().byteswap(), AttributeError, r"x\.numpy\(\)\.byteswap"),
    "Tensor.backward": (lambda: Tensor.backward, AttributeError, "minigan.grad"),
    "x.nosuch": (lambda: x().nosuch, AttributeError, "no attribute 'nosuch'"),
    "x.max(dim=1)": (lambda: x().max(dim=1), TypeError, r"axis=.*x\.argmax\(axis\)"),
    "x.min(dim=1)": (lambda: x().min(dim=1), TypeError, r"axis=.*x\.argmin\(axis\)"),
    "x.sum(1, True)": (lambda: x().sum(1, True), TypeError, "keepdims by name"),
    "x.sum(axis=1, dim=1)": (lambda: x().sum(axis=1, dim=1), TypeError, "axis twice"),
    "x.sum(axes=1)": (lambda: x().sum(axes=1), TypeError, "unexpected keyword argument 'axes'"),
    "x.var(ddof=6)": (lambda: x().var(ddof=6), ValueError, "6 values have no variance"),
    "x.transpose(0, 1)": (lambda: x().transpose(0, 1), ValueError, r"x\.swapaxes\(0, 1\), or x\.T"),
    "x.transpose(-2, -1)": (lambda: x().transpose(-2, -1), ValueError, "x.swapaxes"),
    "x.transpose(1, 2) of three axes": (
        lambda: mg.zeros(2, 3, 4).transpose(1, 2), ValueError, r"x\.swapaxes\(1, 2\)$",
    ),
    "x.transpose(0)": (lambda: x().transpose(0), ValueError, r"all 2 axes .* not \(0,\)"),
    "mg.clip(x)": (lambda: mg.clip(x()), ValueError, r"clip\(x, 0, None\)"),
    "mg.pad(x, (1, 1, 1, 1))": (lambda: mg.pad(x(), (1, 1, 1, 1)), ValueError, "before, after"),
    "mg.pad(x, ((1, 1),))": (lambda: mg.pad(x(), ((1, 1),)), ValueError, "each of the 2 axes"),
    "mg.pad(x, 1, mode='reflect')": (
        lambda: mg.pad(x(), 1, mode="reflect"), TypeError, "say value=",
    ),
    "mg.zeros((2, 3), dtype)": (
        lambda: mg.zeros((2, 3), np.float32), TypeError, "a dtype is given by name",
    ),
    "mg.zeros(2, requires_grad=True)": (
        lambda: mg.zeros(2, requires_grad=True), TypeError, "leave it out",
    ),
    "Tensor(..., requires_grad=True)": (
        lambda: Tensor([1.0], requires_grad=True), TypeError, "Tensor takes no requires_grad",
    ),
    "Tensor(..., device='cuda')": (
        lambda: Tensor([1.0], device="cuda"), TypeError, r"\.to\(device\)",
    ),
    "Tensor([x, x])": (lambda: Tensor([x(), x()]), TypeError, r"minigan\.stack\(tensors\)"),
    "bool(x)": (lambda: bool(x()), ValueError, r"x\.any\(\) or x\.all\(\)"),
    "assert x == y": (lambda: bool(x() == x()), ValueError, r"a\.any\(\) or a\.all\(\)"),
    "np.prod(x)": (lambda: np.prod(x()), TypeError, "knows no gradients"),
    "np.dot(x, x)": (lambda: np.dot(x(), x()), TypeError, "take minigan.matmul"),
    "grad(outputs=...)": (lambda: grad(outputs=x(), inputs=x()), TypeError, "in no tuple"),
    "grad(..., retain_graph=True)": (
        lambda: grad(x().sum(), x(), retain_graph=True), TypeError, "leave it out",
    ),
    "x @ x": (lambda: x() @ x(), ValueError, "3 columns and the second 2 rows"),
    "vector @ matrix": (lambda: x()[0] @ x(), ValueError, "3 columns and the second 2 rows"),
    "matrix @ vector": (lambda: x() @ x()[:, 0], ValueError, "3 columns and the second 2 rows"),
    "x @ 2": (lambda: x() @ 2, ValueError, r"multiplies by \*"),
    "rng.normal(2, 3)": (lambda: RNG.normal(2, 3), TypeError, r"rng\.normal\(\(2, 3\), mean=0"),
    "rng.normal((2, 3), 0.02)": (lambda: RNG.normal((2, 3), 0.02), TypeError, "std=0.02"),
    "rng.normal(3, scale=2)": (lambda: RNG.normal(3, scale=2), TypeError, "std=0.02"),
    "rng.normal(size=3)": (lambda: RNG.normal(size=3), TypeError, "the shape first"),
    "rng.uniform(0, 1)": (lambda: RNG.uniform(0, 1), TypeError, "low=-1.0, high=1.0"),
    "rng.uniform(0, 1, (2, 3))": (lambda: RNG.uniform(0, 1, (2, 3)), TypeError, "shape first"),
    "rng.uniform(-1, 1, size=3)": (lambda: RNG.uniform(-1, 1, size=3), TypeError, "shape first"),
    "rng.randn(2, 3)": (lambda: RNG.randn(2, 3), AttributeError, r"rng\.normal\(shape\)"),
    "rng.permutation(3)": (lambda: RNG.permutation(3), AttributeError, "numpy.argsort"),
    "rng.nosuch": (lambda: RNG.nosuch, AttributeError, "no attribute 'nosuch'"),
    "mg.manual_seed(0)": (lambda: mg.manual_seed(0), AttributeError, r"Generator\(seed\)"),
    "mg.randn(2)": (lambda: mg.randn(2), AttributeError, r"rng\.normal\(shape\)"),
    "mg.randn_like(x)": (lambda: mg.randn_like(x()), AttributeError, r"rng\.normal\(x\.shape\)"),
    "mg.jit": (lambda: mg.jit, AttributeError, "leave it out"),
    "mg.value_and_grad": (lambda: mg.value_and_grad, AttributeError, r"minigan\.grad\(loss"),
    "mg.interpolate": (lambda: mg.interpolate, AttributeError, r"minigan\.upsample\("),
    "mg.set_num_threads(1)": (lambda: mg.set_num_threads(1), AttributeError, "numba"),
    "mg.from_numpy": (lambda: mg.from_numpy, AttributeError, r"minigan\.Tensor\(array\)"),
    "mg.cumsum": (lambda: mg.cumsum, AttributeError, r"numpy\.cumsum\(x\.numpy\(\)\)"),
    "mg.nosuch": (lambda: mg.nosuch, AttributeError, "no attribute 'nosuch'"),
    "losses.binary_cross_entropy": (
        lambda: losses.binary_cross_entropy(x(), 1.0), TypeError, "called binary_cross_entropy_wi",
    ),
    "losses.BCEWithLogitsLoss": (
        lambda: losses.BCEWithLogitsLoss, AttributeError, "binary_cross_entropy_with_logits",
    ),
    "losses.mse_loss": (lambda: losses.mse_loss, AttributeError, "minigan.square"),
    "losses.nosuch": (lambda: losses.nosuch, AttributeError, "no attribute 'nosuch'"),
}  # fmt: skip


@pytest.mark.parametrize("call", SAID)
def test_one_sentence_says_how(call: str) -> None:
    run, kind, pattern = SAID[call]
    with pytest.raises(kind, match=pattern) as caught:
        run()
    one_sentence(caught.value)


@pytest.mark.parametrize(
    ("owner", "table"),
    [
        (Tensor([1.0]), TENSOR),
        (mg, FUNCTIONS),
        (losses, losses.HINTS),
        (RNG, random.HINTS),
    ],
    ids=["tensor", "minigan", "losses", "generator"],
)
def test_hints_are_of_what_there_is_not(owner: Any, table: dict[str, str]) -> None:
    """A name is no stub: it is neither found, nor completed, nor has it been added meanwhile."""
    assert len(table) > 10
    completed = dir(owner)
    for name in table:
        assert name not in completed
        with pytest.raises(AttributeError, match=f"has no {name}: ") as caught:
            getattr(owner, name)
        one_sentence(caught.value)
        assert not hasattr(owner, name)


def _attributes() -> dict[str, tuple[Any, str]]:
    """An object of each class with attributes `Elsewhere`, by such an attribute."""
    layer = nn.Linear(2, 3, rng=RNG)
    owners = (x(), layer.weight, RNG, layer, optim.Adam(layer.parameters(), 0.1))
    return {
        f"{type(owner).__name__}.{name}": (owner, name)
        for owner in owners
        for kind in type(owner).__mro__
        for name, value in vars(kind).items()
        if isinstance(value, Elsewhere)
    }


def test_every_attribute_that_is_elsewhere_is_neither_found_nor_completed() -> None:
    found = _attributes()
    kinds = {name.partition(".")[0] for name in found}
    assert kinds == {"Tensor", "Parameter", "Generator", "Linear", "Adam"}
    for owner, name in found.values():
        kind = type(owner)
        for asked in (owner, kind):
            assert not hasattr(asked, name)
            with pytest.raises(AttributeError, match=f"^{kind.__name__} has no {name}: ") as caught:
                getattr(asked, name)
            one_sentence(caught.value)
        assert name not in dir(owner)
        if not hasattr(owner, "__dict__"):
            with pytest.raises(AttributeError, match=f"^{kind.__name__} has no {name}: "):
                setattr(owner, name, None)


def test_help_says_what_is_elsewhere_under_its_own_heading() -> None:
    text = pydoc.render_doc(Tensor, renderer=pydoc.plaintext)
    own, there = text.split("inherited from minigan.methods.NotHere:")
    assert "backward" not in own
    assert "backward\n |      Not here: gradients are" in there


def test_the_mechanism_of_the_hints() -> None:
    class Base:
        far = Elsewhere("say near")
        further = Elsewhere("say near")

    class Owner(Base):
        def further(self) -> int:  # type: ignore[override]
            return 1

    owner: Any = Owner()
    assert {"far", "further"} & {*completed(owner)} == {"further"}
    owner.far = 2
    assert owner.far == 2
    assert "far" in completed(owner)
    look = absent("here", {"far": "say near"})
    with pytest.raises(AttributeError, match=r"^here has no far: say near$"):
        look("far")
    with pytest.raises(AttributeError, match=r"^module 'here' has no attribute 'other'$"):
        look("other")


def test_a_call_that_does_not_fit_is_told_the_way() -> None:
    @told("say f(1)")
    def f(a: int) -> int:
        return a + 1

    assert f(1) == 2
    with pytest.raises(TypeError, match=r"missing 1 required positional argument: 'a'; say f\(1\)"):
        f()
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'b'; say f\(1\)"):
        f(1, b=2)
    with pytest.raises(TypeError, match=r"unsupported operand [^;]*$"):  # the function's own
        f(None)
    assert str(inspect.signature(f)) == "(a: 'int') -> 'int'"


def test_arguments_by_other_names() -> None:
    @also(dim="axis", inplace="leave it out", other="lost")
    def f(x: int, axis: int = 0) -> tuple[int, int]:
        return x, axis

    g: Any = f
    assert g(1, dim=2) == (1, 2)
    with pytest.raises(TypeError, match="takes no inplace: leave it out"):
        g(1, inplace=True)
    with pytest.raises(TypeError, match="was given axis twice"):
        g(1, axis=1, dim=2)
    for name in ("other", "nosuch"):  # a name that the function lacks stays as it was given
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
            g(1, **{name: 1})

    def free(**options: int) -> dict[str, int]:
        return options

    assert also(dim="axis")(free) is free


def test_what_the_hints_name_is_there() -> None:
    """Every `minigan.f(` of a sentence is a function of minigan."""
    tables = (
        TENSOR, FUNCTIONS, losses.HINTS, random.HINTS, CREATION, GRAD,
    )  # fmt: skip
    sentences = [sentence for table in tables for sentence in table.values()]
    named = {n for s in sentences for n in re.findall(r"minigan\.([\w.]+)\(", s)}
    assert len(named) > 10
    for name in named:
        value: Any = mg
        for part in name.split("."):
            value = getattr(value, part, None)
        assert callable(value) or name == "nn.Parameter", name


def test_python_still_asks_a_tensor_what_it_asks_any_object() -> None:
    t = x()
    for name in ("__deepcopy__", "_repr_html_", "__wrapped__", "_ipython_display_"):
        assert not hasattr(t, name)
    np.testing.assert_array_equal(copy.deepcopy(t).numpy(), A)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(t)).numpy(), A)


# --- Names that are completed ----------------------------------------------------------------


def test_completion_shows_public_names() -> None:
    later = {"data", "evaluation", "gans", "metrics", "testing", "viz", "weights"}
    assert set(mg.__all__) | later <= set(dir(mg))
    private = [n for n in dir(mg) if n.startswith("_") and n != "__version__"]
    assert not private
    for module in (mg.losses, mg.penalties, mg.optim, mg.testing, mg.random):
        assert dir(module) == sorted(module.__all__)
    for tensors in (x(), mg.nn.Linear(2, 3, rng=RNG).weight):
        assert not {"grad", "requires_grad", "backward", "zero_", "byteswap"} & set(dir(tensors))
        assert {"sum", "data", "shape", "numpy", "T"} <= set(dir(tensors))


def test_modules_are_opened_when_they_are_asked_for() -> None:
    for name in mg._LATER:
        assert getattr(mg, name) is not None
    assert mg.testing.check_gradients(mg.tanh, A) < 1e-6


def test_methods_are_declared_for_type_checkers() -> None:
    from minigan.methods import TensorMethods

    source = inspect.getsource(TensorMethods)
    public = [n for n in dir(x()) if not n.startswith("_")]
    own = {"data", "node", "shape", "dtype", "ndim", "size", "detach"}
    assert not [n for n in public if n not in own and f"def {n}(" not in source]

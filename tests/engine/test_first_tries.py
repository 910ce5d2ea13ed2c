"""What a user of PyTorch or NumPy tries first: it works, or says in one sentence how it is done."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import pydoc
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from draw import normal, tensor

import minigan as mg
from minigan import Tensor, grad, losses, nn, optim, random, signatures
from minigan.device import Device
from minigan.hints import Elsewhere, absent, also, completed, told
from minigan.ops.hints import FUNCTIONS
from minigan.tensor_hints import CREATION, GRAD, TENSOR

A = normal(2, 3, seed=3)
RNG = mg.Generator(0)


def x() -> Tensor:
    return Tensor(A)


def one_sentence(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text
    assert len(text) < 300, text
    return text


# --- What works ------------------------------------------------------------------------------

# By the call: what NumPy gives.
EQUAL: dict[str, tuple[Callable[[], Any], Any]] = {
    "x.exp()": (lambda: x().exp(), np.exp(A)),
    "x.abs()": (lambda: x().abs(), np.abs(A)),
    "x.abs().log()": (lambda: x().abs().log(), np.log(np.abs(A))),
    "x.abs().sqrt()": (lambda: x().abs().sqrt(), np.sqrt(np.abs(A))),
    "x.square()": (lambda: x().square(), A * A),
    "x.sin()": (lambda: x().sin(), np.sin(A)),
    "x.cos()": (lambda: x().cos(), np.cos(A)),
    "x.tanh()": (lambda: x().tanh(), np.tanh(A)),
    "x.sigmoid()": (lambda: x().sigmoid(), 1 / (1 + np.exp(-A))),
    "x.relu()": (lambda: x().relu(), np.maximum(A, 0)),
    "x.pow(2)": (lambda: x().pow(2), A**2),
    "x.matmul(x.T)": (lambda: x().matmul(x().T), A @ A.T),
    "x.mean(dim=1)": (lambda: x().mean(dim=1), A.mean(1)),
    "x.sum(1, keepdim=True)": (lambda: x().sum(1, keepdim=True), A.sum(1, keepdims=True)),
    "x.sum([0, 1])": (lambda: x().sum([0, 1]), A.sum()),
    "x.sum(axis=[0, 1])": (lambda: x().sum(axis=[0, 1]), A.sum()),
    "x.sum(dim=[0, 1])": (lambda: x().sum(dim=[0, 1]), A.sum()),
    "x.max([0, 1])": (lambda: x().max([0, 1]), A.max()),
    "x.std()": (lambda: x().std(), A.std()),
    "x.std(0, ddof=1)": (lambda: x().std(0, ddof=1), A.std(0, ddof=1)),
    "x.var(unbiased=True)": (lambda: x().var(unbiased=True), A.var(ddof=1)),
    "x.var(dim=1, correction=1, keepdim=True)": (
        lambda: x().var(dim=1, correction=1, keepdim=True), A.var(1, ddof=1, keepdims=True),
    ),
    "x.softmax(dim=1)": (lambda: x().softmax(dim=1), np.exp(A) / np.exp(A).sum(1, keepdims=True)),
    "mg.log_softmax(x, dim=0)": (
        lambda: mg.log_softmax(x(), dim=0), A - np.log(np.exp(A).sum(0)),
    ),
    "x.logsumexp(dim=1)": (lambda: x().logsumexp(dim=1), np.log(np.exp(A).sum(1))),
    "x.clamp(-0.5, 0.5)": (lambda: x().clamp(-0.5, 0.5), A.clip(-0.5, 0.5)),
    "x.clamp(min=0)": (lambda: x().clamp(min=0), A.clip(0)),
    "x.clip(max=0)": (lambda: x().clip(max=0), A.clip(None, 0)),
    "mg.clip(x, 0, None)": (lambda: mg.clip(x(), 0, None), A.clip(0)),
    "mg.clip(x, low=-1, high=0)": (lambda: mg.clip(x(), low=-1, high=0), A.clip(-1, 0)),
    "mg.clamp(x, max=0.1)": (lambda: mg.clamp(x(), max=0.1), A.clip(None, 0.1)),
    "mg.abs(x)": (lambda: mg.abs(x()), abs(A)),
    "x.argmax()": (lambda: x().argmax(), A.argmax()),
    "x.argmax(dim=1)": (lambda: x().argmax(dim=1), A.argmax(1)),
    "x.argmin(1, keepdim=True)": (
        lambda: x().argmin(1, keepdim=True), A.argmin(1, keepdims=True),
    ),
    "x.any()": (lambda: x().any(), True),
    "x.all(dim=0)": (lambda: x().all(dim=0), [True] * 3),
    "x.flatten()": (lambda: x().flatten(), A.ravel()),
    "x.reshape(1, 2, 3).flatten(start_dim=1)": (
        lambda: x().reshape(1, 2, 3).flatten(start_dim=1), A.reshape(1, 6),
    ),
    "x.view(-1)": (lambda: x().view(-1), A.ravel()),
    "x.view(3, 2)": (lambda: x().view(3, 2), A.reshape(3, 2)),
    "x.permute(1, 0)": (lambda: x().permute(1, 0), A.T),
    "x.permute((1, 0))": (lambda: x().permute((1, 0)), A.T),
    "x.permute(0, 1)": (lambda: x().permute(0, 1), A),
    "x.swapaxes(0, 1)": (lambda: x().swapaxes(0, 1), A.T),
    "x.swapaxes(1, 1)": (lambda: x().swapaxes(1, 1), A),
    "x.mT": (lambda: x().mT, A.T),
    "x.unsqueeze(0)": (lambda: x().unsqueeze(0), A[None]),
    "x.unsqueeze(dim=-1)": (lambda: x().unsqueeze(dim=-1), A[..., None]),
    "x.unsqueeze(0).squeeze()": (lambda: x().unsqueeze(0).squeeze(), A),
    "x.reshape(1, 2, 1, 3).squeeze([0, 2])": (
        lambda: x().reshape(1, 2, 1, 3).squeeze([0, 2]), A,
    ),
    "x.reshape(1, 2, 1, 3).squeeze(dim=0)": (
        lambda: x().reshape(1, 2, 1, 3).squeeze(dim=0), A[:, None],
    ),
    "x.clone()": (lambda: x().clone(), A),
    "x.copy()": (lambda: x().copy(), A),
    "x.cpu()": (lambda: x().cpu(), A),
    "x.to('cpu')": (lambda: x().to("cpu"), A),
    "x.to(device='cpu', dtype='float64')": (lambda: x().to(device="cpu", dtype="float64"), A),
    "mg.cat([x, x], dim=1)": (lambda: mg.cat([x(), x()], dim=1), np.concatenate([A, A], 1)),
    "mg.concatenate([x, x], dim=-1)": (
        lambda: mg.concatenate([x(), x()], dim=-1), np.concatenate([A, A], -1),
    ),
    "mg.stack([x, x], dim=1)": (lambda: mg.stack([x(), x()], dim=1), np.stack([A, A], 1)),
    "mg.pad(x, 1)": (lambda: mg.pad(x(), 1), np.pad(A, 1)),
    "mg.pad(x, ((0, 0), (1, 2)), constant_values=3.0)": (
        lambda: mg.pad(x(), ((0, 0), (1, 2)), constant_values=3.0),
        np.pad(A, ((0, 0), (1, 2)), constant_values=3.0),
    ),
    "mg.max_pool2d(x, 2, 1)": (
        lambda: mg.max_pool2d(x().reshape(1, 1, 2, 3), 2, 1),
        [[[[A[:, :2].max(), A[:, 1:].max()]]]],
    ),
    "mg.tensor([1.0, 2.0])": (lambda: mg.tensor([1.0, 2.0]), [1, 2]),
    "mg.zeros(2, 3)": (lambda: mg.zeros(2, 3), np.zeros((2, 3))),
    "mg.zeros((2, 3))": (lambda: mg.zeros((2, 3)), np.zeros((2, 3))),
    "mg.zeros(())": (lambda: mg.zeros(()), 0),
    "mg.ones([2])": (lambda: mg.ones([2]), [1, 1]),
    "mg.full((2,), 7.5)": (lambda: mg.full((2,), 7.5), [7.5, 7.5]),
    "mg.full(2, True)": (lambda: mg.full(2, True), [True, True]),
    "mg.eye(2)": (lambda: mg.eye(2), np.eye(2)),
    "mg.eye(2, 3)": (lambda: mg.eye(2, 3), np.eye(2, 3)),
    "mg.arange(3)": (lambda: mg.arange(3), [0, 1, 2]),
    "mg.arange(0, 1, 0.25)": (lambda: mg.arange(0, 1, 0.25), [0, 0.25, 0.5, 0.75]),
    "mg.linspace(0, 1, 3)": (lambda: mg.linspace(0, 1, 3), [0, 0.5, 1]),
    "mg.zeros_like(x)": (lambda: mg.zeros_like(x()), 0 * A),
    "mg.ones_like(x)": (lambda: mg.ones_like(x()), 0 * A + 1),
    "mg.full_like(x, 2)": (lambda: mg.full_like(x(), 2), 0 * A + 2),
    "mg.softmax_cross_entropy(x, labels)": (
        lambda: mg.softmax_cross_entropy(x(), [0, 2]),
        np.log(np.exp(A).sum(1)) - A[[0, 1], [0, 2]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("call", EQUAL)
def test_it_gives_what_numpy_gives(call: str) -> None:
    run, expected = EQUAL[call]
    found = run()
    values = found.numpy() if isinstance(found, Tensor) else found
    np.testing.assert_allclose(values, expected, rtol=1e-12)
    assert np.shape(values) == np.shape(expected)


# Methods that a gradient flows through, of one tensor.
DIFFERENTIABLE: dict[str, Callable[[Tensor], Tensor]] = {
    "std": lambda t: t.std(1, ddof=1),
    "var": lambda t: t.var(0, ddof=1),
    "clone": lambda t: t.clone() * t,
    "squeeze": lambda t: t.unsqueeze(0).squeeze() * t,
    "clip": lambda t: t.clip(min=-10) * t,
    "pad": lambda t: mg.pad(t, 1) * mg.pad(t, 1, 2.0),
    "swapaxes of one": lambda t: t.swapaxes(0, 0) * t,
    "permute": lambda t: t.permute(0, 1) * t,
}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients_are_right(name: str) -> None:
    mg.testing.check_gradients(DIFFERENTIABLE[name], [A])


def test_dtypes_of_what_is_made() -> None:
    made = {
        "float32": [mg.zeros(1), mg.ones(1), mg.eye(1), mg.linspace(0, 1), mg.full(1, 0.5),
                    mg.arange(2.0), mg.tensor(1.5)],
        "int64": [mg.arange(3), mg.full(1, 2), mg.tensor([1, 2]), mg.zeros(1, dtype=mg.int64)],
        "float64": [mg.zeros_like(x()), mg.ones(2, dtype=mg.float64), mg.tensor(A)],
        "bool": [mg.full(2, True)],
    }  # fmt: skip
    for dtype, found in made.items():
        assert [t.dtype for t in found] == [np.dtype(dtype)] * len(found)
    assert (mg.float32, mg.float64, mg.int64) == (np.float32, np.float64, np.int64)


def test_a_clone_does_not_follow_its_parameter() -> None:
    p = Tensor([1.0, 2.0])
    before = p.clone()
    mg.optim.SGD({"p": p}, 1.0).step({"p": Tensor([1.0, 1.0])})
    assert (before.tolist(), p.tolist()) == ([1, 2], [0, 1])


def test_numbers_that_a_tensor_tells() -> None:
    t = Tensor([[1.5, 2.5]])
    assert (t.numel(), t.dim(), t.tolist(), t.device) == (2, 2, [[1.5, 2.5]], "cpu")
    assert f"{t.mean():.3f}" == "2.000"


def test_the_number_of_elements_is_an_integer() -> None:
    size = x().size
    assert (size, size + 1, f"{size:,}", repr(size), json.dumps(size)) == (6, 7, "6", "6", "6")
    for other in (copy.deepcopy(size), pickle.loads(pickle.dumps(size)), size * 1):
        assert type(other) is int


def test_no_grad_decorates_without_brackets() -> None:
    @mg.no_grad
    def f(t: Tensor) -> Tensor:
        return t * 2

    @mg.enable_grad
    def g(t: Tensor) -> Tensor:
        return t * 2

    assert f(Tensor([1.0])).node is None
    assert f.__name__ == "f"
    with mg.no_grad():
        assert g(Tensor([1.0])).node is not None


def test_to_goes_where_it_is_told() -> None:
    t = x()
    assert t.to("cpu") is t
    assert t.to(np.float32).dtype == t.to("float32").dtype == t.to(dtype=mg.float32).dtype
    assert t.to(t.dtype) is t
    g = grad(t.to(np.float32).sum(), t)
    assert g.dtype == np.float64


def test_a_computed_tensor_does_not_lose_its_history_on_the_way() -> None:
    class Elsewhere(Device):
        name = "elsewhere"

    with pytest.raises(TypeError, match="no gradient follows a tensor from device to device"):
        (x() * 2).to(Elsewhere())
    with mg.no_grad():
        assert (x() * 2).to(Elsewhere()).shape == (2, 3)


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
    "mg.interpolate": (lambda: mg.interpolate, AttributeError, "upsample_nearest"),
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


# --- Signatures ------------------------------------------------------------------------------

SIGNATURES = {
    "exp": "(x)",
    "add": "(a, b)",
    "sigmoid": "(x)",
    "batch_norm": "(x, gamma, beta, *, eps=1e-05, slope=1.0, moments=None)",
    "batch_norm_inference": "(x, gamma, beta, *, mean, var, eps=1e-05, slope=1.0)",
    "bias_leaky_relu": "(x, bias, *, slope)",
    "softmax_cross_entropy": "(x, labels)",
    "sum": "(x, axis=None, *, keepdims=False)",
    "clip": "(x, min=None, max=None)",
    "grad": "(output, inputs, *, grad_output=None, create_graph=False, allow_unused=False)",
    "Tensor": "(data, dtype=None)",
    "zeros": "(*shape, dtype=<class 'numpy.float32'>)",
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures_are_the_true_ones(name: str) -> None:
    assert signatures.plain(inspect.signature(getattr(mg, name))) == SIGNATURES[name]


def test_every_public_function_shows_its_arguments_and_itself() -> None:
    from minigan.tensor import Primitive

    for name in mg.ops.__all__:
        function = getattr(mg, name)
        parameters = inspect.signature(function).parameters
        assert not {"args", "options"} & parameters.keys() or name == "einsum", name
        assert function.__name__ == name
        if isinstance(function, Primitive):
            assert function.__module__ == "minigan"
            assert repr(function).startswith(f"<minigan.{name}(")


def test_help_shows_the_true_arguments() -> None:
    text = pydoc.render_doc(mg.batch_norm, renderer=pydoc.plaintext)
    assert "batch_norm(x, gamma, beta, *, eps=1e-05, slope=1.0, moments=None)" in text
    assert "Normalise each channel" in text
    assert "axis: 'Axes' = None" in pydoc.render_doc(mg.Tensor.sum, renderer=pydoc.plaintext)


def test_a_primitive_of_ones_own_shows_itself() -> None:
    def cube(x: np.ndarray, *, scale: float = 1.0) -> np.ndarray:
        return scale * x**3

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(mg.ops.PRIMITIVES, "cube", None)
        mine = mg.primitive(cube)
        assert repr(mine) == f"<{__name__}.cube(x, *, scale=1.0)>"
        with pytest.raises(ValueError, match=r"unexpected keyword.*it is cube\(x, \*, scale=1.0\)"):
            mine(x(), factor=2.0)


# --- Faults name public functions ------------------------------------------------------------

PUBLIC: dict[str, Callable[[], Any]] = {
    "conv2d of": lambda: mg.conv2d(mg.ones(2, 1, 8, 8), mg.ones(8, 3, 3, 3), mg.ones(8)),
    "conv_transpose2d": lambda: mg.conv_transpose2d(mg.ones(2, 1, 4, 4), mg.ones(8, 3, 3, 3)),
    "batch_norm of": lambda: mg.batch_norm(tensor(2, 3), 1.0, 2.0, 3.0),
    "batch_norm_inference of": lambda: mg.batch_norm_inference(tensor(2, 3), 1.0, 2.0, 3.0, 4.0),
    "sigmoid of": lambda: mg.sigmoid(tensor(2), tensor(2)),
    "exp of": lambda: mg.exp(tensor(2), tensor(2)),
    "add of": lambda: mg.add(tensor(2)),
    "tanh of": lambda: mg.tanh(tensor(2), dim=1),
}


@pytest.mark.parametrize("name", PUBLIC)
def test_a_fault_names_the_function_that_was_called(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}") as caught:
        PUBLIC[name]()
    text = one_sentence(caught.value)
    assert "_activated" not in text
    assert "lambda" not in text
    assert "_inference()" not in text


def test_the_line_that_called_is_named_and_not_one_of_ours() -> None:
    """Also through the decorators that take other names of arguments."""
    t = x()
    for result in (mg.clip(t, 0, 1), mg.pad(t, 1), t.sum(dim=1), t.flatten(), t.std(), t.view(-1)):
        assert result.node.site[0].co_filename == __file__


def test_results_are_named_after_the_function_that_was_called() -> None:
    image, w = mg.ones(1, 1, 4, 4), mg.ones(1, 1, 3, 3)
    assert repr(mg.conv2d(image, w, mg.ones(1))).endswith("from conv2d)")
    assert repr(mg.max_pool2d(image, 2)).endswith("from max_pool2d)")


def test_a_check_of_float32_says_what_to_give() -> None:
    with pytest.raises(ValueError, match=r"input 0 is float32.*x\.astype\(numpy\.float64\)"):
        mg.testing.check_gradients(mg.tanh, [A.astype(np.float32)])
    for inputs in (A, [A], Tensor(A), [Tensor(A)]):
        assert mg.testing.check_gradients(mg.tanh, inputs, order=1) < 1e-6

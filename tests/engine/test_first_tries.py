"""What users of PyTorch and NumPy try first works, and gives what NumPy gives."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from draw import normal

import minigan as mg
from minigan import Tensor, grad
from minigan.device import Device

A = normal(2, 3, seed=3)


def x() -> Tensor:
    return Tensor(A)


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

"""Arguments and places where users of PyTorch and NumPy put them: taken, or answered."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigan as mg
from minigan import losses, nn, optim

X = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)


def net() -> nn.Linear:
    return nn.Linear(2, 2, rng=mg.Generator(0))


def test_optimizers_take_numbers_where_pytorch_does() -> None:
    assert optim.SGD(net(), 0.1, 0.9).momentum == 0.9
    assert optim.RMSProp(net(), 0.1, 0.9, 1e-4).options["alpha"] == 0.9
    adam = optim.Adam(net(), 0.1, (0.5, 0.9), 1e-4, 0.1)
    assert (adam.options["eps"], adam.options["weight_decay"]) == (1e-4, 0.1)


def test_flatten_joins_the_axes_that_are_named() -> None:
    x = mg.Tensor(X.reshape(2, 2, 3, 2))
    assert x.flatten(1, 2).shape == (2, 6, 2)
    assert x.flatten(start_dim=0, end_dim=-2).shape == (12, 2)
    assert x.flatten(1).shape == (2, 12)
    assert nn.Flatten(1)(x).shape == nn.Flatten(start_dim=1, end_dim=-1)(x).shape == (2, 12)


def test_the_ways_that_the_hints_of_sorting_name() -> None:
    x, v = mg.Tensor(X), mg.Tensor(X[0])
    by_row = x[np.arange(len(x))[:, None], np.argsort(x.numpy())]
    np.testing.assert_array_equal(by_row.numpy(), np.sort(X))
    largest = v[np.argsort(v.numpy())[::-1][:3]]
    np.testing.assert_array_equal(largest.numpy(), np.sort(X[0])[::-1][:3])


def test_arange_counts_in_float64() -> None:
    wanted = np.arange(100, 1100, 0.1).astype(np.float32)
    np.testing.assert_array_equal(mg.arange(100, 1100, 0.1).numpy(), wanted)


def test_none_is_no_device() -> None:
    assert net().to(None).weight.dtype == np.float32
    assert mg.Tensor(X).to(None).dtype == np.float32


def test_a_weight_decay_of_adamw_is_not_zero() -> None:
    assert optim.AdamW(net(), 0.1).options["weight_decay"] == 0.01
    assert optim.Adam(net(), 0.1).options["weight_decay"] == 0


def test_lists_are_joined() -> None:
    np.testing.assert_array_equal(mg.concatenate([[1.0], [2.0]]).numpy(), [1, 2])


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "x.flatten(1, 0)": (lambda: mg.Tensor(X).flatten(1, 0), "behind axis 0"),
    "x.flatten(5)": (lambda: mg.Tensor(X).flatten(5), "no axis 5"),
    "mg.flatten(x, 5)": (lambda: mg.flatten(mg.Tensor(X), 5), "no axis 5"),
    "mg.pad(x, ((1, 2, 3),))": (lambda: mg.pad(mg.Tensor(X), ((1, 2, 3),)), "(before, after)"),
    "x.to('cuda:1')": (lambda: mg.Tensor(X).to("cuda:1"), "CUDA_VISIBLE_DEVICES=1"),
    "net.to('cpu:7')": (lambda: net().to("cpu:7"), "CUDA_VISIBLE_DEVICES=7"),
    "net.astype(None)": (lambda: net().astype(None), "floating-point"),
    "init.normal(0.0, 0.02)": (lambda: nn.init.normal(0.0, 0.02), "positional"),  # type: ignore[misc]
    "nn.Softmax()": (lambda: nn.Softmax(), "dim"),  # type: ignore[call-arg]
    "nn.Flatten(2)": (lambda: nn.Flatten(2), "nn.Reshape"),
    "Adam(amsgrad=True)": (lambda: optim.Adam(net(), 0.1, amsgrad=True), "no AMSGrad"),  # type: ignore[call-arg]
    "SGD(maximize=True)": (lambda: optim.SGD(net(), 0.1, maximize=True), "-loss"),  # type: ignore[call-arg]
    "reduction='none'": (
        lambda: losses.binary_cross_entropy_with_logits(mg.Tensor(X), 1.0, reduction="none"),  # type: ignore[call-arg]
        "mean over all logits",
    ),
    "rng.integers(0, 10, (2,))": (
        lambda: mg.Generator(0).integers(0, 10, (2,)),  # type: ignore[call-arg, arg-type]
        "rng.integers((2, 3), high=10)",
    ),
    "register_parameter of an array": (
        lambda: net().register_parameter("q", X),  # type: ignore[arg-type]
        "nn.Parameter(x)",
    ),
}


@pytest.mark.parametrize("tried", REFUSED)
def test_what_is_done_otherwise_is_said(tried: str) -> None:
    call, says = REFUSED[tried]
    with pytest.raises((TypeError, ValueError), match=re.escape(says)):
        call()


def test_an_array_is_not_written_over_a_parameter() -> None:
    layer = net()
    with pytest.raises(TypeError, match=r"Linear\.weight is a parameter"):
        layer.weight = X
    layer.weight = nn.Parameter(X)
    layer.load_state_dict({"weight": 2 * X}, strict=False)
    np.testing.assert_array_equal(layer.weight.numpy(), 2 * X)
    layer.bias = None
    assert list(layer.parameters()) == ["weight"]


def test_a_gradient_with_respect_to_a_module_is_that_of_its_parameters() -> None:
    layer = net()
    loss = mg.square(layer(X[:, :2])).mean()
    found, wanted = mg.grad(loss, layer), mg.grad(loss, layer.parameters())
    assert list(found) == list(wanted) == ["weight", "bias"]
    for name, g in found.items():
        np.testing.assert_array_equal(g.numpy(), wanted[name].numpy())


def test_integers_beside_an_integer_shape() -> None:
    assert mg.Generator(0).integers(5, 10).shape == (5,)

"""`check_module`: a layer of one's own, checked in one line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from draw import normal

import minigan as mg
from minigan import nn
from minigan.tensor import Tensor
from minigan.testing import GradientError, UndecidedError, check_module, examine_module


def rng() -> mg.Generator:
    return mg.Generator(3, "modules")


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, rng=rng(), activation=nn.LeakyReLU(0.2)),
        nn.BatchNorm2d(2, activation=nn.ReLU()),
        nn.Flatten(),
        nn.Dropout(0.5, rng=rng()),
        nn.GaussianNoise(0.1, rng=rng()),
        nn.SpectralNorm(nn.Linear(18, 3, rng=rng()), rng=rng()),
    )


class Two(nn.Module):
    """Two outputs of two inputs, the second of which are integers."""

    def __init__(self) -> None:
        self.table = nn.Embedding(5, 3, rng=rng())
        self.bias = nn.Parameter(np.zeros(3, np.float32))

    def forward(self, x: Tensor, index: np.ndarray) -> tuple[Tensor, Tensor]:
        y = x * self.table(index) + self.bias
        return mg.tanh(y), y.sum(1)


class Careless(Two):
    """10 % too much of the gradient with respect to the bias."""

    def forward(self, x: Tensor, index: np.ndarray) -> tuple[Tensor, Tensor]:
        with self.replaced({"bias": 1.1 * self.bias - (0.1 * self.bias).detach()}):
            return super().forward(x, index)


class Constant(nn.Module):
    """A factor whose gradient is right while it is 1, as it is at first: y x where y^2 x is due."""

    def __init__(self) -> None:
        self.factor = nn.Parameter(np.ones(3, np.float32))

    def forward(self, x: Tensor) -> Tensor:
        y = self.factor
        return x * y.detach() * y.detach() + (x * y - (x * y).detach())


CASES: dict[str, tuple[nn.Module, list[np.ndarray]]] = {
    "network": (network(), [normal(3, 1, 5, 5)]),
    "in inference": (network().eval(), [normal(3, 1, 5, 5)]),
    "float32": (nn.Linear(3, 2, rng=rng()), [normal(4, 3).astype(np.float32)]),
    "two": (Two(), [normal(4, 3), np.array([0, 2, 2, 4])]),
}


@pytest.mark.parametrize("name", CASES)
def test_a_right_module_is_right_and_stays_as_it_is(name: str) -> None:
    module, inputs = CASES[name]
    before = {key: a.copy() for key, a in module.state().items()}
    offsets = [m.rng.offset for m in module.modules().values() if hasattr(m, "rng")]
    training = {key: m.training for key, m in module.modules().items()}
    assert check_module(module, *inputs) < 1e-5
    assert {key: m.training for key, m in module.modules().items()} == training
    assert [m.rng.offset for m in module.modules().values() if hasattr(m, "rng")] == offsets
    for key, array in module.state().items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, before[key])


def test_it_looks_at_every_input_and_every_parameter() -> None:
    found = examine_module(Two(), *CASES["two"][1])
    assert found.directions == 3 + 3 + 1  # in two orders, and by the gradient of the output


@pytest.mark.parametrize(
    ("module", "inputs", "says"),
    [
        (Careless(), CASES["two"][1], r"with respect to bias of shape \(3,\)"),
        (Constant(), [normal(4, 3)], "with respect to"),
    ],
)
def test_a_wrong_module_is_wrong(module: nn.Module, inputs: list[Any], says: str) -> None:
    with pytest.raises(GradientError, match=says):
        check_module(module, *inputs)


def test_a_module_that_gives_float32_is_undecided() -> None:
    class Narrow(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return Tensor(x.data.astype(np.float32))

    with pytest.raises(UndecidedError, match="float32 values"):
        check_module(Narrow(), normal(3, 2))

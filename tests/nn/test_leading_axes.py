"""Layers of vectors take any number of leading axes, and their bias goes along the last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from draw import normal

import minigan as mg
from minigan import nn
from minigan.tensor import Tensor, grad

WIDTH = 4  # of input and output alike, so that a bias along a wrong axis would fit


def rng() -> mg.Generator:
    return mg.Generator(0)


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "Linear": lambda: nn.Linear(WIDTH, WIDTH, rng=rng()),
    "Linear without bias": lambda: nn.Linear(WIDTH, WIDTH, rng=rng(), bias=False),
    "Linear, fused": lambda: nn.Linear(WIDTH, WIDTH, rng=rng(), activation=nn.LeakyReLU(0.2)),
    "Linear, tanh": lambda: nn.Linear(WIDTH, WIDTH, rng=rng(), activation=nn.Tanh()),
    "Linear, not fused": lambda: nn.Linear(WIDTH, WIDTH, rng=rng(), activation=nn.ELU()),
    "Maxout": lambda: nn.Maxout(WIDTH, WIDTH, 2, rng=rng()),
    "WeightNormLinear": lambda: nn.WeightNormLinear(WIDTH, WIDTH, rng=rng()),
    "SpectralNorm": lambda: nn.SpectralNorm(nn.Linear(WIDTH, WIDTH, rng=rng()), rng=rng()).eval(),
}


def made(name: str) -> nn.Module:
    layer = LAYERS[name]().astype(np.float64)
    for i, (key, p) in enumerate(layer.parameters().items()):
        if key.endswith("bias"):
            p.data[...] = normal(*p.shape, seed=20 + i)
    return layer


@pytest.mark.parametrize("shape", [(WIDTH,), (1, WIDTH), (2, WIDTH, WIDTH), (2, 3, 5, WIDTH),
                                   (WIDTH, WIDTH, WIDTH), (0, WIDTH), (2, 0, WIDTH)])  # fmt: skip
@pytest.mark.parametrize("name", LAYERS)
def test_any_leading_axes(name: str, shape: Any) -> None:
    layer, x = made(name), Tensor(normal(*shape))
    rows = Tensor(x.numpy().reshape(-1, WIDTH))
    y, flat = layer(x), layer(rows)
    assert y.shape == shape
    np.testing.assert_array_equal(y.numpy().reshape(-1, WIDTH), flat.numpy())
    weights = normal(*shape, seed=1)
    mine = grad(y, {"x": x, **layer.parameters()}, grad_output=weights)
    theirs = grad(flat, {"x": rows, **layer.parameters()}, grad_output=weights.reshape(-1, WIDTH))
    for key, g in mine.items():
        np.testing.assert_array_equal(g.numpy().reshape(theirs[key].shape), theirs[key].numpy())


@pytest.mark.parametrize("name", LAYERS)
def test_one_number_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="x is one number"):
        made(name)(Tensor(np.array(1.0)))


def test_a_vector_and_three_axes_by_their_formula() -> None:
    layer = made("Linear")
    for x in (normal(WIDTH), normal(2, WIDTH, WIDTH)):
        expected = x @ layer.weight.numpy().T + layer.bias.numpy()  # type: ignore[attr-defined]
        np.testing.assert_allclose(layer(Tensor(x)).numpy(), expected)


def test_arrays_are_taken_as_well() -> None:
    layer = nn.Linear(WIDTH, WIDTH, rng=rng())
    for x in (normal(WIDTH), normal(2, 3, WIDTH)):
        y = layer(x)
        assert (y.dtype, y.shape) == (np.float32, x.shape)


@pytest.mark.parametrize("x", [(WIDTH,), ()])
def test_a_bias_of_each_channel_needs_channels(x: Any) -> None:
    bias = Tensor(np.zeros(WIDTH))
    calls = [
        lambda x: mg.ops.bias_activation(x, bias),
        lambda x: mg.bias_leaky_relu(x, bias, slope=0.2),
        lambda x: mg.bias_tanh(x, bias),
        lambda x: mg.bias_sigmoid(x, bias),
        lambda x: mg.batch_norm(x, bias, bias),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=rf"\({', '.join(map(str, x))}"):
            call(Tensor(normal(*x)))

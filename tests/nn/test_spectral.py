"""Spectral normalisation: against an SVD, in training and in inference, and its gradient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny

import minigan as mg
from minigan import Tensor, grad, nn
from minigan.testing import check_gradients
from minigan.training.state import State


def rng() -> mg.Generator:
    return mg.Generator(0, "spectral")


def linear(rows: int = 5, columns: int = 3, **options: int) -> nn.SpectralNorm:
    return nn.SpectralNorm(nn.Linear(columns, rows, rng=rng()), rng=rng(), **options)


def largest(weight: np.ndarray) -> float:
    """The largest singular value of a weight as the matrix (rows, everything else)."""
    return float(np.linalg.svd(weight.reshape(len(weight), -1), compute_uv=False)[0])


def normalised_layers(state: State) -> list[nn.SpectralNorm]:
    return [m for m in state.players["D"].modules().values() if isinstance(m, nn.SpectralNorm)]


def test_the_power_iteration_finds_the_largest_singular_value() -> None:
    layer = linear(7, 4)
    layer.converge(200)
    u, s, vt = np.linalg.svd(layer.layer.weight.data)
    np.testing.assert_allclose(np.abs(u[:, 0] @ layer.u), 1, rtol=1e-5)
    np.testing.assert_allclose(np.abs(vt[0] @ layer.v), 1, rtol=1e-5)
    np.testing.assert_allclose(layer.normalised().data * s[0], layer.layer.weight.data, rtol=1e-5)


def test_the_layer_is_its_own_layer_divided() -> None:
    x = Tensor(np.random.default_rng(0).standard_normal((2, 3, 5, 5)).astype(np.float32))
    inner = nn.Conv2d(3, 4, 3, stride=2, padding=1, rng=rng(), activation=nn.LeakyReLU(0.1))
    layer = nn.SpectralNorm(inner, rng=rng())
    layer.converge(200)
    inner.bias = nn.Parameter(np.arange(4, dtype=np.float32))
    before = inner.weight
    y = layer(x)
    assert inner.weight is before
    inner.weight = nn.Parameter(before.data / np.float32(largest(before.data)))
    np.testing.assert_allclose(y.data, inner(x).data, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kernel", "stride", "most"), [(3, 1, 3), (4, 2, 2), (1, 1, 1), (5, 2, 3)])
def test_a_convolution_stretches_by_as_many_windows_as_a_pixel_lies_in(
    kernel: int, stride: int, most: int
) -> None:
    """Of one filter whose values are all equal, and equal pixels, nearly; never by more."""
    inner = nn.Conv2d(1, 1, kernel, stride=stride, padding=kernel // 2, bias=False, rng=rng())
    inner.weight.data[...] = 1
    layer = nn.SpectralNorm(inner, rng=rng())
    x = np.ones((1, 1, 60, 60), np.float32)
    stretch = np.linalg.norm(layer(Tensor(x)).data) / np.linalg.norm(x)
    assert 0.8 * most < stretch <= most * 1.0001


def test_each_pass_in_training_is_one_more_iteration_and_inference_is_none() -> None:
    x = Tensor(np.ones((2, 3), np.float32))
    once, thrice = linear(iterations=1), linear(iterations=3)
    for layer in (once, thrice):
        layer.u = np.eye(5, dtype=np.float32)[0]
    for _ in range(3):
        once(x)
    thrice(x)
    np.testing.assert_array_equal(once.u, thrice.u)
    with once.evaluating():
        before = {name: array.copy() for name, array in once.buffers().items()}
        once(x)
        assert before.keys() == {"u", "v"}
        for name, array in once.buffers().items():
            np.testing.assert_array_equal(array, before[name])


def test_an_earlier_graph_keeps_its_u_and_v() -> None:
    layer, x = linear(), Tensor(np.ones((1, 3), np.float32))
    layer.u = np.eye(5, dtype=np.float32)[0]
    first = layer(x).sum()
    expected = grad(first, layer.layer.weight).data.copy()
    layer.u = np.eye(5, dtype=np.float32)[0]
    first = layer(x).sum()
    layer(x)  # another iteration, before the gradient is taken
    np.testing.assert_array_equal(grad(first, layer.layer.weight).data, expected)


def test_the_gradient_is_equation_12_of_the_paper() -> None:
    """dL/dW = (g - (sum g * W_SN) u v^T) / sigma, where g is the gradient by W_SN."""
    layer = linear()
    layer.converge(100)
    W, u, v = layer.layer.weight, layer.u, layer.v
    g = np.random.default_rng(0).standard_normal(W.shape).astype(np.float32)
    normalised = layer.normalised()
    found = grad(normalised, W, grad_output=Tensor(g)).data
    sigma = u @ W.data @ v
    expected = (g - (g * normalised.data).sum() * np.outer(u, v)) / sigma
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("order", [1, 2])
def test_a_whole_discriminator(order: int) -> None:
    """A hinge loss through two normalised layers, by their weights; u and v stand still."""
    convolution = nn.Conv2d(1, 2, 2, rng=rng(), activation=nn.Tanh())
    D = nn.Sequential(
        nn.SpectralNorm(convolution, rng=rng()),
        nn.Flatten(),
        nn.SpectralNorm(nn.Linear(8, 1, rng=rng()), rng=rng()),
    )
    D.astype(np.float64).eval()
    parameters = D.parameters()

    def loss(x: Tensor, *values: Tensor) -> Tensor:
        with D.replaced(dict(zip(parameters, values, strict=True))):
            return mg.losses.hinge_discriminator_loss(D(x), D(x * 0.5 - 1))

    x = np.random.default_rng(0).standard_normal((3, 1, 3, 3))
    check_gradients(loss, [x, *(p.data for p in parameters.values())], order=order)


def test_a_zero_weight_gives_no_nan_in_the_iteration() -> None:
    layer = linear()
    layer.layer.weight = nn.Parameter(np.zeros((5, 3), np.float32))
    layer.converge(2)
    assert np.isfinite(layer.u).all()
    assert np.isfinite(layer.v).all()


def test_a_transposed_convolution_is_refused() -> None:
    """Its weight is (I, O, kH, kW), whose first axis is not the output's."""
    rng = mg.Generator(0)
    with pytest.raises(
        TypeError, match=r"ConvTranspose2d has \(I, O, kH, kW\); normalise a Conv2d"
    ):
        nn.SpectralNorm(nn.ConvTranspose2d(2, 3, 4, rng=rng), rng=rng)


def test_iterations_are_counted_from_one() -> None:
    with pytest.raises(ValueError, match="at least one iteration, not 0"):
        linear(iterations=0)


@pytest.mark.parametrize("data", [tiny.images(), tiny.images((3, 32, 32)), tiny.points(2)])
def test_the_singular_values_of_a_trained_discriminator_are_one(data: tiny.Dataset) -> None:
    state = tiny.state("sngan", data, lr_d=1e-2)
    before = [m.layer.weight.data.copy() for m in normalised_layers(state)]
    for _ in range(20):
        state.advance()
    layers = normalised_layers(state)
    assert len(layers) == 4
    for layer, old in zip(layers, before, strict=True):
        moved = np.linalg.norm(layer.layer.weight.data - old)
        assert moved > 0.05 * np.linalg.norm(old)
        assert largest(layer.normalised().data) == pytest.approx(1, abs=0.05)


def test_u_and_v_are_in_the_checkpoint(tmp_path: Path) -> None:
    state = tiny.state("sngan")
    for _ in range(2):
        state.advance()
    path = state.save(tmp_path, "sngan")
    other = tiny.state("sngan", seed=1)
    other.restore(path, "sngan")
    for mine, theirs in zip(normalised_layers(state), normalised_layers(other), strict=True):
        np.testing.assert_array_equal(mine.u, theirs.u)
        np.testing.assert_array_equal(mine.v, theirs.v)

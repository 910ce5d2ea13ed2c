"""Layers: what each computes, and its initial values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from draw import normal

import minigan as mg
from minigan import Generator, nn
from minigan.nn import init
from minigan.tensor import Tensor, grad


def rng() -> Generator:
    return Generator(0, "layers")


# --- Layers ----------------------------------------------------------------------------------


ACTIVATIONS = [nn.ReLU(), nn.LeakyReLU(0.2), nn.Tanh(), nn.Sigmoid(), nn.ELU()]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("kind", ["Linear", "Conv2d", "ConvTranspose2d"])
def test_a_fused_activation_equals_a_separate_one(kind: str, activation: nn.Activation) -> None:
    def build(fused: bool) -> nn.Module:
        options: dict[str, Any] = {"rng": rng(), "activation": activation if fused else None}
        if kind == "Linear":
            return nn.Linear(3, 4, **options)
        return getattr(nn, kind)(3, 4, 3, stride=2, padding=1, **options)

    x = Tensor(normal(2, 3) if kind == "Linear" else normal(2, 3, 5, 5))
    answers = []
    for fused in (True, False):
        layer = build(fused).astype(np.float64)
        layer.bias.data[:] = normal(4, seed=1)
        y = layer(x) if fused else activation(layer(x))
        g = Tensor(normal(*y.shape, seed=2))
        answers.append([y, *grad(y, [x, layer.weight, layer.bias], grad_output=g)])
    for a, b in zip(*answers, strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-10, atol=1e-12)


def test_an_activation_without_bias() -> None:
    layer = nn.Linear(3, 2, rng=rng(), bias=False, activation=nn.Tanh())
    x = normal(4, 3, dtype=np.float32)
    np.testing.assert_allclose(layer(Tensor(x)).data, np.tanh(x @ layer.weight.data.T), rtol=1e-5)
    assert list(layer.parameters()) == ["weight"]


@pytest.mark.parametrize("slope", [-0.1, 1.1])
def test_a_slope_out_of_range(slope: float) -> None:
    with pytest.raises(ValueError, match=f"between 0 and 1, not {slope}"):
        nn.LeakyReLU(slope)


def test_layers_keep_channels_last_in_memory() -> None:
    def last(array: np.ndarray) -> bool:
        return array.transpose(0, 2, 3, 1).flags.c_contiguous

    memory = np.empty((4, 8, 8, 3), np.float32)
    memory[...] = normal(4, 8, 8, 3)
    for layer in (
        nn.BatchNorm2d(3, activation=nn.ReLU()),
        nn.BatchNorm2d(3, activation=nn.Tanh()).eval(),
        nn.LeakyReLU(0.2),
        nn.Tanh(),
        nn.Sigmoid(),
        nn.GELU(),
        nn.SiLU(),
        nn.PReLU(3),
        nn.MaxPool2d(2),
        nn.AvgPool2d(3, stride=2, padding=1),
        nn.UpsampleNearest(2),
        nn.Upsample(scale_factor=2),
    ):
        x = Tensor(memory.transpose(0, 3, 1, 2))
        y = layer(x)
        g = np.empty((4, *y.shape[2:], 3), np.float32)
        g[...] = 1
        assert last(y.data), layer
        assert last(grad(y, x, grad_output=Tensor(g.transpose(0, 3, 1, 2))).data), layer


def test_maxout_takes_the_largest_piece_of_each_unit() -> None:
    layer = nn.Maxout(3, 2, 4, rng=rng()).astype(np.float64)
    x = normal(5, 3)
    pieces = (x @ layer.linear.weight.data.T).reshape(5, 2, 4)
    np.testing.assert_allclose(layer(Tensor(x)).data, pieces.max(2))


def test_embedding() -> None:
    layer = nn.Embedding(4, 3, rng=rng())
    labels = np.array([1, 3, 1])
    y = layer(labels)
    np.testing.assert_array_equal(y.data, layer.weight.data[labels])
    found = grad(y.sum(), layer.weight).data
    np.testing.assert_array_equal(found[:, 0], [0, 2, 0, 1])
    assert layer(np.zeros(0, np.int64)).shape == (0, 3)


@pytest.mark.parametrize("labels", [[0, 4], [-1, 2]])
def test_an_embedding_refuses_labels_that_it_does_not_have(labels: list[int]) -> None:
    words = f"labels from {min(labels)} to {max(labels)} do not fit an embedding of 4"
    with pytest.raises(ValueError, match=words):
        nn.Embedding(4, 3, rng=rng())(np.array(labels))


@pytest.mark.parametrize("shape", [(6, 3), (2, 3, 4, 5)])
def test_batch_norm_and_its_running_moments(shape: tuple[int, ...]) -> None:
    layer = nn.BatchNorm(3, momentum=0.3, eps=1e-3).astype(np.float64)
    layer.gamma.data[:], layer.beta.data[:] = normal(3, seed=1), normal(3, seed=2)
    axes = (0, *range(2, len(shape)))
    mean, var = np.zeros(3), np.ones(3)
    wide = (1, 3, *(1,) * (len(shape) - 2))
    for step in range(3):
        x = 2 * normal(*shape, seed=step) + 5
        y = layer(Tensor(x))
        centred = x - x.mean(axes).reshape(wide)
        expected = centred / np.sqrt(x.var(axes).reshape(wide) + 1e-3)
        expected = expected * layer.gamma.data.reshape(wide) + layer.beta.data.reshape(wide)
        np.testing.assert_allclose(y.data, expected, rtol=1e-9, atol=1e-10)
        # The newest batch weighs `momentum`, and its variance is the unbiased one.
        mean, var = 0.7 * mean + 0.3 * x.mean(axes), 0.7 * var + 0.3 * x.var(axes, ddof=1)
        np.testing.assert_allclose(layer.running_mean, mean)
        np.testing.assert_allclose(layer.running_var, var)
    y = layer.eval()(Tensor(x))
    expected = (x - mean.reshape(wide)) / np.sqrt(var.reshape(wide) + 1e-3)
    expected = expected * layer.gamma.data.reshape(wide) + layer.beta.data.reshape(wide)
    np.testing.assert_allclose(y.data, expected, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(layer.running_mean, mean)  # inference leaves them alone


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_with_an_activation_equals_it_and_then_the_activation(
    activation: nn.Activation, training: bool
) -> None:
    x, g = Tensor(normal(4, 3, 5, 2)), Tensor(normal(4, 3, 5, 2, seed=1))
    answers = []
    for given in (activation, None):
        layer = nn.BatchNorm2d(3, activation=given).astype(np.float64).train(training)
        layer.gamma.data[:], layer.beta.data[:] = normal(3, seed=2), normal(3, seed=3)
        layer.running_mean[:] = normal(3, seed=4)
        y = layer(x) if given else activation(layer(x))
        gradients = grad(y, [x, layer.gamma, layer.beta], grad_output=g)
        answers.append([*(t.data for t in (y, *gradients)), *layer.buffers().values()])
        assert list(layer.state()) == ["gamma", "beta", "running_mean", "running_var"]
    for a, b in zip(*answers, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_batch_norm_and_a_leaky_relu_are_one_operation(slope: float) -> None:
    layer = nn.BatchNorm2d(3, activation=nn.LeakyReLU(slope))
    for training, name in ((True, "batch_norm"), (False, "batch_norm_inference")):
        y = layer.train(training)(Tensor(normal(2, 3, 4, 4, dtype=np.float32)))
        assert (y.node.primitive.name, y.node.options["slope"]) == (name, slope)


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_without_a_scale_to_learn(training: bool) -> None:
    layers = [nn.BatchNorm1d(3, learn_scale=learn).train(training) for learn in (True, False)]
    x = Tensor(normal(5, 3, dtype=np.float32))
    (y, dx, dbeta), fixed = (
        (out := layer(x), *grad(out.sum(), [x, layer.beta])) for layer in layers
    )
    for expected, found in zip((y, dx, dbeta), fixed, strict=True):
        np.testing.assert_array_equal(found.data, expected.data)
    assert list(layers[1].parameters()) == ["beta"]
    assert list(layers[1].state()) == ["beta", "gamma", "running_mean", "running_var"]


def test_batch_norm_stays_in_float32() -> None:
    layer = nn.BatchNorm2d(3)
    for mode in (True, False):
        y = layer.train(mode)(Tensor(normal(2, 3, 4, 4, dtype=np.float32)))
        assert y.dtype == layer.running_mean.dtype == layer.running_var.dtype == np.float32


def test_what_batch_norm_refuses() -> None:
    with pytest.raises(ValueError, match=r"two values a channel, but x is \(1, 3\)"):
        nn.BatchNorm1d(3)(Tensor(normal(1, 3)))
    with pytest.raises(ValueError, match=r"BatchNorm1d takes \(N, C\)"):
        nn.BatchNorm1d(3)(Tensor(normal(1, 3, 2, 2)))
    with pytest.raises(ValueError, match=r"BatchNorm2d takes \(N, C, H, W\)"):
        nn.BatchNorm2d(3)(Tensor(normal(2, 3)))
    with pytest.raises(ValueError, match=r"InstanceNorm2d takes"):
        nn.InstanceNorm2d(3)(Tensor(normal(2, 3)))
    with pytest.raises(ValueError, match="go together"):
        nn.BatchNorm(3, gamma_init=init.normal(0.02))
    assert nn.BatchNorm1d(3).eval()(Tensor(normal(1, 3, dtype=np.float32))).shape == (1, 3)


def test_batch_norm_may_start_from_a_random_gamma() -> None:
    layer = nn.BatchNorm(1000, rng=rng(), gamma_init=init.normal(0.02, mean=1.0))
    assert abs(layer.gamma.data.mean() - 1) < 0.003
    assert abs(layer.gamma.data.std() - 0.02) < 0.002


def test_instance_norm_by_its_formula() -> None:
    layer = nn.InstanceNorm2d(3).astype(np.float64)
    layer.gamma.data[:], layer.beta.data[:] = normal(3, seed=1), normal(3, seed=2)
    x = normal(2, 3, 4, 5) + 3
    centred = x - x.mean((2, 3), keepdims=True)
    expected = centred / np.sqrt(x.var((2, 3), keepdims=True) + 1e-5)
    expected = expected * layer.gamma.data[:, None, None] + layer.beta.data[:, None, None]
    np.testing.assert_allclose(layer(Tensor(x)).data, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("own", [5, (5,), (4, 5), (3, 4, 5)])
def test_layer_norm_by_its_formula(own: int | tuple[int, ...]) -> None:
    layer = nn.LayerNorm(own).astype(np.float64)
    shape = layer.gamma.shape
    layer.gamma.data[...], layer.beta.data[...] = normal(*shape, seed=1), normal(*shape, seed=2)
    x = normal(2, 3, 4, 5) + 3
    axes = tuple(range(-len(shape), 0))
    centred = x - x.mean(axes, keepdims=True)
    expected = centred / np.sqrt(x.var(axes, keepdims=True) + 1e-5)
    expected = expected * layer.gamma.data + layer.beta.data
    np.testing.assert_allclose(layer(Tensor(x)).data, expected, rtol=1e-9, atol=1e-10)


def test_dropout() -> None:
    x = Tensor(np.ones((50, 40), np.float32))
    layer = nn.Dropout(0.2, rng=rng())
    y = layer(x)
    kept = y.data > 0
    np.testing.assert_array_equal(np.unique(y.data), np.float32([0, 1.25]))
    assert abs(kept.mean() - 0.8) < 0.05
    # The gradient goes where the values went, by the mask of that very call.
    layer(x)
    np.testing.assert_array_equal(grad(y.sum(), x).data, kept * np.float32(1.25))
    assert layer.eval()(x) is x
    assert nn.Dropout(0.0, rng=rng())(x) is x
    assert layer.train()(Tensor(normal(3, 3))).dtype == np.float64


@pytest.mark.parametrize("value", [0.0, -0.5, 1.0, 1.5])
def test_dropout_refuses_what_is_no_probability(value: float) -> None:
    if value != 0:
        with pytest.raises(ValueError, match=rf"drops .* must be in \[0, 1\), not {value}"):
            nn.Dropout(value, rng=rng())
    if value != 1:
        with pytest.raises(ValueError, match=rf"keeps .* must be in \(0, 1\], not {value}"):
            nn.Dropout(keep=value, rng=rng())


def test_dropout_of_p_and_of_keep() -> None:
    """The masks of before for the same `keep`, and the same from p as from 1 - p."""
    x = Tensor(np.ones((50, 40), np.float32))
    for keep in np.arange(1, 101) / 100:
        by_keep, by_p = nn.Dropout(keep=keep, rng=rng()), nn.Dropout(1 - keep, rng=rng())
        assert by_keep.keep == keep
        assert np.float32(by_p.keep) == np.float32(keep)
        assert np.float32(1 / by_p.keep) == np.float32(1 / keep)
    for keep in (0.1, 0.3, 0.8):
        mask = rng().dropout_mask(x.shape, keep)
        for layer in (nn.Dropout(keep=keep, rng=rng()), nn.Dropout(1 - keep, rng=rng())):
            np.testing.assert_array_equal(layer(x).data, mask)
    layer = nn.Dropout(rng=rng())
    assert (layer.p, layer.keep) == (0.5, 0.5)
    layer.p = 0.25
    assert layer.keep == 0.75
    with pytest.raises(TypeError, match="Dropout takes p, or keep, which is 1 - p, but not both"):
        nn.Dropout(0.5, keep=0.5, rng=rng())


def test_containers() -> None:
    layers = nn.Linear(6, 4, rng=rng()), nn.Tanh(), nn.Reshape(2, 2)
    net = nn.Sequential(*layers)
    assert (len(net), list(net), net[1]) == (3, list(layers), layers[1])
    assert net(Tensor(normal(5, 6, dtype=np.float32))).shape == (5, 2, 2)
    assert nn.Flatten()(Tensor(normal(2, 3, 4))).shape == (2, 12)


def test_pooling_and_upsampling() -> None:
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    t = Tensor(x)
    np.testing.assert_array_equal(nn.MaxPool2d(2)(t).data[0, 0], [[5, 7], [13, 15]])
    np.testing.assert_array_equal(nn.AvgPool2d(2)(t).data[0, 0], [[2.5, 4.5], [10.5, 12.5]])
    padded = nn.AvgPool2d(2, stride=4, padding=1)(t).data[0, 0]
    np.testing.assert_array_equal(padded, [[0, 3 / 4], [12 / 4, 15 / 4]])
    negative = nn.MaxPool2d(2, padding=1)(Tensor(x - 100)).data
    assert negative.max() == -85  # padding never wins
    assert negative[0, 0, 0, 0] == -100
    np.testing.assert_array_equal(nn.UpsampleNearest(2)(t).data, x.repeat(2, 2).repeat(2, 3))


def test_the_first_of_equal_maxima_gets_the_gradient() -> None:
    x = Tensor(np.ones((1, 1, 2, 2)))
    np.testing.assert_array_equal(grad(mg.max_pool2d(x, 2).sum(), x).data, [[[[1, 0], [0, 0]]]])


def test_conv_transpose_is_the_adjoint_of_conv() -> None:
    x, w = normal(2, 3, 7, 6), normal(4, 3, 3, 2, seed=1)
    y = mg.conv2d(Tensor(x), Tensor(w), stride=(2, 3), padding=1)
    g = normal(*y.shape, seed=2)
    extra = tuple((n + 2 - k) % s for n, k, s in zip((7, 6), (3, 2), (2, 3), strict=True))
    back = mg.conv_transpose2d(Tensor(g), Tensor(w), stride=(2, 3), padding=1, output_padding=extra)
    assert back.shape == x.shape
    np.testing.assert_allclose(np.sum(y.data * g), np.sum(back.data * x), rtol=1e-10)


def test_what_a_transposed_convolution_refuses() -> None:
    x, w = Tensor(normal(1, 2, 3, 3)), Tensor(normal(2, 2, 3, 3))
    with pytest.raises(ValueError, match="output_padding"):
        mg.conv_transpose2d(x, w, stride=2, output_padding=2)
    with pytest.raises(ValueError, match="four axes"):
        mg.conv_transpose2d(Tensor(normal(2, 3, 3)), w)
    with pytest.raises(ValueError, match=r"\(1, 3, 3, 3\)|3 "):
        mg.conv_transpose2d(Tensor(normal(1, 3, 3, 3)), w)


# --- Initial values --------------------------------------------------------------------------


def test_normal_and_constant() -> None:
    x = init.normal(0.02, mean=1.0)(rng(), (100, 100), 1, 1)
    assert x.dtype == np.float32
    assert abs(x.mean() - 1) < 1e-3
    assert abs(x.std() - 0.02) < 1e-3
    np.testing.assert_array_equal(init.constant(3)(rng(), (2, 2), 1, 1), np.full((2, 2), 3))


def test_uniform_and_glorot() -> None:
    x = init.uniform(0.3)(rng(), (100, 100), 1, 1)
    assert -0.3 <= x.min() < -0.299
    assert 0.299 < x.max() < 0.3
    y = init.glorot(2.0)(rng(), (100, 50), 50, 100)
    limit = 2 * math.sqrt(6 / 150)
    assert y.dtype == np.float32
    assert np.abs(y).max() <= limit
    np.testing.assert_allclose(y.var(), 4 * 2 / 150, rtol=0.05)


def test_he_keeps_the_variance_through_relu() -> None:
    x = init.he()(rng(), (200, 100), 100, 200)
    np.testing.assert_allclose(x.var(), 2 / 100, rtol=0.05)
    layer = nn.Linear(400, 400, rng=rng(), activation=nn.ReLU())
    y = layer(Tensor(normal(50, 400, dtype=np.float32)))
    np.testing.assert_allclose((y.data**2).mean(), 1, rtol=0.1)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5), (3, 2, 2, 2)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    x = init.orthogonal(1.5)(rng(), shape, 1, 1)
    assert x.shape == shape
    assert x.dtype == np.float32
    flat = x.reshape(shape[0], -1).astype(np.float64)
    small = flat @ flat.T if flat.shape[0] <= flat.shape[1] else flat.T @ flat
    np.testing.assert_allclose(small, 1.5**2 * np.eye(len(small)), atol=1e-6)


def test_the_fans_of_convolutions() -> None:
    seen: list[tuple[Any, ...]] = []

    def spy(rng: Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
        seen.append((shape, fan_in, fan_out))
        return np.zeros(shape, np.float32)

    nn.Conv2d(4, 6, 3, groups=2, rng=rng(), init=spy)
    nn.ConvTranspose2d(4, 6, 4, stride=2, rng=rng(), init=spy)
    nn.Linear(5, 7, rng=rng(), init=spy)
    assert seen == [((6, 2, 3, 3), 18, 27), ((4, 6, 4, 4), 16, 96), ((7, 5), 5, 7)]


def test_reshape_takes_numbers_or_a_tuple() -> None:
    x = Tensor(np.zeros((2, 6), np.float32))
    assert nn.Reshape((3, 2))(x).shape == nn.Reshape(3, 2)(x).shape == (2, 3, 2)
    assert repr(nn.Reshape([3, 2])) == repr(nn.Reshape(3, 2))

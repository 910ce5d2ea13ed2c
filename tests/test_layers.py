"""Modules and layers: names, states, copies, summaries; what each layer computes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import minigan as mg
from minigan import Generator, nn
from minigan.nn import init
from minigan.tensor import Tensor, grad


def rng() -> Generator:
    return Generator(0, "layers")


def normal(*shape: int, seed: int = 0, dtype: Any = np.float64) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


class Parts(nn.Module):
    """Every kind of attribute that a module looks into."""

    def __init__(self) -> None:
        self.scale = Tensor(np.ones(2, np.float32))
        self.name = "not a parameter"
        self.trunk = [nn.Linear(2, 3, rng=rng()), nn.BatchNorm1d(3)]
        self.heads = {"a": nn.Linear(3, 1, rng=rng(), bias=False), "b": nn.Tanh()}
        self.pair = (nn.Linear(1, 1, rng=rng()), [nn.Flatten()])
        self.loose = [Tensor(np.zeros(1, np.float32))]
        self.count = np.array(3)
        self.nothing = None


# --- Module ----------------------------------------------------------------------------------


def test_names_in_the_order_of_definition() -> None:
    net = Parts()
    assert list(net.parameters()) == [
        "scale", "trunk.0.weight", "trunk.0.bias", "trunk.1.gamma", "trunk.1.beta",
        "heads.a.weight", "pair.0.weight", "pair.0.bias", "loose.0",
    ]  # fmt: skip
    assert list(net.buffers()) == ["trunk.1.running_mean", "trunk.1.running_var", "count"]
    assert list(net.modules()) == [
        "", "trunk.0", "trunk.1", "heads.a", "heads.b", "pair.0", "pair.1.0",
    ]  # fmt: skip
    assert net.modules()[""] is net
    assert list(net.state()) == [*net.parameters(), *net.buffers()]
    assert net.state()["trunk.0.weight"] is net.trunk[0].weight.data


def test_a_shared_parameter_appears_once() -> None:
    net = Parts()
    net.trunk[1].gamma = net.trunk[0].bias
    net.again = net.trunk[0]
    names = list(net.parameters())
    assert "trunk.0.bias" in names
    assert "trunk.1.gamma" not in names
    assert not any(n.startswith("again") for n in names)


def test_a_shared_parameter_gets_the_sum_of_its_gradients() -> None:
    one, two = nn.Linear(2, 2, rng=rng()), nn.Linear(2, 2, rng=rng())
    x = Tensor(normal(3, 2, dtype=np.float32))
    separate = nn.Sequential(one, two)
    two.weight = Tensor(one.weight.data.copy())
    by_one, by_two = grad(separate(x).sum(), [one.weight, two.weight])
    two.weight = one.weight
    shared = grad(separate(x).sum(), separate.parameters())
    np.testing.assert_allclose(shared["layers.0.weight"].data, (by_one + by_two).data, rtol=1e-5)
    assert "layers.1.weight" not in shared


def test_training_and_inference() -> None:
    net = Parts()
    assert all(m.training for m in net.modules().values())
    assert net.eval() is net
    assert not any(m.training for m in net.modules().values())
    assert net.train() is net
    assert all(m.training for m in net.modules().values())


def test_evaluating_gives_each_part_its_mode_back() -> None:
    net = Parts()
    net.trunk[1].eval()
    before = {n: m.training for n, m in net.modules().items()}
    with pytest.raises(KeyError), net.evaluating() as same:  # noqa: PT012
        assert same is net
        assert not any(m.training for m in net.modules().values())
        raise KeyError
    assert {n: m.training for n, m in net.modules().items()} == before
    assert not net.trunk[1].training


def test_a_module_without_forward() -> None:
    with pytest.raises(TypeError, match="Parts has no forward"):
        Parts()(1)


def test_a_state_is_loaded_in_place() -> None:
    net, other = Parts(), Parts()
    for a in other.state().values():
        a += 1
    arrays = net.state()
    net.load_state({n: a.copy() for n, a in other.state().items()})
    for n, a in net.state().items():
        assert a is arrays[n]
        np.testing.assert_array_equal(a, other.state()[n])


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("missing", "loose.0 is missing in the saved state"),
        ("extra", "more is missing in Parts"),
        ("shape", r"loose.0 has shape \(1,\), not \(2,\)"),
        ("buffer", "count is missing in the saved state"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_whole(how: str, words: str) -> None:
    net = Parts()
    state = {n: a + 1 for n, a in net.state().items()}
    before = {n: a.copy() for n, a in net.state().items()}
    if how == "missing":
        del state["loose.0"]
    elif how == "extra":
        state["more"] = np.ones(1)
    elif how == "shape":
        state["loose.0"] = np.ones(2)
    else:
        del state["count"]
    with pytest.raises(ValueError, match=words):
        net.load_state(state)
    for n, a in net.state().items():
        np.testing.assert_array_equal(a, before[n])


def test_a_copy_is_independent() -> None:
    net = Parts()
    net.trunk[1].gamma = net.trunk[0].bias
    copy = net.copy()
    for n, a in copy.state().items():
        np.testing.assert_array_equal(a, net.state()[n])
        a += 1
        assert not np.array_equal(a, net.state()[n])
    assert copy.trunk[1].gamma is copy.trunk[0].bias  # what was shared stays so
    assert list(copy.parameters()) == list(net.parameters())


def test_a_copy_shares_the_generator_of_the_run() -> None:
    """Dropout's and noise's masks come from it: a copy of it would give the same ones again."""
    rng = Generator(0)
    net = nn.Sequential(
        nn.Linear(3, 4, rng=rng), nn.Dropout(0.5, rng=rng), nn.GaussianNoise(1, rng=rng)
    )
    twin = net.copy()
    x = Tensor(np.ones((2, 3), np.float32))
    assert not np.array_equal(net(x).data, twin(x).data)
    before = rng.state
    twin(x)
    assert rng.state != before
    mine = net.parameters()
    assert all(mine[name] is not p for name, p in twin.parameters().items())


def test_what_lies_in_a_tuple_cannot_be_replaced() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            self.scale = Tensor(2.0)
            self.pair = (Tensor([1.0]), Tensor([2.0]))

    net = Pair()
    scale, pair = net.scale, net.pair
    assert list(net.parameters()) == ["scale", "pair.0", "pair.1"]
    with (
        pytest.raises(TypeError, match=r"entry 1 of a tuple, of shape \(1,\).*keep.* in a list"),
        net.replaced({"scale": Tensor(3.0), "pair.1": Tensor([3.0])}),
    ):
        pass
    assert net.scale is scale
    assert net.pair is pair
    with pytest.raises(TypeError, match="keep parameters and buffers in a list"):
        net.astype(np.float64)


def test_another_dtype() -> None:
    net = Parts()
    assert net.astype(np.float64) is net
    kinds = {n: a.dtype for n, a in net.state().items()}
    assert kinds.pop("count") == np.int64
    assert set(kinds.values()) == {np.dtype(np.float64)}
    assert net.loose[0].dtype == np.float64


def test_another_dtype_keeps_shared_parameters_shared() -> None:
    net = Parts()
    net.trunk[1].gamma = net.trunk[0].bias
    net.astype(np.float64)
    assert net.trunk[1].gamma is net.trunk[0].bias


def test_replaced_parameters() -> None:
    net = Parts()
    net.again = net.trunk[0]  # the same layer in two places
    before = net.parameters()
    new = {"trunk.0.weight": Tensor(np.zeros((3, 2))), "loose.0": Tensor(np.ones(1))}
    with pytest.raises(KeyError), net.replaced(new):  # noqa: PT012
        assert net.trunk[0].weight is new["trunk.0.weight"]
        assert net.again.weight is new["trunk.0.weight"]
        assert net.loose[0] is new["loose.0"]
        assert net.scale is before["scale"]
        raise KeyError
    assert {n: id(p) for n, p in net.parameters().items()} == {n: id(p) for n, p in before.items()}
    with (
        pytest.raises(ValueError, match="Parts has no parameter 'other'"),
        net.replaced({"other": new["loose.0"]}),
    ):
        pass


def test_watching_ends() -> None:
    seen: list[str] = []
    net = nn.Sequential(nn.Tanh(), nn.Flatten())
    x = Tensor(np.ones((1, 2), np.float32))
    with nn.watching(lambda module, inputs, output: seen.append(type(module).__name__)):
        net(x)
    net(x)
    assert seen == ["Tanh", "Flatten", "Sequential"]


# --- Summary ---------------------------------------------------------------------------------


def small_net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=1, rng=rng(), activation=nn.LeakyReLU(0.2)),
        nn.Conv2d(4, 6, 3, groups=2, bias=False, rng=rng()),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.ConvTranspose2d(6, 2, 4, stride=2, padding=1, rng=rng()),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2 * 2 * 2, 5, rng=rng()),
        nn.Dropout(0.5, rng=rng()),
    )


def test_summary_of_a_small_network() -> None:
    net = small_net()
    rows = nn.summary(net, Tensor(np.zeros((1, 1, 8, 8), np.float32)))
    expected = [
        ("layers.0", "Conv2d", (1, 4, 4, 4), 4 * 9 + 4, 4 * 16 * 9),
        ("layers.1", "Conv2d", (1, 6, 2, 2), 6 * 2 * 9, 6 * 4 * 2 * 9),
        ("layers.2", "BatchNorm2d", (1, 6, 2, 2), 12, 0),
        ("layers.3", "ReLU", (1, 6, 2, 2), 0, 0),
        ("layers.4", "ConvTranspose2d", (1, 2, 4, 4), 6 * 2 * 16 + 2, 6 * 4 * 2 * 16),
        ("layers.5", "MaxPool2d", (1, 2, 2, 2), 0, 0),
        ("layers.6", "Flatten", (1, 8), 0, 0),
        ("layers.7", "Linear", (1, 5), 45, 40),
        ("layers.8", "Dropout", (1, 5), 0, 0),
    ]
    assert [tuple(row) for row in rows] == expected
    total = str(rows).splitlines()[-1]
    assert f"{sum(e[3] for e in expected):,}" in total
    assert f"{sum(e[4] for e in expected):,}" in total
    assert "1 x 4 x 4 x 4" in str(rows)
    assert sum(p.size for p in net.parameters().values()) == sum(e[3] for e in expected)


def test_a_summary_leaves_the_network_as_it_was() -> None:
    net = small_net()
    net.layers[2].eval()
    before = {n: a.copy() for n, a in net.state().items()}
    modes = [m.training for m in net.modules().values()]
    drawn = net.layers[8].rng.offset
    nn.summary(net, Tensor(np.ones((2, 1, 8, 8), np.float32)))
    assert [m.training for m in net.modules().values()] == modes
    assert net.layers[8].rng.offset == drawn
    for n, a in net.state().items():
        np.testing.assert_array_equal(a, before[n])
    assert (Tensor(1.0) + 1).node is not None


def test_a_summary_counts_a_shared_parameter_once() -> None:
    layer = nn.Linear(3, 3, rng=rng())
    rows = nn.summary(nn.Sequential(layer, nn.Tanh(), layer), Tensor(np.ones((1, 3), np.float32)))
    assert [r.parameters for r in rows] == [12, 0, 0]
    assert [r.multiply_adds for r in rows] == [9, 0, 9]


def test_a_summary_of_nested_parts() -> None:
    class Maxed(nn.Module):
        def __init__(self) -> None:
            self.maxout = nn.Maxout(3, 2, 5, rng=rng())

        def forward(self, x: Tensor) -> Tensor:
            return self.maxout(x)

    rows = nn.summary(Maxed(), Tensor(np.ones((1, 3), np.float32)))
    assert [(r.name, r.parameters, r.multiply_adds) for r in rows] == [("maxout.linear", 40, 30)]


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
        nn.MaxPool2d(2),
        nn.AvgPool2d(3, stride=2, padding=1),
        nn.UpsampleNearest(2),
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
    assert nn.BatchNorm1d(3).eval()(Tensor(normal(1, 3))).shape == (1, 3)


def test_batch_norm_may_start_from_a_random_gamma() -> None:
    layer = nn.BatchNorm(1000, rng=rng(), gamma_init=init.normal(0.02, 1.0))
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
    layer = nn.Dropout(0.8, rng=rng())
    y = layer(x)
    kept = y.data > 0
    np.testing.assert_array_equal(np.unique(y.data), np.float32([0, 1.25]))
    assert abs(kept.mean() - 0.8) < 0.05
    # The gradient goes where the values went, by the mask of that very call.
    layer(x)
    np.testing.assert_array_equal(grad(y.sum(), x).data, kept * np.float32(1.25))
    assert layer.eval()(x) is x
    assert nn.Dropout(1.0, rng=rng())(x) is x
    assert layer.train()(Tensor(normal(3, 3))).dtype == np.float64


@pytest.mark.parametrize("keep", [0.0, -0.5, 1.5])
def test_dropout_refuses_what_is_no_probability(keep: float) -> None:
    with pytest.raises(ValueError, match=rf"\(0, 1\], not {keep}"):
        nn.Dropout(keep, rng=rng())


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
    x = init.normal(0.02, 1.0)(rng(), (100, 100), 1, 1)
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


def test_the_same_seed_gives_the_same_network() -> None:
    a, b = small_net(), small_net()
    for n, array in a.state().items():
        np.testing.assert_array_equal(array, b.state()[n])

"""Modules: names, states, copies, summaries."""

from __future__ import annotations

import numpy as np
import pytest
from draw import normal

from minigan import Generator, nn
from minigan.tensor import Tensor, grad


def rng() -> Generator:
    return Generator(0, "layers")


class Parts(nn.Module):
    """Every kind of attribute that a module looks into."""

    def __init__(self) -> None:
        self.scale = nn.Parameter(np.ones(2, np.float32))
        self.name = "not a parameter"
        self.trunk = [nn.Linear(2, 3, rng=rng()), nn.BatchNorm1d(3)]
        self.heads = {"a": nn.Linear(3, 1, rng=rng(), bias=False), "b": nn.Tanh()}
        self.pair = (nn.Linear(1, 1, rng=rng()), [nn.Flatten()])
        self.loose = [nn.Parameter(np.zeros(1, np.float32))]
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
    assert list(net.state()) == list(net.arrays()) == [*net.parameters(), *net.buffers()]
    assert net.arrays()["trunk.0.weight"] is net.trunk[0].weight.data


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
    two.weight = nn.Parameter(one.weight)
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
    for a in other.arrays().values():
        a += 1
    arrays = net.arrays()
    net.load_state({n: a.copy() for n, a in other.state().items()})
    for n, a in net.arrays().items():
        assert a is arrays[n]
        np.testing.assert_array_equal(a, other.state()[n])


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("missing", "loose.0 is missing in the saved state"),
        ("extra", "more is not in Parts"),
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
    for n, a in copy.arrays().items():
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
            self.scale = nn.Parameter(2.0)
            self.pair = (nn.Parameter([1.0]), nn.Parameter([2.0]))

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
    assert net.astype(np.float64).pair is pair
    assert [p.dtype for p in (net.scale, *pair)] == [np.float64] * 3  # in place
    net.buffers_in_a_tuple = (np.zeros(1),)
    with pytest.raises(TypeError, match="keep parameters and buffers in a list"):
        net.astype(np.float32)
    assert [p.dtype for p in (net.scale, *pair)] == [np.float64] * 3  # all or none


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


def test_the_same_seed_gives_the_same_network() -> None:
    a, b = small_net(), small_net()
    for n, array in a.state().items():
        np.testing.assert_array_equal(array, b.state()[n])

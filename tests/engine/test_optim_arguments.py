"""Optimisers, schedules, clipping and averages: what they refuse, and what they follow."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from draw import normal

import minigan as mg
from minigan import Generator, Tensor, grad, nn, optim
from minigan.nn.parameters import Parameters

RULES: dict[str, Callable[..., optim.Optimizer]] = {
    "SGD": partial(optim.SGD, momentum=0.5),
    "RMSProp": optim.RMSProp,
    "Adam": optim.Adam,
    "AdamW": optim.AdamW,
}


def net() -> nn.Sequential:
    rng = Generator(0)
    return nn.Sequential(nn.Linear(3, 4, rng=rng), nn.Tanh(), nn.Linear(4, 1, rng=rng))


def gradients(network: nn.Module, parameters: Any = None, dtype: Any = np.float32) -> Any:
    x = Tensor(normal(5, 3, dtype=dtype))
    return grad(network(x).sum(), network.parameters() if parameters is None else parameters)


def ones(*shape: int, dtype: Any = np.float32) -> Tensor:
    return Tensor(np.ones(shape, dtype))


# --- Parameters that cannot be moved ---------------------------------------------------------


def of(array: np.ndarray) -> Tensor:
    """A tensor of the very array, where `Tensor(array)` has a copy."""
    tensor = ones(2)
    tensor.data = array
    return tensor


ONE = ones(2)
PARAMETERS: dict[str, tuple[Callable[[], Any], str]] = {
    "a list of arrays": (lambda: [np.ones(2)], r"takes no list of ndarray: say \w+\(net, lr\)"),
    "a tensor": (lambda: ones(2), "not a Tensor"),
    "names": (
        lambda: [*net().parameters(), *net().parameters()],
        r"was given names of parameters, since .*: say .*\(net, lr\), or .*\(\[G, D\], lr\)",
    ),
    "a number": (lambda: 3, "not a int"),
    "options of a group": (
        lambda: [{"params": net(), "weight_decay": 1.0}],
        r"has 'params' and 'lr' alone, not 'weight_decay'; for other options make a second",
    ),
    "a group": (lambda: {"params": net().parameters(), "lr": 1e-3}, "not 'params': Parameters"),
    "arrays": (lambda: {"p": np.ones(2, np.float32)}, "takes tensors by name, .* not 'p': ndarray"),
    "numbered": (lambda: dict(enumerate(net().parameters().values())), "not 0: Parameter"),
    "int64": (lambda: {"p": ones(2, dtype=np.int64)}, "p is int64"),
    "uint8": (lambda: {"p": ones(2, dtype=np.uint8)}, "p is uint8"),
    "bool": (lambda: {"p": ones(2, dtype=bool)}, "p is bool"),
    "complex": (lambda: {"p": ones(2, dtype=np.complex64)}, "p is complex64"),
    "float16": (lambda: {"p": ones(2, dtype=np.float16)}, "moves float32 and float64 alone"),
    "computed": (lambda: {"p": ones(2) * 2}, r"p was computed, by multiply of .*detach\(\)"),
    "twice": (lambda: {"a": ONE, "b": ONE}, "a and b are one parameter"),
    "one array twice": (lambda: {"a": ONE, "b": ONE.detach()}, "a and b are one parameter"),
    "read-only": (
        lambda: {"p": of(np.frombuffer(bytes(8), np.float32))},
        "cannot write p, whose memory is read-only",
    ),
    "broadcast": (
        lambda: {"p": of(np.broadcast_to(np.float32(1), (2, 3)))},
        "several values at one address",
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", PARAMETERS)
def test_what_cannot_be_moved_is_refused_by_name(name: str, rule: str) -> None:
    make, words = PARAMETERS[name]
    with pytest.raises((TypeError, ValueError), match=words):
        RULES[rule](make(), 1e-3)


NUMBERS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "lr -1": (lambda p: optim.Adam(p, -1.0), r"the lr of Adam must be in \[0, inf\], not -1\.0"),
    "lr nan": (lambda p: optim.SGD(p, math.nan), r"the lr of SGD must be in \[0, inf\], not nan"),
    "lr -inf": (lambda p: optim.RMSProp(p, -math.inf), "the lr of RMSProp"),
    "lr text": (lambda p: optim.SGD(p, "0.1"), "the lr of SGD must be a number"),
    "lr none": (lambda p: optim.SGD(p, None), "the lr of SGD must be a number"),
    "momentum": (lambda p: optim.SGD(p, 0.1, momentum=1.5), r"momentum of SGD must be in \[0, 1\)"),
    "momentum 1": (lambda p: optim.SGD(p, 0.1, momentum=1), "the momentum of SGD"),
    "decay": (lambda p: optim.SGD(p, 0.1, weight_decay=-1), "the weight_decay of SGD"),
    "beta 1": (lambda p: optim.Adam(p, 0.1, (1.0, 0.9)), r"first beta of Adam must be in \[0, 1\)"),
    "beta 2": (lambda p: optim.Adam(p, 0.1, (0.9, 1.0)), "the second beta of Adam"),
    "beta nan": (lambda p: optim.Adam(p, 0.1, (math.nan, 0.9)), "the first beta of Adam"),
    "one beta": (lambda p: optim.Adam(p, 0.1, 0.9), r"two numbers, such as \(0\.9, 0\.999\)"),
    "three betas": (lambda p: optim.Adam(p, 0.1, (0.1, 0.2, 0.3)), "two numbers"),
    "eps": (lambda p: optim.Adam(p, 0.1, eps=0.0), r"the eps of Adam must be in \(0, inf\)"),
    "eps of RMSProp": (lambda p: optim.RMSProp(p, 0.1, eps=-1e-8), "the eps of RMSProp"),
    "alpha": (lambda p: optim.RMSProp(p, 0.1, alpha=1.0), "the alpha of RMSProp"),
    "clip": (lambda p: optim.Adam(p, 0.1, clip=1.0), r"partial\(clip_by_norm, limit=1\.0\), not 1"),
    "linear": (lambda p: optim.linear(0.1, 0.0, 5, hold=5), "needs more than 5 steps, not 5"),
    "no steps": (lambda p: optim.cosine(0.1, 0.0, 0), "needs more than 0 steps"),
    "nan start": (lambda p: optim.exponential(math.nan, 0.5), "a value of a schedule"),
    "warming": (lambda p: optim.warming(1.5), "the highest decay"),
    "limit": (lambda p: optim.clip_by_norm(p, 0.0), r"limit of clip_by_norm must be in \(0, inf\)"),
    "limit nan": (lambda p: optim.clip_by_value(p, math.nan), "the limit of clip_by_value"),
    "weights": (lambda p: optim.clip_weights(p, -0.1), "the limit of clip_weights"),
    "average": (lambda p: optim.average(net(), net(), 1.5), r"decay of an average .*\[0, 1\]"),
    "average nan": (lambda p: optim.average(net(), net(), math.nan), "the decay of an average"),
    "average of a schedule": (
        lambda p: optim.average(net(), net(), lambda step: -0.5), "the decay of an average"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_that_cannot_be_are_refused_by_name(name: str) -> None:
    make, words = NUMBERS[name]
    p = Tensor(np.full(2, 5, np.float32))
    with pytest.raises((ValueError, TypeError), match=words):
        make({"p": p})
    np.testing.assert_array_equal(p.data, 5)


def test_numbers_at_the_border_are_taken() -> None:
    p = net().parameters()
    for make in (
        lambda: optim.SGD(p, 0),
        lambda: optim.Adam(p, np.float32(1e-3), [0.0, 0.0]),
        lambda: optim.RMSProp(p, 1, alpha=0),
        lambda: optim.SGD(p, optim.constant(0.1), momentum=lambda step: 0.0),
    ):
        assert make().steps == 0


@pytest.mark.parametrize("what", ["lr", "momentum"])
def test_a_schedule_s_values_are_checked_when_they_are_asked(what: str) -> None:
    values = [0.1, math.nan, 0.1]
    schedules: dict[str, Any] = {"lr": 0.1, "momentum": 0.1} | {what: lambda step: values[step]}
    network = net()
    rule = optim.SGD(network.parameters(), **schedules)
    rule.step(gradients(network))
    before, kept = network.state(), rule.state()
    with pytest.raises(ValueError, match=rf"the {what} of SGD must be in .* nan for update 2"):
        rule.step(gradients(network))
    for name, array in network.state().items():
        np.testing.assert_array_equal(array, before[name])
    for name, array in rule.state().items():
        np.testing.assert_array_equal(array, kept[name])


def test_a_rate_may_be_set_later() -> None:
    rule = optim.SGD({"p": (p := ones(1))}, 1.0)
    rule.lr = 0.25
    rule.step({"p": ones(1)})
    assert p.item() == 0.75
    assert rule.lr(3) == rule.lr == 0.25
    rule.lr *= 0.5  # it is a number, too
    assert f"{rule.lr:.3f}" == "0.125"
    rule.lr = optim.linear(1.0, 0.0, 4)
    assert rule.lr(2) == 0.5
    with pytest.raises(ValueError, match="the lr of SGD"):
        rule.lr = -1.0
    rule.momentum = 0.5
    assert rule.momentum(0) == 0.5


# --- Gradients -------------------------------------------------------------------------------


@pytest.mark.parametrize("clip", [None, partial(optim.clip_by_norm, limit=0.1)])
@pytest.mark.parametrize("rule", RULES)
def test_gradients_may_be_arrays(rule: str, clip: Any) -> None:
    one, other = net(), net()
    given = gradients(one)
    RULES[rule](one.parameters(), 0.1, clip=clip).step(given)
    arrays = {name: g.data for name, g in given.items()}
    RULES[rule](other.parameters(), 0.1, clip=clip).step(arrays)
    for name, array in one.state().items():
        np.testing.assert_array_equal(array, other.state()[name])


WRONG_GRADIENTS: dict[str, tuple[Any, str]] = {
    "a list": ([ones(2), ones(1)], r"minigan\.grad\(loss, net\.parameters\(\)\), not a list"),
    "integers": ({"a": ones(2, dtype=np.int64), "b": ones(1)}, "the gradient of a is int64"),
    "complex": ({"a": ones(2), "b": ones(1, dtype=np.complex64)}, "the gradient of b is complex64"),
    "numbers": ({"a": ones(2), "b": 1.0}, "the gradient of b must be a tensor or an array"),
    "nothing": ({"a": ones(2), "b": None}, "the gradient of b must be .* not a NoneType"),
    "a shape": ({"a": ones(2), "b": np.ones((1, 1), np.float32)}, r"of b is \(1, 1\), not \(1,\)"),
}


@pytest.mark.parametrize("clip", [None, partial(optim.clip_by_value, limit=0.1)])
@pytest.mark.parametrize("name", WRONG_GRADIENTS)
def test_gradients_that_are_none_are_refused_and_nothing_moves(name: str, clip: Any) -> None:
    given, words = WRONG_GRADIENTS[name]
    ps = {"a": ones(2), "b": ones(1)}
    rule = optim.Adam(ps, 0.1, clip=clip)
    with pytest.raises((TypeError, ValueError), match=words):
        rule.step(given)
    assert all((p.data == 1).all() for p in ps.values())
    assert rule.steps == 0
    assert not any(a.any() for a in rule.state().values())


@pytest.mark.parametrize("clip", [optim.clip_by_value, optim.clip_by_norm])
def test_clippers_refuse_what_is_no_gradient(clip: Any) -> None:
    with pytest.raises(
        TypeError, match=rf"{clip.__name__} takes a dict of gradients, .* not a list"
    ):
        clip([ones(2)], 1.0)
    with pytest.raises(ValueError, match="the gradient of a is int64"):
        clip({"a": ones(2, dtype=np.int64)}, 1.0)
    assert clip({}, 1.0) == {}


def test_weights_are_clipped_all_or_none() -> None:
    ps = {"a": Tensor([5.0]), "b": ones(2, dtype=np.int64)}
    with pytest.raises(ValueError, match="b is int64"):
        optim.clip_weights(ps, 1.0)
    assert ps["a"].item() == 5
    with pytest.raises(TypeError, match="clip_weights takes parameters by name"):
        optim.clip_weights(net(), 1.0)  # type: ignore[arg-type]


def test_a_table_of_integers_is_not_projected() -> None:
    table = Tensor(np.full((2, 2), 3))
    with pytest.raises(ValueError, match="table is int64"):
        optim.project_to_sphere(table)
    assert (table.data == 3).all()
    with pytest.raises(ValueError, match=r"a table \(rows, d\)"):
        optim.project_to_sphere(Tensor([1.0, 2.0]))


# --- Averages --------------------------------------------------------------------------------


def test_an_average_of_another_network_is_refused_whole() -> None:
    rng = Generator(1)
    fast = net()
    for slow, words in (
        (fast, "share layers.0.weight; start from"),
        (nn.Sequential(*fast[:1], nn.Tanh()), "differ in layers.2.bias, layers.2.weight"),
        (
            nn.Sequential(nn.Linear(3, 4, rng=rng), nn.Tanh(), nn.Linear(4, 2, rng=rng)),
            r"layers.2.weight is \(2, 4\) in the average, not \(1, 4\)",
        ),
    ):
        before = slow.state()
        with pytest.raises(ValueError, match=words):
            optim.average(slow, fast, 0.5)
        for name, array in slow.state().items():
            np.testing.assert_array_equal(array, before[name])


def test_an_average_stays_in_float32_whatever_its_decay_is() -> None:
    fast = net()
    slows = [fast.copy() for _ in range(3)]
    for slow, decay in zip(slows, (0.9, np.float64(0.9), lambda n: np.float64(0.9)), strict=True):
        for array in slow.arrays().values():
            array += 1
        optim.average(slow, fast, decay)
    for slow in slows[1:]:
        for name, array in slow.state().items():
            np.testing.assert_array_equal(array, slows[0].state()[name])


# --- Following -------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_an_optimiser_follows_a_conversion(rule: str) -> None:
    """It goes on in float64 as one would that had been loaded from it."""
    network = net()
    moved = RULES[rule](network.parameters(), 0.1)
    moved.step(gradients(network))
    assert network.astype(np.float64).layers[0].weight is moved.parameters["layers.0.weight"]
    twin = network.copy()
    fresh = RULES[rule](twin.parameters(), 0.1)
    fresh.load_state({n: a.astype(np.float64) if a.ndim else a for n, a in moved.state().items()})
    for _ in range(2):
        moved.step(gradients(network, dtype=np.float64))
        fresh.step(gradients(twin, dtype=np.float64))
    for name, array in network.state().items():
        assert array.dtype == np.float64
        np.testing.assert_array_equal(array, twin.state()[name])
    assert all(a.dtype == np.float64 for a in moved.slot.values())
    assert not any(p.data.flags.writeable for p in network.parameters().values())


def test_a_conversion_back_is_followed_too() -> None:
    network = net()
    rule = optim.Adam(network.parameters(), 0.1)
    network.astype(np.float64).astype(np.float32)
    before = network.state()
    rule.step(gradients(network))
    assert all(a.dtype == np.float32 for a in rule.slot.values())
    assert all((a != before[n]).any() for n, a in network.state().items())


def test_a_parameter_that_cannot_be_moved_any_more_is_refused() -> None:
    network = nn.Linear(3, 1, rng=Generator(0))
    rule = optim.SGD(network.parameters(), 0.1)
    network.weight.data = np.ones((1, 4), np.float32)
    with pytest.raises(ValueError, match=r"weight has changed its shape from \(1, 3\) to \(1, 4\)"):
        rule.step({"weight": ones(1, 4), "bias": ones(1)})
    network.weight.data = np.ones((1, 3), np.int64)
    with pytest.raises(ValueError, match="weight is int64"):
        rule.step({"weight": ones(1, 3), "bias": ones(1)})


def replace(network: Any) -> None:
    network.layers[0].weight = nn.Parameter(network.layers[0].weight)


@pytest.mark.parametrize("joined", [False, True])
def test_a_parameter_that_was_replaced_is_noticed(joined: bool) -> None:
    network = net()
    ps = optim.joined(D=network.parameters()) if joined else network.parameters()
    rule, other = optim.SGD(ps, 0.1), optim.SGD(network.layers[2].parameters(), 0.1)
    given = gradients(network, ps)
    replace(network)
    name = "D.layers.0.weight" if joined else "layers.0.weight"
    with pytest.raises(ValueError, match=f"^{name} was replaced by another tensor"):
        rule.step(given)
    other.step(gradients(network, network.layers[2].parameters()))  # which has all of its own
    del network.layers[2].weight
    with pytest.raises(ValueError, match=r"layers.0.weight, .*layers.2.weight was replaced"):
        rule.step(given)


def test_a_replacement_for_a_time_is_none() -> None:
    network = net()
    rule = optim.SGD(network.parameters(), 0.1)
    with network.replaced({"layers.0.bias": ones(4)}):
        network(Tensor(normal(5, 3, dtype=np.float32)))
    rule.step(gradients(network))
    network.load_state({n: a + 1 for n, a in network.state().items()})
    rule.step(gradients(network))
    assert rule.steps == 2


# --- Copies ----------------------------------------------------------------------------------


SETTINGS: dict[str, Callable[[Any], optim.Optimizer]] = {
    "SGD": lambda p: optim.SGD(p, optim.exponential(0.1, 0.9), momentum=optim.linear(0, 0.9, 5)),
    "RMSProp": lambda p: optim.RMSProp(p, optim.cosine(0.1, 0.0, 9)),
    "Adam": lambda p: optim.Adam(p, 0.1, clip=partial(optim.clip_by_norm, limit=1.0)),
}
COPIES: dict[str, Callable[[Any], Any]] = {
    "pickled": lambda pair: pickle.loads(pickle.dumps(pair)),
    "deeply copied": copy.deepcopy,
}


def images(network: nn.Module) -> Any:
    return grad(network(Tensor(normal(2, 3, 8, 8, dtype=np.float32))).sum(), network.parameters())


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("rule", SETTINGS)
def test_a_copy_of_network_and_optimiser_goes_on_alike(rule: str, how: str) -> None:
    """With the layouts of the kernels, and parameters that are read-only again."""
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, rng=Generator(0)), nn.Flatten(), nn.Linear(144, 1, rng=Generator(1))
    )
    optimiser = SETTINGS[rule](network.parameters())
    optimiser.step(images(network))
    twin, copied = COPIES[how]((network, optimiser))
    assert twin.layers[0].weight is copied.parameters["layers.0.weight"]
    for _ in range(2):
        optimiser.step(images(network))
        copied.step(images(twin))
    assert copied.steps == 3
    for name, p in network.parameters().items():
        other = twin.parameters()[name]
        np.testing.assert_array_equal(p.data, other.data)
        assert other.data is not p.data
        assert other.data.strides == p.data.strides
        assert not other.data.flags.writeable
    for name, array in optimiser.slot.items():
        assert copied.slot[name] is not array
        np.testing.assert_array_equal(array, copied.slot[name])
        assert copied.slot[name].strides == array.strides


def test_a_lone_copy_has_parameters_of_its_own() -> None:
    network = net()
    optimiser = optim.Adam(network.parameters(), 0.1)
    copied = pickle.loads(pickle.dumps(optimiser))
    assert isinstance(copied.parameters, Parameters)
    before = network.state()
    copied.step(gradients(network))
    for name, array in network.state().items():
        np.testing.assert_array_equal(array, before[name])
    assert (copied.parameters["layers.0.bias"].data != before["layers.0.bias"]).all()


@pytest.mark.parametrize("how", COPIES)
def test_a_computed_tensor_is_copied_without_its_history(how: str) -> None:
    x = Tensor(normal(2, 3, dtype=np.float32))
    y = mg.tanh(x).T
    copied = COPIES[how](y)
    assert copied.node is None
    np.testing.assert_array_equal(copied.data, y.data)
    assert copied.data.strides == y.data.strides
    assert not np.shares_memory(copied.data, y.data)


# --- Saved states ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "words"), [(-1, "not -1"), (1.5, "steps is int64"), ([1, 2], "steps has shape")]
)
def test_a_count_of_updates_that_cannot_be_is_refused_whole(steps: Any, words: str) -> None:
    rule = optim.Adam({"p": ones(2)}, 0.1)
    state = {name: np.ones_like(array) for name, array in rule.state().items()}
    with pytest.raises(ValueError, match=words):
        rule.load_state(state | {"steps": np.array(steps)})
    assert rule.steps == 0
    assert not any(a.any() for a in rule.state().values())


# --- What a clipper gives ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clip", "error", "says"),
    [
        (lambda gs: {n: np.zeros(1, np.float32) for n in gs}, ValueError, r"clipped gradient of"),
        (lambda gs: {}, ValueError, "clipped gradients differ in"),
        (lambda gs: None, TypeError, "clip must give a dict of gradients, not a NoneType"),
    ],
    ids=["shapes", "names", "nothing"],
)
def test_what_a_clip_gives_is_checked(clip: Any, error: type[Exception], says: str) -> None:
    network = net()
    optimiser = optim.SGD(network.parameters(), 0.1, clip=clip)
    before = {name: p.numpy().copy() for name, p in network.parameters().items()}
    with pytest.raises(error, match=says):
        optimiser.step(gradients(network))
    for name, p in network.parameters().items():
        np.testing.assert_array_equal(p.numpy(), before[name])

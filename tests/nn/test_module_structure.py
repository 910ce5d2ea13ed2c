"""Modules as trees of parts: references to parents, descriptions, joined parameters."""

from __future__ import annotations

import pickle
import weakref
from typing import Any

import numpy as np
import pytest
from draw import normal

import minigan as mg
from minigan import Generator, Tensor, grad, nn, optim
from minigan.nn.parameters import Parameters


def rng() -> Generator:
    return Generator(0, "structure")


def player(out: int, seed: int = 0) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, out, rng=Generator(seed)))


# --- References to parents -------------------------------------------------------------------


class Parent(nn.Module):
    def __init__(self) -> None:
        self.part = nn.Linear(2, 2, rng=rng())
        self.other = nn.Linear(2, 2, rng=rng())


def cyclic(how: str) -> nn.Module:
    net: Any = Parent()
    if how == "attribute":
        net.part.parent = net
    elif how == "itself":
        net.me = net
    elif how == "list":
        net.part.parents = [net]
    elif how == "dict":
        net.part.known = {"parent": {"it": net}}
    elif how == "two":
        net.part.sibling, net.other.sibling = net.other, net.part
    else:
        net.parts = parts = [net.part]
        parts.append(parts)
    return net


@pytest.mark.parametrize("how", ["attribute", "itself", "list", "dict", "two", "a list in itself"])
def test_a_part_that_leads_back_is_named(how: str) -> None:
    net = cyclic(how)
    words = r"leads back to the (Parent|Linear|list) that it is in; .* keeps weakref\.ref\(parent\)"
    for use in (
        net.parameters, net.buffers, net.modules, net.state, net.eval, net.copy,
        lambda: net.astype(np.float64), lambda: net.load_state({}),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            use()
    if how == "attribute":
        with pytest.raises(ValueError, match=r"^part.parent leads back to the Parent"):
            net.parameters()
        with pytest.raises(ValueError, match=r"^parent.part leads back to the Linear"):
            net.part.parameters()  # or the parts beside it would count as its own
        assert "parent: Parent(...)" in repr(net)


def test_a_weak_reference_to_a_parent_is_not_walked() -> None:
    net: Any = Parent()
    net.part.parent = weakref.ref(net)
    assert list(net.parameters()) == ["part.weight", "part.bias", "other.weight", "other.bias"]
    assert net.part.parent() is net


def test_what_is_shared_is_no_cycle() -> None:
    net: Any = Parent()
    net.again, net.lists = net.part, [[net.other], [net.other, net.part]]
    assert list(net.parameters()) == ["part.weight", "part.bias", "other.weight", "other.bias"]
    assert list(net.modules()) == [
        "", "part", "other", "again", "lists.0.0", "lists.1.0", "lists.1.1"
    ]  # fmt: skip


def test_two_values_of_one_name_are_refused() -> None:
    net: Any = nn.Module()
    net.heads = {1: nn.Parameter([1.0]), "1": nn.Parameter([2.0])}
    with pytest.raises(ValueError, match=r"Module has two values called heads\.1; rename one"):
        net.parameters()


def test_generators_in_lists_are_shared_by_copies_too() -> None:
    net: Any = Parent()
    net.streams = {"a": [rng()], "b": (rng(),)}
    twin = net.copy()
    assert twin.streams["a"][0] is net.streams["a"][0]
    assert twin.streams["b"][0] is net.streams["b"][0]
    assert twin.part.weight is not net.part.weight


# --- Descriptions ----------------------------------------------------------------------------


def test_a_description_names_layers_shapes_and_numbers() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=(1, 0), activation=nn.LeakyReLU(0.2), rng=rng()),
        nn.BatchNorm2d(8, activation=nn.Tanh()),
        mg.relu,
        nn.SpectralNorm(nn.Linear(2, 1, rng=rng(), bias=False), rng=rng()),
        nn.Sequential(),
    )
    assert repr(net).splitlines() == [
        "Sequential(",
        "  layers.0: Conv2d(3, 8, kernel_size=3, stride=2, padding=(1, 0), "
        "activation=LeakyReLU(slope=0.2))",
        "  layers.1: BatchNorm2d(8, activation=Tanh())",
        "  layers.2: relu",
        "  layers.3: SpectralNorm(",
        "    layer: Linear(2, 1, bias=False)",
        "  )",
        "  layers.4: Sequential()",
        ")",
    ]
    assert str(nn.ReLU()) == "ReLU()"
    assert repr(nn.Dropout(0.2, rng=rng())) == "Dropout(p=0.2)"
    assert repr(optim.Adam(net.parameters(), 1e-3)) == "Adam(5 parameters, 0 updates)"
    assert repr(Generator(0)).endswith("offset=0)")


def test_every_kind_of_attribute_can_be_described() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            self.parts = {"a": [nn.Tanh(), (nn.ReLU(), 1)], "b": {}}
            self.pair = (nn.Linear(1, 1, rng=rng()), [np.zeros(2)])
            self.count, self.name, self.nothing, self.function = 3, "x", None, np.tanh
            self.rng = rng()

    assert repr(Own()).splitlines() == [
        "Own(pair.1.0=(2,), count=3, name='x'",
        "  parts.a.0: Tanh()",
        "  parts.a.1.0: ReLU()",
        "  pair.0: Linear(1, 1)",
        ")",
    ]


# --- Parameters of several players -----------------------------------------------------------


def test_nothing_is_dropped_where_names_agree() -> None:
    G, D, E = player(2), player(1, 1), player(3, 2)
    both = G.parameters() | D.parameters()
    assert list(both) == [
        "layers.0.weight", "layers.0.bias", "2.layers.0.weight", "2.layers.0.bias",
    ]  # fmt: skip
    assert both["2.layers.0.weight"] is D[0].weight
    assert list(both | E.parameters())[4:] == ["3.layers.0.weight", "3.layers.0.bias"]
    assert list(G.parameters()) == ["layers.0.weight", "layers.0.bias"]
    assert list(dict(G.parameters()) | D.parameters()) == list(both)
    assert list(G.parameters() | dict(D.parameters())) == list(both)
    joint = G.parameters()
    joint |= D.parameters()
    assert list(joint) == list(both)
    with pytest.raises(TypeError, match="unsupported operand"):
        G.parameters() | [1]  # type: ignore[operator]


def test_names_that_differ_are_kept_and_what_is_shared_appears_once() -> None:
    a, b = nn.Linear(2, 2, rng=rng()), nn.LayerNorm(2)
    assert list(a.parameters() | b.parameters()) == ["weight", "bias", "gamma", "beta"]
    assert list(a.parameters() | a.parameters()) == ["weight", "bias"]
    b.gamma = a.bias
    assert list(a.parameters() | b.parameters()) == ["weight", "bias", "beta"]
    assert list(optim.joined(A=a.parameters(), B=b.parameters())) == [
        "A.weight", "A.bias", "B.beta",
    ]  # fmt: skip


@pytest.mark.parametrize("how", ["|", "joined"])
def test_one_optimiser_moves_both_players(how: str) -> None:
    G, D = player(2), player(1, 1)
    both = (
        G.parameters() | D.parameters()
        if how == "|"
        else optim.joined(G=G.parameters(), D=D.parameters())
    )
    rule = optim.SGD(both, 0.1)
    before = G.state(), D.state()
    loss = D(mg.tanh(G(Tensor(normal(3, 2, dtype=np.float32))))).sum()
    found = grad(loss, both)
    rule.step(found)
    for old, net in zip(before, (G, D), strict=True):
        for name, array in net.state().items():
            assert (array != old[name]).all(), name
    # Plain dicts of gradients drop one player, and the optimiser says so.
    with pytest.raises(ValueError, match=r"parameters and gradients differ in"):
        rule.step(grad(loss, G.parameters()) | grad(loss, D.parameters()))
    if how == "joined":
        each = {name: grad(loss, net.parameters()) for name, net in (("G", G), ("D", D))}
        rule.step(optim.joined(**each))
        assert list(both) == [
            "G.layers.0.weight", "G.layers.0.bias", "D.layers.0.weight", "D.layers.0.bias"
        ]  # fmt: skip


def test_what_cannot_be_joined_is_named() -> None:
    with pytest.raises(TypeError, match=r"for D, such as D\.parameters\(\), not Sequential"):
        optim.joined(G=player(1).parameters(), D=player(1))  # type: ignore[arg-type]
    assert optim.joined() == {}


def test_parameters_are_pickled_as_names_and_tensors() -> None:
    net = player(2)
    copied = pickle.loads(pickle.dumps(net.parameters()))
    assert isinstance(copied, Parameters)
    assert copied.places == {}
    assert list(copied) == list(net.parameters())


# --- Conversions -----------------------------------------------------------------------------


def test_a_conversion_keeps_the_tensors_and_what_is_tied() -> None:
    net: Any = Parent()
    net.other.weight = net.part.weight
    net.tied = nn.Parameter(0.0)
    net.tied.data = net.part.bias.data
    before = net.parameters()
    net.astype(np.float64)
    assert all(net.parameters()[name] is p for name, p in before.items())
    assert net.tied.data is net.part.bias.data
    assert net.part.weight.dtype == np.float64


@pytest.mark.parametrize("dtype", [np.int64, bool, np.complex64, "U3"])
def test_a_module_is_not_made_of_other_numbers(dtype: Any) -> None:
    net = Parent()
    with pytest.raises(ValueError, match="computes in floating-point numbers"):
        net.astype(dtype)
    assert net.part.weight.dtype == np.float32


def test_a_move_that_fails_moves_nothing() -> None:
    class Full:
        def __init__(self) -> None:
            self.count = 0

        def put(self, array: np.ndarray) -> np.ndarray:
            self.count += 1
            if self.count == 3:
                raise MemoryError
            return array + 1

    net = Parent()
    before = net.arrays()
    with pytest.raises(MemoryError):
        net.to(Full())  # type: ignore[arg-type]
    assert all(array is before[name] for name, array in net.arrays().items())


def test_only_tensors_of_the_same_shape_take_a_parameter_s_place() -> None:
    net = Parent()
    for given, words in (
        (np.ones((2, 2), np.float32), r"part.weight is a tensor of shape \(2, 2\), not ndarray"),
        (Tensor(np.ones((2, 1), np.float32)), r"not \(2, 1\)"),
    ):
        with pytest.raises(ValueError, match=words), net.replaced({"part.weight": given}):  # type: ignore[dict-item]
            pass


def test_an_update_of_parameters_drops_none() -> None:
    G, D = player(1), player(2)
    both = G.parameters()
    both.update(D.parameters())
    assert len(both) == len(G.parameters()) + len(D.parameters())
    assert both.keys() == (G.parameters() | D.parameters()).keys()

"""What an optimiser may be built over, rates of groups, and what other libraries call otherwise."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigan as mg
from minigan import Generator, Tensor, grad, nn, optim

X = Tensor(np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3))


def players() -> tuple[nn.Sequential, nn.Sequential]:
    rng = Generator(0)
    G = nn.Sequential(nn.Linear(3, 3, rng=rng))
    return G, nn.Sequential(nn.Linear(3, 1, rng=rng), nn.Tanh())


def loss(G: nn.Module, D: nn.Module) -> Tensor:
    return D(G(X)).mean()


ONE: dict[str, Callable[[nn.Module], Any]] = {
    "module": lambda net: net,
    "names": lambda net: net.parameters(),
    "dict": lambda net: dict(net.parameters()),
    "list": lambda net: list(net.parameters().values()),
    "values": lambda net: net.parameters().values(),
    "iterator": lambda net: iter(net.parameters().values()),
    "pairs": lambda net: net.parameters().items(),
    "modules": lambda net: [net],
    "layers": lambda net: list(net),
    "group": lambda net: [{"params": net}],
    "group of a list": lambda net: ({"params": list(net.parameters().values())},),
}


@pytest.mark.parametrize("name", ONE)
def test_all_that_has_the_parameters_moves_them_alike(name: str) -> None:
    one, other = players()[1], players()[1]
    expected, rule = optim.Adam(one.parameters(), 0.1), optim.Adam(ONE[name](other), 0.1)
    for _ in range(2):
        expected.step(grad(one(X).mean(), one.parameters()))
        rule.step(grad(other(X).mean(), rule.parameters))
    for a, b in zip(one.state().values(), other.state().values(), strict=True):
        np.testing.assert_array_equal(a, b)
    kept = name in ("module", "names", "dict", "pairs", "modules", "group")
    assert list(rule.parameters) == (list(one.parameters()) if kept else list(rule.parameters))
    rule.load_state(rule.state())


BOTH: dict[str, Callable[[nn.Module, nn.Module], Any]] = {
    "modules": lambda G, D: [G, D],
    "parameters": lambda G, D: (G.parameters(), D.parameters()),
    "groups": lambda G, D: [{"params": G}, {"params": D.parameters()}],
    "mixed": lambda G, D: [G, {"params": D}],
    "tensors": lambda G, D: [*G.parameters().values(), *D.parameters().values()],
}


@pytest.mark.parametrize("name", BOTH)
def test_several_modules_in_one_optimiser(name: str) -> None:
    G, D = players()
    before = G.state(), D.state()
    rule = optim.SGD(BOTH[name](G, D), 0.5)
    assert len(rule.parameters) == 4
    rule.step(grad(loss(G, D), rule.parameters))
    for net, old in zip((G, D), before, strict=True):
        assert all((array != old[n]).any() for n, array in net.state().items())


def test_a_list_of_tensors_is_moved_by_a_list_of_gradients() -> None:
    G, D = players()
    ps = [*G.parameters().values(), *D.parameters().values()]
    rule = optim.SGD(ps, 0.5)
    expected = [p.numpy() - 0.5 * g.numpy() for p, g in zip(ps, grad(loss(G, D), ps), strict=True)]
    rule.step(grad(loss(G, D), ps))
    for p, values in zip(ps, expected, strict=True):
        np.testing.assert_allclose(p.numpy(), values, rtol=1e-6)
    with pytest.raises(ValueError, match="3 gradients are no step of 4 parameters"):
        rule.step(grad(loss(G, D), ps[:3]))


# --- Groups ----------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [optim.SGD, optim.RMSProp, optim.Adam, optim.AdamW])
def test_a_group_has_a_rate_of_its_own(rule: Any) -> None:
    """As two optimisers would move the parameters, in two updates."""
    (G, D), (G2, D2) = players(), players()
    lr = optim.linear(0.5, 0.1, 4)
    both = rule([{"params": G, "lr": lr}, {"params": D}], 0.2)
    apart = rule(G2, lr), rule(D2, 0.2)
    for _ in range(2):
        both.step(grad(loss(G, D), both.parameters))
        found = grad(loss(G2, D2), apart[0].parameters)
        others = grad(loss(G2, D2), apart[1].parameters)
        apart[0].step(found)
        apart[1].step(others)
        both.lr = apart[1].lr = 0.3
    assert both.groups[0].lr(2) == lr(2)
    for a, b in ((G, G2), (D, D2)):
        for name, array in a.state().items():
            np.testing.assert_array_equal(array, b.state()[name])


def test_rates_of_groups_are_set_and_copied() -> None:
    G, D = players()
    rule = optim.SGD([{"params": G, "lr": 1.0}, {"params": D}], 0.5)
    rule.groups[0].lr *= 0.5
    for twin in (copy.deepcopy(rule), pickle.loads(pickle.dumps(rule))):
        assert (twin.groups[0].lr, twin.lr) == (0.5, 0.5)
        assert not twin.groups[1].has_rate
    rule.groups[1].lr = 0.1
    with pytest.raises(ValueError, match=r"each group of SGD has a rate of its own: set .*lr"):
        rule.lr = 0.1
    with pytest.raises(ValueError, match=r"the lr of Group must be in \[0, inf\]"):
        optim.SGD([{"params": G, "lr": -1.0}], 0.5)


def test_a_rate_that_cannot_be_moves_no_group() -> None:
    G, D = players()
    groups = [{"params": G, "lr": 1.0}, {"params": D, "lr": lambda step: -1.0}]
    rule, before = optim.SGD(groups, 0.5), G.state()
    with pytest.raises(ValueError, match="for update 1"):
        rule.step(grad(loss(G, D), rule.parameters))
    for name, array in G.state().items():
        np.testing.assert_array_equal(array, before[name])


# --- The words of PyTorch --------------------------------------------------------------------


WORDS: dict[str, tuple[Callable[[optim.Optimizer], Any], str]] = {
    "zero_grad": (lambda rule: rule.zero_grad(), r"no zero_grad: gradients are kept nowhere"),
    "step": (lambda rule: rule.step(), r"minigan\.grad\(loss, net\.parameters\(\)\), not nothing"),
    "param_groups": (lambda rule: rule.param_groups, r"optimizer\.lr = 1e-4 sets the rate"),
    "add": (
        lambda rule: rule.add_param_group({}),
        r"build it over a list, optim\.Adam\(\[G",
    ),
    "state_dict": (lambda rule: rule.state_dict(), r"say optimizer\.state\(\)"),
    "load": (lambda rule: rule.load_state_dict({}), r"say optimizer\.load_state\(state\)"),
    "clip": (lambda rule: optim.clip_grad_norm_([], 1.0), r"optim\.clip_by_norm\(gradients, 1"),
    "schedule": (lambda rule: optim.lr_scheduler.StepLR, r"lr=optim\.cosine\(1e-3, 0, 1000\)"),
    "RMSprop": (lambda rule: optim.RMSprop, r"say optim\.RMSProp"),
}


@pytest.mark.parametrize("name", WORDS)
def test_what_is_called_otherwise_says_how(name: str) -> None:
    use, words = WORDS[name]
    with pytest.raises((AttributeError, TypeError), match=words):
        use(optim.Adam(players()[0], 0.1))


def test_hints_are_no_attributes() -> None:
    rule = optim.Adam(players()[0], 0.1)
    assert not hasattr(rule, "zero_grad")
    assert "zero_grad" not in dir(rule)
    assert {"step", "lr", "parameters"} <= {*dir(rule)}
    with pytest.raises(AttributeError, match=r"^module 'minigan\.optim' has no attribute 'other'$"):
        mg.optim.other  # noqa: B018


def test_a_parameter_has_one_group() -> None:
    net = nn.Linear(2, 1, rng=Generator(0))
    with pytest.raises(ValueError, match="a parameter is in two groups of SGD"):
        optim.SGD([{"params": net, "lr": 0.1}, {"params": net, "lr": 0.5}], 0.01)


def test_a_group_may_have_no_parameters() -> None:
    net = nn.Linear(2, 1, rng=Generator(0))
    opt = optim.SGD([{"params": net, "lr": 0.1}, {"params": nn.Tanh()}], 0.01)
    before = net.bias.numpy().copy()
    opt.step({name: np.ones(p.shape, np.float32) for name, p in opt.parameters.items()})
    np.testing.assert_allclose(net.bias.numpy(), before - 0.1)

"""State dicts by PyTorch's names, and what does not fit: named, all of it, and nothing written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from minigan import Generator, nn


def net(seed: int = 0) -> nn.Module:
    rng = Generator(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, rng=rng),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Sequential(
            nn.InstanceNorm2d(8), nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1, rng=rng)
        ),
        nn.Flatten(),
        nn.LayerNorm(4 * 36),
        nn.SpectralNorm(nn.Linear(4 * 36, 2, rng=rng), rng=rng),
    )


NAMES = {  # PyTorch's: ours
    "0.weight": "layers.0.weight",
    "0.bias": "layers.0.bias",
    "1.weight": "layers.1.gamma",
    "1.bias": "layers.1.beta",
    "1.running_mean": "layers.1.running_mean",
    "1.running_var": "layers.1.running_var",
    "3.0.weight": "layers.3.layers.0.gamma",
    "3.0.bias": "layers.3.layers.0.beta",
    "3.1.weight": "layers.3.layers.1.weight",
    "3.1.bias": "layers.3.layers.1.bias",
    "5.weight": "layers.5.gamma",
    "5.bias": "layers.5.beta",
    "6.weight_orig": "layers.6.layer.weight",
    "6.bias": "layers.6.layer.bias",
    "6.weight_u": "layers.6.u",
    "6.weight_v": "layers.6.v",
}


def pytorch_state(seed: int = 0) -> dict[str, np.ndarray]:
    state = net(seed).state_dict()
    theirs = {name: state[own] for name, own in NAMES.items()}
    return theirs | {"1.num_batches_tracked": np.array(7)}


def same(one: nn.Module, state: Mapping[str, np.ndarray]) -> bool:
    return all(np.array_equal(array, state[name]) for name, array in one.state_dict().items())


FORMS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "as they are": lambda state: state,
    "of DataParallel": lambda state: {f"module.{name}": a for name, a in state.items()},
    "compiled": lambda state: {f"_orig_mod.{name}": a for name, a in state.items()},
    "both": lambda state: {f"module._orig_mod.{name}": a for name, a in state.items()},
    "in another order": lambda state: dict(reversed(state.items())),
    "parametrised": lambda state: {
        name.replace("weight_orig", "parametrizations.weight.original")
        .replace("weight_u", "parametrizations.weight.0._u")
        .replace("weight_v", "parametrizations.weight.0._v"): a
        for name, a in state.items()
    },
    "some of ours": lambda state: {NAMES[n] if n[0] == "3" else n: a for n, a in state.items()},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_state_by_the_names_of_pytorch(form: str) -> None:
    one = net(seed=1)
    assert sorted(one.state_dict()) == sorted(NAMES.values())
    unmatched = one.load_state_dict(FORMS[form](pytorch_state()))
    assert unmatched == ([], [])
    assert repr(unmatched) == "<every name has been matched>"
    assert same(one, net().state_dict())


def test_a_state_is_saved_by_the_names_of_pytorch() -> None:
    one = net()
    saved = one.state_dict(names="pytorch")
    assert list(saved) == [next(t for t in NAMES if NAMES[t] == own) for own in one.state_dict()]
    other = net(seed=1)
    assert other.load_state_dict(saved) == ([], [])
    assert same(other, one.state_dict())
    with pytest.raises(ValueError, match="names of a state are 'own' or 'pytorch', not 'keras'"):
        one.state_dict(names="keras")


def test_the_generator_of_a_dcgan_by_the_names_of_pytorch() -> None:
    """Those of the tutorial's `main`, as its checkpoints have them."""

    class DCGAN(nn.Module):
        def __init__(self, rng: Generator) -> None:
            self.main = nn.Sequential(
                nn.ConvTranspose2d(4, 8, 4, bias=False, rng=rng), nn.BatchNorm2d(8), nn.ReLU(),
                nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1, bias=False, rng=rng), nn.Tanh(),
            )  # fmt: skip

    assert sorted(DCGAN(Generator(0)).state_dict(names="pytorch")) == [
        "main.0.weight", "main.1.bias", "main.1.running_mean", "main.1.running_var",
        "main.1.weight", "main.3.weight",
    ]  # fmt: skip


def test_a_shared_array_is_saved_once_by_the_names_of_pytorch() -> None:
    linear = nn.Linear(2, 2, rng=Generator(0))
    net = nn.Sequential(linear, linear)
    assert list(net.state_dict(names="pytorch")) == ["0.weight", "0.bias"]


def test_two_arrays_of_one_name_in_pytorch_are_refused() -> None:
    class Odd(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.BatchNorm2d(2))
            setattr(self, "0", nn.BatchNorm2d(2))

    with pytest.raises(ValueError, match=r"layers\.0\.gamma and 0\.gamma would both be 0\.weight"):
        Odd().state_dict(names="pytorch")


def test_a_parameter_by_the_name_of_pytorch_is_answered() -> None:
    mine = net().parameters()
    for theirs, own in NAMES.items():
        if own in mine:
            with pytest.raises(KeyError, match=rf"no parameter {theirs}; did you mean {own}\?"):
                mine[theirs]
    for asked, words in {
        "layers.0.wieght": r"did you mean layers\.0\.weight\?",
        "nothing of the kind": r"list\(net\.parameters\(\)\) are the names",
        0: "a dict by names, not 0",
    }.items():
        with pytest.raises(KeyError, match=words):
            mine[asked]
    assert mine.get("0.weight") is None
    assert "0.weight" not in mine


def test_the_older_names_of_the_methods() -> None:
    one = net(seed=1)
    assert list(one.state()) == list(one.state_dict())
    assert one.load_state(pytorch_state()) == ([], [])
    assert same(one, net().state())


def test_all_misfits_are_named_and_nothing_is_written() -> None:
    one = net(seed=1)
    before, state = one.state_dict(), pytorch_state()
    del state["0.bias"], state["5.weight"]
    state |= {"2.weight": np.ones(3), "head.bias": np.ones(1), "1.bias": np.ones(9)}
    state["3.1.weight"] = state["3.1.weight"].swapaxes(0, 1)
    with pytest.raises(ValueError, match=r"Sequential|saved state") as caught:
        one.load_state_dict(state)
    for words in (
        "layers.0.bias, layers.5.gamma are missing in the saved state",
        "2.weight, head.bias are not in Sequential",
        "layers.1.beta has shape (8,), not (9,)",
        "layers.3.layers.1.weight has shape (8, 4, 4, 4), not (4, 8, 4, 4)",
    ):
        assert words in str(caught.value)
    assert same(one, before)


def test_what_fits_is_loaded_if_asked_for() -> None:
    one, state = net(seed=1), pytorch_state()
    before = one.state_dict()
    del state["0.bias"]
    state["head.bias"] = np.ones(1)
    unmatched = one.load_state_dict(state, strict=False)
    assert unmatched.missing_keys == ["layers.0.bias"]
    assert unmatched.unexpected_keys == ["head.bias"]
    assert "head.bias" in repr(unmatched)
    now, wanted = one.state_dict(), net().state_dict()
    for name, array in now.items():
        source = before if name == "layers.0.bias" else wanted
        np.testing.assert_array_equal(array, source[name])
    before = one.state_dict()
    with pytest.raises(ValueError, match=r"layers.1.beta has shape \(8,\), not \(9,\)"):
        one.load_state_dict({"1.bias": np.ones(9), "1.weight": np.zeros(8)}, strict=False)
    assert same(one, before)
    assert one.load_state_dict({}, strict=False).missing_keys == list(before)


@pytest.mark.parametrize("prefix", ["model.", "players/G/", "a.b."])
def test_a_network_among_several_is_named_by_what_is_before_it(prefix: str) -> None:
    one, state = net(seed=1), pytorch_state()
    among = {f"{prefix}{name}": array for name, array in state.items()} | {"opt.0": np.ones(2)}
    with pytest.raises(ValueError, match=f"without '{prefix}' before them, those that begin"):
        one.load_state_dict(among)
    names = (name for name in among if name.startswith(prefix))
    assert one.load_state_dict({n.removeprefix(prefix): among[n] for n in names}) == ([], [])
    del among[f"{prefix}0.weight"]  # it would not fit then
    with pytest.raises(ValueError, match=r"not in Sequential$"):
        one.load_state_dict(among)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("net.pth", r"not str; load_state_dict\(mg\.load\(path\)\) takes them from a file"),
        (net(), r"not Sequential; its state_dict\(\) is"),
        ([1], "not list$"),
    ],
    ids=["a path", "a module", "a list"],
)
def test_what_is_no_state_says_how_to_get_one(given: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        net().load_state_dict(given)


class Tied(nn.Module):
    """One array under two names, a module in a dict, and names that PyTorch has for others."""

    def __init__(self) -> None:
        self.encoder = nn.Linear(2, 2, rng=Generator(0))
        self.decoder = self.encoder
        self.parts = {"norm": nn.BatchNorm1d(2)}
        self.module = nn.Linear(1, 1, rng=Generator(1))


def test_one_array_with_two_names() -> None:
    one, w = Tied(), np.arange(4.0).reshape(2, 2)
    state = {**one.state_dict(), "encoder.weight": w, "decoder.weight": w.copy()}
    one.load_state_dict(state)
    np.testing.assert_array_equal(one.decoder.weight.numpy(), w)
    with pytest.raises(ValueError, match=r"encoder.weight and decoder.weight are one array"):
        one.load_state_dict({**state, "decoder.weight": w + 1})
    one.load_state_dict({"decoder.weight": w + 1, "parts.norm.weight": [3, 4.0]}, strict=False)
    np.testing.assert_array_equal(one.encoder.weight.numpy(), w + 1)
    np.testing.assert_array_equal(one.parts["norm"].gamma.numpy(), [3, 4])


def test_a_part_called_module_keeps_its_name() -> None:
    one = Tied()
    one.load_state_dict({"module.weight": [[5.0]], "module.bias": [6.0]}, strict=False)
    assert one.module.weight.numpy() == 5
    assert one.module.bias.numpy() == 6


class Twice(nn.Module):
    """A norm with a parameter that has the name by which PyTorch knows another one."""

    def __init__(self) -> None:
        self.norm = nn.BatchNorm1d(2)
        self.norm.weight = nn.Parameter(np.zeros(2, np.float32))  # beside gamma


def test_a_name_of_ours_goes_before_a_name_of_pytorch_s() -> None:
    one = Twice()
    one.load_state_dict({"norm.weight": [5.0, 5.0]}, strict=False)
    np.testing.assert_array_equal(one.norm.weight.numpy(), [5, 5])
    np.testing.assert_array_equal(one.norm.gamma.numpy(), [1, 1])

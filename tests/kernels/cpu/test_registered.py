"""Algorithms from outside: registered, forced, tuned, checked, recorded, and refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import minigan_kernels as kernels
import numpy as np
import pytest
from minigan_kernels import algorithms, reference, testing
from minigan_kernels.checks import Window
from minigan_kernels.cpu.conv import select
from minigan_kernels.epilogue import Epilogue

import minigan as mg


@pytest.fixture(autouse=True)
def choices_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No choices but this test's, and no algorithms left behind."""
    monkeypatch.setattr(select, "cache_folder", lambda: tmp_path / "kernels")
    select.cache_clear()
    yield
    for name in list(algorithms.registered):
        kernels.unregister(name)
    select.cache_clear()


calls: list[str] = []


def forward(x: Any, w: Any, *, stride: Any, padding: Any, dilation: Any, groups: Any) -> Any:
    assert all(type(option) is tuple for option in (stride, padding, dilation))
    calls.append("forward")
    return reference.conv.conv2d(
        x, w, stride=stride, padding=padding, dilation=dilation, groups=groups
    )


def dx(g: Any, w: Any, *, shape: Any, **options: Any) -> Any:
    calls.append("dx")
    return reference.conv.conv2d_dx(g, w, shape=shape, **options)


def dw(x: Any, g: Any, *, shape: Any, **options: Any) -> Any:
    calls.append("dw")
    return reference.conv.conv2d_dw(x, g, shape=shape, **options)


def register_all(**options: Any) -> None:
    calls.clear()
    kernels.register("plain", "conv2d", forward, **options)
    kernels.register("plain", "conv2d_dx", dx, **options)
    kernels.register("plain", "conv2d_dw", dw, **options)


X = np.random.default_rng(0).standard_normal((2, 4, 6, 6), np.float32)
W = np.random.default_rng(1).standard_normal((3, 4, 3, 3), np.float32)
BIAS = np.ones(3, np.float32)


def test_it_computes_where_it_is_forced_and_nowhere_else() -> None:
    register_all()
    kernels.conv2d(X, W)
    assert calls == []
    with kernels.use("plain"):
        y = kernels.conv2d(X, W, padding=1)
        kernels.conv2d_dx(y, W, shape=X.shape, padding=1)
        kernels.conv2d_dw(X, y, shape=W.shape, padding=1)
        kernels.conv2d(X.astype(np.float64), W.astype(np.float64))  # im2col
    assert calls == ["forward", "dx", "dw"]
    with kernels.use("reference"):
        np.testing.assert_array_equal(y, kernels.conv2d(X, W, padding=1))


def test_bias_and_activation_end_it() -> None:
    register_all()
    end = Epilogue("leaky_relu", 0.2)
    y, four = kernels.conv2d(X, W), np.ones(4, np.float32)
    wanted = kernels.conv2d_activated(X, W, BIAS, epilogue=end)
    back = kernels.conv2d_dx_activated(y, W, four, shape=X.shape, epilogue=end)
    with kernels.use("plain"):
        found = kernels.conv2d_activated(X, W, BIAS, epilogue=end)
        ours = kernels.conv2d_dx_activated(
            y, W, np.ones(4, np.float32), shape=X.shape, epilogue=end
        )
    assert calls == ["forward", "dx"]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours, back, rtol=1e-4, atol=1e-5)


def test_a_network_is_trained_by_it() -> None:
    register_all()
    net = mg.nn.Conv2d(4, 3, 3, rng=mg.Generator(0))
    with kernels.use("plain"):
        mg.grad((net(mg.Tensor(X)) ** 2).sum(), net.parameters())
    assert calls == ["forward", "dw"]


def test_other_layers_go_by_the_rule_or_are_refused() -> None:
    register_all(takes=lambda layer: layer.groups == 1 and layer.window.stride == (1, 1))
    with kernels.use("plain"):
        kernels.conv2d(X, W, stride=2)
        assert calls == []
        kernels.conv2d(X, W)
        assert calls == ["forward"]
    with kernels.use("plain", strict=True):
        with pytest.raises(ValueError, match=r"plain does no conv2d of \(2, 4, 6, 6\) to"):
            kernels.conv2d(X, W, stride=2)
        with pytest.raises(ValueError, match="plain does no conv2d in float64"):
            kernels.conv2d(X.astype(np.float64), W.astype(np.float64))
    kernels.unregister("plain")
    kernels.register("half", "conv2d", forward)
    with kernels.use("half"):
        y = kernels.conv2d(X, W)
        kernels.conv2d_dx(y, W, shape=X.shape)
    assert calls == ["forward", "forward"]


def test_a_predicate_that_fails_is_named() -> None:
    register_all(takes=lambda layer: layer.channels > 3)
    with kernels.use("plain"), pytest.raises(RuntimeError, match="takes of plain cannot say"):
        kernels.conv2d(X, W)


LAYER = ((2, 4, 6, 6), (2, 3, 4, 4), Window((3, 3)), 1)


def test_it_is_remembered_as_the_others_are_and_named_in_the_choices() -> None:
    register_all()
    select.remember("conv2d", *LAYER, "plain")
    kernels.conv2d(X, W)
    assert calls == ["forward"]
    found = kernels.choices()
    where = f"{forward.__module__}.forward"
    assert found["plain conv2d"] == where
    assert list(found.values()).count("plain") == 1
    kernels.unregister("plain")
    assert kernels.choices() == {}  # another process, which knows no such algorithm
    kernels.conv2d(X, W)
    assert calls == ["forward"]
    kernels.register("plain", "conv2d", forward)
    kernels.conv2d(X, W)
    assert calls == ["forward", "forward"]
    select.forget()
    with kernels.use("plain"):
        assert kernels.choices() == {"use": "plain", "plain conv2d": where}
    assert kernels.choices() == {}


def test_a_process_that_knows_no_such_algorithm_keeps_its_choice() -> None:
    register_all()
    select.remember("conv2d", *LAYER, "plain")
    kernels.unregister("plain")
    select.remember("conv2d_dw", *LAYER, "direct")
    assert list(kernels.choices().values()) == ["direct"]
    register_all()
    assert sorted(v for v in kernels.choices().values() if "." not in v) == ["direct", "plain"]


def test_a_decorator_and_a_second_registration() -> None:
    @kernels.register("plain", "conv2d")
    def first(x: Any, w: Any, *, stride: Any, padding: Any, dilation: Any, groups: Any) -> Any:
        return np.zeros((2, 3, 4, 4), np.float32)

    with kernels.use("plain"):
        assert not kernels.conv2d(X, W).any()
        kernels.register("plain", "conv2d", forward)
        assert kernels.conv2d(X, W).any()
    assert callable(first)


BAD: dict[str, tuple[tuple[Any, ...], dict[str, Any], str]] = {
    "no name": (("", "conv2d", forward), {}, "a name of letters and digits, not ''"),
    "a name with spaces": (("a b", "conv2d", forward), {}, "letters and digits"),
    "a number": ((3, "conv2d", forward), {}, "letters and digits, not 3"),
    "a name of ours": (("direct", "conv2d", forward), {}, "direct is one of minigan's own"),
    "a backend": (("cuda", "conv2d", forward), {}, "cuda is one of minigan's own"),
    "another kernel": (("mine", "matmul", forward), {}, "conv2d, conv2d_dx, conv2d_dw, not 'matm"),
    "no function": (("mine", "conv2d", 3), {}, "the algorithm of mine must be a function, not 3"),
    "no predicate": (("mine", "conv2d", forward), {"takes": 3}, "takes of mine must be a function"),
    "no options": (
        ("mine", "conv2d", lambda x, w: x),
        {},
        r"mine must take \(x, w, \*, stride, pad",
    ),
    "no shape": (("mine", "conv2d_dw", forward), {}, r"must take \(x, g, \*, shape, stride"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_registration_costs_one_sentence(name: str) -> None:
    words, options, says = BAD[name]
    with pytest.raises((TypeError, ValueError), match=says) as caught:
        kernels.register(*words, **options)
    assert "\n" not in str(caught.value)
    assert algorithms.registered == {}
    with pytest.raises(ValueError, match="no algorithm is registered as 'mine'"):
        kernels.unregister("mine")
    with pytest.raises(ValueError, match="there are no kernels called 'mine'"), kernels.use("mine"):
        pass


GIVES: dict[str, tuple[Any, str]] = {
    "nothing": (None, "an array of float32 as conv2d, but gave NoneType"),
    "float64": (np.zeros((2, 3, 4, 4)), "array of float32 as conv2d, but gave float64"),
    "a shape": (np.zeros((2, 3), np.float32), r"shape \(2, 3, 4, 4\) as conv2d, but gave \(2, 3\)"),
}


@pytest.mark.parametrize("name", GIVES)
def test_a_bad_result_costs_one_sentence(name: str) -> None:
    result, says = GIVES[name]
    kernels.register("bad", "conv2d", lambda x, w, **options: result)
    with kernels.use("bad"), pytest.raises((TypeError, ValueError), match=says):
        kernels.conv2d(X, W)


def test_an_activation_may_follow_a_result_of_any_order_in_memory() -> None:
    """It is applied in place, so a result that is not dense, or is an operand, is copied first."""
    one = np.ones((1, 1, 1, 1), np.float32)
    x, bias = np.arange(-6, 6, dtype=np.float32).reshape(3, 1, 2, 2), np.zeros(1, np.float32)
    before, wanted = x.copy(), np.maximum(x, 0)
    kernels.register("same", "conv2d", lambda x, w, **options: x)
    kernels.register(
        "rows",
        "conv2d",
        lambda x, w, **options: (x * w).transpose(2, 0, 1, 3).copy().transpose(1, 2, 0, 3),
    )
    kernels.register("shared", "conv2d", lambda x, w, **options: np.broadcast_to(x * w, x.shape))
    for name in ("same", "rows", "shared"):
        with kernels.use(name):
            found = kernels.conv2d_activated(x, one, bias, epilogue=Epilogue("leaky_relu", 0.0))
        assert (found == wanted).all()
        assert (x == before).all()


def test_check_algorithm() -> None:
    register_all()
    assert testing.check_algorithm("plain") == 3 * 3 * len(testing.LAYERS)
    kernels.unregister("plain")
    kernels.register("plain", "conv2d", forward, takes=lambda layer: layer.groups == 4)
    assert testing.check_algorithm("plain") == 3
    with pytest.raises(ValueError, match="takes none of the 1 layers"):
        testing.check_algorithm("plain", layers=testing.LAYERS[:1])
    with pytest.raises(ValueError, match="no algorithm is registered as 'other'"):
        testing.check_algorithm("other")


def test_check_algorithm_finds_what_is_wrong() -> None:
    def slightly(x: Any, w: Any, **options: Any) -> Any:
        return forward(x, w, **options) * np.float32(1.01)

    def writing(x: Any, w: Any, **options: Any) -> Any:
        y = forward(x, w, **options)
        x[...] = 0
        return y

    def in_c_order_alone(x: Any, w: Any, **options: Any) -> Any:
        return forward(x if x.flags.c_contiguous else x + 1, w, **options)

    def of_nan(x: Any, w: Any, **options: Any) -> Any:
        return forward(x, w, **options) * np.float32("nan")

    for function, says in (
        (slightly, "wrong by up to"),
        (writing, "has written its operands"),
        (in_c_order_alone, "arrays with"),
        (of_nan, "wrong by up to"),
    ):
        kernels.register("wrong", "conv2d", function)
        with pytest.raises(AssertionError, match=says):
            testing.check_algorithm("wrong")

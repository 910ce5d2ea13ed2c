"""Optimisers, schedules, clipping and averages, against the formulas done by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import minigan_kernels as kernels
import numpy as np
import pytest
from draw import normal

from minigan import Generator, nn, ops, optim
from minigan.tensor import Tensor, grad

Make = Callable[[dict[str, Tensor]], optim.Optimizer]

RULES: dict[str, Make] = {
    "sgd": lambda p: optim.SGD(p, 0.1),
    "momentum": lambda p: optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
    "scheduled": lambda p: optim.SGD(
        p, optim.exponential(0.1, 0.5), momentum=optim.linear(0.5, 0.7, 3)
    ),
    "rmsprop": lambda p: optim.RMSProp(p, 0.01, alpha=0.9, weight_decay=0.01),
    "adam": lambda p: optim.Adam(p, 2e-4, (0.5, 0.999)),
    "adam with L2": lambda p: optim.Adam(p, 1e-2, weight_decay=0.1),
    "adamw": lambda p: optim.AdamW(p, 1e-2, weight_decay=0.1),
}


@pytest.fixture(params=["reference", "cpu"])
def backend(request: pytest.FixtureRequest):
    with kernels.use(request.param):
        yield request.param


def parameters(dtype: Any = np.float32) -> dict[str, Tensor]:
    return {
        "trunk.weight": Tensor(normal(3, 5, dtype=dtype)),
        "bias": Tensor(normal(5, seed=1, dtype=dtype)),
    }


def gradients(step: int, dtype: Any = np.float32) -> dict[str, Tensor]:
    shapes = {"trunk.weight": (3, 5), "bias": (5,)}
    return {n: Tensor(normal(*s, seed=10 + step, dtype=dtype)) for n, s in shapes.items()}


def by_hand(name: str, p: np.ndarray, gs: list[np.ndarray]) -> np.ndarray:
    """The rule's formula, one value at a time in Python's own numbers."""
    result = []
    for value, *slopes in zip(p.ravel(), *(g.ravel() for g in gs), strict=True):
        x, m, v = float(value), 0.0, 0.0
        for t, slope in enumerate(map(float, slopes)):
            if name in ("sgd", "momentum", "nesterov", "scheduled"):
                mu = {"sgd": 0, "scheduled": 0.5 + 0.2 * min(t / 3, 1)}.get(name, 0.9)
                lr = 0.1 * 0.5**t if name == "scheduled" else 0.1
                g = slope + (0.01 * x if name == "momentum" else 0)
                m = mu * m + g
                x -= lr * (g + mu * m if name == "nesterov" else m)
            elif name == "rmsprop":
                g = slope + 0.01 * x
                v = 0.9 * v + 0.1 * g * g
                x -= 0.01 * g / (math.sqrt(v) + 1e-8)
            else:
                lr, b1, decay = (2e-4, 0.5, 0) if name == "adam" else (1e-2, 0.9, 0.1)
                if name == "adam with L2":
                    slope += decay * x
                else:
                    x -= lr * decay * x
                m = b1 * m + (1 - b1) * slope
                v = 0.999 * v + 0.001 * slope**2
                unbiased = m / (1 - b1 ** (t + 1)), v / (1 - 0.999 ** (t + 1))
                x -= lr * unbiased[0] / (math.sqrt(unbiased[1]) + 1e-8)
        result.append(x)
    return np.reshape(result, p.shape)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.usefixtures("backend")
def test_rules_by_hand(name: str, dtype: Any) -> None:
    ps = parameters(dtype)
    before = {n: p.data.copy() for n, p in ps.items()}
    arrays = {n: p.data for n, p in ps.items()}
    rule = RULES[name](ps)
    steps = [gradients(i, dtype) for i in range(5)]
    for g in steps:
        rule.step(g)
    assert rule.steps == 5
    for n, p in ps.items():
        assert p.data is arrays[n]  # moved in place
        assert p.dtype == dtype
        expected = by_hand(name, before[n], [g[n].data for g in steps])
        tolerance = 1e-12 if dtype == np.float64 else 1e-5
        np.testing.assert_allclose(p.data, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.usefixtures("backend")
def test_a_step_leaves_the_gradients_alone(name: str) -> None:
    rule, g = RULES[name](parameters()), gradients(0)
    rule.step(g)
    for n, fresh in gradients(0).items():
        np.testing.assert_array_equal(g[n].data, fresh.data)


@pytest.mark.usefixtures("backend")
def test_gradients_may_lie_anywhere() -> None:
    """A gradient may be a transposed view, or one number with strides of 0."""
    ps, same = parameters(), parameters()
    one = np.broadcast_to(np.float32(0.5), 5)
    turned = normal(5, 3, dtype=np.float32).T
    optim.Adam(ps, 0.1).step({"trunk.weight": Tensor(turned), "bias": Tensor(one)})
    optim.Adam(same, 0.1).step({"trunk.weight": Tensor(turned.copy()), "bias": Tensor(one.copy())})
    for n in ps:
        np.testing.assert_array_equal(ps[n].data, same[n].data)


@pytest.mark.parametrize("name", RULES)
def test_the_state_is_named_by_the_parameters(name: str) -> None:
    rule = RULES[name](parameters())
    expected = {f"{kind}.{n}" for kind in rule.slots for n in parameters()} | {"steps"}
    assert set(rule.state()) == expected
    assert all(not a.any() for a in rule.state().values())


@pytest.mark.parametrize("name", RULES)
@pytest.mark.usefixtures("backend")
def test_a_saved_state_continues_bit_for_bit(name: str) -> None:
    ps = parameters()
    rule = RULES[name](ps)
    for i in range(3):
        rule.step(gradients(i))
    saved = {n: a.copy() for n, a in rule.state().items()}
    copies = {n: Tensor(p.data.copy()) for n, p in ps.items()}
    resumed = RULES[name](copies)
    resumed.load_state(saved)
    for i in range(3, 6):
        rule.step(gradients(i))
        resumed.step(gradients(i))
    for n in ps:
        np.testing.assert_array_equal(ps[n].data, copies[n].data)
    for n, a in rule.state().items():
        np.testing.assert_array_equal(a, resumed.state()[n])
    assert int(resumed.state()["steps"]) == 6


def damaged(state: dict[str, np.ndarray], how: str) -> dict[str, np.ndarray]:
    state = {n: np.ones_like(a) for n, a in state.items()}
    if how == "missing":
        del state["mean.bias"]
    elif how == "extra":
        state["mean.other"] = np.ones(2)
    else:
        state["mean.bias"] = np.ones(4)
    return state


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("missing", "mean.bias"),
        ("extra", "mean.other"),
        ("shape", r"mean.bias has shape \(5,\), not \(4,\)"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_whole(how: str, words: str) -> None:
    rule = optim.Adam(parameters(), 0.1)
    with pytest.raises(ValueError, match=words):
        rule.load_state(damaged(rule.state(), how))
    assert all(not a.any() for a in rule.state().values())


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("how", ["missing", "extra"])
def test_gradients_of_other_names_are_refused_and_nothing_moves(name: str, how: str) -> None:
    ps = parameters()
    rule = RULES[name](ps)
    g = gradients(0)
    if how == "missing":
        del g["bias"]
    else:
        g["other"] = g["bias"]
    with pytest.raises(ValueError, match="bias" if how == "missing" else "other"):
        rule.step(g)
    for n, p in parameters().items():
        np.testing.assert_array_equal(ps[n].data, p.data)
    assert rule.steps == 0
    assert all(not a.any() for a in rule.state().values())


def test_a_gradient_of_another_shape_is_refused_and_nothing_moves() -> None:
    ps = parameters()
    rule = optim.SGD(ps, 0.1)
    g = gradients(0) | {"bias": Tensor(np.ones((2, 5), np.float32))}
    with pytest.raises(ValueError, match=r"\(2, ?5\)"):
        rule.step(g)
    for n, p in parameters().items():
        np.testing.assert_array_equal(ps[n].data, p.data)


def test_an_optimizer_without_a_rule() -> None:
    with pytest.raises(TypeError, match="Optimizer has no rule"):
        optim.Optimizer(parameters(), 0.1).step(gradients(0))


# --- The kernels, for lists of parameters ----------------------------------------------------

STEPS: dict[str, tuple[int, dict[str, Any]]] = {  # the states of a rule, and its numbers
    "sgd": (1, {"lr": 0.1, "momentum": 0.9, "nesterov": False, "weight_decay": 0.01}),
    "rmsprop": (1, {"lr": 0.1, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.01}),
    "adam": (2, {"lr": 0.1, "beta1": 0.5, "beta2": 0.9, "eps": 1e-3, "weight_decay": 0.1,
                 "decoupled": False, "step": 3}),
}  # fmt: skip
STEPS["adamw"] = 2, STEPS["adam"][1] | {"decoupled": True}
KERNELS = {"adamw": "adam"}
SHAPES = [(300, 500), (7,), (), (0, 3), (33, 5, 4, 4), (1 << 16,), (70_001,)]


def arrays(count: int) -> list[list[np.ndarray]]:
    """`count` lists of arrays of SHAPES, nowhere negative."""
    return [
        [
            np.array(normal(*shape, seed=7 * i + j) ** 2, np.float32)
            for j, shape in enumerate(SHAPES)
        ]
        for i in range(count)
    ]


def copies(lists: list[list[np.ndarray]]) -> list[list[np.ndarray]]:
    return [[np.array(a, copy=True, order="K") for a in each] for each in lists]


@pytest.mark.parametrize("name", STEPS)
def test_a_list_is_stepped_as_each_parameter_alone(name: str, backend: str) -> None:
    states, numbers = STEPS[name]
    together = arrays(2 + states)
    alone = copies(together)
    getattr(kernels, KERNELS.get(name, name))(*together, **numbers)
    for one in zip(*alone, strict=True):
        getattr(kernels, KERNELS.get(name, name))(*one, **numbers)
    for a, b in zip(together, alone, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y, strict=True)


@pytest.mark.parametrize("name", STEPS)
def test_any_layout_gives_the_same_bytes(name: str, backend: str) -> None:
    """A weight that is stored transposed, with a gradient and a state that are or are not."""
    states, numbers = STEPS[name]
    plain = [[np.abs(normal(6, 5, 4, 3, seed=i, dtype=np.float32))] for i in range(2 + states)]
    layouts: list[Callable[[np.ndarray], np.ndarray]] = [
        np.copy,
        lambda a: a.transpose(2, 3, 1, 0).copy().transpose(3, 2, 0, 1),
        lambda a: np.repeat(a, 2, axis=0)[::2],
        lambda a: a[::-1].copy()[::-1],
    ]
    want = copies(plain)
    getattr(kernels, KERNELS.get(name, name))(*want, **numbers)
    for i in range(4**2):
        chosen = [layouts[i % 4], *(layouts[(i + k) // 4 % 4] for k in range(1 + states))]
        lying = [[lay(a[0])] for lay, a in zip(chosen, plain, strict=True)]
        strides = [a[0].strides for a in lying]
        getattr(kernels, KERNELS.get(name, name))(*lying, **numbers)
        for a, b in zip(lying, want, strict=True):
            np.testing.assert_array_equal(a[0], b[0])
        assert [a[0].strides for a in lying] == strides


@pytest.mark.parametrize("name", STEPS)
def test_what_does_not_fit_is_refused_and_nothing_moves(name: str, backend: str) -> None:
    states, numbers = STEPS[name]
    step = getattr(kernels, KERNELS.get(name, name))
    lists = [[np.ones(3, np.float32), np.ones(2, np.float32)] for _ in range(2 + states)]
    with pytest.raises(ValueError, match="as many"):
        step(lists[0], lists[1][:1], *lists[2:], **numbers)
    with pytest.raises(ValueError, match="same shape"):
        step(lists[0], lists[1][::-1], *lists[2:], **numbers)
    lists[-1][1].flags.writeable = False
    if backend == "cpu":
        with pytest.raises(ValueError, match="read-only"):
            step(*lists, **numbers)
    lists[-1][1].flags.writeable = True
    assert all((a == 1).all() for each in lists for a in each)
    lists[1][0].flags.writeable = False  # a gradient is only read
    step(*lists, **numbers)


def test_denormal_numbers_count_as_zero_in_a_step_and_nowhere_else() -> None:
    tiny = np.float32(1e-40)
    p, g, m, v = (np.full(100, x, np.float32) for x in (1, tiny, tiny, tiny))
    with kernels.use("cpu"):
        kernels.adam(p, g, m, v, **STEPS["adam"][1] | {"weight_decay": 0.0})
        assert not m.any()
        assert not v.any()
        np.testing.assert_array_equal(p, 1)
        velocity = np.full(100, 1e-38, np.float32)
        for nesterov in (False, True):
            kernels.sgd(p, g, velocity, lr=0.1, momentum=0.5, nesterov=nesterov, weight_decay=0.0)
            assert not velocity.any()
            velocity[:] = 2e-38
        kernels.rmsprop(p, g, v, lr=0.1, alpha=0.5, eps=1e-8, weight_decay=0.0)
        assert not v.any()
    assert tiny * np.float32(0.5) > 0


def test_a_step_takes_conv_weights_as_they_lie_in_memory() -> None:
    """No parameter, gradient or state is ever laid out anew."""
    for layer, x in (
        (nn.Conv2d(32, 64, 4, stride=2, padding=1, rng=Generator(0)), normal(4, 32, 16, 16)),
        (nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1, rng=Generator(0)), normal(4, 64, 8, 8)),
        (nn.Linear(30, 20, rng=Generator(0)), normal(4, 30)),
    ):
        ps = layer.parameters()
        rule = optim.Adam(ps, 0.1)
        g = grad(ops.mean(ops.square(layer(Tensor(x.astype(np.float32))))), ps)
        weight = layer.weight.data
        assert g["weight"].data.strides == weight.strides == rule.slot["mean.weight"].strides
        assert not weight.flags.c_contiguous
        assert layer.copy().weight.data.strides == weight.strides
        assert layer.astype(np.float64).weight.data.strides == tuple(2 * s for s in weight.strides)


def test_schedules() -> None:
    assert [optim.constant(0.3)(t) for t in (0, 1000)] == [0.3, 0.3]
    line = optim.linear(1.0, 0.0, 4)
    assert [line(t) for t in (0, 1, 2, 4, 9)] == [1, 0.75, 0.5, 0, 0]
    held = optim.linear(1.0, 0.0, 6, hold=2)
    assert [held(t) for t in (0, 2, 3, 6, 9)] == [1, 1, 0.75, 0, 0]
    decay = optim.exponential(0.1, 0.5, 0.02)
    np.testing.assert_allclose([decay(t) for t in (0, 1, 2, 3, 50)], [0.1, 0.05, 0.025, 0.02, 0.02])
    half = optim.cosine(1.0, 0.2, 10)
    np.testing.assert_allclose([half(t) for t in (0, 5, 10, 99)], [1, 0.6, 0.2, 0.2])
    assert half(1) > 0.97


def test_a_schedule_is_asked_for_the_steps_taken() -> None:
    asked: list[int] = []

    def lr(step: int) -> float:
        asked.append(step)
        return 0.1

    rule = optim.SGD({"bias": Tensor(np.ones(2, np.float32))}, lr)
    for _ in range(3):
        rule.step({"bias": Tensor(np.ones(2, np.float32))})
    assert asked == [0, 1, 2]


def test_clipping_by_value() -> None:
    g = {"a": Tensor([-3.0, 0.5]), "b": Tensor([[2.0]])}
    clipped = optim.clip_by_value(g, 1.0)
    np.testing.assert_array_equal(clipped["a"].data, [-1, 0.5])
    np.testing.assert_array_equal(clipped["b"].data, [[1]])
    assert clipped["a"].dtype == np.float32
    np.testing.assert_array_equal(g["a"].data, [-3, 0.5])


def test_clipping_by_the_joint_norm() -> None:
    g = {"a": Tensor([3.0, 0.0]), "b": Tensor([[4.0]])}  # of norm 5
    clipped = optim.clip_by_norm(g, 1.0)
    np.testing.assert_allclose(clipped["a"].data, [0.6, 0], rtol=1e-6)
    np.testing.assert_allclose(clipped["b"].data, [[0.8]], rtol=1e-6)
    assert clipped["a"].dtype == np.float32
    for n, same in optim.clip_by_norm(g, 10.0).items():
        np.testing.assert_array_equal(same.data, g[n].data)
    zero = optim.clip_by_norm({"a": Tensor([0.0])}, 1.0)
    assert zero["a"].item() == 0


@pytest.mark.parametrize("name", RULES)
def test_an_optimizer_clips_what_it_is_told_to(name: str) -> None:
    """A step with `clip` is a step without it on gradients that are clipped already."""
    one, other = parameters(), parameters()
    clipping, plain = RULES[name](one), RULES[name](other)
    clipping.clip = partial(optim.clip_by_norm, limit=0.1)
    for step in range(2):
        clipping.step(gradients(step))
        plain.step(optim.clip_by_norm(gradients(step), 0.1))
    for n, p in one.items():
        np.testing.assert_array_equal(p.data, other[n].data)
    for kind in (optim.SGD, optim.RMSProp, optim.Adam):
        assert kind(parameters(), 0.1, clip=clipping.clip).clip is clipping.clip
        assert kind(parameters(), 0.1).clip is None


def test_the_norm_does_not_overflow_float32() -> None:
    clipped = optim.clip_by_norm({"a": Tensor(np.full(4, 1e30, np.float32))}, 1.0)
    np.testing.assert_allclose(clipped["a"].data, 0.5, rtol=1e-6)


def test_clipping_weights_in_place() -> None:
    p = Tensor([-3.0, 0.005, 2.0])
    array = p.data
    optim.clip_weights({"p": p}, 0.01)
    assert p.data is array
    np.testing.assert_allclose(array, [-0.01, 0.005, 0.01])


class Net(nn.Module):
    """Parameters, floating-point buffers and one of whole numbers."""

    def __init__(self) -> None:
        self.linear = nn.Linear(2, 2, rng=Generator(0))
        self.norm = nn.BatchNorm1d(2)
        self.count = np.array(0)


def test_the_average_of_parameters_and_buffers() -> None:
    fast = Net()
    slow = fast.copy()
    before = {n: a.copy() for n, a in slow.state().items()}
    for a in fast.arrays().values():
        a += 1
    fast.count[...] = 7
    for step in (1, 2):
        optim.average(slow, fast, 0.9)
        for n, a in slow.state().items():
            if n == "count":
                assert a == 7
            else:
                np.testing.assert_allclose(a, before[n] + 1 - 0.9**step, rtol=1e-6, atol=1e-6)
                assert a.dtype == np.float32
    for n, a in fast.state().items():
        np.testing.assert_allclose(a, 7 if n == "count" else before[n] + 1)


def test_the_decay_of_an_average_may_depend_on_the_round() -> None:
    decay = optim.warming(0.5)
    assert [decay(step) for step in (0, 2, 8, 100)] == [0.1, 0.25, 0.5, 0.5]
    fast = Net()
    for step in (0, 2, 100):
        plain, scheduled = fast.copy(), fast.copy()
        for slow in (plain, scheduled):
            slow.linear.weight.data[...] = 1
        optim.average(plain, fast, decay(step))
        optim.average(scheduled, fast, decay, step)
        assert plain.linear.weight.data.tobytes() == scheduled.linear.weight.data.tobytes()

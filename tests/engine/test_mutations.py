"""A planted error in any gradient rule, kernel or step of the engine is caught by the checks."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import minigan_kernels as kernels
import numpy as np
import pytest
from cases import PRIMITIVE_CASES, SETTINGS, Case, run
from draw import normal
from hypothesis import HealthCheck, assume, settings

import minigan as mg
from minigan.fused import Fused
from minigan.ops.norm import batch_norm
from minigan.tensor import PRIMITIVES, GraphError, Tensor, grad
from minigan.testing import GradientError, check_gradients

FEW = settings(
    SETTINGS,
    max_examples=3,
    suppress_health_check=[*SETTINGS.suppress_health_check, HealthCheck.filter_too_much],
)
OPERANDS = 3  # of a primitive with any number of inputs, as many are tried

engine = sys.modules["minigan.tensor"]  # minigan.tensor is the function of that name
PLAIN = {name: p for name, p in PRIMITIVES.items() if not isinstance(p, Fused)}
FUSED = {name: p for name, p in PRIMITIVES.items() if isinstance(p, Fused)}


def arguments(fused: Fused) -> int:
    """How many tensors a fused operation takes."""
    kinds = [p.kind for p in inspect.signature(fused.reference).parameters.values()]
    return kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD)


RULES = [
    (name, i)
    for name, p in PLAIN.items()
    for i in range(OPERANDS if p.rule_of_each else len(p.rules))
    if p.flows_to(i)
]
BLOCKED = [
    (name, i)
    for name, p in PLAIN.items()
    if p.rule_of_each is None
    for i, rule in enumerate(p.rules)
    if rule is None
]
KERNELS = [(name, i) for name, p in FUSED.items() for i in range(arguments(p))]


@pytest.fixture(autouse=True)
def reference() -> Iterator[None]:
    with kernels.use("reference"):
        yield


@contextmanager
def mutated(name: str, position: int, change: Callable[..., Any]) -> Iterator[None]:
    """`change(rule)` in the place of one rule of a primitive."""
    p = PRIMITIVES[name]
    if p.rule_of_each is not None:
        one, every = change(lambda *a, **k: every(position, *a, **k)), p.rule_of_each

        def rule(i: int, *args: Any, **options: Any) -> Tensor:
            return (one if i == position else lambda *a, **k: every(i, *a, **k))(*args, **options)

        with mock.patch.object(p, "rule_of_each", rule):
            yield
    else:
        rules = list(p.rules)
        rules[position] = change(rules[position])
        with mock.patch.object(p, "rules", tuple(rules)):
            yield


def gradients(case: Case, *, recorded: bool = True) -> list[np.ndarray]:
    """Gradients by all inputs along a fixed gradient of the output."""
    xs = [Tensor(x) for x in case.inputs]
    y = case.f(*xs)
    g = Tensor(np.random.default_rng(1).standard_normal(y.shape))
    found = grad(y, xs, grad_output=g, create_graph=recorded, allow_unused=True)
    return [t.data for t in found]


def matters(before: list[np.ndarray], after: list[np.ndarray]) -> bool:
    """Whether a mutation changes a gradient noticeably: it does not where that is zero anyway."""
    return any(np.linalg.norm(a - b) > 1e-2 for a, b in zip(before, after, strict=True))


def scaled(rule: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """10 % too much."""
    return lambda *args, **options: rule(*args, **options) * 1.1


def cut(rule: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Right in value, but a constant to whoever differentiates it."""
    return lambda *args, **options: rule(*args, **options).detach()


def frozen(rule: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Right in value and linear in g, but with the inputs and the output taken for constants."""

    def wrong(g: Tensor, *tensors: Tensor, **options: Any) -> Tensor:
        return rule(g, *(t.detach() for t in tensors), **options)

    return wrong


@pytest.mark.parametrize(("name", "position"), RULES)
def test_an_error_in_a_rule_is_caught(name: str, position: int) -> None:
    def body(case: Case) -> None:
        before = gradients(case)
        with mutated(name, position, scaled):
            assume(matters(before, gradients(case)))
            with pytest.raises(GradientError, match="order 1"):
                check_gradients(case.f, case.inputs, order=2)
        check_gradients(case.f, case.inputs, order=2)

    run(PRIMITIVE_CASES[name], FEW, body)


@pytest.mark.parametrize(("name", "position"), RULES)
def test_a_gradient_cut_off_from_its_own_graph_is_caught(name: str, position: int) -> None:
    """First derivatives are right then: only order 2 can tell."""

    def body(case: Case) -> None:
        before = gradients(case)
        with mutated(name, position, scaled):
            assume(matters(before, gradients(case)))
        with mutated(name, position, cut):
            check_gradients(case.f, case.inputs, order=1)
            with pytest.raises(GradientError, match="order 2"):
                check_gradients(case.f, case.inputs, order=2)

    run(PRIMITIVE_CASES[name], FEW, body)


# Rules that read the inputs' values, other than to tell on which side of a kink they are.
CURVED = {
    *(("multiply", i) for i in (0, 1)), *(("divide", i) for i in (0, 1)),
    *(("power", i) for i in (0, 1)), *((n, i) for n in ("matmul", "conv2d") for i in (0, 1)),
    *((n, i) for n in ("conv2d_dx", "conv2d_dw") for i in (0, 1)),
    *((n, 0) for n in ("exp", "log", "sqrt", "square", "sin", "cos", "tanh", "sigmoid")),
    *((n, 0) for n in ("softplus", "elu", "erf")), *(("einsum", i) for i in range(OPERANDS)),
}  # fmt: skip


def curvature(case: Case) -> list[np.ndarray]:
    """Second derivatives by all inputs, mixed with fixed numbers."""
    xs = [Tensor(x) for x in case.inputs]
    y = case.f(*xs)
    random = np.random.default_rng(2)
    u = Tensor(random.standard_normal(y.shape))
    first = grad(y, xs, grad_output=u, create_graph=True, allow_unused=True)
    total = Tensor(0.0, np.float64)
    for g in first:
        total = total + mg.sum(g * random.standard_normal(g.shape))
    return [t.data for t in grad(total, xs, allow_unused=True)]


@pytest.mark.parametrize(("name", "position"), RULES)
def test_a_rule_that_takes_values_for_constants_is_caught(name: str, position: int) -> None:
    def body(case: Case) -> None:
        if (name, position) not in CURVED:  # linear, or piecewise so
            with mutated(name, position, frozen):
                check_gradients(case.f, case.inputs, order=2)
            return
        before = curvature(case)
        with mutated(name, position, frozen):
            check_gradients(case.f, case.inputs, order=1)
            assume(matters(before, curvature(case)))
            with pytest.raises(GradientError, match="order 2"):
                check_gradients(case.f, case.inputs, order=2)

    run(PRIMITIVE_CASES[name], FEW, body)


def test_there_is_a_rule_through_which_nothing_flows() -> None:
    assert BLOCKED


@pytest.mark.parametrize(("name", "position"), BLOCKED)
def test_nothing_flows_where_there_is_no_rule(name: str, position: int) -> None:
    def body(case: Case) -> None:
        xs = [Tensor(x) for x in case.inputs]
        y = case.f(*xs).sum()
        with pytest.raises(GraphError, match="no influence"):
            grad(y, xs[position])
        (zeros,) = grad(y, [xs[position]], allow_unused=True)
        assert not zeros.data.any()
        assert zeros.shape == xs[position].shape

    run(PRIMITIVE_CASES[name], FEW, body)


@pytest.mark.parametrize(("name", "position"), BLOCKED)
def test_a_flow_where_there_should_be_none_is_caught(name: str, position: int) -> None:
    def body(case: Case) -> None:
        flowing = lambda rule: lambda g, *args, **options: 0.1 * g  # noqa: E731
        with (
            mutated(name, position, flowing),
            pytest.raises(GradientError, match=f"with respect to input {position}"),
        ):
            check_gradients(case.f, case.inputs, order=1)

    run(PRIMITIVE_CASES[name], FEW, body)


# --- Fused operations: the kernel, and the reference apart from it -------------------------------


@pytest.mark.parametrize(("name", "position"), KERNELS)
@pytest.mark.parametrize("order", [1, 2])
def test_an_error_in_a_backward_kernel_is_caught(name: str, position: int, order: int) -> None:
    fused = FUSED[name]
    kernel = fused.backward_kernel

    def wrong(*args: Any, **options: Any) -> tuple[np.ndarray, ...]:
        found = list(kernel(*args, **options))
        found[position] = found[position] * 1.1
        return tuple(found)

    def body(case: Case) -> None:
        before = gradients(case, recorded=False)
        with mock.patch.object(fused, "backward_kernel", wrong):
            assume(matters(before, gradients(case, recorded=False)))
            with pytest.raises(GradientError, match="order 1"):
                check_gradients(case.f, case.inputs, order=order)

    run(PRIMITIVE_CASES[name], FEW, body)


@pytest.mark.parametrize(("name", "position"), KERNELS)
def test_an_error_in_a_reference_is_caught(name: str, position: int) -> None:
    fused = FUSED[name]
    reference = fused.reference

    def wrong(*xs: Tensor, **options: Any) -> Tensor:
        inputs, x = list(xs), xs[position]
        inputs[position] = 1.1 * x - 0.1 * x.detach()  # the same value
        return reference(*inputs, **options)

    def body(case: Case) -> None:
        before = gradients(case)
        with mock.patch.object(fused, "reference", wrong):
            assume(matters(before, gradients(case)))
            check_gradients(case.f, case.inputs, order=1)  # runs the kernels
            with pytest.raises(GradientError):
                check_gradients(case.f, case.inputs, order=2)

    run(PRIMITIVE_CASES[name], FEW, body)


def norm_case() -> Case:
    def f(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        return batch_norm(x, gamma, beta, moments=kernels.moments(x.data))

    return Case(f, [normal(3, 2, 2, 2), normal(2, seed=1), normal(2, seed=2)])


def test_batch_norm_that_takes_its_moments_for_constants_is_caught_by_order_2_alone() -> None:
    def wrong(
        x: Tensor, gamma: Tensor, beta: Tensor, *, eps: float, moments: Any, slope: float
    ) -> Tensor:
        mean, var = (m.reshape(1, -1, 1, 1) for m in moments)
        per_channel = mg.ops.elementwise.per_channel
        normalised = (x - mean) / np.sqrt(var + eps)
        return normalised * per_channel(gamma, x) + per_channel(beta, x)

    case = norm_case()
    with mock.patch.object(batch_norm, "reference", wrong):
        check_gradients(case.f, case.inputs, order=1)
        with pytest.raises(GradientError):
            check_gradients(case.f, case.inputs, order=2)


def test_a_handwritten_backward_that_takes_residuals_for_constants_is_caught() -> None:
    """The formula of the paper, in tensors: every first derivative is right, recorded or not."""

    def backward(node: Any, g: Tensor, needed: list[int]) -> list[Tensor]:
        x, gamma, _ = node.inputs
        mean, var = (m.reshape(1, -1, 1, 1) for m in node.residuals)
        axes, root = (0, 2, 3), np.sqrt(var + node.options["eps"])
        count = x.size // x.shape[1]
        normalised = (x - mean) / root
        dgamma, dbeta = mg.sum(g * normalised, axes), mg.sum(g, axes)
        per_channel = mg.ops.elementwise.per_channel
        centred = g - per_channel(dbeta, x) / count - normalised * per_channel(dgamma, x) / count
        found = [per_channel(gamma, x) / root * centred, dgamma, dbeta]
        return [found[i] for i in needed]

    case = norm_case()
    with mock.patch.object(batch_norm, "backward", backward):
        check_gradients(case.f, case.inputs, order=1)
        with pytest.raises(GradientError, match="order 2"):
            check_gradients(case.f, case.inputs, order=2)


# --- The engine ----------------------------------------------------------------------------------


def twice_used(x: Tensor) -> Tensor:
    """Every value leads to the result in two ways, the longer one built last."""
    y = mg.exp(x)
    z = mg.sin(y)
    return x * y + y * mg.tanh(z) + z


def nested(x: Tensor, w: Tensor) -> Tensor:
    """One input of a fused operation is computed from the other."""
    return mg.bias_tanh(x, mg.sum(x, 0) * w)


# (owner, function, its text, what it becomes, the case that tells, the order that is needed)
ENGINE = [
    (engine, "_backward", "gradients[key] + part if key in gradients else part", "part", 1),
    (engine, "_backward", "gradients[key] + part if key", "gradients[key] - part if key", 1),
    (engine, "_backward", "Recording(create_graph)", "Recording(False)", 2),
    (engine, "_path", "path[::-1]", "path", 1),
    (engine, "history", "key=lambda node: node.number", "key=lambda node: id(node) * 0", 1),
    (engine, "_path", "and flows(i)]", "and flows(i)][:1]", 1),
    (Fused, "backward", "[identity(t) for t in node.inputs]", "list(node.inputs)", 2),
    (Fused, "backward", "is_recording()", "False", 2),
]


@contextmanager
def rewritten(owner: Any, name: str, old: str, new: str) -> Iterator[None]:
    """A function of the engine with one expression of its text changed."""
    function = getattr(owner, name)
    source = inspect.cleandoc("\n" + inspect.getsource(function))
    assert source.count(old) == 1, f"{name} no longer says {old!r}"
    body = "from __future__ import annotations\n" + source.replace(old, new)
    found: dict[str, Any] = {}
    exec(compile(body, function.__code__.co_filename, "exec"), function.__globals__, found)
    with mock.patch.object(owner, name, found[name]):
        yield


@pytest.mark.parametrize(("owner", "name", "old", "new", "order"), ENGINE)
def test_an_error_in_the_engine_is_caught(
    owner: Any, name: str, old: str, new: str, order: int
) -> None:
    cases = [
        Case(twice_used, [normal(3)]),
        Case(nested, [normal(3, 2), normal(2, seed=1)]),
        Case(lambda a, b: mg.tanh(a @ b), [normal(2, 3), normal(3, 2, seed=1)]),
    ]
    for case in cases:
        for o in (1, 2):
            check_gradients(case.f, case.inputs, order=o)
    caught = 0
    with rewritten(owner, name, old, new):
        for case in cases:
            for lower in range(1, order):
                check_gradients(case.f, case.inputs, order=lower)
            try:
                check_gradients(case.f, case.inputs, order=order)
            except (GradientError, GraphError):
                caught += 1
    assert caught

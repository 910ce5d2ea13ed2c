"""Difference quotients near kinks call no right gradient wrong, and no wrong one right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import pytest
from draw import normal
from hypothesis import given, settings
from hypothesis import strategies as st

import minigan as mg
from minigan.fused import fused
from minigan.tensor import PRIMITIVES, Tensor
from minigan.testing import (
    Evidence,
    GradientError,
    UndecidedError,
    check_gradients,
    examine,
)
from minigan.testing.gradients import TOLERANCE, TRUSTED
from minigan.testing.quotients import STEPS, Quotient, quotient

# --- The quotients -----------------------------------------------------------------------------

STEP = STEPS[0]
Kinks = list[tuple[float, float]]


def first_quotient(curve: Callable[[float], float]) -> Quotient:
    values = lambda t: np.array(curve(t))  # noqa: E731
    return quotient(values, values(0.0), np.ones(()), STEP)


def bent(kinks: Kinks, jumps: Kinks = ()) -> Callable[[float], float]:  # type: ignore[assignment]
    """sin(1 + t), whose slope rises by s at the distance d from 0, or which itself does, for each
    (d, s); d is in steps, and the sign of d is the side of 0.
    """

    def curve(t: float) -> float:
        y = float(np.sin(1 + t))
        for d, s in kinks:
            y += s * max(abs(t) - abs(d) * STEP, 0.0) * (t * d > 0)
        for d, s in jumps:
            y += s * STEP * (abs(t) > abs(d) * STEP and t * d > 0)
        return y

    return curve


distances = st.floats(0.001, 3.0)
strengths = st.floats(-2.0, 2.0)
kinks_ahead = st.lists(st.tuples(distances, strengths), max_size=4)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(kinks_ahead, kinks_ahead, st.sampled_from([-1, 1]))
def test_the_doubt_bounds_the_error_whatever_is_on_one_side(
    kinks: Kinks, jumps: Kinks, side: int
) -> None:
    kinks, jumps = ([(side * d, s) for d, s in found] for found in (kinks, jumps))
    q = first_quotient(bent(kinks, jumps))
    assert abs(q.value - np.cos(1)) <= q.doubt + 1e-9


def test_kinks_on_both_sides_pass_unseen_by_no_chance_that_matters() -> None:
    rng = np.random.default_rng(0)
    trusted = 0
    for _ in range(5000):
        count = rng.integers(2, 4)
        d = rng.uniform(0, 2.2, count) * np.array([1, -1, *rng.choice([-1, 1], count - 2)])
        q = first_quotient(bent(list(zip(d, rng.uniform(-2, 2, count), strict=True))))
        if q.doubt <= TRUSTED * TOLERANCE * abs(q.value):
            trusted += 1
            assert abs(q.value - np.cos(1)) <= TOLERANCE
    assert trusted > 5  # all beyond the steps


def test_a_smooth_curve_is_trusted_at_once() -> None:
    q = first_quotient(bent([]))
    assert q.doubt < 1e-8
    assert abs(q.value - np.cos(1)) < q.doubt


# --- Whole functions ---------------------------------------------------------------------------

NEAR = np.array([1.0, -1.0, 4e-7, -2e-7, 1.5e-7, 0.5])  # values near 0, closer than the first step
AWAY = normal(6, seed=1)
KINKED: dict[str, tuple[Callable[..., Tensor], list[np.ndarray]]] = {
    "relu": (lambda x: mg.relu(x), [NEAR]),
    "leaky relu": (lambda x: mg.leaky_relu(x, 0.2), [NEAR]),
    "abs": (lambda x: abs(x), [NEAR]),
    "maximum": (mg.maximum, [AWAY + NEAR, AWAY]),
    "minimum": (mg.minimum, [AWAY, AWAY + NEAR]),
    "clip": (lambda x: mg.clip(x, -1.0, 0.5), [np.array([-1.0 - 2e-7, 0.1, 0.5 + 3e-7])]),
    "max": (lambda x: mg.max(x, 0), [np.stack([AWAY, AWAY + NEAR])]),
    "elu": (lambda x: mg.elu(x), [NEAR]),  # its second derivative jumps
    "a product": (lambda x, y: mg.relu(x) * mg.tanh(y), [NEAR, AWAY]),
}


def all_of(name: str, order: int, seed: int = 0) -> Evidence:
    f, inputs = KINKED[name]
    return examine(f, inputs, order=order, seed=seed)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", KINKED)
def test_a_right_gradient_near_a_kink_is_right(name: str, order: int) -> None:
    found = [all_of(name, order, seed) for seed in range(5)]
    assert all(e.error <= TOLERANCE for e in found)
    if name != "elu" or order == 2:
        assert all(e.kinks for e in found)
    assert all(e.directions <= e.drawn for e in found)


@pytest.mark.parametrize("name", KINKED)
def test_a_wrong_gradient_near_a_kink_is_wrong(name: str) -> None:
    f, inputs = KINKED[name]

    def wrong(*xs: Tensor) -> Tensor:  # 10 % too much of the gradient with respect to the last
        *others, x = xs
        return f(*others, 1.1 * x - (0.1 * x).detach())

    for seed in range(5):
        with pytest.raises(GradientError, match=f"input {len(inputs) - 1}"):
            check_gradients(wrong, inputs, order=1, seed=seed)


@pytest.mark.parametrize("name", ["relu", "abs", "leaky relu"])
def test_on_a_kink_nothing_is_said(name: str) -> None:
    f, _ = KINKED[name]
    with pytest.raises(UndecidedError, match="kinks within every step") as caught:
        check_gradients(f, [np.array([1.0, 0.0, -2.0])], order=1)
    assert all(f"at {step:.0e}" in str(caught.value) for step in STEPS)


def test_the_kinks_are_counted_and_said() -> None:
    assert "2 of 2 crossed a kink" in str(all_of("maximum", 1))
    smooth = examine(mg.tanh, [normal(3)])
    assert "none crossed a kink" in str(smooth)
    assert f"{smooth.error:.1e} (threshold 1e-05) along {smooth.directions}" in str(smooth)
    assert smooth.directions == smooth.drawn == 3  # of orders 1 and 2, the last by the output's too


def test_a_gradient_penalty_jumps_at_a_kink() -> None:
    """The loss itself is not continuous there, as it holds a gradient."""

    def f(x: Tensor, w: Tensor) -> Tensor:
        slope = mg.grad(mg.relu(x * w).sum(), x, create_graph=True)
        return mg.square(slope - 1).sum() + (w * w * w).sum()

    found = examine(f, [NEAR, AWAY])
    assert found.error <= TOLERANCE
    assert found.kinks
    with pytest.raises(GradientError, match="input 1"):
        check_gradients(lambda x, w: f(x, 1.1 * w - (0.1 * w).detach()), [NEAR, AWAY])


# --- Rounding, small parts, and what is no function ---------------------------------------------


def test_rounding_is_met_by_a_larger_step() -> None:
    found = examine(lambda x: mg.sin(x) + 1e4, [normal(3)], order=1)
    assert found.error <= TOLERANCE
    assert found.kinks == 0


def test_what_rounding_hides_is_undecided() -> None:
    with pytest.raises(UndecidedError, match="rounding hides it; leave a large constant out"):
        check_gradients(lambda x: mg.sin(x) + 1e12, [normal(3)], order=1)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: (x - x) * 3,
        lambda x: mg.softmax(x, 0).sum(),
        lambda x: 0 * x,
        lambda x: Tensor(np.floor(x.data)),
    ],
    ids=["difference", "sum of a softmax", "zero", "no graph"],
)
def test_a_derivative_of_zero_is_right(f: Callable[..., Tensor]) -> None:
    assert check_gradients(f, [normal(4)]) <= TOLERANCE


@pytest.mark.parametrize("part", [1.0, 1e-3, 1e-5])
@pytest.mark.parametrize("order", [1, 2])
def test_a_large_gradient_does_not_hide_an_error_in_a_small_one(part: float, order: int) -> None:
    def f(x: Tensor, y: Tensor) -> Tensor:
        return mg.sum(x * x) + part * mg.sum(mg.sin(y))

    def wrong(x: Tensor, y: Tensor) -> Tensor:
        return f(x, 1.1 * y - (0.1 * y).detach())

    def faint(x: Tensor, y: Tensor) -> Tensor:  # the derivative of order 2 alone is wrong
        return f(x, y + 0.1 * mg.square(y - y.detach()))

    inputs = [normal(5), normal(4, seed=1)]
    check_gradients(f, inputs)
    if order == 2:
        check_gradients(faint, inputs, order=1)
    with pytest.raises(GradientError, match=f"order {order} with respect to input 1"):
        check_gradients(wrong if order == 1 else faint, inputs, order=order)


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_gradient_that_is_not_finite_is_wrong(value: str) -> None:
    def wrong(x: Tensor) -> Tensor:
        zero = mg.sqrt(x - x.detach())  # 0, with an infinite slope
        return mg.sin(x) + (zero if value == "inf" else zero * 0)

    with np.errstate(all="ignore"), pytest.raises(GradientError, match=value):
        check_gradients(wrong, [np.array([0.3])], order=1)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_kernel_whose_gradient_is_not_finite_is_wrong_beside_a_right_reference(
    value: float,
) -> None:
    """At order 2 the reference is differentiated as well, and is right."""

    def backward(g: Any, y: Any, residuals: Any, x: Any) -> Any:
        return (np.full_like(x, value),)

    with mock.patch.dict(PRIMITIVES):

        @fused(lambda x: (np.sin(x), ()), backward)
        def sine(x: Tensor) -> Tensor:
            return mg.sin(x)

    with np.errstate(all="ignore"), pytest.raises(GradientError):
        check_gradients(sine, [normal(3)], order=2)


def test_a_function_of_nothing_that_varies_is_right() -> None:
    assert check_gradients(lambda: Tensor(np.ones(3)), []) == 0


def test_a_function_of_less_precision_is_undecided() -> None:
    with pytest.raises(UndecidedError, match="float32 values of float64 inputs"):
        check_gradients(lambda x: Tensor(x.data.astype(np.float32)), [normal(3)])


def test_a_function_that_loses_precision_within_is_undecided() -> None:
    def f(x: Tensor) -> Tensor:
        return x + (x.data.astype(np.float32) - x.data)

    with pytest.raises(UndecidedError):
        check_gradients(f, [normal(3)], order=1)


def test_a_function_that_changes_is_undecided() -> None:
    calls = iter(range(1000))
    with pytest.raises(UndecidedError, match="called again"):
        check_gradients(lambda x: x * float(next(calls)), [normal(3)])

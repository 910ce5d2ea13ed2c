"""Penalties: closed forms, zero gradients, one alpha a sample, and gradients of orders 1 and 2."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import numpy as np
import pytest
from draw import normal

import minigan as mg
from minigan import Tensor, grad, penalties
from minigan.penalties import gaussian_kl, gradient_penalty, l2_penalty, r1_penalty
from minigan.testing import check_gradients


def rng() -> mg.Generator:
    return mg.Generator(0, "penalties")


def tanh_critic(w: Tensor, v: Tensor) -> Callable[[Tensor], Tensor]:
    """Two layers over the flattened sample, (N, ...) to (N,)."""
    return lambda x: mg.tanh(mg.flatten(x) @ w) @ v


REAL, FAKE = normal(3, 2, 1, 2), normal(3, 2, 1, 2, seed=1)
WEIGHTS = [normal(4, 3, seed=2), normal(3, seed=3)]

# Each penalty as a function of what it is differentiated by.
CASES: dict[str, tuple[Callable[..., Tensor], list[np.ndarray]]] = {
    "gradient_penalty": (
        lambda w, v: gradient_penalty(tanh_critic(w, v), Tensor(REAL), Tensor(FAKE), rng()),
        WEIGHTS,
    ),
    "r1_penalty": (lambda w, v: r1_penalty(tanh_critic(w, v), Tensor(REAL)), WEIGHTS),
    "l2_penalty": (lambda w, v: l2_penalty({"w": w, "v": v}), WEIGHTS),
    "gaussian_kl": (gaussian_kl, [normal(4, 1, 2, 2), normal(5, 1, 2, 2, seed=1)]),
}


def test_every_penalty_has_a_case() -> None:
    public = {
        name
        for name, value in vars(penalties).items()
        if inspect.isfunction(value)
        and value.__module__ == penalties.__name__
        and not name.startswith("_")
    }
    assert CASES.keys() == public
    assert all(getattr(penalties, name).__doc__ for name in public)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_gradients(name: str, order: int) -> None:
    f, inputs = CASES[name]
    check_gradients(f, inputs, order=order)


@pytest.mark.parametrize("shape", [(5, 6), (5, 2, 3), (5, 1, 2, 3)])
def test_the_penalty_of_a_linear_critic_is_known(shape: tuple[int, ...]) -> None:
    """The norm is over the whole sample, whatever its shape: (|w| - 1)^2."""
    w = Tensor(normal(6))
    x, y = Tensor(normal(*shape)), Tensor(normal(*shape, seed=1))
    found = gradient_penalty(lambda x: mg.flatten(x) @ w, x, y, rng())
    np.testing.assert_allclose(found.item(), (np.linalg.norm(w.data) - 1) ** 2, rtol=1e-10)
    by_w = 2 * (1 - 1 / np.linalg.norm(w.data)) * w.data
    np.testing.assert_allclose(grad(found, w).data, by_w, rtol=1e-10)
    norm = r1_penalty(lambda x: mg.flatten(x) @ w, x)
    np.testing.assert_allclose(norm.item(), (w.data**2).sum())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_flat_critic_has_a_penalty_of_one_and_a_finite_second_derivative(dtype: type) -> None:
    w = Tensor(np.zeros(3, dtype))
    x = Tensor(normal(4, 3).astype(dtype))
    for D in (lambda x: x @ w, lambda x: mg.relu(x @ w - 100)):
        penalty = gradient_penalty(D, x, x, rng())
        np.testing.assert_allclose(penalty.item(), 1, rtol=1e-5)
        first = grad(penalty, w, create_graph=True, allow_unused=True)
        assert np.isfinite(first.data).all()
        if first.node is not None:
            assert np.isfinite(grad(first.sum(), w, allow_unused=True).data).all()


def test_points_lie_between_their_pair_with_one_alpha_for_all_their_values() -> None:
    real, fake = Tensor(np.zeros((200, 2, 3))), Tensor(np.ones((200, 2, 3)))
    seen = []

    def critic(x: Tensor) -> Tensor:
        seen.append(x.data)
        return x.sum((1, 2))

    gradient_penalty(critic, real, fake, rng())
    (between,) = seen
    a = between[:, 0, 0]
    np.testing.assert_array_equal(between, np.broadcast_to(a[:, None, None], between.shape))
    assert len(set(a.tolist())) == 200
    assert 0 <= a.min() < 0.05 < 0.95 < a.max() <= 1  # uniform: neither normal nor one for all
    assert a.mean() == pytest.approx(0.5, abs=0.06)
    assert a.std() == pytest.approx(1 / np.sqrt(12), abs=0.03)


def test_the_penalty_uses_the_generator_it_is_given() -> None:
    D = tanh_critic(*map(Tensor, WEIGHTS))
    generator = rng()
    first, second = (gradient_penalty(D, Tensor(REAL), Tensor(FAKE), generator) for _ in range(2))
    assert first.item() != second.item()
    assert gradient_penalty(D, Tensor(REAL), Tensor(FAKE), rng()).item() == first.item()


def test_the_penalty_does_not_reach_the_generator() -> None:
    """x^ is a constant: only the critic's parameters feel the penalty."""
    z = Tensor(FAKE)
    penalty = gradient_penalty(tanh_critic(*map(Tensor, WEIGHTS)), Tensor(REAL), z * 2.0, rng())
    assert not grad(penalty, z, allow_unused=True).data.any()


def test_l2_is_the_sum_of_squares() -> None:
    found = l2_penalty({name: Tensor(w) for name, w in zip("wv", WEIGHTS, strict=True)})
    np.testing.assert_allclose(found.item(), sum((w**2).sum() for w in WEIGHTS))


def test_the_divergence_of_gaussians() -> None:
    real, fake = normal(50, 3), 2 + 0.5 * normal(60, 3, seed=1)
    m, s, m_g, s_g = real.mean(0), real.var(0), fake.mean(0), fake.var(0)
    expected = 0.5 * (np.log(s / s_g) + (s_g + (m_g - m) ** 2) / s - 1)
    found = gaussian_kl(Tensor(real), Tensor(fake), eps=0.0)
    np.testing.assert_allclose(found.item(), expected.mean())
    np.testing.assert_allclose(gaussian_kl(Tensor(real), Tensor(real)).item(), 0, atol=1e-12)
    constant = Tensor(np.zeros((4, 3)))  # no variance at all, as a pixel at the border
    by_fake = grad(gaussian_kl(constant, constant + 0.1), constant)
    assert np.isfinite(by_fake.data).all()

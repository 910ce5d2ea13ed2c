"""Losses: closed forms, extreme logits, what smoothing and saturation do to the gradient."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from draw import normal

import minigan as mg
from minigan import losses
from minigan.tensor import Tensor, grad

EXTREME = np.array([-1000.0, -100.0, 0.0, 100.0, 1000.0])


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("target", [0.0, 1.0, 0.9, "array"])
def test_binary_cross_entropy(target: float | str) -> None:
    x = normal(4, 3)
    t = np.random.default_rng(1).random((4, 3)) if target == "array" else target
    d = sigmoid(x)
    expected = np.mean(-(t * np.log(d) + (1 - t) * np.log(1 - d)))
    logits = Tensor(x)
    loss = losses.binary_cross_entropy_with_logits(logits, t)
    np.testing.assert_allclose(loss.item(), expected)
    np.testing.assert_allclose(grad(loss, logits).data, (d - t) / x.size)


def test_discriminator_loss() -> None:
    real, fake = normal(5), normal(3, seed=1)
    loss = losses.discriminator_loss(Tensor(real), Tensor(fake))
    expected = -np.log(sigmoid(real)).mean() - np.log(1 - sigmoid(fake)).mean()
    np.testing.assert_allclose(loss.item(), expected)
    blind = losses.discriminator_loss(Tensor(np.zeros(2)), Tensor(np.zeros(2)))
    np.testing.assert_allclose(blind.item(), 2 * np.log(2))


def test_smoothing_is_on_the_real_side_alone() -> None:
    real, fake = Tensor(normal(5)), Tensor(normal(3, seed=1))
    plain = grad(losses.discriminator_loss(real, fake), [real, fake])
    smooth = grad(losses.discriminator_loss(real, fake, smooth=0.9), [real, fake])
    np.testing.assert_allclose(smooth[0].data - plain[0].data, np.full(5, 0.1 / 5))
    np.testing.assert_array_equal(smooth[1].data, plain[1].data)
    # The best discriminator of smoothed labels says 0.9.
    best = Tensor(np.full(5, np.log(9.0)))
    at_best = grad(losses.discriminator_loss(best, fake, smooth=0.9), best)
    np.testing.assert_allclose(at_best.data, 0, atol=1e-15)


def test_generator_losses() -> None:
    x = normal(6)
    logits = Tensor(x)
    saturating, other = losses.saturating_loss(logits), losses.non_saturating_loss(logits)
    np.testing.assert_allclose(saturating.item(), np.log(1 - sigmoid(x)).mean())
    np.testing.assert_allclose(other.item(), -np.log(sigmoid(x)).mean())
    np.testing.assert_allclose(grad(saturating, logits).data, -sigmoid(x) / 6)
    np.testing.assert_allclose(grad(other, logits).data, (sigmoid(x) - 1) / 6)


def test_least_squares() -> None:
    """Equation 2 of LSGAN, and its targets."""
    real, fake = normal(5), normal(3, seed=1)
    a, b, c = -1.0, 1.0, 0.5
    found = losses.least_squares_discriminator_loss(Tensor(real), Tensor(fake), a=a, b=b)
    np.testing.assert_allclose(
        found.item(), ((real - b) ** 2).mean() / 2 + ((fake - a) ** 2).mean() / 2
    )
    x = Tensor(fake)
    generator = losses.least_squares_generator_loss(x, c=c)
    np.testing.assert_allclose(generator.item(), ((fake - c) ** 2).mean() / 2)
    np.testing.assert_allclose(grad(generator, x).data, (fake - c) / 3)
    # Also a sample that D takes for real, far on the right side, is pulled to the target.
    sure = Tensor(np.full(1, 50.0))
    assert grad(losses.least_squares_generator_loss(sure), sure).item() == 49
    assert abs(grad(losses.non_saturating_loss(sure), sure).item()) < 1e-20


def test_wasserstein() -> None:
    real, fake = normal(5), normal(3, seed=1)
    x, y = Tensor(real), Tensor(fake)
    critic = losses.wasserstein_critic_loss(x, y)
    np.testing.assert_allclose(critic.item(), fake.mean() - real.mean())
    np.testing.assert_allclose(grad(critic, x).data, np.full(5, -1 / 5))
    np.testing.assert_allclose(losses.wasserstein_generator_loss(y).item(), -fake.mean())


def test_hinge() -> None:
    """Beyond the margins nothing is gained."""
    real, fake = Tensor([-2.0, 0.5, 1.5]), Tensor([-1.5, -0.5, 2.0])
    loss = losses.hinge_discriminator_loss(real, fake)
    np.testing.assert_allclose(loss.item(), (3 + 0.5 + 0) / 3 + (0 + 0.5 + 3) / 3)
    by_real, by_fake = grad(loss, [real, fake])
    np.testing.assert_allclose(by_real.data, [-1 / 3, -1 / 3, 0], rtol=1e-6)
    np.testing.assert_allclose(by_fake.data, [0, 1 / 3, 1 / 3], rtol=1e-6)


def test_where_the_discriminator_is_sure_only_one_loss_has_a_gradient() -> None:
    sure = Tensor(np.full(1, -50.0))  # a fake that is known for one
    assert -1e-20 < grad(losses.saturating_loss(sure), sure).item() < 0
    np.testing.assert_allclose(grad(losses.non_saturating_loss(sure), sure).item(), -1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("loss", "value", "slope"),
    [
        (
            lambda x: losses.binary_cross_entropy_with_logits(x, 1.0),
            [1000, 100, np.log(2), 0, 0],
            [-1, -1, -0.5, 0, 0],
        ),
        (
            lambda x: losses.binary_cross_entropy_with_logits(x, 0.0),
            [0, 0, np.log(2), 100, 1000],
            [0, 0, 0.5, 1, 1],
        ),
        (
            lambda x: losses.binary_cross_entropy_with_logits(x, 0.9),
            [900, 90, np.log(2), 10, 100],
            [-0.9, -0.9, -0.4, 0.1, 0.1],
        ),
        (losses.saturating_loss, [0, 0, -np.log(2), -100, -1000], [0, 0, -0.5, -1, -1]),
        (losses.non_saturating_loss, [1000, 100, np.log(2), 0, 0], [-1, -1, -0.5, 0, 0]),
    ],
)
def test_extreme_logits(
    loss: Callable[[Tensor], Tensor], value: list[float], slope: list[float], dtype: type
) -> None:
    for at, v, s in zip(EXTREME, value, slope, strict=True):
        x = Tensor(np.full(1, at, dtype))
        y = loss(x)
        first = grad(y, x, create_graph=True)
        assert y.dtype == first.dtype == dtype
        np.testing.assert_allclose(y.item(), v, rtol=1e-5, atol=1e-30)
        np.testing.assert_allclose(first.item(), s, rtol=1e-5, atol=1e-30)
        assert np.isfinite(grad(first, x).item())


def test_two_logits_are_the_sigmoid_of_their_difference() -> None:
    x = normal(5, 2)
    logits = Tensor(x)
    softmax = np.exp(x[:, 1]) / np.exp(x).sum(1)
    np.testing.assert_allclose(mg.sigmoid(losses.real_logit(logits)).data, softmax)
    for target in (0, 1):
        labels = np.full(5, target)
        one = losses.binary_cross_entropy_with_logits(losses.real_logit(logits), float(target))
        two = losses.softmax_cross_entropy(logits, labels)
        np.testing.assert_allclose(one.item(), two.item())
        np.testing.assert_allclose(grad(one, logits).data, grad(two, logits).data)


def test_softmax_cross_entropy() -> None:
    x, labels = normal(4, 3), np.array([2, 0, 0, 1])
    logits = Tensor(x)
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    loss = losses.softmax_cross_entropy(logits, labels)
    np.testing.assert_allclose(loss.item(), -np.log(p[np.arange(4), labels]).mean())
    np.testing.assert_allclose(grad(loss, logits).data, (p - np.eye(3)[labels]) / 4)


def test_softmax_cross_entropy_of_extreme_logits() -> None:
    logits = Tensor(np.array([[1000.0, -1000.0], [1000.0, -1000.0]]))
    loss = losses.softmax_cross_entropy(logits, np.array([0, 1]))
    assert loss.item() == 1000
    np.testing.assert_allclose(grad(loss, logits).data, [[0, 0], [0.5, -0.5]])


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(N, 2\), not \(4, 3\)"):
        losses.real_logit(Tensor(normal(4, 3)))
    with pytest.raises(ValueError, match=r"\(N, 2\), not \(4,\)"):
        losses.real_logit(Tensor(normal(4)))
    with pytest.raises(ValueError, match=r"need labels \(4,\), not \(3,\)"):
        losses.softmax_cross_entropy(Tensor(normal(4, 3)), np.array([0, 1, 2]))
    with pytest.raises(ValueError, match=r"logits \(4,\)"):
        losses.softmax_cross_entropy(Tensor(normal(4)), np.array([0, 1, 2, 0]))

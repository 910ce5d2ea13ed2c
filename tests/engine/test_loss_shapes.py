"""Losses and penalties compare values one to one: what would be repeated is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from draw import normal, tensor

import minigan as mg
from minigan import losses, penalties
from minigan.tensor import Tensor


def critic(x: Tensor) -> Tensor:
    return (x * x).sum(tuple(range(1, x.ndim)))


# Of two values that are to have one shape.
PAIRS: dict[str, Callable[[Any, Any], Tensor]] = {
    "binary_cross_entropy_with_logits": losses.binary_cross_entropy_with_logits,
    "discriminator_loss": lambda x, t: losses.discriminator_loss(x, x, smooth=t),
    "least_squares_discriminator_loss: b": lambda x, t: losses.least_squares_discriminator_loss(
        x, x, b=t
    ),
    "least_squares_discriminator_loss: a": lambda x, t: losses.least_squares_discriminator_loss(
        x, x, a=t
    ),
    "least_squares_generator_loss": lambda x, t: losses.least_squares_generator_loss(x, c=t),
    "gradient_penalty": lambda x, t: penalties.gradient_penalty(
        critic, x, _tensor(t), mg.Generator(0)
    ),
}
SHAPES = [((4, 1), (4,)), ((4,), (4, 1)), ((4, 1), (1, 4)), ((4, 1), (1,)), ((4, 3), (3,)),
          ((4, 1), (4, 3)), ((1,), (4,))]  # fmt: skip


def _tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else Tensor(np.asarray(value))


@pytest.mark.parametrize(("x", "t"), SHAPES)
@pytest.mark.parametrize("kind", ["array", "tensor", "list"])
@pytest.mark.parametrize("name", PAIRS)
def test_shapes_that_would_broadcast_are_refused(name: str, kind: str, x: Any, t: Any) -> None:
    target = normal(*t, seed=1)
    given = {"array": target, "tensor": Tensor(target), "list": target.tolist()}[kind]
    with pytest.raises(ValueError, match="reshape one") as caught:
        PAIRS[name](tensor(*x), given)
    said = str(caught.value)
    assert str(x) in said
    assert str(t) in said
    assert "\n" not in said


@pytest.mark.parametrize("name", PAIRS)
def test_equal_shapes_and_numbers_are_taken(name: str) -> None:
    x, t = tensor(4, 1), normal(4, 1, seed=1)
    equal = [PAIRS[name](x, given).item() for given in (t, Tensor(t), t.tolist())]
    np.testing.assert_allclose(equal, equal[0], rtol=1e-6)
    if name != "gradient_penalty":
        numbers = [PAIRS[name](x, given).item() for given in (0.5, np.float64(0.5), np.array(0.5))]
        full = PAIRS[name](x, np.full((4, 1), 0.5)).item()
        np.testing.assert_allclose(numbers, full, rtol=1e-6)


@pytest.mark.parametrize(
    ("x", "y"), [((2, 1, 8, 8), (1, 1, 8, 8)), ((2, 1, 8, 8), (2, 1, 1, 8)), ((2, 1, 8, 8), (8, 8))]
)
def test_pyramids_are_of_images_of_one_shape(x: Any, y: Any) -> None:
    with pytest.raises(ValueError, match="laplacian_pyramid_loss compares values of one shape"):
        losses.laplacian_pyramid_loss(tensor(*x), tensor(*y))


def test_gaussians_are_of_samples_of_one_shape_and_of_batches_of_any() -> None:
    assert penalties.gaussian_kl(tensor(4, 3), tensor(7, 3, seed=1)).shape == ()
    for real, fake in (((4, 3), (4, 1)), ((4, 3, 1), (4, 3)), ((4,), (4, 1))):
        with pytest.raises(ValueError, match=r"gaussian_kl.* compares values of one shape"):
            penalties.gaussian_kl(tensor(*real), tensor(*fake))


def test_labels_are_one_for_each_sample() -> None:
    logits = tensor(4, 3)
    right = losses.softmax_cross_entropy(logits, np.array([0, 2, 1, 1])).item()
    for labels in ([0, 2, 1, 1], (0, 2, 1, 1), Tensor([0, 2, 1, 1])):
        assert losses.softmax_cross_entropy(logits, labels).item() == right
    for wrong in ([[0], [2], [1], [1]], [0], 0, [0.0, 2.0, 1.0, 1.0]):
        with pytest.raises(ValueError, match="labels"):
            losses.softmax_cross_entropy(logits, np.array(wrong))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int64])
def test_losses_of_integers_are_those_of_their_floats(dtype: Any) -> None:
    x, y = np.array([[3, 2], [1, 7]], dtype), np.array([[1, 1], [9, 0]], dtype)
    images = np.arange(128).reshape(2, 1, 8, 8).astype(dtype)
    calls: list[Callable[..., Tensor]] = [
        losses.discriminator_loss, losses.wasserstein_critic_loss, losses.hinge_discriminator_loss,
        losses.least_squares_discriminator_loss, penalties.gaussian_kl,
        lambda x, y: losses.non_saturating_loss(x), lambda x, y: losses.saturating_loss(x),
        lambda x, y: losses.least_squares_generator_loss(x, c=9),
        lambda x, y: losses.real_logit(x).mean(),
        lambda x, y: losses.laplacian_pyramid_loss(
            mg.reshape(x, (1, 1, 2, 2)), mg.reshape(y, (1, 1, 2, 2)), levels=1
        ),
    ]  # fmt: skip
    for call in calls:
        given = call(Tensor(x), Tensor(y))
        expected = call(Tensor(x.astype(np.float32)), Tensor(y.astype(np.float32)))
        assert given.dtype == np.float32
        np.testing.assert_allclose(given.item(), expected.item(), rtol=1e-6)
    assert np.isfinite(losses.laplacian_pyramid_loss(Tensor(images), Tensor(images)).item())

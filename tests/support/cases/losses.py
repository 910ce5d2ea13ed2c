"""A case for each loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import minigan as mg
from minigan.tensor import Tensor

from .source import LOSS_CASES, Source, case_of


def loss_functions() -> dict[str, Callable[..., Tensor]]:
    """The public functions of `minigan.losses`."""
    return {name: getattr(mg.losses, name) for name in mg.losses.__all__}


@case_of(LOSS_CASES, "binary_cross_entropy_with_logits")
def _bce(s: Source, name: str) -> Any:
    shape = s.shape(1, 2)
    target = s.pick(0.0, 1.0, 0.9, s.rng.random(shape))
    return lambda logits: mg.losses.binary_cross_entropy_with_logits(logits, target), [
        2 * s.normal(shape)
    ]


@case_of(LOSS_CASES, "discriminator_loss")
def _discriminator(s: Source, name: str) -> Any:
    smooth = s.pick(1.0, 0.9)
    return (
        lambda real, fake: mg.losses.discriminator_loss(real, fake, smooth=smooth),
        [2 * s.normal(s.shape(1, 2)), 2 * s.normal(s.shape(1, 2))],
    )


@case_of(LOSS_CASES, "saturating_loss", "non_saturating_loss")
def _generator(s: Source, name: str) -> Any:
    return getattr(mg.losses, name), [2 * s.normal(s.shape(1, 2))]


@case_of(LOSS_CASES, "least_squares_discriminator_loss")
def _least_squares_discriminator(s: Source, name: str) -> Any:
    a, b = s.pick((0.0, 1.0), (-1.0, 1.0))
    return (
        lambda real, fake: mg.losses.least_squares_discriminator_loss(real, fake, a=a, b=b),
        [2 * s.normal(s.shape(1, 2)), 2 * s.normal(s.shape(1, 2))],
    )


@case_of(LOSS_CASES, "least_squares_generator_loss")
def _least_squares_generator(s: Source, name: str) -> Any:
    c = s.pick(1.0, 0.0)
    return (
        lambda fake: mg.losses.least_squares_generator_loss(fake, c=c),
        [2 * s.normal(s.shape(1, 2))],
    )


@case_of(LOSS_CASES, "wasserstein_critic_loss")
def _critic(s: Source, name: str) -> Any:
    return mg.losses.wasserstein_critic_loss, [s.normal(s.shape(1, 2)), s.normal(s.shape(1, 2))]


@case_of(LOSS_CASES, "wasserstein_generator_loss")
def _critics_generator(s: Source, name: str) -> Any:
    return mg.losses.wasserstein_generator_loss, [s.normal(s.shape(1, 2))]


@case_of(LOSS_CASES, "hinge_discriminator_loss")
def _hinge(s: Source, name: str) -> Any:
    real, fake = s.away(s.shape(1, 2)), s.away(s.shape(1, 2))  # the kinks are at 1 and -1
    return mg.losses.hinge_discriminator_loss, [1 + real, fake - 1]


@case_of(LOSS_CASES, "real_logit")
def _real_logit(s: Source, name: str) -> Any:
    return mg.losses.real_logit, [s.normal((s.int(1, 3), 2))]


@case_of(LOSS_CASES, "softmax_cross_entropy")
def _cross_entropy(s: Source, name: str) -> Any:
    n, classes = s.int(1, 3), s.int(1, 4)
    labels = s.rng.integers(0, classes, n)
    return (
        lambda logits: mg.losses.softmax_cross_entropy(logits, labels),
        [2 * s.normal((n, classes))],
    )


@case_of(LOSS_CASES, "laplacian_pyramid_loss")
def _laplacian_pyramid(s: Source, name: str) -> Any:
    """|.| has its kinks where two levels agree, which drawn numbers do not."""
    shape, levels = (s.int(1, 2), s.int(1, 2), s.int(2, 6), s.int(2, 6)), s.int(1, 3)
    return (
        lambda x, y: mg.losses.laplacian_pyramid_loss(x, y, levels=levels),
        [s.normal(shape), s.normal(shape)],
    )

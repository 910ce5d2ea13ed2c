"""How many modes a generator found, and how well it weighs them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data import Mixture

POINTS = 2500  # generated points of the protocol
RADIUS = 3.0  # standard deviations: a point within them is of high quality
WELL = 5  # samples of a stacked mode, minimum, that are hardly errors of the classifier


@dataclass(frozen=True)
class Modes:
    """`covered` of `total` modes have a point of high quality; `high_quality` is the fraction of
    such points, and `reverse_kl` their divergence from the mixture's weights, in nats (inf if there
    are none).

    >>> Modes(covered=7, total=8, high_quality=0.9, reverse_kl=0.1).covered
    7
    """

    covered: int
    total: int
    high_quality: float
    reverse_kl: float


def mode_scores(x: np.ndarray, mixture: Mixture) -> Modes:
    """Modes covered, share of high quality, and reverse KL of points x (N, D).

    A point belongs to the mode that is nearest in standard deviations, and is of high quality if it
    is less than 3 of them away. One such point covers a mode. The reverse KL is
    sum_k q_k log(q_k / w_k), where q_k is the fraction of mode k among the high-quality points, as
    in the authors' code. In the plane 1 - exp(-9/2) = 98.9 % of a perfect sampler's points are of
    high quality, and with N points and K modes its reverse KL is (K - 1) / 2N.

    Source: Lin et al. 2018 (PacGAN), arXiv:1712.04086, section 4.1, and its repository.

    >>> mixture = mg.data.Mixture([[0.0, 0.0], [5.0, 0.0]], sigma=1.0)
    >>> mode_scores(np.array([[0.1, 0.0], [5.0, 0.2], [9.0, 0.0], [0.0, 1.0]]), mixture).covered
    2
    """
    squares = [
        ((x - mean) ** 2).sum(axis=1) / s**2
        for mean, s in zip(mixture.means, mixture.sigma, strict=True)
    ]
    nearest = np.argmin(squares, axis=0)
    good = np.min(squares, axis=0) < RADIUS**2
    counts = np.bincount(nearest[good], minlength=len(mixture.means))
    return Modes(
        covered=int(np.count_nonzero(counts)),
        total=len(counts),
        high_quality=float(good.mean()),
        reverse_kl=reverse_kl(counts, mixture.weights),
    )


@dataclass(frozen=True)
class StackedModes:
    """`covered` of `total` modes have a sample, `well_covered` have at least 5; `reverse_kl` is
    from the uniform distribution, in nats.

    >>> StackedModes(covered=99, well_covered=90, total=100, reverse_kl=0.1).total
    100
    """

    covered: int
    well_covered: int
    total: int
    reverse_kl: float


def stacked_modes(predicted: np.ndarray, classes: int) -> StackedModes:
    """Modes of images whose channels are images themselves: every tuple of classes is one.

    `predicted` (N, channels) holds the classes that a classifier sees in the channels, 0 ..
    classes - 1, so there are classes^channels modes. A classifier that errs in one channel of a
    hundred finds five hundred modes in a hundred true ones. So modes with at least 5 samples are
    counted too: report both, with the classifier's accuracy.

    Source: Metz et al. 2017 (Unrolled GAN), arXiv:1611.02163, section 3.3.1.

    >>> stacked_modes(np.array([[0, 1], [1, 1], [0, 1]]), classes=2).covered
    2
    """
    total = classes ** predicted.shape[1]
    index = predicted @ classes ** np.arange(predicted.shape[1])
    counts = np.bincount(index, minlength=total)
    return StackedModes(
        covered=int(np.count_nonzero(counts)),
        well_covered=int(np.count_nonzero(counts >= WELL)),
        total=total,
        reverse_kl=reverse_kl(counts, np.full(total, 1 / total)),
    )


def reverse_kl(counts: np.ndarray, weights: np.ndarray) -> float:
    """KL(q || w) in nats of q = counts / sum(counts) from `weights` w; inf if all counts are 0.

    >>> reverse_kl(np.array([5, 5]), np.array([0.5, 0.5]))
    0.0
    """
    if not counts.any():
        return float("inf")
    found = counts > 0
    q = counts[found] / counts.sum()
    return float((q * np.log(q / weights[found])).sum())

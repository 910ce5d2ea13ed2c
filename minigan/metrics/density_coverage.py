"""Density and coverage: precision and recall that single outliers do not mislead."""

from __future__ import annotations

import numpy as np

from .neighbours import squared_distances, squared_radii

K = 5  # the neighbour that bounds a ball


def density_coverage(real: np.ndarray, fake: np.ndarray, *, k: int = K) -> tuple[float, float]:
    """How dense `fake` (M, D) is where `real` (N, D) is, and the share of `real` that has a
    sample nearby.

    Nearby is within the ball around a real feature up to its k-th nearest real neighbour. Density
    is the number of balls that hold a sample, on average and divided by k: 1 for two sets of one
    distribution, above 1 for samples that keep to the middle. Coverage is the share of balls that
    hold a sample: 1 - (N-1)...(N-k) / (N+M-1)...(N+M-k) for two sets of one distribution, which is
    nearly 1 - 2^-k for M = N.

    Source: Naeem et al. 2020, arXiv:2002.09797, section 3; k = 5 as there.

    Raises:
        UserError: if there are no more than k real features.

    >>> real = np.array([[0.0], [1.0], [2.0], [4.0]])
    >>> density_coverage(real, np.array([[0.5], [0.5], [9.0]]), k=1)
    (1.3333333333333333, 0.5)
    """
    radii = squared_radii(real, k)
    balls, covered = 0, np.zeros(len(real), bool)
    for rows, squares in squared_distances(real, fake):
        within = squares <= radii[rows, None]
        balls += int(within.sum())
        covered[rows] = within.any(axis=1)
    return balls / (k * len(fake)), float(covered.mean())

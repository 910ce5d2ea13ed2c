"""Precision and recall: how many samples are like real ones, how many real ones like samples."""

from __future__ import annotations

import numpy as np

from .neighbours import squared_distances, squared_radii

K = 3  # the neighbour that bounds a ball


def precision_recall(real: np.ndarray, fake: np.ndarray, *, k: int = K) -> tuple[float, float]:
    """The share of `fake` (M, D) in the manifold of `real` (N, D), and the share of `real` in that
    of `fake`.

    The manifold of a set is the union of balls around its features, each up to its k-th nearest
    neighbour in the set. Both shares are below 1 for two sets of one distribution, and rise with
    the number of features of the other set: compare only values of the same numbers.

    Source: Kynkäänniemi et al. 2019, arXiv:1904.06991, equations 1 and 2; k = 3 as there.

    Raises:
        UserError: if a set has no more than k features.

    >>> real = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> precision_recall(real, real + 2.5, k=1)  # 2.5 and 3.5 are within, 4.5 and 5.5 are not
    (0.5, 0.5)
    """
    within, held = np.zeros(len(fake), bool), np.zeros(len(real), bool)
    of_real, of_fake = squared_radii(real, k), squared_radii(fake, k)
    for rows, squares in squared_distances(real, fake):
        within |= (squares <= of_real[rows, None]).any(axis=0)
        held[rows] = (squares <= of_fake).any(axis=1)
    return float(within.mean()), float(held.mean())

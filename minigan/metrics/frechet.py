"""The Fréchet distance between the features of two sets of images."""

from __future__ import annotations

import numpy as np

from ..errors import UserError


def frechet_distance(x: np.ndarray, y: np.ndarray) -> float:
    """|m_x - m_y|^2 + tr(C_x + C_y - 2 (C_x^1/2 C_y C_x^1/2)^1/2) of features (N, D), (M, D).

    The root's trace comes from two symmetric eigendecompositions, which need no invertible
    covariances. The distance falls with N and M: compare only values of the same numbers.

    Source: Dowson & Landau 1982, equation 4; Heusel et al. 2017, arXiv:1706.08500, whose
    FID takes the features of Inception and no others.

    Raises:
        UserError: if there are not more samples than features, or x and y have different features.

    >>> x = np.random.default_rng(0).standard_normal((100, 2))
    >>> round(frechet_distance(x, x + [3.0, 0.0]), 6)  # the mean moves by 3
    9.0
    """
    if x.shape[1:] != y.shape[1:] or min(len(x), len(y)) <= x.shape[1]:
        raise UserError(
            f"the Fréchet distance of {x.shape[1]} features needs more than {x.shape[1]} samples "
            f"on both sides, not {len(x)} and {len(y)}; give a larger --count"
        )
    (mean_x, cov_x), (mean_y, cov_y) = (
        (
            a.mean(axis=0, dtype=np.float64),
            np.cov(a, rowvar=False, dtype=np.float64).reshape(a.shape[1], a.shape[1]),
        )
        for a in (x, y)
    )
    values, vectors = np.linalg.eigh(cov_x)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    product = np.linalg.eigvalsh(root @ cov_y @ root)
    between = np.sqrt(np.maximum(product, 0)).sum()
    squares = ((mean_x - mean_y) ** 2).sum()
    return float(squares + np.trace(cov_x) + np.trace(cov_y) - 2 * between)

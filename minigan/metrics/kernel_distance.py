"""The kernel distance (KID): how far apart two sets of features are, without a bias."""

from __future__ import annotations

import numpy as np

from ..errors import UserError

PARTS = 10  # of which each subset leaves one out
FEWEST = 4  # samples of a side
BLOCK = 1000  # rows of the kernel matrix in memory at once


def kernel_distance(x: np.ndarray, y: np.ndarray, *, parts: int = PARTS) -> tuple[float, float]:
    """The squared maximum mean discrepancy of features (N, D) and (M, D), and its standard error.

    The kernel is k(a, b) = (a.b / D + 1)^3, and the estimate the unbiased one,
    E[k(x, x')] + E[k(y, y')] - 2 E[k(x, y)] without the pairs of a sample and itself. So its mean
    does not depend on N and M, unlike that of the Fréchet distance, and of two sets of one
    distribution it is 0: below it half of the time. It is never clipped there.

    Value and error are those over fixed subsets: `parts` of them, each without one part of either
    side, so that the error is the jackknife's. (The authors draw 100 subsets of 1,000 samples;
    their mean is the same, and their spread counts each sample many times.) Samples must be in
    random order.

    Source: Binkowski et al. 2018, arXiv:1801.01401; Gretton et al. 2012, equation 3;
    Efron & Stein 1981 of the jackknife.

    Raises:
        UserError: if there are fewer than 4 samples on a side, or the features differ in number.

    >>> x = np.random.default_rng(0).standard_normal((400, 2))
    >>> near, far = kernel_distance(x[:200], x[200:]), kernel_distance(x[:200], x[200:] + 1)
    >>> abs(near[0]) < 4 * near[1], far[0] > 4 * far[1]
    (True, True)
    """
    if x.shape[1:] != y.shape[1:] or min(len(x), len(y)) < FEWEST:
        raise UserError(
            f"the kernel distance needs {FEWEST} samples or more with the same features on both "
            f"sides, not {x.shape} and {y.shape}; give a larger --count"
        )
    parts = min(parts, len(x), len(y))
    of_x, of_y = (np.arange(len(a)) * parts // len(a) for a in (x, y))  # the part of each sample
    within_x, within_y = _sums(x, x, of_x, of_x, parts), _sums(y, y, of_y, of_y, parts)
    between = _sums(x, y, of_x, of_y, parts)
    found = []
    for left_out in range(parts):
        rest = np.arange(parts) != left_out
        n, m = (int((of != left_out).sum()) for of in (of_x, of_y))
        a, b, c = (sums[np.ix_(rest, rest)].sum() for sums in (within_x, within_y, between))
        found.append(a / (n * (n - 1)) + b / (m * (m - 1)) - 2 * c / (n * m))
    spread = np.sqrt((parts - 1) * np.var(found))
    return float(np.mean(found)), float(spread)


def _sums(
    x: np.ndarray, y: np.ndarray, of_x: np.ndarray, of_y: np.ndarray, parts: int
) -> np.ndarray:
    """The sums of k(x_i, y_j) by the parts of i and j, (parts, parts); of one set and itself those
    of different samples.
    """
    found, other = np.zeros((parts, parts)), y.astype(np.float64)
    member = np.eye(parts)[of_y]  # (M, parts)
    for start in range(0, len(x), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(x)))
        values = (x[rows].astype(np.float64) @ other.T / x.shape[1] + 1) ** 3
        if x is y:
            values[rows - start, rows] = 0
        np.add.at(found, of_x[rows], values @ member)
    return found

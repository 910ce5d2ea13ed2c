"""Scores on arrays: agreement, assignment, rank correlation, inception score."""

from __future__ import annotations

import numpy as np

SPLITS = 10  # of the inception score
BLOCK = 500  # rows of the distance matrix in memory at once


def share(right: np.ndarray) -> tuple[float, float]:
    """The fraction of true values among (N,), and its binomial standard error.

    >>> share(np.array([True, True, False, True]))[0]
    0.75
    """
    p = float(right.mean())
    return p, float(np.sqrt(p * (1 - p) / len(right)))


def best_assignment(cost: np.ndarray) -> list[tuple[int, int]]:
    """The pairs (row, column) of least total cost, no row or column twice; in order of rows.

    The shorter side of the matrix is assigned in full. Exact, in O(n^2 m): one shortest
    augmenting path a row, over costs that potentials u, v keep non-negative.

    Source: Kuhn 1955 and Munkres 1957, in the form of Jonker & Volgenant 1987.

    >>> best_assignment(np.array([[4, 1], [2, 3]]))
    [(0, 1), (1, 0)]
    """
    if cost.shape[0] > cost.shape[1]:
        return sorted((row, column) for column, row in best_assignment(cost.T))
    n, m = cost.shape
    u, v = np.zeros(n), np.zeros(m + 1)
    row_of = np.full(m + 1, -1)  # the row of each column; column m is where a path starts
    for row in range(n):
        row_of[m] = row
        here, reached = m, np.zeros(m + 1, bool)
        distance, before = np.full(m, np.inf), np.full(m, m)
        while row_of[here] >= 0:
            reached[here] = True
            free = ~reached[:m]
            reduced = cost[row_of[here]] - u[row_of[here]] - v[:m]
            shorter = free & (reduced < distance)
            distance[shorter], before[shorter] = reduced[shorter], here
            there = int(np.where(free, distance, np.inf).argmin())
            step = distance[there]
            u[row_of[reached]] += step
            v[reached] -= step
            distance[free] -= step
            here = there
        while here != m:  # along the path each column takes the row of the one before it
            row_of[here] = row_of[before[here]]
            here = before[here]
    return sorted((int(row_of[column]), column) for column in range(m) if row_of[column] >= 0)


def match_codes(codes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The class of each value of a categorical code (N,); -1 for values that are left over.

    Each class has one value, assigned so that as many of the `labels` (N,) as possible agree.

    >>> match_codes(np.array([0, 0, 1, 1]), np.array([7, 7, 3, 7])).tolist()
    [7, 3]
    """
    counts = np.zeros((codes.max() + 1, labels.max() + 1), np.int64)
    np.add.at(counts, (codes, labels), 1)
    meaning = np.full(len(counts), -1)
    for code, label in best_assignment(-counts):
        meaning[code] = label
    return meaning


def rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's rho of x (N,) and y (N,), equal values get their mean rank; 0 if one of the
    two is constant.

    >>> round(rank_correlation(np.array([1, 2, 3]), np.array([1, 8, 27])), 9)
    1.0
    """
    a, b = (r - r.mean() for r in (_ranks(x), _ranks(y)))
    norm = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / norm) if norm > 0 else 0.0


def match_factors(codes: np.ndarray, factors: np.ndarray) -> list[tuple[int, int]]:
    """Which code (N, C) stands for which factor (N, F): pairs of the largest sum of |rho|.

    >>> codes = np.array([[0, 3], [1, 1], [2, 2]])
    >>> match_factors(codes, codes[:, ::-1])
    [(0, 1), (1, 0)]
    """
    rho = [[abs(rank_correlation(c, f)) for f in factors.T] for c in codes.T]
    return best_assignment(-np.array(rho))


def inception_score(logits: np.ndarray, *, splits: int = SPLITS) -> tuple[float, float]:
    """exp E[KL(p(y|x) || p(y))] of logits (N, K): mean and standard deviation over the splits.

    From 1 to K. The samples must be in random order: each split has its own p(y).

    Source: Salimans et al. 2016, arXiv:1606.03498, section 4.

    >>> sure_and_varied = 100 * np.eye(4).repeat(10, 0)
    >>> round(inception_score(sure_and_varied, splits=1)[0], 6)
    4.0
    """
    log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True, dtype=np.float64)
    found = []
    for part in np.array_split(log_p, min(splits, len(log_p))):
        marginal = np.logaddexp.reduce(part, axis=0) - np.log(len(part))
        found.append(np.exp((np.exp(part) * (part - marginal)).sum(axis=1).mean()))
    return float(np.mean(found)), float(np.std(found))


def nearest_neighbours(x: np.ndarray, known: np.ndarray) -> np.ndarray:
    """For each row of x (N, D) the index of the row of `known` (M, D) nearest to it, (N,).

    >>> nearest_neighbours(np.array([[0.9], [2.2]]), np.array([[1.0], [2.0]])).tolist()
    [0, 1]
    """
    squares = (known**2).sum(axis=1)
    nearest = [
        (squares - 2 * x[start : start + BLOCK] @ known.T).argmin(axis=1)
        for start in range(0, len(x), BLOCK)
    ]
    return np.concatenate(nearest)


def _ranks(x: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal values get the mean of theirs."""
    _, which, counts = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[which]

"""Distances to nearest neighbours among features, by blocks: what several scores are made of."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..errors import UserError

BLOCK = 1000  # rows of the distance matrix in memory at once


def squared_distances(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """|x_i - y_j|^2 of the rows of x (N, D) and y (M, D): block by block the rows of x and their
    distances (n, M), in float64.

    They come from one matrix product a block: |x|^2 - 2 x y + |y|^2.

    >>> [(_, block)] = squared_distances(np.array([[0.0], [1.0]]), np.array([[3.0]]))
    >>> block.tolist()
    [[9.0], [4.0]]
    """
    # Near the mean the differences lose the least; integers stay integers.
    centre = np.rint(y.mean(axis=0, dtype=np.float64))
    y = y - centre
    squares = (y**2).sum(axis=1)
    for start in range(0, len(x), BLOCK):
        rows = slice(start, min(start + BLOCK, len(x)))
        block = x[rows] - centre
        found = (block**2).sum(axis=1)[:, None] - 2 * block @ y.T + squares
        yield rows, np.maximum(found, 0, out=found)  # rounding may give a negative one


def squared_radii(x: np.ndarray, k: int) -> np.ndarray:
    """The squared distance of each row of x (N, D) from the k-th nearest other row, (N,).

    Raises:
        UserError: if there are no k others.

    >>> squared_radii(np.array([[0.0], [1.0], [3.0]]), 1).tolist()
    [1.0, 1.0, 4.0]
    """
    if not 1 <= k < len(x):
        raise UserError(f"{len(x)} samples have no {k} nearest neighbours; give a larger --count")
    found = np.empty(len(x))
    for rows, squares in squared_distances(x, x):
        squares[np.arange(len(squares)), np.arange(rows.start, rows.stop)] = np.inf  # not itself
        found[rows] = np.partition(squares, k - 1, axis=1)[:, k - 1]
    return found

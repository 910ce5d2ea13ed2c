"""Principal components: the best linear code of a given size, to compare others with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import UserError

LARGEST = 4096  # values of an image: memory grows with its square, time with its cube


@dataclass(frozen=True)
class PCA:
    """The mean (D,) and the k leading components, orthonormal rows (k, D); float64.

    >>> PCA(np.zeros(2), np.array([[1.0, 0.0]])).reconstruct(np.array([[3.0, 4.0]]))
    array([[3., 0.]])
    """

    mean: np.ndarray
    components: np.ndarray

    def reconstruct(self, x: np.ndarray) -> np.ndarray:
        """The nearest point to each row of x (N, D) in the span of the components."""
        return (x - self.mean) @ self.components.T @ self.components + self.mean


def fit(x: np.ndarray, k: int, *, block: int = 5000) -> PCA:
    """The k leading principal components of x (N, ...), D values each, by an eigendecomposition.

    x may be larger than the memory: it is read twice, block by block.

    Raises:
        UserError: if there are fewer than k of them, or D is above 4096.

    >>> x = np.arange(6.0)[:, None] * [1.0, 2.0]  # on a line
    >>> bool(np.allclose(fit(x, 1).reconstruct(x), x))
    True
    """
    n, d = len(x), x[0].size
    if not 1 <= k <= min(n - 1, d):
        raise UserError(f"{n} vectors of {d} values have no {k} principal components")
    if d > LARGEST:
        raise UserError(f"principal components are taken of at most {LARGEST} values, not {d}")
    mean = x.mean(axis=0, dtype=np.float64).reshape(-1)
    scatter = np.zeros((d, d))
    for start in range(0, n, block):  # a float64 copy of all of x would be eight times as large
        centred = x[start : start + block].reshape(-1, d) - mean
        scatter += centred.T @ centred
    return PCA(mean, np.linalg.eigh(scatter)[1][:, ::-1][:, :k].T)


def mean_squared_error(x: np.ndarray, y: np.ndarray) -> float:
    """E[(x - y)^2] over all values of images (N, ...) uint8, scaled to [0, 1].

    >>> mean_squared_error(np.full((2, 1), 255, np.uint8), np.zeros((2, 1), np.uint8))
    1.0
    """
    squares = ((a.astype(np.float64) - b) ** 2 for a, b in zip(x, y, strict=True))
    return float(np.mean([s.mean() for s in squares]) / 255**2)

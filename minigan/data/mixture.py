"""Mixtures of isotropic Gaussians: toy data whose true density is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ..errors import UserError


class Mixture:
    """A mixture of K isotropic Gaussians in D dimensions.

    `means` is (K, D). `sigma` holds the standard deviations (K,), or one for all. `weights` (K,)
    are scaled to sum to 1; one number means equal weights. The attributes are float64.

    Raises:
        UserError: if the shapes disagree, a sigma is not positive, or a weight is negative.

    >>> Mixture([[0.0, 0.0], [4.0, 0.0]], sigma=0.5).weights
    array([0.5, 0.5])
    """

    def __init__(self, means: ArrayLike, sigma: ArrayLike, weights: ArrayLike = 1.0) -> None:
        self.means = np.array(means, np.float64)
        if self.means.ndim != 2 or not self.means.size or not np.isfinite(self.means).all():
            raise UserError(f"A mixture needs finite means (K, D), not {self.means.shape}.")
        count = len(self.means)
        try:
            self.sigma = np.broadcast_to(np.asarray(sigma, np.float64), count).copy()
            weights = np.broadcast_to(np.asarray(weights, np.float64), count)
        except ValueError as error:
            raise UserError(
                f"A mixture of {count} components needs as many sigmas and weights, or one of each."
            ) from error
        if not (np.isfinite(self.sigma).all() and (self.sigma > 0).all()):
            raise UserError("Every sigma of a mixture must be positive.")
        if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
            raise UserError("The weights of a mixture must be non-negative and not all zero.")
        self.weights = weights / weights.sum()

    def density(self, x: np.ndarray) -> np.ndarray:
        """p(x) = sum_k w_k N(x; mu_k, sigma_k^2 I), (N,) float64; x is (N, D), or (N,) if D is 1.

        Raises:
            UserError: if x has another dimension than the means.
        """
        x = np.asarray(x, np.float64)
        dimension = self.means.shape[1]
        if x.ndim == 1 and dimension == 1:
            x = x[:, None]
        if x.ndim != 2 or x.shape[1] != dimension:
            raise UserError(f"This density takes points (N, {dimension}), not {x.shape}.")
        p = np.zeros(len(x))
        # One component at a time: the memory is O(N D), however many components there are.
        for mean, s, w in zip(self.means, self.sigma, self.weights, strict=True):
            square = ((x - mean) ** 2).sum(axis=1) / s**2
            p += w * np.exp(-0.5 * square) / (np.sqrt(2 * np.pi) * s) ** dimension
        return p

    def sample(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """`count` points, (count, D) float32."""
        return self.labelled(count, rng)[0]

    def labelled(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """`count` points (count, D) float32, and the component of each, (count,) int64."""
        component = rng.choice(len(self.means), size=count, p=self.weights).astype(np.int64)
        noise = rng.standard_normal((count, self.means.shape[1]))
        x = self.means[component] + self.sigma[component, None] * noise
        return x.astype(np.float32), component

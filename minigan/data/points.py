"""Points drawn from known mixtures: the ring and the grid of Gaussians, and a 1-D mixture."""

from __future__ import annotations

import numpy as np

from .dataset import Dataset
from .mixture import Mixture
from .streams import Purpose, split_index, stream

COUNT = {"train": 100_000, "test": 10_000}  # points in each split


def ring(modes: int = 8, *, radius: float = 1.0, sigma: float = 0.01) -> Mixture:
    """Equal Gaussians, evenly spaced on a circle around the origin, the first at angle 0.

    Source: Metz et al. 2017, arXiv:1611.02163, appendix A; radius and sigma as in VEEGAN
    (Srivastava et al. 2017, arXiv:1705.07761, section 4.1).
    """
    # Without the endpoint: an angle of 2 pi would be the first mode once more.
    angle = np.linspace(0, 2 * np.pi, modes, endpoint=False)
    return Mixture(radius * np.stack([np.cos(angle), np.sin(angle)], axis=1), sigma)


def grid(side: int = 5, *, spacing: float = 2.0, sigma: float = 0.05) -> Mixture:
    """side x side equal Gaussians on a square grid around the origin.

    Source: VEEGAN, Srivastava et al. 2017, arXiv:1705.07761, section 4.1.
    """
    ticks = spacing * (np.arange(side) - (side - 1) / 2)
    return Mixture(
        np.stack(np.meshgrid(ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 2), sigma
    )


def mixture1d() -> Mixture:
    """Three well separated Gaussians on a line, of different widths and weights."""
    return Mixture(np.array([[-2.0], [0.5], [2.0]]), np.array([0.5, 0.2, 0.35]), [0.4, 0.25, 0.35])


MIXTURES = {"ring": ring, "grid": grid, "mixture1d": mixture1d}


def draw(
    name: str, mixture: Mixture, *, seed: int, split: str = "train", count: int | None = None
) -> Dataset:
    """A data set of points from a mixture; the label of a point is its component.

    x is (count, D) float32, y (count,) int64. By default there are 100,000 points for training and
    10,000 others for testing.

    Raises:
        UserError: for an unknown split or a seed out of range.
    """
    rng = stream(seed, split_index(split), Purpose.POINTS)
    x, component = mixture.labelled(COUNT[split] if count is None else count, rng)
    classes = tuple(str(k) for k in range(len(mixture.means)))
    return Dataset(name, x, component, classes, mixture=mixture)

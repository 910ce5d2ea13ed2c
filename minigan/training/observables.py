"""What is seen of a game from outside: numbers that depend neither on a loss nor on its scale.

All compare 64 images or 128 points that G makes of the same latent vectors throughout a run with as
many real samples, which stay the same too.
"""

from __future__ import annotations

import numpy as np

from ..random import Generator
from ..tensor import Array
from .recipe import Players
from .state import State

IMAGES, POINTS = 64, 128  # samples on each side
BLOCK = 4  # pixels of the side of a square that `coarse` averages
Observed = dict[str, float]


class Observer:
    """Looks at the players of a state, in inference: that changes no byte of it.

    Its real samples are the first batches of the run, its latent vectors come from a generator of
    its own, and ask for the classes of those real samples if the recipe knows classes.
    """

    def __init__(self, state: State) -> None:
        recipe, batches = state.recipe, state.batches
        count = min(IMAGES if batches.dataset.is_image else POINTS, len(batches.dataset))
        parts = [batches.at(i) for i in range(-(-count // recipe.batch_size))]
        self.real = np.concatenate([x for x, _ in parts])[:count]
        labels = [y for _, y in parts if y is not None]
        self.labels = np.concatenate(labels)[:count] if labels else None
        self.z = recipe.latent(Generator(batches.seed, "verdicts"), len(self.real))
        if self.labels is not None:
            asked = recipe.with_labels(self.z, self.labels)
            self.z = self.z if asked is None else asked
        self.within = mean_distance(self.real)
        self.coarse = mean_distance(coarse(self.real))
        self.roughness = roughness(self.real)

    def look(self, state: State) -> Observed | None:
        """The observables now; None if one is not finite, or all real samples are equal.

        `distance` is the energy distance of generated and real samples, 0 if they have the same
        distribution, `spread` the mean distance of two generated samples without their finest
        detail, both as a share of that of two real ones. `auc` is the probability that D gives a
        real sample more than a generated one, where D judges single samples or packs of them.
        `roughness` is that of images, as a multiple of that of real ones.
        """
        fake = state.ask(lambda players, z: state.recipe.generate(players, z).data, self.z)
        if fake is None or not np.isfinite(fake).all() or not self.within or not self.coarse:
            return None
        with np.errstate(all="ignore"):  # samples may be too large to be squared
            seen = {
                "distance": energy_distance(self.real, fake, self.within) / self.within,
                "spread": mean_distance(coarse(fake)) / self.coarse,
            }
            if self.roughness:
                seen["roughness"] = roughness(fake) / self.roughness

        def opinion(players: Players, x: Array) -> Array | None:
            labels = None if self.labels is None else state.device.put(self.labels)
            return state.recipe.opinion(players, x, labels)

        on_real, on_fake = (state.ask(opinion, x) for x in (self.real, fake))
        if on_real is not None and on_fake is not None:
            seen["auc"] = auc(on_real, on_fake)
        finite = np.isfinite([*seen.values()]).all()
        return {key: float(value) for key, value in seen.items()} if finite else None


def auc(high: np.ndarray, low: np.ndarray) -> float:
    """The probability that one of `high` (N,) is above one of `low` (M,): the area under the ROC
    curve, in [0, 1]. Equal ones count half.

    >>> auc(np.array([2, 3]), np.array([0, 1])), auc(np.ones(3), np.ones(5))
    (1.0, 0.5)
    """
    above, equal = high[:, None] > low, high[:, None] == low
    return float(above.mean() + equal.mean() / 2)


def energy_distance(x: np.ndarray, y: np.ndarray, within_x: float) -> float:
    """2 E|x - y| - E|x - x'| - E|y - y'| of samples (N, ...) and (M, ...), without bias, so that it
    may be below 0 (Székely & Rizzo 2013). `within_x` is the `mean_distance` of x.

    >>> x = np.random.default_rng(0).standard_normal((500, 2))
    >>> near, far = x[:250] + 0.1, x[:250] + 3
    >>> energy_distance(x[250:], near, mean_distance(x[250:])) < 0.05
    True
    >>> energy_distance(x[250:], far, mean_distance(x[250:])) > 3
    True
    """
    return 2 * float(_distances(x, y).mean()) - within_x - mean_distance(y)


def mean_distance(x: np.ndarray) -> float:
    """The mean Euclidean distance of two different ones of the samples x (N, ...); 0 of one.

    >>> mean_distance(np.array([[0.0, 0.0], [3.0, 4.0]]))
    5.0
    """
    among = _distances(x, x)
    return float((among.sum() - among.trace()) / max(1, len(x) * (len(x) - 1)))


def coarse(x: np.ndarray) -> np.ndarray:
    """Images (N, C, H, W) averaged over squares of 4 pixels, so that noise is no variety; the edge
    that fills no square is left out. Points, and images smaller than that, as they are.

    >>> coarse(np.arange(16.0).reshape(1, 1, 4, 4))
    array([[[[7.5]]]])
    """
    if x.ndim != 4 or min(x.shape[2:]) < BLOCK:
        return x
    n, channels, height, width = x.shape[0], x.shape[1], x.shape[2] // BLOCK, x.shape[3] // BLOCK
    squares = x[:, :, : height * BLOCK, : width * BLOCK]
    return squares.reshape(n, channels, height, BLOCK, width, BLOCK).mean(axis=(3, 5))


def roughness(x: np.ndarray) -> float:
    """How much of the variation within images (N, C, H, W) is from a pixel to the next.

    Half the mean square of the differences of neighbours over the variance within an image: about 1
    for white noise, 0 for images without an edge, and 0 for points.

    >>> noise = np.random.default_rng(0).standard_normal((8, 1, 32, 32))
    >>> round(roughness(noise), 1), roughness(noise.cumsum(2).cumsum(3)) < 0.2
    (1.0, True)
    """
    if x.ndim != 4:
        return 0.0
    steps = [np.square(np.diff(x, axis=axis)).mean() for axis in (2, 3) if x.shape[axis] > 1]
    variance = x.var(axis=(2, 3)).mean()
    return float(np.mean(steps) / 2 / variance) if steps and variance > 0 else 0.0


def _distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The Euclidean distances (N, M) of samples (N, ...) and (M, ...)."""
    x, y = (a.reshape(len(a), -1).astype(np.float32) for a in (x, y))
    center = y.mean(axis=0)  # or the squares of large numbers would be subtracted
    x, y = x - center, y - center
    squares = np.square(x).sum(axis=1)[:, None] + np.square(y).sum(axis=1) - 2 * x @ y.T
    return np.sqrt(np.maximum(squares, 0))

"""Log-likelihood under a Parzen window, as Goodfellow et al. 2014 report it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..progress import Progress

SIGMAS = np.logspace(-1, 0, 10)  # the widths that the authors' code tries
WIDER = np.logspace(-2, 1, 28)  # widths to try if the best of SIGMAS is its first or last
SAMPLES = 10_000  # windows, maximum
VALIDATION = 1000  # images on which sigma is chosen
BLOCK = 250  # rows of the distance matrix in memory at once


@dataclass(frozen=True)
class Parzen:
    """Mean log-likelihood of the test images in nats, its standard error, and the chosen sigma.

    `last`: sigma is the first or last one that was tried, so another one would be better.

    >>> Parzen(mean=225.0, error=2.0, sigma=0.2).sigma
    0.2
    """

    mean: float
    error: float
    sigma: float
    last: bool = False


def parzen(samples: np.ndarray, validation: np.ndarray, test: np.ndarray) -> Parzen:
    """The log-likelihood of `test` under Gaussian windows around `samples`.

    The width of the windows is the one of `SIGMAS` under which `validation` is most likely. If that
    is the first or last of them, `WIDER` is tried, a decade more on either side. All three
    arguments are images (n, ...) uint8, scaled to [0, 1]; each image is one vector of D values. The
    estimate is far from the true likelihood (Theis et al. 2016, arXiv:1511.01844, section 3.2): it
    means something only beside the same estimate with real images as samples.

    Source: Goodfellow et al. 2014, arXiv:1406.2661, section 5; Breuleux et al. 2011.

    >>> a, b, c = (np.random.default_rng(i).integers(0, 256, (50, 1, 4, 4)) for i in range(3))
    >>> found = parzen(a, b, c)
    >>> found.mean > -10, found.sigma < 1
    (True, True)
    """
    for sigmas in (SIGMAS, WIDER):
        best = int(log_likelihood(validation, samples, sigmas).mean(axis=1).argmax())
        last = best in (0, len(sigmas) - 1)
        if not last:
            break
    of_test = log_likelihood(test, samples, sigmas[[best]])[0]
    error = of_test.std() / np.sqrt(len(of_test))
    return Parzen(float(of_test.mean()), float(error), float(sigmas[best]), last)


def log_likelihood(x: np.ndarray, samples: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """log p(x) in nats under equal Gaussian windows around `samples`, for each width: (S, n).

    log p(x) = log mean_j exp(-|x - s_j|^2 / 2 sigma^2) - D log(sigma sqrt(2 pi)), in float64. The
    distances come from one matrix product per block: |x|^2 - 2 x s + |s|^2.

    >>> one = np.zeros((1, 1), np.uint8)  # in the middle of a window of width 1
    >>> bool(np.isclose(log_likelihood(one, one, np.array([1.0])), -0.5 * np.log(2 * np.pi)).all())
    True
    """
    s = _vectors(samples)
    s_squares = (s**2).sum(axis=1)
    found = np.empty((len(sigmas), len(x)))
    name = f"Parzen windows, {len(sigmas)} width{'s' * (len(sigmas) > 1)}"
    with Progress(0, len(x), name=name, unit="images") as progress:
        for start in range(0, len(x), BLOCK):
            block = _vectors(x[start : start + BLOCK])
            squares = (block**2).sum(axis=1)[:, None] - 2 * block @ s.T + s_squares
            np.maximum(squares, 0, out=squares)  # rounding may give a negative difference
            nearest = squares.min(axis=1, keepdims=True)
            for i, sigma in enumerate(sigmas):
                # Without its largest term the sum would underflow for narrow windows.
                mean = np.exp((nearest - squares) / (2 * sigma**2)).mean(axis=1)
                found[i, start : start + BLOCK] = np.log(mean) - nearest[:, 0] / (2 * sigma**2)
            progress.update(min(start + BLOCK, len(x)), {})
    return found - s.shape[1] * np.log(sigmas * np.sqrt(2 * np.pi))[:, None]


def _vectors(images: np.ndarray) -> np.ndarray:
    """Images (n, ...) uint8 as rows of float64 in [0, 1]."""
    return images.reshape(len(images), -1) / 255.0

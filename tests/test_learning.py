"""The smallest honest evidence that each recipe learns: a score that its untrained self misses."""

from __future__ import annotations

import numpy as np
import pytest

from minigan import gans
from minigan.data import Dataset, load
from minigan.random import Generator
from minigan.train import State
from minigan.viz.figure1 import density_of

pytestmark = pytest.mark.slow


def fresh(name: str, dataset: Dataset) -> State:
    kind = gans.load(name)
    return State.fresh(
        kind(**kind.defaults(dataset.shape, classes=len(dataset.classes), samples=len(dataset))),
        dataset,
        seed=0,
    )


def total_variation(state: State, dataset: Dataset) -> float:
    """Half the integral of |p_data - p_g| of a one-dimensional run: 0 is perfect, 1 is apart."""
    assert dataset.mixture is not None
    x = np.linspace(-6, 6, 600)
    samples = state.samples(state.recipe.latent(Generator(0, "score"), 4000))
    difference = np.abs(dataset.mixture.density(x) - density_of(samples[:, 0], x))
    return float(0.5 * difference.sum() * (x[1] - x[0]))


def distance_to_data(state: State, dataset: Dataset) -> float:
    """Root mean square difference of a sample, in [-1, 1], from the real image nearest to it."""
    samples = state.samples(state.recipe.latent(Generator(0, "score"), 64)).reshape(64, -1)
    real = (dataset.x[:3000].reshape(3000, -1) / 127.5 - 1).astype(np.float32)
    squares = (samples**2).sum(1)[:, None] + (real**2).sum(1) - 2 * samples @ real.T
    return float(np.sqrt(squares.min(axis=1) / real.shape[1]).mean())


def test_gan_finds_the_density_of_a_mixture() -> None:
    dataset = load("mixture1d")
    state = fresh("gan", dataset)
    before = total_variation(state, dataset)
    for _ in range(2500):
        state.round()
    assert before > 0.6
    assert total_variation(state, dataset) < 0.35


def test_dcgan_draws_what_lies_near_the_data() -> None:
    dataset = load("glyphs")
    state = fresh("dcgan", dataset)
    before = distance_to_data(state, dataset)
    for _ in range(200):
        state.round()
    after = distance_to_data(state, dataset)
    spread = state.samples(state.recipe.latent(Generator(1, "score"), 64)).std(axis=0).mean()
    assert after < 0.7 * before
    assert spread > 0.2  # and not one image alone

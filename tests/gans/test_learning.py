"""The smallest honest evidence that each recipe learns: a score that its untrained self misses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minigan import Tensor, gans
from minigan.data import Dataset, load
from minigan.data.stacked import first_channel, labels_of_parts
from minigan.gans import _latent_codes as codes
from minigan.metrics import pca
from minigan.random import Generator
from minigan.training.recipe import defaults
from minigan.training.state import State
from minigan.viz.figure1 import density_of

pytestmark = pytest.mark.slow


def fresh(name: str, dataset: Dataset, **fields: Any) -> State:
    kind = gans.load(name)
    return State.fresh(kind(**defaults(kind, dataset) | fields), dataset, seed=0)


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
        state.advance()
    assert before > 0.6
    assert total_variation(state, dataset) < 0.35


def test_dcgan_draws_what_lies_near_the_data() -> None:
    dataset = load("glyphs")
    state = fresh("dcgan", dataset)
    before = distance_to_data(state, dataset)
    for _ in range(200):
        state.advance()
    after = distance_to_data(state, dataset)
    spread = state.samples(state.recipe.latent(Generator(1, "score"), 64)).std(axis=0).mean()
    assert after < 0.7 * before
    assert spread > 0.2  # and not one image alone


def nearest(x: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The place in `known` of the sample that is nearest to each of x."""
    x, known = x.reshape(len(x), -1), known.reshape(len(known), -1)
    return ((known**2).sum(axis=1) - 2 * x @ known.T).argmin(axis=1)


def test_cgan_draws_the_class_that_it_is_asked_for() -> None:
    dataset = load("glyphs", size=12)
    state = fresh("cgan", dataset, width=16, hidden=64)
    asked = np.arange(200) % 10
    z = state.recipe.with_labels(state.recipe.latent(Generator(0, "score"), 200), asked)
    real = (dataset.x[:3000] / 127.5 - 1).astype(np.float32)

    def agreement() -> float:
        assert dataset.y is not None
        return float((dataset.y[nearest(state.samples(z), real)] == asked).mean())

    before = agreement()
    for _ in range(240):
        state.advance()
    assert before < 0.25
    assert agreement() > 0.9


def test_cgan_draws_the_two_classes_that_it_is_asked_for() -> None:
    dataset = load("glyphs", size=12, stack=2)
    single = first_channel(dataset)
    state = fresh("cgan", dataset, width=16, hidden=64)
    asked = np.arange(200) % 100
    z = state.recipe.with_labels(state.recipe.latent(Generator(0, "score"), 200), asked)
    real = (single.x[:3000] / 127.5 - 1).astype(np.float32)

    def agreement() -> float:
        """The share of samples whose two channels both look like what was asked for."""
        assert single.y is not None
        channels = state.samples(z).transpose(1, 0, 2, 3)
        found = np.stack([single.y[nearest(x, real)] for x in channels], axis=1)
        return float((found == labels_of_parts(dataset, asked)).all(axis=1).mean())

    before = agreement()
    for _ in range(300):
        state.advance()
    assert before < 0.05
    assert agreement() > 0.5


def test_infogan_draws_its_code_in_images() -> None:
    dataset = load("glyphs")
    state = fresh("infogan", dataset, width=16, hidden=128, batch_size=64)

    def information() -> float:
        """L_I of the categorical code, at most ln 10 = 2.3, on fresh samples in inference."""
        z = state.recipe.latent(Generator(0, "score"), 500)
        read = state.ask(lambda p, x: p["D"](Tensor(x))[1].numpy(), state.samples(z))
        return codes.information([codes.Categorical(10)], Tensor(read[:, :10]), z[:, 62:72]).item()

    before, apart = information(), distance_to_data(state, dataset)
    for _ in range(130):
        state.advance()
    assert before < 0.1
    assert information() > 1.2
    assert distance_to_data(state, dataset) < 0.6 * apart


def test_sgan_learns_from_images_without_labels() -> None:
    """It errs half as often as the nearest of the labelled images does."""
    dataset, test = load("glyphs"), load("glyphs", split="test")
    state = fresh("sgan", dataset)
    x = (test.x / 255).astype(np.float32)

    def errors() -> int:
        return int((state.ask(state.recipe.classify, x).argmax(axis=1) != test.y).sum())

    before = errors()
    for _ in range(60):
        state.advance()
    known, labels = state.batches.few(100)
    by_neighbour = int((labels[nearest(x, known)] != test.y).sum())
    assert before > 1000
    assert errors() < 0.5 * by_neighbour


def reconstruction_error(state: State, images: np.ndarray) -> float:
    """E[(x - reconstruction)^2] of images (N, C, H, W) uint8, over pixels in [0, 1]."""
    low, high = state.recipe.output_range(images.shape[1:])
    x = (low + images.astype(np.float32) * ((high - low) / 255)).astype(np.float32)
    found = state.ask(state.recipe.reconstruct, x)
    assert found is not None
    return float(np.square((found - x) / (high - low)).mean())


def test_gon_reconstructs_unseen_images_better_than_pca() -> None:
    dataset, unseen = load("glyphs"), load("glyphs", split="test").x[:500]
    state = fresh("gon", dataset)
    flat = dataset.x[:10_000].reshape(10_000, -1)
    best_linear = pca.fit(flat, state.recipe.latent_size).reconstruct(unseen.reshape(500, -1))
    linear_error = pca.mean_squared_error(best_linear.reshape(unseen.shape), unseen)
    assert reconstruction_error(state, unseen) > 10 * linear_error
    for _ in range(300):
        state.advance()
    assert reconstruction_error(state, unseen) < linear_error


@pytest.mark.parametrize(
    ("name", "steps", "fields"),
    [
        ("lsgan", 200, {}),
        ("wgan", 100, {"lr": 5e-4, "n_critic": 3}),
        ("wgan_gp", 80, {"lr_d": 5e-4, "lr_g": 5e-4, "n_critic": 2}),
        ("sngan", 120, {"lr_g": 1e-3}),
        ("pacgan", 200, {}),
    ],
)
def test_a_stable_gan_draws_what_lies_near_the_data(
    name: str, steps: int, fields: dict[str, Any]
) -> None:
    dataset = load("glyphs")
    state = fresh(name, dataset, width=16, **fields)
    before = distance_to_data(state, dataset)
    for _ in range(steps):
        state.advance()
    spread = state.samples(state.recipe.latent(Generator(1, "score"), 64)).std(axis=0).mean()
    assert distance_to_data(state, dataset) < 0.7 * before
    assert spread > 0.2  # and not one image alone


def test_bigan_finds_latent_vectors_of_unseen_images() -> None:
    """What G makes of E's code for an image comes nearer to it than what it makes for others."""
    dataset, unseen = load("glyphs", size=12), load("glyphs", size=12, split="test").x[:500]
    fields = {"hidden": 128, "latent_size": 16, "batch_size": 64, "lr": 1e-3, "lr_d": 1e-3}
    state = fresh("bigan", dataset, **fields)
    before = reconstruction_error(state, unseen)
    for _ in range(750):
        state.advance()
    assert reconstruction_error(state, unseen) < 0.4 * before
    x = (unseen / 255).astype(np.float32)
    found = state.ask(state.recipe.reconstruct, x)
    assert np.square(found - x).mean() < 0.8 * np.square(found[::-1] - x).mean()


def test_glo_finds_latent_vectors_of_unseen_images() -> None:
    """What it finds for an image comes nearer to it than what it finds for others."""
    glyphs, unseen = load("glyphs"), load("glyphs", split="test").x[:100]
    dataset = Dataset("some glyphs", glyphs.x[:1280])  # so few that each is seen ten times
    state = fresh("glo", dataset, width=16, batch_size=64, encoding_steps=40)
    before = reconstruction_error(state, unseen)
    for _ in range(200):
        state.advance()
    after = reconstruction_error(state, unseen)
    assert after < 0.25 * before
    x = (unseen / 127.5 - 1).astype(np.float32)
    found = state.ask(state.recipe.reconstruct, x)
    assert np.square(found - x).mean() < 0.8 * np.square(found[::-1] - x).mean()


def test_vae_finds_latent_vectors_of_unseen_images() -> None:
    """What it finds for an image comes nearer to it than what it finds for others."""
    dataset, unseen = load("glyphs"), load("glyphs", split="test").x[:200]
    state = fresh("vae", dataset, width=16)
    before = reconstruction_error(state, unseen)
    for _ in range(200):
        state.advance()
    assert reconstruction_error(state, unseen) < 0.3 * before
    x = (unseen / 255).astype(np.float32)
    found = state.ask(state.recipe.reconstruct, x)
    assert np.square(found - x).mean() < 0.7 * np.square(found[::-1] - x).mean()


def test_began_converges_and_batch_norm_keeps_its_images_apart() -> None:
    data, spread = load("glyphs"), {}
    real = (data.x[:64] / 127.5 - 1).std(axis=0).mean()
    for normalize in (True, False):
        small = {"width": 8, "hidden": 128, "latent_size": 16, "lr": 1e-3}
        state = fresh("began", data, normalize=normalize, **small)
        M = [state.advance()["M"] for _ in range(150)]
        assert np.mean(M[-10:]) < 0.5 * np.mean(M[:10])
        images = state.samples(state.recipe.latent(Generator(0, "score"), 64))
        spread[normalize] = images.std(axis=0).mean() / real
    assert spread[True] > 0.3
    assert spread[False] < 0.2

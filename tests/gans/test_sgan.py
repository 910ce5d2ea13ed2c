"""SGAN: which labels are seen, and what its classes and its layers do."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import tiny
from draw import normal

from minigan import Tensor, nn, no_grad
from minigan.data import Batches, Dataset
from minigan.errors import UserError
from minigan.random import Generator


def rng() -> Generator:
    return Generator(0, "conditional")


# --- SGAN ------------------------------------------------------------------------------------


def batches(seed: int = 0, dataset: Dataset | None = None) -> Batches:
    return Batches(dataset or tiny.images(), 4, seed=seed, output_range=(0, 1))


def test_few_labels_are_balanced_and_the_same_at_every_call() -> None:
    data = batches()
    x, y = data.few(10)
    assert x.shape == (10, 1, 28, 28)
    np.testing.assert_array_equal(np.bincount(y), [5, 5])
    assert len({image.tobytes() for image in x}) == 10
    next(data)
    np.testing.assert_array_equal(data.few(10)[0], x)
    np.testing.assert_array_equal(batches().few(10)[0], x)
    assert (batches(seed=1).few(10)[0] != x).any()
    np.testing.assert_array_equal(np.bincount(data.few(11)[1]), [6, 5])
    assert data.position == 1  # asking moves nothing


@pytest.mark.parametrize("count", [1, 25, 100])
def test_few_labels_that_cannot_be_had(count: int) -> None:
    with pytest.raises(UserError, match=f"{count} labelled samples.*24 of noise"):
        batches().few(count)


def test_few_labels_of_data_without_any() -> None:
    bare = dataclasses.replace(tiny.images(), y=None, classes=())
    with pytest.raises(UserError, match="no labels"):
        batches(dataset=bare).few(10)


def test_sgan_sees_few_labels_and_no_other() -> None:
    data = tiny.images()
    assert data.y is not None
    rows = []
    for flip in (False, True):
        state = tiny.state("sgan", data)
        state.batches.few(10)
        seen = np.isin(np.arange(len(data)), state.batches._few[10])
        assert seen.sum() == 10
        y = np.where(seen, data.y, 1 - data.y) if flip else data.y
        state.batches.dataset = dataclasses.replace(data, y=y)
        rows.append([state.advance() for _ in range(2)])
    assert rows[0] == rows[1]


@pytest.mark.parametrize("fake_class", [False, True])
def test_realness_is_the_share_of_the_classes(fake_class: bool) -> None:
    """Z / (Z + 1), or the softmax's share of all but the last of K + 1 logits."""
    state = tiny.state("sgan", fake_class=fake_class)
    x = next(state.batches)
    with no_grad(), state.players["D"].evaluating():
        logits = state.players["D"](Tensor(x)).numpy().astype(np.float64)
    assert logits.shape == (4, 10 + fake_class)
    e = np.exp(logits)
    real = e[:, :10].sum(axis=1)
    false = e[:, 10] if fake_class else 1.0
    np.testing.assert_allclose(state.realness(x), real / (real + false), rtol=1e-5)
    read = state.ask(state.recipe.classify, x)
    assert read is not None
    assert read.shape == (4, 10)


def test_the_average_follows_d_and_answers() -> None:
    state = tiny.state("sgan", ema=0.15)
    slow, D = (state.players[name].parameters() for name in ("average", "D"))
    for decay in (0.1, 0.15, 0.15):  # first 1/10, then 2/11 and on, but not above ema
        before = {name: p.data.copy() for name, p in slow.items()}
        state.advance()
        for name, p in slow.items():
            expected = decay * before[name] + (1 - decay) * D[name].data
            np.testing.assert_allclose(p.data, expected, rtol=1e-4, atol=1e-6)
    x = next(state.batches)
    with no_grad(), state.players["average"].evaluating():
        expected = state.players["average"](Tensor(x)).numpy()[:, :10]
    np.testing.assert_allclose(state.ask(state.recipe.classify, x), expected, rtol=1e-5)


@pytest.mark.parametrize("feature_matching", [False, True])
def test_what_g_minimises(feature_matching: bool) -> None:
    fields = {"feature_matching": feature_matching, "noise_input": 0.0, "noise_hidden": 0.0}
    state = tiny.state("sgan", **fields)
    real = Tensor(state.batches.at(0)[0])
    *_, (name, loss, _) = tiny.updates(state)
    again = tiny.state("sgan", **fields)
    with no_grad():  # the same draws: z for D, then z for G
        again.rng.integers(4, 10)
        again.recipe.latent(again.rng, 4)
        G, D = again.players["G"], again.players["D"]
        fake = G(Tensor(again.recipe.latent(again.rng, 4)))
        apart = D.features(fake).numpy().mean(axis=0) - D.features(real).numpy().mean(axis=0)
        logits = D(fake).numpy().astype(np.float64)
    expected = (apart**2).mean()
    if not feature_matching:  # -log Z / (Z + 1)
        expected = np.log1p(1 / np.exp(logits).sum(axis=1)).mean()
    assert name == "G"
    assert loss.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("fields", "says"),
    [({"ema": 1.0}, "--ema"), ({"noise_hidden": -1.0}, "--noise-hidden must be 0 or more")],
)
def test_what_sgan_cannot_be_told(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        tiny.recipe("sgan", **fields)


def test_a_variant_of_sgan_is_another_computation() -> None:
    plain = tiny.state("sgan").advance()
    for fields in ({"fake_class": True}, {"feature_matching": False}, {"noise_input": 0.0}):
        assert tiny.state("sgan", **fields).advance() != plain


# --- Its layers ------------------------------------------------------------------------------


def test_weight_norm_parts_length_and_direction() -> None:
    layer = nn.WeightNormLinear(5, 3, rng=rng())
    assert isinstance(layer.g, Tensor)
    layer.g.data[...] = [1, 2, 0.5]
    x = normal(4, 5).astype(np.float32)
    v = layer.v.data
    w = layer.g.data[:, None] * v / np.linalg.norm(v, axis=1, keepdims=True)
    np.testing.assert_allclose(layer(Tensor(x)).numpy(), x @ w.T, rtol=1e-4, atol=1e-6)
    layer.v = nn.Parameter(3 * v)  # the length of v says nothing
    np.testing.assert_allclose(layer(Tensor(x)).numpy(), x @ w.T, rtol=1e-4, atol=1e-6)


def test_sgan_starts_with_standardised_layers() -> None:
    """Before each activation, mean 0 and variance 1 over the data (Salimans & Kingma 2016)."""
    state = tiny.state("sgan", noise_input=0.0, noise_hidden=0.0)
    x = np.concatenate([state.batches.at(i)[0] for i in range(6)])
    found: list[np.ndarray] = []

    def watch(module: nn.Module, given: tuple[Any, ...], output: Tensor) -> None:
        if isinstance(module, nn.WeightNormLinear):
            w = module.v.data / np.linalg.norm(module.v.data, axis=1, keepdims=True)
            g = module.g.data if isinstance(module.g, Tensor) else module.g
            found.append(given[0].data @ w.T * g + module.bias.data)

    with nn.watching(watch), no_grad():
        state.players["D"](Tensor(x))
    assert [y.shape[1] for y in found] == [1000, 500, 250, 250, 250, 10]
    for y in found:
        np.testing.assert_allclose(y.mean(axis=0), 0, atol=0.03)
        np.testing.assert_allclose(y.std(axis=0), 1, atol=0.03)


def test_noise_is_added_in_training_alone() -> None:
    layer = nn.GaussianNoise(0.5, rng=rng())
    x = Tensor(np.ones((100, 50), np.float32))
    y = layer(x).numpy()
    assert y.mean() == pytest.approx(1, abs=0.05)
    assert y.std() == pytest.approx(0.5, abs=0.05)
    assert (layer(x).numpy() != y).any()
    with layer.evaluating():
        np.testing.assert_array_equal(layer(x).numpy(), 1)
    with pytest.raises(ValueError, match="0 or more, not -1"):
        nn.GaussianNoise(-1, rng=rng())

"""Scores against closed forms, brute force, and what is known of perfect and of broken samplers."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from minigan.data import Dataset, Mixture
from minigan.data.glyphs import glyphs
from minigan.data.points import grid, ring
from minigan.errors import UserError
from minigan.metrics import classifier as judges
from minigan.metrics import pca
from minigan.metrics.frechet import frechet_distance
from minigan.metrics.modes import mode_scores, reverse_kl, stacked_modes
from minigan.metrics.parzen import SIGMAS, log_likelihood, parzen
from minigan.metrics.scores import (
    best_assignment,
    inception_score,
    match_codes,
    match_factors,
    nearest_neighbours,
    rank_correlation,
    share,
)
from minigan.random import Generator

# --- Modes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("mixture", "floor"), [(ring(), 0.0014), (grid(), 0.0048)])
def test_a_perfect_sampler_reaches_the_ceilings_and_no_more(mixture: Mixture, floor: float) -> None:
    rng = np.random.default_rng(0)
    found = [mode_scores(mixture.sample(2500, rng), mixture) for _ in range(60)]
    assert {f.covered for f in found} == {len(mixture.means)}
    assert np.mean([f.high_quality for f in found]) == pytest.approx(0.9889, abs=0.001)
    assert np.mean([f.reverse_kl for f in found]) == pytest.approx(floor, abs=0.0004)


def test_a_collapsed_generator_covers_one_mode() -> None:
    mixture = ring()
    found = mode_scores(np.repeat(mixture.means[3:4], 100, axis=0), mixture)
    assert (found.covered, found.total, found.high_quality) == (1, 8, 1.0)
    assert found.reverse_kl == pytest.approx(math.log(8))


def test_a_point_counts_within_three_standard_deviations() -> None:
    mixture = grid()
    x = mixture.means[:2] + np.array([[0.05 * 2.99, 0], [0, 0.05 * 3.01]])
    found = mode_scores(x, mixture)
    assert (found.covered, found.high_quality) == (1, 0.5)
    nowhere = mode_scores(np.full((5, 2), 50.0), mixture)
    assert (nowhere.covered, nowhere.high_quality, nowhere.reverse_kl) == (0, 0.0, math.inf)


def test_distances_are_counted_in_each_modes_own_width() -> None:
    mixture = Mixture([[0.0, 0.0], [4.0, 0.0]], [0.5, 2.0], [0.25, 0.75])
    found = mode_scores(np.array([[1.6, 0.0], [0.1, 0.0], [4.0, 3.0], [5.0, 1.0]]), mixture)
    assert (found.covered, found.high_quality) == (2, 1.0)
    assert found.reverse_kl == pytest.approx(0.0)  # one of four is nearest to the narrow one


@pytest.mark.parametrize(
    ("samples", "covered", "kl"), [(2000, 864, 0.288), (5000, 993, 0.105), (26_000, 1000, 0.019)]
)
def test_a_perfect_sampler_of_a_thousand_stacked_modes(samples, covered, kl) -> None:
    found = stacked_modes(np.random.default_rng(0).integers(0, 10, (samples, 3)), 10)
    assert found.total == 1000
    assert found.covered == pytest.approx(covered, abs=25)
    assert found.reverse_kl == pytest.approx(kl, rel=0.1)


def test_errors_of_the_classifier_look_like_modes_unless_some_samples_are_asked_for() -> None:
    rng = np.random.default_rng(0)
    true = rng.permutation(1000)[:100]
    label = true[rng.integers(0, 100, 26_000)]
    digits = np.stack([label // 100, label // 10 % 10, label % 10], axis=1)
    wrong = rng.random(digits.shape) < 0.01
    found = stacked_modes(np.where(wrong, rng.integers(0, 10, digits.shape), digits), 10)
    assert 400 < found.covered < 600
    assert 100 <= found.well_covered < 115


def test_reverse_kl_is_that_of_the_shares() -> None:
    q = np.array([0.5, 0.25, 0.25])
    assert reverse_kl(np.array([2, 1, 1]), np.full(3, 1 / 3)) == pytest.approx(
        (q * np.log(3 * q)).sum()
    )


# --- Parzen windows --------------------------------------------------------------------------


def brute_likelihood(x: np.ndarray, samples: np.ndarray, sigma: float) -> float:
    a, b = x.reshape(len(x), -1) / 255, samples.reshape(len(samples), -1) / 255
    norm = (sigma * math.sqrt(2 * math.pi)) ** a.shape[1]
    p = [np.mean([math.exp(-((r - s) ** 2).sum() / (2 * sigma**2)) for s in b]) / norm for r in a]
    return float(np.log(p).mean())


def test_parzen_is_the_likelihood_under_the_windows() -> None:
    rng = np.random.default_rng(0)
    samples, validation, test = (rng.integers(0, 256, (n, 1, 2, 2), np.uint8) for n in (9, 5, 7))
    found = parzen(samples, validation, test)
    every = [brute_likelihood(validation, samples, sigma) for sigma in SIGMAS]
    assert found.sigma == SIGMAS[np.argmax(every)]
    assert found.mean == pytest.approx(brute_likelihood(test, samples, found.sigma))
    single = log_likelihood(test, samples, np.array([found.sigma]))[0]
    assert found.error == pytest.approx(single.std() / math.sqrt(7))


@pytest.mark.parametrize(("spread", "sigma"), [(8, (0.01, 0.1)), (0, (0.01, 0.01))])
def test_parzen_looks_beyond_the_ends_of_the_authors_widths(
    spread: int, sigma: tuple[float, float]
) -> None:
    """Noise of eight grey levels wants windows narrower than 0.1; none at all, ever narrower ones:
    then the last is marked.
    """
    rng = np.random.default_rng(0)
    sets = (128 + rng.normal(0, spread, (n, 1, 4, 4)) for n in (300, 50, 50))
    found = parzen(*(np.rint(x).astype(np.uint8) for x in sets))
    assert sigma[0] <= found.sigma <= sigma[1]
    assert found.last == (spread == 0)
    assert found.last or 0.01 < found.sigma < 0.09


def test_parzen_neither_underflows_nor_minds_the_blocks() -> None:
    black, white = np.zeros((3, 1, 28, 28), np.uint8), np.full((600, 1, 28, 28), 255, np.uint8)
    found = log_likelihood(white, black, np.array([0.1]))
    expected = -784 / (2 * 0.01) - 784 * math.log(0.1 * math.sqrt(2 * math.pi))
    np.testing.assert_allclose(found, expected)


# --- Principal components --------------------------------------------------------------------


def test_pca_is_the_best_linear_code() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (40, 6)).astype(np.uint8)
    x[:, 3] = x[:, 0]
    fitted = pca.fit(x, 2, block=7)
    images = pca.fit(x.reshape(len(x), 1, 1, -1), 2, block=7)
    np.testing.assert_array_equal(images.components, fitted.components)
    singular = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    error = pca.mean_squared_error(x, fitted.reconstruct(x))
    assert error == pytest.approx((singular[2:] ** 2).sum() / x.size / 255**2)
    np.testing.assert_allclose(fitted.components @ fitted.components.T, np.eye(2), atol=1e-12)
    for k in (0, 7):
        with pytest.raises(UserError, match=f"no {k} principal"):
            pca.fit(x, k)


# --- Assignment and ranks --------------------------------------------------------------------


@given(n=st.integers(1, 5), m=st.integers(1, 5), seed=st.integers(0, 10**6), ties=st.booleans())
@settings(deadline=None)
def test_the_assignment_is_the_best_of_all(n: int, m: int, seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    cost = rng.integers(-2, 3, (n, m)).astype(float) if ties else rng.standard_normal((n, m))
    pairs = best_assignment(cost)
    assert len(pairs) == min(n, m)
    assert len({r for r, _ in pairs}) == len({c for _, c in pairs}) == len(pairs)
    wide = cost if n <= m else cost.T
    best = min(
        sum(wide[i, j] for i, j in enumerate(columns))
        for columns in itertools.permutations(range(wide.shape[1]), len(wide))
    )
    assert sum(cost[pair] for pair in pairs) == pytest.approx(best)


def test_the_assignment_of_twenty_finds_a_hidden_permutation() -> None:
    hidden = np.random.default_rng(0).permutation(20)
    cost = np.random.default_rng(1).random((20, 20)) + 1
    cost[np.arange(20), hidden] = 0
    assert [column for _, column in best_assignment(cost)] == hidden.tolist()


def test_codes_get_one_class_each() -> None:
    labels = np.repeat([0, 1, 2], 10)
    codes = np.array([2] * 10 + [0] * 9 + [2] + [0] * 6 + [3] * 4)
    assert match_codes(codes, labels).tolist() == [1, -1, 0, 2]
    assert match_codes(np.zeros(30, np.int64), labels).tolist() == [0]


def test_rank_correlation() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 50))
    d = x.argsort().argsort() - y.argsort().argsort()
    assert rank_correlation(x, y) == pytest.approx(1 - 6 * (d**2).sum() / (50 * (50**2 - 1)))
    assert rank_correlation(x, np.exp(x)) == pytest.approx(1)
    assert rank_correlation(x, -(x**3)) == pytest.approx(-1)
    assert rank_correlation(x, np.ones(50)) == 0
    # Ranks 1, 2.5, 2.5, 4 against 1, 3, 2, 4: 4.5 / sqrt(4.5 * 5)
    assert rank_correlation(np.array([1, 2, 2, 3]), np.array([1, 3, 2, 4])) == pytest.approx(
        4.5 / math.sqrt(4.5 * 5)
    )


def test_each_factor_gets_the_code_that_follows_it() -> None:
    factors = np.random.default_rng(0).standard_normal((200, 3))
    codes = np.stack([-factors[:, 2] + 0.1 * factors[:, 0], np.exp(factors[:, 0])], axis=1)
    assert match_factors(codes, factors) == [(0, 2), (1, 0)]


def test_share_and_its_error() -> None:
    assert share(np.array([True, True, True, False])) == (0.75, pytest.approx(math.sqrt(3) / 8))


@given(n=st.integers(1, 30), m=st.integers(1, 30), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=20)
def test_the_nearest_is_the_nearest(n: int, m: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, known = rng.standard_normal((n, 4)), rng.standard_normal((m, 4))
    squares = ((x[:, None] - known) ** 2).sum(axis=2)
    np.testing.assert_array_equal(nearest_neighbours(x, known), squares.argmin(axis=1))


# --- Inception score and Fréchet distance -----------------------------------------------------


def test_the_inception_score_counts_classes_that_are_sure_and_even() -> None:
    sure = 1e3 * np.eye(10)[np.arange(5000) % 10]
    assert inception_score(sure) == pytest.approx((10, 0))
    assert inception_score(sure[::10]) == pytest.approx((1, 0))  # always the same class
    assert inception_score(np.zeros((100, 10))) == pytest.approx((1, 0))  # never sure
    assert inception_score(np.float32(1e3) * np.eye(10, dtype=np.float32), splits=1)[0] > 9.99


def test_the_inception_score_is_that_of_its_formula() -> None:
    logits = np.random.default_rng(0).standard_normal((40, 3))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    parts = [
        math.exp(np.mean([(q * np.log(q / part.mean(axis=0))).sum() for q in part]))
        for part in np.split(p, 4)
    ]
    assert inception_score(logits, splits=4) == pytest.approx((np.mean(parts), np.std(parts)))


def features(mean: np.ndarray, covariance: np.ndarray, n: int, seed: int) -> np.ndarray:
    """n features of exactly this mean and covariance."""
    x = np.random.default_rng(seed).standard_normal((n, len(mean)))
    x -= x.mean(axis=0)
    white = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    values, vectors = np.linalg.eigh(covariance)
    return white @ (vectors * np.sqrt(np.maximum(values, 0))).T + mean


def test_the_frechet_distance_of_gaussians_with_common_axes() -> None:
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    a, b = np.array([1.0, 2.0, 0.0]), np.array([0.5, 0.0, 3.0])  # singular, as dead features are
    x = features(np.array([1.0, 0, 0]), turn * a @ turn.T, 50, 1)
    y = features(np.array([0.0, 2, 0]), turn * b @ turn.T, 70, 2)
    expected = 5 + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    assert frechet_distance(x, y) == pytest.approx(expected)
    assert frechet_distance(y, x) == pytest.approx(expected)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-7)


def test_the_frechet_distance_of_gaussians_that_do_not_commute() -> None:
    a, b = np.array([[2.0, 1.0], [1.0, 1.0]]), np.array([[1.0, -0.5], [-0.5, 3.0]])
    product = a @ b  # of two rows: tr sqrt(M) = sqrt(tr M + 2 sqrt(det M))
    root = math.sqrt(np.trace(product) + 2 * math.sqrt(np.linalg.det(product)))
    found = frechet_distance(features(np.zeros(2), a, 30, 1), features(np.zeros(2), b, 30, 2))
    assert found == pytest.approx(np.trace(a) + np.trace(b) - 2 * root)


def test_the_frechet_distance_refuses_too_few_samples() -> None:
    x = np.zeros((10, 10))
    with pytest.raises(UserError, match="more than 10 samples"):
        frechet_distance(x, np.zeros((100, 10)))
    with pytest.raises(UserError, match="features"):
        frechet_distance(np.zeros((20, 3)), np.zeros((20, 4)))


# --- The classifier --------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, and a training that is over soon."""
    monkeypatch.setattr(judges, "user_cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(judges, "STEPS", 40)
    return tmp_path / "cache" / "classifiers"


def silent(text: str) -> None:
    pass


def test_the_classifier_learns_and_is_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = (glyphs(size=16, count=300, split=s) for s in ("train", "test"))
    said: list[str] = []
    judge = judges.classifier(train, test, say=said.append)
    assert any("training" in text for text in said)
    assert any(f"{judge.accuracy:.2%} of 300" in text for text in said)
    logits, found = judge(test.x)
    assert (logits.shape, found.shape) == ((300, 10), (300, judges.FEATURES))
    assert judge.accuracy == np.mean(judge.classify(test.x) == test.y)
    assert judge.accuracy > 0.5
    np.testing.assert_allclose(judge(test.x[:3])[0], logits[:3], atol=1e-4)
    assert judge.name == "classifier of glyphs, 128 features"
    assert judge.facts() | {"digest": ""} == {
        "features": 128, "data": "glyphs", "classes": 10, "accuracy": judge.accuracy,
        "tested": 300, "tested_on": "the test images", "digest": "",
    }  # fmt: skip

    (file,) = cache.iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(judges, "_train", None)  # it must not be called again
        again = judges.classifier(train, test, say=silent)
    np.testing.assert_array_equal(again(test.x)[0], logits)
    assert again.facts() == judge.facts()

    file.write_bytes(file.read_bytes()[:-9])
    monkeypatch.setattr(judges, "STEPS", 1)
    judges.classifier(train, test, say=said.append)
    assert "damaged" in said[-3]
    assert len(list(cache.iterdir())) == 1


def test_a_classifier_sees_images_as_they_are(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judges, "STEPS", 2)
    wide = np.random.default_rng(0).integers(0, 256, (40, 1, 12, 12), np.uint8)
    plain = Dataset("a", wide[:, :, 2:10, 2:10], np.arange(40) % 2, ("0", "1"))
    drawn = Dataset("b", plain.x, plain.y, plain.classes, flip=True, wide=wide)
    first, other = (judges.classifier(data, None, say=silent) for data in (plain, drawn))
    np.testing.assert_array_equal(first(plain.x)[0], other(plain.x)[0])


def test_other_data_have_another_classifier(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judges, "STEPS", 1)
    train, test = tiny.images((1, 8, 8)), tiny.images((1, 8, 8))
    digests = {judges.classifier(train, test, say=silent).digest for _ in range(2)}
    assert len(digests) == 1
    train.x[0, 0, 0, 0] ^= 1
    digests.add(judges.classifier(train, test, say=silent).digest)
    assert train.y is not None
    train.y[0] = 1
    digests.add(judges.classifier(train, test, say=silent).digest)
    digests.add(judges.classifier(train, None, say=silent).digest)
    assert len(digests) == len(list(cache.iterdir())) == 4


def test_without_test_images_a_tenth_is_held_out(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Dataset] = []
    monkeypatch.setattr(judges, "_train", lambda network, dataset: seen.append(dataset))
    judge = judges.classifier(tiny.images((1, 8, 8), 40), None, say=silent)
    assert (judge.tested, len(seen[0])) == (4, 36)
    assert "held out" in judge.tested_on
    held = tiny.images((1, 8, 8), 40).x[::10]
    bare = Dataset("bare", tiny.images((1, 8, 8)).x)
    assert judges.classifier(tiny.images((1, 8, 8), 50), bare, say=silent).tested == 5
    assert not (seen[0].x[:, None] == held).all(axis=(2, 3, 4)).any()


def test_the_classifier_goes_on_where_nothing_can_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(judges, "user_cache", lambda: tmp_path / "file")
    monkeypatch.setattr(judges, "STEPS", 1)
    said: list[str] = []
    judges.classifier(tiny.images((1, 8, 8)), None, say=said.append)
    assert "could not be kept" in said[-1]


@pytest.mark.parametrize(
    "dataset", [tiny.points(2), tiny.images((1, 2, 2)), Dataset("bare", tiny.images().x)]
)
def test_the_classifier_refuses_what_it_cannot_learn(dataset: Dataset) -> None:
    with pytest.raises(UserError, match="cannot train a classifier"):
        judges.classifier(dataset, None, say=silent)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 28, 20), (3, 64, 64)])
def test_the_classifier_takes_images_of_any_size(shape: tuple[int, ...]) -> None:
    network = judges.Network(shape, 3, rng=Generator(0, "test"))
    logits, found = judges.read(network, tiny.images(shape, 2).x)
    assert (logits.shape, found.shape) == ((2, 3), (2, 128))


def test_training_images_are_shifted_each_by_its_own_step() -> None:
    x = np.random.default_rng(0).standard_normal((40, 2, 9, 7)).astype(np.float32)
    moved = judges._shifted(x, Generator(0, "test"))
    wide = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)), mode="edge")
    places = []
    for image, around in zip(moved, wide, strict=True):
        fits = [
            (i, j)
            for i, j in itertools.product(range(5), repeat=2)
            if np.array_equal(image, around[:, i : i + 9, j : j + 7])
        ]
        assert len(fits) == 1
        places += fits
    assert {i for i, _ in places} == {j for _, j in places} == set(range(5))

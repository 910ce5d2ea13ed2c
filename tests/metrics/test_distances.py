"""The distances between sets of features: by hand, by definition in plain loops, on Gaussians."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigan.errors import UserError
from minigan.metrics import kernel_distance as kernels
from minigan.metrics import nearest as pictures
from minigan.metrics import neighbours
from minigan.metrics.density_coverage import density_coverage
from minigan.metrics.frechet import frechet_distance
from minigan.metrics.kernel_distance import kernel_distance
from minigan.metrics.nearest import copies, nearest_pictures
from minigan.metrics.neighbours import squared_distances, squared_radii
from minigan.metrics.precision_recall import precision_recall


def gaussian(n: int, d: int, seed: int, shift: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return shift + scale * np.random.default_rng(seed).standard_normal((n, d))


@pytest.fixture(params=[1000, 7], ids=["one block", "several blocks"])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "BLOCK", request.param)
    monkeypatch.setattr(kernels, "BLOCK", request.param)
    monkeypatch.setattr(pictures, "BLOCK_VALUES", 12 * request.param)


# --- The kernel distance ---------------------------------------------------------------------


def unbiased(x: np.ndarray, y: np.ndarray) -> float:
    """The definition: means over all pairs of different samples, one by one."""

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float((sum(p * q for p, q in zip(a, b, strict=True)) / len(a) + 1) ** 3)

    def within(z: np.ndarray) -> float:
        pairs = [k(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if i != j]
        return sum(pairs) / len(pairs)

    return within(x) + within(y) - 2 * sum(k(a, b) for a in x for b in y) / (len(x) * len(y))


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize(("n", "m", "parts"), [(4, 4, 10), (20, 20, 10), (23, 14, 5)])
def test_the_kernel_distance_by_its_definition(n: int, m: int, parts: int) -> None:
    x, y = gaussian(n, 3, 0), gaussian(m, 3, 1, 0.3)
    value, error = kernel_distance(x, y, parts=parts)
    parts = min(parts, n, m)
    found = []
    for part in range(parts):
        a, b = (z[[i for i in range(len(z)) if i * parts // len(z) != part]] for z in (x, y))
        found.append(unbiased(a, b))
    assert value == pytest.approx(np.mean(found))
    expected = math.sqrt((parts - 1) / parts * sum((f - np.mean(found)) ** 2 for f in found))
    assert error == pytest.approx(expected)


def test_the_kernel_distance_by_hand() -> None:
    """Of one feature in two constants a and b it is k(a, a) + k(b, b) - 2 k(a, b)."""
    x, y = np.full((10, 1), 1.0), np.full((10, 1), 2.0)
    value, error = kernel_distance(x, y)
    assert value == pytest.approx(2**3 + 5**3 - 2 * 3**3)
    assert error == pytest.approx(0, abs=1e-9)


def test_the_kernel_distance_of_one_distribution_is_no_bias_and_never_clipped() -> None:
    found = [
        kernel_distance(gaussian(50, 4, 2 * i), gaussian(50, 4, 2 * i + 1)) for i in range(300)
    ]
    values, errors = np.array(found).T
    assert abs(values.mean()) < 3 * values.std() / math.sqrt(len(values))
    assert 0.3 < (values < 0).mean() < 0.7
    assert errors.mean() == pytest.approx(values.std(), rel=0.35)


def test_the_kernel_distance_of_gaussians_and_its_error() -> None:
    """In one dimension, of N(0, 1) and N(s, 1): E[(ab + 1)^3] of the moments 0, 1, 0 of the one and
    s, s^2 + 1, s^3 + 3 s of the other is 1 + 3 E[a]E[b] + 3 E[a^2]E[b^2] + E[a^3]E[b^3].
    """
    s = 0.7
    first, second, third = s, s**2 + 1, s**3 + 3 * s
    true = 4 + (1 + 3 * first**2 + 3 * second**2 + third**2) - 2 * (1 + 3 * second)
    found = [
        kernel_distance(gaussian(200, 1, 2 * i), gaussian(200, 1, 2 * i + 1, s)) for i in range(100)
    ]
    values, errors = np.array(found).T
    assert values.mean() == pytest.approx(true, abs=3 * values.std() / 10)
    assert errors.mean() == pytest.approx(values.std(), rel=0.25)


def test_the_kernel_distance_has_the_same_mean_for_any_number_where_frechet_has_not() -> None:
    def mean(distance: Callable[..., float], n: int) -> float:
        pairs = ((gaussian(n, 8, 2 * i), gaussian(n, 8, 2 * i + 1, 0.5)) for i in range(40))
        return float(np.mean([distance(x, y) for x, y in pairs]))

    few, many = (mean(lambda x, y: kernel_distance(x, y)[0], n) for n in (30, 300))
    assert few == pytest.approx(many, rel=0.1)
    assert mean(frechet_distance, 30) > 1.5 * mean(frechet_distance, 300)


@pytest.mark.parametrize(("n", "m", "d"), [(3, 10, 2), (10, 3, 2), (10, 10, 3)])
def test_the_kernel_distance_refuses(n: int, m: int, d: int) -> None:
    with pytest.raises(UserError, match="kernel distance needs 4 samples"):
        kernel_distance(np.zeros((n, 2)), np.zeros((m, d)))


# --- Neighbours, precision, recall, density, coverage ----------------------------------------

SETS = st.integers(0, 10**6).map(lambda seed: np.random.default_rng(seed)).map(
    lambda rng: [rng.integers(-4, 5, (int(rng.integers(6, 30)), 2)).astype(float) for _ in "ab"]
)  # fmt: skip


def square(a: np.ndarray, b: np.ndarray) -> float:
    return float(sum((p - q) ** 2 for p, q in zip(a, b, strict=True)))


def radius(x: np.ndarray, i: int, k: int) -> float:
    return sorted(square(x[i], x[j]) for j in range(len(x)) if j != i)[k - 1]


@pytest.mark.usefixtures("blocks")
def test_squared_distances_and_radii_by_their_definition() -> None:
    x, y = gaussian(20, 5, 0, 100), gaussian(9, 5, 1, 100)
    found = np.full((20, 9), np.nan)
    for rows, block in squared_distances(x, y):
        found[rows] = block
    np.testing.assert_allclose(found, [[square(a, b) for b in y] for a in x], rtol=1e-10)
    for k in (1, 3, 19):
        expected = [radius(x, i, k) for i in range(20)]
        np.testing.assert_allclose(squared_radii(x, k), expected, rtol=1e-10)


def test_radii_count_equal_samples_as_neighbours_and_no_sample_as_its_own() -> None:
    x = np.array([[1e3], [1e3], [1e3], [1e3 + 1]])
    assert squared_radii(x, 2).tolist() == [0, 0, 0, 1]
    for k in (0, 4):
        with pytest.raises(UserError, match="nearest neighbours"):
            squared_radii(x, k)


# Halves of integers, whose distances no rounding touches: ties are ties.
@given(SETS, st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_the_four_shares_by_their_definitions(sets: list[np.ndarray], k: int) -> None:
    real, fake = sets
    real, fake = real - real.mean(axis=0).round(), fake / 2
    real_radii = [radius(real, i, k) for i in range(len(real))]
    fake_radii = [radius(fake, i, k) for i in range(len(fake))]
    holds = [[square(r, f) <= q for f in fake] for r, q in zip(real, real_radii, strict=True)]
    held = [any(square(r, f) <= q for f, q in zip(fake, fake_radii, strict=True)) for r in real]
    precision, recall = precision_recall(real, fake, k=k)
    density, coverage = density_coverage(real, fake, k=k)
    assert precision == sum(map(any, zip(*holds, strict=True))) / len(fake)
    assert recall == sum(held) / len(real)
    assert density == pytest.approx(sum(map(sum, holds)) / (k * len(fake)))
    assert coverage == sum(map(any, holds)) / len(real)


@pytest.mark.usefixtures("blocks")
def test_the_four_shares_of_gaussians_by_their_definitions() -> None:
    real, fake = gaussian(40, 2, 0), gaussian(30, 2, 1, 0.5)
    for k in (1, 4):
        inside = [[square(r, f) <= radius(real, i, k) for f in fake] for i, r in enumerate(real)]
        held = [any(square(r, f) <= radius(fake, j, k) for j, f in enumerate(fake)) for r in real]
        precision = float(np.any(inside, axis=0).mean())
        assert precision_recall(real, fake, k=k) == (precision, np.mean(held))
        coverage = float(np.any(inside, axis=1).mean())
        expected = (np.sum(inside) / (k * len(fake)), coverage)
        assert density_coverage(real, fake, k=k) == pytest.approx(expected)


def test_density_and_coverage_of_one_distribution_are_known() -> None:
    n, k = 100, 5
    found = np.array(
        [density_coverage(gaussian(n, 3, 2 * i), gaussian(n, 3, 2 * i + 1)) for i in range(80)]
    )
    density, coverage = found.mean(axis=0)
    assert density == pytest.approx(1, abs=0.03)
    ratio = math.prod((n - 1 - i) / (2 * n - 1 - i) for i in range(k))
    assert coverage == pytest.approx(1 - ratio, abs=0.01)


def test_what_each_share_sees() -> None:
    real = gaussian(300, 2, 0)
    few, wide = gaussian(300, 2, 1, 0, 0.1), gaussian(300, 2, 2, 0, 5)
    like = gaussian(300, 2, 3)
    for narrow, good in ((precision_recall(real, few), precision_recall(real, like)),
                         (density_coverage(real, few), density_coverage(real, like))):  # fmt: skip
        assert narrow[0] > 0.8
        assert narrow[1] < 0.2 < 0.8 < good[1]
    assert precision_recall(real, wide)[0] < 0.3
    assert density_coverage(real, wide)[0] < 0.3


def test_one_real_outlier_makes_recall_and_precision_but_not_density_large() -> None:
    """Why there are both: Naeem et al. 2020, figure 2."""
    real, far = gaussian(200, 2, 0), gaussian(200, 2, 1, 30)
    spoilt = np.concatenate([real, [[60.0, 60.0]]])
    assert precision_recall(real, far)[0] == 0
    assert precision_recall(spoilt, far)[0] == 1
    assert density_coverage(spoilt, far)[0] < 0.25


# --- Nearest training pictures ---------------------------------------------------------------


def images(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 3, 2, 2), np.uint8)


@pytest.mark.usefixtures("blocks")
def test_the_nearest_pictures_by_their_definition() -> None:
    samples, train = images(9, 0), images(40, 1)
    train[17], train[33] = samples[4], samples[4]
    found = nearest_pictures(samples, train)
    every = [[math.sqrt(((a / 255.0 - b / 255.0) ** 2).sum()) for b in train] for a in samples]
    assert found.place.tolist() == np.argmin(every, axis=1).tolist()
    assert found.place[4] == 17  # the first of those that are equally near
    assert found.distance[4] == 0
    np.testing.assert_allclose(found.distance, np.min(every, axis=1), rtol=1e-5)


@pytest.mark.usefixtures("blocks")
def test_the_nearest_other_picture_of_training_pictures() -> None:
    train = images(40, 1)
    own = np.array([3, 39, 0])
    found = nearest_pictures(train[own], train, own=own)
    assert (found.place != own).all()
    every = ((train[own][:, None] / 255.0 - train / 255.0) ** 2).sum(axis=(2, 3, 4))
    every[np.arange(3), own] = np.inf
    assert found.place.tolist() == every.argmin(axis=1).tolist()


@pytest.mark.usefixtures("blocks")
def test_the_nearest_pictures_by_a_view_of_them() -> None:
    """Which sees blocks, and never all of them at once."""
    seen = []

    def brightness(x: np.ndarray) -> np.ndarray:
        seen.append(len(x))
        return x.mean(axis=(1, 2, 3), dtype=np.float32)[:, None]

    samples, train = images(5, 0), images(2000, 1)
    found = nearest_pictures(samples, train, brightness)
    gaps = np.abs(samples.mean(axis=(1, 2, 3))[:, None] - train.mean(axis=(1, 2, 3)))
    np.testing.assert_allclose(found.distance, gaps.min(axis=1), atol=1e-4)
    assert max(seen) < 2000


def test_copies_are_told_from_what_is_new() -> None:
    train, test = gaussian(500, 3, 0), gaussian(300, 3, 1)

    def distance(x: np.ndarray) -> np.ndarray:
        return np.concatenate([np.sqrt(b.min(axis=1)) for _, b in squared_distances(x, train)])

    real = distance(test)
    new = copies(distance(gaussian(300, 3, 2)), real)
    assert new.share == pytest.approx(0.05, abs=0.04)
    assert new.ratio == pytest.approx(1, abs=0.15)
    near = copies(distance(train[:300] + 1e-3), real)
    assert (near.share, near.ratio < 0.05) == (1, True)
    half = np.concatenate([train[:150] + 1e-3, gaussian(150, 3, 2)])
    assert copies(distance(half), real).share > 0.5


def test_copies_among_real_pictures_that_repeat_each_other() -> None:
    """A tenth of the real ones have a twin: then so many samples are no sign."""
    real = np.array([0.0] * 2 + [1.0] * 18)
    assert copies(np.zeros(4), real) == (1.0, 0.1, 0.0)
    assert copies(np.ones(4), real) == (0.0, 0.1, 1.0)
    assert copies(np.zeros(4), np.zeros(9)) == (1.0, 1.0, 1.0)
    assert copies(np.ones(4), np.zeros(9)) == (0.0, 1.0, math.inf)

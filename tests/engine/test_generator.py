"""`minigan.Generator`: the same numbers from the same name, independent streams, an exact state."""

from __future__ import annotations

import json
import math

import minigan_kernels as kernels
import numpy as np
import pytest

from minigan import Generator


@pytest.fixture(params=["reference", "cpu"], autouse=True)
def room(request: pytest.FixtureRequest):
    with kernels.use(request.param):
        yield


def test_the_same_name_gives_the_same_numbers() -> None:
    a, b = Generator(3, "noise"), Generator(3, "noise")
    for _ in range(2):
        np.testing.assert_array_equal(a.normal((3, 5)), b.normal((3, 5)))
        np.testing.assert_array_equal(a.uniform(7), b.uniform(7))


def test_another_name_gives_other_numbers() -> None:
    names = [(0,), (1,), (0, "noise"), (0, "data"), (0, "noise", "data"), (0, "noise/data2"), (-1,)]
    draws = [Generator(*name).uniform(8).tobytes() for name in names]
    assert len(set(draws)) == len(names)


def test_streams_are_independent() -> None:
    n = 4000
    draws = np.stack([Generator(0, name).normal(n) for name in ("a", "b", "c", "d")])
    correlations = np.corrcoef(draws)[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() < 4 / math.sqrt(n)


def test_a_draw_does_not_depend_on_how_others_of_the_stream_were_cut() -> None:
    whole = Generator(1).uniform(32)
    g = Generator(1)
    np.testing.assert_array_equal(np.concatenate([g.uniform(8), g.uniform((2, 12)).ravel()]), whole)


def test_shapes_that_are_no_multiple_of_four_use_whole_blocks() -> None:
    for shape, blocks in [(1, 1), (4, 1), (5, 2), ((3, 3), 3), ((), 1), (0, 0), ((2, 0), 0)]:
        g = Generator(0)
        x = g.normal(shape)
        assert x.shape == np.empty(shape).shape
        assert x.dtype == np.float32
        assert g.offset == blocks
        np.testing.assert_array_equal(x.ravel(), Generator(0).normal(12)[: x.size])


def draws(g: Generator) -> list[np.ndarray]:
    return [g.normal(3), g.uniform((2, 2)), g.dropout_mask(9, 0.5), g.integers(4, 10)]


def test_a_saved_state_continues_exactly() -> None:
    g = Generator(5, "z")
    g.normal(7)
    saved = json.loads(json.dumps(g.state))
    after = draws(g)
    other = Generator(0)
    other.state = saved
    for x, y in zip(after, draws(other), strict=True):
        np.testing.assert_array_equal(x, y)
    assert other.state == g.state


def test_normal_numbers() -> None:
    x = Generator(2).normal(40_000).astype(np.float64)
    n = math.sqrt(x.size)
    assert abs(x.mean()) < 4 / n
    assert abs(x.var() - 1) < 4 * math.sqrt(2) / n
    assert abs((x**3).mean()) < 4 * math.sqrt(15) / n
    assert abs((x**4).mean() - 3) < 4 * math.sqrt(96) / n
    assert abs((x[:-1] * x[1:]).mean()) < 4 / n  # neighbours come from one pair of words
    np.testing.assert_array_equal(
        Generator(2).normal(5, std=0.02), x[:5].astype(np.float32) * np.float32(0.02)
    )


def test_uniform_numbers() -> None:
    x = Generator(2).uniform(40_000)
    assert 0 <= x.min() < 0.001
    assert 0.999 < x.max() < 1
    assert abs(x.mean() - 0.5) < 4 * math.sqrt(1 / 12) / 200
    assert abs(x.var() - 1 / 12) < 4 * math.sqrt(1 / 180) / 200
    y = Generator(2).uniform((1000,), -3, 5)
    assert y.dtype == np.float32
    assert -3 <= y.min() < -2.9
    assert 4.9 < y.max() < 5


def test_whole_numbers() -> None:
    x = Generator(0).integers((100, 100), 7)
    assert x.dtype == np.int64
    counts = np.bincount(x.ravel(), minlength=7)
    assert len(counts) == 7
    assert np.abs(counts - 1e4 / 7).max() < 4 * math.sqrt(1e4 / 7)
    assert (Generator(0).integers(5, 1) == 0).all()


@pytest.mark.parametrize("keep", [0.25, 0.5, 0.8, 1.0])
def test_dropout_masks(keep: float) -> None:
    mask = Generator(0).dropout_mask((100, 100), keep)
    assert mask.dtype == np.float32
    assert set(np.unique(mask)) <= {np.float32(0), np.float32(1 / keep)}
    assert abs((mask > 0).mean() - keep) <= 4 * math.sqrt(keep * (1 - keep)) / 100
    assert abs(mask.mean() - 1) <= 4 * math.sqrt((1 - keep) / keep) / 100

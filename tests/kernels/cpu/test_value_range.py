"""An output depends on the values that it sees: what one huge value may disturb, and what not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import minigan_kernels as kernels
import numpy as np
import pytest
from minigan_kernels import memo
from minigan_kernels.algorithms import ALGORITHMS
from minigan_kernels.cpu.conv import winograd
from minigan_kernels.cpu.conv.winograd import value_range
from minigan_kernels.cpu.conv.winograd.toom_cook import scheme, transposed
from minigan_kernels.epilogue import Epilogue

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of NumPy, in any thread

DIRECTIONS = ("conv2d", "conv2d_dx", "conv2d_dw")
VALUES = (1e6, 1e20, 3e38, np.inf, -np.inf, np.nan)


class Layer(NamedTuple):
    """A convolution of images (2, channels, side, side)."""

    channels: int
    filters: int
    side: int
    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1


LAYERS = [
    Layer(16, 16, 11, 3, 1, 1),
    Layer(16, 16, 12, 2),
    Layer(32, 16, 13, 4, 2, 1),
    Layer(16, 16, 12, 3, 2, 1),
    Layer(16, 32, 12, 5, 2, 2),
    Layer(3, 16, 12, 4, 2, 1),  # not by tiles
    Layer(3, 4, 12, 3, 2, 1),  # a kernel of no whole strides
    Layer(2, 20, 9, 5, 3, 2),
    Layer(16, 3, 9, 3, 1, 1),
    Layer(8, 8, 9, 3, 1, 2, 2),
    Layer(8, 8, 9, 3, 2, 1, 1, 8),
    Layer(4, 6, 9, 3, 1, 1, 1, 2),
    Layer(5, 7, 6, 6),  # one window
    Layer(5, 7, 6, 1),
]


def operands(layer: Layer, direction: str) -> tuple[tuple[np.ndarray, np.ndarray], dict[str, Any]]:
    """Two arrays, and the options of a direction."""
    rng = np.random.default_rng(0)
    options = dict(zip(("stride", "padding", "dilation", "groups"), layer[4:], strict=True))
    x = rng.standard_normal((2, layer.channels, layer.side, layer.side), np.float32)
    w_shape = layer.filters, layer.channels // layer.groups, layer.kernel, layer.kernel
    w = rng.standard_normal(w_shape, np.float32)
    g = rng.standard_normal(kernels.conv2d(x, w, **options).shape, np.float32)
    if direction == "conv2d":
        return (x, w), options
    if direction == "conv2d_dx":
        return (g, w), options | {"shape": x.shape}
    return (x, g), options | {"shape": w.shape}


def seen(
    call: Callable[..., np.ndarray],
    arrays: tuple[np.ndarray, np.ndarray],
    which: int,
    place: tuple[int, ...],
    options: dict[str, Any],
) -> np.ndarray:
    """Which results depend on the value at `place` of one of the arrays; padding is zeros, and
    zero times infinity is NaN.
    """
    spoilt = [a.copy() for a in arrays]
    spoilt[which][place] = np.nan
    with kernels.use("reference"):
        return np.isnan(call(*spoilt, **options))


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: "-".join(map(str, layer)))
def test_one_huge_value_disturbs_nothing_that_does_not_see_it(layer: Layer, direction: str) -> None:
    arrays, options = operands(layer, direction)
    call = getattr(kernels, direction)
    clean = call(*arrays, **options)
    scale = np.abs(clean).max()
    places = [(0, 0, 0, 0), (1, 1, 2, 3), (0, 2, 5, 5)]
    for which in range(2 if direction == "conv2d_dw" else 1):
        for place in places:
            if any(p >= n for p, n in zip(place, arrays[which].shape, strict=True)):
                continue
            touched = seen(call, arrays, which, place, options)
            for value in VALUES:
                spoilt = [a.copy() for a in arrays]
                spoilt[which][place] = value
                for algorithm in ("cpu", *ALGORITHMS):
                    with kernels.use(algorithm), np.errstate(all="ignore"):
                        found = call(*spoilt, **options)
                    error = np.abs(found - clean)[~touched]
                    assert (error <= 1e-4 * scale).all(), (algorithm, value, place, which)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_an_image_that_exceeds_the_range_goes_direct_and_the_others_by_tiles(
    direction: str,
) -> None:
    arrays, options = operands(LAYERS[0], direction)
    call = getattr(kernels, direction)
    with kernels.use("winograd"):
        clean = call(*arrays, **options)
    arrays[0][1, 3, 2, 1] = 1e6
    with kernels.use("direct"):
        direct = call(*arrays, **options)
    with kernels.use("winograd"):
        found = call(*arrays, **options)
    if direction == "conv2d_dw":  # a sum over images
        np.testing.assert_array_equal(found, direct)
        return
    np.testing.assert_array_equal(found[1], direct[1])
    np.testing.assert_array_equal(found[0], clean[0])
    assert (clean[0] != direct[0]).any()


def test_an_epilogue_is_applied_once_also_where_the_range_is_exceeded() -> None:
    (x, w), options = operands(LAYERS[0], "conv2d")
    x[1, 2, 3, 4] = 1e6
    bias = np.linspace(-1, 1, len(w), dtype=np.float32)
    for epilogue in (Epilogue("leaky_relu", 0.25), Epilogue("tanh")):
        with kernels.use("winograd"):
            found = kernels.conv2d_activated(x, w, bias, epilogue=epilogue, **options)
        with kernels.use("direct"):
            expected = kernels.conv2d_activated(x, w, bias, epilogue=epilogue, **options)
        np.testing.assert_array_equal(found[1], expected[1])
        np.testing.assert_allclose(found[0], expected[0], atol=1e-4)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("data", ["normal", "zeros", "sparse", "ReLU", "scaled", "tiny", "uneven"])
def test_ordinary_values_stay_in_range(data: str, direction: str) -> None:
    """Among them zeros beside values, images of very different scale, and values near a border."""
    arrays, options = operands(LAYERS[2], direction)
    rng = np.random.default_rng(1)
    for a in arrays if direction == "conv2d_dw" else arrays[:1]:
        if data == "zeros":
            a[...] = 0
        if data == "sparse":
            a *= rng.random(a.shape) < 0.01
        if data == "ReLU":
            np.maximum(a, 0, out=a)
        if data == "scaled":
            a[1] *= 1e-9
        if data == "tiny":
            a *= 1e-30
        if data == "uneven":
            a *= np.float32(1.7) ** np.arange(a.shape[3], dtype=np.float32)
    call = getattr(kernels, direction)
    with kernels.use("direct"):
        direct = call(*arrays, **options)
    real, exceeding = winograd._exceeding, []

    def watched(*args: Any) -> Any:
        exceeding.append(real(*args))
        return exceeding[-1]

    with pytest.MonkeyPatch.context() as patch, kernels.use("winograd"):
        patch.setattr(winograd, "_exceeding", watched)
        found = call(*arrays, **options)
    assert exceeding
    assert not any(exceeding)
    np.testing.assert_allclose(found, direct, rtol=1e-3, atol=1e-4 * np.abs(direct).max())


def test_that_a_range_was_exceeded_is_memoized_until_the_array_is_written() -> None:
    (x, w), options = operands(LAYERS[0], "conv2d")
    x[1, 2, 3, 4] = np.inf
    memo.freeze(x)
    real, calls = winograd._transform_tiles, []

    def counted(*args: Any) -> Any:
        calls.append(args)
        return real(*args)

    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        patch.setattr(winograd, "_transform_tiles", counted)
        x = x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)  # as the tiles are memoized with
        memo.freeze(x)
        first = kernels.conv2d(x, w, **options)
        np.testing.assert_array_equal(kernels.conv2d(x, w, **options), first)
        assert len(calls) == 1
        with memo.writable(x):
            x[1, 2, 3, 4] = 0
        assert np.isfinite(kernels.conv2d(x, w, **options)).all()
        assert len(calls) == 2


@pytest.mark.parametrize("value", [1e6, np.nan])
def test_every_tile_is_looked_at(value: float) -> None:
    """Wherever in the images the value is, and if each image has one."""
    (x, w), options = operands(LAYERS[0], "conv2d")
    x = np.concatenate([x] * 4)
    w[...] = 0.05
    clean = kernels.conv2d(x, w, **options)
    for y in range(0, x.shape[2], 2):
        for images in (slice(None), slice(5, 6)):
            spoilt = x.copy()
            spoilt[images, 7, y, (3 * y) % x.shape[3]] = value
            found = kernels.conv2d(spoilt, w, **options)
            touched = np.zeros(clean.shape, bool)
            left = (3 * y) % x.shape[3]
            touched[images, :, max(0, y - 1) : y + 2, max(0, left - 1) : left + 2] = True
            assert (np.abs(found - clean)[~touched] <= 1e-4).all()


@pytest.mark.parametrize(("m", "r"), [(2, 2), (4, 2), (2, 3), (4, 3)])
def test_the_squares_see_every_pixel(m: int, r: int) -> None:
    from minigan_kernels.cpu.conv.winograd.codegen import _seeing_all

    _, _, at, _, bt = scheme(m, r)
    for matrix in (bt, transposed(at)):
        rows = _seeing_all(matrix)
        assert len(rows) <= 2
        for column in range(len(matrix[0])):
            assert max(abs(matrix[i][column]) for i in rows) >= 0.5


def test_a_jump_is_what_grew_or_is_not_finite() -> None:
    for squares, before, expected in (
        (0.0, 0.0, False),
        (1.0, 0.0, True),
        (1.0, 1.0, False),
        (value_range.JUMP * 1.01, 1.0, True),
        (np.inf, np.inf, True),
        (np.nan, 1.0, True),
        (1.0, np.nan, True),
    ):
        assert value_range.jumps(squares, before) is expected

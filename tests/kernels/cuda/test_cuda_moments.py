"""The moments that a convolution leaves with its result: right, exact, and never stale."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import minigan_kernels as kernels
import numpy as np
import pytest
from cuda_tools import ROUNDED, SCHEDULES, needs_gxx
from minigan_kernels import memo
from minigan_kernels.cuda import tiling
from minigan_kernels.cuda.emu import emulation
from minigan_kernels.cuda.launch import Kernel
from minigan_kernels.cuda.norm import MOMENTS
from minigan_kernels.memo import (
    LARGE,
    attach,
    attached,
    freeze,
    freeze_result,
    invalidate,
    writable,
)

from minigan import Tensor, conv2d, conv_transpose2d, grad, nn
from minigan.random import Generator
from minigan.tensor import Primitive

TILES = [(name, i) for name, tiles in tiling.TILES.items() for i in range(len(tiles))]
# Ragged tiles; phases with fewer pixels than others; groups. Each result is LARGE.
CALLS: dict[str, tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "forward": ("conv2d", (3, 8, 17, 15), (70, 8, 2, 3), {"padding": 1}),
    "transposed": ("conv2d_dx", (3, 8, 9, 9), (8, 36, 3, 3), {"stride": 2}),
    "in groups": ("conv2d", (3, 16, 13, 13), (48, 8, 1, 1), {"groups": 2}),
}


def call(case: str, precision: str) -> np.ndarray:
    """The result of a case."""
    name, x_shape, w_shape, options = CALLS[case]
    rng = np.random.default_rng(0)
    x, w = (
        ROUNDED[precision](rng.standard_normal(s).astype(np.float32)) for s in (x_shape, w_shape)
    )
    if name == "conv2d_dx":
        sides = [
            (n - 1) * options["stride"] + k for n, k in zip(x_shape[2:], w_shape[2:], strict=True)
        ]
        options = {**options, "shape": (x_shape[0], w_shape[1], *sides)}
    y = getattr(kernels, name)(x, w, **options)
    assert y.nbytes >= LARGE
    return y


def check(found: tuple[np.ndarray, np.ndarray], y: np.ndarray) -> None:
    """They are exact to float32's last bits."""
    mean, var = y.mean((0, 2, 3), np.float64), y.var((0, 2, 3), np.float64)
    deviation = math.sqrt(var.max())
    np.testing.assert_allclose(found[0], mean, rtol=1e-6, atol=1e-7 * deviation)
    np.testing.assert_allclose(found[1], var, rtol=1e-6)


@contextmanager
def launches() -> Iterator[list[str]]:
    """The names of the kernels that are launched in the block."""
    names: list[str] = []
    run = Kernel.__call__

    def noted(self: Kernel, *arguments: Any, **options: Any) -> None:
        names.append(self.name)
        run(self, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch, kernels.use("cuda"):
        patch.setattr(Kernel, "__call__", noted)
        yield names


def left_by(
    case: str, precision: str, tile: int, split_k: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """The moments that a tile leaves, or the sum of parts, which are right."""
    with launches() as names, tiling.precision(precision), tiling.force(tile, split_k):
        y = call(case, precision)
        freeze_result(y, [], kernels.conv2d)
        found = kernels.moments(y)
    assert "moments" not in names
    assert "moments_total" in names
    check(found, y)
    return found


@needs_gxx
@pytest.mark.parametrize("case", CALLS)
@pytest.mark.parametrize(("precision", "tile"), TILES)
def test_what_every_tile_leaves_is_right(precision: str, tile: int, case: str) -> None:
    found = set()
    for schedule in SCHEDULES[::3]:
        with emulation(schedule):
            mean, var = left_by(case, precision, tile)
            found.add(mean.tobytes() + var.tobytes())
    assert len(found) == 1


@needs_gxx
@pytest.mark.parametrize("case", CALLS)
@pytest.mark.parametrize("split_k", [2, 7])
def test_what_a_sum_of_parts_leaves_is_right(split_k: int, case: str) -> None:
    found = set()
    for schedule in SCHEDULES[::3]:
        with emulation(schedule):
            mean, var = left_by(case, "bfloat16", -1, split_k)
            found.add(mean.tobytes() + var.tobytes())
    assert len(found) == 1


@needs_gxx
@pytest.mark.parametrize("outlier", [0, 64])
@pytest.mark.parametrize(
    ("precision", "tile", "split_k"), [(*tile, 1) for tile in TILES] + [("float32", 1, 2)]
)
def test_a_mean_far_above_the_deviation_costs_nothing(
    precision: str, tile: int, split_k: int, outlier: int
) -> None:
    """y is 8192 + N(0, 1), and may begin with a value far off: what is about its first is worst."""
    rng = np.random.default_rng(0)
    x, w = np.zeros((5, 8, 13, 11), np.float32), np.zeros((24, 8, 1, 1), np.float32)
    x[:, 0], x[:, 1:] = 1, ROUNDED["bfloat16"](rng.standard_normal((5, 7, 13, 11)))
    x[0, 1:, 0, 0] += outlier
    w[:, 0, 0, 0] = 8192
    w[np.arange(24), 1 + np.arange(24) % 7, 0, 0] = 1
    with launches() as names, tiling.precision(precision), tiling.force(tile, split_k):
        y = kernels.conv2d(x, w)
        assert attached(y, MOMENTS) is None
        freeze_result(y, [x, w], kernels.conv2d)
        mean, var = kernels.moments(y)
        plain_mean, plain_var = kernels.moments(y.copy())
    assert names.count("moments") == 1
    for ours, plain, exact in (
        (mean, plain_mean, y.mean((0, 2, 3), np.float64)),
        (var, plain_var, y.var((0, 2, 3), np.float64)),
    ):
        error, least = (np.abs(each / exact - 1).max() for each in (ours, plain))
        assert error <= max(2 * least, 2 * np.finfo(np.float32).eps)


class OnGpu:
    """An array that cannot be made read-only."""

    nbytes = LARGE


def test_what_was_left_counts_only_as_long_as_nobody_may_have_written() -> None:
    public, other = kernels.conv2d, lambda: None

    def fresh(kind: str) -> Any:
        array = np.zeros(LARGE, np.uint8)[1:] if kind == "numpy" else OnGpu()
        attach(array, "what", 1)
        assert attached(array, "what") is None  # its maker has it still
        return array

    for kind in ("numpy", "gpu"):
        y = fresh(kind)
        freeze_result(y, [], public)
        assert attached(y, "what") == 1
        assert attached(fresh(kind), "what") is None  # another array
        with writable(y):
            assert attached(y, "what") is None
        assert attached(y, "what") is None

        y = fresh(kind)
        freeze_result(y, [], other)  # which may have written it
        assert attached(y, "what") is None
        freeze_result(y, [], public)
        assert attached(y, "what") is None

        y = fresh(kind)
        freeze_result(y, [y], public)  # an input
        assert attached(y, "what") is None

        y = fresh(kind)
        freeze_result(y, [], public)
        invalidate(y)
        assert attached(y, "what") is None

        y = fresh(kind)
        freeze(y)  # a parameter, perhaps
        freeze_result(y, [], other)
        assert attached(y, "what") is None

        y = fresh(kind)
        count = memo.entry_count()
        del y
        assert memo.entry_count() == count - 1


@needs_gxx
def test_bare_kernels_and_kernels_of_ones_own_may_write_what_they_got() -> None:
    def doubled(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        y = kernels.conv2d(x, w)
        y *= 2
        return y

    x, w = (np.random.default_rng(i).standard_normal(s).astype(np.float32)
            for i, s in enumerate([(3, 8, 16, 16), (72, 8, 1, 1)]))  # fmt: skip
    with launches() as names, tiling.force(1, 1):
        bare = kernels.conv2d(x, w)
        bare += 3
        check(kernels.moments(bare), bare)
        own = Primitive.__new__(Primitive)  # not one of the engine's
        own.kernel, own.name, own.rules, own.nin = doubled, "doubled", (), 0
        result = own(Tensor(x), Tensor(w)).data
        assert not result.flags.writeable
        check(kernels.moments(result), result)
    assert names.count("moments") == 2


@needs_gxx
def test_batch_norm_finds_what_a_convolution_left() -> None:
    x, noise = (np.random.default_rng(i).standard_normal((8, 16, 8, 8)).astype(np.float32)
                for i in range(2))  # fmt: skip

    def step(bias: bool) -> dict[str, np.ndarray]:
        rng = Generator(0, "layers")
        layers = nn.Sequential(
            nn.Conv2d(16, 64, 3, padding=1, rng=rng, bias=bias),
            nn.BatchNorm2d(64, activation=nn.LeakyReLU(0.2)),
            nn.ConvTranspose2d(64, 16, 4, stride=2, padding=1, rng=rng, bias=bias),
            nn.BatchNorm2d(16),
        )
        y = layers(Tensor(x))
        loss = (y * y[:, :, ::-1] * Tensor(np.tile(noise, (1, 1, 2, 2)))).sum()
        slopes = grad(loss, layers.parameters())
        return {name: g.data for name, g in slopes.items()}

    with tiling.force(1, 1):
        with launches() as names:
            ours = step(bias=False)
        assert "moments" not in names
        assert names.count("moments_total") == 2
        with launches() as names:
            step(bias=True)  # between the two the bias is added
        assert names.count("moments") == 2
    with kernels.use("reference"):
        plain = step(bias=False)
    for name, slope in plain.items():
        error = math.sqrt(np.mean((slope - ours[name]) ** 2) / np.mean(slope**2))
        assert error < 1e-4, name


@needs_gxx
def test_small_results_activated_ones_and_matrix_products_leave_nothing() -> None:
    def partial_of(x_shape: tuple[int, ...], split_k: int, bias: bool = False) -> Any:
        x, w = np.ones(x_shape, np.float32), np.ones((64, 16, 1, 1), np.float32)
        with tiling.force(1, split_k):
            b = Tensor(np.ones(64, np.float32)) if bias else None
            y = conv2d(Tensor(x), Tensor(w), b).data
        freeze_result(y, [], kernels.conv2d)
        return attached(y, MOMENTS)

    with kernels.use("cuda"):
        assert partial_of((1, 16, 16, 16), 1) is not None
        assert partial_of((1, 16, 16, 16), 2) is not None
        for split_k in (1, 2):
            assert partial_of((1, 16, 16, 15), split_k) is None
            assert partial_of((1, 16, 16, 16), split_k, bias=True) is None
        a = np.ones((256, 64), np.float32)
        assert not memo.entries(kernels.matmul(a, a.T.copy()))
        y = conv_transpose2d(Tensor(np.ones((1, 16, 16, 16))), Tensor(np.ones((16, 64, 1, 1))))
        assert y.dtype == np.float64
        assert attached(y.data, MOMENTS) is None

"""The convolutions for CUDA GPUs, emulated, against the plain ones in float64."""

from __future__ import annotations

import math
from typing import Any

import minigan_kernels as kernels
import numpy as np
import pytest
from calls import BAD, SETTINGS, a_call, check_twins
from cuda_tools import DEVICE, ROUNDED, SCHEDULES, needs_gxx, on_device
from hypothesis import given, settings
from minigan_kernels.cuda import ladder, tiling
from minigan_kernels.cuda.emu import emulation
from minigan_kernels.cuda.launch import Kernel

from minigan.device import HOST

pytestmark = needs_gxx

OURS = (
    "conv2d", "conv2d_dx", "conv2d_dw", "conv2d_activated", "conv2d_dx_activated", "im2col",
    "col2im", "matmul",
)  # fmt: skip
Case = tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]  # x, w, options
CASES: dict[str, Case] = {  # no size is a multiple of a tile
    "DCGAN's": ((2, 16, 10, 10), (72, 16, 4, 4), {"stride": 2, "padding": 1}),
    "odd": ((3, 5, 9, 7), (66, 5, 3, 2), {"padding": (1, 0)}),
    "uneven": ((1, 8, 11, 10), (24, 8, 3, 5), {"stride": (3, 2), "dilation": (1, 2)}),
    "in groups": ((2, 16, 6, 6), (16, 8, 3, 3), {"groups": 2, "padding": 1}),
    "wider than the kernel": ((2, 8, 9, 9), (8, 8, 2, 2), {"stride": 3}),
}
TILES = [(name, i) for name, tiles in tiling.TILES.items() for i in range(len(tiles))]


def calls(case: Case, precision: str) -> list[tuple[str, list[np.ndarray], dict[str, Any]]]:
    """The convolution and its gradients, on values that the precision can hold."""
    x_shape, w_shape, options = case
    rng = np.random.default_rng(0)
    x, w = (
        ROUNDED[precision](rng.standard_normal(s).astype(np.float32)) for s in (x_shape, w_shape)
    )
    g = ROUNDED[precision](rng.standard_normal(exact("conv2d", [x, w], options).shape))
    g = g.astype(np.float32)
    return [
        ("conv2d", [x, w], options),
        ("conv2d_dx", [g, w], {**options, "shape": x_shape}),
        ("conv2d_dw", [x, g], {**options, "shape": w_shape}),
    ]


def exact(name: str, arrays: list[np.ndarray], options: dict[str, Any]) -> np.ndarray:
    with kernels.use("reference"):
        return getattr(kernels, name)(*(a.astype(np.float64) for a in arrays), **options)


def on_gpu(name: str, arrays: list[np.ndarray], options: dict[str, Any]) -> np.ndarray:
    with kernels.use("cuda"):
        return on_device(getattr(kernels, name), *arrays, **options)


def check(ours: np.ndarray, truth: np.ndarray) -> None:
    assert ours.shape == truth.shape
    assert ours.dtype == np.float32
    error = math.sqrt(np.mean((ours - truth) ** 2))
    assert error <= 16 * np.finfo(np.float32).eps * max(1.0, math.sqrt(np.mean(truth**2)))


@pytest.mark.parametrize("name", OURS)
def test_any_call_is_right(name: str) -> None:
    @settings(SETTINGS, max_examples=40)
    @given(a_call(name))
    def each(call: Any) -> None:
        check_twins(name, call, "cuda")

    each()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("precision", "tile"), TILES)
def test_every_tile_is_right(precision: str, tile: int, case: str) -> None:
    with tiling.precision(precision):
        for name, arrays, options in calls(CASES[case], precision):
            truth = exact(name, arrays, options)
            for split_k in (1, 4) if case == "DCGAN's" else (1,):
                with tiling.force(tile, split_k), emulation() as seen:
                    check(on_gpu(name, arrays, options), truth)
                if DEVICE is HOST:
                    assert seen.bank_conflicts == (0 if precision == "float32" else 1)


@pytest.mark.parametrize("split_k", tiling.SPLIT_K)
@pytest.mark.parametrize("precision", tiling.PRECISIONS)
def test_a_sum_is_cut_in_any_number_of_parts(precision: str, split_k: int) -> None:
    """Also in more parts than it has tiles."""
    case = ((1, 32, 5, 6), (16, 32, 3, 3), {})
    with tiling.precision(precision), tiling.force(-1, split_k):
        for name, arrays, options in calls(case, precision):
            check(on_gpu(name, arrays, options), exact(name, arrays, options))


@pytest.mark.parametrize(("precision", "tile"), TILES)
def test_the_order_of_warps_does_not_show(precision: str, tile: int) -> None:
    with tiling.precision(precision), tiling.force(tile, 2):
        for call in calls(CASES["DCGAN's"], precision):
            results = []
            for schedule in SCHEDULES:
                with emulation(schedule):
                    results.append(on_gpu(*call).tobytes())
            assert len(set(results)) == 1


@pytest.mark.parametrize("precision", tiling.PRECISIONS)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_of_few_channels(channels: int, precision: str) -> None:
    """They are the input of one player and the output of the other."""
    case = ((2, channels, 12, 11), (24, channels, 4, 4), {"stride": 2, "padding": 1})
    with tiling.precision(precision):
        for name, arrays, options in calls(case, precision):
            check(on_gpu(name, arrays, options), exact(name, arrays, options))
        last = ((3, 24, 4, 4), (channels, 24, 4, 4), {})
        for name, arrays, options in calls(last, precision):
            check(on_gpu(name, arrays, options), exact(name, arrays, options))


def off_beat(array: np.ndarray) -> np.ndarray:
    """The same values behind an odd one: 4 bytes off what cp.async and vectors of floats need."""
    memory = np.zeros(array.size + 1, array.dtype)[1:].reshape(array.shape)
    memory[...] = array
    return memory


@pytest.mark.parametrize("filters", [8, 3])
def test_arrays_off_the_beat_of_16_bytes(filters: int) -> None:
    """As rows are that begin in the midst of another array; these need no new layout."""
    x, w, options = (5, 8, 1, 1), (filters, 8, 1, 1), {}
    for name, arrays, more in calls((x, w, options), "float32"):
        arrays = [off_beat(a) for a in arrays]
        assert all(a.ctypes.data % 16 and a.flags.c_contiguous for a in arrays)
        check(on_gpu(name, arrays, more), exact(name, arrays, more))


@pytest.mark.parametrize("precision", tiling.PRECISIONS)
def test_matrix_products_of_any_kind(precision: str) -> None:
    rng = np.random.default_rng(0)
    shapes = [((70, 40), (40, 24)), ((5,), (5, 9)), ((3, 5), (5,)), ((2, 1, 7, 16), (3, 16, 8))]
    with tiling.precision(precision):
        for left, right in shapes:
            a, b = (
                ROUNDED[precision](rng.standard_normal(s).astype(np.float32)) for s in (left, right)
            )
            with kernels.use("cuda"):
                check(kernels.matmul(a, b), a.astype(float) @ b.astype(float))
            with kernels.use("cuda"):  # the transposed operand is not copied
                check(kernels.matmul(a, b.T.copy().T), a.astype(float) @ b.astype(float))


def test_more_products_than_one_launch_takes() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((300, 2, 3)), rng.standard_normal((300, 3, 2))
    with kernels.use("cuda"):
        np.testing.assert_allclose(kernels.matmul(a, b), a @ b, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="65535"):
        Kernel("reduce", "reduce", threads=32)((1, 70000), a)


@pytest.mark.parametrize(("name", "arrays", "options"), [b for b in BAD if b[0] in OURS])
def test_what_does_not_fit_is_a_value_error(
    name: str, arrays: tuple[np.ndarray, ...], options: dict[str, Any]
) -> None:
    with kernels.use("cuda"), pytest.raises(ValueError, match=r"\d"):
        getattr(kernels, name)(*arrays, **options)


def test_an_unknown_precision_is_named() -> None:
    with pytest.raises(ValueError, match="'fp8'"), tiling.precision("fp8"):
        pass


def test_the_planner_fills_the_gpu_and_cuts_only_long_sums() -> None:
    def tile_of(rows: int, columns: int, depth: int) -> tuple[int, int, int]:
        work = tiling.GemmShape(rows, columns, depth)
        chosen = tiling.choose(np.float32, work, multiprocessors=132)
        assert chosen.tile
        return chosen.tile.m, chosen.tile.n, chosen.split_k

    with tiling.precision("bfloat16"):
        assert tile_of(32768, 128, 1024) == (128, 128, 1)
        assert tile_of(2048, 512, 4096) == (64, 64, 1)
        assert tile_of(32768, 64, 1024) == (128, 64, 1)
        assert tile_of(1024, 128, 32768) == (64, 64, 8)
        assert tile_of(64, 64, 64) == (64, 64, 1)
    few = tiling.choose(np.float32, tiling.GemmShape(10, 3, 64), small_n=True, multiprocessors=132)
    assert few.tile is None
    assert few.multiple == 4


@pytest.mark.parametrize("step", ladder.STEPS)
def test_every_step_of_the_ladder_is_right(step: str) -> None:
    rng = np.random.default_rng(0)
    for x_shape, w_shape, options in (
        ((2, 16, 10, 10), (72, 16, 4, 4), {"stride": 2, "padding": 1}),
        ((1, 18, 13, 12), (130, 18, 3, 2), {"stride": 1, "padding": 1}),
    ):
        x, w = (
            ROUNDED["bfloat16"](rng.standard_normal(s).astype(np.float32))
            for s in (x_shape, w_shape)
        )
        results = []
        for schedule in SCHEDULES:
            with emulation(schedule):
                results.append(ladder.STEPS[step](x, w, **options))
            check(results[-1], exact("conv2d", [x, w], options))
        assert len({r.tobytes() for r in results}) == 1

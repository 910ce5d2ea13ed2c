"""The emulation catches what goes wrong on GPUs: bugs planted into a convolution show."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import minigan_kernels as kernels
import numpy as np
import pytest
from cuda_tools import ROUNDED, SCHEDULES, needs_gxx
from minigan_kernels.checks import Window
from minigan_kernels.cuda import tiling
from minigan_kernels.cuda.cache import SOURCES
from minigan_kernels.cuda.emu import emulation
from minigan_kernels.cuda.errors import KernelError
from minigan_kernels.cuda.implicit_gemm import problem_of
from minigan_kernels.cuda.launch import Kernel, empty
from minigan_kernels.cuda.pack import channels_last

pytestmark = needs_gxx

WITH_EPILOGUE = ("conv_5_pipelined", "conv_6_tensor")  # kernels with an epilogue
SLOPE = np.float32(0.25)
TAIL = 1 << 14  # values behind the result that nobody may write


def setting(
    file: str, precision: str, channels: int, activated: bool
) -> tuple[Kernel, list[Any], np.ndarray, Any, Any]:
    """A kernel, what it reads, the exact result, the grid and the struct Conv."""
    gradient = file == "conv_7_split_k"
    tile = tiling.TILES[precision][-1]
    kind = np.uint16 if precision == "bfloat16" else np.float32
    defines = {"ACTIVATION": "epilogue_leaky_relu"} if activated else {}
    kernel = tiling.Plan(kind, 8, tile).kernel(
        file, "convolve_dw" if gradient else "convolve", **defines
    )
    if file == "conv_2_shared":
        kernel = Kernel(file, "convolve", threads=256, shared=4 * 16 * (16 + 17))
        tile = tile._replace(m=16, n=16)
    rng = np.random.default_rng(0)
    images = 12 if gradient else 2  # more tiles of the sum than stages
    x_shape, w_shape, y_shape = (images, channels, 10, 10), (72, channels, 4, 4), (images, 72, 5, 5)
    left, right = (
        ROUNDED[precision](rng.standard_normal(shape).astype(np.float32))
        for shape in (x_shape, y_shape if gradient else w_shape)
    )
    step = {"stride": 2, "padding": 1}
    with kernels.use("reference"):
        if gradient:
            exact = kernels.conv2d_dw(
                left.astype(float), right.astype(float), shape=w_shape, **step
            )
            exact = exact.transpose(2, 3, 1, 0)
        else:
            exact = kernels.conv2d(left.astype(float), right.astype(float), **step)
            exact = exact.transpose(0, 2, 3, 1)
    arrays: list[Any] = [channels_last(each, kind, 8) for each in (left, right)]
    if activated:
        bias = np.arange(72, dtype=np.float32)
        arrays.append(bias)
        exact = np.where(exact + bias > 0, exact + bias, SLOPE * (exact + bias))
    elif file in WITH_EPILOGUE:
        arrays.append(np.uint64(0))
    target = arrays[1].shape if gradient else exact.shape
    window = Window((4, 4), (2, 2), (1, 1))
    problem = problem_of(arrays[0].shape, target, window, 1, transposed=False)
    grid = -(-exact[..., 0].size // tile.m), -(-exact.shape[3] // tile.n)
    return kernel, arrays, exact, grid, problem


def faults(
    folder: Path,
    file: str,
    precision: str,
    *,
    channels: int = 24,
    tail: int = TAIL,
    sanitize: bool = False,
    activated: bool = False,
) -> set[str]:
    """What is seen of a convolution by the kernel in `folder`, whose tiles have ragged edges."""
    plain, arrays, exact, grid, problem = setting(file, precision, channels, activated)
    defines = {k: v for k, v in plain.defines.items() if k != "THREADS"}
    kernel = Kernel(
        file, plain.name, threads=plain.threads, shared=plain.shared, folder=folder, **defines
    )
    seen = set()
    for schedule in SCHEDULES:
        y = empty((exact.size + tail,), np.float32, like=exact)
        partial = empty((3 * exact.shape[-1] * grid[0] + tail,), np.float64, like=exact)
        stores = file in WITH_EPILOGUE and not activated  # its result's moments as well
        outputs = [y, partial, problem, SLOPE] if file in WITH_EPILOGUE else [y, problem]
        try:
            with emulation(schedule, sanitize=sanitize) as watched:
                kernel(grid, *arrays, *outputs)
        except KernelError as error:
            seen.add("broken rule: " + str(error).split(" (")[0].split(" at line")[0])
            continue
        if not np.allclose(y[: exact.size], exact.ravel(), rtol=0, atol=1e-4):
            seen.add("wrong result")
        if not np.isnan(y[exact.size :]).all():
            seen.add("written behind the end")
        if stores:
            *found, behind = found_moments(partial, exact.shape[-1], grid[0])
            if not np.allclose(found, moments(exact), rtol=1e-4):
                seen.add("wrong moments")
            if not np.isnan(behind).all():
                seen.add("moments written behind the end")
        if watched.bank_conflicts > 1:
            seen.add("bank conflicts")
    return seen


def found_moments(partial: np.ndarray, channels: int, chunks: int) -> tuple[np.ndarray, ...]:
    """Means and variances of what chunks have, and what lies behind that."""
    parts, behind = np.split(partial, [3 * channels * chunks])
    count, mean, squares = np.moveaxis(parts.reshape(channels, chunks, 3), 2, 0)
    with np.errstate(all="ignore"):  # what a planted bug left may be anything
        total = count.sum(1)
        middle = (count * mean).sum(1) / total
        squares = (squares + count * (mean - middle[:, None]) ** 2).sum(1)
        return middle, squares / total, behind


def moments(y: np.ndarray) -> np.ndarray:
    """Means and variances along the last axis."""
    flat = y.reshape(-1, y.shape[-1])
    return np.array([flat.mean(0), flat.var(0)])


PIPELINE = """        wait_copies<STAGES - 2>();  // this thread's copies of the tile are done,
        __syncthreads();            // everyone's are, and nobody still reads the stage before
        if (tile + STAGES - 1 < end) fetch(tile + STAGES - 1);
        commit_copies();"""
EARLY = """        if (tile + STAGES - 1 < end) fetch(tile + STAGES - 1);
        commit_copies();
        wait_copies<STAGES - 1>();
        __syncthreads();"""

MUTATIONS = {  # file that is run, its precision, file that is spoilt, what is replaced, by what
    "no barrier": ("conv_6_tensor", "bfloat16", "conv_5_pipelined.cu",
        "        __syncthreads();  ", "", "wrong result"),
    "one group too few is waited for": ("conv_6_tensor", "bfloat16", "conv_5_pipelined.cu",
        "wait_copies<STAGES - 2>", "wait_copies<STAGES - 1>", "wrong result"),
    "a stage is overwritten while it is read": ("conv_6_tensor", "bfloat16", "conv_5_pipelined.cu",
        PIPELINE, EARLY, "wrong result"),
    "no empty groups at the end": ("conv_6_tensor", "bfloat16", "conv_5_pipelined.cu",
        "fetch(tile + STAGES - 1);\n        commit_copies();",
        "{ fetch(tile + STAGES - 1); commit_copies(); }", "wrong result"),
    "no guard of the columns": ("conv_6_tensor", "bfloat16", "conv_5_pipelined.cu",
        "if (f < p.filters) to[f]", "to[f]", "written behind the end"),
    "no guard of the rows": ("conv_5_pipelined", "float32", "conv_5_pipelined.cu",
        "if (m >= pixels) continue;", "", "written behind the end"),
    "the padding is read": ("conv_6_tensor", "tf32", "conv_5_pipelined.cu",
        "inside(row, p.h.in) && ", "", "wrong result"),
    "no swizzle": ("conv_6_tensor", "bfloat16", "tile.cuh",
        "row / 2 % 4", "0", "bank conflicts"),
    "written by one swizzle, read by another": ("conv_6_tensor", "bfloat16", "tile.cuh",
        "    MEMBER const E* chunk(int row, int c) const {\n"
        "        return value + (row * CHUNKS + (c ^ swizzle(row)))",
        "    MEMBER const E* chunk(int row, int c) const {\n"
        "        return value + (row * CHUNKS + (c ^ row % 4))", "wrong result"),
    "moments overwrite a tile that is read": ("conv_5_pipelined", "float32", "epilogue.cuh",
        "    __syncthreads();  // nobody", "    // nobody", "wrong result"),
    "moments are merged before they are there": ("conv_5_pipelined", "float32", "epilogue.cuh",
        "= count;\n    __syncthreads();", "= count;", "wrong moments"),
    "moments of rows that are not there": ("conv_6_tensor", "tf32", "epilogue.cuh",
        "count += Acc::row(i) < rows;", "count++;", "wrong moments"),
    "moments of columns that are not there": ("conv_5_pipelined", "float32", "epilogue.cuh",
        "if (column < columns) partial", "partial", "moments written behind the end"),
    "the bias of another tile": ("conv_6_tensor", "bfloat16", "conv_5_pipelined.cu",
        "p.filters + first_column, p.filters - first", "p.filters, p.filters - first",
        "wrong result"),
    "the bias of the column beside": ("conv_5_pipelined", "float32", "epilogue.cuh",
        "first + Acc::column(j), slope", "first + j, slope", "wrong result"),
    "a gradient without a barrier": ("conv_7_split_k", "tf32", "conv_7_split_k.cu",
        "        __syncthreads();\n", "", "wrong result"),
    "a gradient that waits for too few": ("conv_7_split_k", "float32", "conv_7_split_k.cu",
        "wait_copies<STAGES - 2>", "wait_copies<STAGES - 1>", "wrong result"),
    "a gradient without a guard": ("conv_7_split_k", "bfloat16", "conv_7_split_k.cu",
        "if (column < p.filters) to", "to", "written behind the end"),
    "a gradient's tile MN-major without its swizzle": ("conv_7_split_k", "tf32", "tile.cuh",
        "return row % 4 * 2;", "return row % 8;", "bank conflicts"),
    "the second barrier of version 2": ("conv_2_shared", "float32", "conv_2_shared.cu",
        "__syncthreads();  // before the tile is overwritten", "", "wrong result"),
    "threads leave before a barrier": ("conv_2_shared", "float32", "conv_2_shared.cu",
        "    const Pixel to = pixel(at, m);\n",
        "    if (m >= pixels) return;\n    const Pixel to = pixel(at, m);\n",
        "broken rule: convolve: deadlock: threads wait"),
}  # fmt: skip


@pytest.mark.parametrize(
    "file", ["conv_2_shared", "conv_5_pipelined", "conv_6_tensor", "conv_7_split_k"]
)
def test_the_kernels_themselves_have_no_fault(file: str) -> None:
    precision = "bfloat16" if file in ("conv_6_tensor", "conv_7_split_k") else "float32"
    assert not faults(SOURCES, file, precision)


def test_a_bias_and_an_activation_have_no_fault() -> None:
    for file, precision in (("conv_5_pipelined", "float32"), ("conv_6_tensor", "bfloat16")):
        assert not faults(SOURCES, file, precision, activated=True)


CHANNELS = {"moments overwrite a tile that is read": 40}  # the last tile is where moments go


@pytest.mark.parametrize("bug", MUTATIONS)
def test_a_planted_bug_shows(bug: str, tmp_path: Path) -> None:
    file, precision, spoilt, right, wrong, shows = MUTATIONS[bug]
    folder = Path(shutil.copytree(SOURCES, tmp_path / "src"))
    text = (folder / spoilt).read_text()
    assert text.count(right) == 1
    (folder / spoilt).write_text(text.replace(right, wrong))
    channels, activated = CHANNELS.get(bug, 24), "bias" in bug
    assert shows in faults(folder, file, precision, channels=channels, activated=activated)

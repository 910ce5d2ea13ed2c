"""The emulation catches what goes wrong on cards: each bug is planted into a kernel, and shows."""

from __future__ import annotations

import shutil
from pathlib import Path

import minigan_kernels as kernels
import numpy as np
import pytest
from cuda_tools import ROUNDED, SCHEDULES, needs_gxx
from minigan_kernels.cuda import plan
from minigan_kernels.cuda.cache import SOURCES
from minigan_kernels.cuda.contract import problem_of
from minigan_kernels.cuda.emu import emulation
from minigan_kernels.cuda.errors import KernelError
from minigan_kernels.cuda.launch import Kernel, empty
from minigan_kernels.cuda.layout import channels_last
from minigan_kernels.shapes import Window

pytestmark = needs_gxx

TAIL = 1 << 14  # values behind the result that nobody may write


def faults(
    folder: Path, file: str, precision: str, *, tail: int = TAIL, sanitize: bool = False
) -> set[str]:
    """What is seen of a convolution by the kernel in `folder`, whose tiles have ragged edges."""
    rng = np.random.default_rng(0)
    x, w = (
        ROUNDED[precision](rng.standard_normal(s).astype(np.float32))
        for s in ((2, 24, 10, 10), (72, 24, 4, 4))
    )
    with kernels.use("reference"):
        exact = kernels.conv2d(x.astype(float), w.astype(float), stride=2, padding=1)
    exact = exact.transpose(0, 2, 3, 1)
    tile = plan.TILES[precision][1]
    kind = np.uint16 if precision == "bfloat16" else np.float32
    known = plan.Plan(kind, 8, tile).product(file, "convolve")
    defines = {k: v for k, v in known.defines.items() if k != "THREADS"}
    if file == "conv_2_shared":
        known = Kernel(file, "convolve", threads=256, shared=4 * 16 * (16 + 17))
        tile, defines = tile._replace(m=16, n=16), {}
    kernel = Kernel(
        file, "convolve", threads=known.threads, shared=known.shared, folder=folder, **defines
    )
    source, filters = channels_last(x, kind, 8), channels_last(w, kind, 8)
    window = Window((4, 4), (2, 2), (1, 1))
    problem = problem_of(source.shape, exact.shape, window, 1, transposed=False)
    grid = -(-exact[..., 0].size // tile.m), -(-exact.shape[3] // tile.n)
    seen = set()
    for schedule in SCHEDULES:
        y = empty((exact.size + tail,), np.float32, like=x)
        try:
            with emulation(schedule, sanitize=sanitize) as watched:
                kernel(grid, source, filters, y, problem)
        except KernelError as error:
            seen.add("broken rule: " + str(error).split(" (")[0].split(" at line")[0])
            continue
        if not np.allclose(y[: exact.size], exact.ravel(), rtol=0, atol=1e-4):
            seen.add("wrong result")
        if not np.isnan(y[exact.size :]).all():
            seen.add("written behind the end")
        if watched.bank_conflicts > 1:
            seen.add("bank conflicts")
    return seen


PIPELINE = """        wait_copies<STAGES - 2>();  // this thread's part of the tile is there,
        __syncthreads();            // everyone's, and nobody reads the stage before any more
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
    "the second barrier of step 2": ("conv_2_shared", "float32", "conv_2_shared.cu",
        "__syncthreads();  // before the tile is overwritten", "", "wrong result"),
    "threads leave before a barrier": ("conv_2_shared", "float32", "conv_2_shared.cu",
        "    const Pixel to = pixel(at, m);\n",
        "    if (m >= pixels) return;\n    const Pixel to = pixel(at, m);\n",
        "broken rule: convolve: deadlock: threads wait"),
}  # fmt: skip


@pytest.mark.parametrize("file", ["conv_2_shared", "conv_5_pipelined", "conv_6_tensor"])
def test_the_kernels_themselves_have_no_fault(file: str) -> None:
    precision = "bfloat16" if file == "conv_6_tensor" else "float32"
    assert not faults(SOURCES, file, precision)


@pytest.mark.parametrize("bug", MUTATIONS)
def test_a_planted_bug_shows(bug: str, tmp_path: Path) -> None:
    file, precision, spoilt, right, wrong, shows = MUTATIONS[bug]
    folder = Path(shutil.copytree(SOURCES, tmp_path / "src"))
    text = (folder / spoilt).read_text()
    assert text.count(right) == 1
    (folder / spoilt).write_text(text.replace(right, wrong))
    assert shows in faults(folder, file, precision)

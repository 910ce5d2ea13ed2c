"""Bugs planted in the kernels of the other twins: the tests of the emulation notice each one."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import minigan_kernels as kernels
import numpy as np
import pytest
from cuda_tools import SCHEDULES, needs_gxx
from minigan_kernels.cuda import elementwise, launch, optim, pool, random, tiling
from minigan_kernels.cuda.cache import SOURCES
from minigan_kernels.cuda.emu import emulation
from minigan_kernels.cuda.errors import KernelError
from minigan_kernels.cuda.launch import Kernel
from minigan_kernels.epilogue import Epilogue

pytestmark = needs_gxx


MARGIN = 1 << 16  # values of the test's own on both sides: what is wrong must not harm others


def images(*shape: int) -> list[np.ndarray]:
    """Two images amid numbers that would show in any sum."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(2):
        memory = np.full(math.prod(shape) + 2 * MARGIN, 1e3, np.float32)
        found.append(memory[MARGIN:-MARGIN].reshape(shape))
        found[-1][...] = rng.standard_normal(shape) + 3
    return found


def moments() -> Any:
    """Planes of whole vectors: several chunks, the last one short."""
    return kernels.moments(images(2, 3, 84, 61)[0])


def rows() -> Any:
    """Vectors across channels: fewer rows than a block has, a last tile that is partial."""
    return kernels.moments(images(37, 12)[0])


def bias_backward() -> Any:
    """More chunks than half a warp."""
    return kernels.bias_leaky_relu_backward(*images(2, 2, 131, 127), slope=0.2)


def batch_norm_backward() -> Any:
    g, x = images(37, 12)
    vector = np.ones(12, np.float32)
    return kernels.batch_norm_backward(g, x, *[vector] * 4, eps=1e-5, slope=0.2)


def adam() -> Any:
    """Parameters that lie between other numbers, and these."""
    memory = np.random.default_rng(0).uniform(1, 2, (4, 3000)).astype(np.float32)
    lists = [[row[:5], row[16:2067], row[2080:2083]] for row in memory]
    options = {"beta1": 0.5, "beta2": 0.9, "eps": 1e-3, "weight_decay": 0.0, "step": 2}
    options |= {"decoupled": False}
    kernels.adam(*lists, lr=0.1, **options)
    return memory


def scatter() -> Any:
    index = np.random.default_rng(0).integers(0, 4, (1, 3, 9, 9))
    return kernels.scatter_plane(np.ones(index.shape, np.float32), index=index, shape=(1, 3, 2, 2))


def numbers() -> Any:
    memory = np.full(40, 7, np.float32)
    kernels.uniform(memory[:33], key=1, offset=2)
    return memory


def slices() -> Any:
    """Split-K slices whose sum has an activation: vectors across channels."""
    x, w = images(2, 8, 5, 5)[0], images(12, 8, 3, 3)[0]
    with tiling.force(-1, 3):
        bias = np.arange(12, dtype=np.float32) / 8
        return kernels.conv2d_activated(x / 64, w / 8, bias, epilogue=Epilogue("tanh"))


BARRIER = "        __syncthreads();\n"
HEADERS = ("running.cuh", "elementwise.cuh")  # the first has the second in it
MUTANTS = [
    ("elementwise.cuh", BARRIER, "", moments),
    ("elementwise.cuh", BARRIER, "", rows),
    ("elementwise.cuh", BARRIER, "", bias_backward),
    ("elementwise.cuh", BARRIER, "", batch_norm_backward),
    (
        "elementwise.cuh",
        "min(s.positions - start, (long long)s.chunk_positions)",
        "s.chunk_positions",
        moments,
    ),
    ("elementwise.cuh", "half >= s.block_columns", "half > s.block_columns", rows),
    ("elementwise.cuh", "int k = 1; k < V", "int k = 2; k < V", moments),
    ("elementwise.cuh", "place >= s.inner", "place > s.inner", moments),
    ("channel_sums.cu", "int bit = 16", "int bit = 8", bias_backward),
    ("norm.cu", "i < chunks; i += 32", "i <= chunks; i += 32", moments),
    ("norm.cu", "            if (at.inside()) {", "            {", rows),
    ("running.cuh", "about + apart * apart * count * weight", "about", moments),
    ("reduce_channels.cu", "my_channel(s, k), slope", "k, slope", slices),
    ("reduce_channels.cu", "slice < count", "slice + 1 < count", slices),
    ("optim.cu", "    __syncthreads();\n", "", adam),
    ("optim.cu", "k < e.size; k++", "k <= e.size; k++", adam),
    ("optim.cu", "<= blockIdx.x", "< blockIdx.x", adam),
    ("pool.cu", "leader = leader && other >= lane;", "", scatter),
    ("random.cu", "if (4 * i + k < size) ", "", numbers),
]


def noticed(work: Callable[[], Any]) -> bool:
    """Whether any order of warps gives other numbers than NumPy, or breaks a rule of CUDA."""
    with kernels.use("reference"):
        expected = work()
    for schedule in SCHEDULES:
        try:
            with emulation(schedule), kernels.use("cuda"), np.errstate(all="ignore"):
                found = work()
        except KernelError as error:
            if "does not compile" in str(error):
                raise
            return True
        if not all(map(functools.partial(np.allclose, rtol=1e-4, atol=1e-4), found, expected)):
            return True
    return False


@pytest.mark.parametrize("work", {work: None for *_, work in MUTANTS})
def test_the_kernels_as_they_are_are_right(work: Callable[[], Any]) -> None:
    assert not noticed(work)


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the kernels, each file with HEADERS in it, that launchers take theirs from."""
    for source in SOURCES.glob("*.cu"):
        text = source.read_text()
        for name in HEADERS:
            text = text.replace(f'#include "{name}"\n', (SOURCES / name).read_text())
        (tmp_path / source.name).write_text(text.replace("#pragma once\n", ""))
    init, made = (
        Kernel.__init__,
        (elementwise.kernel, optim.kernel, pool.kernel, random.kernel, launch.kernel),
    )
    monkeypatch.setattr(Kernel, "__init__", functools.partialmethod(init, folder=tmp_path))
    for cached in made:
        cached.cache_clear()
    yield tmp_path
    for cached in made:
        cached.cache_clear()


@pytest.mark.slow  # compiles each mutant
@pytest.mark.parametrize(("file", "good", "bad", "work"), MUTANTS)
def test_a_planted_bug_is_noticed(
    file: str, good: str, bad: str, work: Callable[[], Any], sources: Path
) -> None:
    for source in sources.iterdir() if file in HEADERS else [sources / file]:
        text = source.read_text()
        source.write_text(text.replace(good, bad))
    assert good in (SOURCES / file).read_text()
    assert noticed(work)

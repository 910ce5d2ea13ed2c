"""The machine that was measured: what it is called, and what it can do at best.

The roofline (Williams, Waterman & Patterson 2009, "Roofline: an insightful visual performance
model") has two lines, and both are measured here: the float32 matrix product, and main memory.
"""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np
from llvmlite import binding
from minigan_kernels.cpu.isa.amx import AMX, EMULATED
from minigan_kernels.cpu.runtime.parallel import parallel_for
from threadpoolctl import threadpool_limits

from minigan.training.run import provenance

from .threads import using
from .timing import BUSY, Clock, share

SIDE = 2048  # of the matrices
VALUES = 1 << 24  # in each vector: 64 MB, more than caches hold
TURNS = 20  # of each probe, of which the best counts


@dataclass(frozen=True)
class Machine:
    """What ran a measurement."""

    cpu: str
    cores: int  # that were there for it
    vectors: str  # the widest kind that the kernels can use, and whether a matrix unit
    versions: dict[str, str]
    revision: str | None


@dataclass(frozen=True)
class Roofline:
    """The most that this machine does on `threads` threads."""

    threads: int
    gflops: float  # 1e9 float32 operations a second, in a matrix product
    product_by: str  # whose product that was
    gbytes: float  # 1e9 bytes a second between memory and cores, counted as STREAM does
    disturbed: bool  # others used the cores meanwhile

    def least(self, flops: float, size: float) -> float:
        """Seconds that `flops` operations on `size` bytes take at least."""
        return max(flops / self.gflops, size / self.gbytes) * 1e-9


def machine(cores: int) -> Machine:
    """This machine, and the versions of what computes on it."""
    made = provenance()
    versions = dict(made["versions"])
    for name in ("torch", "jax"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return Machine(_processor(), cores, _vectors(), versions, made["revision"])


def roofline(
    threads: int, turns: int = TURNS, side: int = SIDE, clock: Clock | None = None
) -> Roofline:
    """Measure both lines on `threads` threads; about five seconds."""
    clock = clock or Clock()
    began, before = clock.now(), clock.others()
    with using(threads), threadpool_limits(threads, user_api="blas"):
        gflops, by = max((2e-9 * side**3 / t, name) for name, t in _products(side, turns).items())
        gbytes = _traffic(_vectors_to_add(), turns)
    used = share(before, clock.others(), clock.now() - began)
    return Roofline(threads, gflops, by, gbytes, used is not None and used > BUSY)


def _products(side: int, turns: int) -> dict[str, float]:
    """Seconds of the fastest product of two square matrices, by library."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, side, side), np.float32)
    out = np.empty_like(a)
    found = {"NumPy": _best(lambda: np.matmul(a, b, out=out), turns)}
    try:
        import torch
    except ImportError:
        return found
    ta, tb, tout = (torch.from_numpy(x) for x in (a, b, out))
    return found | {"PyTorch": _best(lambda: torch.mm(ta, tb, out=tout), turns)}


def _vectors_to_add() -> np.ndarray:
    """Three vectors in memory of their own.

    Of zeros nobody has written they would all be one page, which the caches hold.
    """
    return np.ones((3, VALUES), np.float32)


def _traffic(vectors: np.ndarray, turns: int) -> float:
    """1e9 bytes a second of the faster of copying and STREAM's triad, by the kernels' threads."""
    a, b, c = vectors
    grain = VALUES // 64

    def copy(i: int, j: int) -> None:
        a[i:j] = b[i:j]

    copied = _best(lambda: parallel_for(copy, VALUES, grain=grain), turns)
    added = _best(
        lambda: parallel_for(lambda i, j: _triad(a[i:j], b[i:j], c[i:j]), VALUES, grain=grain),
        turns,
    )
    return 1e-9 * 4 * VALUES * max(2 / copied, 3 / added)


# Not the kernels' own `jit`: its cache knows the sources of minigan_kernels only.
@numba.njit(nogil=True)
def _triad(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
    for i in range(a.size):
        a[i] = b[i] + np.float32(3.0) * c[i]


def _best(work: Callable[[], object], turns: int) -> float:
    """Seconds of the fastest of some calls."""
    work()
    times = []
    for _ in range(turns):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    except OSError:  # not Linux
        names = []
    if platform.system() == "Darwin":
        names = [_answer("sysctl", "-n", "machdep.cpu.brand_string")]
    return names[0] if names else platform.processor() or platform.machine()


def _answer(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def _vectors() -> str:
    found = binding.get_host_cpu_features()
    kinds = (("avx512f", "AVX-512"), ("avx2", "AVX2"), ("neon", "NEON"))
    name = next((name for flag, name in kinds if found.get(flag)), "128-bit vectors")
    if AMX:
        return f"{name}, AMX emulated" if EMULATED else f"{name} with AMX"
    return f"{name}, AMX idle" if found.get("amx-bf16") else name

"""`minigan doctor`: what this machine has, which kernels run on it, and whether they are right."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from typing import Any

import minigan_kernels as kernels
import numpy as np
from minigan_kernels.cuda.errors import UnavailableError

from ..device import Device, cuda, probe, to_host
from ..errors import RunError
from ..training.run import provenance
from .caches import caches, size_text
from .console import show, show_page, show_table
from .flags import Precision, parse
from .layer_kernels import kernels_of_layers


@dataclass(frozen=True)
class Doctor:
    """What to look at."""

    precision: Precision = "float32"  # of products on a GPU, in the table of layers


_TILES = """\
winograd computes a tile of outputs together. Where a value in a tile is not finite, or the largest
is over 1000 times as large as all that some output sees, the image goes direct (in dw the whole
batch): so each value depends on what it sees alone."""


def main(words: list[str]) -> int:
    given = parse(
        Doctor,
        words,
        verb="doctor",
        description="Say what this machine offers and whether the kernels work on it.",
    )
    found = probe.probe_cuda()
    for name, value in (_facts() | _gpu(found)).items():
        show(f"{name:12} {value}")
    _show_caches()
    here = cuda.device("cpu" if probe.diagnose(found) else "cuda", given.precision)
    where = f"on {here.name}, in {here.precision}"
    show_page(f"\nwhat convolves in a DCGAN of 64x64 pixels at a batch of 64, {where}:\n")
    show_table(("layer", "shapes", "forward", "dx", "dw"), kernels_of_layers(here))
    if here.name == "cpu":
        show_page(f"\n{_TILES}")
    show("")
    try:
        worst = _compare(here)
    except UnavailableError as why:
        raise RunError(str(why)) from why
    for name, (error, seconds) in worst.items():
        show(f"{name:12} differs from its plain twin by {error:.1e} (first call {seconds:.1f} s)")
    good = all(error < 1e-4 for error, _ in worst.values())
    show_page("\nthe kernels agree" if good else "\nthe kernels DISAGREE; please report this")
    return 0 if good else 1


def _show_caches() -> None:
    show_page("\ncaches, which minigan data clean empties:\n")
    rows = []
    for cache in caches():
        count, size = cache.size()
        rows.append((cache.name, cache.what, size_text(size), f"{count:,}", str(cache.folder)))
    show_table(("cache", "of", "size", "files", "where"), rows)


def _facts() -> dict[str, str]:
    import threadpoolctl

    made = provenance()
    blas = [
        f"{p['internal_api']} {p['version']} with {p['num_threads']} threads"
        for p in threadpoolctl.threadpool_info()
        if p["user_api"] == "blas"
    ]
    return {
        "system": platform.platform(),
        "processor": _processor(),
        **made["versions"],
        **_threads(),
        "blas": ", ".join(blas) or "unknown",
    }


def _threads() -> dict[str, str]:
    if not kernels.compiles():
        return {"kernels": "the plain ones of NumPy, since NUMBA_DISABLE_JIT is set"}
    from minigan_kernels.cpu.runtime.cores import available_cores
    from minigan_kernels.cpu.runtime.parallel import thread_count

    cores = f"{available_cores()} by affinity and CPU quota, of {os.cpu_count()}"
    return {"cores": cores, "threads": f"{thread_count()} for kernels"}


def _gpu(found: probe.CudaFacts) -> dict[str, str]:
    why = probe.diagnose(found)
    known = {
        "cupy": found.cupy and f"{found.cupy}, made for CUDA {probe.version(found.toolkit)}",
        "driver": found.driver and f"knows CUDA {probe.version(found.driver)}",
        "gpu": found.gpu
        and f"{found.gpu}, compute capability {'.'.join(map(str, found.capability))}, "
        f"{found.free / probe.GIB:.1f} of {found.total / probe.GIB:.1f} GiB free",
        "nvrtc": found.compiler,
        "cuda": f"not usable: {why}" if why else "usable: --device cuda",
    }
    return {name: str(value) for name, value in known.items() if value}


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []  # not Linux
    return names[0] if names else platform.processor() or platform.machine()


def _compare(here: Device) -> dict[str, tuple[float, float]]:
    """Differences of some kernels from the reference twins, and the seconds of their first calls.

    A difference is the largest one, relative to the largest value; NaN where one is NaN alone.
    """
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 3, 9, 9), np.float32)
    w = rng.standard_normal((5, 3, 3, 3), np.float32)
    mean, var = np.zeros(3, np.float32), np.ones(3, np.float32)
    wide = rng.standard_normal((1, 16, 12, 12), np.float32)  # which goes by tiles
    wide[0, 0, 2, 2] = np.nan
    filters = rng.standard_normal((16, 16, 3, 3), np.float32)
    calls: dict[str, tuple[Any, tuple[np.ndarray, ...], dict[str, Any]]] = {
        "conv2d": (kernels.conv2d, (x, w), {"stride": 2, "padding": 1}),
        "NaN pixel": (kernels.conv2d, (wide, filters), {"padding": 1}),
        "batch norm": (kernels.batch_norm, (x, var, mean, mean, var), {"eps": 1e-5}),
        "leaky relu": (kernels.leaky_relu, (x,), {"slope": 0.2}),
    }
    found = {}
    for name, (kernel, arrays, options) in calls.items():
        began = time.monotonic()
        fast = to_host(kernel(*map(here.put, arrays), **options))
        seconds = time.monotonic() - began
        with kernels.use("reference"):
            plain = kernel(*arrays, **options)
        spoilt = np.isnan(plain) & np.isnan(fast)
        error = np.where(spoilt, 0, np.abs(fast - plain)).max() / np.nanmax(np.abs(plain))
        found[name] = float(error), seconds
    return found

"""`minigan doctor`: what this machine offers, and whether the kernels agree."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable

import numpy as np

from ..run import provenance
from .table import refuse


def main(words: list[str]) -> int:
    refuse(words, "doctor", "Say what this machine offers and whether the kernels work on it.")
    for name, value in _facts().items():
        print(f"{name:12} {value}")
    print()
    worst = _compare()
    for name, (error, seconds) in worst.items():
        print(f"{name:12} differs from its plain twin by {error:.1e} (first call {seconds:.1f} s)")
    good = all(error < 1e-4 for error, _ in worst.values())
    print("\nthe kernels agree" if good else "\nthe kernels DISAGREE; please report this")
    return 0 if good else 1


def _facts() -> dict[str, str]:
    import numba
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
        "cores": str(
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        ),
        **made["versions"],
        "threads": f"{numba.get_num_threads()} for Numba",
        "blas": ", ".join(blas) or "unknown",
        "cuda": "no kernels for it in this version",
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []  # not Linux
    return names[0] if names else platform.processor() or platform.machine()


def _compare() -> dict[str, tuple[float, float]]:
    """Largest difference, relative to the largest value, of some kernels from their plain twins."""
    import minigan_kernels as kernels

    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 3, 9, 9), np.float32)
    w = rng.standard_normal((5, 3, 3, 3), np.float32)
    mean, var = np.zeros(3, np.float32), np.ones(3, np.float32)
    calls: dict[str, Callable[[], np.ndarray]] = {
        "conv2d": lambda: kernels.conv2d(x, w, stride=2, padding=1),
        "batch norm": lambda: kernels.batch_norm(x, var, mean, mean, var, eps=1e-5),
        "leaky relu": lambda: kernels.leaky_relu(x, slope=0.2),
    }
    found = {}
    for name, call in calls.items():
        began = time.monotonic()
        fast = call()
        seconds = time.monotonic() - began
        with kernels.use("reference"):
            plain = call()
        found[name] = float(np.abs(fast - plain).max() / np.abs(plain).max()), seconds
    return found

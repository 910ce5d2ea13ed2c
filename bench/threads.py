"""As many threads for everybody: one number that all libraries are held to.

Most of them read it once, when they are imported, so `limit` comes before any import of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def processors() -> list[int]:
    """The processors that this process may use, one of each core, lowest number first."""
    if not hasattr(os, "sched_getaffinity"):
        return list(range(os.cpu_count() or 1))
    first: dict[str, int] = {}
    for cpu in sorted(os.sched_getaffinity(0)):
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        core = siblings.read_text().strip() if siblings.exists() else str(cpu)
        first.setdefault(core, cpu)
    return list(first.values())


def limit(threads: int) -> None:
    """Hold this process, and every library that it imports from now on, to `threads` threads.

    Where the system can, the process is also confined to as many cores, and to one processor of
    each: JAX and others that read no variable count processors.
    """
    for name in VARIABLES:
        os.environ[name] = str(threads)
    mine = set(processors()[:threads])
    if hasattr(os, "sched_setaffinity") and mine != os.sched_getaffinity(0):
        os.sched_setaffinity(0, mine)


@contextmanager
def using(threads: int) -> Iterator[None]:
    """Within the block minigan and PyTorch use `threads` threads, at most as many as `limit` said.

    It takes microseconds. BLAS is not told: minigan calls it from its own threads.
    """
    import numba

    def hold(number: int) -> None:
        numba.set_num_threads(number)
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(number)

    before = numba.get_num_threads()
    hold(threads)
    try:
        yield
    finally:
        hold(before)

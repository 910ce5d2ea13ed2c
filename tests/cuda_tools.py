"""What tests of CUDA kernels need: the compilers, or the reason to skip; kernels of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from minigan_kernels.cuda import emu, nvrtc
from minigan_kernels.cuda.errors import UnavailableError
from minigan_kernels.cuda.launch import Kernel


def _missing(tool: Any) -> str | None:
    try:
        tool()
    except UnavailableError as error:
        return str(error)
    return None


needs_gxx = pytest.mark.skipif(why := _missing(emu.compiler), reason=str(why))
needs_nvrtc = pytest.mark.skipif(why := _missing(nvrtc.load), reason=str(why))
SCHEDULES = (0, 1, 2, 3)  # forwards, backwards, two random orders


def kernel_of(folder: Path, source: str, *, threads: int, shared: int = 0) -> Kernel:
    """The kernel called "kernel" in a source of its own."""
    (folder / "kernel.cu").write_text('#include "prim.cuh"\n' + source)
    return Kernel("kernel", "kernel", threads=threads, shared=shared, folder=folder)

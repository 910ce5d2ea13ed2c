"""What tests of CUDA kernels need: the compilers, or the reason to skip; kernels of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
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
HEAD = 'extern "C" __global__ void __launch_bounds__(THREADS)\n'
SCHEDULES = (0, 1, 2, 3)  # forwards, backwards, two random orders


def kernel_of(folder: Path, source: str, *, threads: int, shared: int = 0) -> Kernel:
    """The kernel called "kernel" in a source of its own."""
    (folder / "kernel.cu").write_text('#include "prim.cuh"\n' + source)
    return Kernel("kernel", "kernel", threads=threads, shared=shared, folder=folder)


def to_bf16(x: np.ndarray) -> np.ndarray:
    """The bits of the nearest bfloat16, ties to even."""
    bits = x.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def from_bf16(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def as_tf32(x: np.ndarray) -> np.ndarray:
    """The nearest tf32 (10 bits), ties away from zero."""
    return ((x.astype(np.float32).view(np.uint32) + 0x1000) & 0xFFFFE000).view(np.float32)


ROUNDED = {
    "float32": lambda x: x,
    "tf32": as_tf32,
    "bfloat16": lambda x: from_bf16(to_bf16(x)),
}

"""What tests of CUDA kernels need: the compilers, or the reason to skip; kernels of their own."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from minigan_kernels.cuda import emu, nvrtc
from minigan_kernels.cuda.errors import UnavailableError
from minigan_kernels.cuda.launch import Kernel


def _needs(tool: Callable[[], object]) -> pytest.MarkDecorator:
    """A mark that skips a test where a tool is missing, and says why."""
    try:
        tool()
    except UnavailableError as error:
        return pytest.mark.skip(reason=str(error))
    return pytest.mark.skipif(False, reason="")


needs_gxx, needs_nvrtc = _needs(emu.compiler), _needs(nvrtc.load)
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


def instructions(cubin: Path, name: str = "") -> set[str]:
    """The machine instructions that compiled code uses, or its kernel `name`, by NVIDIA's
    disassembler.

    Skips the test where the disassembler is not installed.
    """
    nvidia = importlib.util.find_spec("nvidia")
    places = (nvidia.submodule_search_locations if nvidia else None) or []
    found = [path for place in places for path in Path(place).glob("*/bin/nvdisasm")]
    if not found:
        pytest.skip("the disassembler nvdisasm is not installed: pip install 'minigan[nvrtc]'")
    found[0].chmod(0o755)
    text = subprocess.run([found[0], "-c", cubin], capture_output=True, text=True, check=True)
    code = text.stdout
    if name:
        code = code.split(f"\n.text.{name}:\n")[1].split("\n.text.")[0]
    words = (line.split("*/", 1)[1].split() for line in code.splitlines() if "*/" in line)
    return {word for line in words for word in line[:2] if word[0].isalpha() and word.isupper()}

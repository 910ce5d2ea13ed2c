"""What tests of CUDA kernels need: the compilers, or the reason to skip; kernels of their own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import minigan_kernels as kernels
import numpy as np
import pytest
from minigan_kernels.cuda import emu, nvrtc
from minigan_kernels.cuda.errors import UnavailableError
from minigan_kernels.cuda.launch import Kernel

from minigan.device import HOST, cuda, on_host


def _needs(tool: Callable[[], object]) -> pytest.MarkDecorator:
    """A mark that skips a test where a tool is missing, and says why."""
    try:
        tool()
    except UnavailableError as error:
        return pytest.mark.skip(reason=str(error))
    return pytest.mark.skipif(False, reason="")


# What twins are tested on: a GPU for `python -m bench gpu`, else nothing but emulation.
DEVICE = cuda.Cuda() if os.environ.get("MINIGAN_TEST_GPU") else HOST
needs_gxx, needs_nvrtc = _needs(emu.compiler), _needs(nvrtc.load)
HEAD = 'extern "C" __global__ void __launch_bounds__(THREADS)\n'
SCHEDULES = (0, 1, 2, 3)  # forwards, backwards, two random orders


def kernel_of(folder: Path, source: str, *, threads: int, shared: int = 0) -> Kernel:
    """The kernel called "kernel" in a source of its own."""
    (folder / "kernel.cu").write_text('#include "prim.cuh"\n' + source)
    return Kernel("kernel", "kernel", threads=threads, shared=shared, folder=folder)


def there(value: Any) -> Any:
    """`value` with all arrays on the device, in the same memory order."""
    if isinstance(value, np.ndarray) and DEVICE is not HOST:
        order = _order(value)
        return DEVICE.put(value.transpose(order).copy()).transpose(_back(order))
    return _each(there, value)


def here(value: Any) -> Any:
    """`value` with all arrays back from the device, in the same memory order."""
    if not on_host(value):
        order = _order(value)
        return np.ascontiguousarray(value.transpose(order).get()).transpose(_back(order))
    return _each(here, value)


def on_device(kernel: Callable[..., Any], /, *arrays: Any, **options: Any) -> Any:
    """What a kernel gives on the device; what it writes is written."""
    given, options = there(list(arrays)), there(options)
    result = here(kernel(*given, **options))
    for array, written in zip(_leaves(list(arrays)), _leaves(given), strict=True):
        if array is not written and array.flags.writeable:
            array[...] = here(written)
    return result


def _order(array: Any) -> list[int]:
    return sorted(range(array.ndim), key=lambda i: -abs(array.strides[i]))


def _back(order: list[int]) -> list[int]:
    return sorted(range(len(order)), key=order.__getitem__)


def _each(change: Callable[[Any], Any], value: Any) -> Any:
    if isinstance(value, dict):
        return {key: change(part) for key, part in value.items()}
    return type(value)(map(change, value)) if isinstance(value, (list, tuple)) else value


def _leaves(value: Any) -> list[Any]:
    return [a for part in value for a in _leaves(part)] if isinstance(value, list) else [value]


class Emulated(cuda.Cuda):
    """A GPU whose arrays are NumPy's and whose kernels are emulated; it measures nothing."""

    supports_graphs = False

    def put(self, array: np.ndarray) -> np.ndarray:
        return array

    def empty(self, shape: int | tuple[int, ...], dtype: Any) -> np.ndarray:
        return np.empty(shape, dtype)

    def tuner(self) -> Any:
        return None

    def prefetcher(self) -> None:
        return None

    @contextmanager
    def context(self) -> Iterator[None]:
        with kernels.use("cuda"), super().context():
            yield


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

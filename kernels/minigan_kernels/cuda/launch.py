"""Launching a kernel: on a GPU for CuPy arrays, emulated on the CPU for NumPy arrays.

    scale = Kernel("scale", "scale", threads=256, T="float")     # src/scale.cu
    y = empty(x.shape, x.dtype, like=x)
    scale(blocks_for(x.size, 256), x, y, np.float32(2), np.int64(x.size))

A kernel's arguments are arrays, of which it gets the address (so a launcher makes them `dense`
first), or single values whose NumPy type is the C++ one: np.int32 for int, np.int64 for long long,
np.float32 for float, and a structured scalar for a struct. `threads` is also the macro THREADS, and
every other keyword is a macro: each choice of them is compiled apart. Nothing is compiled before
the first launch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from . import emu, nvrtc
from .cache import SOURCES
from .errors import UnavailableError

MAX_BLOCKS = 65535  # along y, and along z
_DYNAMIC_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
_STATIC_LIMIT_BYTES = 48 << 10  # of shared memory; for more a kernel must ask


class Kernel:
    """Kernel `name` of src/`file`.cu: `threads` a block, `shared` bytes of dynamic shared memory.

    `folder` is for tests, which keep their kernels elsewhere.
    """

    def __init__(
        self,
        file: str,
        name: str,
        *,
        threads: int,
        shared: int = 0,
        folder: Path = SOURCES,
        **defines: object,
    ) -> None:
        self.file, self.name = folder / f"{file}.cu", name
        self.threads, self.shared = threads, shared
        self.defines = {"THREADS": threads, **defines}

    def __call__(self, grid: tuple[int, ...], *arguments: Any, like: Any = None) -> None:
        """Launch `grid` (x[, y[, z]]) blocks, on the current stream of the current GPU.

        If no argument is an array, because their addresses are in a struct, `like` must be one.

        Raises:
            UnavailableError: if what compiles or runs the kernel is not installed.
            KernelError: if an emulated kernel broke a rule of CUDA.
            TypeError: if a value's type in C++ cannot be told.
            ValueError: if there are more blocks along y or z than a GPU takes.
        """
        x, y, z = (*grid, 1, 1)[:3]
        if max(y, z) > MAX_BLOCKS:
            raise ValueError(f"{self.name} was to run {y} x {z} rows of blocks, over {MAX_BLOCKS}")
        if not x * y * z:
            return
        if (planned := _planned.get()) is not None:
            planned.append(self)
            return
        if any(_on_gpu(a) for a in (*arguments, like)):
            values = tuple(a if _on_gpu(a) else _value(a) for a in arguments)
            function = _function(self, current_device())
            function((x, y, z), (self.threads,), values, self.shared)
        else:
            emu.launch(
                self.file,
                self.name,
                self.defines,
                (x, y, z, self.threads, 1, 1),
                self.shared,
                [a if isinstance(a, np.ndarray) and a.ndim else _value(a) for a in arguments],
            )

    def compiled(self, arch: str) -> nvrtc.Cubin:
        """The kernel's machine code for "sm_80" and the like."""
        return nvrtc.compile_cubin(self.file, self.defines, arch)


kernel = cache(Kernel)  # the same object for the same words

_planned: ContextVar[list[Kernel] | None] = ContextVar("planned", default=None)


@contextmanager
def planning() -> Iterator[list[Kernel]]:
    """Within the block nothing runs: what would is listed."""
    planned: list[Kernel] = []
    token = _planned.set(planned)
    try:
        yield planned
    finally:
        _planned.reset(token)


def is_planning() -> bool:
    """Whether launches are listed rather than run."""
    return _planned.get() is not None


@cache
def _function(kernel: Kernel, device: int) -> Any:
    """The kernel on the GPU of that number, which is the current one."""
    from cupy.cuda import driver

    function = _module(kernel.compiled(architecture(device)).path, device).get_function(kernel.name)
    if kernel.shared > _STATIC_LIMIT_BYTES:
        driver.funcSetAttribute(function.ptr, _DYNAMIC_SHARED, kernel.shared)
    return function


@cache
def _module(path: Path, device: int) -> Any:
    from cupy.cuda.function import Module

    module = Module()
    module.load(path.read_bytes())
    return module


def architecture(device: int) -> str:
    """The architecture of the GPU of that number: "sm_90" for an H200."""
    import cupy

    return f"sm_{cupy.cuda.Device(device).compute_capability}"


def current_device() -> int:
    """Number of the GPU on which kernels are launched.

    Raises:
        UnavailableError: if there is no GPU that CuPy can use.
    """
    import cupy

    if not cupy.is_available():
        raise UnavailableError("CuPy finds no CUDA GPU and driver here; use the CPU")
    return cupy.cuda.runtime.getDevice()


def multiprocessors(array: Any) -> int:
    """Number of multiprocessors of the array's GPU.

    For a NumPy array it is an H200's, so that emulation plans as on a large GPU.
    """
    if not _on_gpu(array):
        return 132
    import cupy

    return cupy.cuda.Device(current_device()).attributes["MultiProcessorCount"]


def empty(shape: tuple[int, ...], dtype: Any, *, like: Any) -> Any:
    """An array for results beside `like`, on its GPU.

    NumPy arrays are filled with NaN (all bits 1), which shows if an emulated kernel omits a value.
    """
    if not isinstance(like, np.ndarray):
        return np.empty_like(like, dtype, shape=shape, order="C")
    out = np.empty(shape, dtype)
    out.reshape(-1).view(np.uint8)[...] = 0xFF
    return out


def dense(array: Any) -> Any:
    """`array`, or a copy if it is not C-contiguous."""
    return array if array.flags.c_contiguous else array.copy(order="C")


def address(array: Any) -> int:
    """The address of the array's first value."""
    return array.ctypes.data if isinstance(array, np.ndarray) else array.data.ptr


def scalar(value: Any, kind: type[np.number]) -> tuple[str, Any]:
    """The C++ type of an argument, and the argument.

    It is a number or, in a captured graph, an array (1,) on the GPU.
    """
    c_type = {"uint64": "unsigned long long", "int64": "long long", "float64": "double"}[
        kind.__name__
    ]
    return (f"const {c_type}*", value) if getattr(value, "ndim", 0) else (c_type, kind(value))


def blocks_for(size: int, threads: int) -> tuple[int]:
    """A grid with a thread for each of `size` values."""
    return (math.ceil(size / threads),)


def _on_gpu(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "cupy"


def _value(value: Any) -> np.ndarray:
    """A single value as a 0-d array: its bytes are what the kernel gets."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and not value.ndim):
        return np.asarray(value)
    raise TypeError(f"say the C++ type of {value!r}: np.int32, np.int64, np.float32, ...")

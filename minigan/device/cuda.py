"""The GPU as a device: its memory, its streams, its graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from minigan_kernels.memo import capturing

from ..errors import RunError, UserError
from . import HOST, NO_MEMORY, Array, CaptureError, Device, Prefetcher, T
from .probe import diagnose, out_of_memory, probe_cuda, version

# Parts of error messages of CuPy or CUDA, and what the captured work did to cause them.
OBSTACLES = {
    "D2H": "reads a value back from the GPU",
    "H2D": "copies values to the GPU",
    "cuBLAS": "calls cuBLAS",
    "cuSOLVER": "calls cuSOLVER",
    "synchronous": "waits for the GPU",
    "StreamCapture": "waits for the GPU",
}


class Cuda(Device):
    """The current CUDA GPU, whose kernels multiply in `precision`.

    Tile sizes are measured and the fastest is used; with `deterministic` a fixed rule chooses them.
    Operands (parameters too) and sums are float32 in memory, whatever the precision.
    """

    name = "cuda"
    supports_graphs = True

    def __init__(self, precision: str = "float32", *, deterministic: bool = False) -> None:
        self.precision, self.deterministic = precision, deterministic

    @contextmanager
    def context(self) -> Iterator[None]:
        from minigan_kernels.cuda import autotune, errors, tiling

        try:
            tuner = None if self.deterministic else self.tuner()
            with tiling.precision(self.precision), autotune.tuning(tuner):
                yield
        except errors.UnavailableError as error:
            raise RunError(str(error)) from error

    def versions(self) -> dict[str, str]:
        found = probe_cuda()
        known = {"cupy": found.cupy, "cuda": version(found.toolkit), "nvrtc": found.compiler}
        known |= {"driver for cuda": version(found.driver), "card": found.gpu}
        return {key: value for key, value in known.items() if value}

    def tuner(self) -> Any:
        """The autotuner, which measures tiles and keeps its choices."""
        from minigan_kernels.cuda import autotune

        return autotune.of_gpu()

    def put(self, array: Array) -> Array:
        import cupy

        return cupy.asarray(array)

    def empty(self, shape: int | tuple[int, ...], dtype: Any) -> Array:
        import cupy

        return cupy.empty(shape, dtype)

    def empty_static(self, shape: int | tuple[int, ...], dtype: Any) -> Array:
        import cupy

        # A graph's pool reuses memory of the graph's earlier kernels, which write it again at each
        # launch.
        with cupy.cuda.using_allocator(None):
            return cupy.empty(shape, dtype)

    def prefetcher(self) -> Prefetcher | None:
        return CudaPrefetcher()

    def capture(self, work: Callable[[], T]) -> tuple[T, Callable[[], None]]:
        import cupy

        # The graph needs a pool that nothing else uses while the graph exists. Blocks that earlier
        # work has freed are released first, so that the pool can have their memory.
        cupy.get_default_memory_pool().free_all_blocks()
        stream, pool = cupy.cuda.Stream(non_blocking=True), cupy.cuda.MemoryPool(_allocate_only)
        allocating = cupy.cuda.using_allocator(pool.malloc)
        with translate_capture_errors(), capturing() as memo, stream, allocating:
            stream.begin_capture()
            try:
                result = work()
            except BaseException:
                with suppress(cupy.cuda.runtime.CUDARuntimeError):  # it may have ended already
                    stream.end_capture()
                raise
            graph = stream.end_capture()

        def launch(keep: Any = pool) -> None:
            graph.launch()
            memo.invalidate()  # drop the values of what the graph has written

        return result, launch

    def out_of_memory(self, error: MemoryError, batch: int, fixed: int) -> str | None:
        import cupy

        if not isinstance(error, cupy.cuda.memory.OutOfMemoryError):
            return None
        free, _ = cupy.cuda.runtime.memGetInfo()
        return out_of_memory(error._size, error._total, free, batch=batch, fixed=fixed)


def _allocate_only(size: int) -> Any:
    """Allocator for a graph's pool. It never frees: to find memory, CuPy would otherwise release
    blocks that captured kernels still write.
    """
    import cupy

    try:
        return cupy.cuda.MemoryPointer(cupy.cuda.Memory(size), 0)
    except cupy.cuda.runtime.CUDARuntimeError as error:
        if "cudaErrorMemoryAllocation" not in str(error):
            raise
        raise MemoryError(str(error)) from error


class CudaPrefetcher:
    """Copies from page-locked memory to buffers on the GPU, on a stream of its own."""

    def __init__(self) -> None:
        import cupy

        self.stream = cupy.cuda.Stream(non_blocking=True)
        self.pinned: list[Any] = []
        self.buffers: list[Any] = []
        self.free: Any = None  # event: the buffers may be overwritten
        self.arrived: Any = None  # event: the copy to the buffers is complete

    def send(self, arrays: Sequence[np.ndarray]) -> None:
        import cupy
        import cupyx

        if self.arrived is not None:
            self.arrived.synchronize()  # returns at once if the arrays were taken
        if [(a.shape, a.dtype) for a in self.pinned] != [(a.shape, a.dtype) for a in arrays]:
            self.pinned = [cupyx.empty_pinned(a.shape, a.dtype) for a in arrays]
            self.buffers = [cupy.empty(a.shape, a.dtype) for a in arrays]
            self.free = cupy.cuda.get_current_stream().record()  # earlier work may use that memory
        self.stream.wait_event(self.free)
        for array, pinned, buffer in zip(arrays, self.pinned, self.buffers, strict=True):
            pinned[...] = array
            buffer.set(pinned, stream=self.stream)
        self.arrived = self.stream.record()

    def take(self) -> list[Array]:
        import cupy

        stream = cupy.cuda.get_current_stream()
        stream.wait_event(self.arrived)
        taken = [buffer.copy() for buffer in self.buffers]  # so the buffers are free for the next
        self.free = stream.record()
        return taken


@contextmanager
def translate_capture_errors() -> Iterator[None]:
    """Within the block, what CuPy or CUDA refuse to capture raises a CaptureError."""
    try:
        yield
    except Exception as error:
        root: BaseException = error  # the engine wraps it to name the operation
        while root.__cause__ is not None:
            root = root.__cause__
        if isinstance(root, CaptureError):
            raise root from None
        if isinstance(root, MemoryError):
            raise CaptureError(NO_MEMORY) from error
        for part, what in OBSTACLES.items():
            if isinstance(root, RuntimeError) and part in str(root):
                raise CaptureError(what) from error
        raise


def device(name: str, precision: str = HOST.precision, *, deterministic: bool = False) -> Device:
    """The device called "cpu" or "cuda", to multiply in "float32", "tf32" or "bfloat16".

    With `deterministic` all GPUs of one model give the same bytes; the CPU always does.

    Raises:
        UserError: if the GPU cannot be used, or the CPU is asked for a precision that only GPUs
            have; with the reason and the way out.
    """
    if name == HOST.name:
        if precision != HOST.precision:
            raise UserError(
                f"--precision {precision} is for tensor cores, and --device cpu multiplies in "
                f"{HOST.precision} alone; say --device cuda, or --precision {HOST.precision}"
            )
        return HOST
    if why := diagnose(probe_cuda()):
        raise UserError(f"the device cuda cannot be had: {why}, or compute on the cpu")
    return Cuda(precision, deterministic=deterministic)

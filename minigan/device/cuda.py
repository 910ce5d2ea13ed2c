"""The GPU as a device: its memory, its streams, its graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from ..errors import RunError, UserError
from . import HOST, NO_ROOM, Array, Device, Shuttle, T, UnrepeatableError
from .probe import facts, out_of_memory, trouble, version

# Signs in the words of CuPy or CUDA, and what work has then done that no graph holds.
OBSTACLES = {
    "D2H": "reads a value back from the card",
    "H2D": "copies values to the card",
    "cuBLAS": "calls cuBLAS",
    "cuSOLVER": "calls cuSOLVER",
    "synchronous": "waits for the card",
    "StreamCapture": "waits for the card",
}


class Cuda(Device):
    """The current CUDA card, whose kernels multiply in `precision`: by the tiles that are measured
    to be fastest, or by those of a fixed rule if it is to be `deterministic`.

    What they multiply, parameters among it, and their sums are float32 in memory always.
    """

    name = "cuda"
    captures = True

    def __init__(self, precision: str = "float32", *, deterministic: bool = False) -> None:
        self.precision, self.deterministic = precision, deterministic

    @contextmanager
    def computing(self) -> Iterator[None]:
        from minigan_kernels.cuda import errors, plan, tune

        try:
            tuner = None if self.deterministic else self.tuner()
            with plan.precision(self.precision), tune.tuning(tuner):
                yield
        except errors.UnavailableError as error:
            raise RunError(str(error)) from error

    def versions(self) -> dict[str, str]:
        found = facts()
        known = {"cupy": found.cupy, "cuda": version(found.toolkit), "nvrtc": found.compiler}
        known |= {"driver for cuda": version(found.driver), "card": found.card}
        return {key: value for key, value in known.items() if value}

    def tuner(self) -> Any:
        """What measures tiles, and keeps its choices."""
        from minigan_kernels.cuda import tune

        return tune.of_card()

    def put(self, array: Array) -> Array:
        import cupy

        return cupy.asarray(array)

    def empty(self, shape: int | tuple[int, ...], dtype: Any) -> Array:
        import cupy

        return cupy.empty(shape, dtype)

    def lasting(self, shape: int | tuple[int, ...], dtype: Any) -> Array:
        import cupy

        # A graph's pool gives memory that an earlier kernel of the graph is done with, and that
        # kernel writes it anew at each launch.
        with cupy.cuda.using_allocator(None):
            return cupy.empty(shape, dtype)

    def shuttle(self) -> Shuttle | None:
        return CudaShuttle()

    def capture(self, work: Callable[[], T]) -> tuple[T, Callable[[], None]]:
        import cupy

        # Memory of its own, which nobody else gets while the graph lives, and first of all what
        # earlier work has left.
        cupy.get_default_memory_pool().free_all_blocks()
        stream, pool = cupy.cuda.Stream(non_blocking=True), cupy.cuda.MemoryPool(_for_good)
        with plainly(), stream, cupy.cuda.using_allocator(pool.malloc):
            stream.begin_capture()
            try:
                result = work()
            except BaseException:
                with suppress(cupy.cuda.runtime.CUDARuntimeError):  # what failed may have ended it
                    stream.end_capture()
                raise
            graph = stream.end_capture()

        def launch(keep: Any = pool) -> None:
            graph.launch()

        return result, launch

    def out_of_memory(self, error: MemoryError, batch: int, fixed: int) -> str | None:
        import cupy

        if not isinstance(error, cupy.cuda.memory.OutOfMemoryError):
            return None
        free, _ = cupy.cuda.runtime.memGetInfo()
        return out_of_memory(error._size, error._total, free, batch=batch, fixed=fixed)


def _for_good(size: int) -> Any:
    """Memory for a pool that must give none back: to find more, CuPy would free what kernels that
    are captured already are to write.
    """
    import cupy

    try:
        return cupy.cuda.MemoryPointer(cupy.cuda.Memory(size), 0)
    except cupy.cuda.runtime.CUDARuntimeError as error:
        if "cudaErrorMemoryAllocation" not in str(error):
            raise
        raise MemoryError(str(error)) from error


class CudaShuttle:
    """Copies from page-locked memory to one place on the card, on a stream of its own."""

    def __init__(self) -> None:
        import cupy

        self.stream = cupy.cuda.Stream(non_blocking=True)
        self.pinned: list[Any] = []
        self.places: list[Any] = []
        self.left: Any = None  # events: its places are free, what was sent has come
        self.arrived: Any = None

    def send(self, arrays: Sequence[np.ndarray]) -> None:
        import cupy
        import cupyx

        if self.arrived is not None:
            self.arrived.synchronize()  # long ago, if it was taken
        if [(a.shape, a.dtype) for a in self.pinned] != [(a.shape, a.dtype) for a in arrays]:
            self.pinned = [cupyx.empty_pinned(a.shape, a.dtype) for a in arrays]
            self.places = [cupy.empty(a.shape, a.dtype) for a in arrays]
            self.left = cupy.cuda.get_current_stream().record()  # who had that memory before
        self.stream.wait_event(self.left)
        for array, pinned, place in zip(arrays, self.pinned, self.places, strict=True):
            pinned[...] = array
            place.set(pinned, stream=self.stream)
        self.arrived = self.stream.record()

    def take(self) -> list[Array]:
        import cupy

        stream = cupy.cuda.get_current_stream()
        stream.wait_event(self.arrived)
        taken = [place.copy() for place in self.places]  # its place is free for the next one
        self.left = stream.record()
        return taken


@contextmanager
def plainly() -> Iterator[None]:
    """Within the block what CuPy or CUDA refuse to capture is an UnrepeatableError."""
    try:
        yield
    except Exception as error:
        root: BaseException = error  # the engine names the operation around it
        while root.__cause__ is not None:
            root = root.__cause__
        if isinstance(root, UnrepeatableError):
            raise root from None
        if isinstance(root, MemoryError):
            raise UnrepeatableError(NO_ROOM) from error
        for sign, what in OBSTACLES.items():
            if isinstance(root, RuntimeError) and sign in str(root):
                raise UnrepeatableError(what) from error
        raise


def device(name: str, precision: str = HOST.precision, *, deterministic: bool = False) -> Device:
    """The device called "cpu" or "cuda", to multiply in "float32", "tf32" or "bfloat16".

    If it is to be `deterministic`, every card of a model gives the same bytes; the CPU always does.

    Raises:
        UserError: if a card is asked for that cannot be used, or the CPU for what only a card does,
            with the reason and the way out.
    """
    if name == HOST.name:
        if precision != HOST.precision:
            raise UserError(
                f"--precision {precision} is for tensor cores, and --device cpu multiplies in "
                f"{HOST.precision} alone; say --device cuda, or --precision {HOST.precision}"
            )
        return HOST
    if why := trouble(facts()):
        raise UserError(f"--device cuda cannot be had: {why}, or say --device cpu")
    return Cuda(precision, deterministic=deterministic)

"""The CUDA card: what there is of it, what is missing, and what to do about that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from .device import HOST, NO_ROOM, Array, Device, Shuttle, T, UnrepeatableError
from .errors import RunError, UserError

DRIVERS = {12: 525, 13: 580}  # CUDA's major version -> the oldest driver that knows it
LEAST = (8, 0)  # compute capability that the kernels are written for
GIB = 1 << 30
# Signs in the words of CuPy or CUDA, and what work has then done that no graph holds.
OBSTACLES = {
    "D2H": "reads a value back from the card",
    "H2D": "copies values to the card",
    "cuBLAS": "calls cuBLAS",
    "cuSOLVER": "calls cuSOLVER",
    "synchronous": "waits for the card",
    "StreamCapture": "waits for the card",
}


@dataclass(frozen=True)
class Facts:
    """What is known of CUDA here; CUDA versions are as it counts them, 13020 for 13.2."""

    cupy: str | None = None  # version
    toolkit: int = 0  # the CUDA that this CuPy was made for
    driver: int = 0  # the newest CUDA that the driver knows; 0 if there is no driver
    card: str | None = None  # name of the first one
    capability: tuple[int, int] = (0, 0)
    free: int = 0  # bytes of its memory
    total: int = 0
    compiler: str | None = None  # NVRTC's version
    error: str = ""  # CUDA's own words, if it failed


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


def trouble(found: Facts) -> str | None:
    """What keeps minigan from computing on a card, and the way out; None if nothing does."""
    if found.cupy is None:
        why = f"CuPy cannot be imported ({found.error})" if found.error else "CuPy is not installed"
        return f"{why}; install it with pip install 'minigan[cuda13]', or [cuda12] for CUDA 12"
    major = found.toolkit // 1000
    least = f"version {DRIVERS[major]}" if major in DRIVERS else f"one for CUDA {major}"
    if not found.driver:
        return f"there is no NVIDIA driver; install {least} or newer"
    if found.driver // 1000 < major:
        other = ", or pip install 'minigan[cuda12]'" if found.driver >= 12000 else ""
        return (
            f"the NVIDIA driver knows CUDA {version(found.driver)} at most, but CuPy is made for "
            f"CUDA {version(found.toolkit)}; update the driver to {least} or newer{other}"
        )
    if found.card is None:
        return (
            f"the NVIDIA driver shows no card ({found.error or 'it counts none'}); see what "
            "nvidia-smi lists, and whether CUDA_VISIBLE_DEVICES hides it"
        )
    if found.error:
        return f"the {found.card} cannot be used ({found.error}); see what nvidia-smi says of it"
    if found.capability < LEAST:
        return (
            f"the {found.card} has compute capability {_dotted(found.capability)}, and the kernels "
            f"need {_dotted(LEAST)}; use a newer card"
        )
    if found.compiler is None:
        return (
            "NVIDIA's compiler library NVRTC is missing; install it with pip install "
            f"'minigan[cuda{major}]'"
        )
    if int(found.compiler.partition(".")[0]) > found.driver // 1000:
        return (
            f"the compiler library NVRTC {found.compiler} is newer than the NVIDIA driver, which "
            f"knows CUDA {version(found.driver)}; install one that fits with pip install "
            f"'minigan[cuda{major}]', or update the driver"
        )
    return None


def facts() -> Facts:
    """What of CUDA is here; nothing of it needs to be."""
    try:
        import cupy
    except ModuleNotFoundError as error:
        return Facts(error="" if error.name == "cupy" else str(error))
    except ImportError as error:
        return Facts(error=" ".join(str(error).split()))
    runtime = cupy.cuda.runtime
    known: dict[str, Any] = {
        "cupy": cupy.__version__,
        "toolkit": runtime.runtimeGetVersion(),
        "driver": runtime.driverGetVersion(),
        "compiler": _compiler(),
    }
    try:
        if runtime.getDeviceCount():
            card = runtime.getDeviceProperties(cupy.cuda.Device().id)
            known |= {"card": card["name"].decode(), "capability": (card["major"], card["minor"])}
            known["free"], known["total"] = runtime.memGetInfo()
    except runtime.CUDARuntimeError as error:
        known["error"] = str(error)
    return Facts(**known)


def out_of_memory(asked: int, used: int, free: int, *, batch: int, fixed: int) -> str:
    """One sentence for a card whose memory was exhausted.

    `asked` bytes were asked for, with `used` already taken by this process and `free` left on the
    card. `batch` samples were in a batch, and `fixed` bytes do not grow with it. The batch that
    is named is a power of two, for the rest of the round would have asked for more.
    """
    need = max(used + asked - fixed, 1)  # for the batch, as far as the round came
    room = max(used + free - fixed, 0)
    fits = min(batch * room // need, batch - 1)
    way = (
        f"--batch-size {1 << fits.bit_length() - 1} should fit"
        if fits
        else "not even one sample fits, so it takes a smaller network or a larger card"
    )
    return (
        f"out of device memory: {_size(asked)} were asked for with {_size(used)} in use and "
        f"{_size(free)} free, at a batch of {batch}; {way}"
    )


def version(number: int) -> str:
    """CUDA's 13020 as 13.2."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _compiler() -> str | None:
    from minigan_kernels.cuda import errors, nvrtc

    try:
        return nvrtc.version()
    except errors.UnavailableError:
        return None


def _dotted(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))


def _size(count: int) -> str:
    return f"{count / GIB:.2f} GiB" if count >= GIB // 10 else f"{count / (1 << 20):.1f} MiB"

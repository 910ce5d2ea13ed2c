"""CUDA on this machine: what there is, what is missing, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

DRIVERS = {12: 525, 13: 580}  # CUDA's major version -> the oldest driver for it
LEAST = (8, 0)  # compute capability that the kernels are written for
GIB = 1 << 30


@dataclass(frozen=True)
class CudaFacts:
    """What is known of CUDA on this machine. CUDA versions are integers: 13020 is 13.2."""

    cupy: str | None = None  # version
    toolkit: int = 0  # the CUDA version that CuPy was built for
    driver: int = 0  # the newest CUDA version that the driver supports; 0 without a driver
    gpu: str | None = None  # name of the current GPU
    capability: tuple[int, int] = (0, 0)
    free: int = 0  # bytes of its memory
    total: int = 0  # bytes of its memory
    compiler: str | None = None  # NVRTC's version
    error: str = ""  # CUDA's message, if it failed


def diagnose(found: CudaFacts) -> str | None:
    """Why minigan cannot compute on a GPU, and the way out; None if it can."""
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
    if found.gpu is None:
        return (
            f"the NVIDIA driver shows no GPU ({found.error or 'it counts none'}); see what "
            "nvidia-smi lists, and whether CUDA_VISIBLE_DEVICES hides it"
        )
    if found.error:
        return f"the {found.gpu} cannot be used ({found.error}); see what nvidia-smi says of it"
    if found.capability < LEAST:
        return (
            f"the {found.gpu} has compute capability {_dotted(found.capability)}, and the kernels "
            f"need {_dotted(LEAST)}; use a newer GPU"
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


def probe_cuda() -> CudaFacts:
    """Look for CUDA; every part of it may be missing."""
    try:
        import cupy
    except ModuleNotFoundError as error:
        return CudaFacts(error="" if error.name == "cupy" else str(error))
    except ImportError as error:
        return CudaFacts(error=" ".join(str(error).split()))
    runtime = cupy.cuda.runtime
    known: dict[str, Any] = {
        "cupy": cupy.__version__,
        "toolkit": runtime.runtimeGetVersion(),
        "driver": runtime.driverGetVersion(),
        "compiler": _compiler(),
    }
    try:
        if runtime.getDeviceCount():
            gpu = runtime.getDeviceProperties(cupy.cuda.Device().id)
            known |= {"gpu": gpu["name"].decode(), "capability": (gpu["major"], gpu["minor"])}
            known["free"], known["total"] = runtime.memGetInfo()
    except runtime.CUDARuntimeError as error:
        known["error"] = str(error)
    return CudaFacts(**known)


def out_of_memory(asked: int, used: int, free: int, *, batch: int, fixed: int) -> str:
    """One sentence about a GPU whose memory was exhausted.

    `asked` bytes were requested, with `used` bytes already taken by this process and `free` bytes
    left on the GPU. `batch` samples were in a batch, and `fixed` bytes do not grow with it. The
    batch size that the sentence proposes is a power of two, because the rest of the step would have
    requested more.
    """
    needed = max(used + asked - fixed, 1)  # bytes for the batch, as far as the step came
    available = max(used + free - fixed, 0)
    fits = min(batch * available // needed, batch - 1)
    way = (
        f"--batch-size {1 << fits.bit_length() - 1} should fit"
        if fits
        else "not even one sample fits, so it takes a smaller network or a larger GPU"
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

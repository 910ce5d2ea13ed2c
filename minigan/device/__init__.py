"""Devices: the CPU with the computer's own memory, and GPUs.

An array finds its operations and kernels by its own type, so no gradient rule asks where it is
stored. Only code that makes arrays of plain numbers needs to know the device. Parameters and
batches are `put` on a run's device, noise is drawn there, and what leaves a run (pictures,
checkpoints, numbers) goes `to_host`. No array moves by itself: CuPy refuses to mix its arrays with
NumPy's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any, NoReturn, Protocol, TypeVar

import numpy as np

Array = Any  # a NumPy or CuPy array
T = TypeVar("T")
NO_MEMORY = "needs more memory than the GPU has left"


class CaptureError(RuntimeError):
    """Work cannot be captured as a graph; the message continues the sentence "a step ..."."""


class Prefetcher(Protocol):
    """Copies arrays to a GPU while the GPU computes."""

    def send(self, arrays: Sequence[np.ndarray]) -> None:
        """Begin to copy the arrays, which may be overwritten when this returns."""

    def take(self) -> list[Array]:
        """The arrays that were sent last. The GPU's work waits for the copy, the host does not."""


class Device:
    """The CPU; a subclass is a GPU."""

    name = "cpu"
    supports_graphs = False  # whether `capture` works
    precision = "float32"  # in which its kernels multiply

    def context(self) -> AbstractContextManager[object]:
        """The settings of this device's kernels, for the time of a `with` block.

        A run enters it around each step and each question, so neither the engine nor a recipe
        needs to know the settings.
        """
        return nullcontext()

    def versions(self) -> dict[str, str]:
        """Versions of software and hardware that this device alone uses."""
        return {}

    def put(self, array: Array) -> Array:
        """`array` on this device: the same object if it is there already."""
        return to_host(array)

    def empty(self, shape: int | tuple[int, ...], dtype: Any) -> Array:
        """A new array on this device, not initialised."""
        return np.empty(shape, dtype)

    def empty_static(self, shape: int | tuple[int, ...], dtype: Any) -> Array:
        """As `empty`, but outside a graph's memory pool, so that no replay overwrites it."""
        return self.empty(shape, dtype)

    def prefetcher(self) -> Prefetcher | None:
        """A new prefetcher; None on a device that computes in the host's memory."""
        return None

    def capture(self, work: Callable[[], T]) -> tuple[T, Callable[[], None]]:
        """What `work` returns, and a function that repeats on the GPU what `work` did there.

        Capturing computes nothing: arrays that `work` returns hold no values until that function is
        called.

        Raises:
            CaptureError: if the work needs the host, or cannot be captured for another reason.
        """
        raise TypeError(f"{self.name} captures nothing")

    def out_of_memory(self, error: MemoryError, batch: int, fixed: int) -> str | None:
        """One sentence about a step that ran out of memory, with a batch size that would fit.

        `batch` is the number of samples in a batch, `fixed` the bytes in use that do not grow with
        it. None if the device knows no more than `error` says.
        """
        return None


HOST = Device()


def device_name(text: str) -> str | None:
    """The device that a text such as "cuda" or "cuda:0" means, "cpu" or "cuda"; None for others.

    Raises:
        ValueError: for a number above 0: a program has one GPU.
    """
    name, _, number = text.partition(":")
    if name not in (HOST.name, "cuda"):
        return None
    if number not in ("", "0"):
        raise ValueError(
            f"{text!r} is chosen before the start, by CUDA_VISIBLE_DEVICES={number}; then say "
            "'cuda'"
        )
    return name


def on_host(value: Any) -> bool:
    """Whether `value` is a NumPy array or a plain number, not an array on a GPU."""
    return not hasattr(type(value), "__cuda_array_interface__")


def is_array(value: Any) -> bool:
    """Whether `value` is an array, on any device."""
    return isinstance(value, np.ndarray) or not on_host(value)


def to_host(array: Array) -> np.ndarray:
    """`array` as a NumPy array: the same object, or a copy of an array on a GPU."""
    return array if on_host(array) else array.get()


def asarray_like(array: Array, other: Array) -> Array:
    """`array` on the device of `other`."""
    return to_host(array) if on_host(other) else np.asarray(array, like=other)


def to_numbers(values: Iterable[Any]) -> list[float]:
    """Single values as numbers; those on a GPU come in one transfer, which waits for all."""
    values = list(values)
    on_gpu = [value for value in values if not on_host(value)]
    fetched = iter(to_host(np.stack(on_gpu)).tolist() if on_gpu else ())
    return [float(value) if on_host(value) else next(fetched) for value in values]


class _Module(ModuleType):
    """This module, which people call as `torch.device`."""

    def __call__(self, *args: Any, **options: Any) -> NoReturn:
        raise TypeError(
            "minigan.device is a module: a device is its name, as in net.to('cuda') and x.to('cpu')"
        )


sys.modules[__name__].__class__ = _Module

"""Where arrays live: in the computer's own memory, or on a card.

An array finds its operations and kernels by its own type, so that no gradient rule asks where it
lives. Only what makes arrays of plain numbers needs to know: parameters and batches are `put` on a
run's device, noise is drawn there, and what leaves a run (pictures, checkpoints, numbers) goes
`to_host`.
Nothing crosses that border by itself: CuPy refuses to mix its arrays with NumPy's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeVar

import numpy as np

Array = Any  # a NumPy or CuPy array
T = TypeVar("T")
NO_ROOM = "needs more memory than the card has left"


class UnrepeatableError(RuntimeError):
    """Work cannot be captured; the words say what it does that cannot be repeated."""


class Shuttle(Protocol):
    """Brings arrays to a card while that computes."""

    def send(self, arrays: Sequence[np.ndarray]) -> None:
        """Begin to copy these, which may be overwritten afterwards."""

    def take(self) -> list[Array]:
        """What was sent last: work on the card waits for it, the host does not."""


class Device:
    """The computer itself; a subclass is a card."""

    name = "cpu"
    captures = False  # whether it has `capture`
    precision = "float32"  # that its kernels multiply in

    def computing(self) -> AbstractContextManager[object]:
        """Within this context kernels compute as this device was told to.

        A run enters it around each round and around each question, so that neither the engine nor a
        recipe knows of it.
        """
        return nullcontext()

    def versions(self) -> dict[str, str]:
        """What computes here, besides what computes on any device."""
        return {}

    def put(self, array: Array) -> Array:
        """`array` where this device computes; the same one if it lies there already."""
        return array

    def empty(self, shape: int | tuple[int, ...], dtype: Any) -> Array:
        """An array here whose values are yet to be written."""
        return np.empty(shape, dtype)

    def lasting(self, shape: int | tuple[int, ...], dtype: Any) -> Array:
        """As `empty`, but within `capture` in memory that no captured work writes by the way."""
        return self.empty(shape, dtype)

    def shuttle(self) -> Shuttle | None:
        """What brings arrays here beside other work; None where nothing is beside."""
        return None

    def capture(self, work: Callable[[], T]) -> tuple[T, Callable[[], None]]:
        """What `work` returns, and a function that does on the card what `work` did there.

        Nothing is done before that function is called: what `work` returns holds no values yet.

        Raises:
            UnrepeatableError: if the work is more than what a card repeats by itself.
        """
        raise TypeError(f"{self.name} captures nothing")

    def out_of_memory(self, error: MemoryError, batch: int, fixed: int) -> str | None:
        """One sentence for a round that failed, with the batch that would fit; None if the device
        knows no more than `error` says.

        `batch` samples were in a batch; `fixed` bytes hold what does not grow with it.
        """
        return None


HOST = Device()


def on_host(value: Any) -> bool:
    """Whether `value` is a NumPy array or a plain number, not an array on a card."""
    return not hasattr(type(value), "__cuda_array_interface__")


def is_array(value: Any) -> bool:
    """Whether `value` is an array, wherever it lives."""
    return isinstance(value, np.ndarray) or not on_host(value)


def to_host(array: Array) -> np.ndarray:
    """`array` as NumPy's: itself, or a copy of one on a card."""
    return array if on_host(array) else array.get()


def beside(array: Array, other: Array) -> Array:
    """`array` where `other` lives."""
    return to_host(array) if on_host(other) else np.asarray(array, like=other)


def to_numbers(values: Iterable[Any]) -> list[float]:
    """Single values as numbers; those on a card come in one transfer, which waits for them all."""
    values = list(values)
    away = [value for value in values if not on_host(value)]
    fetched = iter(to_host(np.stack(away)).tolist() if away else ())
    return [float(value) if on_host(value) else next(fetched) for value in values]

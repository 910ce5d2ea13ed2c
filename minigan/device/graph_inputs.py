"""Inputs of a captured graph: the numbers and arrays that the host writes before each replay."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn

import numpy as np

from . import Array, CaptureError, Device

MAX_SCALARS = 1024  # of one step that may differ from step to step
_inputs: ContextVar[Inputs | None] = ContextVar("inputs", default=None)


class Inputs:
    """Host work before each launch of a graph: counting, and filling static buffers on the GPU."""

    def __init__(self, device: Device, step: int) -> None:
        self.device, self.step = device, step
        self.actions: list[Callable[[], None]] = []
        self._scalars = np.zeros(MAX_SCALARS, np.uint64)  # 8 bytes each, of any 8-byte dtype
        self._device_scalars = device.put(self._scalars)
        self._scalar_count = 0

    def scalar(self, compute: Callable[[], float], kind: type[np.generic]) -> Array:
        """The static buffer (1,) of an 8-byte number that is computed before each launch."""
        if self._scalar_count == MAX_SCALARS:
            raise CaptureError(f"has over {MAX_SCALARS} numbers that differ from step to step")
        mine = slice(self._scalar_count, self._scalar_count + 1)
        self._scalar_count += 1
        number = self._scalars[mine].view(kind)

        def fill() -> None:
            number[0] = compute()

        self.on_replay(fill)
        return self._device_scalars[mine].view(kind)

    def arrays(self, like: Sequence[np.ndarray], fetch: Callable[[], list[Array]]) -> list[Array]:
        """Static buffers, shaped as `like`, for arrays that are fetched before each launch."""
        buffers = [self.device.empty_static(array.shape, array.dtype) for array in like]

        def fill() -> None:
            for buffer, array in zip(buffers, fetch(), strict=True):
                buffer[...] = array

        self.actions.append(fill)
        return buffers

    def on_replay(self, action: Callable[[], None]) -> None:
        """Call `action` now and before each launch."""
        action()
        self.actions.append(action)

    def fill(self, step: int) -> None:
        """Prepare the next launch, which computes the step of that number."""
        self.step = step
        for action in self.actions:
            action()
        self._device_scalars[...] = self.device.put(self._scalars)


def capturing() -> Inputs | None:
    """The inputs of the step that is being captured, if one is."""
    return _inputs.get()


def graph_scalar(compute: Callable[[], float], kind: type[np.generic]) -> Any:
    """compute(), an 8-byte number that differs from step to step.

    While a step is captured it is a static buffer (1,) on the GPU instead, and compute() is called
    before each launch.
    """
    inputs = _inputs.get()
    return compute() if inputs is None else inputs.scalar(compute, kind)


def graph_scheduled(function: Callable[[int], float], step: Any) -> Any:
    """function(step), by which float32 arrays may be multiplied.

    While a step is captured it is a single float32 on the GPU, which each replay updates.
    """
    if not isinstance(step, SymbolicStep):
        return function(step)
    inputs = _inputs.get()
    if inputs is None:
        raise CaptureError("keeps its number for later")
    buffer = inputs.scalar(lambda: function(inputs.step), np.float64)
    return buffer.astype(np.float32).reshape(())


def on_replay(action: Callable[[], None]) -> None:
    """Call `action`, which counts something on the host: now, and before each replay."""
    inputs = _inputs.get()
    action() if inputs is None else inputs.on_replay(action)


class SymbolicStep:
    """Stands for the number of a captured step, which differs at each replay; reading it raises."""

    def __getattr__(self, name: str) -> NoReturn:
        self._refuse()

    def _refuse(self, *_: Any) -> NoReturn:
        raise CaptureError("uses its own number")


for _name in {*dir(int)} - {*dir(object)} | {
    "__eq__", "__ge__", "__gt__", "__hash__", "__le__", "__lt__", "__ne__", "__repr__", "__str__",
    "__format__",
}:  # fmt: skip
    if _name.startswith("__"):
        setattr(SymbolicStep, _name, SymbolicStep._refuse)


@contextmanager
def capture_into(inputs: Inputs) -> Iterator[None]:
    """Within the block a step is being captured, and `inputs` collects what it needs."""
    token = _inputs.set(inputs)
    try:
        yield
    finally:
        _inputs.reset(token)

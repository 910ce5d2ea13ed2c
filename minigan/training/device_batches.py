"""Batches on a run's device, fetched to a GPU before the recipe asks for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ..data import Batches
from ..device import HOST, Array, Device, Prefetcher
from ..device.graph_inputs import capturing
from ..errors import UserError
from ..tensor import Tensor, adopt
from .recipe import Check

Fetch = Callable[[], Sequence[np.ndarray]]


class InFlight(NamedTuple):
    """A batch on its way to the GPU."""

    kind: str
    begin: int  # position in the data before it
    end: int  # position in the data after it
    prefetcher: Prefetcher


class DeviceBatches:
    """The batches that a recipe sees: tensors on its device.

    While a GPU computes a step, `prefetch` copies the batches of the next one, which is expected to
    ask for the same kinds in the same order.
    """

    def __init__(self, batches: Batches, device: Device = HOST) -> None:
        self.batches, self.device = batches, device
        self._subsets: dict[int, list[Array]] = {}
        self._requests: list[tuple[str, Fetch]] = []  # of this step
        self._in_flight: list[InFlight] = []
        self._prefetchers: list[Prefetcher] = []

    def __next__(self) -> Tensor:
        return adopt(self._device_batch("next", lambda: [next(self.batches)])[0])

    def labelled(self, check: Check | None = None) -> tuple[Tensor, Array]:
        return self._checked_batch("labelled", self.batches.labelled, check)

    def indexed(self, check: Check | None = None) -> tuple[Tensor, Array]:
        return self._checked_batch("indexed", self.batches.indexed, check)

    def few(self, count: int) -> tuple[Tensor, Array]:
        if count not in self._subsets:
            self._subsets[count] = [self.device.put(array) for array in self.batches.few(count)]
        x, labels = self._subsets[count]
        return adopt(x), labels

    def prefetch(self) -> None:
        """Begin to copy the batches of the next step, as far as this step lets them be foreseen."""
        requests, self._requests = self._requests, []
        self._in_flight.clear()
        position = self.batches.position
        for i, (kind, fetch) in enumerate(requests):
            if i == len(self._prefetchers):
                if (prefetcher := self.device.prefetcher()) is None:
                    return
                self._prefetchers.append(prefetcher)
            begin = self.batches.position
            try:
                self._prefetchers[i].send(fetch())
            except UserError:  # the next step will raise it
                break
            self._in_flight.append(
                InFlight(kind, begin, self.batches.position, self._prefetchers[i])
            )
        self.batches.position = position

    def _checked_batch(
        self, kind: str, take: Callable[[], tuple[np.ndarray, np.ndarray]], check: Check | None
    ) -> tuple[Tensor, Array]:
        """A batch and its labels (or indices), which `check` sees before they go to a GPU."""

        def fetch() -> tuple[np.ndarray, np.ndarray]:
            x, labels = take()
            if check is not None:
                check(labels)
            return x, labels

        x, labels = self._device_batch(kind, fetch)
        return adopt(x), labels

    def _device_batch(self, kind: str, fetch: Fetch) -> list[Array]:
        """The arrays of `fetch`, on the device; while a step is captured, static buffers for them.

        Those are filled before each replay.
        """
        inputs = capturing()
        if inputs is None:
            return self._next_or_prefetched(kind, fetch)
        return inputs.arrays(fetch(), lambda: self._next_or_prefetched(kind, fetch))

    def _next_or_prefetched(self, kind: str, fetch: Fetch) -> list[Array]:
        self._requests.append((kind, fetch))
        if self._in_flight:
            first = self._in_flight.pop(0)
            if (first.kind, first.begin) == (kind, self.batches.position):
                self.batches.position = first.end
                return first.prefetcher.take()
            self._in_flight.clear()
        return [self.device.put(array) for array in fetch()]

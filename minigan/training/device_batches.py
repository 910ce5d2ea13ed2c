"""Batches as a recipe sees them: on its device, and on a card before they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ..data import Batches
from ..device import HOST, Array, Device, Shuttle
from ..device.graph_inputs import capturing
from ..errors import UserError
from ..tensor import Tensor
from .recipe import Check

Fetch = Callable[[], Sequence[np.ndarray]]


class Sent(NamedTuple):
    """A batch on its way to the card."""

    kind: str
    begin: int  # position of the batches before it
    end: int  # and after it
    shuttle: Shuttle


class TensorFeed:
    """Batches as a recipe sees them: tensors, on its device.

    While a card computes a round, `prefetch` brings the batches for the next one, in which the
    recipe is expected to ask for the same.
    """

    def __init__(self, batches: Batches, device: Device = HOST) -> None:
        self.batches, self.device = batches, device
        self._few: dict[int, list[Array]] = {}
        self._asked: list[tuple[str, Fetch]] = []  # in this round
        self._sent: list[Sent] = []
        self._shuttles: list[Shuttle] = []

    def __next__(self) -> Tensor:
        return Tensor(self._there("next", lambda: [next(self.batches)])[0])

    def labelled(self, check: Check | None = None) -> tuple[Tensor, Array]:
        return self._pair("labelled", self.batches.labelled, check)

    def indexed(self, check: Check | None = None) -> tuple[Tensor, Array]:
        return self._pair("indexed", self.batches.indexed, check)

    def few(self, count: int) -> tuple[Tensor, Array]:
        if count not in self._few:
            self._few[count] = [self.device.put(array) for array in self.batches.few(count)]
        x, labels = self._few[count]
        return Tensor(x), labels

    def prefetch(self) -> None:
        """Begin to bring what the next round will ask for; it does so itself for what is not."""
        asked, self._asked = self._asked, []
        self._sent.clear()
        position = self.batches.position
        for i, (kind, fetch) in enumerate(asked):
            if i == len(self._shuttles):
                if (shuttle := self.device.shuttle()) is None:
                    return
                self._shuttles.append(shuttle)
            begin = self.batches.position
            try:
                self._shuttles[i].send(fetch())
            except UserError:  # which the next round will meet
                break
            self._sent.append(Sent(kind, begin, self.batches.position, self._shuttles[i]))
        self.batches.position = position

    def _pair(
        self, kind: str, take: Callable[[], tuple[np.ndarray, np.ndarray]], check: Check | None
    ) -> tuple[Tensor, Array]:
        def fetch() -> tuple[np.ndarray, np.ndarray]:
            x, beside = take()
            if check is not None:
                check(beside)
            return x, beside

        x, beside = self._there(kind, fetch)
        return Tensor(x), beside

    def _there(self, kind: str, fetch: Fetch) -> list[Array]:
        """What `fetch` gives, on the device."""
        inputs = capturing()
        if inputs is None:
            return self._taken(kind, fetch)
        return inputs.arrays(fetch(), lambda: self._taken(kind, fetch))

    def _taken(self, kind: str, fetch: Fetch) -> list[Array]:
        self._asked.append((kind, fetch))
        if self._sent:
            first = self._sent.pop(0)
            if (first.kind, first.begin) == (kind, self.batches.position):
                self.batches.position = first.end
                return first.shuttle.take()
            self._sent.clear()
        return [self.device.put(array) for array in fetch()]

"""What differs from step to step in a captured graph: numbers and arrays that the host fills in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn

import numpy as np

from . import Array, Device, UnrepeatableError

ROOM = 1024  # numbers of a round that may differ
_inputs: ContextVar[Inputs | None] = ContextVar("inputs", default=None)


class Inputs:
    """What the host does before each launch: it counts on, and fills places on the card."""

    def __init__(self, device: Device, round_number: int) -> None:
        self.device, self.round_number = device, round_number
        self.actions: list[Callable[[], None]] = []
        self._numbers = np.zeros(ROOM, np.uint64)  # 8 bytes each, whatever they are
        self._place = device.put(self._numbers)
        self._taken = 0

    def number(self, compute: Callable[[], float], kind: type[np.generic]) -> Array:
        """The place (1,) of a number of 8 bytes that each round computes anew."""
        if self._taken == ROOM:
            raise UnrepeatableError(f"has over {ROOM} numbers that differ from round to round")
        mine = slice(self._taken, self._taken + 1)
        self._taken += 1
        number = self._numbers[mine].view(kind)

        def fill() -> None:
            number[0] = compute()

        self.each_time(fill)
        return self._place[mine].view(kind)

    def arrays(self, like: Sequence[np.ndarray], fetch: Callable[[], list[Array]]) -> list[Array]:
        """The places of arrays on the card that each round fetches anew, all shaped as `like`."""
        places = [self.device.lasting(array.shape, array.dtype) for array in like]

        def fill() -> None:
            for place, array in zip(places, fetch(), strict=True):
                place[...] = array

        self.actions.append(fill)
        return places

    def each_time(self, action: Callable[[], None]) -> None:
        """action(), now and before each launch."""
        action()
        self.actions.append(action)

    def fill(self, round_number: int) -> None:
        """Make ready for the next launch, of the round of that number."""
        self.round_number = round_number
        for action in self.actions:
            action()
        self._place[...] = self.device.put(self._numbers)


def capturing() -> Inputs | None:
    """The inputs of the round that is being captured, if one is."""
    return _inputs.get()


def varying(compute: Callable[[], float], kind: type[np.generic]) -> Any:
    """compute(), a number of 8 bytes that differs from round to round.

    While a round is captured it is the number's place (1,) on the card, and compute() is called
    before each launch.
    """
    inputs = _inputs.get()
    return compute() if inputs is None else inputs.number(compute, kind)


def of_round(function: Callable[[int], float], number: Any) -> Any:
    """function(number) of a round's number, by which to multiply arrays of float32.

    While the round is captured it is a single float32 on the card.
    """
    if not isinstance(number, RoundNumber):
        return function(number)
    inputs = _inputs.get()
    if inputs is None:
        raise UnrepeatableError("keeps its number for later")
    place = inputs.number(lambda: function(inputs.round_number), np.float64)
    return place.astype(np.float32).reshape(())


def each_time(action: Callable[[], None]) -> None:
    """action(), which counts something on the host; at replays as well."""
    inputs = _inputs.get()
    action() if inputs is None else inputs.each_time(action)


class RoundNumber:
    """Stands for the number of a round that is captured, which is another one at each replay."""

    def __getattr__(self, name: str) -> NoReturn:
        self._refuse()

    def _refuse(self, *_: Any) -> NoReturn:
        raise UnrepeatableError("uses its own number")


for _name in {*dir(int)} - {*dir(object)} | {
    "__eq__", "__ge__", "__gt__", "__hash__", "__le__", "__lt__", "__ne__", "__repr__", "__str__",
    "__format__",
}:  # fmt: skip
    if _name.startswith("__"):
        setattr(RoundNumber, _name, RoundNumber._refuse)


@contextmanager
def capture_into(inputs: Inputs) -> Iterator[None]:
    token = _inputs.set(inputs)
    try:
        yield
    finally:
        _inputs.reset(token)

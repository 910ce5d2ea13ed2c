"""A round of training that is captured once and replayed: CUDA graphs.

A graph repeats the same kernels with the same arguments on the same memory, without Python between
them. So whatever differs from round to round lies at a place on the card that the host fills before
each launch: batches, how far the random stream is, counts of steps, rates. The code that computes
such a thing gives the function that does (`varying`, and `of_round` for functions of the round's
number), and the same function counts on at the replays. All else of a round is found to be the same
by construction: its number refuses to be looked at, values that cross between host and card are
refused, and before a graph is used one round is both replayed and run as usual. Nothing here knows
CUDA: the device captures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..device import NO_ROOM, Array, Device, UnrepeatableError, to_host, to_numbers
from ..device.graph_inputs import Inputs, RoundNumber, capture_into

# Rounds: in the first one all kernels are compiled; what a graph holds of the host as it was when
# it was captured shows in another round.
CAPTURED, CHECKED = 2, 3


class Outcome(NamedTuple):
    """What a round gave: the losses of its updates by player, then what is recorded by name."""

    players: list[str]
    names: list[str]
    values: Any  # of both, single numbers or arrays; or one array (n,)

    def numbers(self) -> list[float]:
        """The values, in one transfer, which waits for them all."""
        if isinstance(self.values, list):
            return to_numbers(self.values)
        return to_host(self.values).tolist()


class Rounds(Protocol):
    """What has rounds that may be replayed."""

    device: Device

    def compute(self, number: Any) -> Outcome:
        """A round; it waits for no value on the card."""

    def places(self) -> dict[str, Array]:
        """The arrays on the card that rounds change, by name."""

    def replace(self, places: Mapping[str, Array]) -> None:
        """Have these arrays instead."""

    @property
    def counters(self) -> Any:
        """All else that rounds change."""

    @counters.setter
    def counters(self, counters: Any) -> None: ...


class Replay:
    """Takes rounds: by a graph from the fourth on, if that can be.

    The graph is captured before the second round and checked in the third. If it cannot be had, or
    gave other bits than the round itself, `say` is told why, and rounds run as usual.
    """

    def __init__(self, rounds: Rounds, say: Callable[[str], None]) -> None:
        self.rounds, self.say = rounds, say
        self.graph: Graph | None = None
        self._taken = 0

    def round(self, number: int) -> Outcome:
        """The next round, whose number is `number`."""
        self._taken += 1
        if self._taken == CAPTURED:
            self._capture(number)
        if self.graph is None:
            return self.rounds.compute(number)
        if self._taken > CHECKED:
            return self.graph.run(number)
        return self._check(number) if self._taken == CHECKED else self._as_usual(number)

    def _as_usual(self, number: int) -> Outcome:
        """A round that leaves its arrays at the graph's places. That keeps memory to itself which
        the round may need, and then is given up.
        """
        assert self.graph is not None
        rounds, places = self.rounds, self.graph.places
        counters, before = rounds.counters, _copies(places)
        try:
            outcome = rounds.compute(number)
            settle(rounds, places)
            return outcome
        except MemoryError:
            self._refuse(NO_ROOM)
        self._take_back(places, before, counters)
        return rounds.compute(number)

    def _take_back(
        self, places: dict[str, Array], before: Mapping[str, Any], counters: Any
    ) -> None:
        for name, place in places.items():
            place[...] = self.rounds.device.put(before[name])
        self.rounds.replace(places)
        self.rounds.counters = counters

    def _capture(self, number: int) -> None:
        rounds, inputs = self.rounds, Inputs(self.rounds.device, number)
        counters, places = rounds.counters, rounds.places()

        def work() -> Outcome:
            with capture_into(inputs):
                outcome = rounds.compute(RoundNumber())
                settle(rounds, places)
                values = rounds.device.empty(len(outcome.values), np.float64)
                for i, value in enumerate(outcome.values):
                    values[i] = value
            return outcome._replace(values=values)

        try:
            self.graph = Graph(places, inputs, *rounds.device.capture(work))
        except UnrepeatableError as error:
            self._refuse(str(error))
        except Exception as error:  # it did not fail in the round before, which was not captured
            first = (str(error).splitlines() or [""])[0]
            self._refuse(f"cannot be captured ({type(error).__name__}: {first})")
        finally:
            rounds.replace(places)
            rounds.counters = counters

    def _check(self, number: int) -> Outcome:
        """A round that is replayed, taken back, and run as usual."""
        assert self.graph is not None
        rounds, places = self.rounds, self.graph.places
        counters, before = rounds.counters, _copies(places)
        replayed = self.graph.run(number).numbers()
        found, counted = _copies(places), rounds.counters
        self._take_back(places, before, counters)
        outcome = self._as_usual(number)
        if self.graph is None:
            return outcome
        outcome = outcome._replace(values=outcome.numbers())
        pairs = [(array, found[name]) for name, array in _copies(places).items()]
        pairs.append((np.array(outcome.values), np.array(replayed)))
        same = all(usual.tobytes() == again.tobytes() for usual, again in pairs)
        if not same or rounds.counters != counted:
            self._refuse("gives other values when it is replayed")
        return outcome

    def _refuse(self, why: str) -> None:
        self.say(f"rounds are not replayed from a CUDA graph, because a round {why}")
        self.graph = None


@dataclass
class Graph:
    """A captured round."""

    places: dict[str, Array]  # of what it changes
    inputs: Inputs
    outcome: Outcome  # whose values are an array on the card
    launch: Callable[[], None]

    def run(self, number: int) -> Outcome:
        """The next round, whose number is `number`."""
        self.inputs.fill(number)
        self.launch()
        return self.outcome


def settle(rounds: Rounds, places: Mapping[str, Array]) -> None:
    """Bring arrays that a round has put in the place of others to where those lie."""
    moved = {name: a for name, a in rounds.places().items() if a is not places[name]}
    for name, array in moved.items():  # before one of these is written
        if any(np.may_share_memory(array, place) for place in places.values()):
            moved[name] = array.copy()
    for name, array in moved.items():
        places[name][...] = array
    rounds.replace(places)


def _copies(places: Mapping[str, Array]) -> dict[str, np.ndarray]:
    return {name: to_host(array) for name, array in places.items()}

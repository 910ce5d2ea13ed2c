"""Training steps that are captured once as a CUDA graph, and replayed.

A graph repeats the same kernels with the same arguments on the same memory, without Python between
them. So everything that differs from step to step must be in a static buffer on the GPU, which the
host fills before each launch: batches, the offset of the random stream, counts of updates, learning
rates. The code that computes such a value passes a function to `graph_scalar` (to `graph_scheduled`
for a function of the step number), and replays call the same function. Nothing else may depend on
the step. Three things make sure of that: the step number that a captured step sees is symbolic and
raises when it is read; transfers between host and GPU raise; and before a graph is used, one step
is both replayed and run directly, and the results are compared. Nothing here knows CUDA: the device
captures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from minigan_kernels.memo import writable

from ..device import NO_MEMORY, Array, CaptureError, Device, to_host, to_numbers
from ..device.graph_inputs import Inputs, SymbolicStep, capture_into

# Steps, counted from 1. The first one compiles all kernels. A graph that holds a value of the host
# from when it was captured shows that in another step only.
CAPTURED, CHECKED = 2, 3


class Outcome(NamedTuple):
    """What a step gave: the losses of its updates by player, then what it reports by name."""

    players: list[str]
    names: list[str]
    values: Any  # of both, in order: a list of numbers and single values, or one array (n,)

    def numbers(self) -> list[float]:
        """The values, in one transfer, which waits for all of them."""
        if isinstance(self.values, list):
            return to_numbers(self.values)
        return to_host(self.values).tolist()


class Replayable(Protocol):
    """What computes steps that may be replayed."""

    device: Device

    def compute(self, step: Any) -> Outcome:
        """Compute a step without waiting for a value on the GPU."""

    def device_arrays(self) -> dict[str, Array]:
        """The arrays on the GPU that steps change, by name."""

    def replace_arrays(self, arrays: Mapping[str, Array]) -> None:
        """Use these arrays in place of those of the same names."""

    @property
    def counters(self) -> Any:
        """Everything else that steps change."""

    @counters.setter
    def counters(self, counters: Any) -> None: ...


class Replay:
    """Computes steps: from the fourth one on by a graph, if that is possible.

    The graph is captured before the second step and checked in the third. If it cannot be captured,
    or gives other bits than the step itself, `say` is told why, and all steps run directly.
    """

    def __init__(self, target: Replayable, say: Callable[[str], None]) -> None:
        self.target, self.say = target, say
        self.graph: Graph | None = None
        self._step_count = 0

    def advance(self, step: int) -> Outcome:
        """Compute the next step, whose number is `step`."""
        self._step_count += 1
        if self._step_count == CAPTURED:
            self._capture(step)
        if self.graph is None:
            return self.target.compute(step)
        if self._step_count > CHECKED:
            return self.graph.run(step)
        return self._check(step) if self._step_count == CHECKED else self._run_directly(step)

    def _run_directly(self, step: int) -> Outcome:
        """Compute a step without the graph, and leave its results in the graph's static buffers.

        If the GPU has too little memory for a direct step beside the graph's own pool, the graph is
        given up.
        """
        assert self.graph is not None
        target, static = self.target, self.graph.static
        counters, before = target.counters, _host_copies(static)
        try:
            outcome = target.compute(step)
            copy_into_static(target, static)
            return outcome
        except MemoryError:
            self._refuse(NO_MEMORY)
        self._restore(static, before, counters)
        return target.compute(step)

    def _restore(self, static: dict[str, Array], before: Mapping[str, Any], counters: Any) -> None:
        """Undo a step: write the values from before it back."""
        with writable(*static.values()):
            for name, buffer in static.items():
                buffer[...] = self.target.device.put(before[name])
        self.target.replace_arrays(static)
        self.target.counters = counters

    def _capture(self, step: int) -> None:
        target, inputs = self.target, Inputs(self.target.device, step)
        counters, static = target.counters, target.device_arrays()

        def work() -> Outcome:
            with capture_into(inputs):
                outcome = target.compute(SymbolicStep())
                copy_into_static(target, static)
                values = target.device.empty(len(outcome.values), np.float64)
                for i, value in enumerate(outcome.values):
                    values[i] = value
            return outcome._replace(values=values)

        try:
            self.graph = Graph(static, inputs, *target.device.capture(work))
        except CaptureError as error:
            self._refuse(str(error))
        except Exception as error:  # the step before did not fail: so it fails only when captured
            first = (str(error).splitlines() or [""])[0]
            self._refuse(f"cannot be captured ({type(error).__name__}: {first})")
        finally:
            target.replace_arrays(static)
            target.counters = counters

    def _check(self, step: int) -> Outcome:
        """Replay a step, undo it, run it directly, and give the graph up if the two differ."""
        assert self.graph is not None
        target, static = self.target, self.graph.static
        counters, before = target.counters, _host_copies(static)
        replayed_values = self.graph.run(step).numbers()
        replayed, replayed_counters = _host_copies(static), target.counters
        self._restore(static, before, counters)
        outcome = self._run_directly(step)
        if self.graph is None:
            return outcome
        outcome = outcome._replace(values=outcome.numbers())
        pairs = [(array, replayed[name]) for name, array in _host_copies(static).items()]
        pairs.append((np.array(outcome.values), np.array(replayed_values)))
        same = all(direct.tobytes() == again.tobytes() for direct, again in pairs)
        if not same or target.counters != replayed_counters:
            self._refuse("gives other values when it is replayed")
        return outcome

    def _refuse(self, why: str) -> None:
        self.say(f"steps are not replayed from a CUDA graph, because a step {why}")
        self.graph = None


@dataclass
class Graph:
    """A captured step."""

    static: dict[str, Array]  # the static buffers of all that a step changes
    inputs: Inputs
    outcome: Outcome  # its values are an array on the GPU
    launch: Callable[[], None]

    def run(self, step: int) -> Outcome:
        """Replay, as the step of this number."""
        self.inputs.fill(step)
        self.launch()
        return self.outcome


def copy_into_static(target: Replayable, static: Mapping[str, Array]) -> None:
    """Copy arrays that a step has replaced by new ones into the static buffers of their names."""
    moved = {name: a for name, a in target.device_arrays().items() if a is not static[name]}
    for name, array in moved.items():  # before one of these is overwritten
        if any(np.may_share_memory(array, buffer) for buffer in static.values()):
            moved[name] = array.copy()
    with writable(*(static[name] for name in moved)):
        for name, array in moved.items():
            static[name][...] = array
    target.replace_arrays(static)


def _host_copies(arrays: Mapping[str, Array]) -> dict[str, np.ndarray]:
    return {name: to_host(array) for name, array in arrays.items()}

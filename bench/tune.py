"""Part `tune`: time every algorithm on every layer of a DCGAN here, and remember the winners.

The planner's rule goes by shapes and knows no CPU. What this part remembers goes before the rule in
every later run on this machine, so the same seed may give other last bits than without; `--forget`
goes back to the rule.
"""

from __future__ import annotations

import minigan_kernels
import numpy as np
from minigan_kernels.algorithms import ALGORITHMS
from minigan_kernels.cpu import plan
from minigan_kernels.shapes import conv_window

from . import table
from .kernels import kept, operands
from .layers import DIRECTIONS, Layer, dcgan
from .results import plain
from .settings import Settings, say
from .timing import Step, compare

BUDGET = 1.5  # seconds for one layer and direction
CLEARLY = 1.05  # times as fast as the rule's choice an algorithm must be to replace it


def tune(settings: Settings) -> None:
    """Measure, print, remember."""
    plan.forget()
    if settings.quick:
        layers = dcgan(width=16, batch=8, side=32)
    else:
        layers = [*dcgan(), *dcgan(side=32, channels=1)]
    todo: dict[object, tuple[Layer, str]] = {}
    for layer in layers:
        for direction in DIRECTIONS:  # G's layers are D's, run backwards
            key = (layer.kernel_of(direction), layer.image, layer.weight)
            todo.setdefault(key, (layer, direction))
    rows = []
    for number, (layer, direction) in enumerate(todo.values(), 1):
        say(f"tune {number}/{len(todo)}: {layer.name} {direction}")
        rows.append(_choose(layer, direction, settings))
    heading = ("layer", "pixels", "", "by the rule", *ALGORITHMS, "from now on")
    notes = (
        f"From now on another algorithm than the rule's where it was {CLEARLY:g} times as fast by "
        "medians and nothing disturbed the measurement; minigan bench tune --forget goes back to "
        "the rule."
    )
    table.show("Algorithms by measurement", heading, rows, notes)


def _choose(layer: Layer, direction: str, settings: Settings) -> list[str]:
    kernel, arrays = layer.kernel_of(direction), operands(layer)
    window = conv_window(layer.weight, layer.stride, layer.padding, 1)
    of_layer = (kernel, layer.image, layer.output, window, 1)
    float32 = np.dtype(np.float32)
    rule, _ = plan.choose(*of_layer, float32)
    steps: dict[str, Step] = {}
    ways = set()
    for name in ALGORITHMS:
        with minigan_kernels.use(name):
            way = plan.choose(*of_layer, float32)
        if way not in ways:  # what cannot do a layer leaves it to another one
            ways.add(way)
            steps[name] = _forced(name, kept(layer, direction, arrays))
    found = compare(steps, budget=settings.budget(BUDGET), prime=True)
    times, best = plain(found.timings()), found.fastest(steps, rule) or rule
    disturbed = any(times[name]["disturbed"] for name in (rule, best))
    if disturbed or found.ratio(rule, best).median <= CLEARLY:
        best = rule
    if best != rule:
        plan.remember(*of_layer, best)
    shown = [table.seconds(times.get(name)) for name in ALGORITHMS]
    return [layer.name, layer.planes, direction, rule, *shown, best]


def _forced(algorithm: str, step: Step) -> Step:
    def forced() -> object:
        with minigan_kernels.use(algorithm):
            return step()

    return forced

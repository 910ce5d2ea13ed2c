"""Part `tune`: time every algorithm on every layer of a DCGAN here, and remember the winners.

The planner's rule goes by shapes and knows no CPU. What this part remembers goes before the rule in
every later run on this machine, so the same seed may give other last bits than without; `--forget`
goes back to the rule. It counts for any number of threads, whatever it was measured on: bits that
changed with the threads would be worse than a choice that is not the fastest on each.
"""

from __future__ import annotations

from typing import Any

import minigan_kernels
import numpy as np
from minigan_kernels import algorithms
from minigan_kernels.checks import conv_window
from minigan_kernels.cpu.conv import select

from . import table
from .kernels import forced, kept, operands
from .layers import DIRECTIONS, Layer, dcgan
from .results import plain
from .settings import Settings, say
from .timing import Step, compare

BUDGET = 1.5  # seconds for one layer and direction
CLEARLY = 1.05  # times as fast as the rule's choice an algorithm must be to replace it


def tune(settings: Settings) -> None:
    """Measure, print, remember; what was remembered before counts until all is measured."""
    todo: dict[object, tuple[Layer, str]] = {}
    for layer in (*dcgan(), *dcgan(side=32, channels=1)):
        for direction in DIRECTIONS:  # G's layers are D's, run backwards
            key = (layer.kernel_of(direction), layer.image, layer.weight)
            todo.setdefault(key, (layer, direction))
    rows, better = [], []
    for number, (layer, direction) in enumerate(todo.values(), 1):
        say(f"tune {number}/{len(todo)}: {layer.name} {direction}")
        row, choice = _choose(layer, direction, settings)
        rows.append(row)
        better += [] if choice is None else [choice]
    select.forget()
    for choice in better:
        select.remember(*choice)
    heading = ("layer", "pixels", "", "by the rule", *algorithms.names(), "from now on")
    notes = (
        f"From now on another algorithm than the rule's where it was {CLEARLY:g} times as fast by "
        "medians and nothing disturbed the measurement; minigan bench tune --forget goes back to "
        "the rule."
    )
    table.show("Algorithms by measurement", heading, rows, notes)


def _choose(
    layer: Layer, direction: str, settings: Settings
) -> tuple[list[str], tuple[Any, ...] | None]:
    """What was measured, as a row, and what to remember, if it is not the rule's choice."""
    kernel, arrays = layer.kernel_of(direction), operands(layer)
    window = conv_window(layer.weight, layer.stride, layer.padding, 1)
    of_layer = (kernel, layer.image, layer.output, window, 1)
    rule, _ = select.by_rule(*of_layer[1:])
    steps: dict[str, Step] = {}
    ways = set()
    for name in algorithms.names():
        try:
            select.check_does(name, *of_layer, np.dtype(np.float32))
        except ValueError:  # it is not measured
            continue
        with minigan_kernels.use(name):
            way = select.choose(*of_layer, np.dtype(np.float32))
        if way not in ways:  # or it would be measured twice
            ways.add(way)
            steps[name] = forced(name, kept(layer, direction, arrays))
    found = compare(steps, budget=settings.budget(BUDGET), prime=True)
    times, best = plain(found.timings()), found.fastest(steps, rule) or rule
    disturbed = any(times[name]["disturbed"] for name in (rule, best))
    if disturbed or found.ratio(rule, best).median <= CLEARLY:
        best = rule
    shown = [table.seconds(times.get(name)) for name in algorithms.names()]
    row = [layer.name, layer.planes, direction, rule, *shown, best]
    return row, None if best == rule else (*of_layer, best)

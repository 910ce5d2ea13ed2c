"""Part `endurance`: what thousands of steps do, whether memory grows, and whether time does.

A GAN's gradients may become so small that they are denormal numbers, which a CPU handles slowly,
so step 2,000 is timed against step 100: both states take turns in one process. The second is
continued from a checkpoint, as `minigan train --resume` does it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from minigan.data import Dataset
from minigan.gans.dcgan import DCGAN
from minigan.training.state import State

from . import table
from .memory import resident
from .peers.images import images
from .settings import Settings, say
from .timing import compare

EARLY, LATE = 100, 2000  # rounds


def measure(settings: Settings) -> dict[str, Any]:
    """Train a DCGAN of 64x64x3 for LATE rounds: an hour or so."""
    scale, width = (10, 8) if settings.quick else (1, 64)
    early, late = EARLY // scale, LATE // scale
    dataset = Dataset("digits", images((3, 64, 64)))
    recipe = DCGAN(width=width, lr_g=2e-4)
    state, before = (State.fresh(recipe, dataset, seed=0) for _ in range(2))
    rows: list[dict[str, int]] = []
    with tempfile.TemporaryDirectory() as folder:
        while state.step < late:
            state.advance()
            if state.step == early:
                before.restore(state.save(Path(folder), "dcgan"), "dcgan")
            if state.step % early == 0:
                rows.append({"round": state.step, "bytes": resident()})
                say(f"endurance: round {state.step} of {late}")
    names = [f"round {early}", f"round {late}"]
    found = compare(
        dict(zip(names, (before.advance, state.advance), strict=True)), budget=settings.budget(60)
    )
    return {
        "rounds": [early, late],
        "times": found.timings(),
        "ratio": found.ratio(names[1], names[0]),
        "rows": rows,
    }


def growth(found: dict[str, Any]) -> str:
    """What memory did, in words."""
    first, last = found["rows"][0], found["rows"][-1]
    return (
        f"resident memory from step {first['round']} to step {last['round']:,}: "
        f"{first['bytes'] / 1e6:,.0f} to {last['bytes'] / 1e6:,.0f} MB"
    )


def show(found: dict[str, Any]) -> None:
    """Print what was found."""
    rows = [[name, table.seconds(t), table.spread(t)] for name, t in found["times"].items()]
    notes = f"Later over earlier: {found['ratio']['median']:.3f}; {growth(found)}."
    table.show("Endurance: minigan's DCGAN 64x64x3", ("", "median", "quartiles"), rows, notes)

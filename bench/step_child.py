"""Take training steps as told by standard input, with the minigan that comes first on PYTHONPATH.

`same_speed` runs this file in a process of its own for each checkout. It imports nothing of
`bench`, and of minigan only what builds a recipe's state, which all revisions since 0.2 have.

In, a line each: [recipe, its fields, shape of an image or the name of points, steps]. Out, a line
each: the seconds that a step took, or why the recipe does not take such data. A step that fails
ends the process.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

IMAGES = 256  # of noise, in ten classes


def main() -> None:
    import minigan_kernels

    import minigan
    from minigan.errors import UserError

    checkout = Path(sys.argv[1])
    for package in (minigan, minigan_kernels):
        if not Path(str(package.__file__)).is_relative_to(checkout):
            sys.exit(f"{package.__name__} comes from {package.__file__}, not from {checkout}")
    ready: dict[str, Callable[[], object]] = {}
    for line in sys.stdin:
        *wanted, steps = json.loads(line)
        key = json.dumps(wanted)
        if key not in ready:
            try:
                ready[key] = _advance(*wanted)
            except UserError as error:
                print(json.dumps(str(error)), flush=True)
                continue
            ready[key]()  # compiles
            gc.collect()
            gc.freeze()
        ready[key]()  # fills caches and wakes threads, whoever went before
        began = time.perf_counter()
        for _ in range(steps):
            ready[key]()
        print(json.dumps((time.perf_counter() - began) / steps), flush=True)


def _advance(name: str, fields: dict[str, Any], source: list[int] | str) -> Callable[[], object]:
    """A function that takes one step of a recipe."""
    import numpy as np

    from minigan import gans
    from minigan.data import Dataset, load
    from minigan.training.state import State

    kind = gans.load(name)
    if isinstance(source, str):
        data = load(source)
    else:
        pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, *source), np.uint8)
        data = Dataset("noise", pixels, np.arange(IMAGES) % 10, tuple("0123456789"))
    known = kind.defaults(data.shape, classes=len(data.classes), samples=len(data), tags=1)
    return State.fresh(kind(**{**known, **fields}), data, seed=0).advance


if __name__ == "__main__":
    main()

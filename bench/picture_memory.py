"""How much memory a recipe's step takes: minigan and PyTorch each alone in a fresh process.

A step of a tiny batch comes first, so that the libraries' code is there. What is counted then is
what the networks, their optimisers and a step need: the high-water mark of some steps over what was
resident before the networks were built. Kernels that only the large batch calls count too. What
building and the first step took for a while is told apart.
"""

from __future__ import annotations

import gc
import json
import sys
from typing import Any

from .memory import alone, resident, start_anew
from .settings import say
from .threads import limit

STEPS = 3
TINY = 2  # images


def of_step(
    peer: str, recipe: str, shape: tuple[int, int, int], batch: int, threads: int
) -> dict[str, Any]:
    """Resident memory in bytes: `before` the networks are built, the peak `first`, until the first
    step was done, the `peak` of the steps after it, and `step`, by how much that is more.

    Raises:
        RunError: if the process fails.
    """
    say(f"memory: {recipe}, {shape[1]} pixels, {peer}")
    words = [peer, recipe, json.dumps([shape, batch, threads])]
    found = alone("bench.picture_memory", words, peer)
    return {"peer": peer, **found, "step": found["peak"] - found["before"]}


def main(peer: str, recipe: str, rest: str) -> None:
    """Take a few steps in this process and print what they needed."""
    shape, batch, threads = json.loads(rest)
    limit(threads)
    from .peers.images import images
    from .picture_peers import peers

    shape = tuple(shape)
    images(shape)
    tiny = next(p for p in peers(recipe, shape, TINY) if p.name == peer).build()
    tiny()
    del tiny
    gc.collect()
    start_anew()
    before = resident()
    step = next(p for p in peers(recipe, shape, batch) if p.name == peer).build()
    step()
    first = resident("VmHWM")
    start_anew()
    for _ in range(STEPS):
        step()
    print(json.dumps({"before": before, "first": first, "peak": resident("VmHWM")}))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Part `pictures`: how long a start with a folder of pictures takes, and the memory of a process.

`python -m bench pictures` makes small PNG and JPEG files in a temporary folder, and starts twice
with each number of them: the first start decodes them, the second one maps what the first has kept.
A start is what `minigan train` does with its data: their outline, reading them, and their digest.
The memory is that after 200 batches of 64, which touch a part of the pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from . import table
from .settings import say

COUNTS = (5_000, 20_000)
SIDES = (96, 112)  # pixels of a picture in its file, by default
TITLE = "Pictures: seconds of a start, and MB of memory"
_CHILD = """
import json, sys, time
from PIL import Image
from minigan.data import Batches, catalogue, load, outline
catalogue()  # imports what any data need, and is no part of a start
folder = sys.argv[1]
began = time.perf_counter()
outline(folder, size=64)
data = load(folder, size=64)
digest = data.digest()
seconds = time.perf_counter() - began
batches = Batches(data, 64, seed=0, output_range=(-1, 1))
for _ in range(200):
    next(batches)
lines = [line.split() for line in open("/proc/self/status")]
kept = ("RssAnon:", "RssFile:", "VmHWM:")
memory = {words[0][:-1]: int(words[1]) / 1e3 for words in lines if words[0] in kept}
print(json.dumps({"seconds": seconds, "digest": digest, **memory}))
"""


def main(words: Sequence[str]) -> int:
    """Measure and print a table; the answer is the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench pictures", description=__doc__)
    parser.add_argument("--sides", type=int, nargs=2, default=SIDES, help="pixels of each picture")
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="how many pictures")
    options, rows = parser.parse_args(words), []
    for count in options.counts:
        with tempfile.TemporaryDirectory() as folder:
            say(f"pictures: making {count:,}")
            make(Path(folder, "pictures"), count, tuple(options.sides))
            first, second = (_start(Path(folder)) for _ in range(2))
        assert first["digest"] == second["digest"], "both starts have the same pixels"
        ratio = f"{first['seconds'] / second['seconds']:.0f}"
        times = [f"{found['seconds']:.2f}" for found in (first, second)]
        memory = [f"{second[name]:.0f}" for name in ("RssAnon", "RssFile", "VmHWM")]
        rows.append([f"{count:,}", *times, ratio, f"{first['RssAnon']:.0f}", *memory])
    columns = ("pictures", "first", "second", "ratio", "anonymous, first", "anonymous, second")
    sides = " x ".join(map(str, options.sides))
    note = f"PNG and JPEG of {sides} pixels in turn, read at 64 x 64 in colour."
    table.show(TITLE, (*columns, "of files", "largest"), rows, note)
    return 0


def make(folder: Path, count: int, sides: tuple[int, int]) -> None:
    """Write so many small pictures in colour, of which no two are equal."""
    import numpy as np
    from PIL import Image

    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
        smooth = coarse.resize(sides, Image.Resampling.BICUBIC)
        smooth.save(folder / f"{i:06}.{('png', 'jpg')[i % 2]}")


def _start(folder: Path) -> dict[str, float]:
    """What a process of its own finds, with its cache in this folder."""
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(folder / "pictures")],
        env=os.environ | {"XDG_CACHE_HOME": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found

"""Fuzzing cases of the cache: a compiled kernel, and the algorithms that were chosen."""

from __future__ import annotations

import functools
import json
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fuzz import mutated, mutated_json
from minigan_kernels.algorithms import ALGORITHMS, ChoicesError
from minigan_kernels.checks import Window
from minigan_kernels.cpu.compiler import disk_cache
from minigan_kernels.cpu.conv import select
from minigan_kernels.cpu.maxout import _repeat

from minigan.errors import UserError

Reader = Callable[[], object]


@functools.cache
def compiled() -> tuple[Path, bytes]:
    """A compiled function's file: its path, below a folder of its own, and its content."""
    folder = Path(tempfile.mkdtemp(prefix="cache-readers-"))
    disk_cache.cache_folder = lambda: folder  # type: ignore[assignment]
    disk_cache._notice.say = lambda message: None  # type: ignore[method-assign]
    function: Any = _repeat
    function(np.ones(2, np.float32), np.zeros(4, np.float32), 2)
    (path,) = folder.glob("*.kernel")
    return path, path.read_bytes()


def kernel_file(rng: random.Random, folder: Path) -> Reader:
    """Machine code that is changed anywhere is not believed, and what is whole runs."""
    path, content = compiled()
    path.write_bytes(mutated(rng, content, head=4096) if rng.random() < 0.9 else content)

    def read() -> None:
        function: Any = _repeat
        found = disk_cache.DiskCache(function).load_overload(
            function.nopython_signatures[0].args, function.targetctx
        )
        disk_cache._notice.damaged.clear()  # which the end of the process tells
        if found is None:
            raise UserError("it is compiled again")
        assert path.read_bytes() == content, "changed code was believed"

    return read


def choices(rng: random.Random, folder: Path) -> Reader:
    """What `bench tune` has written, changed."""
    select.cache_folder = lambda: folder  # type: ignore[assignment]
    select.cache_clear()
    for channels in (16, 32):
        shape = (8, channels, 16, 16)
        select.remember(
            "conv2d", shape, shape, Window((3, 3), padding=(1, 1)), 1, rng.choice(ALGORITHMS[:2])
        )
    (file,) = folder.glob("choices.json")
    file.write_bytes(mutated_json(rng, json.loads(file.read_text())))
    select.cache_clear()

    def read() -> None:
        try:
            select.remembered()
            select.tuned()
        except ChoicesError as error:
            raise UserError(str(error)) from None

    return read

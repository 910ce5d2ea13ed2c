"""Compiles functions whose source is written by code.

A tile of vectors cannot be an array and stay in registers, so microkernels and transforms are
written out, one name a vector. `python -m minigan_kernels.cpu` prints all that are.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable
from functools import cache
from typing import Any

from ..isa import simd
from .jit import jit


def name_of(source: str) -> str:
    """The name of the function that a source defines."""
    return source[4 : source.index("(")]


@cache
def built(source: str, **names: Any) -> Callable[..., Any]:
    """The compiled function of a generated source, which may use `simd` and `names`; tracebacks
    and debuggers show its lines.
    """
    name = name_of(source)
    file = f"<minigan_kernels.cpu: {name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    namespace: dict[str, Any] = {**vars(simd), **names, "__name__": __name__}
    exec(compile(source, file, "exec"), namespace)
    return jit()(namespace[name])

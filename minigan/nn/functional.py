"""PyTorch's name for functions that are minigan's own: each name says where it is.

    import minigan.nn.functional as F
    F.relu          # AttributeError: minigan.nn.functional has no relu: it is minigan.relu

Nothing works by this name, since some functions take other arguments here than in PyTorch.
"""

from __future__ import annotations

from typing import Any

from .. import ops
from .hints import FUNCTIONS


def __getattr__(name: str) -> Any:
    if name in ops.__all__:
        way = f"it is minigan.{name}, and help(minigan.{name}) has its arguments"
    elif name in FUNCTIONS:
        way = FUNCTIONS[name]
    else:
        raise AttributeError(f"module 'minigan.nn.functional' has no attribute {name!r}")
    raise AttributeError(f"minigan.nn.functional has no {name}: {way}")


def __dir__() -> list[str]:
    return []

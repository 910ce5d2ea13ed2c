"""PyTorch's name for functions that are minigan's own: each name says where it is.

    import minigan.nn.functional as F
    F.relu          # AttributeError: minigan.nn.functional has no relu: it is minigan.relu

Nothing works by this name, since some functions take other arguments here than in PyTorch.
"""

from __future__ import annotations

from .. import ops
from ..hints import absent
from .hints import FUNCTIONS

__getattr__ = absent(
    __name__,
    FUNCTIONS
    | {
        name: f"it is minigan.{name}, and help(minigan.{name}) has its arguments"
        for name in ops.__all__
    },
)


def __dir__() -> list[str]:
    return []

"""The line that built an operation, to be named when it or its gradient fails."""

from __future__ import annotations

import os
import sys
from types import CodeType

_HERE = os.path.dirname(__file__)
_ENGINE = tuple(
    os.path.join(_HERE, name)
    for name in ("tensor.py", "recording.py", "fused.py", "hints.py", "ops", "nn")
)


class _Files(dict[str, bool]):
    """Whether a file belongs to the engine or the layers, by its path."""

    def __missing__(self, path: str) -> bool:
        self[path] = path.startswith(_ENGINE)
        return self[path]


_of_engine = _Files()


def caller(depth: int) -> tuple[CodeType, int]:
    """The code and line of the first frame outside of the engine and the layers, searched upwards
    from `depth` frames above the caller.
    """
    frame = sys._getframe(depth + 1)
    while _of_engine[frame.f_code.co_filename] and (above := frame.f_back) is not None:
        frame = above
    return frame.f_code, frame.f_lineno

"""Functions over axes take them by NumPy's names and by PyTorch's, and from a list."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from ..hints import arguments, translated

Axes = int | tuple[int, ...] | None
_F = TypeVar("_F", bound=Callable[..., Any])
_NAMES = {"dim": "axis", "keepdim": "keepdims"}


def over_axes(**names: str) -> Callable[[_F], _F]:
    """Decorate a function `(x, axis, *, ...)`: `dim` and `keepdim` stand for `axis` and `keepdims`,
    and a list of axes for a tuple. `names` are more of them, as in `minigan.hints.also`.
    """
    known = _NAMES | names

    def decorate(function: _F) -> _F:
        own, by_name = arguments(function)
        name, most = function.__name__, function.__code__.co_argcount if by_name else sys.maxsize

        @wraps(function)
        def taking(*args: Any, **options: Any) -> Any:
            if options:
                if not own.issuperset(options):
                    options = translated(name, options, known)
                if type(options.get("axis")) is list:
                    options["axis"] = tuple(options["axis"])
            if len(args) > 1:
                if len(args) > most:
                    raise TypeError(
                        f"{name} takes {' and '.join(by_name)} by name, as {by_name[0]}=True"
                    )
                if type(args[1]) is list:
                    args = (args[0], tuple(args[1]), *args[2:])
            return function(*args, **options)

        return taking  # type: ignore[return-value]

    return decorate

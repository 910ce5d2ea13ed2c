"""Functions over axes take them by NumPy's names and by PyTorch's, and from a list."""

from __future__ import annotations

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

    Arguments are looked at when the call has failed, so one that fits costs nothing.
    """
    known = _NAMES | names

    def decorate(function: _F) -> _F:
        own, by_name = arguments(function)
        name, most = function.__name__, function.__code__.co_argcount

        def respelled(args: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
            """The arguments by the function's own names; None if they are so already."""
            if by_name and len(args) > most:
                raise TypeError(
                    f"{name} takes {' and '.join(by_name)} by name, as {by_name[0]}=True"
                ) from None
            found = options if own.issuperset(options) else translated(name, own, options, known)
            if type(found.get("axis")) is list:
                found = {**found, "axis": tuple(found["axis"])}
            if len(args) > 1 and type(args[1]) is list:
                return (args[0], tuple(args[1]), *args[2:]), found
            return None if found is options else (args, found)

        @wraps(function)
        def taking(*args: Any, **options: Any) -> Any:
            try:
                return function(*args, **options)
            except (TypeError, ValueError):
                again = respelled(args, options)
                if again is None:
                    raise
            args, options = again
            return function(*args, **options)

        return taking  # type: ignore[return-value]

    return decorate

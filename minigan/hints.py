"""How it is done here: what people of other libraries try, by another name or in one sentence.

Attributes of a class are `Elsewhere`, names of a module are found by `absent`, arguments by `also`,
and a call that does not fit is answered by `told`.
The sentences stand near what they are about. They are read when a name is missing, or an argument
unknown or missing, so they cost nothing before.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, NoReturn, TypeVar

_F = TypeVar("_F", bound=Callable[..., Any])


# --- Attributes ------------------------------------------------------------------------------


def missing(owner: str, name: str, way: str) -> AttributeError:
    """The error of an attribute that there is not, with how it is done here."""
    # Without an object, of which Python would suggest names that are spelled alike.
    return AttributeError(f"{owner} has no {name}: {way}", name=name, obj=None)


class Elsewhere:
    """An attribute that other libraries have: reading it raises an `AttributeError` that says how
    it is done here. `hasattr` is False, as without it.

    It is a descriptor because a class with a `__getattr__` reads all of its attributes slower:
    Python no longer specialises that (3.11).
    """

    def __init__(self, way: str, name: str = "") -> None:
        self.way, self.name = way, name
        self.__doc__ = f"Not here: {way}."  # for `help`

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type) -> NoReturn:
        raise missing(owner.__name__, self.name, self.way)


class Refused(Elsewhere):
    """The same of an object without a `__dict__`, in which it cannot be set either."""

    def __set__(self, instance: Any, value: Any) -> None:
        raise missing(type(instance).__name__, self.name, self.way)


def hint(kind: type, ways: Mapping[str, str], how: type[Elsewhere] = Elsewhere) -> None:
    """Give a class an attribute `Elsewhere` for each name of a table."""
    for name, way in ways.items():
        setattr(kind, name, how(way, name))


def completed(owner: Any) -> list[str]:
    """The `__dir__` of an object, and so what is completed: all but what is `Elsewhere`."""
    found: dict[str, Any] = {}
    for kind in reversed(type(owner).__mro__):
        found |= vars(kind)
    found |= getattr(owner, "__dict__", {})
    return sorted(n for n in object.__dir__(owner) if not isinstance(found.get(n), Elsewhere))


def absent(module: str, ways: Mapping[str, str]) -> Callable[[str], NoReturn]:
    """The `__getattr__` of a module, which Python calls for names that are not found in it."""

    def look(name: str) -> NoReturn:
        if name in ways:
            raise missing(module, name, ways[name])
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return look


# --- Arguments -------------------------------------------------------------------------------


def also(**names: str) -> Callable[[_F], _F]:
    """Decorate a function: it takes arguments by the names of other libraries too.

    A name stands for one of the function's own, or, if there is a space in it, for a sentence that
    says how it is done here. A function that takes any name is left as it is.
    """

    def decorate(function: _F) -> _F:
        code = inspect.unwrap(function).__code__
        if code.co_flags & inspect.CO_VARKEYWORDS:
            return function
        own, _ = arguments(function)

        @wraps(function)
        def taking(*args: Any, **options: Any) -> Any:
            try:
                return function(*args, **options)
            except TypeError:  # only then are the names looked at: a call that fits costs nothing
                if own.issuperset(options):
                    raise
                made = function.__name__ == "__init__"
                name = type(args[0]).__name__ if made else function.__qualname__
                options = translated(name, own, options, names)
            return function(*args, **options)

        return taking  # type: ignore[return-value]

    return decorate


def told(way: str) -> Callable[[_F], _F]:
    """Decorate a function: a call that does not fit its arguments is told the way, after Python's
    own words.
    """

    def decorate(function: _F) -> _F:
        @wraps(function)
        def telling(*args: Any, **options: Any) -> Any:
            try:
                return function(*args, **options)
            except TypeError as error:
                try:
                    inspect.signature(function).bind(*args, **options)
                except TypeError:
                    raise TypeError(f"{error}; {way}") from None
                raise  # it fits: the error is one of the function's own

        return telling  # type: ignore[return-value]

    return decorate


def arguments(function: Any) -> tuple[frozenset[str], tuple[str, ...]]:
    """The names of a function's arguments, and which of them are given by name alone.

    From its code: minigan is imported sooner than by `inspect.signature`.
    """
    code = inspect.unwrap(function).__code__
    end = code.co_argcount + code.co_kwonlyargcount
    return frozenset(code.co_varnames[:end]), code.co_varnames[code.co_argcount : end]


def translated(
    function: str, own: frozenset[str], options: Mapping[str, Any], names: Mapping[str, str]
) -> dict[str, Any]:
    """Arguments by the function's own names. One that it does not know at all stays as it is.

    Raises:
        TypeError: with the sentence of one that there is not, or if one is given twice.
    """
    found: dict[str, Any] = {}
    for given, value in options.items():
        name = given if given in own else names.get(given, given)
        if " " in name:
            raise TypeError(f"{function} takes no {given}: {name}") from None
        name = name if name in own else given
        if name in found:
            raise TypeError(f"{function} was given {name} twice") from None
        found[name] = value
    return found

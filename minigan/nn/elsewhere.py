"""What people try who come from PyTorch, and how it is done here: one sentence each.

A sentence is read where a name is missing, so it costs nothing where none is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn


class Elsewhere:
    """An attribute that other libraries have; reading it raises an `AttributeError` that says how
    it is done here. `hasattr` is False, as without it.
    """

    def __init__(self, way: str) -> None:
        self.way = way

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type) -> NoReturn:
        raise AttributeError(f"{owner.__name__} has no {self.name}: {self.way}")


def without_hints(kind: type, names: Mapping[str, Any]) -> list[str]:
    """The attributes of an object for `dir`, and so for completion: without those of `Elsewhere`.

    `names` are the object's own ones.
    """
    hints = {n for c in kind.__mro__ for n, value in vars(c).items() if type(value) is Elsewhere}
    return sorted({*dir(kind), *names} - hints)


def missing(module: str, ways: Mapping[str, str]) -> Callable[[str], NoReturn]:
    """The `__getattr__` of a module: for names that other libraries have, the way here."""

    def absent(name: str) -> NoReturn:
        if name in ways:
            raise AttributeError(f"{module} has no {name}: {ways[name]}")
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return absent

"""A module as text: one line, and one more for each part."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..device import is_array
from ..tensor import Tensor
from .familiar import Familiar

SCALARS = (bool, int, float, str)
_ACTIVATION = "activation"  # the part that a layer's own line names


def parts(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Familiar):
        yield from vars(value).items()
    elif isinstance(value, dict):
        yield from value.items()
    else:
        yield from enumerate(value)


def describe(module: Any, above: list[int]) -> str:
    """`module` as text: one line, and one more for each part that is more than numbers."""
    if id(module) in above:
        return f"{type(module).__name__}(...)"
    lines = list[str]()
    for name, value in _shown(module, ""):
        if isinstance(value, Familiar):
            if name != _ACTIVATION:
                lines += f"{name}: {describe(value, [*above, id(module)])}".split("\n")
        elif not (isinstance(value, Tensor) or is_array(value) or _is_plain(value)):
            lines.append(f"{name}: {getattr(value, '__name__', None) or value.name}")
    below = "".join(f"\n  {line}" for line in lines) + "\n" * bool(lines)
    return f"{type(module).__name__}({module.extra_repr()}{below})"


def words(module: Familiar) -> Iterator[str]:
    for name, value in _shown(module, ""):
        if isinstance(value, Tensor) or is_array(value):
            yield f"{name}={value.shape}"
        elif _is_plain(value) or (isinstance(value, Familiar) and name == _ACTIVATION):
            yield f"{name}={value!r}"


def _shown(owner: Any, path: str) -> Iterator[tuple[str, Any]]:
    """What a description of `owner` names: modules, arrays, plain values, functions in a list."""
    for key, value in parts(owner):
        name = f"{path}.{key}" if path else str(key)
        if isinstance(value, (Familiar, Tensor)) or is_array(value):
            yield name, value
        elif _is_plain(value):
            if isinstance(owner, Familiar) and key != "training":
                yield name, value
        elif isinstance(value, dict) and all(map(_is_plain, value.values())):
            yield from ((str(k), v) for k, v in value.items())  # a layer's options
        elif isinstance(value, (dict, list, tuple)):
            yield from _shown(value, name)
        elif isinstance(owner, (list, dict)) and (
            hasattr(value, "__name__") or hasattr(value, "name")
        ):
            yield name, value


def _is_plain(value: Any) -> bool:
    return isinstance(value, SCALARS) or (type(value) is tuple and all(map(_is_plain, value)))

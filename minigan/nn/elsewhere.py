"""What people try who come from PyTorch, and how it is done here: one sentence each.

A sentence is read where a name is missing, so it costs nothing where none is.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
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


_MADE_ON = (
    "a layer is made on the CPU in float32; net.to('cuda') and net.astype(numpy.float64) convert it"
)
# Arguments of PyTorch's layers: the name that ours has, or how it is done here.
_ARGUMENTS = {
    "num_features": "channels",
    "normalized_shape": "shape",
    "num_embeddings": "count",
    "embedding_dim": "features",
    "negative_slope": "slope",
    "scale_factor": "factor",
    "start_dim": "all axes but the first are joined; x.reshape(shape) joins others",
    "end_dim": "all axes but the first are joined; x.reshape(shape) joins others",
    "padding_mode": "zeros are what is padded with; minigan.pad(x, width, value) pads before it",
    "inplace": "a tensor is never written in place; leave it out",
    "device": _MADE_ON,
    "dtype": _MADE_ON,
    "affine": "it always has a gamma and a beta; learn_scale=False of a BatchNorm fixes gamma",
    "elementwise_affine": "it always has a gamma and a beta; leave it out",
    "track_running_stats": "running moments are always kept; net.eval() uses them",
    "padding_idx": "every symbol has a vector that is learned; leave it out",
    "max_norm": "no vector is limited; optim.project_to_sphere(table) scales them after a step",
}


def translating(init: Callable[..., None]) -> Callable[..., None]:
    """The `__init__` of a layer, which takes arguments by the names of PyTorch's layers, too."""
    parameters = inspect.signature(init).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return init

    @wraps(init)
    def taking(layer: Any, /, *args: Any, **options: Any) -> None:
        if not parameters.keys() >= options.keys():
            options = _translated(type(layer).__name__, parameters, options)
        init(layer, *args, **options)

    return taking


def _translated(kind: str, own: Mapping[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Arguments by the names that the layer has.

    Raises:
        TypeError: with the sentence of one that it has not.
    """
    found = dict[str, Any]()
    for name, value in options.items():
        other = name if name in own else _ARGUMENTS.get(name, name)
        if " " in other:
            raise TypeError(f"{kind} takes no {name}: {other}")
        found[other if other in own else name] = value  # or Python says that it is not known
    return found

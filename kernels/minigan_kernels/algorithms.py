"""Algorithms of convolutions by name: minigan's own, those of others, and which one is forced."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple

ALGORITHMS = ("im2col", "direct", "winograd", "winograd2")  # winograd2: tiles of 2x2 outputs only
BACKENDS = ("reference", "cpu", "cuda")
OPTIONS = ("stride", "padding", "dilation", "groups")
KERNELS = {  # what an algorithm computes: its arrays and options
    "conv2d": (("x", "w"), OPTIONS),
    "conv2d_dx": (("g", "w"), ("shape", *OPTIONS)),
    "conv2d_dw": (("x", "g"), ("shape", *OPTIONS)),
}


class ChoicesError(OSError, ValueError):
    """The file of tuned choices cannot be used; the text says why, and the way out."""


class Forced(NamedTuple):
    """An algorithm; `strict` if no other may do what it cannot."""

    algorithm: str | None = None
    strict: bool = False


NOT_FORCED = Forced()
forced: ContextVar[Forced] = ContextVar("algorithm", default=NOT_FORCED)


class Registered(NamedTuple):
    """An algorithm of somebody else's for one kernel, and of which layers it does that."""

    function: Callable[..., Any]
    takes: Callable[[Any], Any]


registered: dict[str, dict[str, Registered]] = {}  # by name and kernel
changed: list[Callable[[], None]] = []  # called when that changes: plans are made again


def names() -> tuple[str, ...]:
    """Every algorithm that can be forced: minigan's own, then the registered ones."""
    return (*ALGORITHMS, *registered)


def _any_layer(layer: Any) -> bool:
    return True


def register(
    name: str,
    kernel: str,
    function: Callable[..., Any] | None = None,
    *,
    takes: Callable[[Any], Any] = _any_layer,
) -> Any:
    """Let `function` be the algorithm `name` for a kernel: "conv2d", "conv2d_dx" or "conv2d_dw".

    It is called as that kernel is, with float32 arrays of NumPy in any order in memory, which it
    must not write, and with pairs for stride, padding and dilation; it returns a float32 array. It
    computes within `use(name)`, and where `bench tune` has found it the fastest. `takes(layer)`
    says of which layers: it gets their `image`, `weight` and `output` shapes, `window` (kernel,
    stride, padding, dilation) and `groups`. All other layers go by the rule. Without a function
    this is a decorator. A second registration replaces the first.

    Raises:
        TypeError: if the function or `takes` cannot be called so.
        ValueError: if the name is none, or is one of minigan's own, or there is no such kernel.

    >>> def plain(x, w, **options):
    ...     with kernels.use("reference"):
    ...         return kernels.conv2d(x, w, **options)
    >>> done = register("plain", "conv2d", plain)
    >>> x, w = np.ones((1, 1, 3, 3), np.float32), np.ones((1, 1, 2, 2), np.float32)
    >>> with kernels.use("plain"):
    ...     kernels.conv2d(x, w)[0, 0]
    array([[4., 4.],
           [4., 4.]], dtype=float32)
    >>> unregister("plain")
    """
    if function is None:
        return lambda function: register(name, kernel, function, takes=takes)
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z]\w*", name):
        raise ValueError(f"an algorithm has a name of letters and digits, not {name!r}")
    if name in ALGORITHMS + BACKENDS:
        raise ValueError(f"{name} is one of minigan's own; choose another name")
    if kernel not in KERNELS:
        raise ValueError(f"an algorithm computes {', '.join(KERNELS)}, not {kernel!r}")
    for what, called in ("the algorithm", function), ("takes", takes):
        if not callable(called):
            raise TypeError(f"{what} of {name} must be a function, not {called!r}")
    arrays, options = KERNELS[kernel]
    try:
        inspect.signature(function).bind(*arrays, **dict.fromkeys(options))
    except TypeError as error:
        wanted = ", ".join([*arrays, "*", *options])
        raise TypeError(f"{name} must take ({wanted}) as {kernel} does ({error})") from error
    except ValueError:  # a function that does not say what it takes
        pass
    registered.setdefault(name, {})[kernel] = Registered(function, takes)
    _tell()
    return function


def unregister(name: str) -> None:
    """Forget the algorithm `name`.

    Raises:
        ValueError: if none is registered so.

    >>> done = register("mine", "conv2d", kernels.conv2d)
    >>> unregister("mine")
    """
    if name not in registered:
        raise ValueError(f"no algorithm is registered as {name!r}")
    del registered[name]
    _tell()


def _tell() -> None:
    for tell in changed:
        tell()

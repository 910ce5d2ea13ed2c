"""Explicit randomness: a counter-based generator whose whole state is two integers."""

from __future__ import annotations

import inspect
import math
import operator
import sys
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

import minigan_kernels as kernels
import numpy as np

from .device import HOST, Array
from .device.graph_inputs import graph_scalar
from .hints import completed, hint

__all__ = ["Generator", "takes_generator"]

Shape = int | tuple[int, ...]
_P = ParamSpec("_P")
_R = TypeVar("_R")

MOST = 1 << 24  # a float32 in [0, 1) tells so many integers apart
_TOP = np.float32(1 - 2**-24)  # the largest number that the uniform kernel gives
_LARGEST = float(np.finfo(np.float32).max)


def _shape_first(draw: Callable[_P, _R]) -> Callable[_P, _R]:
    """Decorate a method that draws numbers: it refuses the arguments of other libraries' methods,
    in which the shape is the last.
    """
    name = draw.__name__
    named, most = {  # how to write it, and how many arguments it takes by position, with self
        "normal": ("mean=0.0, std=0.02", 2),
        "uniform": ("low=-1.0, high=1.0", 4),
        "integers": ("high=10", 3),
    }[name]

    @wraps(draw)
    def checked(*args: _P.args, **options: _P.kwargs) -> _R:
        # NumPy's uniform(2, 3) is a range: beside a shape that is an integer bounds go by name.
        is_clear = name == "integers" or len(args) < 3
        beside_integer = not is_clear and not isinstance(args[1], (tuple, list))
        if len(args) > most or beside_integer or not options.keys().isdisjoint(_ELSEWHERE):
            raise TypeError(
                f"rng.{name} takes the shape first and numbers by name, as "
                f"rng.{name}((2, 3), {named})"
            )
        return draw(*args, **options)

    return checked


def __dir__() -> list[str]:
    return __all__


_ELSEWHERE = {"size", "loc", "scale"}


class Generator:
    """Philox4x32-10 (Salmon et al. 2011): the same seed gives the same numbers on every device.

    `seed` and the words of `stream` name a stream; streams of one seed are independent. A draw
    advances `offset`, the number of 128-bit blocks used so far; (key, offset) is the state. All
    numbers are float32 and are drawn on `device`. A draw that is refused uses no blocks.

    Raises:
        ValueError: if the seed is no integer.

    >>> mg.Generator(0).normal(3).shape
    (3,)
    >>> bool((mg.Generator(0).uniform(3) == mg.Generator(0).uniform(3)).all())
    True
    """

    def __init__(self, seed: int, *stream: str) -> None:
        import hashlib  # with OpenSSL it takes a while, and not everybody draws

        name = "/".join((str(_whole(seed, "the seed of a Generator")), *stream)).encode()
        self.key = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little")
        self.offset = 0
        self.device = HOST

    @_shape_first
    def normal(self, shape: Shape, *, mean: float = 0.0, std: float = 1.0) -> Array:
        """Normal numbers of this mean and standard deviation.

        Raises:
            ValueError: if the standard deviation is below 0, or one is no finite float32.
        """
        if not (0 <= std <= _LARGEST and -_LARGEST <= mean <= _LARGEST):
            raise ValueError(
                f"normal numbers have a mean and a scale, std, of 0 or more, not {mean} and {std}"
            )
        numbers = self._draw(shape, kernels.normal) * np.float32(std)
        return numbers + np.float32(mean) if mean else numbers

    @_shape_first
    def uniform(self, shape: Shape, low: float = 0.0, high: float = 1.0) -> Array:
        """Uniform numbers in [low, high); `low` if the two are equal. Beside a shape that is an
        integer the bounds are given by name.

        Raises:
            ValueError: if low is above high, or one or the difference is no finite float32.
        """
        if not (-_LARGEST <= low <= high <= _LARGEST and high - low <= _LARGEST):
            raise ValueError(
                f"uniform numbers are from a low to a high bound, both finite, not {low} to {high}"
            )
        span, start, end = np.float32(high - low), np.float32(low), np.float32(high)
        numbers = self._draw(shape, kernels.uniform) * span + start
        if _TOP * span + start >= end:  # rounding can reach `high`
            numbers = np.minimum(numbers, np.nextafter(end, start))
        return numbers

    def dropout_mask(self, shape: Shape, keep: float) -> Array:
        """1 / keep with probability `keep`, else 0.

        Raises:
            ValueError: if `keep` is not in (0, 1].
        """
        if not 0 < keep <= 1:
            raise ValueError(f"the probability to keep a value must be in (0, 1], not {keep}")
        return self._draw(shape, kernels.dropout_mask, keep=keep)

    @_shape_first
    def integers(self, shape: Shape, high: int) -> Array:
        """Integers from 0 to `high` - 1, int64.

        Raises:
            ValueError: if `high` is no integer from 1 to 2^24.
        """
        if not 1 <= _whole(high, "the bound of random integers") <= MOST:
            raise ValueError(f"the bound of random integers must be from 1 to {MOST}, not {high}")
        return (self.uniform(shape) * np.float32(high)).astype(np.int64)

    @property
    def state(self) -> dict[str, int]:
        """The key of the stream and the number of blocks used."""
        return {"key": self.key, "offset": self.offset}

    @state.setter
    def state(self, state: dict[str, int]) -> None:
        if state.keys() != {"key", "offset"}:
            raise ValueError(f"a generator's state is its key and offset, not {', '.join(state)}")
        found = {name: _whole(value, f"a generator's {name}") for name, value in state.items()}
        for name, value in found.items():
            if not 0 <= value < 1 << 64:
                raise ValueError(f"a generator's {name} must be from 0 to 2^64 - 1, not {value}")
        self.key, self.offset = found["key"], found["offset"]

    __dir__ = completed

    def __repr__(self) -> str:
        return f"Generator(key={self.key:#x}, offset={self.offset})"

    def _draw(self, shape: Shape, kernel: Any, **options: Any) -> Array:
        out = self.device.empty(shape, np.float32)
        advance = partial(self._advance, math.ceil(out.size / 4))
        offset = advance() if self.device is HOST else graph_scalar(advance, np.uint64)
        kernel(out, key=self.key, offset=offset, **options)
        return out

    def _advance(self, blocks: int) -> int:
        """The offset of the next `blocks` blocks, which count as used."""
        offset = self.offset
        self.offset += blocks
        return offset


# What other libraries' generators have.
_NORMAL, _UNIFORM = "say rng.normal(shape)", "say rng.uniform(shape)"
HINTS: dict[str, str] = {
    "standard_normal": _NORMAL,
    "randn": _NORMAL,
    "normal_": _NORMAL,
    "random": _UNIFORM,
    "rand": _UNIFORM,
    "uniform_": _UNIFORM,
    "randint": "say rng.integers(shape, high), from 0 to high - 1",
    "choice": "take an index array, as x[rng.integers(n, len(x))]",
    "permutation": "say numpy.argsort(rng.uniform(n))",
    "shuffle": "take an index array, as x[numpy.argsort(rng.uniform(len(x)))]",
    "bernoulli": "say rng.uniform(shape) < p",
    "manual_seed": "build another: minigan.Generator(seed)",
    "seed": "build another: minigan.Generator(seed); rng.state has what makes it go on from here",
    "get_state": "read rng.state",
    "set_state": "set rng.state",
}
hint(Generator, HINTS)


def takes_generator(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Decorate a function with an argument `rng`: it refuses whatever is no `Generator`.

    NumPy's generators have methods of the same names with other arguments, so they would give other
    numbers, or numbers of another shape, without an error. Where nothing but `rng` is missing, it
    says how to give one; the attribute `draws` of a layer's class says what it draws.
    """
    signature = inspect.signature(function)
    parameters = signature.parameters
    mine = parameters["rng"]
    place = (
        list(parameters).index("rng") if mine.kind is mine.POSITIONAL_OR_KEYWORD else sys.maxsize
    )
    name = function.__qualname__.partition(".<locals>")[0]

    @wraps(function)
    def checked(*args: _P.args, **options: _P.kwargs) -> _R:
        if "rng" in options:
            rng: object = options["rng"]
        elif len(args) > place:
            rng = args[place]
        else:
            if mine.default is mine.empty and _binds(signature, args, options):
                raise TypeError(_without_generator(name, args))
            return function(*args, **options)  # which says what is missing, if anything is
        if not (isinstance(rng, Generator) or (rng is None and mine.default is None)):
            kind = type(rng)
            given = kind.__qualname__
            if kind.__module__ != "builtins":
                given = f"{kind.__module__}.{given}"
            taker = type(args[0]).__name__ if name.endswith(".__init__") else name
            raise TypeError(
                f"the rng of {taker} must be a minigan.Generator, not {given}; build one as "
                "minigan.Generator(seed)"
            )
        return function(*args, **options)

    return checked


def _binds(signature: inspect.Signature, args: Any, options: Any) -> bool:
    """Whether these arguments would do, beside `rng`."""
    try:
        signature.bind(*args, rng=None, **options)
    except TypeError:
        return False
    return True


def _without_generator(name: str, args: tuple[Any, ...]) -> str:
    make = "rng = mg.Generator(seed=0)"
    if not name.endswith(".__init__"):
        return f"{name} needs rng, the generator of its random numbers: {make}"
    layer = type(args[0])
    known = layer.__module__.startswith(f"{__package__}.nn.")
    taker = f"nn.{layer.__name__}" if known else layer.__qualname__
    draws = getattr(layer, "draws", "initial weights")
    return f"{taker} needs rng=, the generator of its {draws}: {make}; {taker}(..., rng=rng)"


def _whole(value: Any, what: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise ValueError(f"{what} must be an integer, not {value!r}") from None

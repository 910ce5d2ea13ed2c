"""Checks of the arguments of layers and optimisers."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

from ..tensor import GraphError, Tensor

if TYPE_CHECKING:
    from .module import Module


class Interval:
    """The numbers that an argument may have, written as in "[0, 1)"."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.low, self.high = map(float, text[1:-1].split(","))
        self.has_low, self.has_high = text[0] == "[", text[-1] == "]"

    def __contains__(self, value: float) -> bool:
        above = value > self.low or (self.has_low and value == self.low)
        return above and (value < self.high or (self.has_high and value == self.high))

    def check(self, value: Any, what: str) -> float:
        """`value` as a Python number.

        Raises:
            TypeError: if it is no number; the message calls it `what`.
            ValueError: if it is outside of the interval.
        """
        if not isinstance(value, Real):
            raise TypeError(f"{what} must be a number in {self.text}, not {value!r}")
        number = float(value)
        if number not in self:
            raise ValueError(f"{what} must be in {self.text}, not {value}")
        return number


def check_sizes(owner: object, **sizes: int) -> None:
    """Make sure that all sizes of a layer are integers of at least 1.

    Raises:
        ValueError: naming the layer and the size that is none.
    """
    for name, size in sizes.items():
        try:
            fits = operator.index(size) >= 1
        except TypeError:
            fits = False
        if not fits:
            kind = type(owner).__name__
            raise ValueError(f"{name} of {kind} must be an integer of at least 1, not {size!r}")


def check_floating(owner: object, x: Tensor) -> None:
    """Make sure that the input of a layer is of floating-point numbers.

    Raises:
        ValueError: naming the layer and the dtype, with the way out.
    """
    if x.dtype.kind != "f":
        raise ValueError(
            f"{type(owner).__name__} takes floating-point numbers, but x is {x.dtype}; build it as "
            "Tensor(data, numpy.float32)"
        )


def check_images(owner: Module, x: Tensor, channels: int, error: Exception) -> None:
    """After an error, make sure that it is not the shape of x: images of so many channels.

    Raises:
        GraphError: naming the layer, and the shape.
    """
    if x.ndim != 4 or x.shape[1] != channels:
        kind, way = type(owner).__name__, "; one image is x[None]" if x.ndim == 3 else ""
        raise GraphError(
            f"{kind} takes images of {channels} channels, (N, {channels}, H, W), but x has shape "
            f"{x.shape}{way}"
        ) from error


def named_padding(
    owner: object, name: str, reach: Sequence[int], strides: Sequence[int]
) -> tuple[Any, Any]:
    """Zeros on both sides of each axis, and those at its end besides, by the name "same" or
    "valid", of a kernel that reaches so many values beyond its first.

    Raises:
        ValueError: for another name, or for "same" with a stride, which no padding makes up for.
    """
    kind = type(owner).__name__
    if name not in ("same", "valid"):
        raise ValueError(
            f"padding of {kind} must be an integer of at least 0, 'same' or 'valid', not {name!r}"
        )
    if name == "valid":
        return (0,) * len(reach), (0,) * len(reach)
    if max(strides) > 1:
        raise ValueError(
            f"padding='same' of {kind} needs a stride of 1, not {max(strides)}: write "
            f"padding={max(reach) // 2}"
        )
    return tuple(n // 2 for n in reach), tuple(n % 2 for n in reach)


def bias_repr(owner: Any) -> list[str]:
    """What a layer's description says of its bias and its activation, if that is unusual."""
    words = ["bias=False"] if owner.bias is None else []
    return words if owner.activation is None else [*words, f"activation={owner.activation!r}"]

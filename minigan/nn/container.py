"""A sequence of modules, and changes of shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, overload

from .. import ops
from ..tensor import Tensor
from .module import Module
from .saved import Renamed

Layer = Module | Callable[[Any], Any]


class Sequential(Module):
    """The layers one after another: modules, or functions of a tensor.

    `net[i]` is a layer, `net[i:j]` a sequence of the same layers.

    Raises:
        TypeError: for what is no layer, such as a list of layers, or a class.
    """

    takes_arrays = True
    pytorch_names: ClassVar[Renamed] = {"layers": ("",)}

    def __init__(self, *layers: Layer) -> None:
        self.layers = check_layers(self, layers)

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.layers)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Any:
        if not isinstance(index, slice):
            return self.layers[index]
        part = Sequential(*self.layers[index])
        part.training = self.training
        return part


class Flatten(Module):
    """Each sample as a vector: (N, ...) to (N, values)."""

    takes_arrays = True

    def forward(self, x: Tensor) -> Tensor:
        return ops.flatten(x)


class Reshape(Module):
    """Each sample in another shape: (N, ...) to (N, *shape)."""

    takes_arrays = True

    def __init__(self, *shape: int) -> None:
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        return ops.reshape(x, (x.shape[0], *self.shape))


def check_layers(owner: Module, layers: tuple[Any, ...]) -> list[Any]:
    """The layers that `owner` is made of.

    Raises:
        TypeError: naming the one that is no module and no function, with the way out.
    """
    kind = type(owner).__name__
    for layer in layers:
        if isinstance(layer, type):
            raise TypeError(f"{kind} takes layers, not classes: write {layer.__name__}(...)")
        if isinstance(layer, dict):
            raise TypeError(
                f"{kind} takes layers one after another, without names: write "
                f"{kind}(*layers.values())"
            )
        if not callable(layer):
            way = f": write {kind}(*layers)" if isinstance(layer, list | tuple) else ""
            given = type(layer).__name__
            raise TypeError(f"{kind} takes layers one after another, not a {given}{way}")
    return list(layers)

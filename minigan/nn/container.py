"""A sequence of modules, and changes of shape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any, ClassVar, Self, overload

from .. import ops
from ..tensor import Tensor
from .module import Module
from .saved import Renamed

Layer = Module | Callable[[Any], Any]


class Sequential(Module):
    """The layers one after another: modules, or functions of a tensor.

    They may be given in a list too, or in a dict by names, which stand in the names of parameters.
    `net[i]` is a layer, also by its name, and `net[i:j]` a sequence of the same layers.

    Raises:
        TypeError: for what is no layer, such as a list of layers beside others, or a class.

    >>> D = nn.Sequential(nn.Flatten(), nn.Linear(12, 1, rng=rng), mg.sigmoid)
    >>> D(mg.Tensor(rng.normal((5, 3, 2, 2)))).shape, len(D)
    ((5, 1), 3)
    """

    takes_arrays = True
    pytorch_names: ClassVar[Renamed] = {"layers": ("",)}
    layers: Any  # a list, or a dict by names

    def __init__(self, *layers: Layer | Sequence[Layer] | Mapping[str, Layer]) -> None:
        only = layers[0] if len(layers) == 1 else None
        if isinstance(only, Mapping):
            self.layers = dict(zip(only, check_layers(self, tuple(only.values())), strict=True))
        else:
            given = tuple(only) if isinstance(only, list | tuple) else layers
            self.layers = check_layers(self, given)

    def forward(self, x: Any) -> Any:
        layers = self.layers
        for layer in layers if type(layers) is list else layers.values():
            x = layer(x)
        return x

    def append(self, layer: Layer) -> Self:
        """Add a layer at the end; among layers by names it is called by the next free number."""
        return self.extend([layer])

    def extend(self, layers: Iterable[Layer]) -> Self:
        """Add layers at the end."""
        for layer in check_layers(self, tuple(layers)):
            if isinstance(self.layers, dict):
                free = (str(n) for n in count(len(self.layers)) if str(n) not in self.layers)
                self.layers[next(free)] = layer
            else:
                self.layers.append(layer)
        return self

    def insert(self, index: int, layer: Layer) -> Self:
        """Put a layer before the one at `index`; the later ones get new names."""
        if isinstance(self.layers, dict):
            raise TypeError("layers by names have fixed places; build a new Sequential")
        self.layers[index:index] = check_layers(self, (layer,))
        return self

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.layers.values() if isinstance(self.layers, dict) else self.layers)

    @overload
    def __getitem__(self, index: int | str) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | str | slice) -> Any:
        if not isinstance(index, slice):
            return self.layers[self._key(index)]
        if isinstance(self.layers, dict):
            part = Sequential(dict(list(self.layers.items())[index]))
        else:
            part = Sequential(*self.layers[index])
        part.training = self.training
        return part

    def __setitem__(self, index: int | str, layer: Layer) -> None:
        key = self._key(index)
        self.layers[key]  # as it replaces a layer, an unknown name is a mistake
        self.layers[key] = check_layers(self, (layer,))[0]

    def __delitem__(self, index: int | str) -> None:
        del self.layers[self._key(index)]

    def _key(self, index: int | str) -> Any:
        by_place = isinstance(self.layers, dict) and not isinstance(index, str)
        return list(self.layers)[index] if by_place else index  # type: ignore[index]


class Flatten(Module):
    """Each sample as a vector: (N, ...) to (N, values).

    Raises:
        ValueError: if other axes are asked for.

    >>> nn.Flatten()(mg.Tensor(rng.normal((5, 3, 2, 2)))).shape
    (5, 12)
    """

    takes_arrays = True

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        if (start_dim, end_dim) != (1, -1):
            raise ValueError(
                "nn.Flatten joins all axes but the first; nn.Reshape(...) gives samples any shape"
            )

    def forward(self, x: Tensor) -> Tensor:
        return ops.flatten(x)


class Reshape(Module):
    """Each sample in another shape: (N, ...) to (N, *shape). The shape is numbers, or a tuple.

    >>> nn.Reshape(3, 2, 2)(mg.Tensor(rng.normal((5, 12)))).shape
    (5, 3, 2, 2)
    """

    takes_arrays = True

    def __init__(self, *shape: int | tuple[int, ...]) -> None:
        if len(shape) == 1 and isinstance(shape[0], tuple | list):
            shape = tuple(shape[0])
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

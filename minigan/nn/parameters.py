"""Parameters, and their names in one module or in several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn, Self

import numpy as np

from ..errors import nearest
from ..tensor import Tensor


class Parameter(Tensor):
    """A tensor that is trained: as an attribute of a module, it is one of its parameters.

    Its values are a copy of an array, a list, a number or a tensor, whose history they do not
    keep; `dtype` as for a tensor. Results of operations on it, and its `detach()`, are plain
    tensors.

    >>> class Scale(nn.Module):
    ...     def __init__(self):
    ...         self.factor = nn.Parameter(np.ones(3, np.float32))
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> list(Scale().parameters())
    ['factor']
    """

    __slots__ = ()

    def __init__(self, data: Any, dtype: Any = None) -> None:
        given = data.data if isinstance(data, Tensor) else data
        super().__init__(given, dtype)
        if self.data is given:  # a read-only array, which a tensor takes as it is: optimisers write
            self.data = self.data.copy(order="K")

    def __copy__(self) -> Parameter:
        return type(self)(self)

    def __repr__(self) -> str:
        values = np.array2string(self.numpy(), separator=", ", prefix="Parameter(", threshold=100)
        return f"Parameter({values}, {self.dtype})"


class Name(str):
    """The name of a parameter. Who takes it for the parameter is told how to get that."""

    __slots__ = ()

    def __getattr__(self, attribute: str) -> NoReturn:
        if attribute.startswith("_"):
            raise AttributeError(f"'str' object has no attribute {attribute!r}")
        raise AttributeError(
            f"{str(self)!r} is the name of a parameter, and has no {attribute}: parameters() is a "
            "dict, so go through net.parameters().values(), or .items()"
        )

    def __setattr__(self, attribute: str, value: Any) -> NoReturn:
        getattr(self, attribute)
        raise AttributeError(f"the attribute {attribute!r} of a name cannot be set")

    def __reduce__(self) -> Any:
        return str, (str(self),)


class Parameters(dict[str, Tensor]):
    """Parameters by name, as `Module.parameters` gives them.

    `a | b` has the parameters of both: nothing is dropped. One that both have appears once, under
    its name in a. If b has a name of a for another tensor, all names of b get the prefix "2."; or
    "3.", if those are taken too. `minigan.optim.joined` joins them under prefixes of one's own.

    `places` says, for each name, where the parameter was found: the attributes, list or dict that
    hold it, and the key. An optimiser uses it to notice that the parameter was replaced.
    """

    def __init__(self, named: Mapping[str, Tensor] | None = None) -> None:
        super().__init__(named or {})
        self.places: dict[str, tuple[Any, Any]] = {}
        if isinstance(named, Parameters):
            self.places |= named.places

    def __iter__(self) -> Iterator[str]:
        return map(Name, self.keys())

    def __missing__(self, name: object) -> NoReturn:
        if not isinstance(name, str):
            raise KeyError(f"parameters() is a dict by names, not {name!r}: list(net.parameters())")
        meant = [own for own in self.keys() if _without_container(own) == _without_container(name)]
        near = meant[0] if meant else nearest(name, self.keys())
        way = f"did you mean {near}?" if near else "list(net.parameters()) are the names"
        raise KeyError(f"there is no parameter {name}; {way}")

    def __or__(self, other: Any) -> Parameters:  # type: ignore[override]
        if not isinstance(other, Mapping):
            return NotImplemented
        joint = Parameters(self)
        mine = {id(p) for p in self.values()}
        new = {name: p for name, p in other.items() if id(p) not in mine}
        count, prefix = 1, ""
        while any(f"{prefix}{name}" in self for name in new):
            count += 1
            prefix = f"{count}."
        joint.add(prefix, new, getattr(other, "places", {}))
        return joint

    def __ror__(self, other: Any) -> Parameters:  # type: ignore[override]
        return Parameters(other) | self if isinstance(other, Mapping) else NotImplemented

    def __ior__(self, other: Any) -> Self:  # type: ignore[override]
        joint = self | other
        super().update(joint)
        self.places |= joint.places
        return self

    def update(self, *others: Any, **named: Tensor) -> None:
        """As `|=`, so that nothing is dropped."""
        for other in (*others, named):
            self |= other if isinstance(other, Mapping) else dict(other)

    def __reduce__(self) -> Any:
        return Parameters, (dict(self),)  # without the places, which belong to this process

    def add(
        self, prefix: str, named: Mapping[str, Tensor], places: Mapping[str, tuple[Any, Any]]
    ) -> None:
        """Add tensors under prefixed names, with the places of those whose place is known."""
        for name, tensor in named.items():
            self[f"{prefix}{name}"] = tensor
            if name in places:
                self.places[f"{prefix}{name}"] = places[name]


def _without_container(name: str) -> list[str]:
    """The parts of a name by which ours and PyTorch's are equal: no `layers` of a Sequential, no
    `layer` of a spectral norm, and of a norm a weight and a bias.
    """
    as_theirs = {"gamma": "weight", "beta": "bias", "weight_orig": "weight"}
    parts = name.split(".")
    return [as_theirs.get(part, part) for part in parts if part not in ("layers", "layer")]


def joined(**players: Mapping[str, Tensor]) -> Parameters:
    """The parameters of several players, for one optimiser: `joined(G=G.parameters(), ...)`.

    Each name gets its player as a prefix, "G.layers.0.weight" say. A parameter that players share
    appears once, under its first name. A dict of gradients is joined in the same way.

    Raises:
        TypeError: if a player is given as anything else than tensors by name.

    >>> G, D = nn.Linear(3, 2, rng=rng), nn.Linear(2, 1, rng=rng)
    >>> list(mg.optim.joined(G=G.parameters(), D=D.parameters()))
    ['G.weight', 'G.bias', 'D.weight', 'D.bias']
    """
    joint = Parameters()
    for player, named in players.items():
        if not isinstance(named, Mapping):
            raise TypeError(
                f"joined takes tensors by name for {player}, such as {player}.parameters(), not "
                f"{type(named).__name__}"
            )
        known = {id(p) for p in joint.values()}
        new = {name: p for name, p in named.items() if id(p) not in known}
        joint.add(f"{player}.", new, getattr(named, "places", {}))
    return joint

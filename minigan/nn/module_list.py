"""Parts of a module by number or by name, as modules.

A plain list or dict of modules does the same within a module; these also have the methods of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self, overload

from .module import Module


class ModuleList(Module):
    """Modules in a list, each of them a part: `blocks.0`, `blocks.1`, ...

    It is no layer: whoever holds it calls its parts.

    Raises:
        TypeError: for what is no module.

    >>> blocks = nn.ModuleList([nn.Tanh(), nn.ReLU()])
    >>> len(blocks), blocks[-1]
    (2, ReLU())
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self.extend(modules)

    def forward(self, *inputs: Any) -> Any:
        raise TypeError("a ModuleList is no layer: call its parts, or make a Sequential of them")

    def append(self, module: Module) -> Self:
        """Add a module at the end."""
        vars(self)[str(len(self))] = _checked(self, module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add modules at the end."""
        if isinstance(modules, Module) and not isinstance(modules, ModuleList):
            raise TypeError(f"a ModuleList takes modules in a list, not {type(modules).__name__}")
        for module in list(modules):
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> None:
        """Add a module before the one at `index`."""
        parts = list(self)
        parts.insert(index, _checked(self, module))
        self._renew(parts)

    def _renew(self, parts: list[Module]) -> None:
        for name in _parts(self):
            del vars(self)[name]
        self.extend(parts)

    def __len__(self) -> int:
        return len(_parts(self))

    def __iter__(self) -> Iterator[Any]:
        return iter(list(_parts(self).values()))

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> ModuleList: ...
    def __getitem__(self, index: int | slice) -> Any:
        found = list(self)[index]
        if not isinstance(found, list):
            return found
        part = ModuleList(found)
        part.training = self.training
        return part

    def __setitem__(self, index: int, module: Module) -> None:
        parts = list(self)
        parts[index] = _checked(self, module)
        self._renew(parts)

    def __delitem__(self, index: int | slice) -> None:
        parts = list(self)
        del parts[index]
        self._renew(parts)


class ModuleDict(Module):
    """Modules by name, each of them a part: `heads.real`, `heads.label`, ...

    It is no layer: whoever holds it calls its parts.

    Raises:
        TypeError: for what is no module, or a name that is no string.
        ValueError: for a name that a module has already, such as "forward", or one with a dot.

    >>> heads = nn.ModuleDict({"real": nn.Sigmoid(), "label": nn.Softmax(dim=1)})
    >>> list(heads), heads["real"]
    (['real', 'label'], Sigmoid())
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] = ()) -> None:
        self.update(modules)

    def forward(self, *inputs: Any) -> Any:
        raise TypeError("a ModuleDict is no layer: call its parts, as heads['name'](x)")

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add modules, or put them in the place of those of the same names."""
        for name, module in dict(modules).items():
            self[name] = module

    def keys(self) -> Iterable[str]:
        """The names, in the order in which they were added."""
        return _parts(self).keys()

    def values(self) -> Iterable[Any]:
        """The modules."""
        return _parts(self).values()

    def items(self) -> Iterable[tuple[str, Any]]:
        """The names and modules."""
        return _parts(self).items()

    def __len__(self) -> int:
        return len(_parts(self))

    def __iter__(self) -> Iterator[str]:
        return iter(list(_parts(self)))

    def __contains__(self, name: object) -> bool:
        return name in _parts(self)

    def __getitem__(self, name: str) -> Any:
        return _parts(self)[name]

    def __setitem__(self, name: str, module: Module) -> None:
        if not isinstance(name, str):
            raise TypeError(f"the parts of a ModuleDict have names, and {name!r} is no string")
        if not name or "." in name or (name not in self and hasattr(self, name)):
            raise ValueError(f"no part of a ModuleDict can be called {name!r}; take another name")
        vars(self)[name] = _checked(self, module)

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        del vars(self)[name]


def _parts(owner: Module) -> dict[str, Module]:
    """All attributes but `training`, which `train` sets, by name."""
    return {name: part for name, part in vars(owner).items() if isinstance(part, Module)}


def _checked(owner: Module, module: Any) -> Module:
    if not isinstance(module, Module):
        given = f"the class {module.__name__}" if isinstance(module, type) else repr(module)
        raise TypeError(f"the parts of a {type(owner).__name__} are modules, not {given}")
    return module

"""Recipes, data and hyper-parameters as they are given: by name, by file, or as Python has them."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import gans
from .data import Dataset, from_arrays
from .errors import UserError
from .schema import SchemaError
from .training.recipe import Recipe
from .training.run import IN_PYTHON
from .training.schema import check_fields


@dataclass(frozen=True)
class Source:
    """A recipe's class, and where it is from."""

    name: str  # canonical
    kind: type[Recipe]
    file: dict[str, str] | None  # the path and the hash of its file; None for minigan's own

    @property
    def short(self) -> str:
        """The name without folders."""
        return Path(self.name.removeprefix(IN_PYTHON)).stem


def find(name: str) -> Source:
    """The recipe called `name`, or the one in the file `name`, which is executed.

    Raises:
        UserError: if there is none; the message has the nearest name.
    """
    file = gans.identity(gans.file_of(name))  # of what is about to be executed
    return Source(gans.canonical(name), gans.load(name), file)


def recipe_source(recipe: str | Path | Recipe | type[Recipe]) -> Source:
    """The source of a recipe that is given by its name, its file, its class or an instance.

    A class that is alone in a file is a recipe of that file, as for commands. Any other one, such
    as a notebook's, is known to this program alone, and its name says so.

    Raises:
        UserError: if it is none of these.
    """
    if isinstance(recipe, str | Path):
        return find(str(recipe))
    kind = recipe if isinstance(recipe, type) else type(recipe)
    if not issubclass(kind, Recipe):
        raise UserError(
            "a recipe is a name such as 'dcgan', a file, or a class derived from "
            f"minigan.recipe.Recipe, not {_brief(recipe)}"
        )
    own = [name for name, a in inspect.get_annotations(kind).items() if "ClassVar" not in str(a)]
    if own and "__dataclass_fields__" not in vars(kind):
        raise UserError(
            f"{kind.__name__} has the field {own[0]} but is no dataclass; write "
            "@dataclass(frozen=True) above the class"
        )
    module = sys.modules.get(kind.__module__)
    file = getattr(module, "__file__", None)
    path = Path(file or "").resolve()  # of a program from standard input no file is there
    if module is not None and path.is_file() and gans.recipes_of(module) == [kind]:
        known = gans.identity(path)
        return Source(path.stem if known is None else str(path), kind, known)
    return Source(f"{IN_PYTHON}{kind.__name__}", kind, None)


def in_memory(data: Any) -> str | Dataset:
    """Data by name as text; arrays, or (x, y), as a data set.

    Raises:
        UserError: as `minigan.data.from_arrays`.
    """
    if isinstance(data, Dataset):
        return data
    if isinstance(data, str | Path):
        return str(data)
    x, y = data if isinstance(data, tuple) and len(data) == 2 else (data, None)
    try:
        return from_arrays(x, y)
    except UserError as error:
        if "range=" not in str(error):
            raise
        way = "minigan.data.from_arrays(x, y, range=...) makes data of them"
        raise UserError(f"{error}; {way}") from error


def checked_fields(
    kind: type[Any], given: Mapping[str, Any], others: Iterable[str] = ()
) -> dict[str, Any]:
    """Fields of a dataclass as keyword arguments give them, with numbers of the fields' types.

    `others` are the names that the function takes beside them.

    Raises:
        UserError: for an unknown name, with the nearest one, or a value of another type.
    """
    known = {f.name: f for f in dataclasses.fields(kind) if f.init}
    values = {}
    for name, value in given.items():
        if name not in known:
            near = difflib.get_close_matches(name.lower(), [*known, *others], n=1, cutoff=0.6)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise UserError(f"{kind.__name__} has no hyper-parameter {name}; {hint}")
        value = value.item() if isinstance(value, np.generic) else value
        values[name] = float(value) if known[name].type == "float" and type(value) is int else value
    try:
        check_fields(kind, values)
    except SchemaError as error:
        raise UserError(str(error).removeprefix("hyper_parameters.")) from error
    return values


def in_python(text: str, names: Iterable[str]) -> str:
    """A message whose flags are named as keyword arguments, but in commands: lr for --lr."""
    known = set(names)

    def called(found: re.Match[str]) -> str:
        name = (found["flag"] or "").replace("-", "_")
        return name if name in known else found[0]

    return re.sub(r"minigan \w+ [^;,:()]*|--(?P<flag>[a-z][a-z0-9-]*)", called, text)


def written(recipe: Any, options: Mapping[str, Any]) -> str:
    """The call of minigan.train with these arguments, for the record."""
    words = [_brief(recipe), *(f"{name}={_brief(value)}" for name, value in options.items())]
    return f"minigan.train({', '.join(words)})"


def _brief(value: Any) -> str:
    """A value in a call: as Python writes it, if that is short."""
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, Path):
        return repr(str(value))
    if isinstance(value, tuple):
        return f"({', '.join(map(_brief, value))})"
    if isinstance(value, str | int | float | None | Dataset | Recipe):
        return repr(value)
    shape = getattr(value, "shape", None)
    return f"<{type(value).__name__}{'' if shape is None else f' {tuple(shape)}'}>"

"""The recipes, one file a paper, found by file name.

The folders of the environment variable MINIGAN_RECIPES (separated as in PATH, the first one wins)
are searched too, and the path of a file is a name as well.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

from ..errors import UserError, nearest
from ..training.recipe import Recipe


def names() -> list[str]:
    """Names of all recipes that can be found, sorted.

    >>> "dcgan" in names()
    True
    """
    return sorted(_files())


def load(name: str) -> type[Recipe]:
    """The recipe called `name`, or the one in the file `name`, which is executed.

    Raises:
        UserError: if there is none; the message has the nearest name.

    >>> load("dcgan")(width=16).width
    16
    """
    path = file_of(name)
    found = recipes_of(_import(path))
    if len(found) != 1:
        raise UserError(f"{path} should define one subclass of Recipe, but defines {len(found)}")
    return found[0]


def load_file(name: str) -> ModuleType:
    """The module in the file `name`, which is executed.

    Raises:
        UserError: if there is no such file, or it cannot be imported.

    >>> load_file("dcgan").DCGAN is load("dcgan")
    True
    """
    return _import(file_of(name))


def recipes_of(module: ModuleType) -> list[type[Recipe]]:
    """The recipes that a module defines, in order; not those that it imports.

    >>> [kind.__name__ for kind in recipes_of(load_file("gan"))]
    ['GAN']
    """
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Recipe)
        and value.__module__ == module.__name__
    ]


def file_of(name: str) -> Path:
    """The file of the recipe called `name`, which is not executed.

    Raises:
        UserError: if there is none; the message has the nearest name.

    >>> file_of("wgan-gp").name
    'wgan_gp.py'
    """
    files = _files()
    key = canonical(name)
    if name.endswith(".py"):
        path = Path(key)
        if not path.is_file():
            raise UserError(f"there is no recipe file {name}")
        return path
    if key in files:
        return files[key]
    near = nearest(key, files)
    hint = f"; did you mean {near}?" if near else f"; there are {', '.join(sorted(files))}"
    raise UserError(f"there is no recipe called {name}{hint}")


def identity(path: Path) -> dict[str, str] | None:
    """The path and the SHA-256 of a recipe's file; None for minigan's own recipes.

    >>> identity(file_of("dcgan")) is None
    True
    """
    if path.parent == Path(__file__).parent:
        return None
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"path": str(path.resolve()), "sha256": digest}


def is_built_in(name: str) -> bool:
    """Whether a recipe of this name is one of minigan's own.

    >>> is_built_in("dcgan"), is_built_in("mine")
    (True, False)
    """
    return canonical(name) in _within(Path(__file__).parent)


def canonical(name: str) -> str:
    """The canonical name of a recipe: with underscores, or the full path of a file.

    >>> canonical("wgan-gp")
    'wgan_gp'
    """
    return str(Path(name).resolve()) if name.endswith(".py") else name.replace("-", "_")


def _files() -> dict[str, Path]:
    extra = [Path(p) for p in os.environ.get("MINIGAN_RECIPES", "").split(os.pathsep) if p]
    ours = _within(Path(__file__).parent)
    found: dict[str, Path] = {}
    for folder in reversed(extra):
        if not folder.is_dir():
            raise UserError(f"MINIGAN_RECIPES names {folder}, which is not a folder")
        theirs = _within(folder)
        for name in sorted(theirs.keys() & ours.keys()):
            if not theirs[name].samefile(ours[name]):
                raise UserError(
                    f"{theirs[name]} has the name of minigan's own recipe {name}; rename the file"
                )
        found |= theirs
    return found | ours


def _within(folder: Path) -> dict[str, Path]:
    """The recipes in a folder by name."""
    files = (file for file in folder.glob("*.py") if not file.stem.startswith("_"))
    return {canonical(file.stem): file for file in files}


def _import(path: Path) -> ModuleType:
    if path.parent == Path(__file__).parent:
        return importlib.import_module(f"{__name__}.{path.stem}")
    name = f"minigan_recipe_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and help texts look the module up by its name
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a user's file may raise anything
        raise UserError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    return module

"""The API pages: HTML from the docstrings of all that is public, by pdoc.

    pip install -e '.[docs]'
    python .github/pages.py FOLDER

A page is a module of `PAGES`, and shows what `public` names. A warning of pdoc ends it.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
import textwrap
import typing
import warnings
from dataclasses import is_dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from minigan.gans import names as recipes
from minigan.tensor import Primitive

PAGES = (
    "minigan",
    "minigan.nn",
    "minigan.nn.init",
    "minigan.optim",
    "minigan.losses",
    "minigan.penalties",
    "minigan.data",
    "minigan.weights",
    "minigan.recipe",
    "minigan.gans",
    *(f"minigan.gans.{name}" for name in recipes()),
    "minigan.live_run",
    "minigan.training",
    "minigan.training.state",
    "minigan.training.loop",
    "minigan.metrics",
    "minigan.metrics.density_coverage",
    "minigan.metrics.frechet",
    "minigan.metrics.kernel_distance",
    "minigan.metrics.modes",
    "minigan.metrics.nearest",
    "minigan.metrics.neighbours",
    "minigan.metrics.parzen",
    "minigan.metrics.pca",
    "minigan.metrics.precision_recall",
    "minigan.metrics.scores",
    "minigan.metrics.spectral",
    "minigan.viz",
    "minigan.viz.grid",
    "minigan.viz.plots",
    "minigan.viz.figure1",
    "minigan.viz.animation",
    "minigan.testing",
    "minigan_kernels",
)
FOOTER = (
    "Examples begin with: import numpy as np; import minigan as mg; from minigan import nn; "
    "rng = mg.Generator(0)."
)


def public(module: ModuleType) -> dict[str, Any]:
    """What a module offers, by name: its `__all__`, or else what it defines; no modules, and no
    type variables.
    """
    names = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
    found = {name: getattr(module, name) for name in names}
    others = (ModuleType, typing.TypeVar)
    return {name: value for name, value in found.items() if not isinstance(value, others)}


def comments(kind: type) -> dict[str, str]:
    """The comments beside the fields of a class and its bases: the help texts of a recipe."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        try:
            source = textwrap.dedent(inspect.getsource(base))
        except (OSError, TypeError):  # of a class that is written in no file
            continue
        lines = source.splitlines()
        for node in ast.parse(source).body[0].body:  # type: ignore[attr-defined]
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                _, mark, text = lines[(node.end_lineno or 1) - 1].partition("  # ")
                if mark:
                    found[node.target.id] = text
    return found


def shown(name: str, value: Any) -> Any:
    """A public object as pdoc understands it."""
    if isinstance(value, type) and (is_dataclass(value) or hasattr(value, "_fields")):
        # A field's type is known where its class is written, but not where its __init__ is made.
        make: Any = value.__init__ if is_dataclass(value) else value.__new__
        make.__annotations__ |= typing.get_type_hints(value)
    if not isinstance(value, Primitive):
        return value

    def function() -> None: ...

    function.__name__ = function.__qualname__ = name
    function.__doc__ = value.__doc__
    function.__module__ = getattr(value, "reference", Primitive).__module__  # of its types
    function.__signature__ = inspect.signature(value)  # type: ignore[attr-defined]
    return function


def write(folder: Path) -> list[Path]:
    """Write a page for each module, an index and what its search needs into `folder`; their paths.

    Raises:
        Warning: of pdoc, if it does not understand something.
    """
    from pdoc import doc, render

    class Page(doc.Module):
        @cached_property
        def _member_objects(self) -> dict[str, Any]:
            return {name: shown(name, value) for name, value in public(self.obj).items()}

        @cached_property
        def members(self) -> dict[str, doc.Doc]:
            found: dict[str, doc.Doc] = super().members
            for name, value in public(self.obj).items():
                if isinstance(value, type):
                    vars(found[name])["_var_docstrings"] = comments(value)
                elif isinstance(value, Primitive):  # not that of its stand-in
                    reference = getattr(value, "reference", None)
                    source = inspect.getsource(reference) if reference else ""
                    vars(found[name])["source"] = source
            return found

        @cached_property
        def submodules(self) -> list[doc.Module]:
            return [p for n, p in pages.items() if n.rpartition(".")[0] == self.modulename]

    pages: dict[str, doc.Module] = {name: Page(importlib.import_module(name)) for name in PAGES}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        render.configure(docformat="google", footer_text=FOOTER)
        texts = {
            f"{name.replace('.', '/')}.html": render.html_module(page, pages)
            for name, page in pages.items()
        }
        texts |= {"index.html": render.html_index(pages), "search.js": render.search_index(pages)}
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("say python .github/pages.py FOLDER")
    print(f"{len(write(Path(sys.argv[1])))} files in {sys.argv[1]}; begin with index.html")

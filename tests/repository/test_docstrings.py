"""All that is public is documented, its examples run, and the API pages are written from it."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import minigan_kernels
import numpy as np
import pytest

import minigan
from minigan.tensor import Primitive

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(
    module.name
    for package in (minigan, minigan_kernels)
    for module in [
        pkgutil.ModuleInfo(None, package.__name__, True),  # type: ignore[arg-type]
        *pkgutil.walk_packages(package.__path__, f"{package.__name__}."),
    ]
    if not module.name.endswith(("__main__", "nn.functional"))  # which says only what to import
)


def _pages() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pages", ROOT / ".github" / "pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pages = _pages()
# Pages of a recipe, whose class is its documentation, and of the loop behind `minigan train`.
WITHOUT_EXAMPLES = re.compile(r"minigan\.(gans|training)\..*")


def public(page: str) -> dict[str, Any]:
    found: dict[str, Any] = pages.public(importlib.import_module(page))
    return found


def docstring(value: Any) -> str:
    """Its own docstring, not that of its type; of a constant or a type alias there is none."""
    if isinstance(value, Primitive):
        return "" if value.__doc__ == Primitive.__doc__ else inspect.getdoc(value) or ""
    return inspect.getdoc(value) or "" if is_documented(value) else ""


def is_documented(value: Any) -> bool:
    return isinstance(value, type | Primitive) or inspect.isroutine(value)


def members(name: str, kind: type) -> Iterator[tuple[str, str]]:
    """The public methods and properties that a class defines, and their docstrings."""
    for key, value in vars(kind).items():
        if key.startswith("_") or not (
            inspect.isfunction(value) or isinstance(value, property | classmethod | staticmethod)
        ):
            continue
        yield f"{name}.{key}", inspect.getdoc(getattr(kind, key)) or ""


def test_the_reader_of_docstrings_is_not_content_with_anything() -> None:
    primitive = minigan.primitive(lambda x: x, "undocumented")
    assert docstring(primitive) == ""
    assert docstring(minigan.exp).startswith("e to the power x.")
    assert "exp" in public("minigan")
    assert "nn" not in public("minigan")
    assert dict(members("T", minigan.Tensor))["T.detach"].startswith("The same array")


@pytest.mark.parametrize("page", pages.PAGES)
def test_all_that_is_public_is_documented(page: str) -> None:
    assert importlib.import_module(page).__doc__
    silent = []
    for name, value in public(page).items():
        if is_documented(value) and not docstring(value):
            silent.append(name)
        if isinstance(value, type) and not WITHOUT_EXAMPLES.fullmatch(page):
            silent += [where for where, text in members(name, value) if not text]
    assert not silent, ", ".join(silent)


def names() -> dict[str, Any]:
    """What examples find: made for each docstring, so that all draw the same numbers."""
    return {
        "np": np,
        "mg": minigan,
        "nn": minigan.nn,
        "kernels": minigan_kernels,
        "rng": minigan.Generator(0),
    }


def run(tests: list[doctest.DocTest]) -> None:
    said: list[str] = []
    runner = doctest.DocTestRunner(
        verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    )
    for test in tests:
        runner.run(test, out=said.append)
    assert not said, "".join(said)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_work(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    tests = doctest.DocTestFinder().find(module, globs={})
    for test in tests:
        test.globs = vars(module) | names()
    run(tests)


def test_the_examples_of_primitives_work() -> None:
    """They are objects, in which doctest looks for no examples."""
    parser = doctest.DocTestParser()
    primitives = {n: v for n, v in public("minigan").items() if isinstance(v, Primitive)}
    assert len(primitives) > 20
    run([parser.get_doctest(docstring(v), names(), n, None, 0) for n, v in primitives.items()])


@pytest.mark.parametrize(
    "page", [page for page in pages.PAGES if not WITHOUT_EXAMPLES.fullmatch(page)]
)
def test_all_that_is_public_has_an_example(page: str) -> None:
    lacking = [
        name
        for name, value in public(page).items()
        if is_documented(value) and ">>>" not in docstring(value)
    ]
    assert not lacking, ", ".join(lacking)


@pytest.mark.slow
def test_the_pages_are_written_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("pdoc")
    written = pages.write(tmp_path)  # which turns warnings into errors
    assert tmp_path / "index.html" in written
    for page in pages.PAGES:
        text = (tmp_path / f"{page.replace('.', '/')}.html").read_text(encoding="utf-8")
        assert not [name for name in public(page) if f'id="{name}"' not in text]
    missing = [
        f"{path.relative_to(tmp_path)}: {link}"
        for path in tmp_path.rglob("*.html")
        for link in re.findall(r'href="([^"#:$]+)[#"]', path.read_text(encoding="utf-8"))
        if not (path.parent / link).is_file()
    ]
    assert not missing
    text = (tmp_path / "minigan.html").read_text(encoding="utf-8")
    assert "e to the power x" in text
    assert "learning rate of D" in (tmp_path / "minigan/gans/dcgan.html").read_text("utf-8")

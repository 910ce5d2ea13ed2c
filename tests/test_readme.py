"""What the README and the docstrings print works."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import minigan_kernels
import pytest

import minigan

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"

TRAIN = "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/minigan train"
TEST = "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/pytest"

MODULES = sorted(
    module.name
    for package in (minigan, minigan_kernels)
    for module in [
        pkgutil.ModuleInfo(None, package.__name__, True),  # type: ignore[arg-type]
        *pkgutil.walk_packages(package.__path__, f"{package.__name__}."),
    ]
    if not module.name.endswith("__main__")
)


def blocks(language: str) -> list[str]:
    text = README.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_readme_has_the_newcomers_two_commands() -> None:
    lines = [line.strip() for line in README.read_text(encoding="utf-8").splitlines()]
    assert TRAIN in lines
    assert TEST in lines


def test_the_tour_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tour = blocks("python")
    assert tour, "the README has no tour"
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for number, code in enumerate(tour, 1):
        if code.lstrip().startswith(">>>"):
            test = doctest.DocTestParser().get_doctest(
                code, namespace, f"README block {number}", str(README), 0
            )
            test.globs = namespace
            result = doctest.DocTestRunner().run(test, clear_globs=False)
            assert result.failed == 0
        else:
            exec(compile(code, f"README.md, python block {number}", "exec"), namespace)


def test_the_pictures_and_files_that_the_readme_shows_are_there() -> None:
    text = README.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)|(?:src|href)=\"([^\"#]+)\"", text)
    local = [a or b for a, b in links if "://" not in (a or b)]
    assert any(link.endswith((".png", ".gif")) for link in local), "the README shows no picture"
    missing = [link for link in local if not (ROOT / link).exists()]
    assert not missing


@pytest.mark.parametrize(
    "word", ["train", "sample", "evaluate", "recipes", "data", "gradcheck", "doctor"]
)
def test_the_commands_that_the_readme_shows_exist(word: str) -> None:
    assert re.search(rf"minigan {word}\b", README.read_text(encoding="utf-8"))


def test_there_are_examples_to_test() -> None:
    finder = doctest.DocTestFinder()
    count = {
        name: sum(bool(t.examples) for t in finder.find(importlib.import_module(name)))
        for name in MODULES
    }
    assert count["minigan"] >= 1
    assert count["minigan_kernels"] >= 1


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_work(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert doctest.testmod(importlib.import_module(name)).failed == 0

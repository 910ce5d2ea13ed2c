"""The house: which room may import which, how large a file may grow, and what is documented."""

from __future__ import annotations

import ast
import doctest
import graphlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import house
import pytest

import minigan

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ROOT / "minigan"
KERNELS = ROOT / "kernels" / "minigan_kernels"
BENCH = ROOT / "bench"

# What each room may import: the arrows. A room is a file or a folder of minigan; "kernels" is the
# package minigan_kernels, and "minigan" the package's own __init__.
ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "files": {"locks"},
    "locks": set(),
    "signals": set(),
    "page_parts": {"errors", "files"},
    "terminal": set(),
    "notebook": {"terminal"},
    "progress": {"kernels", "notebook", "terminal"},
    "methods": set(),
    "callsite": set(),
    "hints": set(),
    "signatures": set(),
    "tensor_hints": {"recording"},
    "recording": set(),
    "arrays": {"device", "kernels"},
    "device": {"errors", "kernels"},
    "tensor": {
        "arrays", "callsite", "device", "hints", "kernels", "methods", "recording", "signatures",
        "tensor_hints",
    },
    "fused": {"arrays", "tensor"},
    "random": {"device", "hints", "kernels"},
    "ops": {
        "arrays", "device", "fused", "hints", "methods", "signatures", "tensor", "tensor_hints",
        "kernels",
    },
    "nn": {"device", "errors", "hints", "ops", "tensor", "random", "kernels"},
    "optim": {"device", "hints", "nn", "ops", "tensor", "kernels"},
    "losses": {"hints", "ops", "tensor"},
    "penalties": {"nn", "ops", "tensor", "random"},
    "minigan": {
        "errors", "fused", "hints", "losses", "nn", "ops", "optim", "penalties", "random", "tensor",
    },
    "schema": {"terminal"},
    "content": {"errors", "terminal"},
    "pickled": set(),
    "weights": {"content", "errors", "files", "nn", "pickled", "schema", "tensor"},
    "data": {
        "content", "errors", "files", "hints", "locks", "pickled", "progress", "schema", "terminal",
    },
    "viz": {"errors", "files", "terminal"},
    "metrics": {
        "data", "errors", "losses", "nn", "optim", "progress", "random", "schema", "tensor",
        "weights",
    },
    "training": {
        "data", "device", "errors", "files", "kernels", "locks", "nn", "optim", "progress",
        "random", "schema", "signals", "tensor", "terminal", "viz", "weights",
    },
    "recipe": {"training"},  # the name by which people's own recipes know it
    "gans": {
        "training", "nn", "losses", "penalties", "optim", "data", "ops", "tensor",
        "random", "errors",
    },
    # Checks of one's own code: nothing but a command may use it.
    "testing": {"arrays", "data", "errors", "nn", "ops", "random", "tensor", "training"},
    "evaluation": {"data", "errors", "metrics", "progress", "random", "training"},
    "sources": {"data", "errors", "gans", "schema", "training"},
    "live_run": {"data", "errors", "evaluation", "nn", "notebook", "random", "training"},
    "start": {
        "data", "device", "errors", "evaluation", "gans", "live_run", "notebook", "random",
        "sources", "training",
    },
    "commands": {
        "data", "device", "errors", "evaluation", "files", "gans", "kernels", "locks",
        "metrics", "nn", "progress", "random", "schema", "signals", "start", "tensor",
        "terminal", "testing", "training", "viz", "weights",
    },
    "cli": {"commands", "errors", "kernels", "minigan", "signals", "terminal"},
    "__main__": {"cli"},
    # Outside the package: it may use everything, and nothing may use it.
    "bench": {
        "cli", "data", "device", "errors", "files", "gans", "kernels", "minigan", "nn", "ops",
        "optim", "page_parts", "random", "signals", "training", "viz",
    },
}  # fmt: skip

# The same within minigan_kernels. A room is a folder (the deepest that is named here) or a file.
SHARED = {
    "checks", "environment", "epilogue", "layouts", "memo", "philox", "algorithms", "trust",
    "compiling",
}  # fmt: skip
KERNEL_ARROWS: dict[str, set[str]] = {
    "algorithms": set(),
    "trust": set(),
    "checks": set(),
    "compiling": set(),
    "environment": set(),
    "epilogue": set(),
    "layouts": set(),
    "memo": set(),
    "philox": set(),
    "reference": {"checks", "epilogue", "philox"},
    "testing": {"algorithms", "checks", "cpu/conv", "minigan_kernels"},
    # The dispatch: twins by name.
    "minigan_kernels": {"algorithms", "environment", "memo", "reference"},
    "cpu/isa": {"environment"},
    "cpu/compiler": {"compiling", "cpu/isa", "trust"},
    "cpu/runtime": {"cpu/isa", "cpu/compiler"} | SHARED,
    "cpu/transpose": {"cpu/isa", "cpu/compiler"},
    "cpu/gemm": {"cpu/isa", "cpu/compiler", "cpu/runtime", "cpu/transpose"},
    "cpu": {"cpu/isa", "cpu/compiler", "cpu/runtime", "cpu/transpose", "cpu/gemm"} | SHARED,
    "cpu/conv": {
        "cpu", "cpu/isa", "cpu/compiler", "cpu/runtime", "cpu/transpose", "cpu/gemm",
    } | SHARED,
    "cpu/__main__": {"cpu/isa", "cpu/transpose", "cpu/gemm", "cpu/conv"},
    "cuda/errors": set(),
    "cuda/cache": {"cuda/errors", "trust"},
    "cuda/emu": {"cuda/cache", "cuda/errors"},
    "cuda": {"cuda/cache", "cuda/emu", "cuda/errors"} | SHARED,
}  # fmt: skip

# Outside packages that only some rooms may import; NumPy is everywhere.
OUTSIDE: dict[str, set[str]] = {
    "PIL": {"data", "viz", "bench"},
    "matplotlib": {"data", "viz", "bench"},
    "numba": {"kernels", "bench"},
    "llvmlite": {"kernels", "bench"},
    "threadpoolctl": {"kernels", "commands", "bench"},
    "safetensors": {"weights", "bench"},
    "rich": {"commands", "progress", "bench"},
    "tyro": {"commands"},
    "pooch": {"data"},
    "requests": {"data"},
    "urllib3": {"data"},
    "torch": {"bench"},
    "jax": {"bench"},
    "cupy": {"kernels", "device", "bench"},
    "cupyx": {"device"},
}

# Imported when minigan is: these must not wait for anything heavy.
EAGER = {
    "minigan",
    "errors",
    "methods",
    "callsite",
    "hints",
    "signatures",
    "tensor_hints",
    "recording",
    "arrays",
    "device",
    "tensor",
    "fused",
    "random",
    "ops",
    "nn",
    "optim",
    "losses",
    "penalties",
}

TENSOR_BUDGET = 310  # lines of tensor.py that are not blank
RECIPE_BUDGET = 150
FILE_BUDGET = 400


class Import(NamedTuple):
    """One import of one module, by its full name."""

    file: Path
    line: int
    module: str
    for_types: bool  # within `if TYPE_CHECKING`
    within_function: bool

    @property
    def where(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line} imports {self.module}"


def files() -> list[Path]:
    return sorted([*PRODUCT.rglob("*.py"), *KERNELS.rglob("*.py"), *BENCH.rglob("*.py")])


def module_name(file: Path) -> str:
    base = KERNELS.parent if file.is_relative_to(KERNELS) else ROOT
    parts = file.relative_to(base).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(file: Path) -> Iterator[Import]:
    """Every import of a file, at any depth, relative ones resolved."""
    package = module_name(file).split(".")
    if file.name != "__init__.py":
        package = package[:-1]

    def visit(node: ast.AST, for_types: bool, within_function: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            types = for_types or (
                isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            )
            inner = within_function or isinstance(child, ast.FunctionDef | ast.Lambda)
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(file, child.lineno, alias.name, types, inner)
            elif isinstance(child, ast.ImportFrom):
                base = package[: len(package) - child.level + 1] if child.level else []
                origin = ".".join([*base, *([child.module] if child.module else [])])
                for alias in child.names:
                    whole = f"{origin}.{alias.name}"
                    yield Import(file, child.lineno, whole, types, inner)
            yield from visit(child, types, inner)

    return visit(ast.parse(file.read_text()), False, False)


def room_of_file(file: Path) -> str:
    if file.is_relative_to(KERNELS):
        return "kernels"
    if file.is_relative_to(BENCH):
        return "bench"
    first = file.relative_to(PRODUCT).parts[0]
    return "minigan" if first == "__init__.py" else first.removesuffix(".py")


def room_of_module(module: str) -> str | None:
    """The room that a module's full name lies in; None if it is not ours."""
    top, *rest = module.split(".")
    if top == "minigan_kernels":
        return "kernels"
    if top == "bench":
        return "bench"
    if top != "minigan":
        return None
    if rest and ((PRODUCT / rest[0]).is_dir() or (PRODUCT / f"{rest[0]}.py").is_file()):
        return rest[0]
    return "minigan"


def kernel_room(module: str) -> str:
    """The room of KERNEL_ARROWS that a module, or a name within one, lies in."""
    path = module.split(".")[1:]
    while path and "/".join(path) not in KERNEL_ARROWS:
        path.pop()
    return "/".join(path) or "minigan_kernels"


ALL = [found for file in files() for found in imports(file)]


def test_the_reader_of_imports_sees_all_kinds() -> None:
    """So that the other tests cannot pass by seeing nothing."""
    seen = {(room_of_file(found.file), room_of_module(found.module)) for found in ALL}
    assert {("ops", "kernels"), ("gans", "nn"), ("training", "data"), ("cli", "commands")} <= seen
    assert any(found.within_function and found.module.startswith("PIL") for found in ALL)
    assert any(found.for_types for found in ALL)
    relative = [
        f for f in ALL if f.file.name == "dcgan.py" and f.module == "minigan.nn.init.normal"
    ]
    assert len(relative) == 1


def test_every_room_is_in_the_plan() -> None:
    rooms = {room_of_file(file) for file in files()} - {"kernels"}
    assert rooms <= ARROWS.keys(), "say in ARROWS what a new room may import"


def test_the_plan_has_no_cycle() -> None:
    order = list(graphlib.TopologicalSorter(ARROWS).static_order())
    assert order.index("tensor") < order.index("ops") < order.index("nn") < order.index("gans")


@pytest.mark.parametrize("types", [False, True], ids=["at run time", "for types"])
def test_imports_go_one_way(types: bool) -> None:
    wrong = []
    for found in ALL:
        here, there = room_of_file(found.file), room_of_module(found.module)
        if there is None or there == here or found.for_types != types:
            continue
        if types and (here, there) == ("methods", "tensor"):
            continue  # the signatures of Tensor's own methods
        if there not in ARROWS.get(here, set()):
            wrong.append(found.where)
    assert not wrong, "\n".join(wrong)


def test_imports_between_kernels_go_one_way() -> None:
    order = list(graphlib.TopologicalSorter(KERNEL_ARROWS).static_order())
    assert order.index("cpu/runtime") < order.index("cpu") < order.index("cpu/conv")
    wrong, seen = [], set()
    for found in ALL:
        if room_of_file(found.file) != "kernels" or room_of_module(found.module) != "kernels":
            continue
        here, there = kernel_room(module_name(found.file)), kernel_room(found.module)
        seen.add((here, there))
        if here != there and there not in KERNEL_ARROWS[here]:
            wrong.append(found.where)
    assert {("cpu/conv", "cpu/runtime"), ("cuda", "checks"), ("reference", "philox")} <= seen
    assert not wrong, "\n".join(wrong)


def test_modules_import_each_other_in_no_circle() -> None:
    """Neither at import nor later, within functions."""
    graph = house.imports(house.sources())
    assert "minigan.tensor" in graph["minigan.fused"]
    assert house.circles(graph) == []


def test_the_kernels_stand_alone() -> None:
    wrong = [f.where for f in ALL if room_of_file(f.file) == "kernels" and "minigan." in f.module]
    assert not wrong


def test_the_plain_kernels_are_plain() -> None:
    """The oracle is NumPy and nothing else, and knows nothing of what it judges."""
    allowed = {"numpy", "minigan_kernels", *sys.stdlib_module_names}
    for found in ALL:
        if found.file.is_relative_to(KERNELS / "reference"):
            assert found.module.split(".")[0] in allowed, found.where
            assert not found.module.startswith("minigan_kernels.cpu"), found.where


def test_data_and_pictures_know_nothing_of_tensors() -> None:
    for found in ALL:
        if room_of_file(found.file) in ("data", "viz"):
            assert room_of_module(found.module) not in ("tensor", "ops", "nn", "training"), (
                found.where
            )


def test_no_other_framework_computes_for_us() -> None:
    others = {"torch", "tensorflow", "jax", "scipy", "keras", "mxnet", "autograd", "sklearn"}
    product = [f for f in ALL if room_of_file(f.file) != "bench"]
    assert not [f.where for f in product if f.module.split(".")[0] in others]


def test_the_benchmarks_run_without_those_that_they_compare_with() -> None:
    """A peer's file may import its library; nothing else may, but within a function."""
    for found in ALL:
        if found.module.split(".")[0] in ("torch", "jax") and not found.within_function:
            assert found.file.parent == BENCH / "peers", found.where
            assert found.file.name.startswith(found.module.split(".")[0]), found.where
        if found.module.startswith(("bench.peers.torch_", "bench.peers.jax_")):
            assert found.file.name.startswith(("torch_", "jax_")), found.where


def test_cupy_is_imported_only_where_a_gpu_is_used() -> None:
    for found in ALL:
        if found.module.split(".")[0] == "cupy":
            assert found.within_function, found.where


def test_outside_packages_are_declared_and_stay_in_their_rooms() -> None:
    ours = {"minigan", "minigan_kernels", "bench", "numpy", "__future__", *sys.stdlib_module_names}
    wrong = []
    for found in ALL:
        top = found.module.split(".")[0]
        if top not in ours and room_of_file(found.file) not in OUTSIDE.get(top, set()):
            wrong.append(found.where)
    assert not wrong, "\n".join(wrong)


def test_what_minigan_imports_at_once_is_light() -> None:
    light = {"minigan", "minigan_kernels", "numpy", "__future__", *sys.stdlib_module_names}
    for found in ALL:
        if room_of_file(found.file) in EAGER and not found.within_function:
            assert found.module.split(".")[0] in light, found.where


# --- Budgets ---------------------------------------------------------------------------------


def lines(file: Path) -> int:
    """Lines of code and comments: all but the blank ones and the examples, which are tests."""
    text = file.read_text()
    return sum(bool(line.strip()) for line in text.splitlines()) - lines_of_examples(text)


def lines_of_examples(text: str) -> int:
    """Lines of the examples in docstrings, with the results that they show."""
    found = [
        example
        for node in ast.walk(ast.parse(text) if ">>>" in text else ast.Module([], []))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and ">>>" in node.value
        for example in doctest.DocTestParser().get_examples(inspect.cleandoc(node.value))
    ]
    return sum(len((each.source + each.want).splitlines()) for each in found)


def test_examples_count_as_tests() -> None:
    assert lines_of_examples('def f():\n    """Twice.\n\n    >>> f(1)\n    2\n    """\n') == 2
    assert lines_of_examples("x = 1\n") == 0


def test_tensor_is_read_in_one_sitting() -> None:
    assert lines(PRODUCT / "tensor.py") <= TENSOR_BUDGET


def test_a_recipe_is_short() -> None:
    recipes = [f for f in (PRODUCT / "gans").glob("*.py") if not f.name.startswith("_")]
    assert len(recipes) >= 2
    long = {f.name: n for f in recipes if (n := len(f.read_text().splitlines())) > RECIPE_BUDGET}
    assert not long


def test_a_file_is_one_idea() -> None:
    long = {str(f.relative_to(ROOT)): lines(f) for f in files() if lines(f) > FILE_BUDGET}
    assert not long


FUNCTION_BUDGET = 80
PARAMETER_BUDGET = 10  # without keywords


def test_a_function_is_read_at_a_glance() -> None:
    found = list(house.functions(house.sources()))
    assert len(found) > 1000
    long = [f"{f.where}: {f.lines} lines" for f in found if f.lines > FUNCTION_BUDGET]
    wide = [f"{f.where}: {f.positional}" for f in found if f.positional > PARAMETER_BUDGET]
    assert not long + wide, "\n".join(long + wide)


# --- Words -----------------------------------------------------------------------------------


# Words of an earlier dialect; the field says it otherwise (kernels/README.md, the glossary).
OLD_WORDS = re.compile(
    r"\b(anew|cards?|lie|lies|meant over|(first|second) cache(?! line)|the way back|whole numbers?"
    r"|gradients? by (the|an?|its|x|w))\b",
    re.IGNORECASE,
)
KEPT_WORDS = {"--card", "var(--card)", '"card"'}  # colours of the report, keys of files


def test_one_language_is_spoken() -> None:
    sources = [
        path
        for folder in (PRODUCT, KERNELS)
        for end in ("*.py", "*.cu", "*.cuh", "*.h", "*.cc")
        for path in folder.rglob(end)
    ]
    assert len(sources) > 250
    wrong = [
        f"{path.relative_to(ROOT)}:{number} {found[0]}"
        for path in sources
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for found in OLD_WORDS.finditer(line)
        if not any(word in line for word in KEPT_WORDS)
    ]
    assert not wrong, "\n".join(wrong)


def test_every_file_says_what_it_is() -> None:
    silent = [
        str(file.relative_to(ROOT))
        for file in files()
        if not ast.get_docstring(ast.parse(file.read_text()))
    ]
    assert not silent


def test_all_that_is_promised_is_there() -> None:
    assert len(minigan.__all__) == len(set(minigan.__all__))
    for name in minigan.__all__:
        assert hasattr(minigan, name)

"""Figures of the house: files, imports between them, long functions and parameter lists.

    python tests/support/house.py [CHECKOUT]

prints them for a checkout, this one by default, so that two revisions can be compared. The bounds
that tests hold stand in tests/repository/test_architecture.py.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]

# Runs a convolution again and again, and looks from another thread where Python stands meanwhile:
# the compiled code runs without the interpreter lock, so what is seen most often is the call.
FRAMES = """
import collections, sys, threading
import numpy as np
import minigan as mg
from minigan import nn

rng = mg.Generator(seed=0)
layer = nn.Conv2d(64, 128, 4, stride=2, padding=1, rng=rng, activation=nn.LeakyReLU(0.2))
x = mg.Tensor(rng.normal((64, 32, 32, 64)).transpose(0, 3, 1, 2))  # channels last, as from a layer
main, seen, done = threading.get_ident(), collections.Counter(), threading.Event()

def look():
    while not done.wait(0.0005):
        names, frame = [], sys._current_frames()[main]
        while frame is not None:
            names.append(frame.f_code.co_qualname)
            frame = frame.f_back
        seen[tuple(names)] += 1

with mg.no_grad():
    layer(x)
    watcher = threading.Thread(target=look)
    watcher.start()
    for _ in range(20):
        layer(x)
    done.set()
    watcher.join()
(stack, _), = seen.most_common(1)
path = []
for name in stack:
    path.append(name)
    if name.endswith(".forward"):
        break
print(*reversed(path))
"""


class Function(NamedTuple):
    """A function of the product, by its place, with its length and its positional parameters."""

    where: str
    lines: int
    positional: int


def sources(root: Path = ROOT) -> list[Path]:
    """The Python files of the product and its kernels."""
    return sorted([*(root / "minigan").rglob("*.py"), *(root / "kernels").rglob("*.py")])


def functions(files: Iterable[Path], root: Path = ROOT) -> Iterator[Function]:
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno is not None
                where = f"{file.relative_to(root)}:{node.lineno} {node.name}"
                positional = len(node.args.posonlyargs) + len(node.args.args)
                yield Function(where, node.end_lineno - node.lineno + 1, positional)


def module_name(file: Path, root: Path = ROOT) -> str:
    parts = file.relative_to(root).with_suffix("").parts
    parts = parts[1:] if parts[0] == "kernels" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(files: Iterable[Path], root: Path = ROOT) -> dict[str, set[str]]:
    """Which modules of these each one imports, also within functions, but for types."""
    names = {module_name(file, root): file for file in files}
    graph: dict[str, set[str]] = {name: set() for name in names}

    def visit(node: ast.AST, here: str, package: list[str]) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            found: list[str] = []
            if isinstance(child, ast.Import):
                found = [alias.name for alias in child.names]
            elif isinstance(child, ast.ImportFrom):
                base = package[: len(package) - child.level + 1] if child.level else []
                origin = ".".join([*base, *([child.module] if child.module else [])])
                found = [f"{origin}.{alias.name}" for alias in child.names]
            for full in found:
                there = full if full in names else full.rpartition(".")[0]
                if there in names and there != here:
                    graph[here].add(there)
            visit(child, here, package)

    for name, file in names.items():
        package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
        visit(ast.parse(file.read_text(encoding="utf-8")), name, package)
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Modules that reach each other by imports: the strongly connected components."""

    def reached(start: str) -> set[str]:
        seen, waiting = set(), [start]
        while waiting:
            for there in graph[waiting.pop()]:
                if there not in seen:
                    seen.add(there)
                    waiting.append(there)
        return seen

    reach = {name: reached(name) for name in graph}
    groups = {
        tuple(sorted(other for other in reach[name] if name in reach[other]))
        for name in graph
        if name in reach[name]
    }
    return [list(group) for group in sorted(groups)]


def frames(root: Path = ROOT) -> list[str]:
    """The Python frames from Conv2d.forward to the compiled call, outermost first."""
    path = os.pathsep.join([str(root), str(root / "kernels")])
    ran = subprocess.run(
        [sys.executable, "-c", FRAMES],
        env={**os.environ, "PYTHONPATH": path},
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout.split()


def main(root: Path) -> None:
    files = sources(root)
    graph, found = imports(files, root), list(functions(files, root))
    flat = {str(f.parent.relative_to(root)) for f in files}
    largest = max(flat, key=lambda folder: len(list((root / folder).glob("*.py"))))
    longest = max(found, key=lambda function: function.lines)
    widest = max(found, key=lambda function: function.positional)
    print(f"files {len(files)} in {len(flat)} folders")
    print(f"largest folder {len(list((root / largest).glob('*.py')))} files: {largest}")
    print(f"imports between modules {sum(map(len, graph.values()))}")
    print(f"circles of imports {len(circles(graph))}: {circles(graph)}")
    print(f"longest function {longest.lines} lines: {longest.where}")
    print(f"functions over 80 lines {sum(f.lines > 80 for f in found)}")
    print(f"most positional parameters {widest.positional}: {widest.where}")
    print(f"functions with over 10 {sum(f.positional > 10 for f in found)}")
    path = frames(root)
    print(f"Python frames of conv2d {len(path)}: {' '.join(path)}")
    print(f"README lines {len((root / 'README.md').read_text(encoding='utf-8').splitlines())}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT)

"""The README's section on speed, from the newest results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minigan.files import rewrite_part

from .endurance import growth
from .layers import DIRECTIONS
from .plots import DRAWN
from .results import FOLDER, Result, load
from .steps import best_of
from .table import counted, digits, duration
from .workloads import EAGER, IM2COL, JAX

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = "<!-- bench: written by python -m bench readme -->", "<!-- end of bench -->"


def section(folder: Path = FOLDER) -> str:
    """The text between the two marks."""
    steps, kernels = load("steps", folder), load("kernels", folder)
    if steps is None:
        return "Nothing is measured yet; `minigan bench all` measures this machine."
    parts = [_opening(steps), _steps(steps)]
    if one := load("steps-1", folder):
        parts += ["On one thread:", _steps(one)]
    if text := _extras(steps, load("endurance", folder)):
        parts.append(text)
    if kernels:
        parts += [_layers_opening(kernels), _layers(kernels)]
    for part, (name, _) in DRAWN.items():
        if load(part, folder) is not None:
            parts.append(f"![{name}](bench/results/{name}.png)")
    return "\n\n".join(parts)


def rewrite(path: Path = README, folder: Path = FOLDER) -> None:
    """Put the section into the README.

    Raises:
        UserError: if the marks are not there.
    """
    rewrite_part(path, BEGIN, END, section(folder))


def _opening(steps: Result) -> str:
    machine = steps["machine"]
    versions = machine["versions"]
    peers = " and ".join(
        f"{name} {versions[key]}"
        for key, name in (("torch", "PyTorch"), ("jax", "JAX"))
        if key in versions
    )
    return (
        f"One round of training on an **{machine['cpu']}** ({machine['vectors']}), "
        f"{counted(steps['threads'], 'thread')}, float32, measured {steps['measured']} in one "
        f"process with {peers or 'nobody else'} in turns: medians, and how many times as long as "
        "minigan that is. Best is the fastest of both layouts with D frozen in G's update and "
        "fused Adam, and of torch.compile. `minigan bench all` measures your machine; "
        "`minigan bench tune` lets measurement choose each layer's algorithm."
    )


def _steps(steps: Result) -> str:
    heads = ["", "minigan", "PyTorch as its example", "best PyTorch", "JAX jit", "minigan, im2col"]
    lines = [heads, ["---", *["--:"] * (len(heads) - 1)]]
    for row in steps["rows"]:
        best = best_of(row, "PyTorch")
        cells = [
            f"**{_time(row, 'minigan')}**",
            *(_against(row, n) for n in (EAGER, best, JAX, IM2COL)),
        ]
        lines.append([row["title"], *cells])
    return _table(lines)


def _extras(steps: Result, endurance: Result | None) -> str:
    found = {row["peer"]: row["peak"] for row in steps["memory"]}
    sentences = []
    if len(found) > 1:
        each = ", ".join(f"{name} {total / 1e6:,.0f} MB" for name, total in found.items())
        sentences.append(f"Peak memory of the first one: {each}.")
    if endurance:
        rounds, ratio = endurance["rounds"], endurance["ratio"]
        sentences.append(
            f"Round {rounds[1]:,} takes {ratio['median']:.3f} times as long as round {rounds[0]} "
            f"(quartiles {ratio['low']:.2f} to {ratio['high']:.2f}); {growth(endurance)}."
        )
    return " ".join(sentences)


def _layers_opening(kernels: Result) -> str:
    roof = kernels["roofline"]
    return (
        "Its convolutions, in milliseconds and against the better of PyTorch's two layouts, "
        "nothing kept between calls (a step keeps transforms, and is faster). A matrix product "
        f"runs at {roof['gflops']:.0f} GFLOP/s here, memory at {roof['gbytes']:.0f} GB/s."
    )


def _layers(kernels: Result) -> str:
    lines = [["layer", "pixels", *DIRECTIONS], ["---", "---", *["--:"] * len(DIRECTIONS)]]
    cells: dict[str, dict[str, str]] = {}
    planes = {}
    for row in kernels["rows"]:
        ms = digits(1e3 * row["times"]["minigan"]["median"])
        ratio = row["ratios"].get("minigan")
        text = ms if ratio is None else f"{ms} ({digits(ratio['median'])}x)"
        cells.setdefault(row["name"], {})[row["direction"]] = text
        planes[row["name"]] = row["planes"]
    lines += [
        [name, planes[name], *(found[d] for d in DIRECTIONS)] for name, found in cells.items()
    ]
    return _table(lines)


def _time(row: dict[str, Any], name: str) -> str:
    return duration(row["times"][name]["median"])


def _against(row: dict[str, Any], name: str | None) -> str:
    if name is None or name not in row["times"]:
        return "-"
    return f"{_time(row, name)} ({digits(row['ratios'][name]['median'])}x)"


def _table(lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)

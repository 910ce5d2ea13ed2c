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
from .table import counted, digits, doubt, seconds
from .workloads import EAGER, IM2COL, JAX

README = Path(__file__).resolve().parents[1] / "README.md"
DOUBTS = "A question mark: others used the cores meanwhile. "
MATRIX_UNIT = (
    "minigan multiplies in the CPU's matrix unit, numbers of float32 in three pieces, which loses "
    "no more than a product in float32; PyTorch's float32 is computed by vectors. "
)
BEGIN, END = "<!-- bench: written by python -m bench readme -->", "<!-- end of bench -->"


def section(folder: Path = FOLDER) -> str:
    """The text between the two marks."""
    steps, kernels = load("steps", folder), load("kernels", folder)
    if steps is None:
        return "Nothing is measured yet; `minigan bench all` measures this machine."
    parts = [_steps(steps)]
    if one := load("steps-1", folder):
        parts += [f"On one thread{_elsewhen(one, steps)}:", _steps(one)]
    if plain := load("steps-vectors", folder):
        without = "With `MINIGAN_AMX=0`, as on a CPU that has vectors alone"
        parts += [f"{without}{_elsewhen(plain, steps)}:", _steps(plain)]
    if text := _extras(steps, load("endurance", folder)):
        parts.append(text)
    if kernels:
        parts += [_layers_opening(kernels, steps), _layers(kernels)]
    doubts = any("?" in part for part in parts)
    for part, (name, _) in DRAWN.items():
        if (result := load(part, folder)) is not None:
            parts.append(f"![{name}](bench/results/{name}.png){_elsewhen(result, steps)}")
    return "\n\n".join([_opening(steps, doubts), *parts])


def rewrite(path: Path = README, folder: Path = FOLDER) -> None:
    """Put the section into the README.

    Raises:
        UserError: if the marks are not there.
    """
    rewrite_part(path, BEGIN, END, section(folder))


def _origin(result: Result) -> str:
    """When a part was measured, and of which minigan."""
    revision = result["machine"]["revision"]
    where = f"at revision {revision}" if revision else "outside a checkout"
    return f"measured {result['measured']} {where}"


def _elsewhen(result: Result, steps: Result) -> str:
    """The same in brackets, if the steps were measured at another time or revision."""
    return "" if _origin(result) == _origin(steps) else f" ({_origin(result)})"


def _opening(steps: Result, doubts: bool) -> str:
    machine = steps["machine"]
    versions = machine["versions"]
    peers = " and ".join(
        f"{name} {versions[key]}"
        for key, name in (("torch", "PyTorch"), ("jax", "JAX"))
        if key in versions
    )
    return (
        f"One round of training on an **{machine['cpu']}** ({machine['vectors']}), "
        f"{counted(steps['threads'], 'thread')}, float32, {_origin(steps)} in one "
        f"process with {peers or 'nobody else'} in turns: medians, and how many times as long as "
        f"minigan that is. {DOUBTS if doubts else ''}Best is the fastest of all: as its example, "
        "both layouts with D frozen in G's update and fused Adam, and torch.compile. "
        f"{MATRIX_UNIT if machine['vectors'].endswith('with AMX') else ''}"
        "`minigan bench all` measures your machine; "
        "`minigan bench tune` lets measurement choose each layer's algorithm"
        f"{', as it did here' if steps['choices'] else ''}."
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
    peaks = {row["peer"]: row["peak"] for row in steps["memory"]}
    sentences = []
    if len(peaks) > 1:
        each = ", ".join(f"{name} {total / 1e6:,.0f} MB" for name, total in peaks.items())
        sentences.append(f"Peak memory of the first one: {each}.")
    if endurance:
        rounds, ratio = endurance["rounds"], endurance["ratio"]
        disturbed = any(timing["disturbed"] for timing in endurance["times"].values())
        found = doubt({"disturbed": disturbed}, f"{ratio['median']:.3f}")
        sentences.append(
            f"Round {rounds[1]:,} takes {found} times as long as round {rounds[0]} "
            f"(quartiles {ratio['low']:.2f} to {ratio['high']:.2f}); {growth(endurance)}"
            f"{_elsewhen(endurance, steps)}."
        )
    return " ".join(sentences)


def _layers_opening(kernels: Result, steps: Result) -> str:
    roof = kernels["roofline"]
    products, traffic = (doubt(roof, f"{roof[key]:.0f}") for key in ("gflops", "gbytes"))
    return (
        "Its convolutions, in milliseconds and against the better of PyTorch's two layouts, "
        "nothing kept between calls (in a step kernels keep packed filters, and of Winograd's "
        "transforms what is worth its memory). A matrix product runs at "
        f"{products} GFLOP/s here, memory at {traffic} GB/s{_elsewhen(kernels, steps)}."
    )


def _layers(kernels: Result) -> str:
    lines = [["layer", "pixels", *DIRECTIONS], ["---", "---", *["--:"] * len(DIRECTIONS)]]
    cells: dict[str, dict[str, str]] = {}
    planes = {}
    for row in kernels["rows"]:
        times, ratio = row["times"], row["ratios"].get("minigan")
        text = doubt(times["minigan"], digits(1e3 * times["minigan"]["median"]))
        if ratio is not None:
            text += f" ({doubt(times[row['peer']], digits(ratio['median']) + 'x')})"
        cells.setdefault(row["name"], {})[row["direction"]] = text
        planes[row["name"]] = row["planes"]
    lines += [
        [name, planes[name], *(found[d] for d in DIRECTIONS)] for name, found in cells.items()
    ]
    return _table(lines)


def _time(row: dict[str, Any], name: str) -> str:
    return seconds(row["times"][name])


def _against(row: dict[str, Any], name: str | None) -> str:
    if name is None or name not in row["times"]:
        return "-"
    return f"{_time(row, name)} ({digits(row['ratios'][name]['median'])}x)"


def _table(lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)

"""The tables of bench/README.md and the README's short one, from the newest results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minigan.page_parts import rewrite_part

from .endurance import growth
from .layers import DIRECTIONS
from .plots import DRAWN
from .results import FOLDER, Result, load
from .steps import best_of
from .table import counted, digits, doubt, seconds
from .workloads import EAGER, IM2COL, JAX, OURS

PAGE = Path(__file__).parent / "README.md"
README = PAGE.parents[1] / "README.md"
SHOWN = {  # of each picture, what it is, for those who do not see it
    "roofline": (
        "The rate of each convolution of a DCGAN, minigan's and PyTorch's, over its operations "
        "a byte, beside the limits that memory and a matrix product set"
    ),
    "ladder": (
        "Bars: what each idea brings one layer, in GFLOP/s, and the whole step, in milliseconds, "
        "from a plain loop over im2col, direct and Winograd convolution to minigan; and PyTorch"
    ),
    "growth": (
        "Milliseconds a step of minigan and of PyTorch in two ways, over batch, width, pixels and "
        "threads"
    ),
}
TOLD = {  # what each picture tells
    "roofline": (
        "Operations are those of the direct algorithm. Winograd's needs fewer, so it can be above "
        "the line."
    ),
    "ladder": "From bar to bar one idea more in the kernels, down to minigan; then PyTorch.",
    "growth": "How the time of a step grows, as one number changes.",
}
DOUBTS = "A question mark means that others used the cores meanwhile. "
MATRIX_UNIT = (
    "minigan multiplies in the CPU's matrix unit (AMX) and splits each float32 number into three "
    "of bfloat16, which loses no more than a float32 product. PyTorch computes float32 in vectors. "
)
BEGIN, END = "<!-- bench: written by python -m bench readme -->", "<!-- end of bench -->"
SHORT_BEGIN, SHORT_END = BEGIN.replace("bench", "speed", 1), END.replace("bench", "speed")


def section(folder: Path = FOLDER) -> str:
    """The text between the two marks in bench/README.md."""
    steps, kernels = load("steps", folder), load("kernels", folder)
    if steps is None:
        return "Nothing is measured yet; `minigan bench all` measures this machine."
    parts: list[str] = [_steps(steps)]
    if one := load("steps-1", folder):
        parts += [f"On one thread{_elsewhen(one, steps)}:", _steps(one)]
    if plain := load("steps-vectors", folder):
        without = "With `MINIGAN_AMX=0`, as on a CPU without a matrix unit"
        parts += [f"{without}{_elsewhen(plain, steps)}:", _steps(plain)]
    if text := _extras(steps, load("endurance", folder)):
        parts += ["## Memory and endurance", text]
    if kernels:
        parts += ["## Convolutions", _layers_opening(kernels, steps), _layers(kernels)]
    doubts = any("?" in part for part in parts)
    for part, (name, _) in DRAWN.items():
        if (result := load(part, folder)) is not None:
            picture = f"![{SHOWN[name]}](results/{name}.png){_elsewhen(result, steps)}"
            parts += [f"## {name.capitalize()}", TOLD[name], picture]
    return "\n\n".join(["## Training steps", _opening(steps, doubts), *parts])


def summary(folder: Path = FOLDER) -> str:
    """The text between the two marks in the README: minigan beside the best of PyTorch."""
    steps = load("steps", folder)
    if steps is None:
        return "Nothing is measured yet; `minigan bench all` measures this machine."
    rows, plain = steps["rows"], load("steps-vectors", folder)
    columns = {
        "one training step": [row["title"] for row in rows],
        "minigan": [_time(row, OURS) for row in rows],
        "best PyTorch": [_best_time(row) for row in rows],
        "PyTorch / minigan": [_verdict(row) for row in rows],
    }
    if plain and steps["machine"]["vectors"].endswith("with AMX"):
        found = {row["title"]: _verdict(row) for row in plain["rows"]}
        columns["without AMX"] = [found.get(row["title"], "-") for row in rows]
    rule = ["---", *["--:"] * (len(columns) - 1)]
    table = _table([list(columns), rule, *map(list, zip(*columns.values(), strict=True))])
    machine = steps["machine"]
    torch = machine["versions"].get("torch", "not installed")
    return (
        f"{table}\n\nMedians, {_origin(steps)}. CPU: {machine['cpu']} ({machine['vectors']}), "
        f"{counted(steps['threads'], 'thread')}, float32. PyTorch: {torch}."
        f"{' ' + DOUBTS.strip() if '?' in table else ''}"
    )


def rewrite(page: Path = PAGE, readme: Path = README, folder: Path = FOLDER) -> None:
    """Put the section into bench/README.md and the summary into the README.

    Raises:
        UserError: if the marks are not there.
    """
    rewrite_part(page, BEGIN, END, section(folder))
    rewrite_part(readme, SHORT_BEGIN, SHORT_END, summary(folder))


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
    peers = [
        f"{name} {versions[key]}"
        for key, name in (("torch", "PyTorch"), ("jax", "JAX"))
        if key in versions
    ]
    return (
        f"One training step in float32 on {counted(steps['threads'], 'thread')} of this CPU: "
        f"**{machine['cpu']}** ({machine['vectors']}), {_origin(steps)}. In "
        f"one process take turns: {', '.join(['minigan', *peers])}. The numbers are medians, in "
        "brackets how many times as long as minigan's a step is. "
        f'{DOUBTS if doubts else ""}"Best PyTorch" is the fastest of these: its example as it is '
        "written, both memory layouts with D frozen in G's update and fused Adam, torch.compile. "
        f"{MATRIX_UNIT if machine['vectors'].endswith('with AMX') else ''}"
        "`minigan bench tune` lets measurement choose each layer's algorithm"
        f"{', as it did here' if steps['choices'] else ''}."
    )


def _steps(steps: Result) -> str:
    heads = ["", "minigan", "PyTorch as its example", "best PyTorch", "JAX jit", "minigan, im2col"]
    lines = [heads, ["---", *["--:"] * (len(heads) - 1)]]
    for row in steps["rows"]:
        best = best_of(row, "PyTorch")
        cells = [
            f"**{_time(row, OURS)}**",
            *(_against(row, n) for n in (EAGER, best, JAX, IM2COL)),
        ]
        lines.append([row["title"], *cells])
    return _table(lines)


def _extras(steps: Result, endurance: Result | None) -> str:
    peaks = {row["peer"]: row["peak"] for row in steps["memory"]}
    sentences = []
    if len(peaks) > 1:
        each = ", ".join(f"{name} {total / 1e6:,.0f} MB" for name, total in peaks.items())
        sentences.append(f"Peak memory of the first row: {each}.")
    if endurance:
        rounds, ratio = endurance["rounds"], endurance["ratio"]
        disturbed = any(timing["disturbed"] for timing in endurance["times"].values())
        found = doubt({"disturbed": disturbed}, f"{ratio['median']:.3f}")
        sentences.append(
            f"Step {rounds[1]:,} takes {found} times as long as step {rounds[0]} "
            f"(quartiles {ratio['low']:.2f} to {ratio['high']:.2f}); {growth(endurance)}"
            f"{_elsewhen(endurance, steps)}."
        )
    return " ".join(sentences)


def _layers_opening(kernels: Result, steps: Result) -> str:
    roof = kernels["roofline"]
    products, traffic = (doubt(roof, f"{roof[key]:.0f}") for key in ("gflops", "gbytes"))
    return (
        "The convolutions of the first row's networks, in milliseconds; in brackets how many times "
        "as long the better of PyTorch's two layouts takes. dx and dw are the gradients with "
        "respect to input and weights. Nothing is kept between calls; within a step the kernels "
        "keep packed weights, and those of Winograd's transforms that are worth their memory. "
        f"A matrix product reaches {products} GFLOP/s here and memory {traffic} GB/s"
        f"{_elsewhen(kernels, steps)}."
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


def _best_time(row: dict[str, Any]) -> str:
    best = best_of(row, "PyTorch")
    return _time(row, best) if best else "-"


def _verdict(row: dict[str, Any]) -> str:
    """How many times as long as minigan the best PyTorch takes; a loss is said in words."""
    best = best_of(row, "PyTorch")
    if best is None:
        return "-"
    ratio = row["ratios"][best]["median"]
    return f"{digits(ratio)}x" if ratio >= 1 else f"{digits(ratio)}x: PyTorch is faster"


def _against(row: dict[str, Any], name: str | None) -> str:
    if name is None or name not in row["times"]:
        return "-"
    return f"{_time(row, name)} ({digits(row['ratios'][name]['median'])}x)"


def _table(lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)

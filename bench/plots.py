"""The pictures: the roofline, the ladder, and how the cost of a step grows."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from minigan.viz.style import (
    FAKE,
    INK,
    OPTIMUM,
    OTHERS,
    QUIET,
    RULE,
    heading,
    legend_above,
    new_figure,
    save_figure,
    style_axes,
)

from .layers import DIRECTIONS
from .results import Result
from .table import counted, doubt, duration
from .workloads import EAGER, TUNED

OURS, THEIRS, TUNED_BY_HAND = FAKE, OTHERS[1], OPTIMUM
SHAPES = dict(zip(DIRECTIONS, "o^s", strict=True))
SHADES = dict(zip(DIRECTIONS, (1.0, 0.7, 0.45), strict=True))
Drawn = Callable[[Result], Figure]


def roofline(result: Result) -> Figure:
    """Rates of all layers over how many operations each byte is worth, under the machine's roof.

    Layers of equal intensity stand side by side around it, or they would hide one another.
    """
    roof = result["roofline"]
    figure = new_figure(9.4, 5.4)
    axes = figure.add_subplot()
    style_axes(axes, x="operations a byte (log)", y="GFLOP/s (log)", grid="both")
    clusters: dict[int, list[dict[str, Any]]] = {}
    for row in result["rows"]:
        clusters.setdefault(round(4 * math.log2(row["flops"] / row["bytes"])), []).append(row)
    middles = [2 ** (key / 4) for key in clusters]
    knee = roof["gflops"] / roof["gbytes"]
    low, high = min(*middles, knee) / 2, max(*middles, knee) * 2
    line = np.array([low, knee, high])
    axes.plot(line, np.minimum(line * roof["gbytes"], roof["gflops"]), color=INK, linewidth=1.6)
    for middle, rows in zip(middles, clusters.values(), strict=True):
        offsets = np.linspace(-1, 1, len(rows)) * min(0.08 * len(rows), 0.37)
        rates = [_rates(axes, row, middle * 2**x) for row, x in zip(rows, offsets, strict=True)]
        names = dict.fromkeys(row["name"].split()[1] for row in rows if row["name"][0] == "D")
        names |= dict.fromkeys(row["name"].split()[1] for row in rows if row["direction"] == "dx")
        axes.annotate(
            "\n".join(dict.fromkeys(_undirected(name) for name in names)),
            (middle, min(rates)),
            xytext=(0, -10),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=8.5,
            color=QUIET,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(low, high)
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom / 2.5, top * 1.3)
    _plain_ticks(axes)
    for text, at, angle in (
        (f"memory: {doubt(roof, str(round(roof['gbytes'])))} GB/s", low * 1.1, _angle(axes)),
        (
            f"matrix product: {doubt(roof, str(round(roof['gflops'])))} GFLOP/s",
            knee * 1.15,
            0.0,
        ),
    ):
        axes.annotate(
            text,
            (at, min(at * roof["gbytes"], roof["gflops"])),
            xytext=(0, 7 if angle else 4),
            textcoords="offset points",
            fontsize=9,
            color=INK,
            rotation=angle,
            rotation_mode="anchor",
        )
    for direction, shape in SHAPES.items():
        axes.plot([], [], shape, color=OURS, label=f"minigan {direction}")
    axes.plot([], [], "o", color=THEIRS, markerfacecolor="white", label="PyTorch's best")
    axes.legend(loc="lower right", frameon=False, fontsize=9, labelcolor=INK)
    heading(axes, "Convolutions of a DCGAN under this machine's roof")
    _caption(
        figure,
        f"{_machine(result)}, float32. Operations are those "
        "of the direct algorithm;\nWinograd's takes fewer, and can lie above the roof.",
    )
    return figure


def _rates(axes: Axes, row: dict[str, Any], x: float) -> float:
    """Mark one layer and direction at x, ours and theirs; the lower rate."""
    shape, times = SHAPES[row["direction"]], row["times"]
    mine = 1e-9 * row["flops"] / times["minigan"]["median"]
    axes.plot(x, mine, shape, color=OURS, markersize=6.5, zorder=3)
    _doubt(axes, times["minigan"], (x, mine))
    if not row["peer"]:
        return mine
    theirs = 1e-9 * row["flops"] / times[row["peer"]]["median"]
    _doubt(axes, times[row["peer"]], (x, theirs))
    axes.plot([x, x], [mine, theirs], color=RULE, linewidth=1, zorder=1)
    axes.plot(x, theirs, shape, color=THEIRS, markerfacecolor="white", markersize=6, zorder=2)
    return min(mine, theirs)


def _undirected(name: str) -> str:
    """The layer's channels, the fewer first: D's and G's are the same convolution."""
    return "→".join(sorted(name.split("→"), key=int))


def ladder(result: Result) -> Figure:
    """Rates on one layer, and the time of a whole step, rung by rung, with PyTorch below."""
    rungs = [(row["name"], row["layer"], row["step"], OURS) for row in result["rows"]]
    for name, layer in (("PyTorch channels_first", EAGER), ("PyTorch channels_last", TUNED)):
        peers = result["peers"]
        if layer in peers["step"]:
            each = {d: peers[d][name] for d in DIRECTIONS}
            rungs.append((name, each, peers["step"][layer], THEIRS))
    figure = new_figure(10.4, 0.8 + 0.46 * len(rungs))
    left, right = figure.subplots(1, 2, sharey=True)
    style_axes(left, x=f"GFLOP/s on {result['title']}", grid="x")
    style_axes(right, x=f"ms a step of {result['step']}", grid="x")
    for place, (_, layer, step, color) in enumerate(rungs):
        for offset, direction in zip((-0.26, 0.0, 0.26), DIRECTIONS, strict=True):
            rate = 1e-9 * result["flops"] / layer[direction]["median"]
            left.barh(place + offset, rate, 0.26, color=color, alpha=SHADES[direction])
            _doubt(left, layer[direction], (rate, place + offset))
        ms = 1e3 * step["median"]
        if not step.get("estimated"):
            right.barh(place, ms, 0.62, color=color)
        right.annotate(
            f"about {duration(step['median'])}"
            if step.get("estimated")
            else doubt(step, f"{ms:,.0f}"),
            (0 if step.get("estimated") else ms, place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=INK,
        )
    for direction, shade in SHADES.items():
        left.add_patch(Rectangle((0, 0), 0, 0, color=QUIET, alpha=shade, label=direction))
    legend_above(left, 3)
    right.margins(x=0.1)  # room for the numbers
    left.set_yticks(range(len(rungs)), [name for name, *_ in rungs], color=INK)
    left.invert_yaxis()
    for axes in (left, right):
        axes.tick_params(axis="y", labelsize=10, length=0)
    heading(left, "One layer")
    heading(right, "The whole step")
    _caption(
        figure,
        f"{_machine(result)}, float32. PyTorch's steps: as "
        "its example writes it, and with D frozen in G's update and fused Adam.",
    )
    return figure


def growth(result: Result) -> Figure:
    """Four panels: milliseconds a step over batch, width, pixels and threads."""
    kinds = list(dict.fromkeys(row["kind"] for row in result["rows"]))
    figure = new_figure(10.4, 3.6)
    panels = figure.subplots(1, len(kinds), sharey=True)
    colors = (OURS, THEIRS, TUNED_BY_HAND)
    for axes, kind in zip(panels, kinds, strict=True):
        rows = [row for row in result["rows"] if row["kind"] == kind]
        style_axes(axes, x=kind, y="ms a step" if kind == kinds[0] else "", grid="both")
        for name, color in zip(rows[0]["times"], colors, strict=False):
            points = [(r["value"], 1e3 * r["times"][name]["median"]) for r in rows]
            axes.plot(*zip(*points, strict=True), "o-", color=color, markersize=4, label=name)
            for row, point in zip(rows, points, strict=True):
                _doubt(axes, row["times"][name], point)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        values = [row["value"] for row in rows]
        shown = [v for v, after in zip(values, [*values[1:], 2e9], strict=True) if after > 1.2 * v]
        axes.set_xticks(shown)
        _plain_ticks(axes)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    lines, names = panels[0].get_legend_handles_labels()
    figure.legend(
        lines, names, loc="outside upper left", ncols=3, frameon=False, fontsize=9, labelcolor=INK
    )
    _caption(
        figure,
        f"{_machine(result)}, float32. What does not change: {result['base']}.",
    )
    return figure


DRAWN: dict[str, tuple[str, Drawn]] = {
    "kernels": ("roofline", roofline),
    "ladder": ("ladder", ladder),
    "growth": ("growth", growth),
}


def draw(result: Result, folder: Path) -> Path | None:
    """Draw what belongs to a result beside its JSON; None if nothing does."""
    if result["part"] not in DRAWN:
        return None
    name, drawn = DRAWN[result["part"]]
    path = folder / f"{name}.png"
    save_figure(path, drawn(result))
    return path


def _plain_ticks(axes: Axes) -> None:
    """Numbers on a logarithmic axis as people write them."""
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(plain)
        axis.set_minor_formatter(NullFormatter())


def _angle(axes: Axes) -> float:
    """Degrees of a line of slope 1 on two logarithmic axes."""
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]
    (x0, y0), (x1, y1) = (axes.transData.transform((v, v * axes.get_ylim()[0])) for v in (1, 10))
    return float(np.degrees(np.arctan2(y1 - y0, x1 - x0)))


def _doubt(axes: Axes, timing: dict[str, Any], place: tuple[float, float]) -> None:
    """A mark beside a number that was disturbed while it was measured, as in the tables."""
    if timing["disturbed"]:
        axes.annotate(
            "?",
            place,
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
            color=INK,
        )


def _machine(result: Result) -> str:
    return f"{result['machine']['cpu']}, {counted(result['threads'], 'thread')}"


def _caption(figure: Figure, text: str) -> None:
    figure.supxlabel(text, x=0.01, ha="left", fontsize=8.5, color=QUIET)

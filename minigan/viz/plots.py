"""Plots of a run: losses over the steps, the classes of a data set, points in the plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .agg import Axes, FuncFormatter, MaxNLocator
from .meanings import Reference, distinct
from .series import Series, are_probabilities, limits, series
from .style import (
    BARS,
    DASHED,
    DISCRIMINATOR,
    FAKE,
    INK,
    OTHERS,
    QUIET,
    REAL,
    TICK,
    heading,
    label,
    legend_above,
    new_figure,
    our_style,
    save_figure,
    style_axes,
)

NAMES_UP_TO = 40  # classes, maximum, whose names are readable
THOUSANDS = FuncFormatter(lambda value, _: f"{value:,.0f}")
PLAYER_COLOURS = {"D": DISCRIMINATOR, "G": FAKE}


@our_style()
def save_losses(
    path: str | Path,
    rows: Sequence[Mapping[str, Any]],
    *,
    title: str,
    references: Mapping[str, Reference] | None = None,
) -> None:
    """Write a PNG of the players' losses over the steps, with D(x) and D(G(z)) below if recorded.

    A faint line shows the recorded values, a bold one their running mean. The vertical range is
    that of the bold line and of all values but the outermost hundredth. A dotted vertical line
    marks the first value that is not finite. If both outputs are probabilities, a line marks 1/2,
    at which D cannot tell real from generated (Goodfellow et al. 2014, arXiv:1406.2661, Theorem 1).

    `rows` are those of metrics.jsonl, with the keys "step", "loss_<player>", "D(x)" and "D(G(z))".
    Every key but "step" may be missing, and every value may be None or NaN. `title` says what was
    trained. `references`, by the key of a loss, are drawn as dashed lines.

    Raises:
        ValueError: if a row has no step.
        OSError: if the file cannot be written.

    >>> rows = [{"step": 1, "loss_D": 1.4}, {"step": 2, "loss_D": 1.3}]
    >>> save_losses("loss.png", rows, title="gan on glyphs")
    """
    if any("step" not in row for row in rows):
        raise ValueError('every row of the metrics must have a "step"')
    losses = dict.fromkeys(key for row in rows for key in row if key.startswith("loss_"))
    outputs = [key for key in ("D(x)", "D(G(z))") if any(key in row for row in rows)]
    figure = new_figure(9, 6.2 if outputs else 4)
    panels = figure.subplots(
        2 if outputs else 1,
        1,
        sharex=True,
        squeeze=False,
        height_ratios=[3, 2] if outputs else None,
    )[:, 0]

    colours = dict(PLAYER_COLOURS)
    spare = iter(OTHERS * (1 + len(losses)))
    lines = []
    for key in losses:
        player = key.removeprefix("loss_")
        if player not in colours:
            colours[player] = next(spare)
        lines.append((label(f"loss of {player}"), colours[player], series(rows, key)))
    _draw_series(panels[0], lines, distinct(references or {}, losses))
    style_axes(panels[0], y="loss", x="" if outputs else "step")
    heading(panels[0], label(title))
    if not losses:
        panels[0].text(
            0.5,
            0.5,
            "no loss recorded yet",
            color=QUIET,
            ha="center",
            transform=panels[0].transAxes,
        )

    if outputs:
        colour_of = {"D(x)": DISCRIMINATOR, "D(G(z))": FAKE}
        lines = [(key, colour_of[key], series(rows, key)) for key in outputs]
        _draw_series(panels[1], lines)
        if are_probabilities(line for *_, line in lines):
            panels[1].axhline(0.5, color=QUIET, linewidth=1, linestyle=DASHED, zorder=1)
            panels[1].set_ylim(-0.03, 1.03)
            panels[1].set_yticks([0, 0.25, 0.5, 0.75, 1])
        style_axes(panels[1], x="step", y="output of D")
    panels[-1].set_xlim(0, max([1, *(row["step"] for row in rows)]))
    panels[-1].xaxis.set_major_formatter(THOUSANDS)
    panels[-1].xaxis.set_major_locator(MaxNLocator(8, integer=True))
    save_figure(path, figure)


@our_style()
def save_class_histogram(path: str | Path, counts: Mapping[str, int]) -> None:
    """Write a PNG of the number of samples of each class, in the order of `counts`.

    Up to 40 classes are bars with name and count, more are a profile over the class index. A dashed
    line marks the mean, so that missing and dominant classes stand out.

    Raises:
        ValueError: if there is no class or a count is negative.
        OSError: if the file cannot be written.

    >>> save_class_histogram("classes.png", {"zero": 10, "one": 12})
    """
    if not counts:
        raise ValueError("a class histogram needs at least one class")
    numbers = np.array(list(counts.values()), dtype=np.int64)
    if numbers.min() < 0:
        raise ValueError(f"a class cannot have {numbers.min()} samples")
    position = np.arange(len(numbers))
    title = f"{numbers.sum():,} samples in {len(numbers):,} class{'es' * (len(numbers) > 1)}"
    if len(numbers) > 1:
        title += f", {numbers.mean():,.0f} each on average"
    if len(numbers) > NAMES_UP_TO:
        figure = new_figure(9, 3.2)
        axes = figure.subplots()
        axes.fill_between(position, numbers, step="mid", color=BARS, linewidth=0)
        axes.axhline(float(numbers.mean()), color=INK, linewidth=1, linestyle=DASHED, zorder=3)
        axes.set_xlim(-0.5, len(numbers) - 0.5)
        axes.set_ylim(0, max(1, numbers.max()) * 1.06)
        axes.yaxis.set_major_formatter(THOUSANDS)
        style_axes(axes, x="class", y="samples")
    else:
        figure = new_figure(7, 0.9 + 0.27 * len(numbers))
        axes = figure.subplots()
        axes.barh(position, numbers, height=0.7, color=BARS)
        axes.axvline(float(numbers.mean()), color=INK, linewidth=1, linestyle=DASHED, zorder=3)
        axes.set_xlim(0, max(1, numbers.max()) * 1.13)
        axes.set_ylim(len(numbers) - 0.4, -0.6)
        right_edge = axes.get_yaxis_transform()
        for y, number in enumerate(numbers):
            count = f"{number:,}"
            axes.text(1, y, count, transform=right_edge, ha="right", va="center", color=INK, size=9)
        style_axes(axes, grid=None)
        axes.set_yticks(position, [label(name, TICK) for name in counts], color=INK, fontsize=9)
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.set_xticks([])
    heading(axes, title)
    save_figure(path, figure)


@our_style()
def save_points(
    path: str | Path, real: np.ndarray, fake: np.ndarray, *, modes: np.ndarray | None = None
) -> None:
    """Write a PNG of generated points `fake` (M, 2) over real points `real` (N, 2).

    Crosses mark the centres of the `modes` (K, 2). The frame depends only on `real` and `modes`, so
    the pictures of a run can be compared and animated; a note says how many generated points are
    outside of it.

    Raises:
        ValueError: for another shape, no real point, or NaN or infinity, naming the argument.
        OSError: if the file cannot be written.

    >>> save_points("points.png", real=np.eye(2), fake=np.ones((3, 2)))
    """
    given = {"real": real, "fake": fake} | ({} if modes is None else {"modes": modes})
    for name, points in given.items():
        if points.ndim != 2 or points.shape[1] != 2:
            raise ValueError(f"{name} must have the shape (N, 2), not {points.shape}")
        if not np.isfinite(points).all():
            bad = int(np.argmin(np.isfinite(points).all(axis=1)))
            raise ValueError(f"{name} is not finite at point {bad}: {points[bad]}")
    if len(real) == 0:
        raise ValueError("real must have at least one point")

    framed = real if modes is None else np.concatenate([real, modes])
    low, high = framed.min(axis=0), framed.max(axis=0)
    centre, half = (low + high) / 2, 0.62 * max(float((high - low).max()), 1e-6)
    figure = new_figure(6, 6.2)
    axes = figure.subplots()
    for points, colour, name in ((real, REAL, "data"), (fake, FAKE, "generated")):
        axes.scatter(
            points[:, 0],
            points[:, 1],
            s=float(np.clip(12_000 / max(len(points), 1), 5, 18)),
            color=colour,
            alpha=0.25 if name == "data" else 0.5,
            linewidths=0,
            label=name,
        )
    if modes is not None:
        axes.scatter(
            modes[:, 0],
            modes[:, 1],
            s=60,
            marker="x",
            color=OTHERS[1],
            linewidths=1.4,
            label="mode",
        )
    axes.set_xlim(centre[0] - half, centre[0] + half)
    axes.set_ylim(centre[1] - half, centre[1] + half)
    axes.set_aspect("equal")
    style_axes(axes, grid="both")
    legend_above(axes, len(given))
    for handle in axes.get_legend().legend_handles:  # type: ignore[union-attr]
        handle.set_alpha(1)  # type: ignore[union-attr]
        handle.set_sizes([28])  # type: ignore[union-attr]
    outside = int((np.abs(fake - centre) > half).any(axis=1).sum())
    if outside:
        axes.text(
            0.985,
            0.015,
            f"{outside:,} of {len(fake):,} generated points are outside",
            transform=axes.transAxes,
            ha="right",
            fontsize=9,
            color=INK,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85},
        )
    save_figure(path, figure)


def _draw_series(
    axes: Axes, lines: list[tuple[str, str, Series]], references: Sequence[Reference] = ()
) -> None:
    """Draw each (label, colour, series) with its running mean, and a dotted line at each of the
    references; set the vertical range.
    """
    for name, colour, line in lines:
        if line.mean is None:
            axes.plot(
                line.steps, line.values, color=colour, linewidth=1.8, marker="o", markersize=4,
                label=name,
            )  # fmt: skip
        else:
            axes.plot(line.steps, line.values, color=colour, linewidth=0.8, alpha=0.3)
            axes.plot(line.steps, line.mean, color=colour, linewidth=2.2, label=name)
        if line.broken is not None:
            axes.axvline(
                line.broken,
                color=colour,
                linewidth=1.2,
                linestyle=":",
                label=f"{name} not finite at step {line.broken:,.0f}",
            )
    found = limits((line for *_, line in lines), (line.value for line in references))
    if found is not None:
        axes.set_ylim(*found)
        for reference in references:
            axes.axhline(reference.value, color=QUIET, linewidth=1, linestyle=DASHED, zorder=1)
            text = label(f"{reference.text}: {reference.where}")
            axes.annotate(
                text, (1, reference.value), (-4, 3), xycoords=("axes fraction", "data"),
                textcoords="offset points", ha="right", va="bottom", color=QUIET, size=8,
            )  # fmt: skip
    if lines:
        legend_above(axes, 4)

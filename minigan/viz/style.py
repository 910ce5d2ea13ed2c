"""One look for every plot: three colours with fixed meanings, quiet axes, reproducible files.

The colours are from the palette of Okabe and Ito, which can be told apart with the common forms of
colour blindness. Figures are made without pyplot, so there is no global state and no window.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..files import atomic_write
from ..terminal import visible
from .agg import (
    Axes,
    ConstrainedLayoutEngine,
    Figure,
    FigureCanvasAgg,
    FontProperties,
    findfont,
    get_font,
    rc_context,
    rcParamsDefault,
)

INK = "#1f2328"  # text
REAL = "#000000"  # the data
FAKE = "#009E73"  # the generator and what it makes
DISCRIMINATOR = "#0072B2"
OPTIMUM = "#E69F00"  # what theory predicts
OTHERS = ("#CC79A7", "#D55E00", "#56B4E9", "#8C6D1F")  # further players, in order of appearance
BARS = "#56B4E9"  # counts
QUIET = "#6e7781"  # ticks, reference lines
RULE = "#d0d7de"  # spines and grid lines
DASHED = (0, (4, 3))
TITLE, TICK = 48, 28  # characters of a name from outside; more would leave no room for the plot


@contextmanager
def our_style() -> Iterator[None]:
    """Within the block matplotlib's own defaults hold, whatever the user has set, and a dollar sign
    is a dollar sign, not the begin of a formula.
    """
    ours: Any = {key: value for key, value in rcParamsDefault.items() if key != "backend"}
    with rc_context({**ours, "text.parse_math": False}):
        yield


def label(text: object, longest: int = TITLE) -> str:
    """A name from outside as a plot can show it: in one line, with what the font lacks escaped, and
    shortened in the middle to `longest` characters.
    """
    known = _glyphs()
    shown = "".join(c if c in known else ascii(c)[1:-1] for c in visible(str(text)))
    if len(shown) <= longest:
        return shown
    half = (longest - 3) // 2
    return f"{shown[:half]}...{shown[-half:]}"


@functools.cache
def _glyphs() -> frozenset[str]:
    """The characters that the font has, both regular and bold."""
    fonts = [get_font(findfont(FontProperties(weight=w))) for w in ("normal", "bold")]
    regular, bold = (set(map(chr, font.get_charmap())) for font in fonts)
    return frozenset(regular & bold)


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure of `width` x `height` inches with an Agg canvas."""
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)  # inches
    figure = Figure(figsize=(width, height), dpi=120, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def style_axes(axes: Axes, *, x: str = "", y: str = "", grid: str | None = "y") -> None:
    """Label the axes, hide the upper and right spines, draw faint grid lines behind the data."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(RULE)
    axes.tick_params(colors=QUIET, labelsize=9, length=3)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(axis=grid, color=RULE, linewidth=0.6, alpha=0.7)  # type: ignore[arg-type]
    axes.set_xlabel(x, color=INK, fontsize=10)
    axes.set_ylabel(y, color=INK, fontsize=10)


def heading(axes: Axes, text: str) -> None:
    """Write the title of `axes` at the upper left; the legend is at the upper right."""
    axes.set_title(text, loc="left", color=INK, fontsize=11, fontweight="bold")


def legend_above(axes: Axes, columns: int) -> None:
    """Put the legend in one line above the upper right corner, outside of the data."""
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=columns,
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        borderaxespad=0.2,
        handlelength=1.8,
        columnspacing=1.4,
    )


def save_figure(path: str | Path, figure: Figure) -> None:
    """Write a PNG of `figure`, without the software's name, so that equal plots are equal files."""
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})

"""Line charts as SVG within a page, whose colours are those of its style sheet.

A picture would be unreadable on a telephone and white at night. A chart comes in two widths, of
which the style sheet shows the one that fits, with text of the same size in both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .html import Html, element, joined
from .meanings import Reference
from .series import Series, are_probabilities, limits, series

SIZES = {"wide": (940, 300), "narrow": (360, 260)}  # in pixels
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 12, 28  # pixels around the plane
POINTS = 300  # of a line, about; more cannot be seen
OUTPUTS = {"D(x)", "D(G(z))"}
COLOURS = 6  # classes c0, c1, ... of the style sheet


class Line(NamedTuple):
    """A line of a chart: its name, the number of its colour, and what it shows."""

    name: str
    colour: int
    data: Series


def loss_lines(rows: Sequence[Mapping[str, Any]]) -> list[Line]:
    """The losses that the metrics have, in order; D and G have colours of their own."""
    keys = dict.fromkeys(key for row in rows for key in row if key.startswith("loss_"))
    own, spare = {"D": 0, "G": 1}, 2
    lines = []
    for key in keys:
        player = key.removeprefix("loss_")
        colour = own.get(player)
        if colour is None:
            colour, spare = 2 + (spare - 2) % (COLOURS - 2), spare + 1
        lines.append(Line(f"loss of {player}", colour, series(rows, key)))
    return lines


def output_lines(rows: Sequence[Mapping[str, Any]]) -> list[Line]:
    """D's mean outputs on real and on generated samples, where the metrics have them."""
    keys = [key for key in ("D(x)", "D(G(z))") if any(key in row for row in rows)]
    return [Line(key, i, series(rows, key)) for i, key in enumerate(keys)]


def score_lines(rows: Sequence[Mapping[str, Any]]) -> list[Line]:
    """The scores that rows of scores.jsonl have, each by its title."""
    titles = dict.fromkeys(row.get("title") or row["score"] for row in rows)
    return [
        Line(
            title,
            1 + i % (COLOURS - 1),
            series([r for r in rows if (r.get("title") or r["score"]) == title], "value"),
        )
        for i, title in enumerate(titles)
    ]


def chart(lines: Sequence[Line], what: str, references: Sequence[Reference] = ()) -> Html:
    """The lines over the steps in both widths, with their names above; empty without a value."""
    shown = limits((line.data for line in lines), (r.value for r in references))
    if shown is None:
        return joined()
    outputs = {line.name for line in lines} <= OUTPUTS
    if outputs and not references and are_probabilities(line.data for line in lines):
        shown, references = (-0.03, 1.03), [Reference("1/2", 0.5, "D cannot tell")]
    keys = [
        element("span", element("i", class_=f"key c{line.colour}"), line.name, class_="name")
        for line in lines
    ]
    said = "; ".join(filter(None, map(_in_words, lines)))
    alt = f"Line chart of {what} over the steps. {said}."
    drawn = [_drawn(lines, shown, references, kind, alt) for kind in SIZES]
    legend = element("div", *keys, class_="legend", aria_hidden="true")
    return joined(element("div", legend, "\n", *drawn, class_="chart"), "\n")


def _in_words(line: Line) -> str:
    finite = line.data.values[np.isfinite(line.data.values)]
    if not len(finite):
        return ""
    part = max(1, len(finite) // 10)
    begin, end = finite[:part].mean(), finite[-part:].mean()
    return f"{line.name}: {begin:.3g} at first, {end:.3g} at the end"


def _drawn(
    lines: Sequence[Line],
    shown: tuple[float, float],
    references: Sequence[Reference],
    kind: str,
    alt: str,
) -> Html:
    width, height = SIZES[kind]
    last = max(1.0, *(float(line.data.steps.max(initial=1)) for line in lines))
    low, high = shown

    def x(step: Any) -> Any:
        return LEFT + (width - LEFT - RIGHT) * np.asarray(step) / last

    def y(value: Any) -> Any:
        return TOP + (height - TOP - BOTTOM) * (high - np.asarray(value)) / (high - low)

    parts = []
    for tick in ticks(low, high, 5):
        parts.append(_segment("grid", LEFT, y(tick), width - RIGHT, y(tick)))
        parts.append(_text(f"{tick:.6g}", LEFT - 8, y(tick) + 4, "end"))
    parts += [
        _text(f"{tick:,.0f}", x(tick), height - BOTTOM + 18, "middle")
        for tick in ticks(0, last, 8 if kind == "wide" else 4)
    ]
    parts.append(_text("step", LEFT - 8, height - BOTTOM + 18, "end"))
    for line in lines:
        parts += _curves(line, x, y)
        if line.data.broken is not None:
            parts += _broken(line, x(line.data.broken), height - BOTTOM)
    above = -math.inf
    for reference in sorted(references, key=lambda line: -line.value):
        level = float(y(reference.value))
        text = f"{reference.text}: {reference.where}" if kind == "wide" else reference.text
        parts.append(_segment("reference", LEFT, level, width - RIGHT, level))
        below = level - above < 18  # the text of the line above is there
        parts.append(_text(text, width - RIGHT - 4, level + (14 if below else -5), "end", "said"))
        above = level
    box = f"0 0 {width} {height}"
    return joined(
        element("svg", *parts, viewBox=box, class_=kind, role="img", aria_label=alt), "\n"
    )


def _curves(line: Line, x: Any, y: Any) -> list[Html]:
    """The values of a line, faint below their running mean; a few values as dots."""
    colour, data = f"c{line.colour}", line.data
    parts = []
    if data.mean is None:
        parts.append(_path(f"curve {colour}", x(data.steps), y(data.values)))
        finite = np.isfinite(data.values)
        for step, value in zip(data.steps[finite], data.values[finite], strict=True):
            parts.append(_shape("circle", f"dot {colour}", cx=x(step), cy=y(value), r=2.5))
    else:
        parts.append(_path(f"curve faint {colour}", *_extremes(x(data.steps), y(data.values))))
        every = max(1, len(data.mean) // POINTS)
        some = np.unique([*range(0, len(data.mean), every), len(data.mean) - 1])
        parts.append(_path(f"curve {colour}", x(data.steps[some]), y(data.mean[some])))
    return parts


def _broken(line: Line, x: float, bottom: float) -> list[Html]:
    """The step at which a line stops being finite."""
    text = f"{line.name} not finite at step {line.data.broken:,.0f}"
    return [
        _segment(f"broken c{line.colour}", x, TOP, x, bottom),
        _text(text, x - 6, TOP + 12, "end", "said"),
    ]


def _extremes(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest point of each of many parts of a curve, in their order."""
    size = -(-len(x) // POINTS)
    if size <= 2:
        return x, y
    chosen: list[int] = []
    for start in range(0, len(x), size):
        part = y[start : start + size]
        if np.isfinite(part).any():
            chosen += sorted({start + int(np.nanargmin(part)), start + int(np.nanargmax(part))})
        else:
            chosen.append(start)
    return x[chosen], y[chosen]


def _path(kind: str, x: np.ndarray, y: np.ndarray) -> Html:
    """A curve through the points, with gaps where y is not finite."""
    words, pen = [], "M"
    for a, b in zip(x.tolist(), y.tolist(), strict=True):
        if math.isfinite(b):
            words.append(f"{pen}{a:.1f} {b:.1f}")
            pen = "L"
        else:
            pen = "M"
    return element("path", d="".join(words), class_=kind)


def _segment(kind: str, x1: float, y1: float, x2: float, y2: float) -> Html:
    return _shape("line", kind, x1=x1, y1=y1, x2=x2, y2=y2)


def _shape(name: str, kind: str, **numbers: float) -> Html:
    return element(name, class_=kind, **{key: f"{value:.1f}" for key, value in numbers.items()})


def _text(text: str, x: float, y: float, anchor: str, kind: str = "tick") -> Html:
    place: dict[str, object] = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text_anchor": anchor}
    return element("text", text, class_=kind, **place)


def ticks(low: float, high: float, most: int) -> list[float]:
    """At most `most` round numbers within a range, evenly spaced by 1, 2 or 5 times a power of 10.

    `low` must be below `high`.
    """
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * n for n in (1, 2, 5, 10) if power * n >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [n * step for n in range(first, last + 1)]

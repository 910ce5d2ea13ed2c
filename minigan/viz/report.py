"""The report of a run: one HTML file that needs no other file.

It is made from a record of the run, contains its pictures, works offline and without scripts, and
has the same bytes whenever it is written again.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..files import atomic_write
from .html import Html, element, joined, page

STEPS_SHOWN = 40  # pictures in the slider; more would only make the file heavy
MEDIA_TYPES = {".png": "image/png", ".gif": "image/gif"}

Row = Mapping[str, Any]
Pictures = Sequence[tuple[int, Path]]  # of the samples, by step, in order


@dataclass(frozen=True)
class Record:
    """What the report shows of a run. Any entry of `config` may be missing."""

    name: str
    config: Row
    rows: Sequence[Row]  # of the metrics, one a step
    step: int  # how far the run came
    samples: Pictures
    animation: Path | None
    losses: Path | None
    data: Mapping[str, Path]  # pictures of the real data, by caption
    others: Sequence[Path]  # further pictures


def write_report(path: Path, run: Record) -> None:
    """Write the report of `run` to `path`; sections without content are left out.

    Of many sample pictures, 40 evenly spaced ones are shown.

    Raises:
        OSError: if a picture cannot be read or the report not written.
    """
    body = [
        _header(run),
        _result(run),
        _progress(run),
        _training(run),
        _real_data(run),
        _other_pictures(run),
        _hyper_parameters(run.config),
        _reproduction(run.config),
    ]
    with atomic_write(path) as temporary:
        temporary.write_text(page(f"{run.name}: report", joined(*body)), encoding="utf-8")


def _diverged(rows: Sequence[Row]) -> bool:
    """Whether a loss of the last step was not finite: training ends there."""
    last = rows[-1] if rows else {}
    losses = [v for key, v in last.items() if key.startswith("loss_")]
    return any(isinstance(v, float) and not math.isfinite(v) for v in losses)


# The sections, in the page's order; one without content is empty


def _header(run: Record) -> Html:
    state, done = joined(), run.step
    if "steps" in run.config:
        total = int(run.config["steps"])
        if _diverged(run.rows):
            text, kind = f"Diverged in step {done:,} of {total:,}", "cut"
        elif done >= total:
            text, kind = f"Finished: {total:,} steps", "done"
        else:
            text, kind = f"Interrupted at step {done:,} of {total:,}", "cut"
        state = joined(element("span", text, class_=f"state {kind}"), "\n")
    paragraphs = re.split(r"\n\s*\n", str(run.config.get("recipe_doc") or "").strip())
    lead = [joined(element("p", text, class_="lead"), "\n") for text in paragraphs if text]
    return joined(
        element("header", "\n", element("h1", run.name), "\n", state, *lead),
        "\n",
    )


def _result(run: Record) -> Html:
    data = run.config.get("data") or {}
    facts: dict[str, object] = {"data": data.get("name")}
    facts["samples"] = data.get("samples")
    if data.get("shape"):
        facts["shape"] = " x ".join(map(str, data["shape"]))
    facts["classes"] = _count_of(data.get("classes"))
    facts["steps done"] = run.step
    facts["seed"] = str(run.config["seed"]) if "seed" in run.config else None
    seconds = [row["seconds"] for row in run.rows if isinstance(row.get("seconds"), int | float)]
    facts["training time"] = _duration(seconds[-1]) if seconds else None
    known = _definitions((key, value) for key, value in facts.items() if value is not None)
    if not run.samples:
        return _section("The run", known)
    step, path = run.samples[-1]
    picture = _figure(path, f"Samples after step {step:,}")
    return _section("Generated samples", _box("hero", "\n", picture, element("div", known), "\n"))


def _progress(run: Record) -> Html:
    parts, steps = [], run.samples
    if len(steps) > 1:
        count = min(STEPS_SHOWN, len(steps))
        chosen = [steps[i * (len(steps) - 1) // (count - 1)] for i in range(count)]
        strip = _box("strip", "\n", *(_figure(path, f"Step {step:,}") for step, path in chosen))
        most, label = count - 1, "Training step"
        handle = element("input", type="range", min=0, max=most, value=most, aria_label=label)
        slider = _box("slider", handle, element("output"))
        note = joined()
        if count < len(steps):
            note = _note(f"{count} of {len(steps)} pictures, evenly spaced.")
        parts.append(_box("progress", "\n", strip, slider, note))
    if run.animation is not None:
        parts.append(_box("film", "\n", _figure(run.animation, "As a film")))
    if not parts:
        return joined()
    body = _box("pair", "\n", *parts) if len(parts) > 1 else parts[0]
    return _section("Progress through training", body)


def _training(run: Record) -> Html:
    plot, rows = joined() if run.losses is None else _figure(run.losses), run.rows
    keys = dict.fromkeys(key for row in rows for key in row if key not in ("step", "seconds"))
    table = joined()
    if keys:
        lines = []
        for key in keys:
            values = [row[key] for row in rows if key in row]
            tail = values[-max(1, len(values) // 10) :]
            cells = _table_row("td", key, _value(values[-1]), _value(_mean(tail)))
            lines.append(joined(cells, "\n"))
        head = _table_row("th", "Metric", "Last value", "Mean of the last tenth")
        table = _box(
            "scroll",
            element(
                "table",
                "\n",
                element("thead", head),
                "\n",
                element("tbody", "\n", *lines),
                "\n",
            ),
        )
    return _section("Losses", joined(plot, table)) if plot or table else joined()


def _real_data(run: Record) -> Html:
    if not run.data:
        return joined()
    figures = [_figure(path, caption) for caption, path in run.data.items()]
    name = (run.config.get("data") or {}).get("name")
    title = f"The real data: {name}" if name else "The real data"
    return _section(title, _box("pair", "\n", *figures))


def _other_pictures(run: Record) -> Html:
    if not run.others:
        return joined()
    figures = [_figure(path, path.stem) for path in run.others]
    return _section("More pictures", _box("pair", "\n", *figures))


def _hyper_parameters(config: Row) -> Html:
    table = config.get("hyper_parameters") or {}
    if not table:
        return joined()
    return _section("Hyper-parameters", _box("columns", _definitions(table.items())))


def _reproduction(config: Row) -> Html:
    parts = [_made(config)]
    for part in config.get("resumed") or []:
        parts += [_note(f"Continued from step {_value(part.get('step'))}:"), _made(part)]
    return _section("Reproduction", joined(*parts)) if any(parts) else joined()


def _made(part: Row) -> Html:
    """The command that made a run or a part of it, and what it ran on."""
    command = part.get("command")
    if isinstance(command, list):
        command = " ".join(map(str, command))
    code = joined(element("pre", command), "\n") if command else joined()
    facts = {key: str(part[key]) for key in ("seed", "revision") if part.get(key) is not None}
    facts |= {key: str(value) for key, value in (part.get("versions") or {}).items()}
    return joined(code, _box("columns", _definitions(facts.items()))) if facts else code


# Parts of HTML and of text


def _section(title: str, body: Html) -> Html:
    return joined(element("section", "\n", element("h2", title), "\n", body), "\n")


def _box(kind: str, *children: object) -> Html:
    return joined(element("div", *children, class_=kind), "\n")


def _note(text: str) -> Html:
    return joined(element("p", text, class_="note"), "\n")


def _table_row(kind: str, *cells: object) -> Html:
    return element("tr", *(element(kind, cell) for cell in cells))


def _figure(path: Path, caption: str = "") -> Html:
    data = base64.b64encode(path.read_bytes()).decode()
    source = f"data:{MEDIA_TYPES[path.suffix]};base64,{data}"
    picture = element("img", src=source, alt=caption or path.stem)
    below = [element("figcaption", caption)] if caption else []
    return joined(element("figure", picture, *below), "\n")


def _definitions(pairs: Iterable[tuple[str, object]]) -> Html:
    lines = [
        joined(element("div", element("dt", key), element("dd", _value(value))), "\n")
        for key, value in pairs
    ]
    return joined(element("dl", "\n", *lines), "\n")


def _value(value: object) -> str:
    """A value as text: numbers with four significant digits, lists with commas."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(_value, value))
    return str(value)


def _mean(values: list[object]) -> float:
    """The mean of the finite values; NaN if there are none."""
    numbers = [v for v in values if isinstance(v, int | float) and math.isfinite(v)]
    return float(np.mean(numbers)) if numbers else math.nan


def _count_of(classes: object) -> object:
    return len(classes) if isinstance(classes, list | dict) else classes


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.3g} s"

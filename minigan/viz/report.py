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
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ..files import atomic_write
from .html import page

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
        temporary.write_text(page(f"{run.name}: report", "".join(body)), encoding="utf-8")


def _diverged(rows: Sequence[Row]) -> bool:
    """Whether a loss of the last step was not finite: training ends there."""
    last = rows[-1] if rows else {}
    losses = [v for key, v in last.items() if key.startswith("loss_")]
    return any(isinstance(v, float) and not math.isfinite(v) for v in losses)


# The sections, in the page's order: each is HTML, or empty


def _header(run: Record) -> str:
    state, done = "", run.step
    if "steps" in run.config:
        total = int(run.config["steps"])
        if _diverged(run.rows):
            state = f'<span class="state cut">Diverged in step {done:,} of {total:,}</span>\n'
        elif done >= total:
            state = f'<span class="state done">Finished: {total:,} steps</span>\n'
        else:
            text = f"Interrupted at step {done:,} of {total:,}"
            state = f'<span class="state cut">{text}</span>\n'
    paragraphs = re.split(r"\n\s*\n", str(run.config.get("recipe_doc") or "").strip())
    lead = "".join(f'<p class="lead">{escape(text)}</p>\n' for text in paragraphs if text)
    return f"<header>\n<h1>{escape(run.name)}</h1>\n{state}{lead}</header>\n"


def _result(run: Record) -> str:
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
    return _section(
        "Generated samples", f'<div class="hero">\n{picture}<div>{known}</div>\n</div>\n'
    )


def _progress(run: Record) -> str:
    parts, steps = [], run.samples
    if len(steps) > 1:
        count = min(STEPS_SHOWN, len(steps))
        chosen = [steps[i * (len(steps) - 1) // (count - 1)] for i in range(count)]
        strip = "".join(_figure(path, f"Step {step:,}") for step, path in chosen)
        slider = (
            f'<div class="slider"><input type="range" min="0" max="{count - 1}" '
            f'value="{count - 1}" aria-label="Training step"><output></output></div>\n'
        )
        note = ""
        if count < len(steps):
            note = f'<p class="note">{count} of {len(steps)} pictures, evenly spaced.</p>\n'
        parts.append(
            f'<div class="progress">\n<div class="strip">\n{strip}</div>\n{slider}{note}</div>\n'
        )
    if run.animation is not None:
        parts.append(f'<div class="film">\n{_figure(run.animation, "As a film")}</div>\n')
    if not parts:
        return ""
    body = f'<div class="pair">\n{"".join(parts)}</div>\n' if len(parts) > 1 else parts[0]
    return _section("Progress through training", body)


def _training(run: Record) -> str:
    plot, rows = "" if run.losses is None else _figure(run.losses), run.rows
    keys = dict.fromkeys(key for row in rows for key in row if key not in ("step", "seconds"))
    table = ""
    if keys:
        lines = []
        for key in keys:
            values = [row[key] for row in rows if key in row]
            tail = values[-max(1, len(values) // 10) :]
            cells = (key, _value(values[-1]), _value(_mean(tail)))
            lines.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>\n")
        table = (
            '<div class="scroll"><table>\n<thead><tr><th>Metric</th><th>Last value</th>'
            "<th>Mean of the last tenth</th></tr></thead>\n"
            f"<tbody>\n{''.join(lines)}</tbody>\n</table></div>\n"
        )
    return _section("Losses", plot + table) if plot or table else ""


def _real_data(run: Record) -> str:
    if not run.data:
        return ""
    figures = "".join(_figure(path, caption) for caption, path in run.data.items())
    name = (run.config.get("data") or {}).get("name")
    title = f"The real data: {name}" if name else "The real data"
    return _section(title, f'<div class="pair">\n{figures}</div>\n')


def _other_pictures(run: Record) -> str:
    if not run.others:
        return ""
    figures = "".join(_figure(path, path.stem) for path in run.others)
    return _section("More pictures", f'<div class="pair">\n{figures}</div>\n')


def _hyper_parameters(config: Row) -> str:
    table = config.get("hyper_parameters") or {}
    if not table:
        return ""
    return _section(
        "Hyper-parameters", f'<div class="columns">{_definitions(table.items())}</div>\n'
    )


def _reproduction(config: Row) -> str:
    began = _made(config)
    resumed = [
        f'<p class="note">Continued from step {_value(part.get("step"))}:</p>\n{_made(part)}'
        for part in config.get("resumed") or []
    ]
    return _section("Reproduction", "".join([began, *resumed])) if began or resumed else ""


def _made(part: Row) -> str:
    """The command that made a run or a part of it, and what it ran on."""
    command = part.get("command")
    if isinstance(command, list):
        command = " ".join(map(str, command))
    code = f"<pre>{escape(str(command))}</pre>\n" if command else ""
    facts = {key: str(part[key]) for key in ("seed", "revision") if part.get(key) is not None}
    facts |= {key: str(value) for key, value in (part.get("versions") or {}).items()}
    return f'{code}<div class="columns">{_definitions(facts.items())}</div>\n' if facts else code


# Parts of HTML and of text


def _section(title: str, body: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n{body}</section>\n"


def _figure(path: Path, caption: str = "") -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    source = f"data:{MEDIA_TYPES[path.suffix]};base64,{data}"
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    alt = escape(caption or path.stem)
    return f'<figure><img src="{source}" alt="{alt}">{below}</figure>\n'


def _definitions(pairs: Iterable[tuple[str, object]]) -> str:
    lines = (f"<div><dt>{escape(k)}</dt><dd>{escape(_value(v))}</dd></div>\n" for k, v in pairs)
    return f"<dl>\n{''.join(lines)}</dl>\n"


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

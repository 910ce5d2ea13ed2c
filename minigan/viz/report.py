"""The report of a run: one HTML file that needs nothing beside it.

It is made from the run directory alone, carries its pictures inside, works offline and without
scripts, and says the same in the same bytes whenever it is written again.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..files import atomic_write
from .page import page

STEPS_SHOWN = 40  # pictures in the slider; more would make the file heavy and say no more
STEP_FILE = re.compile(r"step-(\d+)\.\w+")
MEDIA_TYPES = {".png": "image/png", ".gif": "image/gif"}

Row = Mapping[str, Any]


def write_report(run_dir: str | Path) -> Path:
    """Write report.html into a run directory and return its path.

    Reads config.json (which must be there), metrics.jsonl, samples/, loss.png and the names in
    checkpoints/; whatever else is missing is left out of the page. Of many sample pictures, 40
    evenly spaced ones are shown. A last line of metrics.jsonl that a crash cut short is ignored.

    Raises:
        UserError: if there is no config.json, or it or an earlier line of metrics.jsonl is broken.
        OSError: if a file cannot be read or the report not written.
    """
    run = Path(run_dir)
    config = _read_config(run / "config.json")
    rows = _read_metrics(run / "metrics.jsonl")
    steps = _step_pictures(run)
    done = _last_step(run, rows)
    name = str(config.get("recipe", run.resolve().name))
    body = [
        _header(name, config, rows, done),
        _result(config, rows, steps, done),
        _progress(run, steps),
        _training(run, rows),
        _real_data(run, config),
        _other_pictures(run),
        _hyper_parameters(config),
        _reproduction(config),
    ]
    path = run / "report.html"
    with atomic_write(path) as temporary:
        temporary.write_text(page(f"{name}: report", "".join(body)), encoding="utf-8")
    return path


# Reading the run directory


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"{path.parent} is not a run directory: it has no config.json")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}); restore it or train again") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} must hold a JSON object; restore it or train again")
    return config


def _read_metrics(path: Path) -> list[Row]:
    if not path.is_file():
        return []
    # A crash can cut a line anywhere, also inside a character: so bytes, and decoded line by line.
    lines = path.read_bytes().rstrip(b"\n").split(b"\n")
    rows: list[Row] = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line.decode())
            if not isinstance(row, dict):
                raise ValueError("not a JSON object")
        except ValueError as error:
            if number == len(lines):
                break
            raise UserError(
                f"{path}, line {number} is broken ({error}); remove the line and try again"
            ) from error
        rows.append(row)
    return rows


def _step_pictures(run: Path) -> list[tuple[int, Path]]:
    found = [
        (int(match[1]), path)
        for path in (run / "samples").glob("step-*.png")
        if (match := STEP_FILE.fullmatch(path.name))
    ]
    return sorted(found)


def _last_step(run: Path, rows: list[Row]) -> int:
    """Find how far the run came: the latest step of the metrics, pictures and checkpoints."""
    names = [
        path.name for folder in ("samples", "checkpoints") for path in (run / folder).glob("*")
    ]
    saved = [int(match[1]) for name in names if (match := STEP_FILE.fullmatch(name))]
    return max([0, *saved, *(int(row["step"]) for row in rows if "step" in row)])


def _diverged(rows: list[Row]) -> bool:
    """Tell whether a loss of the last round was not finite: no later round was trained then."""
    last = rows[-1] if rows else {}
    losses = [v for key, v in last.items() if key.startswith("loss_")]
    return any(isinstance(v, float) and not math.isfinite(v) for v in losses)


# The sections, in the page's order: each is HTML, or nothing if it has nothing to say


def _header(name: str, config: Row, rows: list[Row], done: int) -> str:
    state = ""
    if "steps" in config:
        total = int(config["steps"])
        if _diverged(rows):
            state = f'<span class="state cut">Diverged in step {done:,} of {total:,}</span>\n'
        elif done >= total:
            state = f'<span class="state done">Finished: {total:,} steps</span>\n'
        else:
            text = f"Interrupted at step {done:,} of {total:,}"
            state = f'<span class="state cut">{text}</span>\n'
    paragraphs = re.split(r"\n\s*\n", str(config.get("recipe_doc") or "").strip())
    lead = "".join(f'<p class="lead">{escape(text)}</p>\n' for text in paragraphs if text)
    return f"<header>\n<h1>{escape(name)}</h1>\n{state}{lead}</header>\n"


def _result(config: Row, rows: list[Row], steps: list[tuple[int, Path]], done: int) -> str:
    data = config.get("data") or {}
    facts: dict[str, object] = {"data": data.get("name")}
    facts["samples"] = data.get("samples")
    if data.get("shape"):
        facts["shape"] = " x ".join(map(str, data["shape"]))
    facts["classes"] = _count_of(data.get("classes"))
    facts["steps done"] = done
    facts["seed"] = str(config["seed"]) if "seed" in config else None
    seconds = [row["seconds"] for row in rows if isinstance(row.get("seconds"), int | float)]
    facts["training time"] = _duration(seconds[-1]) if seconds else None
    known = _definitions((key, value) for key, value in facts.items() if value is not None)
    if not steps:
        return _section("The run", known)
    step, path = steps[-1]
    picture = _figure(path, f"Samples after step {step:,}")
    return _section(
        "Generated samples", f'<div class="hero">\n{picture}<div>{known}</div>\n</div>\n'
    )


def _progress(run: Path, steps: list[tuple[int, Path]]) -> str:
    parts = []
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
    animation = run / "samples" / "animation.gif"
    if animation.is_file():
        parts.append(f'<div class="film">\n{_figure(animation, "As a film")}</div>\n')
    if not parts:
        return ""
    body = f'<div class="pair">\n{"".join(parts)}</div>\n' if len(parts) > 1 else parts[0]
    return _section("Progress through training", body)


def _training(run: Path, rows: list[Row]) -> str:
    plot = _figure(run / "loss.png") if (run / "loss.png").is_file() else ""
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


def _real_data(run: Path, config: Row) -> str:
    captions = {"real.png": "Real samples", "classes.png": "Samples in each class"}
    figures = [
        _figure(run / "samples" / name, caption)
        for name, caption in captions.items()
        if (run / "samples" / name).is_file()
    ]
    if not figures:
        return ""
    name = (config.get("data") or {}).get("name")
    title = f"The real data: {name}" if name else "The real data"
    return _section(title, f'<div class="pair">\n{"".join(figures)}</div>\n')


def _other_pictures(run: Path) -> str:
    known = {"real.png", "classes.png"}
    figures = [
        _figure(path, path.stem)
        for path in sorted((run / "samples").glob("*.png"))
        if path.name not in known and not STEP_FILE.fullmatch(path.name)
    ]
    return (
        _section("More pictures", f'<div class="pair">\n{"".join(figures)}</div>\n')
        if figures
        else ""
    )


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


# Pieces of HTML and of text


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
    """Write a number with the digits that matter and anything else as a reader would."""
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
    """Average what is finite; NaN if nothing is."""
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

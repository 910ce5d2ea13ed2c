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
from .chart import chart, loss_lines, output_lines, score_lines
from .embed import embedded, evenly, spread
from .html import Html, element, joined, page
from .meanings import Reference, distinct, meaning, meaning_of_score, references

STEPS_SHOWN = 40  # pictures in the slider; more would only make the file heavy
STRIP_BYTES = 440_000  # of all pictures in the slider
NEAREST = (
    "Samples beside the training pictures nearest to them, by features and by pixels. On the left "
    "any samples, on the right those that are nearest of all: copies, if there are some, are there."
)
RELOAD = 10  # seconds after which the page of a run that goes on loads itself again

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
    data: Mapping[str, Path]  # pictures of the real data, by caption
    others: Sequence[Path]  # further pictures
    evaluation: Row | str | None = None  # what scores.json has, or why it cannot be read
    course: Sequence[Row] | str = ()  # the rows of scores.jsonl, or why they cannot be read
    nearest: Path | None = None  # samples beside their nearest training pictures
    live: bool = False  # whether the run goes on
    verdicts: Sequence[str] = ()  # what was seen to go wrong, a sentence or two each
    next_steps: Sequence[tuple[str, str]] = ()  # what can be done now, and its command

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to train: all steps are done, or a loss diverged."""
        return self.step >= self.config.get("steps", self.step) or diverged(self.rows)


def write_report(path: Path, run: Record) -> None:
    """Write the report of `run` to `path`; sections without content are left out.

    Of many sample pictures, up to 40 evenly spaced ones are shown, so many that they are not too
    large together. Large pictures lose a little, which one hardly sees.

    Raises:
        UserError: if a picture cannot be read.
        OSError: if the report cannot be written.
    """
    body = [
        _header(run),
        _verdicts(run),
        _result(run),
        _scores(run),
        _course(run),
        _progress(run),
        _training(run),
        _next_steps(run),
        _real_data(run),
        _other_pictures(run),
        _hyper_parameters(run.config),
        _reproduction(run.config),
    ]
    reload = RELOAD if run.live else 0
    text = page(f"{_title(run)}: report", joined(*body), reload_seconds=reload)
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def diverged(rows: Sequence[Row]) -> bool:
    """Whether a loss of the last step was not finite: training ends there."""
    last = rows[-1] if rows else {}
    losses = [v for key, v in last.items() if key.startswith("loss_")]
    return any(isinstance(v, float) and not math.isfinite(v) for v in losses)


# The sections, in the page's order; one without content is empty


def _title(run: Record) -> str:
    data = (run.config.get("data") or {}).get("name")
    return f"{run.name} on {data}" if data else run.name


def _header(run: Record) -> Html:
    state, done = joined(), run.step
    if "steps" in run.config:
        total = int(run.config["steps"])
        if diverged(run.rows):
            text, kind = f"Diverged in step {done:,} of {total:,}", "cut"
        elif done >= total:
            text, kind = f"Finished: {total:,} steps", "done"
        elif run.live:
            text, kind = f"Training: step {done:,} of {total:,}", "live"
        else:
            text, kind = f"Interrupted at step {done:,} of {total:,}", "cut"
        state = joined(element("span", text, class_=f"state {kind}"), "\n")
    if run.live:
        handle = element("input", type="checkbox", checked="checked")
        label = element("label", handle, f" load this page again every {RELOAD} seconds")
        state = joined(state, element("div", label, class_="reload", data_seconds=RELOAD), "\n")
    paragraphs = re.split(r"\n\s*\n", str(run.config.get("recipe_doc") or "").strip())
    lead = [joined(element("p", text, class_="lead"), "\n") for text in paragraphs if text]
    return joined(
        element("header", "\n", element("h1", _title(run)), "\n", state, *lead),
        "\n",
    )


def _verdicts(run: Record) -> Html:
    """What went wrong, above all pictures."""
    lines = [joined(element("li", text[:1].upper() + text[1:]), "\n") for text in run.verdicts]
    return _section("What was seen to go wrong", element("ul", "\n", *lines)) if lines else joined()


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
    picture = _figure(path, f"Samples after step {step:,}", alt=_of_samples(run, step))
    return _section("Generated samples", _box("hero", "\n", picture, element("div", known), "\n"))


def _of_samples(run: Record, step: int) -> str:
    """What the picture of the samples at a step shows, in words."""
    shape = (run.config.get("data") or {}).get("shape") or ()
    kinds = {3: "A grid of generated images", 2: "Generated points over real ones"}
    kind = kinds[3] if len(shape) == 3 else kinds[2] if list(shape) == [2] else "Generated samples"
    if list(shape) == [1]:
        kind = "The densities of real and of generated values, and D"
    return f"{kind}, after step {step:,} of training"


def _scores(run: Record) -> Html:
    found = run.evaluation
    if found is None:
        return joined()
    if isinstance(found, str):
        return _section("Scores", _note(found))
    lines = []
    for score in found["scores"]:
        error = f" \u00b1 {_value(score['error'])}" if score["error"] is not None else ""
        value = "not finite" if score["value"] is None else f"{_value(score['value'])}{error}"
        beside: list[object] = []
        if score["baseline"] is not None:
            beside = [_value(score["baseline"]), element("small", score["baseline_of"])]
        about = ". ".join(filter(None, (score["note"], meaning_of_score(score["key"]))))
        lines.append(_table_row(score["name"], about, value, joined(*beside)))
    parts = [_table(("Score", "Value", "Beside it"), lines)] if lines else []
    after = f"Of the checkpoint of step {found['step']:,}, by minigan evaluate."
    if run.step > found["step"]:
        after += " The run has gone on since."
    parts += [_note(after), *(_note(f"Left out: {text}") for text in found["left_out"])]
    if run.nearest is not None:
        parts.append(_figure(run.nearest, NEAREST))
    return _section("Scores", joined(*parts))


def _course(run: Record) -> Html:
    """The score by which the best checkpoint is chosen, over the steps."""
    rows, best = run.course, run.config.get("best")
    if isinstance(rows, str):
        return _section("The score so far", _note(rows))
    rows = [row for row in rows if row["score"] == best] or rows
    if not rows:
        return joined()
    last = rows[-1]
    way = "higher" if last["higher_is_better"] else "lower"
    text = f"{last['score']}: {way} is better. {meaning_of_score(last['score'])}"
    of_real = []
    if last.get("baseline") is not None:
        of_real = [Reference("real images", last["baseline"], last.get("baseline_of", ""))]
    finite = [row for row in rows if math.isfinite(row["value"])]
    sign = 1 if last["higher_is_better"] else -1
    if finite:
        top = max(finite, key=lambda row: (sign * row["value"], row["step"]))
        text += f" Best so far: {_value(float(top['value']))} after step {top['step']:,}."
    drawn = chart(score_lines(rows), "the score", of_real)
    return _section("The score so far", joined(drawn, _note(text)))


def _progress(run: Record) -> Html:
    if len(run.samples) < 2:
        return joined()
    some = [run.samples[i] for i in evenly(len(run.samples), STEPS_SHOWN)]
    shown = [some[i] for i in spread([path for _, path in some], STRIP_BYTES)]
    figures = [
        _figure(path, f"Step {step:,}", alt=_of_samples(run, step), exactly=False)
        for step, path in shown
    ]
    most = len(shown) - 1
    handle = element("input", type="range", min=0, max=most, value=most, aria_label="Training step")
    play = element("button", "Play", type="button")
    slider = _box("slider", play, handle, element("output"))
    notes = []
    if len(shown) < len(run.samples):
        notes.append(f"{len(shown)} of {len(run.samples)} pictures, evenly spaced.")
    if run.animation is not None:
        notes.append(f"{run.animation.name}, beside the pictures, shows them as a film.")
    note = _note(" ".join(notes)) if notes else joined()
    strip = _box("strip", "\n", *figures)
    return _section("Progress through training", _box("progress", "\n", strip, slider, note))


def _training(run: Record) -> Html:
    rows, config = run.rows, run.config
    recipe, fields = str(config.get("recipe", "")), config.get("hyper_parameters") or {}
    lines = loss_lines(rows)
    known = references(recipe, fields)
    drawn = [
        chart(lines, "the losses", distinct(known, [f"loss_{line.name[8:]}" for line in lines])),
        chart(output_lines(rows), "D's mean outputs"),
    ]
    keys = dict.fromkeys(key for row in rows for key in row if key not in ("step", "seconds"))
    body = []
    for key in keys:
        values = [row[key] for row in rows if key in row]
        tail = values[-max(1, len(values) // 10) :]
        about = meaning(recipe, fields, key)
        body.append(_table_row(key, about, _value(values[-1]), _value(_mean(tail))))
    table = _table(("Value", "Last", "Mean, last tenth"), body) if body else joined()
    return _section("Losses", joined(*drawn, table)) if any((*drawn, table)) else joined()


def _next_steps(run: Record) -> Html:
    if not run.next_steps:
        return joined()
    items = [
        element("li", element("p", f"{what}:"), element("pre", command))
        for what, command in run.next_steps
    ]
    return _section("What to do next", joined(element("ul", "\n", *items), "\n"))


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
    figures = [_figure(path, path.stem, exactly=False) for path in run.others]
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


def _table(heading: Sequence[str], lines: Sequence[Html]) -> Html:
    head = element("tr", *(element("th", text, scope="col") for text in heading))
    body = element("tbody", "\n", *(joined(line, "\n") for line in lines))
    return _box("scroll", element("table", "\n", element("thead", head), "\n", body, "\n"))


def _table_row(name: str, meaning: str, *cells: object) -> Html:
    """A row of a table with its heading, and below it a row of what it means."""
    heading = element("th", name, scope="row")
    row = element("tr", heading, *(element("td", cell) for cell in cells))
    if not meaning:
        return row
    return joined(
        row, element("tr", element("td", meaning, colspan=1 + len(cells)), class_="about")
    )


def _figure(path: Path, caption: str, *, alt: str = "", exactly: bool = True) -> Html:
    """A picture with its caption, or nothing if it is gone.

    `alt` says what one sees, where the caption does not.
    """
    below = element("figcaption", caption)
    try:
        shown = embedded(path, exactly=exactly)
    except FileNotFoundError:  # removed since the folder was listed, as by a run that is resumed
        return joined()
    except ValueError as error:
        return joined(element("figure", _note(str(error)), below), "\n")
    source = f"data:{shown.media_type};base64,{base64.b64encode(shown.content).decode()}"
    kind = "pixelated" if shown.pixelated else "plot"
    size = {"width": shown.width, "height": shown.height}
    picture = element("img", src=source, alt=alt or caption, class_=kind, **size)
    return joined(element("figure", picture, below), "\n")


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

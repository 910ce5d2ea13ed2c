"""What a run directory holds can put text on the report's page, but no elements or attributes."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import tiny
from PIL import Image

from minigan.training.run import Run
from minigan.training.snapshots import record
from minigan.viz.html import Html, element, joined, page
from minigan.viz.report import write_report

PAYLOADS = [
    "<script>alert(1)</script>",
    "<form action=//x><input id=pwn></form>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    '" autofocus onfocus="alert(1)',
    "</title><meta http-equiv=refresh content=0;url=//x>",
    "</style><link rel=stylesheet href=//x>",
    "</pre></div></main></body><base href=//x>",
    "<!-- <svg onload=alert(1)> -->",
    "<![CDATA[<b>]]>&lt;b&gt;&#60;b&#62;&amp;",
    "javascript:alert(1)",
    "a\u202eb\x00c\x1b[2Jd\u2028e",
    "\udce9<b>",  # a byte of a file name that is not UTF-8
]


class Outline(HTMLParser):
    """The elements of a page with their attributes, and the texts between them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, list[str]]] = []
        self.values: list[str] = []  # of attributes that hold no picture
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, [name for name, _ in attrs]))
        self.values += [str(value) for name, value in attrs if name != "src"]

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(f"a declaration: {data}")


def filled(value: Any, text: str) -> Any:
    """A value with `text` in the place of every string, keys included."""
    if isinstance(value, str):
        return text
    if isinstance(value, list):
        return [filled(item, text) for item in value]
    if isinstance(value, dict):
        return {key: filled(item, text) for key, item in value.items()}
    return value


def config(text: str) -> dict[str, Any]:
    made = {"command": text, "seed": text, "revision": text, "versions": {text: text, "n": 1}}
    return made | {
        "recipe": text,
        "recipe_doc": f"{text}\n\n{text}",
        "data": {"name": text, "samples": text, "shape": [text, 8, 8], "classes": text},
        "hyper_parameters": {text: text, "list": [text, [text]], "none": None},
        "steps": 4,
        "resumed": [{"step": text} | made, {"step": 3, "command": [text, text]}],
    }


def outline(folder: Path, text: str, name: str = "other") -> Outline:
    """The report of a run in which every string is `text`, with a further picture called `name`."""
    (folder / "samples").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config(text)))
    rows = [row | {text: 1.0} for row in tiny.rows(4)]  # values are numbers, or refused
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for stem in ("real", "classes", "step-000000", "step-000004", name):
        Image.new("RGB", (8, 8)).save(folder / "samples" / f"{stem}.png")
    Image.new("RGB", (8, 8)).save(folder / "samples" / "animation.gif")
    Image.new("RGB", (8, 8)).save(folder / "loss.png")
    run = Run(folder, json.loads((folder / "config.json").read_text()))
    write_report(run.report, record(run))
    return Outline(run.report)


def as_file_name(payload: str) -> str:
    return re.sub(r"[/\x00]", "_", payload)[:200]


@pytest.mark.parametrize("payload", PAYLOADS, ids=ascii)
def test_no_text_becomes_an_element_or_an_attribute(tmp_path: Path, payload: str) -> None:
    harmless = outline(tmp_path / "harmless", "text")
    hostile = outline(tmp_path / "hostile", payload, as_file_name(payload))
    assert hostile.elements == harmless.elements
    shown = re.sub(r"[\x00\x1b\u202e\u2028\udce9]", "", payload)
    if shown == payload:  # nothing else is changed
        assert hostile.text.count(payload) > 20
        assert as_file_name(payload) in hostile.values
    assert not set(hostile.text) & set("\x00\x1b\u202e\u2028\udce9")


@pytest.mark.parametrize("payload", PAYLOADS, ids=ascii)
def test_children_and_attributes_are_text(tmp_path: Path, payload: str) -> None:
    class Odd:
        def __str__(self) -> str:
            return payload

    for value in (payload, Odd(), [payload]):
        made = element("p", value, element("b", value), title=value, class_=value)
        (tmp_path / "page.html").write_text(page(payload, made), encoding="utf-8")
        (tmp_path / "plain.html").write_text(
            page("x", element("p", element("b"), title="", class_="")), encoding="utf-8"
        )
        found, plain = (Outline(tmp_path / name) for name in ("page.html", "plain.html"))
        assert found.elements == plain.elements


def test_markup_is_kept_and_nested() -> None:
    made = element("p", "1 < 2 ", element("b", "&"), joined("\n", Html("<hr>")), aria_label="a")
    assert made == '<p aria-label="a">1 &lt; 2 <b>&amp;</b>\n<hr></p>'
    assert element("img", src="data:image/png;base64,AA") == '<img src="data:image/png;base64,AA">'
    assert joined() == ""


def test_joining_strings_does_not_keep_them_markup() -> None:
    assert joined(element("b") + "<i>") == "&lt;b&gt;&lt;/b&gt;&lt;i&gt;"
    assert joined(f"{element('b')}") == "&lt;b&gt;&lt;/b&gt;"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("src", "//x/y.png"),
        ("src", "data:text/html,<script>"),
        ("href", "javascript:alert(1)"),
        ("onload", "x"),
        ("style", "background: url(//x)"),
    ],
)
def test_attributes_that_lead_elsewhere_are_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name):
        element("img", **{name: value})

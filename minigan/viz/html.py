"""HTML whose text is always escaped, and the document around the report: its style sheet, its one
script, and its frame.

    element("p", "a < b ", element("b", name), class_="note")

Only what `element` and `joined` made is markup (`Html`). All else is text, whatever its type, so
nobody has to remember to escape it.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape

from ..terminal import visible

VOID = ("img", "input", "meta")  # elements without an end

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --ink: #1f2328; --quiet: #59636e; --rule: #d8dee4;
  --accent: #0072b2; --done: #0b6e4f; --done-back: #d9f2e7; --cut: #8a4b00; --cut-back: #fdebd0;
  --live: #0b4f8a; --live-back: #dcecf9;
  --c0: #0072b2; --c1: #008a64; --c2: #b3588f; --c3: #d55e00; --c4: #1b7fae; --c5: #8c6d1f;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0f1216; --card: #181c22; --ink: #e6e9ed; --quiet: #9aa4af; --rule: #2c333b;
    --accent: #56b4e9; --done: #7fdcb8; --done-back: #12382b; --cut: #f5c27a; --cut-back: #43300f;
    --live: #9fd0f7; --live-back: #12304a;
    --c0: #56b4e9; --c1: #2fd3a2; --c2: #e79ac5; --c3: #ff9a4d; --c4: #8fd0f5; --c5: #d9bb63;
  }
  .plot { filter: brightness(.86); }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
main { max-width: 1040px; margin: 0 auto; padding: 40px 20px 64px; }
header { margin-bottom: 28px; }
h1 { font-size: 2.3rem; line-height: 1.15; letter-spacing: -0.02em; margin: 0 0 10px; }
h2 { font-size: 1.15rem; margin: 0 0 14px; }
p { margin: 0 0 10px; }
.lead { color: var(--quiet); max-width: 70ch; margin: 14px 0 0; }
.lead:first-of-type { color: var(--ink); }
.state { display: inline-block; padding: 2px 12px; border-radius: 99px; font-size: .9rem;
  font-weight: 600; }
.state.done { color: var(--done); background: var(--done-back); }
.state.cut { color: var(--cut); background: var(--cut-back); }
.state.live { color: var(--live); background: var(--live-back); }
.reload { display: none; margin: 10px 0 0; color: var(--quiet); font-size: .9rem; }
section { background: var(--card); border: 1px solid var(--rule); border-radius: 12px;
  padding: 22px 24px; margin: 0 0 20px; }
figure { margin: 0; }
figcaption, .note { color: var(--quiet); font-size: .88rem; margin: 8px 0 0; }
img { display: block; max-width: 100%; height: auto; border-radius: 6px; }
.hero { display: grid; grid-template-columns: minmax(0, auto) minmax(220px, 1fr); gap: 32px;
  align-items: start; }
.pixelated { image-rendering: pixelated; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr));
  gap: 24px; align-items: start; }
.pair > * { min-width: 0; }
dl { margin: 0; }
dl div { display: flex; justify-content: space-between; gap: 20px; padding: 7px 0;
  border-bottom: 1px solid var(--rule); }
dl div:last-child { border-bottom: 0; }
dt { color: var(--quiet); }
dd { margin: 0; text-align: right; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.columns { columns: 2 300px; column-gap: 40px; }
.columns div { break-inside: avoid; }
.scroll { overflow-x: auto; }
.chart + .scroll { margin-top: 18px; }
table { border-collapse: collapse; width: 100%;
  font-variant-numeric: tabular-nums; }
th, td { text-align: right; vertical-align: top; padding: 8px 0 8px 16px;
  border-bottom: 1px solid var(--rule); white-space: nowrap; }
th:first-child { text-align: left; padding-left: 0; white-space: normal;
  overflow-wrap: break-word; }
tr:last-child > *, tr:has(+ .about) > * { border-bottom: 0; }
thead th { white-space: normal; color: var(--quiet); font-weight: 500; font-size: .9rem;
  vertical-align: bottom; }
tbody th { font-weight: 600; }
tr.about td { text-align: left; white-space: normal; color: var(--quiet); font-size: .88rem;
  padding: 0 0 10px; }
small { display: block; color: var(--quiet); font-size: .85rem; font-weight: 400;
  white-space: normal; min-width: 9ch; }
pre { margin: 0 0 14px; padding: 12px 16px; border-radius: 8px; background: var(--page);
  border: 1px solid var(--rule); white-space: pre-wrap; overflow-wrap: anywhere;
  font: .88rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
li { margin: 0 0 4px; }
ul { padding: 0; margin: 0; list-style: none; }
li p { margin: 0 0 6px; }
.chart + .chart { margin-top: 22px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: .9rem; margin: 0 0 6px; }
.legend .name { display: inline-flex; align-items: center; gap: 7px; }
.key { width: 22px; height: 0; border-top: 3px solid; display: inline-block; }
svg { display: block; width: 100%; height: auto; }
svg.narrow { display: none; }
svg text { fill: var(--quiet); font-size: 12px; font-variant-numeric: tabular-nums; }
svg .said { stroke: var(--card); stroke-width: 3px; paint-order: stroke; }
.grid { stroke: var(--rule); stroke-width: 1; }
.reference, .broken { stroke: var(--quiet); stroke-width: 1.2; stroke-dasharray: 5 4; }
.curve { fill: none; stroke: currentColor; stroke-width: 2.2; stroke-linejoin: round; }
.curve.faint { stroke-width: 1; opacity: .3; }
.curve.c1, .curve.c3, .curve.c5 { stroke-dasharray: 9 3; }
.curve.faint { stroke-dasharray: none; }
.key.c1, .key.c3, .key.c5 { border-top-style: dashed; }
.dot { fill: currentColor; }
.c0 { color: var(--c0); } .c1 { color: var(--c1); } .c2 { color: var(--c2); }
.c3 { color: var(--c3); } .c4 { color: var(--c4); } .c5 { color: var(--c5); }
.strip { display: flex; gap: 14px; overflow-x: auto; padding-bottom: 8px; }
.strip figure { flex: 0 0 auto; width: min(86%, 466px); }
.slider { display: none; margin-top: 16px; align-items: center; gap: 16px; }
.slider input { flex: 1; min-width: 0; accent-color: var(--accent); }
.slider output { min-width: 9ch; text-align: right; font-variant-numeric: tabular-nums; }
.live .strip { display: block; overflow: visible; padding: 0; }
.live .strip figure { display: none; width: auto; }
.live .strip figure.shown { display: block; }
.live .strip figcaption { display: none; }
.live .strip img { margin: 0 auto; }
.live .slider { display: flex; }
.slider button { font: inherit; font-size: .9rem; color: var(--ink); background: var(--page);
  border: 1px solid var(--rule); border-radius: 8px; padding: 3px 12px; min-width: 9ch; }
@media (max-width: 760px) {
  main { padding: 24px 12px 40px; }
  h1 { font-size: 1.8rem; }
  section { padding: 16px; border-radius: 10px; }
  .hero { grid-template-columns: minmax(0, 1fr); gap: 18px; }
  .hero img { width: 100%; }
}
@media (max-width: 560px) {
  svg.wide { display: none; }
  svg.narrow { display: block; }
  .slider { flex-wrap: wrap; }
  table { table-layout: fixed; font-size: .88rem; }
  th, td { padding-left: 8px; white-space: normal; overflow-wrap: break-word; }
  th:first-child { width: 42%; }
  small { min-width: 0; }
}
@media print { section { break-inside: avoid; } .slider { display: none; } }
"""

# Without the script the pictures are a strip to scroll; with it a slider shows one at a time.
SCRIPT = """
for (const box of document.querySelectorAll(".progress")) {
  const figures = box.querySelectorAll(".strip figure");
  const input = box.querySelector("input");
  const output = box.querySelector("output");
  const button = box.querySelector("button");
  let timer = 0;
  const show = () => {
    figures.forEach((figure, i) => figure.classList.toggle("shown", i === Number(input.value)));
    output.textContent = figures[input.value].querySelector("figcaption").textContent;
    input.setAttribute("aria-valuetext", output.textContent);
  };
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    button.textContent = "Play";
  };
  const advance = () => {
    input.value = Number(input.value) + 1;
    show();
    if (input.value === input.max) stop();
  };
  button.addEventListener("click", () => {
    if (timer) return stop();
    if (input.value === input.max) input.value = -1;
    button.textContent = "Stop";
    timer = setInterval(advance, 250);
  });
  input.addEventListener("input", () => { stop(); show(); });
  input.value = input.max;
  box.classList.add("live");
  stop();
  show();
}
for (const box of document.querySelectorAll(".reload")) {
  box.style.display = "block";
  const input = box.querySelector("input");
  const again = () => { if (input.checked) location.reload(); };
  setInterval(again, 1000 * box.dataset.seconds);
}
"""


class Html(str):
    """Markup, made by `element` or `joined`."""

    __slots__ = ()


def element(name: str, *children: object, **attributes: object) -> Html:
    """An element with its children, markup or text, and its attributes.

    An underscore stands for a dash in an attribute's name, and after a keyword of Python: `class_`.

    Raises:
        ValueError: for an attribute that would load, lead elsewhere or run something: `src` takes
            pictures within the page alone.
    """
    words = [name]
    for key, value in attributes.items():
        attribute, content = key.rstrip("_").replace("_", "-"), str(value)
        inside = attribute == "src" and content.startswith("data:image/")
        if not inside and (attribute.startswith("on") or attribute in ("src", "href", "style")):
            raise ValueError(f"a report has no {attribute} such as {content[:40]!r}")
        words.append(f'{attribute}="{_text(content)}"')
    begin = f"<{' '.join(words)}>"
    return Html(begin if name in VOID else f"{begin}{joined(*children)}</{name}>")


def joined(*children: object) -> Html:
    """Markup and text in a row, without anything around or between."""
    return Html("".join(c if isinstance(c, Html) else _text(str(c)) for c in children))


def _text(text: str) -> str:
    """Text as HTML. Characters that would be obeyed, such as a mark that reverses the writing, are
    shown by number; a line break is but a space in HTML.
    """
    return escape("\n".join(map(visible, text.split("\n"))))


def page(title: str, body: Html, *, reload_seconds: int = 0) -> str:
    """A whole document around `body`; its policy lets it load nothing.

    Where there are no scripts, the browser loads it again every `reload_seconds`, if above 0.
    """
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'"
    )
    again = element("meta", http_equiv="refresh", content=reload_seconds) if reload_seconds else ""
    reload = element("noscript", again) if reload_seconds else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
{element("title", title)}
{reload}
<style>{STYLE}</style>
</head>
<body>
<main>
{body}</main>
<script>{SCRIPT}</script>
</body>
</html>
"""

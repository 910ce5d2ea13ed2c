"""What a PyTorch user tries first, in pytorch_tries.md: read, executed, compared.

A section of that page is a heading with a verdict, the code, and what comes of it: what it prints
and, if it ends in an error, the error's last line. The verdicts:

runs      it does what it does in PyTorch or NumPy, or prints what was asked
answers   it is refused, in one sentence that says how the thing is done here
differs   it runs and means something else, or is refused without the way out; the section says why

`python tests/support/pytorch_tries.py` prints the page with the answers of today, to be read before
it is committed.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import minigan as mg
from minigan import nn

PAGE = Path(__file__).resolve().parents[1] / "engine" / "pytorch_tries.md"
VERDICTS = ("runs", "answers", "differs")
SHOWN = 6  # lines at either end of a long output
SECTION = re.compile(
    r"^## (?P<verdict>\w+): (?P<title>[^\n]+)\n\n(?P<reason>(?:(?!```)[^\n]+\n)*)\n?"
    r"```python\n(?P<code>.*?)```\n\n```text\n(?P<answer>.*?)```\n",
    re.MULTILINE | re.DOTALL,
)


NUMBER = re.compile(r"\d+\.\d{3,}(e[+-]\d+)?")


def _rounded(number: re.Match[str]) -> str:
    """A number to two digits, since processors round differently, and a mere rounding error so."""
    value = float(number[0])
    return "<1e-6" if value < 1e-6 else f"{value:.2g}"


@dataclass(frozen=True)
class FirstTry:
    """One section of the page."""

    verdict: str
    title: str
    reason: str
    code: str
    answer: str

    def __str__(self) -> str:
        reason = f"{self.reason}\n" if self.reason else ""
        return (
            f"## {self.verdict}: {self.title}\n\n{reason}```python\n{self.code}```\n\n"
            f"```text\n{self.answer}```\n"
        )

    def executed(self) -> str:
        """What comes of the code: its output, and the last line of an error."""
        names = {"np": np, "mg": mg, "nn": nn, "rng": mg.Generator(0), "__name__": "first_try"}
        output = io.StringIO()
        with contextlib.redirect_stdout(output), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's, of a logarithm that one of them takes
            try:
                exec(compile(self.code, "<first try>", "exec"), names)
            except Exception as error:
                print(f"{type(error).__name__}: {error}")
        text = NUMBER.sub(_rounded, output.getvalue())
        lines = [line.rstrip() for line in text.splitlines()]
        if len(lines) > 2 * SHOWN:
            lines[SHOWN:-SHOWN] = [f"[{len(lines) - 2 * SHOWN} lines]"]
        return "".join(f"{line}\n" for line in lines)


def pytorch_tries() -> tuple[str, list[FirstTry]]:
    """The introduction of the page and its sections.

    Raises:
        ValueError: if a section is not as the others are.
    """
    text = PAGE.read_text(encoding="utf-8")
    found = [FirstTry(**match.groupdict()) for match in SECTION.finditer(text)]
    introduction = text[: text.index("## ")]
    if introduction + "\n".join(map(str, found)) != text:
        raise ValueError(f"{PAGE.name} has a section that cannot be read")
    return introduction, found


if __name__ == "__main__":
    introduction, found = pytorch_tries()
    print(introduction, end="")
    renewed = [FirstTry(t.verdict, t.title, t.reason, t.code, t.executed()) for t in found]
    print("\n".join(map(str, renewed)), end="")

"""Output in a notebook that renews itself in place.

IPython is used where a notebook has imported it, and never imported otherwise.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .terminal import visible, write

Content = Mapping[str, str]  # by MIME type; a front end takes the richest that it knows


def active() -> bool:
    """Whether this program is the kernel of a notebook, so that HTML and pictures can be shown."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


def text_and_html(text: str, html: str) -> Content:
    """The same in both forms."""
    return {"text/plain": text, "text/html": html}


def png(path: Path, text: str) -> Content:
    """A picture in a PNG file, and what stands for it where there are no pictures.

    Raises:
        OSError: if the file cannot be read.
    """
    return {"text/plain": text, "image/png": base64.b64encode(path.read_bytes()).decode()}


class Display:
    """A place in a cell's output: what it shows replaces what it has shown before."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, content: Content) -> None:
        """Show this from now on; only while a notebook is `active`."""
        if self._handle is None:
            show = sys.modules["IPython"].display.display
            self._handle = show(dict(content), raw=True, display_id=True)
        else:
            self._handle.update(dict(content), raw=True)


def say(text: str) -> None:
    """Tell the user a line: under the cell of a notebook, otherwise on standard error."""
    write(sys.stdout if active() else sys.stderr, f"{visible(text)}\n")

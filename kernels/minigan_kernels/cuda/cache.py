"""What is costly to make, such as compiled kernels, on disk: written whole or not at all, checked
when read, rebuilt when damaged.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from .errors import UnavailableError

SOURCES = Path(__file__).parent / "src"
HEADERS = (SOURCES, Path(__file__).parent / "emu")
FORSAKEN = 3600  # age in seconds from which what is being built is a dead process's


class Entry(NamedTuple):
    """A file, and what its maker said about it."""

    path: Path
    facts: dict[str, Any]


def folder() -> Path:
    """Where it is kept: below XDG_CACHE_HOME, or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minigan" / "cuda"


def unit(file: Path, defines: Mapping[str, object]) -> str:
    """The source of `file` behind its macros, which so mean nothing to what was included before."""
    macros = "".join(f"#define {name} {value}\n" for name, value in defines.items())
    return f'{macros}#line 1 "{file.name}"\n{file.read_text()}'


def key(source: str, folder: Path, *compiler: str) -> str:
    """Name of what `compiler` (version and options) makes of `source`, a file of `folder`, and
    of all that it includes.
    """
    digest = hashlib.sha256(json.dumps([source, compiler]).encode())
    texts, seen = [source], set()
    while texts:
        for name in re.findall(r'"(\w+\.\w+)"', texts.pop()):
            found = next((p / name for p in (folder, *HEADERS) if (p / name).is_file()), None)
            if found and name not in seen:
                seen.add(name)
                texts.append(found.read_text())
                digest.update(texts[-1].encode())
    return digest.hexdigest()[:32]


def kept(name: str, build: Callable[[Path], dict[str, Any]]) -> Entry:
    """The file `name`; if it is not there, or not what was written, `build` writes it."""
    return found(name) or keep(name, build)


def found(name: str) -> Entry | None:
    """The file `name`; None if it is not there, or not what was written."""
    path = folder() / name
    try:
        facts = json.loads(_note(path).read_text())
        if facts["sha256"] == _sha256(path):
            return Entry(path, facts)
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not built yet, or damaged
    return None


def keep(name: str, build: Callable[[Path], dict[str, Any]]) -> Entry:
    """The file `name`, which `build` writes to a temporary place, giving its facts.

    Two processes may build at once: each moves whole files into place, and where the two that stay
    do not fit, neither is found again.

    Raises:
        UnavailableError: if the folder cannot be made.
    """
    path = folder() / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnavailableError(
            f"what is compiled cannot be kept in {path.parent} ({error.strerror}); "
            "set XDG_CACHE_HOME to a folder that can be written"
        ) from error
    _sweep(path.parent)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="build-") as place:
        fresh = Path(place) / name
        facts = build(fresh)
        facts["sha256"] = _sha256(fresh)
        fresh.with_name("note").write_text(json.dumps(facts))
        fresh.replace(path)
        fresh.with_name("note").replace(_note(path))
    return Entry(path, facts)


def _sweep(place: Path) -> None:
    """Remove what killed processes were building."""
    for left in place.glob("build-*"):
        with suppress(OSError):  # another process was faster
            if time.time() - left.stat().st_mtime > FORSAKEN:
                shutil.rmtree(left)


def _note(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

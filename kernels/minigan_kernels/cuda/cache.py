"""Compiled kernels on disk: written whole or not at all, checked when read, rebuilt when spoilt."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .errors import UnavailableError

SOURCES = Path(__file__).parent / "src"
HEADERS = (SOURCES, Path(__file__).parent / "emu")


class Entry(NamedTuple):
    """A compiled file, and what its compiler said about it."""

    path: Path
    facts: dict[str, Any]


def folder() -> Path:
    """Where compiled kernels are kept: below XDG_CACHE_HOME, or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minigan" / "cuda"


def unit(file: Path, defines: Mapping[str, object]) -> str:
    """The source of `file` behind its macros, which so mean nothing to what was included before."""
    macros = "".join(f"#define {name} {value}\n" for name, value in defines.items())
    return f'{macros}#line 1 "{file.name}"\n{file.read_text()}'


def key(source: str, folder: Path, *compiler: str) -> str:
    """Name of what `compiler` (version and options) makes of `source`, which lies in `folder`, and
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
    """The file `name`; if it is not there, or not what was written, `build` writes it anew.

    `build` writes to a temporary file and gives its facts. Two processes may build at once: each
    moves whole files into place, and where the two that stay do not fit they are built again.

    Raises:
        UnavailableError: if the folder cannot be made.
    """
    path = folder() / name
    note = path.with_name(name + ".json")
    try:
        facts = json.loads(note.read_text())
        if facts["sha256"] == _sha256(path):
            return Entry(path, facts)
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not built yet, or spoilt
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnavailableError(
            f"compiled kernels cannot be kept in {path.parent} ({error.strerror}); "
            "set XDG_CACHE_HOME to a folder that can be written"
        ) from error
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="build-") as place:
        fresh = Path(place) / name
        facts = build(fresh)
        facts["sha256"] = _sha256(fresh)
        fresh.with_name("note").write_text(json.dumps(facts))
        fresh.replace(path)
        fresh.with_name("note").replace(note)
    return Entry(path, facts)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

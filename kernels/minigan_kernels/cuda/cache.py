"""What is costly to make, such as compiled kernels, on disk: written whole or not at all, checked
when read, rebuilt when damaged, and used only if nobody else could have written it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ..trust import Trust, UntrustedError
from .errors import UnavailableError

SOURCES = Path(__file__).parent / "src"
trust = Trust("XDG_CACHE_HOME")
_MOST_BYTES = 1 << 26  # of a file; of what is longer the digest is wrong
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


def kept(
    name: str,
    build: Callable[[Path], dict[str, Any]],
    fits: Callable[[dict[str, Any]], bool] = lambda facts: True,
) -> Entry:
    """The file `name`; if it is not there, or not what was written, or its facts are none that
    `fits`, `build` writes it.
    """
    entry = found(name)
    return entry if entry is not None and fits(entry.facts) else keep(name, build)


def found(name: str) -> Entry | None:
    """The file `name`; None if it is not there, or not what was written.

    Raises:
        UnavailableError: if somebody else could have written it: it may hold machine code.
    """
    path = folder() / name
    try:
        content = _ours(_note(path))
    except (FileNotFoundError, NotADirectoryError):
        return None  # not built yet
    except OSError as error:
        raise _unkept(path.parent, error) from error
    facts = facts_of(content)
    try:
        if facts and facts.get("sha256") == hashlib.sha256(_ours(path)).hexdigest():
            return Entry(path, facts)
    except OSError:
        pass
    print(f"minigan: {path} is damaged, and is made again", file=sys.stderr, flush=True)
    return None


def facts_of(content: bytes) -> dict[str, Any]:
    """The facts in a note; none if it is damaged."""
    try:
        facts = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _ours(path: Path) -> bytes:
    """The content of a file that nobody else could have written."""
    try:
        return trust.read(path, _MOST_BYTES)
    except UntrustedError as error:
        raise UnavailableError(str(error)) from error


def _check_trusted(folder: Path) -> None:
    try:
        trust.check(folder)
    except UntrustedError as error:
        raise UnavailableError(str(error)) from error


def keep(name: str, build: Callable[[Path], dict[str, Any]]) -> Entry:
    """The file `name`, which `build` writes to a temporary place, giving its facts.

    Two processes may build at once: each moves whole files into place, and where the two that stay
    do not fit, neither is found again.

    Raises:
        UnavailableError: if it cannot be kept, or others may write there.
    """
    path = folder() / name
    _check_trusted(path.parent)
    try:
        return _kept(path, build)
    except OSError as error:
        raise _unkept(path.parent, error) from error


def _kept(path: Path, build: Callable[[Path], dict[str, Any]]) -> Entry:
    path.parent.parent.mkdir(parents=True, exist_ok=True)
    path.parent.mkdir(mode=0o755, exist_ok=True)
    _check_trusted(path.parent)
    _sweep(path.parent)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="build-") as place:
        fresh = Path(place) / path.name
        facts = build(fresh)
        facts["sha256"] = hashlib.sha256(fresh.read_bytes()).hexdigest()
        fresh.with_name("note").write_text(json.dumps(facts))
        for file in (fresh, fresh.with_name("note")):  # whatever the umask
            file.chmod(0o755 if file is fresh else 0o644)
        fresh.replace(path)
        fresh.with_name("note").replace(_note(path))
    return Entry(path, facts)


def _unkept(place: Path, error: OSError) -> UnavailableError:
    return UnavailableError(
        f"what is compiled cannot be kept in {place} ({error.strerror or error}); "
        "set XDG_CACHE_HOME to a folder that can be written"
    )


def _sweep(place: Path) -> None:
    """Remove what killed processes were building."""
    for left in place.glob("build-*"):
        with suppress(OSError):  # another process was faster
            if time.time() - left.stat().st_mtime > FORSAKEN:
                shutil.rmtree(left)


def _note(path: Path) -> Path:
    return path.with_name(path.name + ".json")

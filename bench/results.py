"""What a part measured, as JSON: written whole, small enough to commit, checked on reading."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minigan.files import atomic_write

from .settings import Settings, say

FORMAT = 1
FOLDER = Path(__file__).parent / "results"
# What every file holds beside its part's own rows.
KEYS = {"format", "part", "measured", "seconds", "quick", "threads", "machine", "rows"}

Result = dict[str, Any]


def plain(value: Any) -> Any:
    """Dataclasses as dicts, and numbers to four digits: the rest is noise."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def check(result: Result) -> Result:
    """The same result, if it is one.

    Raises:
        ValueError: if something is missing, or a number is not finite.
    """
    if missing := KEYS - result.keys():
        raise ValueError(f"the result lacks {', '.join(sorted(missing))}")
    if result["format"] != FORMAT:
        raise ValueError(f"the result has format {result['format']}, not {FORMAT}")
    if not result["rows"]:
        raise ValueError(f"{result['part']} measured nothing")
    _check_finite(result, str(result["part"]))
    return result


def complete(
    part: str, settings: Settings, cores: int, measure: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """What `measure` finds, when and on what.

    Raises:
        ValueError: if it is no result.
    """
    from minigan_kernels.cpu.conv import select

    from .machine import machine
    from .timing import Clock

    if number := len(select.remembered()):
        say(f"{number} kernels of layers by choices of `tune`; tune --forget goes back to the rule")
    began = time.monotonic()
    found = measure()
    result = {
        "format": FORMAT,
        "part": part,
        "measured": datetime.date.today().isoformat(),
        "seconds": time.monotonic() - began,
        "quick": settings.quick,
        "threads": settings.threads,
        "rejects": Clock().others() is not None,
        "machine": machine(cores),
        "choices": select.remembered(),
        **found,
    }
    return check(plain(result))


def save(name: str, result: Result, folder: Path = FOLDER) -> Path:
    """Write `result` to name.json in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(check(plain(result)), indent=1) + "\n")
    return path


def load(name: str, folder: Path = FOLDER) -> Result | None:
    """The newest result of that name; None if nothing was measured yet.

    Raises:
        ValueError: if the file is not such a result.
    """
    path = folder / f"{name}.json"
    return check(json.loads(path.read_text())) if path.exists() else None


def _check_finite(value: Any, where: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is {value}")
    if isinstance(value, dict):
        for key, part in value.items():
            _check_finite(part, f"{where}.{key}")
    if isinstance(value, list):
        for index, part in enumerate(value):
            _check_finite(part, f"{where}.{index}")

"""Checkpoints: the whole state of a run in one safetensors file.

A file holds every player's and optimiser's arrays, and as its one metadata entry a JSON text with
the format, the recipe, the step, the state of the generator, the position in the data, and a
checksum over all arrays. (One entry, because safetensors does not keep the order of several.) It is
written beside its place and moved there, so a checkpoint is whole or absent.
"""

from __future__ import annotations

import errno
import hashlib
import json
import time
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from .errors import UserError
from .files import atomic_write

FORMAT = 1
KEPT = 2  # newest checkpoints that stay in a run directory
FORSAKEN = 3600  # seconds after which nobody writes a temporary file any more


def save(path: Path, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
    """Write `arrays` and `facts` (plain JSON values) atomically.

    Raises:
        OSError: if the file cannot be written; what was there before stays.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    plain = {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}
    facts = {"format": FORMAT, **facts}
    facts["checksum"] = _checksum(plain, facts)
    with atomic_write(path) as temporary:
        try:
            save_file(plain, temporary, {"minigan": json.dumps(facts, sort_keys=True)})
        except SafetensorError as error:  # so it reports a full disk
            raise OSError(errno.EIO, str(error), str(path)) from error


def load(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and facts of a checkpoint.

    Raises:
        UserError: if it is missing, damaged, no checkpoint of minigan, or of a newer format.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            text = (file.metadata() or {}).get("minigan")
            if text is None:
                raise UserError(f"{path} is a safetensors file, but not a checkpoint of minigan")
            facts = json.loads(text)
            if facts["format"] > FORMAT:
                raise UserError(
                    f"{path} has checkpoint format {facts['format']}, but this minigan reads up to "
                    f"{FORMAT}; install a newer one"
                )
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise UserError(f"there is no checkpoint {path}") from None
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise damaged(path, error) from error
    if facts.pop("checksum", None) != _checksum(arrays, facts):
        raise damaged(path, "its checksum does not match its contents")
    return arrays, facts


def damaged(path: Path, why: object) -> UserError:
    """The error for a checkpoint that cannot be read, with what to do about it."""
    way = "remove it"
    if path in _all(path.parent):  # of a run
        older = [other for other in _all(path.parent) if _step(other) < _step(path)]
        way += f" to go on from round {_step(older[-1])}" if older else " to begin the run anew"
    return UserError(f"the checkpoint {path} is damaged: {why}; {way}")


def newest(folder: Path) -> Path | None:
    """The checkpoint of the latest step, if there is one."""
    found = _all(folder)
    return found[-1] if found else None


def prune(folder: Path) -> None:
    """Remove all but the newest checkpoints, and what killed processes left half written."""
    for path in _all(folder)[:-KEPT]:
        path.unlink()
    for path in folder.glob(".step-*.safetensors"):
        with suppress(FileNotFoundError):  # another process may have been faster
            if time.time() - path.stat().st_mtime > FORSAKEN:
                path.unlink()


def file_name(step: int) -> str:
    return f"step-{step:06d}.safetensors"


def _all(folder: Path) -> list[Path]:
    found = [path for path in folder.glob("step-*.safetensors") if path.stem[5:].isdecimal()]
    return sorted(found, key=_step)


def _step(path: Path) -> int:
    return int(path.stem[5:])


def _checksum(arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> str:
    """Changes if any fact, name, dtype, shape or byte does."""
    digest = hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16)
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(zlib.crc32(array.tobytes()).to_bytes(4, "little"))
    return digest.hexdigest()

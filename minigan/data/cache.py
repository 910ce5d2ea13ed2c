"""Decoded pictures in files that are mapped into memory: decoded once, and never all in memory.

A file of minigan's cache is a .npy file of uint8 (N, C, H, W), with a JSON text behind the pixels
that says what was found beside them. Its name has the place and the key of the pictures. The key is
the SHA-256 of all that decides on the pixels: the version of this format and of Pillow, the
options, and of each picture file its name below the folder, its size and its time of change to a
nanosecond. So a changed, added or removed file is noticed, and all are decoded again.

The bytes of the files are not in the key: to read 200,000 files costs what the cache is to save. A
file that was changed with its size and its time kept is therefore not noticed at the start. Nor is
it by the digest of a run, which is that of the decoded pixels; `minigan data clean pictures`
removes them, and then it is.

A file is complete as soon as it has its name. Two processes may decode the same pictures at once:
each writes a file of its own, with the same content, and either may be kept.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..files import atomic_write
from ..schema import SchemaError, parse

FORMAT = 1  # of the files
FEWEST = 64  # pictures that are kept: fewer are decoded at each start
HEADER = 128  # bytes before the pixels
NAME = r"[0-9a-f]{16}-[0-9a-f]{64}\.(npy|json)"  # of the files, for those who empty the cache

Fill = Callable[[BinaryIO], tuple[tuple[int, ...], dict[str, Any]]]


def folder() -> Path:
    """Where decoded pictures are: in minigan's folder in the user's cache."""
    from .download import user_cache

    return user_cache() / "pictures"


def place_of(root: Path, options: Mapping[str, Any]) -> str:
    """What the file's name begins with: whatever else is there of this place is out of date."""
    said = json.dumps([FORMAT, options], sort_keys=True).encode()
    return hashlib.sha256(os.fsencode(root.resolve()) + said).hexdigest()[:16]


def key_of(root: Path, paths: Iterable[Any], options: Mapping[str, Any]) -> str:
    """The key of these picture files below `root`, in their order."""
    from PIL import __version__

    said, before = json.dumps([FORMAT, __version__, options], sort_keys=True), f"{root}{os.sep}"
    lines = [f"{str(path).removeprefix(before)}\0{_stamp(path)}" for path in paths]
    return hashlib.sha256(os.fsencode("\n".join([said, *lines]))).hexdigest()


def _stamp(path: Any) -> str:
    """What changes if a picture file changes; empty if it is gone."""
    try:
        found = os.stat(path) if isinstance(path, Path) else path.stat()  # twice as fast
    except OSError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"


def find(place: str, key: str) -> tuple[np.ndarray, dict[str, Any]] | None:
    """The pixels of this key, mapped read-only, and what was found beside them; None if there are
    none, or their file is damaged.
    """
    path = folder() / f"{place}-{key}.npy"
    try:
        with open(path, "rb") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                return None
            shape, transposed, dtype = np.lib.format.read_array_header_1_0(file)
            if transposed or dtype != np.uint8 or len(shape) != 4 or file.tell() != HEADER:
                return None
            file.seek(HEADER + math.prod(shape))
            facts = parse(file.read())
        if not isinstance(facts, dict) or facts.get("format") != FORMAT:
            return None
        return np.memmap(path, np.uint8, "r", HEADER, shape), facts
    except (OSError, ValueError, SchemaError):
        return None


def write(place: str, key: str, fill: Fill) -> None:
    """Keep the pixels that `fill` writes; it gives their shape, and facts to be kept beside them.

    What was there of the same place is removed.

    Raises:
        OSError: if they cannot be written.
    """
    where, name = folder(), f"{place}-{key}.npy"
    where.mkdir(parents=True, exist_ok=True)
    # An older memory of digests must not outlive the pixels.
    (where / name).with_suffix(".json").unlink(missing_ok=True)
    with atomic_write(where / name) as temporary, open(temporary, "r+b") as file:
        file.seek(HEADER)
        shape, facts = fill(file)
        file.write(json.dumps({"format": FORMAT, **facts}).encode())
        file.seek(0)
        known = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, known)
        assert file.tell() == HEADER, "NumPy's header of four numbers has 128 bytes"
    for other in where.glob(f"{place}-*"):
        if other.stem != Path(name).stem:
            with suppress(OSError):  # another process was faster, or has it mapped, on Windows
                other.unlink()


def remembered(arrays: list[np.ndarray], head: bytes, digest: Callable[[], str]) -> str:
    """The digest of arrays of which the first are pictures, remembered if those are mapped here.

    So another start need not read them all. `head` is whatever else is in the digest; the other
    arrays are small and are read.
    """
    file = _mapped_file(arrays[0])
    if file is None:
        return digest()
    known = hashlib.sha256(head + _view(arrays[0]))
    for array in arrays[1:]:
        known.update(np.ascontiguousarray(array).data)
    path, key = file.with_suffix(".json"), known.hexdigest()
    found: Any = {}
    with suppress(OSError, SchemaError):
        found = parse(path.read_bytes())
    found = found if isinstance(found, dict) else {}
    if isinstance(value := found.get(key), str) and len(value) == 64:
        return value
    found[key] = value = digest()
    with suppress(OSError), atomic_write(path) as temporary:  # it is found again, then
        temporary.write_text(json.dumps(found))
    return value


def _mapped_file(x: np.ndarray) -> Path | None:
    """The file of this cache that an array is mapped from."""
    name = getattr(x, "filename", None) if isinstance(x, np.memmap) else None
    if name is None or Path(name).parent != folder().resolve():
        return None
    return Path(name)


def _view(x: np.ndarray) -> bytes:
    """Which bytes of its file a mapped array has, in which order."""
    root = x
    while isinstance(root.base, np.ndarray):
        root = root.base
    return repr((x.ctypes.data - root.ctypes.data, x.strides, x.shape)).encode()

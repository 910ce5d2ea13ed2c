"""minigan's own files: arrays and facts in one safetensors file, written whole or not at all.

Beside the arrays a file has one metadata entry: a JSON text with the format, whatever facts the
caller gives, and a checksum over all of it. (One entry, because safetensors does not keep the order
of several.)
"""

from __future__ import annotations

import errno
import hashlib
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..files import atomic_write
from ..schema import TEXT, Table, check, integer, parse

FORMAT = 1
FACTS = Table({"format": integer(1), "checksum": TEXT}, {})


class DamagedError(UserError):
    """The file at `path` cannot be read; `why` says what is wrong with it, `way` what to do.

    >>> issubclass(DamagedError, mg.UserError)
    True
    """

    def __init__(self, path: Path, why: object, way: str = "remove it") -> None:
        super().__init__(f"{path} is damaged: {why}; {way}")
        self.path, self.why = path, why


def write(path: Path, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
    """Write `arrays` and `facts` (plain JSON values) atomically.

    Raises:
        OSError: if the file cannot be written; what was there before stays.

    >>> from pathlib import Path
    >>> write(Path("a.safetensors"), {"w": np.ones(2)}, {"step": 3})
    >>> read(Path("a.safetensors"))[1]["step"]
    3
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    plain, metadata = signed(arrays, facts)
    with atomic_write(path) as temporary:
        try:
            save_file(plain, temporary, metadata)
        except SafetensorError as error:  # so it reports a full disk
            raise OSError(errno.EIO, str(error), str(path)) from error


def signed(
    arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays in C order, and the metadata of their file: the facts and a checksum."""
    plain = {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}
    facts = {"format": FORMAT, **facts}
    facts["checksum"] = checksum(plain, facts)
    return plain, {"minigan": json.dumps(facts, sort_keys=True)}


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and facts of a checkpoint.

    Raises:
        UserError: if it is missing, damaged, no checkpoint of minigan, or of a newer format.

    >>> from pathlib import Path
    >>> write(Path("a.safetensors"), {"w": np.ones(2)}, {"step": 3})
    >>> read(Path("a.safetensors"))[0]
    {'w': array([1., 1.])}
    """
    from safetensors import SafetensorError, safe_open

    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise DamagedError(path, "it is not a file")
        with safe_open(path, "numpy") as file:
            text = (file.metadata() or {}).get("minigan")
            if text is None:
                raise UserError(f"{path} is a safetensors file, but not a checkpoint of minigan")
            facts = parse(text.encode("utf-8", "surrogatepass"))
            check(facts, FACTS)
            if facts["format"] > FORMAT:
                raise UserError(
                    f"{path} has checkpoint format {facts['format']}, but this minigan reads up to "
                    f"{FORMAT}; install a newer one"
                )
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise UserError(f"there is no checkpoint {path}") from None
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(path, error) from error
    if facts.pop("checksum") != checksum(arrays, facts):
        raise DamagedError(path, "its checksum does not match its contents")
    return arrays, facts


def is_ours(path: Path) -> bool:
    """Whether a file says that minigan has written it; one that cannot be read does not."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return False
    try:
        with safe_open(path, "numpy") as file:
            return "minigan" in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def checksum(arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> str:
    """Changes if any fact, name, dtype, shape or byte does."""
    digest = hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16)
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(zlib.crc32(array.tobytes()).to_bytes(4, "little"))
    return digest.hexdigest()

"""Arrays on their way out of a module or an optimiser, and back into it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..device import asarray_like, is_array, to_host
from ..tensor import Array, Tensor


def plain(arrays: Mapping[str, Array]) -> dict[str, np.ndarray]:
    """Copies on the host, in C order and the machine's byte order, as other programs want them.

    They are read-only: writing one would change nothing that computes.
    """
    copies = {}
    for name, array in arrays.items():
        host = to_host(array)
        copy = np.array(host, host.dtype.newbyteorder("="), order="C")
        copy.flags.writeable = False
        copies[name] = copy
    return copies


def fitted(mine: Mapping[str, Array], saved: Mapping[str, Any], owner: str) -> dict[str, Array]:
    """The values of `saved`, each with the dtype and on the device of the array of its name.

    They may have any order in memory. A dtype may be another one of the same kind: float64 for
    float32, but no float for an integer.

    Raises:
        TypeError: if `saved` holds no arrays by name.
        ValueError: naming an array that is missing, unknown, of another shape or of a dtype that
            does not fit, or that holds a number too large for this one's dtype.
    """
    if not isinstance(saved, Mapping):
        raise TypeError(f"a saved state is arrays by name, not {type(saved).__name__}")
    for name in [*mine, *saved]:
        if name not in saved or name not in mine:
            where = "the saved state" if name not in saved else owner
            raise ValueError(f"{name} is missing in {where}")
    own = {id(array) for array in mine.values()}
    found = {name: _fitted(name, array, saved[name]) for name, array in mine.items()}
    # Written one after another, an array that belongs to the owner could change too early.
    return {name: array.copy() if id(array) in own else array for name, array in found.items()}


def _fitted(name: str, array: Array, given: Any) -> Array:
    if isinstance(given, Tensor):
        given = given.data
    elif not is_array(given):
        given = np.asarray(given)
    if given.shape != array.shape:
        raise ValueError(f"{name} has shape {array.shape}, not {given.shape}")
    if given.dtype == array.dtype:
        return asarray_like(given, array)
    if not np.can_cast(given.dtype, array.dtype, "same_kind"):
        raise ValueError(f"{name} is {array.dtype}, to which {given.dtype} is not converted")
    with np.errstate(all="ignore"):
        converted = given.astype(array.dtype)
        same = np.isfinite(converted) == np.isfinite(given) if array.dtype.kind == "f" else (
            converted == given
        )  # fmt: skip
    if not same.all():
        raise ValueError(f"{name} has numbers that {array.dtype} cannot hold")
    return asarray_like(converted, array)

"""Arrays on their way out of a module or an optimiser, and back into it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..device import asarray_like, is_array, to_host
from ..tensor import Array, Tensor

Renamed = Mapping[str, tuple[str, ...]]  # a module's own name for a part -> PyTorch's names for it

_WRAPPERS = ("module.", "_orig_mod.")  # before every name: DataParallel, and torch.compile
_COUNTER = "num_batches_tracked"  # of PyTorch's batch norm; nothing is computed from it


class Unmatched(NamedTuple):
    """What `load_state_dict` found no partner for: our names, and those of the state."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<every name has been matched>"
        return (
            f"Unmatched(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"
        )


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
        ValueError: naming every array that is missing, unknown, of another shape or of a dtype that
            does not fit, or that holds a number too large for this one's dtype.
    """
    check_state(saved)
    missing, unexpected = [n for n in mine if n not in saved], [n for n in saved if n not in mine]
    return _converted(mine, saved, _unmatched(missing, unexpected, owner))


def matched(
    names: Mapping[str, str],
    mine: Mapping[str, Array],
    saved: Mapping[str, Any],
    owner: str,
    *,
    strict: bool,
) -> tuple[dict[str, Array], Unmatched]:
    """As `fitted`, by the `names` of `known_names`; and what has no partner.

    If every name begins with "module." or "_orig_mod.", that is dropped; counters of batches are
    passed over. Without `strict` a name may lack its partner; a shape must fit all the same.

    Raises:
        TypeError, ValueError: as `fitted`; also if one array has two values.
    """
    check_state(saved)
    given = {str(key): value for key, value in saved.items()}
    for wrapper in _WRAPPERS:
        if given and all(key.startswith(wrapper) and key not in names for key in given):
            given = {key.removeprefix(wrapper): value for key, value in given.items()}
    chosen: dict[str, Any] = {}
    first: dict[str, str] = {}  # our name -> the name that came first for it
    unexpected, faults = [], []
    for key, value in given.items():
        name = names.get(key)
        if name is None:
            if key.rpartition(".")[2] != _COUNTER:
                unexpected.append(key)
        elif name not in chosen:
            chosen[name], first[name] = value, key
        elif not np.array_equal(as_array(chosen[name]), as_array(value), equal_nan=True):
            faults.append(f"{first[name]} and {key} are one array in {owner}, but differ")
    missing = [name for name in mine if name not in chosen]
    if strict:
        faults += _unmatched(missing, unexpected, owner)
        if missing and (prefix := _prefix(missing, unexpected, names)):
            faults.append(f"without {prefix!r} before them, those that begin with it would fit")
    fits = {name: mine[name] for name in mine if name in chosen}
    return _converted(fits, chosen, faults), Unmatched(missing, unexpected)


def known_names(
    leaves: Iterable[tuple[str, Any, Any, Any]], modules: Mapping[str, Any]
) -> dict[str, str]:
    """Every name of the arrays in `leaves` (places as in a module's walk): its name in `arrays`.

    An array has its own names, of which the first counts, and those that PyTorch has for it by the
    `pytorch_names` of the `modules` above it. A name that would mean two arrays means its own one,
    or none.
    """
    own: dict[str, str] = {}
    firsts: dict[int, str] = {}
    for name, _, _, value in leaves:
        own[name] = firsts.setdefault(id(value), name)
    theirs: dict[str, str | None] = {}
    for name, first in own.items():
        for other in _translated(name, modules):
            theirs[other] = first if theirs.get(other, first) == first else None
    return {name: first for name, first in theirs.items() if first is not None} | own


def pytorch_names(
    leaves: Iterable[tuple[str, Any, Any, Any]], modules: Mapping[str, Any]
) -> dict[str, str]:
    """The name of each array in `arrays`: the one that PyTorch has for it.

    Raises:
        ValueError: if PyTorch would call two arrays by one name.
    """
    leaves = list(leaves)
    firsts = dict.fromkeys(known_names(leaves, modules)[name] for name, _, _, _ in leaves)
    theirs = {name: _translated(name, modules)[0] for name in firsts}
    owner: dict[str, str] = {}
    for name, other in theirs.items():
        if owner.setdefault(other, name) != name:
            raise ValueError(f"{owner[other]} and {name} would both be {other} in PyTorch")
    return theirs


def _translated(name: str, modules: Mapping[str, Any]) -> list[str]:
    """What PyTorch may call the array `name`: the name, part by part, as the modules rename it."""
    found, path, rest = [""], "", name
    while rest:
        renamed: Renamed = getattr(modules.get(path), "pytorch_names", {})
        part = max(
            (own for own in renamed if f"{rest}.".startswith(f"{own}.")), key=len, default=""
        )
        part = part or rest.partition(".")[0]
        found = [_joined(before, new) for before in found for new in renamed.get(part, (part,))]
        path, rest = _joined(path, part), rest[len(part) + 1 :]
    return found


def _joined(*parts: str) -> str:
    return ".".join(filter(None, parts))


def check_state(saved: Any) -> None:
    """Make sure that a saved state is a mapping.

    Raises:
        TypeError: if it is none.
    """
    if isinstance(saved, Mapping):
        return
    way = ""
    if isinstance(saved, (str, os.PathLike)):
        way = "; load_state_dict(mg.load(path)) takes them from a file"
    elif hasattr(saved, "state_dict"):
        way = "; its state_dict() is"
    raise TypeError(f"a saved state is arrays by name, not {type(saved).__name__}{way}")


def as_array(given: Any) -> Array:
    """The array of a tensor, an array, or what NumPy makes one of; of PyTorch's tensors too, whose
    bfloat16 becomes float32.
    """
    if isinstance(given, Tensor):
        return given.data
    if hasattr(given, "detach"):  # PyTorch's; it looks like an array of a GPU
        host = given.detach().cpu()
        try:
            return host.numpy()
        except TypeError:  # NumPy has no bfloat16
            return host.float().numpy()
    return given if is_array(given) else np.asarray(given)


def _unmatched(missing: list[str], unexpected: list[str], owner: str) -> list[str]:
    """The names without a partner in words."""
    words = []
    for names, where in (missing, "missing in the saved state"), (unexpected, f"not in {owner}"):
        if names:
            words.append(f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} {where}")
    return words


def _prefix(missing: list[str], unexpected: list[str], names: Mapping[str, str]) -> str | None:
    """What is before the names of all that is missing, as where one network of several is wanted:
    "model." in a checkpoint of PyTorch, "players/G/" in one of a run.
    """
    found: dict[str, set[str]] = {}
    for key in unexpected:
        for end in (place.end() for place in re.finditer("[./]", key)):
            if key[end:] in names:
                found.setdefault(key[:end], set()).add(names[key[end:]])
    return next((prefix for prefix, ours in found.items() if ours >= set(missing)), None)


def _converted(
    mine: Mapping[str, Array], saved: Mapping[str, Any], faults: list[str]
) -> dict[str, Array]:
    """The values of `saved` for the arrays `mine`, of which those that are there must fit.

    Raises:
        ValueError: naming what does not, beside the `faults` that were found before.
    """
    found, own = {}, {id(array) for array in mine.values()}
    for name, array in mine.items():
        if name not in saved:
            continue
        try:
            value = _fitted(name, array, saved[name])
        except ValueError as error:
            faults.append(str(error))
        else:
            # Written one after another, an array of the owner's could change too early.
            found[name] = value.copy() if id(value) in own else value
    if faults:
        raise ValueError("; ".join(faults))
    return found


def _fitted(name: str, array: Array, given: Any) -> Array:
    given = as_array(given)
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

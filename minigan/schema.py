"""JSON from files that anybody may have written: read within limits, checked by type and range.

A kind says what a value must be, for a test and in words. A `Table` has a kind for each key, and
knows what older files mean that lack one. `check` names all that is wrong by its place in the file.
"""

from __future__ import annotations

import json
import math
import stat
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from .terminal import brief

LARGEST = 64 << 20  # bytes of a JSON file
LINE = 1 << 20  # bytes of a line of a file that has a JSON text in each
DEEPEST = 16  # lists and objects within each other
LONGEST = 4096  # characters of a name or a path
TOLD = 3  # faults of a file that one sentence names
CONTAINERS = {dict, list}
MANY = 2**53  # integers up to here are exact in every JSON reader


class SchemaError(ValueError):
    """A text is no JSON, or a value not of its kind; the message says what is wrong."""


class Kind(Protocol):
    """What a value must be."""

    def faults(self, value: Any, name: str) -> Iterator[str]:
        """What is wrong with `value`, which the file calls `name`."""


# --- Reading ---------------------------------------------------------------------------------


def parse(text: bytes) -> Any:
    """The value of a JSON text in UTF-8; NaN and Infinity are values too, as Python writes them.

    Raises:
        SchemaError: if it is none, or is nested more than 16 deep.
    """
    try:
        value = json.loads(text.removeprefix(BOM_UTF8).decode())
    except RecursionError:
        raise SchemaError(f"it is nested more than {DEEPEST} deep") from None
    except UnicodeDecodeError:
        raise SchemaError("it is not text in UTF-8") from None
    except ValueError as error:  # an integer of thousands of digits too
        raise SchemaError(str(error)) from error
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in _inner(outer)]
        if CONTAINERS.isdisjoint(map(type, level)):
            return value
    raise SchemaError(f"it is nested more than {DEEPEST} deep")


def load(path: Path) -> Any:
    """The value in a JSON file of at most 64 MB.

    Raises:
        SchemaError: if it is larger, or no JSON.
        OSError: if it cannot be read.
    """
    with _opened(path) as file:
        text = file.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise SchemaError(f"it has more than {LARGEST:,} bytes")
    return parse(text)


def lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, each with its end; a last line without one is left out.

    Raises:
        SchemaError: if a line has more than 1 MB.
        OSError: if the file cannot be read.
    """
    with _opened(path) as file:
        while line := file.readline(LINE + 1):
            if len(line) > LINE:
                raise SchemaError(f"it has more than {LINE:,} bytes")
            if line.endswith(b"\n"):
                yield line


def _opened(path: Path) -> BinaryIO:
    if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for, a device never ends
        raise SchemaError("it is not a file")
    return open(path, "rb")


def _inner(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


# --- Kinds -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plain:
    """A value for which `holds`; `words` say what that is."""

    words: str
    holds: Callable[[Any], bool]

    def faults(self, value: Any, name: str) -> Iterator[str]:
        if not self.holds(value):
            yield f"{name} is {shown(value)}, but must be {self.words}"


@dataclass(frozen=True)
class ListOf:
    """A list of values of one kind."""

    kind: Kind

    def faults(self, value: Any, name: str) -> Iterator[str]:
        if not isinstance(value, list):
            yield f"{name} is {shown(value)}, but must be a list"
            return
        for position, item in enumerate(value):
            yield from self.kind.faults(item, f"{name}[{position}]")


@dataclass(frozen=True)
class MapOf:
    """An object whose values are all of one kind."""

    kind: Kind

    def faults(self, value: Any, name: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{name} is {shown(value)}, but must be an object"
            return
        for key, item in value.items():
            yield from self.kind.faults(
                item, f"{name}.{brief(key, 60)}" if name else brief(key, 60)
            )


@dataclass(frozen=True)
class Maybe:
    """A value of a kind, or null."""

    kind: Kind

    def faults(self, value: Any, name: str) -> Iterator[str]:
        if value is not None:
            yield from self.kind.faults(value, name)


@dataclass(frozen=True)
class Table:
    """An object with a kind for each key; other keys may hold anything.

    `later` has the keys that older files lack, each with its kind and what is meant then.
    """

    needed: Mapping[str, Kind]
    later: Mapping[str, tuple[Kind, Any]]

    def faults(self, value: Any, name: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{name or 'it'} is {shown(value)}, but must be an object"
            return
        before = f"{name}." if name else ""
        for key, kind in self.needed.items():
            if key in value:
                yield from kind.faults(value[key], before + key)
            else:
                yield f"{before}{key} is missing"
        for key, (kind, _) in self.later.items():
            if key in value:
                yield from kind.faults(value[key], before + key)

    def completed(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """`value` with what is meant by the keys that it lacks, in inner tables too."""
        found = {key: default for key, (_, default) in self.later.items()} | dict(value)
        for key, kind in self.needed.items():
            if isinstance(kind, Table):
                found[key] = kind.completed(found[key])
        return found


def check(value: Any, kind: Kind) -> None:
    """Make sure that a value is of a kind.

    Raises:
        SchemaError: naming what is not, three things at most.
    """
    if found := list(islice(kind.faults(value, ""), TOLD)):
        raise SchemaError("; ".join(found))


def integer(low: int = 0, high: int = MANY) -> Plain:
    """Integers from `low` to `high`; true and false are none, nor is 1.0."""
    least = "-2**53" if low == -MANY else low
    most = "2**53" if high == MANY else high
    return Plain(
        f"an integer from {least} to {most}", lambda v: type(v) is int and low <= v <= high
    )


def number(low: float = -math.inf, high: float = math.inf) -> Plain:
    """Finite numbers from `low` to `high`."""
    words = "a finite number"
    if (low, high) != (-math.inf, math.inf):
        words += f" from {low:g} to {high:g}"
    return Plain(words, lambda v: is_number(v) and math.isfinite(v) and low <= v <= high)


def is_number(value: Any) -> bool:
    """Whether a value is a number that a float can hold, NaN and infinity included."""
    if type(value) is int:
        return value.bit_length() < 1024
    return type(value) is float


def one_of(*values: str) -> Plain:
    """One of these texts."""
    return Plain(f"one of {', '.join(values)}", lambda v: type(v) is str and v in values)


def _is_text(value: Any) -> bool:
    """Whether a value is text that can be written again: a lone surrogate cannot, unless it stands
    for a byte of a path that is not in UTF-8.
    """
    if type(value) is not str:
        return False
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _is_name(value: Any) -> bool:
    """Whether a value is a text of one line that can be a path."""
    control = any(ord(c) < 32 or ord(c) == 127 for c in value) if _is_text(value) else True
    return not control and 0 < len(value) <= LONGEST


FLAG = Plain("true or false", lambda v: type(v) is bool)
TEXT = Plain("text", _is_text)
NAME = Plain(f"one line of text, {LONGEST} characters at most", _is_name)
NUMBER = Plain("a number", is_number)
ANYTHING = Plain("anything", lambda v: True)


def shown(value: Any) -> str:
    """A value for an error message: one short line, whatever it is."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, int) and value.bit_length() > 200:
        return "an integer of more than 60 digits"
    return brief(repr(value), 60)

"""What a run directory holds: config.json, a row of metrics.jsonl, the facts of a checkpoint.

Whatever a later command takes from these files is of the type and in the range that stand here. A
key that older runs lack has a default.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ..schema import (
    ANYTHING,
    FLAG,
    MANY,
    NAME,
    NUMBER,
    TEXT,
    Kind,
    ListOf,
    MapOf,
    Maybe,
    SchemaError,
    Table,
    check,
    integer,
    is_number,
    number,
    one_of,
    shown,
)

CENTURY = 3.2e9  # seconds
WORD = 2**64 - 1
SIDE = 2**16  # pixels of an image's side, or coordinates of a point
VALUES = 2**27  # of one sample
KEPT = 2  # newest checkpoints that stay in a run directory, unless --keep says otherwise

VERSIONS = MapOf(TEXT)
RECIPE_FILE = Table({"path": NAME, "sha256": TEXT}, {})  # of a recipe that is not minigan's own


class _Shape:
    """The shape of a sample: (C, H, W) of an image, (D,) of a point."""

    def faults(self, value: Any, name: str) -> Iterator[str]:
        side = integer(1, SIDE)
        fits = isinstance(value, list) and len(value) in (1, 3) and all(map(side.holds, value))
        size = 1
        for n in value if fits else ():
            size *= n
        if not fits or size > VALUES:
            short = isinstance(value, list) and len(value) <= 4
            given = f"[{', '.join(map(shown, value))}]" if short else shown(value)
            yield (
                f"{name} is {given}, but must be the numbers (C, H, W) of an image or (D,) of a "
                f"point, {VALUES:,} values at most"
            )


DATA = Table(
    {
        "name": TEXT,
        "source": NAME,
        "size": Maybe(integer(1)),
        "samples": integer(1),
        "shape": _Shape(),
        "classes": ListOf(TEXT),
    },
    {
        "stack": (integer(1, 3), 1),
        "digest": (Maybe(TEXT), None),
        # The fields of minigan.data.Reading, with what runs did before they were there.
        "crop": (one_of("centre", "random", "none"), "centre"),
        "background": (NAME, "white"),
        "skip_broken": (FLAG, False),
        "flip": (FLAG, False),
        "hold_out": (integer(0), 0),
    },
)

SESSION = Table(
    {"step": integer(0)},
    {
        "command": (TEXT, ""),
        "versions": (VERSIONS, {}),
        "revision": (Maybe(TEXT), None),
        "choices": (Maybe(VERSIONS), None),
        "recipe_file": (Maybe(RECIPE_FILE), None),
    },
)

CONFIG = Table(
    {
        "format": integer(1),
        "recipe": NAME,
        "data": DATA,
        "hyper_parameters": MapOf(ANYTHING),  # by the recipe, once that is known
        "steps": integer(1),
        "seed": integer(0, WORD),
        "sample_every": integer(1),
        "checkpoint_every": integer(1),
    },
    {
        "recipe_doc": (Maybe(TEXT), None),
        "recipe_file": (Maybe(RECIPE_FILE), None),
        "device": (one_of("cpu", "cuda"), "cpu"),
        "precision": (one_of("float32", "tf32", "bfloat16"), "float32"),
        "deterministic": (FLAG, False),
        "graphs": (FLAG, True),
        "keep": (integer(1), KEPT),
        "best": (Maybe(NAME), None),  # the score by which the best checkpoint is chosen
        "score_every": (Maybe(integer(1)), None),  # steps; at checkpoints if it is None
        "command": (TEXT, ""),
        "versions": (VERSIONS, {}),
        "revision": (Maybe(TEXT), None),
        "choices": (Maybe(VERSIONS), None),
        "resumed": (ListOf(SESSION), []),
    },
)

FACTS = Table(
    {
        "recipe": NAME,
        "step": integer(0),
        # A draw adds to the offset, which must stay a word.
        "rng": Table({"key": integer(0, WORD), "offset": integer(0, WORD >> 1)}, {}),
        "batches": integer(0),
    },
    {},
)

# What `minigan evaluate` has written: a score that is not finite is null.
SCORE = Table(
    {"key": TEXT, "name": TEXT, "value": Maybe(NUMBER)},
    {
        "error": (Maybe(NUMBER), None),
        "baseline": (Maybe(NUMBER), None),
        "baseline_of": (TEXT, ""),
        "note": (TEXT, ""),
    },
)
EVALUATION = Table({"step": integer(0), "scores": ListOf(SCORE)}, {"left_out": (ListOf(TEXT), [])})

# What is seen of a run from time to time, in verdicts.jsonl.
LOOK = Table(
    {"step": integer(1), "distance": NUMBER, "spread": NUMBER},
    {"auc": (NUMBER, None), "roughness": (NUMBER, None)},
)

ROW = Table({"step": integer(1), "seconds": number(0, CENTURY)}, {})


def check_row(row: Any, after: int) -> None:
    """Make sure that a line of metrics.jsonl is a row, of a later step than `after`.

    A loss that stopped being finite is in its row, so NaN and infinity are numbers here.

    Raises:
        SchemaError: saying what is wrong.
    """
    if _is_plain(row, after):  # a run has many
        return
    check(row, ROW)
    if not all(value is None or is_number(value) for value in row.values()):
        check(row, MapOf(Maybe(NUMBER)))
    if row["step"] <= after:
        raise SchemaError(f"step is {row['step']}, but the row before is of step {after}")


def _is_plain(row: Any, after: int) -> bool:
    """Whether a line is a row as most are: an integer for the step, other numbers are floats."""
    if type(row) is not dict:
        return False
    kinds = list(map(type, row.values()))
    step, seconds = row.get("step"), row.get("seconds")
    return (
        kinds.count(int) == 1
        and kinds.count(float) == len(kinds) - 1
        and type(step) is int
        and after < step <= MANY
        and type(seconds) is float
        and 0 <= seconds <= CENTURY
    )


def check_fields(kind: type[Any], values: Mapping[str, Any]) -> None:
    """Make sure that these hyper-parameters are fields of a recipe, of their types.

    Raises:
        SchemaError: saying what is wrong.
    """
    known = {f.name for f in fields(kind) if f.init}
    if odd := [key for key in values if key not in known]:
        raise SchemaError(
            f"hyper_parameters has {shown(odd[0])}, which {kind.__name__} does not know; it is of "
            "another version of the recipe"
        )
    hints = get_type_hints(kind)
    kinds = {key: (_kind_of(hints[key]), None) for key in values}
    check({"hyper_parameters": values}, Table({"hyper_parameters": Table({}, kinds)}, {}))


def _kind_of(hint: Any) -> Kind:
    """The kind of values in JSON that fit a type; types that have no such kind take anything."""
    plain: dict[Any, Kind] = {
        bool: FLAG,
        int: integer(-MANY),
        float: number(),
        str: TEXT,
    }
    if hint in plain:
        return plain[hint]
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal and all(isinstance(value, str) for value in inner):
        return one_of(*inner)
    if origin in (Union, types.UnionType) and len(inner) == 2 and type(None) in inner:
        return Maybe(_kind_of(inner[0] if inner[1] is type(None) else inner[1]))
    return ANYTHING

"""The harness of the fuzzing tests finds each kind of fault; its mutations are what they say."""

from __future__ import annotations

import ctypes
import json
import os
import random
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from fuzz import Finding, fuzz, mutated, mutated_json, mutated_json_lines

from minigan.errors import UserError

if not sys.platform.startswith("linux"):
    pytest.skip("the limits of the harness are those of Linux", allow_module_level=True)


def refuse(text: str, cause: Exception | None = None) -> None:
    raise UserError(text) from cause


def traceback() -> None:
    raise KeyError("lost")


def crash() -> None:
    ctypes.string_at(1)


def compute() -> None:
    while True:
        pass


def take() -> None:
    bytearray(3 << 29)


def take_and_refuse() -> None:
    try:
        bytearray(3 << 29)
    except MemoryError as error:
        raise UserError("no") from error


FAULTS: dict[str, tuple[Callable[[], object], str]] = {
    "traceback": (traceback, "KeyError: \"'lost'\" at test_fuzz_support.py:"),
    "two lines": (lambda: refuse("one\ntwo"), "more than a line: 'one\\ntwo'"),
    "control codes": (lambda: refuse("\x1b[31m"), "more than a line"),
    "nothing": (lambda: refuse(""), "more than a line: ''"),
    "an essay": (lambda: refuse("a" * 3000), "more than a line"),
    "warning": (lambda: warnings.warn("look", stacklevel=1), "it said 'look'"),
    "stderr of C": (lambda: os.write(2, b"TIFF"), "it said 'TIFF'"),
    "stdout": (lambda: print("here"), "it said 'here\\n'"),
    "crash": (crash, "the process ended with SIGSEGV"),
    "exit": (lambda: os._exit(3), "the process ended with exit 3"),
    "leaving": (sys.exit, "SystemExit"),
    "hang": (compute, "a hang that computes"),
    "sleep": (lambda: time.sleep(60), "a hang that waits"),
    "memory": (take, "MemoryError"),
    "memory, then a refusal": (take_and_refuse, "memory ran out before the refusal: 'no'"),
}


CASES = {
    "read": (lambda: None, ""),
    "refused": (lambda: refuse("no"), ""),
    **FAULTS,
}


def planted(rng: random.Random, folder: Path) -> Callable[[], object]:
    (folder / "input").mkdir()  # the folder is empty again, so this never fails
    return CASES[rng.choice(list(CASES))][0]


def test_each_fault_is_found_and_the_rest_goes_on() -> None:
    count, seed = 40, 103
    chosen = [random.Random(f"{seed}-{i}").choice(list(CASES)) for i in range(count)]
    assert set(chosen) == set(CASES)
    report = fuzz(planted, count, seed=seed, cpu_seconds=0.2)
    assert (report.read, report.refused) == (chosen.count("read"), chosen.count("refused"))
    assert [finding.number for finding in report.findings] == [
        number for number, name in enumerate(chosen) if name in FAULTS
    ]
    for finding in report.findings:
        assert CASES[chosen[finding.number]][1] in finding.what
    number = chosen.index("hang")
    again = fuzz(planted, 1, seed=seed, first=number, cpu_seconds=0.2)
    assert again.findings == [f for f in report.findings if f.number == number]
    assert isinstance(again.findings[0], Finding)
    assert str(again).startswith(
        "0 read, 0 refused, 1 findings\ntest_fuzz_support:planted, seed 103"
    )


def test_mutations_of_bytes_depend_on_the_seed_and_change_all_places() -> None:
    data = bytes(range(200))
    many = [mutated(random.Random(i), data, b"other") for i in range(2000)]
    assert many == [mutated(random.Random(i), data, b"other") for i in range(2000)]
    assert sum(one != data for one in many) > 1900
    first = [
        next((i for i in range(200) if one[i : i + 1] != data[i : i + 1]), 200) for one in many
    ]
    assert set(range(64)) <= set(first)
    assert sum(place < 64 for place in first) > sum(place >= 64 for place in first) > 200
    lengths = {(len(one) > 200) - (len(one) < 200) for one in many}
    assert lengths == {-1, 0, 1}
    assert any(b"other" in one for one in many)
    assert all(isinstance(mutated(random.Random(i), b""), bytes) for i in range(200))


def test_mutations_of_json_reach_every_value_and_stay_text() -> None:
    document = {"a": 1, "b": {"c": [1.5, "x"], "d": None}}
    kept, parsed = {"a": 0, "b": 0}, 0
    for i in range(2000):
        text = mutated_json(random.Random(i), document)
        assert text == mutated_json(random.Random(i), document)
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            continue
        parsed += 1
        if isinstance(found, dict):
            for key in kept:
                kept[key] += found.get(key) == document[key]
    assert 1000 < parsed < 1950  # the rest is absurdly deep, or damaged as bytes
    assert all(100 < count < parsed - 200 for count in kept.values())
    assert document == {"a": 1, "b": {"c": [1.5, "x"], "d": None}}


def test_mutations_of_json_lines() -> None:
    rows = [{"step": i} for i in range(5)]
    lines = [mutated_json_lines(random.Random(i), rows) for i in range(500)]
    assert {one.count(b"\n") for one in lines} >= {3, 4, 5, 6}
    assert sum(b'{"step": 0}\n' in one for one in lines) > 250

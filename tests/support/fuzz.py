"""Fuzzing of readers: many mutated inputs, read in a child process with limits.

A case is a function at the top level of a module, which a child process can import:

    def idx_file(rng: random.Random, folder: Path) -> Callable[[], object]:
        (folder / "file").write_bytes(mutated(rng, VALID))
        return lambda: read_idx(folder / "file")

It writes one input into an empty folder and returns the call that reads it. `fuzz(idx_file, 1000)`
makes that call on the inputs 0 to 999. Input i depends on (seed, i) and on nothing else, so that
`fuzz(idx_file, 1, first=i)` repeats one. A call may return, or refuse in one line. All else is a
finding: a traceback, a warning, a line on stderr, a crash, a hang, too much memory.
"""

from __future__ import annotations

import copy
import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minigan.errors import UserError
from minigan.terminal import visible

Case = Callable[[random.Random, Path], Callable[[], object]]

RESIDENT = 1 << 30  # bytes that a process may hold
CPU_SECONDS = 5.0  # of one input on all threads; a busy machine makes no hang
WAITING = 6  # times as long is the clock's limit, for an input that waits for something
DEEP = 100_000  # levels of a document that is meant to exhaust a parser
LONGEST = 2000  # characters of a refusal


@dataclass(frozen=True)
class Finding:
    """An input that was neither read nor refused in one line."""

    case: str
    seed: int
    number: int
    what: str

    def __str__(self) -> str:
        return f"{self.case}, seed {self.seed}, input {self.number}: {self.what}"


@dataclass
class Report:
    """The numbers of inputs that were read and refused, and all others."""

    read: int = 0
    refused: int = 0
    findings: list[Finding] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)  # by their last five words

    def __str__(self) -> str:
        counts = f"{self.read} read, {self.refused} refused, {len(self.findings)} findings"
        return "\n".join([counts, *map(str, self.findings[:20])])


def fuzz(
    case: Case, count: int, *, seed: int = 0, first: int = 0, cpu_seconds: float = CPU_SECONDS
) -> Report:
    """The outcomes of inputs `first` to `first + count - 1` of a case."""
    report, name = Report(), f"{case.__module__}:{case.__qualname__}"
    number, last = first, first + count
    path = os.pathsep.join(filter(None, sys.path))
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        while number < last:
            asked = json.dumps([name, folder, seed, number, last, cpu_seconds])
            child = subprocess.run(
                [sys.executable, __file__, asked],
                env={**os.environ, "PYTHONPATH": path},
                stdout=subprocess.PIPE,
                check=False,
            )
            for line in child.stdout.decode().splitlines():
                outcome, what = json.loads(line)
                if outcome == "read":
                    report.read += 1
                elif outcome == "refused":
                    report.refused += 1
                    report.refusals[" ".join(what.split()[-5:])] += 1
                else:
                    report.findings.append(Finding(name, seed, number, what))
                number += 1
            if number < last:
                report.findings.append(Finding(name, seed, number, _ending(child.returncode)))
                number += 1
    return report


def _ending(code: int) -> str:
    """What a child's exit code says."""
    if code == -signal.SIGPROF:
        return "a hang that computes"
    if code == -signal.SIGALRM:
        return "a hang that waits"
    return f"the process ended with {signal.Signals(-code).name if code < 0 else f'exit {code}'}"


# --- the child ---------------------------------------------------------------------------------


def _main(name: str, folder: str, seed: int, first: int, last: int, cpu_seconds: float) -> None:
    module, _, function = name.partition(":")
    case: Case = getattr(importlib.import_module(module), function)
    with os.fdopen(os.dup(1), "w", buffering=1) as answers, tempfile.TemporaryFile() as noise:
        os.dup2(noise.fileno(), 1)
        os.dup2(noise.fileno(), 2)
        _limit_memory()
        for number in range(first, last):
            read = case(random.Random(f"{seed}-{number}"), _emptied(Path(folder)))
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                outcome = _outcome(read, cpu_seconds)
            said = _taken(noise.fileno()) or "".join(str(one.message) for one in warned)
            if said and outcome[0] != "finding":
                outcome = ("finding", f"it said {said[:200]!r}")
            answers.write(json.dumps(outcome) + "\n")


def _outcome(read: Callable[[], object], cpu_seconds: float) -> tuple[str, str]:
    try:
        # Both signals end the process, at any place in C code too.
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
        signal.setitimer(signal.ITIMER_REAL, cpu_seconds * WAITING)
        read()
        return "read", ""
    except UserError as error:
        return _judged(error)
    except BaseException as error:
        line = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(line.filename).name}:{line.lineno}"
        return "finding", f"{type(error).__name__}: {str(error)[:200]!r} at {where}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _judged(error: UserError) -> tuple[str, str]:
    """A refusal, if it is one line of printable text, and not the last resort of lost memory."""
    text = str(error)
    if visible(text) != text or not 1 <= len(text) <= LONGEST:
        return "finding", f"a refusal of more than a line: {text[:300]!r}"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError):
            return "finding", f"memory ran out before the refusal: {text[:200]!r}"
        cause = cause.__cause__ or cause.__context__
    return "refused", text


def _limit_memory() -> None:
    """Let this process take as many bytes more as keep it below RESIDENT."""
    import resource

    with open("/proc/self/statm") as file:
        size, resident = (int(n) * resource.getpagesize() for n in file.read().split()[:2])
    resource.setrlimit(resource.RLIMIT_AS, (size + RESIDENT - resident,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _emptied(folder: Path) -> Path:
    inner = folder / "input"
    shutil.rmtree(inner, ignore_errors=True)
    inner.mkdir()
    return inner


def _taken(noise: int) -> str:
    """What was written since the last time; C libraries write as well."""
    sys.stdout.flush()
    sys.stderr.flush()
    said = os.pread(noise, 1000, 0)
    if said:
        os.ftruncate(noise, 0)
        os.lseek(noise, 0, os.SEEK_SET)
    return said.decode("utf-8", "replace")


# --- mutations of bytes --------------------------------------------------------------------------


def mutated(rng: random.Random, data: bytes, other: bytes = b"", head: int = 64) -> bytes:
    """`data` with one to four changes, half of them within its first `head` bytes.

    `other` is a second valid input, of which pieces are spliced in.
    """
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        rng.choice(_CHANGES)(rng, changed, other or data, head)
    return bytes(changed)


def _place(rng: random.Random, data: bytearray, head: int) -> int:
    end = min(head, len(data)) if rng.random() < 0.5 else len(data)
    return rng.randrange(end) if end else 0


def _length(rng: random.Random, data: bytes | bytearray) -> int:
    return rng.choice((1, 2, 3, 4, 8, 16, rng.randint(1, max(1, len(data)))))


def _flip(rng: random.Random, data: bytearray, other: bytes, head: int) -> None:
    if data:
        data[_place(rng, data, head)] ^= 1 << rng.randrange(8)


def _replace(rng: random.Random, data: bytearray, other: bytes, head: int) -> None:
    if data:
        data[_place(rng, data, head)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _truncate(rng: random.Random, data: bytearray, other: bytes, head: int) -> None:
    del data[_place(rng, data, head) :]


def _delete(rng: random.Random, data: bytearray, other: bytes, head: int) -> None:
    start = _place(rng, data, head)
    del data[start : start + _length(rng, data)]


def _insert(rng: random.Random, data: bytearray, other: bytes, head: int) -> None:
    start = _place(rng, data, head)
    data[start:start] = rng.randbytes(rng.choice((1, 2, 4, 8, 64, 1000)))


def _repeat(rng: random.Random, data: bytearray, other: bytes, head: int) -> None:
    start = _place(rng, data, head)
    piece = data[start : start + _length(rng, data)]
    times = rng.choice((1, 2, 10, 1000))
    data[start:start] = piece * min(times, 1 + 100_000 // max(1, len(piece)))


def _splice(rng: random.Random, data: bytearray, other: bytes, head: int) -> None:
    source = rng.randrange(len(other)) if other else 0
    piece = other[source : source + _length(rng, other)]
    start = _place(rng, data, head)
    data[start : start + rng.choice((0, len(piece)))] = piece


def _clear(rng: random.Random, data: bytearray, other: bytes, head: int) -> None:
    start = _place(rng, data, head)
    end = min(len(data), start + _length(rng, data))
    data[start:end] = bytes([rng.choice((0, 0, 0xFF))]) * (end - start)


def _number(rng: random.Random, data: bytearray, other: bytes, head: int) -> None:
    """Change a number of 1 to 8 bytes, of either byte order, as sizes in headers are."""
    width, order = rng.choice((1, 2, 4, 4, 8)), rng.choice(("little", "big"))
    start = _place(rng, data, head)
    old = int.from_bytes(data[start : start + width], order)
    top = 1 << (8 * width)
    near = (old + 1, old - 1, old * 2, old * 256, old // 2, -old)
    new = rng.choice((*near, 0, 1, top - 1, top // 2, top // 2 - 1, rng.randrange(top))) % top
    data[start : start + width] = new.to_bytes(width, order)


_CHANGES = (
    _flip, _replace, _truncate, _delete, _insert, _repeat, _splice, _clear, _number, _number,
)  # fmt: skip


# --- mutations of JSON ---------------------------------------------------------------------------

_RAW = "\0raw\0"  # stands in a document for text that json.dumps would not write
_TEXTS = {
    f"{_RAW}deep": "[" * DEEP + "]" * DEEP,
    f"{_RAW}deeper": '{"a":' * DEEP + "1" + "}" * DEEP,
    f"{_RAW}digits": "9" * 5000,
    f"{_RAW}large": "1e999",
    f"{_RAW}half": "[" * DEEP,
}
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 0.5, -0.5, 1e-320, 1e308, -1e308),
    *(2**31, 2**31 - 1, -(2**31), 2**32, 2**53 + 1, 2**63, -(2**63), 2**64, 10**100),
    *(float("nan"), float("inf"), float("-inf")),
    *("", "a", "0", "-1", "nan", "../../x", "/", "a" * 10_000, "\0", "\n", "\x1b[31m", "<b>", "$x"),
    *("\ud800", "\u202e", "%s{}", "caf\udce9"),
    *([], {}, [0], [None], [[]], {"a": 1}, {"": {}}, [1e999], list(range(1000))),
    *_TEXTS,
)


def mutated_json(rng: random.Random, document: Any) -> bytes:
    """The text of `document` with one to three changes: other types and ranges of values, missing
    and unknown keys, absurd depth; one time in eight changed as bytes.
    """
    changed = json.loads(json.dumps(document))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        changed = _changed(rng, changed)
    return _written(rng, changed)


def mutated_json_lines(rng: random.Random, rows: list[Any]) -> bytes:
    """JSON lines with one to three changes: of one row, or rows lost, doubled and exchanged."""
    lines = [json.dumps(row).encode() for row in rows]
    for _ in range(rng.choice((1, 1, 2, 3))):
        i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
        kind = rng.random()
        if kind < 0.7:
            lines[i] = mutated_json(rng, rows[i % len(rows)])
        elif kind < 0.8:
            lines.insert(i, lines[j])
        elif kind < 0.9 and len(lines) > 1:
            del lines[i]
        else:
            lines[i], lines[j] = lines[j], lines[i]
    return b"\n".join(lines) + rng.choice((b"\n", b"\n", b"", b"\n\n", b"\r\n"))


def _written(rng: random.Random, document: Any) -> bytes:
    text = json.dumps(document, indent=rng.choice((None, 2)))
    for mark, raw in _TEXTS.items():
        text = text.replace(json.dumps(mark), raw)
    data = text.encode("utf-8", "surrogatepass")
    return mutated(rng, data) if rng.random() < 0.125 else data


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each container and key below a value."""
    if isinstance(value, (dict, list)):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def _value(rng: random.Random) -> Any:
    return copy.deepcopy(rng.choice(_VALUES))


def _changed(rng: random.Random, document: Any) -> Any:
    found = list(_places(document))
    if not found or rng.random() < 0.02:
        return _value(rng)
    holder, key = rng.choice(found)
    other, other_key = rng.choice(found)
    kind = rng.random()
    if kind < 0.6:
        holder[key] = _other(rng, holder[key])
    elif kind < 0.75:
        del holder[key]
    elif kind < 0.8 and isinstance(holder, list):
        holder.insert(key, _value(rng))
    elif kind < 0.9 and isinstance(holder, dict):
        holder[rng.choice((f"{key}x", "", "unknown", "__class__"))] = _value(rng)
    else:
        holder[key] = json.loads(json.dumps(other[other_key]))  # a copy: no document is a circle
    return document


def _other(rng: random.Random, value: Any) -> Any:
    """Another value, one time in two of the same type."""
    kind = rng.random()
    if kind < 0.5 or isinstance(value, (dict, bool)) or value is None:
        return _value(rng)
    if isinstance(value, int):
        return rng.choice((-value, value + 1, value - 1, value * 10, value * 2**40, value / 3, 0))
    if isinstance(value, float):
        return rng.choice((-value, value * 1e300, value / 1e300, int(min(1e9, max(-1e9, value)))))
    if isinstance(value, str):
        return mutated(rng, value.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")
    return value * 2 if kind < 0.75 else value[: len(value) // 2]


if __name__ == "__main__":
    _main(*json.loads(sys.argv[1]))

"""A reader of the pickles that hold batches of CIFAR-10, which runs nothing that they name.

A pickle is a program for a small stack machine. Python's own machine calls what the program names,
and NumPy's reader of a pickled array trusts sizes and pointers that the program chose. This machine
knows lists, dictionaries, tuples, texts, bytes and integers, and one kind of array: uint8 of
(n, 3072). It knows the five names that such an array is pickled with by Python 2 and 3, by NumPy 1
and 2, in the protocols 0 to 5; each has a check of its own here instead of the real thing.

The memory it takes is bounded by the program's length, and its time by the number of operations.
"""

from __future__ import annotations

import codecs
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import numpy as np

COLUMNS = 3072  # bytes of an image of 3 x 32 x 32
_OPERATIONS = 1_000_000  # a batch of 10,000 images has some 60,000
_DIGITS = 20  # of an integer


class Name(Enum):
    """What a program may name."""

    RECONSTRUCT = auto()  # an empty array, to be filled from a state
    FROM_BUFFER = auto()  # the array of a buffer, in protocol 5
    NDARRAY = auto()
    DTYPE = auto()
    ENCODE = auto()  # bytes from text, in protocols that have no bytes
    BYTES = auto()  # b"" in these protocols


_NAMES = {
    ("numpy.core.multiarray", "_reconstruct"): Name.RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): Name.RECONSTRUCT,
    ("numpy.core.numeric", "_frombuffer"): Name.FROM_BUFFER,
    ("numpy._core.numeric", "_frombuffer"): Name.FROM_BUFFER,
    ("numpy", "ndarray"): Name.NDARRAY,
    ("numpy", "dtype"): Name.DTYPE,
    ("_codecs", "encode"): Name.ENCODE,
    ("__builtin__", "bytes"): Name.BYTES,
}


@dataclass
class Pixels:
    """The array of a batch, (n, 3072) uint8; None until the program gives its state."""

    array: np.ndarray | None = None


class _UInt8:
    """The only type of an array's values."""


_MARK = object()
_CONSTANTS: dict[int, Callable[[], Any]] = {
    ord("N"): lambda: None,
    0x88: lambda: True,
    0x89: lambda: False,
    ord("]"): list,
    ord("}"): dict,
    ord(")"): tuple,
}
_INTEGERS = {ord("K"): (1, False), ord("M"): (2, False), ord("J"): (4, True)}  # width, signed
# The width of the length that comes first, and what the content is.
_TEXTS: dict[int, tuple[int, str]] = {
    ord("U"): (1, "bytes"),
    ord("T"): (4, "bytes"),
    ord("C"): (1, "bytes"),
    ord("B"): (4, "bytes"),
    0x96: (8, "bytes"),  # a bytearray: the buffer of an array
    0x8C: (1, "text"),
    ord("X"): (4, "text"),
    0x8A: (1, "integer"),
}
_PUTS = {ord("q"): 1, ord("r"): 4}
_GETS = {ord("h"): 1, ord("j"): 4}
_TUPLES = {0x85: 1, 0x86: 2, 0x87: 3}
_SKIPPED = {0x80: 1, 0x95: 8}  # the protocol, and the length of a frame


def load(program: bytes) -> Any:
    """What a program builds: values of Python, with `Pixels` for arrays.

    Raises:
        ValueError: if it is no such program, or asks for anything else; with the reason.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # codecs warns of an escape that is none
        try:
            return _Machine(program).run()
        except (IndexError, TypeError, KeyError, Warning) as error:
            raise ValueError("its operations do not fit each other") from error


class _Machine:
    def __init__(self, program: bytes) -> None:
        self.program = program
        self.place = 0
        self.stack: list[Any] = []
        self.marks: list[int] = []  # their places on the stack
        self.memo: dict[int, Any] = {}
        self.encoded = 0  # bytes made from text

    def run(self) -> Any:
        for _ in range(_OPERATIONS):
            code = self.take(1)[0]
            if code == ord("."):
                return self.pop()
            self.operate(code)
        raise ValueError(f"it has more than {_OPERATIONS:,} operations")

    def take(self, count: int) -> bytes:
        """The next `count` bytes of the program."""
        start, self.place = self.place, self.place + count
        if self.place > len(self.program):
            raise ValueError("it ends too early")
        return self.program[start : self.place]

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "little")

    def line(self) -> bytes:
        end = self.program.find(b"\n", self.place)
        if end < 0:
            raise ValueError("it ends too early")
        return self.take(end + 1 - self.place)[:-1]

    def operate(self, code: int) -> None:
        if code in _CONSTANTS:
            self.stack.append(_CONSTANTS[code]())
        elif code in _INTEGERS:
            width, signed = _INTEGERS[code]
            self.stack.append(int.from_bytes(self.take(width), "little", signed=signed))
        elif code in _TEXTS:
            self.stack.append(self.sized(*_TEXTS[code]))
        elif code in _PUTS:
            self.put(self.number(_PUTS[code]))
        elif code in _GETS:
            self.get(self.number(_GETS[code]))
        elif code in _TUPLES:
            self.stack[-_TUPLES[code] :] = [tuple(self.last(_TUPLES[code]))]
        elif code in _SKIPPED:
            self.take(_SKIPPED[code])
        elif code in _OTHERS:
            _OTHERS[code](self)
        else:
            raise ValueError(f"it has the operation 0x{code:02x}, which no batch has")

    def sized(self, width: int, kind: str) -> Any:
        content = self.take(self.number(width))
        if kind == "bytes":
            return content
        if kind == "text":
            return content.decode("utf-8", "surrogatepass")
        if len(content) > 8:
            raise ValueError("it has an integer of more than 8 bytes")
        return int.from_bytes(content, "little", signed=True)

    def last(self, count: int) -> list[Any]:
        """The last `count` values of the stack, which stay there; none of them is a mark."""
        found = self.stack[-count:]
        if len(found) < count or any(value is _MARK for value in found):
            raise ValueError("its stack is too short")
        return found

    def pop(self) -> Any:
        value = self.last(1)[0]
        del self.stack[-1]
        return value

    def mark(self) -> None:
        self.marks.append(len(self.stack))
        self.stack.append(_MARK)

    def marked(self) -> list[Any]:
        """The values above the last mark; they and the mark leave the stack."""
        place = self.marks.pop()
        found = self.stack[place + 1 :]
        del self.stack[place:]
        return found

    def put(self, key: int) -> None:
        self.memo[key] = self.last(1)[0]

    def get(self, key: int) -> None:
        self.stack.append(self.memo[key])

    def digits(self) -> int:
        line = self.line().removesuffix(b"L")
        if len(line) > _DIGITS:
            raise ValueError(f"it has an integer of more than {_DIGITS} digits")
        return int(line)

    def integer(self) -> None:
        if self.program.startswith((b"00\n", b"01\n"), self.place):
            self.stack.append(self.line() == b"01")
        else:
            self.stack.append(self.digits())

    def quoted(self) -> None:
        """A text of Python 2 as its repr."""
        line = self.line()
        if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
            raise ValueError("it has a text without quotes")
        self.stack.append(codecs.escape_decode(line[1:-1])[0])

    def named(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("it names what is no text")
        if (module, name) not in _NAMES:
            raise ValueError(f"it wants to call {f'{module}.{name}'[:80]!a}")
        self.stack.append(_NAMES[module, name])

    def stack_named(self) -> None:
        name, module = self.pop(), self.pop()
        self.named(module, name)

    def append(self, values: list[Any]) -> None:
        target = self.last(1)[0]
        if type(target) is not list:
            raise ValueError("it appends to what is no list")
        target.extend(values)

    def set_items(self, values: list[Any]) -> None:
        target = self.last(1)[0]
        if type(target) is not dict or len(values) % 2:
            raise ValueError("it sets items of what is no dictionary")
        for key, value in zip(values[::2], values[1::2], strict=True):
            # Nothing else: a tuple in a tuple, a million deep, would exhaust C's stack in its hash.
            if not isinstance(key, (bytes, str)):
                raise ValueError("it has a key that is no text")
            target[key] = value

    def dictionary(self) -> None:
        values = self.marked()
        self.stack.append({})
        self.set_items(values)

    def set_item(self) -> None:
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    def reduce(self) -> None:
        arguments, name = self.pop(), self.pop()
        if not isinstance(name, Name) or type(arguments) is not tuple:
            raise ValueError("it calls what cannot be called")
        self.stack.append(self.called(name, arguments))

    def called(self, name: Name, arguments: tuple[Any, ...]) -> Any:
        match name, arguments:
            case Name.ENCODE, (str(text), "latin1" | "latin-1"):
                self.encoded += len(text)
                if self.encoded > len(self.program):
                    raise ValueError("it encodes one text again and again")
                return text.encode("latin-1")
            case Name.BYTES, ():
                return b""
            case Name.RECONSTRUCT, (Name.NDARRAY, (0,), b"b" | "b"):
                return Pixels()
            case Name.DTYPE, (b"u1" | "u1", 0, 1):
                return _UInt8()
            case Name.FROM_BUFFER, (bytes(content), _UInt8(), shape, "C" | "F" as order):
                return Pixels(_array(content, shape, fortran=order == "F"))
            case Name.DTYPE, _:
                raise ValueError("it has an array of another type than uint8")
        raise ValueError(f"it calls {name.name.lower()} in a way that no batch does")

    def build(self) -> None:
        state, target = self.pop(), self.last(1)[0]
        match target, state:
            case _UInt8(), (3, b"|" | "|", None, None, None, -1, -1, 0):
                return
            case Pixels(), (1, shape, _UInt8(), int(fortran), bytes(content)):
                target.array = _array(content, shape, fortran=bool(fortran))
                return
        raise ValueError("it gives a state that no array of uint8 has")


def _array(content: bytes, shape: Any, *, fortran: bool) -> np.ndarray:
    match shape:
        case (int(count), int(columns)) if columns == COLUMNS and len(content) == count * COLUMNS:
            array = np.frombuffer(content, np.uint8)
            return array.reshape((count, COLUMNS), order="F" if fortran else "C")
    raise ValueError(f"its array is not of n rows and {COLUMNS} columns, with a byte for each")


_OTHERS: dict[int, Callable[[_Machine], None]] = {
    ord("("): _Machine.mark,
    ord("I"): _Machine.integer,
    ord("L"): _Machine.integer,
    ord("S"): _Machine.quoted,
    ord("V"): lambda m: m.stack.append(m.line().decode("raw-unicode-escape")),
    ord("c"): lambda m: m.named(m.line().decode(), m.line().decode()),
    0x93: _Machine.stack_named,
    ord("l"): lambda m: m.stack.append(m.marked()),
    ord("t"): lambda m: m.stack.append(tuple(m.marked())),
    ord("d"): _Machine.dictionary,
    ord("a"): lambda m: m.append([m.pop()]),
    ord("e"): lambda m: m.append(m.marked()),
    ord("s"): _Machine.set_item,
    ord("u"): lambda m: m.set_items(m.marked()),
    ord("p"): lambda m: m.put(m.digits()),
    ord("g"): lambda m: m.get(m.digits()),
    0x94: lambda m: m.put(len(m.memo)),
    ord("R"): _Machine.reduce,
    ord("b"): _Machine.build,
}

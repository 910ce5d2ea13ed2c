"""The stack machine of a pickle: plain values, and a table of what else may be named."""

from __future__ import annotations

import codecs
import struct
import warnings
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, ClassVar

_OPERATIONS = 1_000_000  # a batch of CIFAR-10 of 10,000 images has some 60,000
_DIGITS = 20  # of an integer
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


class ForeignNameError(ValueError):
    """A program names what is not in the table."""

    def __init__(self, name: str) -> None:
        super().__init__(f"it wants to call {name[:80]!a}")
        self.name = name


class ForeignTypeError(ValueError):
    """A program is in order, but has a type of values that is not read."""


class Machine:
    """A machine for one program, which begins at `place` in `program`.

    A subclass says what a program may name, and what calls, states and persistent identities are.
    """

    known: ClassVar[str] = "file"  # what such programs are in, for messages
    names: ClassVar[Mapping[tuple[str, str], Any]] = {}  # (module, name) -> what stands for it
    keys: ClassVar[tuple[type, ...]] = (bytes, str)  # of dictionaries; their hashes are harmless
    integer_bytes: ClassVar[int] = 8  # of the largest integer

    def __init__(self, program: bytes, place: int = 0) -> None:
        self.program = program
        self.place = place
        self.stack: list[Any] = []
        self.marks: list[int] = []  # their places on the stack
        self.memo: dict[int, Any] = {}
        self.spent = 0  # bytes and values that were made from others, beyond one an operation

    def load(self) -> Any:
        """What the program builds; `place` is then behind its end.

        Raises:
            ValueError: if it is no such program, or asks for anything else; with the reason.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # codecs warns of an escape that is none
            try:
                return self.run()
            except (IndexError, TypeError, KeyError, struct.error, Warning) as error:
                raise ValueError("its operations do not fit each other") from error

    def called(self, name: Any, arguments: tuple[Any, ...]) -> Any:
        """What a name of the table gives for `arguments`.

        Raises:
            ValueError: if nothing is called so.
        """
        raise ValueError(f"it calls {name} in a way that no {self.known} does")

    def filled(self, target: Any, state: Any) -> None:
        """Give `target` a state.

        Raises:
            ValueError: if it has none, or no such one.
        """
        raise ValueError(f"it gives a state to what has none in a {self.known}")

    def persistent(self, identity: Any) -> Any:
        """What is outside the program under an identity.

        Raises:
            ValueError: if nothing does.
        """
        raise self.unknown(ord("Q"))

    def unknown(self, code: int) -> ValueError:
        return ValueError(f"it has the operation 0x{code:02x}, which no {self.known} has")

    def spend(self, count: int, what: str) -> None:
        """Count work that the program's length does not bound.

        Raises:
            ValueError: if there is more of it than the program is long.
        """
        self.spent += count
        if self.spent > len(self.program):
            raise ValueError(f"it {what} again and again")

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
            raise self.unknown(code)

    def sized(self, width: int, kind: str) -> Any:
        content = self.take(self.number(width))
        if kind == "bytes":
            return content
        if kind == "text":
            return content.decode("utf-8", "surrogatepass")
        if len(content) > self.integer_bytes:
            raise ValueError(f"it has an integer of more than {self.integer_bytes} bytes")
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
        if (module, name) not in self.names:
            raise ForeignNameError(f"{module}.{name}")
        self.stack.append(self.names[module, name])

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
            if type(key) not in self.keys:
                raise ForeignTypeError("it has a key that is no text")
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
        if not isinstance(name, Enum) or type(arguments) is not tuple:
            raise ValueError("it calls what cannot be called")
        self.stack.append(self.called(name, arguments))

    def build(self) -> None:
        state = self.pop()
        self.filled(self.last(1)[0], state)

    def identify(self) -> None:
        self.stack.append(self.persistent(self.pop()))

    def real(self) -> None:
        self.stack.append(struct.unpack(">d", self.take(8))[0])


_OTHERS: dict[int, Callable[[Machine], None]] = {
    ord("("): Machine.mark,
    ord("I"): Machine.integer,
    ord("L"): Machine.integer,
    ord("S"): Machine.quoted,
    ord("V"): lambda m: m.stack.append(m.line().decode("raw-unicode-escape")),
    ord("c"): lambda m: m.named(m.line().decode(), m.line().decode()),
    0x93: Machine.stack_named,
    ord("l"): lambda m: m.stack.append(m.marked()),
    ord("t"): lambda m: m.stack.append(tuple(m.marked())),
    ord("d"): Machine.dictionary,
    ord("a"): lambda m: m.append([m.pop()]),
    ord("e"): lambda m: m.append(m.marked()),
    ord("s"): Machine.set_item,
    ord("u"): lambda m: m.set_items(m.marked()),
    ord("p"): lambda m: m.put(m.digits()),
    ord("g"): lambda m: m.get(m.digits()),
    0x94: lambda m: m.put(len(m.memo)),
    ord("R"): Machine.reduce,
    ord("b"): Machine.build,
    ord("Q"): Machine.identify,
    ord("G"): Machine.real,
}

"""What the machine code of a function depends on, as a digest, and the source files behind it.

Numba compiles a function's bytecode, with the values that its globals and its closure have at that
time. So the digest is taken over those values, and over what they refer to in turn:

- of a function: its bytecode, and the whole source file that it is in. The bytecode tells apart
  generated functions, whose text is in no file. The file says what no value does, such as what a
  module has registered with Numba beside the function;
- of a compiled function also the compiler's options, of an intrinsic the Python code that writes
  its LLVM instructions;
- of a class its source file and its members, of a named tuple its fields;
- numbers, texts, arrays, tuples and the like by themselves. So LANES or AMX, which are computed
  from the CPU or from the environment, count wherever they are used;
- what comes from Python, Numba, llvmlite or NumPy by its name: their versions are in the key.

A module that is imported, but not used by compiled code (the thread pool, which launches kernels,
or the reference twin), does not count: an edit there recompiles nothing. Nor does the `__init__` of
a package, which Python executes first: it changes nothing in a module below it. It counts, like
any file, for the functions that are defined in it.

A value of another kind, whose content nothing tells, raises `UnknownDependencyError`: the function
is compiled in each process, for a cache that might be stale is worse than none. So does a source
that was changed after this process began, since the process may have loaded the one before.
"""

from __future__ import annotations

import dis
import enum
import functools
import hashlib
import math
import re
import sys
import time
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import numba_internals

_BEGAN = time.time_ns()
_BY_VERSION = sys.stdlib_module_names | {"numba", "llvmlite", "numpy"}
_PLAIN = type(None), bool, int, float, complex, str, bytes, type(Ellipsis), range, slice
_BUILTIN = (
    types.BuiltinFunctionType,
    types.MethodWrapperType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.ClassMethodDescriptorType,
    np.ufunc,
)
# Instructions of bytecode that name a global, and how far its index is shifted.
_GLOBALS = {dis.opmap["LOAD_GLOBAL"]: 1, dis.opmap["LOAD_NAME"]: 0}
_IMPORT, _MORE = dis.opmap["IMPORT_NAME"], dis.EXTENDED_ARG
_NAMING = re.compile(b"[" + re.escape(bytes([*_GLOBALS, _IMPORT])) + b"]")
_MADE_BY_PYTHON = types.GetSetDescriptorType, types.MemberDescriptorType


class UnknownDependencyError(Exception):
    """It cannot be told what a function depends on; the text says why."""


class Dependencies(NamedTuple):
    digest: bytes
    sources: frozenset[Path]


def dependencies(value: Any) -> Dependencies:
    """What a compiled function, or any value that one refers to, depends on.

    Not for several threads at once; Numba compiles under a lock of its own.

    Raises:
        UnknownDependencyError: if it cannot be told.
    """
    return _Walk().dependencies(value)


def source_digest(path: Path) -> str:
    """Digest of a source file as it is now.

    Raises:
        OSError: if it cannot be read.
    """
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]


@functools.cache
def loaded_digest(path: Path) -> str:
    """Digest of a source file that this process has loaded.

    Raises:
        UnknownDependencyError: if it cannot be read, or was changed since the process began.
    """
    try:
        digest, status = source_digest(path), path.stat()
    except OSError as error:
        raise UnknownDependencyError(f"{path} cannot be read ({error.strerror})") from error
    if max(status.st_mtime_ns, status.st_ctime_ns) > _BEGAN:
        raise UnknownDependencyError(f"{path} was changed while this process ran")
    return digest


class _Node:
    """The facts about a value, of plain values and digests."""

    __slots__ = "facts", "sources"

    def __init__(self, kind: type) -> None:
        self.facts: list[Any] = [kind.__module__, kind.__qualname__]
        self.sources: set[Path] = set()

    def lie_in(self, module: str | None) -> None:
        """Depend on a module's source file, if it has one."""
        file = getattr(sys.modules.get(module or ""), "__file__", None)
        if file:
            path = _path(file)
            self.facts.append(loaded_digest(path))
            self.sources.add(path)

    def done(self) -> Dependencies:
        text = repr(self.facts).encode("utf-8", "surrogatepass")
        return Dependencies(hashlib.sha256(text).digest(), frozenset(self.sources))


_path = functools.cache(lambda file: Path(file).absolute())

# Of functions, classes and types, by their identity; the object itself keeps that from being used
# for another one.
_known: dict[int, tuple[Any, Dependencies]] = {}


class _Walk:
    """From a value through all that it refers to.

    Functions may refer to each other in a circle. Within one, a reference back is told by its
    distance. No digest of a circle's members is kept for later walks: it would make those depend on
    which member was looked at first.
    """

    def __init__(self) -> None:
        self._open: dict[int, int] = {}  # depth of each value being walked, by its identity
        self._back = math.inf  # the least depth that was referred back to

    def dependencies(self, value: Any, names: Iterable[str] = ()) -> Dependencies:
        """Of any value; `names` may be attributes that are taken of a module."""
        identity = id(value)
        if identity in _known:
            return _known[identity][1]
        kind: Any = type(value)
        node = _Node(kind)
        look, once = _way(kind)
        if not once:
            look(self, node, value, names)
            return node.done()
        depth = len(self._open)
        if identity in self._open:
            self._back = min(self._back, self._open[identity])
            node.facts.append(("back", depth - self._open[identity]))
            return node.done()
        before, self._back = self._back, math.inf
        self._open[identity] = depth
        try:
            look(self, node, value, names)
        finally:
            del self._open[identity]
        found = node.done()
        if self._back > depth:
            _known[identity] = value, found
        self._back = before if self._back >= depth else min(before, self._back)
        return found

    def refer(self, node: _Node, value: Any, names: Iterable[str] = ()) -> None:
        if type(value) in _PLAIN:  # as most are
            node.facts.append(value)
        else:
            found = self.dependencies(value, names)
            node.facts.append(found.digest)
            node.sources |= found.sources

    def refer_by_name(self, node: _Node, name: str, value: Any, names: Iterable[str]) -> None:
        node.facts.append(name)
        try:
            self.refer(node, value, names)
        except UnknownDependencyError as unknown:
            raise UnknownDependencyError(f"{name}: {unknown}") from unknown

    def plain(self, node: _Node, value: Any, _: Iterable[str]) -> None:
        node.facts.append(value)

    def function(self, node: _Node, function: Any, _: Iterable[str]) -> None:
        # A wrapper calls itself by the name of what it wraps, but has the globals of its own file.
        module = function.__globals__.get("__name__")
        node.facts += module, function.__qualname__
        self.refer(node, getattr(function, "__wrapped__", None))
        if not _has_source(module):
            return
        node.lie_in(module)
        names, names_of_globals = set[str](), set[str]()
        self.code(node, function.__code__, names, names_of_globals)
        for name in sorted(names_of_globals & function.__globals__.keys()):
            self.refer_by_name(node, name, function.__globals__[name], names)
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        for name, cell in cells:
            try:
                content = cell.cell_contents
            except ValueError:  # nothing in it yet
                continue
            self.refer_by_name(node, name, content, names)
        self.refer(node, function.__defaults__)
        self.refer(node, function.__kwdefaults__)

    def code(
        self, node: _Node, code: types.CodeType, names: set[str], names_of_globals: set[str]
    ) -> None:
        """The bytecode, and that of functions within; all names in it, and those of globals."""
        names.update(code.co_names)
        names_of_globals |= _globals(code)
        kinds = [*map(type, code.co_consts)]
        node.facts += (
            hashlib.sha256(code.co_code).digest(),
            code.co_exceptiontable,
            (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags),
            (code.co_names, code.co_varnames, code.co_freevars),
            [c if k in _PLAIN else k for c, k in zip(code.co_consts, kinds, strict=True)],
        )
        for constant, kind in zip(code.co_consts, kinds, strict=True):
            if kind is types.CodeType:
                self.code(node, constant, names, names_of_globals)
            elif kind not in _PLAIN:
                self.refer(node, constant)

    def compiled(self, node: _Node, value: Any, _: Iterable[str]) -> None:
        for part in numba_internals.made_of(value):
            self.refer(node, part)

    def type_of_values(self, node: _Node, kind: Any, _: Iterable[str]) -> None:
        """A type of Numba's or LLVM's."""
        members = numba_internals.members(kind)
        compiled = getattr(kind, "dispatcher", None)  # of the type of a compiled function
        self.refer(node, type(kind))
        if compiled is not None:
            self.refer(node, compiled)
        else:
            self.refer(node, str(kind) if members is None else members)

    def class_of_values(self, node: _Node, kind: Any, _: Iterable[str]) -> None:
        node.facts += kind.__module__, kind.__qualname__
        if not _has_source(kind.__module__):
            return
        node.lie_in(kind.__module__)
        if issubclass(kind, tuple) and hasattr(kind, "_fields"):  # compiled code sees fields alone
            self.refer(node, (kind._fields, kind._field_defaults))
            return
        self.refer(node, kind.__bases__)
        for name, member in sorted(vars(kind).items()):
            special = name.startswith("__") and not isinstance(member, types.FunctionType)
            if not special and name != "_abc_impl" and not isinstance(member, _MADE_BY_PYTHON):
                self.refer_by_name(node, name, member, ())

    def module(self, node: _Node, module: types.ModuleType, names: Iterable[str]) -> None:
        node.facts.append(module.__name__)
        if _has_source(module.__name__):
            for name in sorted(vars(module).keys() & set(names)):
                self.refer_by_name(node, name, vars(module)[name], names)

    def array(self, node: _Node, array: Any, _: Iterable[str]) -> None:
        if array.dtype.hasobject:
            raise UnknownDependencyError("nothing tells what an array of objects holds")
        node.facts += repr(array.dtype), array.shape, hashlib.sha256(array.tobytes()).digest()

    def builtin(self, node: _Node, value: Any, _: Iterable[str]) -> None:
        """What is known by its name, and for a method by its object."""
        node.facts += (getattr(value, name, None) for name in ("__module__", "__name__"))
        node.facts.append(getattr(value, "__qualname__", None))
        owner = getattr(value, "__self__", None)
        if not isinstance(owner, types.ModuleType):
            self.refer(node, owner)

    def compound(self, node: _Node, value: Any, _: Iterable[str]) -> None:
        """What is made of other values."""
        kind = type(value)
        parts: list[Any] = []
        if isinstance(value, tuple | list):
            parts = [kind, *value]
        elif isinstance(value, set | frozenset):
            found = sorted(map(self.dependencies, value), key=lambda each: each.digest)
            node.facts += (each.digest for each in found)
            node.sources.update(*(each.sources for each in found))
        elif isinstance(value, dict | types.MappingProxyType):
            parts = [kind, *(part for item in value.items() for part in item)]
        elif isinstance(value, np.dtype):
            parts = [repr(value)]
        elif isinstance(value, types.MethodType):
            parts = [value.__func__, value.__self__]
        elif isinstance(value, staticmethod | classmethod):
            parts = [value.__func__]
        elif isinstance(value, property):
            parts = [value.fget, value.fset, value.fdel]
        elif isinstance(value, functools.partial):
            parts = [value.func, value.args, value.keywords]
        elif isinstance(value, enum.Enum):
            parts = [kind, value.name, value.value]
        elif hasattr(value, "__wrapped__"):
            parts = [value.__wrapped__]
        elif kind.__module__ == "typing":
            parts = [repr(value)]
        elif _has_source(kind.__module__) and hasattr(value, "__dict__"):
            parts = [kind, vars(value)]
        else:
            raise UnknownDependencyError(
                f"nothing tells what a {kind.__module__}.{kind.__qualname__} holds"
            )
        for part in parts:
            self.refer(node, part)


@functools.cache
def _way(kind: Any) -> tuple[Callable[[_Walk, _Node, Any, Iterable[str]], None], bool]:
    """How values of that kind are looked at, and whether once is enough."""
    if kind in _PLAIN:
        return _Walk.plain, False
    if kind is types.FunctionType:
        return _Walk.function, True
    if issubclass(kind, type):
        return _Walk.class_of_values, True
    bases = {*kind.__mro__}  # `issubclass` would ask all of Numba's types, which are abstract
    if not bases.isdisjoint(numba_internals.COMPILED):
        return _Walk.compiled, True
    if not bases.isdisjoint(numba_internals.TYPES):
        return _Walk.type_of_values, True
    if issubclass(kind, types.ModuleType):
        return _Walk.module, False
    if issubclass(kind, np.ndarray | np.generic):
        return _Walk.array, False
    if issubclass(kind, _BUILTIN):
        return _Walk.builtin, False
    return _Walk.compound, False


def _globals(code: types.CodeType) -> set[str]:
    """Names of the globals that bytecode reads; `co_names` has those of attributes too."""
    # `dis.get_instructions` does the same thirty times more slowly.
    instructions, arguments = code.co_code[::2], code.co_code[1::2]
    found = set()
    for match in _NAMING.finditer(instructions):
        at = match.start()
        if instructions[at] == _IMPORT:
            raise UnknownDependencyError(f"{code.co_qualname} imports a module when it runs")
        index, shift = arguments[at], 8
        while at and instructions[at - 1] == _MORE:
            at -= 1
            index |= arguments[at] << shift
            shift += 8
        found.add(code.co_names[index >> _GLOBALS[instructions[match.start()]]])
    return found


def _has_source(module: str | None) -> bool:
    """Whether a module's content counts, and not just the version of what it belongs to."""
    return (module or "").partition(".")[0] not in _BY_VERSION

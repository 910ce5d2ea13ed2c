"""The disk cache of machine code, and a word on stderr when something is compiled.

Numba's own cache is not used, for three faults. It does not see that a function called from
another file was edited. Two processes that compile at once can leave an index that names one's
machine code for the other's types. And a file cut short by a full disk breaks every later run. Here
each compiled function is one file, named by the function and its argument types, replaced as a
whole, and headed by a digest over its content and over every source of this package: what does not
match is compiled anew.

The files lie in NUMBA_CACHE_DIR, else in minigan/ in XDG_CACHE_HOME, else in ~/.cache/minigan.
"""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

import hashlib
import os
import pickle
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core import event
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from ..isa.amx import AMX
from ..isa.simd import LANES

_PACKAGE = Path(__file__).resolve().parents[2]


def cache_folder() -> Path:
    """Where compiled kernels are kept."""
    config: Any = numba.config
    user = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    own = Path(user).expanduser() / "minigan"
    root = Path(config.CACHE_DIR) if config.CACHE_DIR else own
    # One folder for each copy of the package, or two versions would overwrite each other's files.
    return root / f"kernels-{hashlib.sha256(bytes(_PACKAGE)).hexdigest()[:16]}"


def _source_stamp() -> bytes:
    """Digest of all that machine code depends on beside its own function and argument types."""
    stamp = hashlib.sha256()
    for part in (numba.__version__, llvmlite.__version__, platform.python_version()):
        stamp.update(part.encode() + b";")
    for source in sorted(_PACKAGE.rglob("*.py")):
        stamp.update(bytes(source.relative_to(_PACKAGE)))
        stamp.update(source.read_bytes())
    return stamp.digest()


_STAMP = _source_stamp()


class DiskCache(_Cache):
    """Compiled forms of one function; takes the place of Numba's `FunctionCache`."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"

    @property
    def cache_path(self) -> str:
        return str(cache_folder())

    def load_overload(self, sig: Any, target_context: Any) -> CompileResult | None:
        target_context.refresh()
        try:
            content = self._path(sig, target_context.codegen()).read_bytes()
        except OSError:  # nothing there
            return None
        digest, payload = content[:32], content[32:]
        if digest != hashlib.sha256(_STAMP + payload).digest():
            return None
        return CompileResult._rebuild(target_context, *pickle.loads(payload))

    def save_overload(self, sig: Any, data: Any) -> None:
        if data.library.has_dynamic_globals:
            raise RuntimeError(f"{self._name} refers to an address in memory: it cannot be kept")
        payload = dumps(data._reduce())
        path = self._path(sig, data.codegen)
        unfinished = path.with_suffix(f".{os.getpid()}-{time.monotonic_ns()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                unfinished.write_bytes(hashlib.sha256(_STAMP + payload).digest() + payload)
                unfinished.replace(path)
            finally:
                unfinished.unlink(missing_ok=True)
        except OSError as error:
            _notice.cannot_keep(error)

    def _path(self, sig: Any, codegen: Any) -> Path:
        types = hashlib.sha256(repr((sig, codegen.magic_tuple(), LANES, AMX)).encode()).hexdigest()[
            :16
        ]
        return cache_folder() / f"{self._name}-{types}.kernel"

    def enable(self) -> None:
        """Nothing to do: this cache is always on."""

    def disable(self) -> None:
        """Nothing to do: this cache is always on."""

    def flush(self) -> None:
        """Nothing to do: a stale file is overwritten when its function is compiled."""


class _Notice(event.Listener):
    """Says on stderr what is compiled, and for how long; a kernel's helpers count as part of it."""

    def __init__(self) -> None:
        self._began: list[float] = []  # when each of the nested compilations began
        self._told = self._warned = False

    def on_start(self, event: event.Event) -> None:
        if not self._ours(event):
            return
        self._began.append(time.perf_counter())
        if not self._told:
            self._told = True
            _say(f"compiling kernels for this CPU (once: they are kept in {cache_folder()})")

    def on_end(self, event: event.Event) -> None:
        if not self._ours(event):
            return
        seconds = time.perf_counter() - self._began.pop()
        if not self._began:
            function = event.data["dispatcher"].py_func
            _say(f"  {function.__module__.rpartition('.')[2]}.{function.__name__} {seconds:.1f} s")

    def cannot_keep(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            _say(
                f"compiled kernels cannot be kept ({error}), so the next run compiles them again; "
                "NUMBA_CACHE_DIR names another folder"
            )

    @staticmethod
    def _ours(event: event.Event) -> bool:
        return isinstance(event.data["dispatcher"]._cache, DiskCache)


def _say(message: str) -> None:
    print(f"minigan: {message}", file=sys.stderr, flush=True)


_notice = _Notice()
event.register("numba:compile", _notice)

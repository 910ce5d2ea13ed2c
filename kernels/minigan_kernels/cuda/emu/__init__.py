"""Runs kernels on the CPU: the .cu file compiled by g++ with `cuda.h` in place of CUDA's own.

Each thread of a block runs as a fiber (`block.h`), the lanes of a warp meet for what they do
together (`warp.h`). Their heads say what is emulated and what is not. A result may differ
from a GPU's in its last bits: the order of a sum inside a tensor core is not published.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..cache import HEADERS, kept, key, unit
from ..errors import KernelError, UnavailableError

_ENTRY = re.compile(r'extern "C" __global__ void(?: __launch_bounds__\([^)]*\))?\s+(\w+)\(')
_HERE = Path(__file__).parent
_OPTIONS = ["-std=c++17", "-fPIC", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"]
_LIBRARY = ["-shared", "-Wl,-Bsymbolic"]  # or a kernel called as the C library's functions is that
_OPTIONS += [f"-Wno-{what}" for what in ("unknown-pragmas", "unused-function", "unused-parameter")]
_OPTIMISED = ("-O2",)
_SANITISED = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@dataclass
class Emulation:
    """How launches run within `emulation`, and what was seen of them."""

    schedule: int = 0
    options: tuple[str, ...] = ()
    bank_cycles: int = 0
    bank_ideal: int = 0

    @property
    def bank_conflicts(self) -> float:
        """Cycles of every ldmatrix for each that it needs at best: 1 is without conflict."""
        return self.bank_cycles / max(1, self.bank_ideal)


_current: ContextVar[Emulation | None] = ContextVar("emulation", default=None)


@contextmanager
def emulation(
    schedule: int = 0, *, sanitize: bool = False, portable: bool = False
) -> Iterator[Emulation]:
    """Within the block warps run in the order that `schedule` says.

    0 is forwards, 1 backwards, anything above the seed of random orders. With `sanitize` kernels
    are compiled with AddressSanitizer and UndefinedBehaviorSanitizer; the first must be preloaded
    into the process (LD_PRELOAD), and a finding ends it. With `portable` fibers are switched as on
    machines that are not Linux on x86-64: by the C library, which is slower.
    """
    options = (*(_SANITISED if sanitize else _OPTIMISED), *(["-DPORTABLE"] if portable else []))
    current = Emulation(schedule, options)
    token = _current.set(current)
    try:
        yield current
    finally:
        _current.reset(token)


def compiler() -> tuple[str, str]:
    """Path and version of g++.

    Raises:
        UnavailableError: if there is none.
    """
    path = shutil.which("g++")
    if path is None:
        raise UnavailableError(
            "running a CUDA kernel on the CPU needs the compiler g++, which is not installed; "
            "install it (Debian: apt install g++), or use the kernels of 'cpu' for NumPy arrays"
        )
    return path, _version(path)


@cache
def _version(path: str) -> str:
    return subprocess.run(
        [path, "--version"], capture_output=True, text=True, check=True
    ).stdout.partition("\n")[0]


@cache
def library(
    file: Path, name: str, defines: tuple[tuple[str, object], ...], options: tuple[str, ...]
) -> ctypes.CDLL:
    """Kernel `name` of a .cu file as a shared object, compiled at first use.

    With it come all kernels whose heads are spelled out in the file: one compilation serves them.

    Raises:
        UnavailableError: if there is no g++.
        KernelError: with the compiler's words, if the source does not compile.
    """
    path, version = compiler()
    options = (*_OPTIONS, *options)
    machinery = [_machinery(part, options) for part in ("block", "warp")]
    source = unit(file, dict(defines))
    entries = "".join(f"EMU_ENTRY({e})\n" for e in dict.fromkeys([*_ENTRY.findall(source), name]))
    source = f'#include "cuda.h"\n{source}\n{entries}'

    def build(out: Path) -> dict[str, Any]:
        _run(
            [path, *options, *_LIBRARY, "-x", "c++", "-", "-x", "none", *map(str, machinery)],
            source,
            out,
            file.parent,
        )
        return {}

    parts = (part.name for part in machinery)
    out = f"{file.stem}-{key(source, file.parent, version, *options, *_LIBRARY, *parts)}.so"
    return ctypes.CDLL(str(kept(out, build).path))


@cache
def _machinery(part: str, options: tuple[str, ...]) -> Path:
    """An object file with a part of the emulation itself."""
    path, version = compiler()
    source = (_HERE / f"{part}.cc").read_text()

    def build(out: Path) -> dict[str, Any]:
        _run([path, *options, "-c", "-x", "c++", "-"], source, out, _HERE)
        return {}

    return kept(f"emu-{part}-{key(source, _HERE, version, *options)}.o", build).path


def _run(command: list[str], source: str, out: Path, folder: Path) -> None:
    includes = [f"-I{place}" for place in (folder, *HEADERS)]
    done = subprocess.run(
        [*command, *includes, "-o", str(out)],
        input=source, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise KernelError(f"{out.name} does not compile for the CPU:\n{done.stderr}")


def launch(
    file: Path,
    name: str,
    defines: Mapping[str, object],
    shape: Sequence[int],
    shared: int,
    arguments: Sequence[np.ndarray],
) -> None:
    """Run kernel `name` of `file` with `shape` (grid x, y, z, block x, y, z).

    An argument is an array, of which the kernel gets the address, or one value (0-d).

    Raises:
        KernelError: if the kernel broke a rule: a deadlock, an address not aligned, ...
    """
    how = _current.get() or Emulation(options=_OPTIMISED)
    entry = library(file, name, tuple(sorted(defines.items())), how.options)[f"emu_{name}"]
    entry.restype = ctypes.c_char_p
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in arguments]
    values = (ctypes.c_void_p * len(arguments))(
        *(
            ctypes.addressof(pointer) if array.ndim else array.ctypes.data
            for array, pointer in zip(arguments, pointers, strict=True)
        )
    )
    banks = (ctypes.c_longlong * 2)()
    error = entry((ctypes.c_uint * 6)(*shape), ctypes.c_size_t(shared), how.schedule, values, banks)
    how.bank_cycles += banks[0]
    how.bank_ideal += banks[1]
    if error:
        raise KernelError(f"{name}: {error.decode()}")

"""Compiles .cu files for GPUs with NVRTC, NVIDIA's compiler library; no driver is needed.

Always to machine code (a cubin) for the asked architecture, never to PTX: a driver may be too old
for the PTX of a newer compiler. Cubins are kept on disk (`cache`), named by the hash of the source
and its headers, the architecture and the compiler's version.
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from .cache import HEADERS, kept, key, unit
from .errors import KernelError, UnavailableError

_OPTIONS = ["-std=c++17", "--ptxas-options=-v"]
_FUNCTION = re.compile(
    r"Compiling entry function '(?P<name>\w+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, "
    r"(?P<loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
    re.DOTALL,
)


class Resources(NamedTuple):
    """What one thread of a kernel takes of a multiprocessor, and static bytes shared by a block."""

    registers: int
    spills: int  # bytes stored and loaded
    stack: int  # bytes
    shared: int  # bytes; what a launch adds is not counted


class Cubin(NamedTuple):
    """Machine code for one architecture."""

    path: Path
    resources: dict[str, Resources]  # by the kernel's name


def compile_cubin(file: Path, defines: Mapping[str, object], arch: str) -> Cubin:
    """The kernels of a .cu file for `arch` ("sm_80", "sm_90", ...), from the cache or compiled now.

    Raises:
        UnavailableError: if there is no NVRTC, or if it does not know `arch`.
        KernelError: with the compiler's words, if the source does not compile.
    """
    library = load()
    options = [f"-arch={arch}", *_OPTIONS]
    source = unit(file, defines)

    def build(out: Path) -> dict[str, object]:
        includes = [f"-I{folder}" for folder in (file.parent, HEADERS[0])]
        code, log = _compile(library, source, file.name, options + includes)
        out.write_bytes(code)
        return {"resources": _resources(log)}

    name = f"{file.stem}-{arch}-{key(source, file.parent, version(), *options)}.cubin"
    entry = kept(name, build, _has_resources)
    return Cubin(entry.path, {k: Resources(*v) for k, v in entry.facts["resources"].items()})


def _has_resources(facts: dict[str, Any]) -> bool:
    """Whether a cubin's facts say what each kernel takes."""
    found = facts.get("resources")
    return isinstance(found, dict) and all(
        isinstance(each, list)
        and len(each) == len(Resources._fields)
        and all(type(number) is int for number in each)
        for each in found.values()
    )


def version() -> str:
    """Version of the compiler, such as "13.5"."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    load().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return f"{major.value}.{minor.value}"


@cache
def load() -> ctypes.CDLL:
    """NVRTC from NVIDIA's Python packages, or from a toolkit that the system knows.

    Raises:
        UnavailableError: if there is none.
    """
    for name in [*_packaged(), "libnvrtc.so.13", "libnvrtc.so.12"]:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise UnavailableError(
        "compiling CUDA kernels needs NVIDIA's compiler library NVRTC, which is not installed; "
        "install it with: pip install 'minigan[nvrtc]'"
    )


def _packaged() -> list[str]:
    nvidia = importlib.util.find_spec("nvidia")
    places = nvidia.submodule_search_locations if nvidia else None
    found = [path for place in places or () for path in Path(place).glob("*/lib/libnvrtc.so.1?")]
    return [str(path) for path in sorted(found, reverse=True)]


def _compile(library: ctypes.CDLL, source: str, name: str, options: list[str]) -> tuple[bytes, str]:
    """Machine code, and what the compiler said."""
    program = ctypes.c_void_p()
    _check(
        library,
        library.nvrtcCreateProgram(
            ctypes.byref(program), source.encode(), name.encode(), 0, None, None
        ),
    )
    try:
        words = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
        status = library.nvrtcCompileProgram(program, len(options), words)
        log = _text(library, program, "ProgramLog").decode().rstrip("\0")
        if "invalid value for --gpu-architecture" in log:
            raise UnavailableError(
                f"NVRTC {version()} does not know this GPU's architecture ({options[0]}); "
                "install a version that does"
            )
        if status:
            raise KernelError(f"{name} does not compile for the GPU:\n{log}")
        return _text(library, program, "CUBIN"), log
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _text(library: ctypes.CDLL, program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    _check(library, library[f"nvrtcGet{what}Size"](program, ctypes.byref(size)))
    text = ctypes.create_string_buffer(size.value)
    _check(library, library[f"nvrtcGet{what}"](program, text))
    return text.raw


def _check(library: ctypes.CDLL, status: int) -> None:
    if status:
        library.nvrtcGetErrorString.restype = ctypes.c_char_p
        raise KernelError(f"NVRTC failed: {library.nvrtcGetErrorString(status).decode()}")


def _resources(log: str) -> dict[str, Resources]:
    found = {}
    for match in _FUNCTION.finditer(log):
        shared = re.search(r"(\d+) bytes smem", match["rest"])
        spills = int(match["stores"]) + int(match["loads"])
        found[match["name"]] = Resources(
            int(match["registers"]), spills, int(match["stack"]), int(shared[1]) if shared else 0
        )
    return found

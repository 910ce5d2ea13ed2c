"""The tile instructions of Intel AMX on any CPU: MINIGAN_AMX=emulate, for tests.

Each instruction is a compiled function, which `provide` makes known to LLVM by a name. Kernels call
it as they call LLVM's intrinsic of the real instruction, so the emulation changes none of their
code, and what the disk cache keeps of them contains no address. A thread's tiles are memory that
the thread finds by a POSIX key: `ldtilecfg` allocates it, `tilerelease` frees it. All tiles have 16
rows of 64 bytes.

What Intel documents (Software Developer's Manual, volume 2, TDPBF16PS), and the emulation does:

- Each of the 16 x 16 results has two accumulators that begin at zero. One sums the products of the
  even halves of the 16 pairs, the other those of the odd halves, both in the order of the pairs.
- Each product is added by a fused multiply-add in float32, rounded to nearest even.
- In the end the odd accumulator is added to the even one, and their sum to the result.
- Denormal operands count as zero, and denormal results become zero. MXCSR plays no part.
- `ldtilecfg` clears all tiles. An instruction on tiles that are not configured, on a tile above 7,
  or with the same tile twice in a product, is undefined: SIGILL there, SIGABRT here.

What is assumed:

- A result is denormal if it is so after rounding, as everywhere else on x86.
- The sign of a denormal number goes over to its zero, as everywhere else on x86.
- The bits of a NaN, except that it is one, are not specified.

Intel's Intrinsics Guide has another pseudocode, with one sum for both halves. Here the manual is
followed, as by the Bochs emulator.

Arithmetic is in float64, so no CPU needs to have float32 FMA or a mode for denormal numbers: the
product of two bfloat16 is exact there, and a float64 sum of two numbers with at most 24 bits,
rounded again to float32, is what one rounding gives (53 >= 2 * 24 + 2; Figueroa 1995).
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, attr-defined, call-arg"
from __future__ import annotations

import ctypes
import sys

import llvmlite.binding as llvm
import numba
import numpy as np
from numba import types
from numba.core.extending import intrinsic

from ...environment import SettingError
from .simd import optimization_barrier

TILES, ROWS, COLUMNS = 8, 16, 16  # columns of 4 bytes
_ROW_BYTES, _TILE_BYTES = 4 * COLUMNS, 4 * COLUMNS * ROWS
_SIGN, _EXPONENT, _ODD = 0x80000000, 0x7F800000, 0xFFFF0000  # bits of a word
# In float64: what rounds to less than float32's smallest normal number, 2^-126. Halfway from it to
# the next smaller number of 24 bits is 2^-126 - 2^-151, which rounds up to even.
_TINY = 2.0**-126 - 2.0**-151

_compiled = numba.njit(nogil=True, error_model="numpy")


@intrinsic
def _pointer(typing, address):
    """The address as a pointer, as `carray` wants it."""

    def emit(context, builder, sig, args):
        return builder.inttoptr(args[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.intp), emit


@_compiled
def _flush(word: int) -> int:
    """The bits of a float32, or of zero if it is denormal."""
    return word if word & _EXPONENT else word & _SIGN


@_compiled
def _round(x: float) -> float:
    """x rounded to float32, denormal results to zero."""
    rounded = np.float64(np.float32(x))
    return x * 0.0 if abs(x) < _TINY else rounded


@_compiled
def _halves(address: int) -> np.ndarray:
    """The even and the odd numbers of the pairs of the tile at an address: (2, rows, columns)."""
    tile = _tile(address, np.uint32)
    words = np.empty((2, ROWS, COLUMNS), np.uint32)
    for row in range(ROWS):
        for column in range(COLUMNS):
            word = tile[row, column]
            words[0, row, column] = _flush(word << 16)
            words[1, row, column] = _flush(word & _ODD)
    return words.view(np.float32)


@_compiled
def dot_product(sums: int, left: int, right: int) -> None:
    """sums += left right, for tiles at addresses."""
    a, b = _halves(left), _halves(right)
    accumulators = np.zeros((ROWS, 2, COLUMNS))
    # If LLVM knew the length of the innermost loop it would unroll it, and not use vectors.
    columns: int = optimization_barrier(COLUMNS)
    for k in range(COLUMNS):
        for m in range(ROWS):
            for half in range(2):
                factor = np.float64(a[half, m, k])
                for n in range(columns):
                    product = factor * np.float64(b[half, k, n])
                    accumulators[m, half, n] = _round(accumulators[m, half, n] + product)
    words, results = _tile(sums, np.uint32), _tile(sums, np.float32)
    for m in range(ROWS):
        for n in range(COLUMNS):
            total = _round(accumulators[m, 0, n] + accumulators[m, 1, n])
            words[m, n] = _flush(words[m, n])
            results[m, n] = _round(np.float64(results[m, n]) + total)


@_compiled
def _tile(address: int, dtype: type) -> np.ndarray:
    return numba.carray(_pointer(address), (ROWS, COLUMNS), dtype)


def provide(prefix: str) -> None:
    """Let compiled code call the instructions by LLVM's names for them after a `prefix`.

    Raises:
        SettingError: on Windows, which has no POSIX threads.
    """
    if sys.platform == "win32":
        raise SettingError("MINIGAN_AMX=emulate needs POSIX threads: use MINIGAN_AMX=0 on Windows")
    # A key is an unsigned int or, on macOS, an unsigned long: both come in one register.
    word, key = ctypes.c_ssize_t, ctypes.c_ulong
    calloc, free = _of_libc("calloc", word, word, word), _of_libc("free", None, word)
    fill = _of_libc("memset", word, word, ctypes.c_int, word)
    copy = _of_libc("memcpy", word, word, word, word)
    abort = _of_libc("abort", None)
    get = _of_libc("pthread_getspecific", word, key)
    put = _of_libc("pthread_setspecific", ctypes.c_int, key, word)
    create = _of_libc("pthread_key_create", ctypes.c_int, ctypes.POINTER(key), ctypes.c_void_p)

    created = key()
    # Of a thread that ends, the system frees the tiles.
    error = create(created, ctypes.cast(free, ctypes.c_void_p))
    if error:
        raise OSError(error, "emulated AMX gets no key for its tiles")
    tiles = created.value

    @_compiled
    def tile(number):
        first = get(tiles)
        if first == 0 or number >= TILES:
            abort()
        return first + number * _TILE_BYTES

    def instruction(*kinds):
        def decorate(function):
            compiled = numba.cfunc(types.void(*kinds), error_model="numpy")(function)
            llvm.add_symbol(prefix + function.__name__, compiled.address)
            _provided.append(compiled)

        return decorate

    @instruction(types.intp)
    def ldtilecfg(layout):
        free(get(tiles))
        put(tiles, calloc(TILES, _TILE_BYTES))

    @instruction()
    def tilerelease():
        free(get(tiles))
        put(tiles, 0)

    @instruction(types.uint8)
    def tilezero(number):
        fill(tile(number), 0, _TILE_BYTES)

    @instruction(types.uint8, types.intp, types.intp)
    def tileloadd64(number, address, stride):
        first = tile(number)
        for row in range(ROWS):
            copy(first + row * _ROW_BYTES, address + row * stride, _ROW_BYTES)

    @instruction(types.uint8, types.intp, types.intp)
    def tilestored64(number, address, stride):
        first = tile(number)
        for row in range(ROWS):
            copy(address + row * stride, first + row * _ROW_BYTES, _ROW_BYTES)

    @instruction(types.uint8, types.uint8, types.uint8)
    def tdpbf16ps(sums, left, right):
        if sums in (left, right) or left == right:
            abort()
        dot_product(tile(sums), tile(left), tile(right))


_provided: list = []  # LLVM knows no more of them than addresses


def _of_libc(name, result, *arguments):
    function = getattr(ctypes.CDLL(None), name)
    function.restype, function.argtypes = result, arguments
    return function

"""Random numbers from a counter (Philox4x32-10) in one pass, the same bits as the reference's.

All loops are compiled without fast-math flags, so no multiplication and addition are fused: the
numbers are those that NumPy computes step by step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..philox import COS_TERMS, LOG2, LOG_TERMS, M0, M1, ROUNDS, SIN_TERMS, SQRT_HALF, W0, W1
from .compiler.jit import jit
from .runtime.parallel import parallel_for

Number = Any  # a scalar inside compiled code

_BLOCKS = 1 << 12  # Philox blocks, of four 32-bit numbers each, in one chunk
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
_M0, _M1, _W0, _W1 = np.uint64(M0), np.uint64(M1), np.uint64(W0), np.uint64(W1)
_MANTISSA, _EXPONENT_HALF = 0x000FFFFFFFFFFFFF, 0x3FE0000000000000  # of a float64 in [1/2, 1)


def random_bits(out: np.ndarray, *, key: int, offset: int) -> None:
    """Fill `out` (uint32) with the bits of stream `key` from block `offset` on."""
    _fill(_random_bits, out, key, offset)


def uniform(out: np.ndarray, *, key: int, offset: int) -> None:
    """Fill `out` with uniform numbers in [0, 1)."""
    _fill(_uniform, out, key, offset)


def normal(out: np.ndarray, *, key: int, offset: int) -> None:
    """Fill `out` with standard normal numbers."""
    _fill(_normal, out, key, offset)


def dropout_mask(out: np.ndarray, *, keep: float, key: int, offset: int) -> None:
    """Fill `out` with 1 / keep, with probability `keep`, and 0 elsewhere."""
    below, value = np.float32(keep), np.float32(1 / keep)
    _fill(lambda out, *at: _dropout_mask(out, below, value, *at), out, key, offset)


def _fill(loop: Callable[..., None], out: np.ndarray, key: int, offset: int) -> None:
    """Run loop(chunk, key, first block) over chunks of `out`."""
    target = out.reshape(-1) if out.flags.c_contiguous else np.empty(out.size, out.dtype)
    stream = np.uint64(key)

    def work(start: int, stop: int) -> None:
        first = np.uint64((offset + start) % 2**64)  # the counter wraps, as the reference's does
        loop(target[4 * start : 4 * stop], stream, first)

    parallel_for(work, -(-out.size // 4), grain=_BLOCKS)
    if not out.flags.c_contiguous:
        out[...] = target.reshape(out.shape)


@jit()
def _philox(key: int, counter: int, size: int) -> np.ndarray:
    """The first `size` uint32 from block `counter` on, and up to three more."""
    bits = np.empty((size + 3) // 4 * 4, np.uint32)
    # In lanes of 64 bits, and without memory between the rounds: so the compiler unrolls the rounds
    # and puts one block in each vector lane.
    for i in range(bits.size // 4):
        block = counter + np.uint64(i)
        x0, x1, x2, x3 = block & _LOW, block >> _HALF, np.uint64(0), np.uint64(0)
        k0, k1 = key & _LOW, key >> _HALF
        for _ in range(ROUNDS):
            p0, p1 = _M0 * x0, _M1 * x2
            x0, x1 = (p1 >> _HALF) ^ x1 ^ k0, p1 & _LOW
            x2, x3 = (p0 >> _HALF) ^ x3 ^ k1, p0 & _LOW
            k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
        bits[4 * i] = x0
        bits[4 * i + 1] = x1
        bits[4 * i + 2] = x2
        bits[4 * i + 3] = x3
    return bits


@jit()
def _random_bits(out: np.ndarray, key: int, counter: int) -> None:
    bits = _philox(key, counter, out.size)
    for i in range(out.size):
        out[i] = bits[i]


@jit()
def _uniform(out: np.ndarray, key: int, counter: int) -> None:
    bits = _philox(key, counter, out.size)
    for i in range(out.size):
        out[i] = np.float32(bits[i] >> 8) * np.float32(2.0**-24)


@jit()
def _dropout_mask(out: np.ndarray, keep: Number, value: Number, key: int, counter: int) -> None:
    bits = _philox(key, counter, out.size)
    for i in range(out.size):
        number = np.float32(bits[i] >> 8) * np.float32(2.0**-24)
        out[i] = value if number < keep else np.float32(0)


@jit()
def _normal(out: np.ndarray, key: int, counter: int) -> None:
    bits = _philox(key, counter, out.size)
    pairs = (out.size + 1) // 2
    radius, sine, cosine = np.empty(pairs), np.empty(pairs), np.empty(pairs)
    # The compiler vectorises only short loops without branches: hence four loops, not one.
    for i in range(pairs):
        radius[i] = (bits[2 * i] + 0.5) * 2.0**-32
        sine[i] = (bits[2 * i + 1] + 0.5) * 2.0**-32
    for i in range(pairs):
        radius[i] = np.sqrt(-2.0 * _log(radius[i]))
    for i in range(pairs):
        sine[i], cosine[i] = _sincos_turn(sine[i])
    for i in range(out.size // 2):
        out[2 * i] = np.float32(radius[i] * cosine[i])
        out[2 * i + 1] = np.float32(radius[i] * sine[i])
    if out.size % 2:
        out[-1] = np.float32(radius[-1] * cosine[-1])


@jit()
def _log(u: Number) -> Number:
    """Natural logarithm of u, 0 < u < 1 and not subnormal."""
    bits = np.float64(u).view(np.int64)
    mantissa = np.int64((bits & _MANTISSA) | _EXPONENT_HALF).view(np.float64)  # in [1/2, 1)
    low = mantissa < SQRT_HALF
    mantissa = mantissa * 2.0 if low else mantissa
    exponent = np.float64((bits >> 52) - 1022) - (1.0 if low else 0.0)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    return exponent * LOG2 + s * _horner(LOG_TERMS, s * s)


@jit()
def _sincos_turn(v: Number) -> tuple[Number, Number]:
    """sin(2 pi v) and cos(2 pi v), 0 <= v < 1.

    The quarter of the turn swaps the two and sets their signs. It does so by their bits, since a
    branch would keep the compiler from vectorising.
    """
    nearest = np.floor(4.0 * v + 0.5)
    t = 2.0 * (v - 0.25 * nearest)
    sine = np.float64(t * _horner(SIN_TERMS, t * t)).view(np.int64)
    cosine = np.float64(_horner(COS_TERMS, t * t)).view(np.int64)
    quarter = np.int64(nearest)
    swapped = (sine ^ cosine) & -(quarter & 1)
    sine = sine ^ swapped ^ ((quarter & 2) << 62)
    cosine = cosine ^ swapped ^ (((quarter + 1) & 2) << 62)
    return np.int64(sine).view(np.float64), np.int64(cosine).view(np.float64)


@jit()
def _horner(terms: tuple[float, ...], x: Number) -> Number:
    """The polynomial in x whose coefficients are `terms`, the highest power first."""
    total = terms[0]
    for term in terms[1:]:
        total = total * x + term
    return total

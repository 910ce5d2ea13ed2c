"""Random numbers from a counter: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers").

Block b of stream `key`, four uint32, is ten rounds of a bijection applied to the counter b. So any
block can be computed without those before it, and every device gives the same numbers. A draw of n
uint32 starts at block `offset` and takes ceil(n / 4) blocks. Each function fills `out`, float32 or
float64. The values are those of float32 in either case, so that a check in float64 sees the numbers
of the float32 run.
"""

from __future__ import annotations

import numpy as np

from ..philox import COS_TERMS, LOG2, LOG_TERMS, M0, M1, ROUNDS, SIN_TERMS, SQRT_HALF, W0, W1


def random_bits(out: np.ndarray, *, key: int, offset: int) -> None:
    """Fill `out` (uint32) with the bits of stream `key` from block `offset` on, both of 64 bits.

    >>> a, b = np.zeros(8, np.uint32), np.zeros(4, np.uint32)
    >>> kernels.random_bits(a, key=7, offset=0)
    >>> kernels.random_bits(b, key=7, offset=1)  # a block is 4 numbers
    >>> bool((a[4:] == b).all())
    True
    """
    bits = _philox(-(-out.size // 4), key, offset)
    out[...] = bits.reshape(-1)[: out.size].reshape(out.shape)


def uniform(out: np.ndarray, *, key: int, offset: int) -> None:
    """Fill `out` with uniform numbers in [0, 1): the upper 24 bits of each uint32.

    >>> out = np.empty(1000, np.float32)
    >>> kernels.uniform(out, key=0, offset=0)
    >>> bool((0 <= out).all() and (out < 1).all())
    True
    """
    bits = np.empty(out.shape, np.uint32)
    random_bits(bits, key=key, offset=offset)
    out[...] = (bits >> 8) * np.float32(2.0**-24)


def normal(out: np.ndarray, *, key: int, offset: int) -> None:
    """Fill `out` with standard normal numbers by Box & Muller (1958).

    The uint32 2i and 2i+1 of the stream give the numbers 2i and 2i+1: radius sqrt(-2 log u), angle
    2 pi v. The logarithm, sine and cosine are polynomials in float64, made of +, *, / and sqrt
    alone. IEEE 754 rounds those alike everywhere; libraries' own functions differ in the last bits.

    >>> out = np.empty(1000, np.float32)
    >>> kernels.normal(out, key=0, offset=0)
    >>> bool(abs(out.mean()) < 0.1)
    True
    """
    bits = np.empty(-(-out.size // 2) * 2, np.uint32)
    random_bits(bits, key=key, offset=offset)
    u, v = (bits.reshape(-1, 2) + 0.5).T * 2.0**-32  # in (0, 1), never the ends
    radius = np.sqrt(-2.0 * _log(u))
    sine, cosine = _sincos_turn(v)
    pairs = np.stack([radius * cosine, radius * sine], axis=1).astype(np.float32)
    out[...] = pairs.reshape(-1)[: out.size].reshape(out.shape)


def dropout_mask(out: np.ndarray, *, keep: float, key: int, offset: int) -> None:
    """Fill `out` with 1 / keep, with probability `keep` (0 < keep <= 1), and 0 elsewhere.

    >>> out = np.empty(1000, np.float32)
    >>> kernels.dropout_mask(out, keep=0.5, key=0, offset=0)
    >>> np.unique(out).tolist()
    [0.0, 2.0]
    """
    numbers = np.empty(out.shape, np.float32)
    uniform(numbers, key=key, offset=offset)
    out[...] = (numbers < np.float32(keep)) * np.float32(1 / keep)


def _philox(blocks: int, key: int, offset: int) -> np.ndarray:
    """Bits (blocks, 4) from block `offset` on; the upper half of the 128-bit counter is 0."""
    low = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    counter = np.uint64(offset) + np.arange(blocks, dtype=np.uint64)
    x0, x1 = counter & low, counter >> half
    x2 = x3 = np.zeros_like(counter)
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(ROUNDS):
        p0, p1 = np.uint64(M0) * x0, np.uint64(M1) * x2
        x0, x1, x2, x3 = (
            (p1 >> half) ^ x1 ^ np.uint64(k0),
            p1 & low,
            (p0 >> half) ^ x3 ^ np.uint64(k1),
            p0 & low,
        )
        k0, k1 = (k0 + W0) & 0xFFFFFFFF, (k1 + W1) & 0xFFFFFFFF
    return np.stack([x0, x1, x2, x3], axis=1).astype(np.uint32)


def _log(u: np.ndarray) -> np.ndarray:
    """Natural logarithm of u > 0."""
    mantissa, exponent = np.frexp(u)  # u = mantissa 2^exponent, mantissa in [1/2, 1)
    low = mantissa < SQRT_HALF
    mantissa = np.where(low, mantissa * 2.0, mantissa)
    exponent = exponent - low
    s = (mantissa - 1.0) / (mantissa + 1.0)
    return exponent * LOG2 + s * _horner(LOG_TERMS, s * s)


def _sincos_turn(v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """sin(2 pi v) and cos(2 pi v) for 0 <= v < 1: nearest quarter turn, then polynomials."""
    quarter = np.floor(4.0 * v + 0.5)
    t = 2.0 * (v - 0.25 * quarter)
    sine, cosine = t * _horner(SIN_TERMS, t * t), _horner(COS_TERMS, t * t)
    odd, negative_sine, negative_cosine = quarter % 2 == 1, quarter % 4 >= 2, (quarter + 1) % 4 >= 2
    sine, cosine = np.where(odd, cosine, sine), np.where(odd, sine, cosine)
    return np.where(negative_sine, -sine, sine), np.where(negative_cosine, -cosine, cosine)


def _horner(terms: tuple[float, ...], x: np.ndarray) -> np.ndarray:
    """The polynomial in x whose coefficients are `terms`, the highest power first."""
    total = np.full_like(x, terms[0])
    for term in terms[1:]:
        total = total * x + term
    return total

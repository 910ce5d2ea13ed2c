"""The CPU's matrix unit: the split is exact, and GEMM as good as in float32.

Without the unit these tests are skipped, but test_amx_emulation.py runs them with an emulated one.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from fractions import Fraction

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from minigan_kernels.cpu.isa import amx
from minigan_kernels.cpu.isa.amx import K_STEP_BYTES, TILE_BYTES, TILE_ROWS
from minigan_kernels.cpu.isa.simd import LANES, VECTOR_BYTES, load, store

pytestmark = pytest.mark.skipif(not amx.AMX, reason="this CPU has no matrix unit, or it is idle")

# Terms below bfloat16's smallest normal number count as zero in the unit.
NUMBERS = st.floats(-(2.0**60), 2.0**60, width=32).filter(lambda x: x == 0 or abs(x) > 2.0**-60)


@numba.njit
def _split(x: int, y: int, out: int) -> None:
    p, q = load(x), load(y)
    for term in range(3):
        store(out + term * VECTOR_BYTES, amx.pack_bf16_pairs(p, q))
        p, q = p - amx.truncate_to_bf16(p), q - amx.truncate_to_bf16(q)
    store(out + 3 * VECTOR_BYTES, p)
    store(out + 4 * VECTOR_BYTES, q)


def bfloat16(bits: np.ndarray) -> np.ndarray:
    """The values of bfloat16 numbers, given as integers of 16 bits."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


@given(arrays.arrays(np.float32, (2, 16), elements=NUMBERS))
def test_three_terms_sum_to_the_number_and_are_stored_in_pairs(pair: np.ndarray) -> None:
    out = np.empty((5, LANES), np.float32)
    x, y = np.ascontiguousarray(pair[0]), np.ascontiguousarray(pair[1])
    _split(x.ctypes.data, y.ctypes.data, out.ctypes.data)
    bits = out[:3].view(np.uint16).reshape(3, LANES, 2)
    terms = bfloat16(bits).astype(np.float64)
    np.testing.assert_array_equal(terms.sum(0), pair.T.astype(np.float64))
    np.testing.assert_array_equal(out[3:], 0)


def product(a: np.ndarray, b: np.ndarray, kc: int) -> np.ndarray:
    """a (32, K) b (K, 32) by `gemm_nn`, with K in slices of `kc` vectors."""
    from minigan_kernels.cpu.gemm.blocking import A_BLOCK_BYTES
    from minigan_kernels.cpu.gemm.gemm_amx import gemm_nn, workspace_bytes
    from minigan_kernels.cpu.gemm.operands import Accumulators, GemmScratch, GemmSize, Operand

    blocks = a.shape[1] // LANES
    tiles = np.ascontiguousarray(a.reshape(32, blocks, LANES).swapaxes(0, 1))
    rest = np.zeros((-(-blocks // 2) * 2 * LANES, 32), np.float32)
    rest[: len(b)] = b
    terms = []
    for _ in range(3):
        term = (rest.view(np.uint32) & 0xFFFF0000).view(np.float32)
        terms.append(term)
        rest = rest - term
    steps = np.stack(terms).view(np.uint32) >> 16  # (term, K, 32)
    # (term, K step, of a pair, row, half, column)
    steps = steps.astype(np.uint16).reshape(3, -1, 2, TILE_ROWS, 2, TILE_ROWS)
    right = np.ascontiguousarray(steps.transpose(1, 0, 4, 3, 5, 2))
    assert right.nbytes == -(-blocks // 2) * K_STEP_BYTES
    out = np.empty((2, 32, LANES), np.float32)
    zero, work = np.zeros(LANES, np.float32), np.empty(workspace_bytes(kc, 32) + 64, np.uint8)
    place = -(-work.ctypes.data // 64) * 64
    gemm_nn(
        Operand(tiles.ctypes.data, 0, blocks * A_BLOCK_BYTES),
        Operand(right.ctypes.data, 0, right.nbytes),
        Accumulators(out.ctypes.data, 0, out.nbytes),
        GemmSize(planes=1, m=1, n_vectors=2, k=blocks, kc=kc),
        False,
        GemmScratch(zero.ctypes.data, place),
    )
    return out.swapaxes(0, 1).reshape(32, 32)


@pytest.mark.parametrize("length", [16, 32, 48, 256, 336])
@pytest.mark.parametrize("scale", [1.0, 2.0**-100])
def test_gemm_loses_no_more_than_float32_does(length: int, scale: float) -> None:
    rng = np.random.default_rng(length)
    a = rng.standard_normal((32, length), np.float32) * np.float32(scale)
    b = rng.standard_normal((length, 32), np.float32)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    error = np.sqrt(np.mean((product(a, b, 8) - exact) ** 2) / np.mean(exact**2))
    one = np.zeros((32, 32), np.float32)
    for k in range(length):  # rounded after every term
        one += a[:, k, None] * b[k]
    theirs = np.sqrt(np.mean((one - exact) ** 2) / np.mean(exact**2))
    assert 0 < error <= max(theirs, 2.0**-23)


def test_what_is_not_finite_stays_so_and_in_its_row() -> None:
    a, b = np.ones((32, 32), np.float32), np.ones((32, 32), np.float32)
    a[3, 7], a[5, 0] = np.inf, np.nan
    found = product(a, b, 8)
    assert not np.isfinite(found[[3, 5]]).any()
    np.testing.assert_array_equal(np.delete(found, [3, 5], axis=0), 32)


def rounded(x: Fraction) -> Fraction:
    """x with 24 significant bits, to nearest even; zero if that is below 2^-126."""
    if x == 0:
        return x
    exponent = abs(x.numerator).bit_length() - x.denominator.bit_length()
    exponent -= abs(x) < Fraction(2) ** exponent
    unit = Fraction(2) ** (exponent - 23)
    y = round(x / unit) * unit  # Python rounds to even
    return y if abs(y) >= Fraction(2) ** -126 else Fraction(0)


def exact(values: np.ndarray) -> list[Fraction]:
    """The values of float32 numbers; zero for denormal ones."""
    return [Fraction(float(x)) if abs(x) >= 2.0**-126 else Fraction(0) for x in values]


def by_the_manual(sums: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """sums (16, 16) += left (16, 32) right (16, 32), of which numbers 2k and 2k + 1 are pairs, in
    exact arithmetic that is rounded where Intel's manual says so.
    """
    out = np.empty_like(sums)
    for m, n in itertools.product(range(16), repeat=2):
        total = [Fraction(0), Fraction(0)]
        for i, (x, y) in enumerate(
            zip(exact(left[m]), exact(right[:, 2 * n : 2 * n + 2].ravel()), strict=True)
        ):
            total[i % 2] = rounded(total[i % 2] + x * y)
        (before,) = exact(sums[m, n : n + 1])
        out[m, n] = float(rounded(before + rounded(total[0] + total[1])))
    return out


@numba.njit(nogil=True)
def _accumulate(sums: int, left: int, right: int, times: int) -> None:
    amx.tile_config()
    amx.tile_load(7, sums, 64)
    amx.tile_load(2, left, 64)
    amx.tile_load(5, right, 64)
    for _ in range(times):
        amx.tile_dpbf16(7, 2, 5)
    amx.tile_store(7, sums, 64)
    amx.tile_release()


def accumulated(
    sums: np.ndarray, left: np.ndarray, right: np.ndarray, times: int = 1
) -> np.ndarray:
    """The same by the unit."""
    out = sums.copy()
    tiles = [np.ascontiguousarray(x.view(np.uint32) >> 16, np.uint16) for x in (left, right)]
    _accumulate(out.ctypes.data, tiles[0].ctypes.data, tiles[1].ctypes.data, times)
    return out


def bfloat16_numbers(rng: np.random.Generator, exponent: int, spread: int) -> np.ndarray:
    """Numbers of bfloat16 (16, 32) whose exponents are not far from `exponent`."""
    x = rng.standard_normal((16, 32)) * 2.0 ** (exponent + rng.integers(-spread, spread, (16, 32)))
    return (x.astype(np.float32).view(np.uint32) & 0xFFFF0000).view(np.float32)


@pytest.mark.parametrize(
    ("left", "right", "sums"),
    [(0, 0, 0), (-64, -62, -124), (-127, 100, -27), (-70, -62, -127), (20, 30, 50)],
    ids=["one", "denormal products", "denormal factors", "denormal sums", "large"],
)
def test_the_unit_rounds_where_its_manual_says(left: int, right: int, sums: int) -> None:
    rng = np.random.default_rng(abs(left + 2 * right))
    a, b = bfloat16_numbers(rng, left, 5), bfloat16_numbers(rng, right, 5)
    scale = 2.0 ** (sums + rng.integers(-2, 6, (16, 16)))
    c = (rng.standard_normal((16, 16)) * scale).astype(np.float32)
    np.testing.assert_array_equal(accumulated(c, a, b), by_the_manual(c, a, b))


def test_tiles_have_rows_at_any_distance_and_are_zeroed() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((16, 40), np.float32)
    y = np.zeros((16, 50), np.float32)
    _copy(x[:, 8:].ctypes.data, 160, y[:, 3:].ctypes.data, 200)
    np.testing.assert_array_equal(y[:, 3:19], x[:, 8:24])
    np.testing.assert_array_equal(y[:, 19:35], 0)
    assert not y[:, :3].any()
    assert not y[:, 35:].any()


@numba.njit
def _copy(x: int, x_row: int, y: int, y_row: int) -> None:
    amx.tile_config()
    amx.tile_load(3, x, x_row)
    amx.tile_load(4, x, x_row)
    amx.tile_zero(4)
    amx.tile_store(3, y, y_row)
    amx.tile_store(4, y + 64, y_row)
    amx.tile_release()


def test_threads_have_tiles_of_their_own() -> None:
    rng = np.random.default_rng(0)
    c = np.zeros((16, 16), np.float32)
    factors = [[bfloat16_numbers(rng, 0, 2) for _ in range(2)] for _ in range(3)]
    alone = [accumulated(c, *pair, times=5000) for pair in factors]
    together: list[np.ndarray] = [c] * 3
    ready = threading.Barrier(3)

    def run(i: int) -> None:
        ready.wait()
        together[i] = accumulated(c, *factors[i], times=5000)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for ours, expected in zip(together, alone, strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_the_unit_can_be_left_idle() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", "from minigan_kernels.cpu.isa.amx import AMX; print(AMX)"],
        env=os.environ | {"MINIGAN_AMX": "0"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert finished.stdout == "False\n"


def test_a_tile_is_as_large_as_the_unit_has_it() -> None:
    assert (TILE_BYTES, TILE_ROWS * VECTOR_BYTES, K_STEP_BYTES) == (1024, 1024, 6 * TILE_BYTES)

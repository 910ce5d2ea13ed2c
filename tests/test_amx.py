"""The CPU's matrix unit: pieces are exact, and products as good as those of float32."""

from __future__ import annotations

import os
import subprocess
import sys

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

# Pieces below bfloat16's smallest normal number count as zero in the unit.
NUMBERS = st.floats(-(2.0**60), 2.0**60, width=32).filter(lambda x: x == 0 or abs(x) > 2.0**-60)


@numba.njit
def _cut(x: int, y: int, out: int) -> None:
    p, q = load(x), load(y)
    for piece in range(3):
        store(out + piece * VECTOR_BYTES, amx.pack_bf16_pairs(p, q))
        p, q = p - amx.truncate_to_bf16(p), q - amx.truncate_to_bf16(q)
    store(out + 3 * VECTOR_BYTES, p)
    store(out + 4 * VECTOR_BYTES, q)


def bfloat16(words: np.ndarray) -> np.ndarray:
    """The values of numbers of bfloat16, given as whole numbers of 16 bits."""
    return (words.astype(np.uint32) << 16).view(np.float32)


@given(arrays.arrays(np.float32, (2, 16), elements=NUMBERS))
def test_three_pieces_are_the_number_and_lie_in_pairs(pair: np.ndarray) -> None:
    out = np.empty((5, LANES), np.float32)
    x, y = np.ascontiguousarray(pair[0]), np.ascontiguousarray(pair[1])
    _cut(x.ctypes.data, y.ctypes.data, out.ctypes.data)
    words = out[:3].view(np.uint16).reshape(3, LANES, 2)
    pieces = bfloat16(words).astype(np.float64)
    np.testing.assert_array_equal(pieces.sum(0), pair.T.astype(np.float64))
    np.testing.assert_array_equal(out[3:], 0)


def product(a: np.ndarray, b: np.ndarray, depth: int) -> np.ndarray:
    """a (32, K) b (K, 32) as `products` has it, with the sum in parts of `depth` vectors."""
    from minigan_kernels.cpu.gemm.blocking import A_BLOCK_BYTES
    from minigan_kernels.cpu.gemm.gemm_amx import gemm_nn, workspace_bytes

    blocks = a.shape[1] // LANES
    tiles = np.ascontiguousarray(a.reshape(32, blocks, LANES).swapaxes(0, 1))
    rest = np.zeros((-(-blocks // 2) * 2 * LANES, 32), np.float32)
    rest[: len(b)] = b
    pieces = []
    for _ in range(3):
        cut = (rest.view(np.uint32) & 0xFFFF0000).view(np.float32)
        pieces.append(cut)
        rest = rest - cut
    steps = np.stack(pieces).view(np.uint32) >> 16  # (piece, K, 32)
    steps = steps.astype(np.uint16).reshape(
        3, -1, 2, TILE_ROWS, 2, TILE_ROWS
    )  # step, of a pair, row, half
    right = np.ascontiguousarray(steps.transpose(1, 0, 4, 3, 5, 2))
    assert right.nbytes == -(-blocks // 2) * K_STEP_BYTES
    out = np.empty((2, 32, LANES), np.float32)
    zero, work = np.zeros(LANES, np.float32), np.empty(workspace_bytes(depth, 32) + 64, np.uint8)
    place = -(-work.ctypes.data // 64) * 64
    gemm_nn(
        tiles.ctypes.data, 0, blocks * A_BLOCK_BYTES, blocks, right.ctypes.data, 0, 2, 1, depth,
        out.ctypes.data, 0, 1, False, zero.ctypes.data, place,
    )  # fmt: skip
    return out.swapaxes(0, 1).reshape(32, 32)


@pytest.mark.parametrize("length", [16, 32, 48, 256, 336])
@pytest.mark.parametrize("scale", [1.0, 2.0**-100])
def test_products_lose_no_more_than_those_of_float32(length: int, scale: float) -> None:
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

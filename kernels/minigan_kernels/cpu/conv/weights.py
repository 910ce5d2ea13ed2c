"""The layouts of a weight that the macrokernels read: (kH, kW, I, O), or (kH, kW, O, I)."""

from __future__ import annotations

import numpy as np

from ..compiler.jit import jit
from ..isa.simd import LANES
from ..runtime.allocator import empty
from ..runtime.native_task import NativeTask
from ..runtime.parallel import parallel_for
from ..runtime.workspace import address
from ..transpose import transpose_block

_CHUNKS = 16  # that the work is dealt out in
_MANY = 1 << 18  # weights that outgrow the caches of a core


def taps_of(w: np.ndarray) -> np.ndarray:
    """w (O, I, kH, kW) as (kH, kW, I, O): a view, if that is its order in memory."""
    filters, channels, kh, kw = w.shape
    columns = channels * kh * kw
    if (
        w.dtype == np.float32
        and w.flags.c_contiguous
        and w.size >= _MANY
        and filters % LANES == columns % LANES == 0
    ):  # as a matrix first: NumPy would read along the filters, a cache line for each value
        rows = transposed(w.reshape(1, 1, filters, columns)).reshape(channels, kh * kw, filters)
        return np.ascontiguousarray(rows.swapaxes(0, 1)).reshape(kh, kw, channels, filters)
    return np.ascontiguousarray(w.transpose(2, 3, 1, 0), np.float32)


def transposed(taps: np.ndarray) -> np.ndarray:
    """taps (kH, kW, I, O) as (kH, kW, O, I), for I and O of whole vectors."""
    kh, kw, rows, columns = taps.shape
    result = empty((kh, kw, columns, rows), np.float32)
    count = kh * kw * rows // LANES
    task = NativeTask(_transpose_blocks, address(taps), rows, columns, address(result))
    parallel_for(task, count, grain=-(-count // _CHUNKS))
    return result


@jit()
def _transpose_blocks(w: int, rows: int, columns: int, out: int, first: int, last: int) -> None:
    """Matrices w (taps, rows, columns) transposed, for the blocks of LANES rows first..last."""
    blocks = rows // LANES
    for block in range(first, last):
        tap, row = block // blocks, block % blocks * LANES
        for column in range(0, columns, LANES):
            source = w + 4 * ((tap * rows + row) * columns + column)
            target = out + 4 * ((tap * columns + column) * rows + row)
            transpose_block(source, 4 * columns, target, 4 * rows)

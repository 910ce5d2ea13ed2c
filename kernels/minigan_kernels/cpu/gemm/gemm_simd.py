"""The batched GEMM of the Winograd domain by SIMD; `gemm_amx` is its twin for AMX."""

from __future__ import annotations

from ..compiler.codegen import built
from ..compiler.jit import jit
from ..isa.simd import CACHE_LINE, LANES
from .blocking import A_BLOCK_BYTES, B_ROW_BYTES, C_PANEL_BYTES, MR_TN, MR_TN_HALF, NR_VECTORS
from .microkernel import microkernels
from .operands import Accumulators, GemmScratch, GemmSize, Operand

_kernels = {name: built(source) for name, source in microkernels().items()}
_nn, _nn_half = _kernels["microkernel_nn"], _kernels["microkernel_nn_half"]
_tn, _tn_add = _kernels["microkernel_tn"], _kernels["microkernel_tn_add"]
_tn_half, _tn_half_add = _kernels["microkernel_tn_half"], _kernels["microkernel_tn_half_add"]

_B_BLOCK_BYTES = LANES * B_ROW_BYTES


def workspace_bytes(k_blocks: int, rows: int) -> int:
    """None: operands are read where they are."""
    return 0


@jit()
def gemm_nn(
    a: Operand, b: Operand, c: Accumulators, size: GemmSize, add: bool, scratch: GemmScratch
) -> None:
    """c = a b in every plane, or c += a b with `add`.

    A plane of a is stored as [tile block][K block][MR][LANES], of b as [panel][K][NR], of c as
    [tile block][panel][vector of NR][MR]. `size.m` counts tile blocks, `size.k` and `size.kc` count
    K blocks of LANES channels.

    A panel's slice of K stays in L2 while all tile blocks pass by. Meanwhile the next panel's slice
    is prefetched, and the next plane's tiles: only one plane uses them, so nothing else brings them
    in.
    """
    panels = -(-size.n_vectors // NR_VECTORS)
    b_lines = -(-_B_BLOCK_BYTES // CACHE_LINE // size.m)  # per K block of a tile block
    for plane in range(size.planes):
        a_lines = -(-A_BLOCK_BYTES // CACHE_LINE // panels) if plane + 1 < size.planes else 0
        for start in range(0, size.k, size.kc):
            count = min(size.kc, size.k - start)
            next_slice = (start + count) % size.k * _B_BLOCK_BYTES  # offset in its plane
            if start + count == size.k:
                next_slice += b.plane_stride
            for p in range(panels):
                b_plane = b.address + plane * b.plane_stride
                b_slice = b_plane + p * b.block_stride + start * _B_BLOCK_BYTES
                b_next = b_slice + b.block_stride if p + 1 < panels else b_plane + next_slice
                half = size.n_vectors - p * NR_VECTORS <= NR_VECTORS // 2
                for block in range(size.m):
                    a_slice = a.address + plane * a.plane_stride + block * a.block_stride
                    a_slice += start * A_BLOCK_BYTES
                    tile = c.address + plane * c.plane_stride + block * c.block_stride
                    tile += p * C_PANEL_BYTES
                    a_next = a_slice + a.plane_stride + p * count * a_lines * CACHE_LINE
                    more = add or start > 0
                    if half:
                        _nn_half(
                            a_slice, b_slice, tile, count, b_next, b_lines, a_next, a_lines, more
                        )
                    else:
                        _nn(a_slice, b_slice, tile, count, b_next, b_lines, a_next, a_lines, more)
                    b_next += count * b_lines * CACHE_LINE


@jit()
def gemm_tn(a: Operand, b: Operand, c: Accumulators, size: GemmSize, scratch: GemmScratch) -> None:
    """c = a^T b in every plane.

    Planes of a and b are stored as [tile block][block of LANES channels][MR][LANES], of c as rows
    `c.block_stride` bytes apart. `size.m` counts channels, `size.k` and `size.kc` count tile
    blocks. A slice of K stays in L1.
    """
    for plane in range(size.planes):
        for start in range(0, size.k, size.kc):
            count = min(size.kc, size.k - start)
            for p in range(-(-size.n_vectors // NR_VECTORS)):
                b_slice = b.address + plane * b.plane_stride + start * b.block_stride
                b_slice += p * NR_VECTORS * A_BLOCK_BYTES
                half = size.n_vectors - p * NR_VECTORS <= NR_VECTORS // 2
                for row in range(0, size.m, MR_TN_HALF if half else MR_TN):
                    a_slice = a.address + plane * a.plane_stride + start * a.block_stride
                    a_slice += row // LANES * A_BLOCK_BYTES + row % LANES * 4
                    tile = c.address + plane * c.plane_stride + row * c.block_stride
                    tile += p * B_ROW_BYTES
                    _tile_tn(
                        a_slice, a.block_stride, b_slice, b.block_stride, count, tile,
                        c.block_stride, half, start > 0,
                    )  # fmt: skip


@jit()
def _tile_tn(
    a: int,
    a_stride: int,
    b: int,
    b_stride: int,
    blocks: int,
    c: int,
    row_stride: int,
    half: bool,
    add: bool,
) -> None:
    if half:
        if add:
            _tn_half_add(a, a_stride, b, b_stride, blocks, c, row_stride)
        else:
            _tn_half(a, a_stride, b, b_stride, blocks, c, row_stride)
    elif add:
        _tn_add(a, a_stride, b, b_stride, blocks, c, row_stride)
    else:
        _tn(a, a_stride, b, b_stride, blocks, c, row_stride)

"""Products in Winograd's domain by vectors; `matrix_products` is its twin for a matrix unit."""

from __future__ import annotations

from ..compiler.codegen import built
from ..compiler.jit import jit
from ..isa.simd import CACHE_LINE, LANES
from .blocking import A_BLOCK_BYTES, B_ROW_BYTES, MR_TN, MR_TN_HALF, NR_VECTORS
from .microkernel import register_tiles

_tiles = {name: built(source) for name, source in register_tiles().items()}
_multiply, _multiply_half = _tiles["multiply"], _tiles["multiply_half"]
_outer, _outer_add = _tiles["outer"], _tiles["outer_add"]
_outer_half, _outer_half_add = _tiles["outer_half"], _tiles["outer_half_add"]


def workspace_bytes(blocks: int, rows: int) -> int:
    """None: factors are read where they are."""
    return 0


@jit()
def gemm_nn(
    a: int,
    a_plane: int,
    a_step: int,
    blocks: int,
    b: int,
    b_plane: int,
    vectors: int,
    groups: int,
    depth: int,
    c: int,
    c_plane: int,
    planes: int,
    add: bool,
    zero: int,
    pieces: int,
) -> None:
    """c = a b in every plane, or c += a b with `add`, for `groups` groups of tiles and panels of
    `vectors` vectors of filters in all.

    The sum over `blocks` blocks of channels is cut in pieces of `depth`, so that a panel's piece
    stays near while all groups pass by. Meanwhile the next panel's piece is fetched, and the next
    plane's tiles: each is used by one plane only, so nothing else brings it near.
    """
    panel, panels = blocks * LANES * B_ROW_BYTES, -(-vectors // NR_VECTORS)
    c_step = panels * NR_VECTORS * A_BLOCK_BYTES
    b_lines = -(
        -LANES * B_ROW_BYTES // CACHE_LINE // groups
    )  # to fetch with each block of each group
    for plane in range(planes):
        a_lines = -(-A_BLOCK_BYTES // CACHE_LINE // panels) if plane + 1 < planes else 0
        for start in range(0, blocks, depth):
            count = min(depth, blocks - start)
            after = (
                (start + count) % blocks * LANES * B_ROW_BYTES
            )  # where the piece behind this one is
            if start + count == blocks:
                after += b_plane
            for p in range(panels):
                factor = b + plane * b_plane + p * panel + start * LANES * B_ROW_BYTES
                b_next = factor + panel if p + 1 < panels else b + plane * b_plane + after
                half = vectors - p * NR_VECTORS <= NR_VECTORS // 2
                for group in range(groups):
                    tiles = a + plane * a_plane + group * a_step + start * A_BLOCK_BYTES
                    target = c + plane * c_plane + group * c_step + p * NR_VECTORS * A_BLOCK_BYTES
                    a_next = tiles + a_plane + p * count * a_lines * CACHE_LINE
                    more = add or start > 0
                    if half:
                        _multiply_half(
                            tiles, factor, target, count, b_next, b_lines, a_next, a_lines, more
                        )
                    else:
                        _multiply(
                            tiles, factor, target, count, b_next, b_lines, a_next, a_lines, more
                        )
                    b_next += count * b_lines * CACHE_LINE


@jit()
def gemm_tn(
    a: int,
    a_plane: int,
    a_step: int,
    top: int,
    tall: int,
    b: int,
    b_plane: int,
    b_step: int,
    vectors: int,
    groups: int,
    depth: int,
    c: int,
    c_plane: int,
    c_row: int,
    planes: int,
    zero: int,
    pieces: int,
) -> None:
    """c = a^T b in every plane, for the channels from `top` on, `tall` of them, and `vectors`
    vectors of filters; c's rows lie `c_row` bytes apart.

    The sum over `groups` groups of tiles is cut in pieces of `depth`, which stay in the first
    cache.
    """
    for plane in range(planes):
        for start in range(0, groups, depth):
            count = min(depth, groups - start)
            for p in range(-(-vectors // NR_VECTORS)):
                factor = b + plane * b_plane + start * b_step + p * NR_VECTORS * A_BLOCK_BYTES
                half = vectors - p * NR_VECTORS <= NR_VECTORS // 2
                for row in range(0, tall, MR_TN_HALF if half else MR_TN):
                    channel = top + row
                    tiles = a + plane * a_plane + start * a_step
                    tiles += channel // LANES * A_BLOCK_BYTES + channel % LANES * 4
                    target = c + plane * c_plane + row * c_row + p * B_ROW_BYTES
                    _outer_product(
                        tiles, a_step, factor, b_step, count, target, c_row, half, start > 0
                    )


@jit()
def _outer_product(
    a: int,
    a_step: int,
    b: int,
    b_step: int,
    groups: int,
    c: int,
    row: int,
    half: bool,
    add: bool,
) -> None:
    if half:
        if add:
            _outer_half_add(a, a_step, b, b_step, groups, c, row)
        else:
            _outer_half(a, a_step, b, b_step, groups, c, row)
    elif add:
        _outer_add(a, a_step, b, b_step, groups, c, row)
    else:
        _outer(a, a_step, b, b_step, groups, c, row)

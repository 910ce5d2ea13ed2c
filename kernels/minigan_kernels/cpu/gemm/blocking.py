"""How a GEMM is blocked: the size of the microkernels' tiles, and of packed operands."""

from __future__ import annotations

from ..isa import simd
from ..isa.amx import AMX
from ..isa.simd import LANES, VECTOR_BYTES

# MR x NR of the microkernel c = a b. Of the tiles that fit in AVX-512's 32 registers with a power
# of two of columns, 6 x 4 vectors takes the fewest instructions per multiplication. That counts
# where another thread shares the core. A panel that is half empty has tiles of half the columns.
# With AMX a microkernel's tile is 2 x 2 of the unit's own tiles.
MR: int = 32 if AMX else 6 if LANES == 16 else simd.REGISTERS // 4
NR_VECTORS: int = 4 if LANES == 16 and not AMX else 2
MR_TN, MR_TN_HALF = 4, min(8, LANES)  # rows of c = a^T b, which are channels: they divide LANES
UNROLL = 4  # steps along K in the microkernel's loop body
KC_BLOCKS = 128 // LANES  # K blocks that are summed in registers before c is updated

A_BLOCK_BYTES = MR * VECTOR_BYTES  # LANES channels of a tile block
B_ROW_BYTES = NR_VECTORS * VECTOR_BYTES  # one step along K of a panel
C_PANEL_BYTES = NR_VECTORS * A_BLOCK_BYTES  # accumulators of one tile block and one panel

"""How matrix products are blocked: the size of the microkernels' tiles, and of packed operands."""

from __future__ import annotations

from ..isa import simd
from ..isa.amx import AMX
from ..isa.simd import LANES, VECTOR_BYTES

# Register tiles of Winograd's products. Of those that fit in AVX-512's 32 registers with a power of
# two of columns, 6 x 4 takes the fewest instructions a product, which counts where another thread
# shares the core. A panel of filters that is half empty has tiles of half the columns. With a
# matrix unit it is 2 x 2 of its own tiles.
MR: int = 32 if AMX else 6 if LANES == 16 else simd.REGISTERS // 4
NR_VECTORS: int = 4 if LANES == 16 and not AMX else 2
MR_TN, MR_TN_HALF = 4, min(8, LANES)  # rows, where they are channels: they divide LANES
UNROLL = 4  # steps of a register tile's loop
KC_BLOCKS = 128 // LANES  # blocks of channels in a sum

A_BLOCK_BYTES = MR * VECTOR_BYTES  # bytes of LANES channels of a group of tiles
B_ROW_BYTES = NR_VECTORS * VECTOR_BYTES  # bytes of a row of filters

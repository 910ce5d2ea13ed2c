"""The arguments of a batched GEMM: one matrix product c = a b, or c = a^T b, in every plane.

Addresses and strides are in bytes. Numba passes a NamedTuple of integers by value, so its members
stay in registers.
"""

from __future__ import annotations

from typing import NamedTuple


class Operand(NamedTuple):
    """A factor, stored in blocks within each plane."""

    address: int
    plane_stride: int
    block_stride: int  # from one tile block, or panel, to the next


class Accumulators(NamedTuple):
    """A result c, whose elements are float32 sums."""

    address: int
    plane_stride: int
    block_stride: int  # from one tile block (gemm_nn), or row (gemm_tn), to the next


class GemmSize(NamedTuple):
    """The extents of the matrices of one plane; each GEMM states the units of m and k."""

    planes: int
    m: int
    n_vectors: int
    k: int
    kc: int  # K is cut in slices of so many


class GemmScratch(NamedTuple):
    """Memory of a thread."""

    zeros: int  # address of a vector of zeros
    packed: int  # address of `workspace_bytes` bytes

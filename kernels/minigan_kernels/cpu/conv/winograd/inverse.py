"""The inverse transforms out of the Winograd domain: to outputs and to both gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import numpy as np

from ...compiler.codegen import built
from ...gemm.blocking import A_BLOCK_BYTES, B_ROW_BYTES, MR
from ...gemm.operands import Accumulators
from ...isa.simd import VECTOR_BYTES
from .addresses import addresses, tile_at
from .codegen import transforms
from .problem import WinogradProblem, compiled


class Destination(NamedTuple):
    """Addresses of a result, and of the rows that stand for what is outside it."""

    result: int
    discard: int  # written, never read
    zeros: int


class InverseTransforms(NamedTuple):
    """Compiled loops for one scheme F(m, r)."""

    outputs: Callable[..., None]
    image_gradients: Callable[..., None]
    weight_gradients: Callable[..., None]


@cache
def inverse_transforms(m: int, r: int) -> InverseTransforms:
    """The loops of F(m, r), compiled when first called."""
    return InverseTransforms(_outputs(m, r), _image_gradients(m, r), _weight_gradients(m, r))


def _outputs(m: int, r: int) -> Callable[..., None]:
    output, outputs_of = built(transforms(m, r)["output"]), addresses(m, r).outputs

    @partial(compiled, m=m, r=r)
    def outputs(
        p: WinogradProblem,
        to: Destination,
        c: Accumulators,
        first_block: int,
        blocks: int,
        panel: int,
        vectors: int,
    ) -> None:
        """Outputs of some tile blocks, for `vectors` vectors of filters from a panel on."""
        table = np.empty(m * m, np.int64)
        result = to.result + panel * B_ROW_BYTES
        for block in range(blocks):
            for row in range(MR):
                outputs_of(p, tile_at(p, first_block + block, row), result, to.discard, table)
                source = c.address + block * c.block_stride + row * VECTOR_BYTES
                output(source, c.plane_stride, A_BLOCK_BYTES, table, VECTOR_BYTES, vectors)

    return outputs


def _image_gradients(m: int, r: int) -> Callable[..., None]:
    image_gradient = built(transforms(m, r)["image_gradient"])
    _, pixels, earlier = addresses(m, r)
    planes = (m + r - 1) ** 2

    @partial(compiled, m=m, r=r)
    def image_gradients(
        p: WinogradProblem,
        to: Destination,
        c: Accumulators,
        first_block: int,
        blocks: int,
        phase: int,
        panel: int,
        vectors: int,
    ) -> None:
        """Add the tiles of some tile blocks to the pixels of a phase, for `vectors` vectors of
        channels from a panel on.
        """
        table, before = np.empty(planes, np.int64), np.empty(planes, np.int64)
        result = to.result + panel * B_ROW_BYTES
        for block in range(blocks):
            for row in range(MR):
                tile = tile_at(p, first_block + block, row)
                if not tile.exists:
                    continue
                pixels(p, tile, phase, result, to.discard, table)
                earlier(tile, table, to.discard, to.zeros, before)
                source = c.address + block * c.block_stride + row * VECTOR_BYTES
                image_gradient(
                    source, c.plane_stride, A_BLOCK_BYTES, before, table, VECTOR_BYTES, vectors
                )

    return image_gradients


def _weight_gradients(m: int, r: int) -> Callable[..., None]:
    weight_gradient = built(transforms(m, r)["weight_gradient"])

    @partial(compiled, m=m, r=r)
    def weight_gradients(
        p: WinogradProblem,
        to: Destination,
        c: Accumulators,
        first_row: int,
        rows: int,
        panel: int,
        vectors: int,
    ) -> None:
        """Weight gradients (kernel, kernel, channels, filters) of some rows of all phases'
        channels, for `vectors` vectors of filters from a panel on.
        """
        table = np.empty(r * r, np.int64)
        for row in range(rows):
            phase, channel = (first_row + row) // p.channels, (first_row + row) % p.channels
            for u in range(r):
                for v in range(r):
                    y, x = p.stride * u + phase // p.stride, p.stride * v + phase % p.stride
                    tap = to.result + panel * B_ROW_BYTES
                    tap += 4 * ((y * p.kernel + x) * p.channels + channel) * p.filters
                    known = y < p.kernel and x < p.kernel
                    table[u * r + v] = tap if known else to.discard
            source = c.address + row * c.block_stride
            weight_gradient(source, c.plane_stride, VECTOR_BYTES, table, VECTOR_BYTES, vectors)

    return weight_gradients

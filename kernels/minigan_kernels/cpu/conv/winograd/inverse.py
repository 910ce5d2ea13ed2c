"""The inverse transforms out of the Winograd domain: to outputs and to both gradients.

The epilogue is applied to an output while it is in registers. The tiles of an image gradient
overlap and are added up, so there it is applied to a pixel in cache, behind the last tile that is
added to it.
"""

# mypy: disable-error-code="call-arg"
from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import numpy as np

from ...compiler.codegen import built
from ...gemm.blocking import A_BLOCK_BYTES, B_ROW_BYTES, MR
from ...gemm.operands import Accumulators
from ...isa.simd import VECTOR_BYTES, load, store
from .addresses import Tile, addresses, tile_at
from .codegen import transforms
from .epilogue import BiasLeakyReLU, bias_leaky_relu
from .problem import WinogradProblem, compiled


class Destination(NamedTuple):
    """Addresses of a result, and of the rows that stand for what is outside it."""

    result: int
    discard: int  # written, never read
    zeros: int


class InverseTransforms(NamedTuple):
    """Compiled loops for one scheme F(m, r), with or without the epilogue."""

    outputs: Callable[..., None]
    image_gradients: Callable[..., None]
    weight_gradients: Callable[..., None]


@cache
def inverse_transforms(m: int, r: int, fused: bool) -> InverseTransforms:
    """The loops of F(m, r), compiled when first called."""
    return InverseTransforms(
        _outputs(m, r, fused), _image_gradients(m, r, fused), _weight_gradients(m, r)
    )


def _outputs(m: int, r: int, fused: bool) -> Callable[..., None]:
    sources = transforms(m, r)
    output = built(sources["output"])
    output_epilogue = built(sources["output_epilogue"], bias_leaky_relu=bias_leaky_relu)
    outputs_of = addresses(m, r).outputs

    @partial(compiled, m=m, r=r, fused=fused)
    def outputs(
        p: WinogradProblem,
        to: Destination,
        c: Accumulators,
        first_block: int,
        blocks: int,
        panel: int,
        vectors: int,
        epilogue: BiasLeakyReLU,
    ) -> None:
        """Outputs of some tile blocks, for `vectors` vectors of filters from a panel on."""
        table, slope = np.empty(m * m, np.int64), epilogue.slope
        result, bias = to.result + panel * B_ROW_BYTES, epilogue.bias + panel * B_ROW_BYTES
        for block in range(blocks):
            for row in range(MR):
                outputs_of(p, tile_at(p, first_block + block, row), result, to.discard, table)
                source = c.address + block * c.block_stride + row * VECTOR_BYTES
                if fused:
                    output_epilogue(
                        source, c.plane_stride, A_BLOCK_BYTES, table, VECTOR_BYTES, bias, slope,
                        vectors,
                    )  # fmt: skip
                else:
                    output(source, c.plane_stride, A_BLOCK_BYTES, table, VECTOR_BYTES, vectors)

    return outputs


def _image_gradients(m: int, r: int, fused: bool) -> Callable[..., None]:
    image_gradient = built(transforms(m, r)["image_gradient"])
    _, pixels, earlier = addresses(m, r)
    size = m + r - 1
    planes = size**2

    @partial(compiled, m=m, r=r, fused=fused)
    def finish_pixels(
        p: WinogradProblem, tile: Tile, table: np.ndarray, vectors: int, bias: int, slope: float
    ) -> None:
        """Apply the epilogue to the pixels that no later tile is added to."""
        for i in range(m if tile.y + 1 < p.tiles_down else size):
            for j in range(m if tile.x + 1 < p.tiles_across else size):
                for k in range(0, vectors * VECTOR_BYTES, VECTOR_BYTES):
                    place = table[i * size + j] + k
                    store(place, bias_leaky_relu(load(place), load(bias + k), slope))

    @partial(compiled, m=m, r=r, fused=fused)
    def image_gradients(
        p: WinogradProblem,
        to: Destination,
        c: Accumulators,
        first_block: int,
        blocks: int,
        phase: int,
        panel: int,
        vectors: int,
        epilogue: BiasLeakyReLU,
    ) -> None:
        """Add the tiles of some tile blocks to the pixels of a phase, for `vectors` vectors of
        channels from a panel on.
        """
        table, before = np.empty(planes, np.int64), np.empty(planes, np.int64)
        result, bias = to.result + panel * B_ROW_BYTES, epilogue.bias + panel * B_ROW_BYTES
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
                if fused:
                    finish_pixels(p, tile, table, vectors, bias, epilogue.slope)

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

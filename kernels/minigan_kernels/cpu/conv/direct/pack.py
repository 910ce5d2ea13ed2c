"""Packing: lines of images as a band that stays in L2, and weights as panels."""

# mypy: disable-error-code="call-arg, var-annotated"
from __future__ import annotations

from typing import NamedTuple

from ...compiler.jit import jit
from ...isa.simd import load_int64, load_scalar, store_scalar
from .microkernel import NR, NR_BYTES, clear, move


class Band(NamedTuple):
    """How lines of images are packed: as [plane][image] or [image][plane], then [line].

    A plane is some channels side by side. A packed line is `left` zeros, `pixels` times `width`
    floats, and `right` zeros. Strides are in bytes, from one to the next.
    """

    image_stride: int  # of the source, as the next two
    line_stride: int
    pixel_stride: int
    height: int  # lines of the source; those above and below are zeros
    start_bytes: int  # from the start of a line to the first pixel to pack
    width: int
    left: int
    pixels: int
    right: int
    packed_image_stride: int
    packed_plane_stride: int
    packed_line_stride: int
    channels: int  # address of a table [plane][float]: bytes from a pixel to each of its channels
    channels_stride: int  # from one plane's part of it to the next
    contiguous: int  # address of a table: 1 for a plane whose channels are neighbours, else 0


@jit()
def pack_band(
    p: Band, source: int, plane: int, planes: int, images: int, top: int, lines: int, packed: int
) -> None:
    """Pack `lines` lines from line `top` on, of `images` images and of `planes` planes from `plane`
    on.
    """
    for n in range(images):
        for k in range(planes):
            channels = p.channels + (plane + k) * p.channels_stride
            contiguous = load_int64(p.contiguous + 8 * (plane + k))
            for line in range(lines):
                target = packed + n * p.packed_image_stride
                target += k * p.packed_plane_stride + line * p.packed_line_stride
                y = top + line
                if not 0 <= y < p.height:
                    clear(target, p.left + p.pixels * p.width + p.right)
                    continue
                x = source + n * p.image_stride + y * p.line_stride + p.start_bytes
                clear(target, p.left)
                target += 4 * p.left
                if contiguous:
                    for pixel in range(p.pixels):
                        move(x + pixel * p.pixel_stride + load_int64(channels), target, p.width)
                        target += 4 * p.width
                else:  # channel by channel: each is a line of its own in memory
                    for c in range(p.width):
                        at, to = x + load_int64(channels + 8 * c), target + 4 * c
                        for _ in range(p.pixels):
                            store_scalar(to, load_scalar(at))
                            at += p.pixel_stride
                            to += 4 * p.width
                    target += 4 * p.width * p.pixels
                clear(target, p.right)


@jit()
def pack_panels(
    w: int,
    row_stride: int,
    order: int,
    rows: int,
    columns: int,
    packed: int,
    first: int,
    last: int,
) -> None:
    """Pack the panels first..last of a matrix w with `columns` columns, filled up with zeros.

    `order` is the address of a table with the number of each of the `rows` rows to pack.
    """
    for panel in range(first, last):
        width = min(NR, columns - panel * NR)
        target = packed + panel * rows * NR_BYTES
        for row in range(rows):
            source = w + load_int64(order + 8 * row) * row_stride + panel * NR_BYTES
            move(source, target, width)
            clear(target + 4 * width, NR - width)
            target += NR_BYTES

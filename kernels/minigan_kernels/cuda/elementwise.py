"""Arrays as the vectorised elementwise and per-channel kernels see them; see src/elementwise.cuh.

Dense arrays are not copied, whether they are (N, C, H, W) or channels last. A vector is 16 bytes
where every array's address and size allow it, else one value.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from .launch import Kernel, address, blocks_for, dense, empty

THREADS = 256
_C_TYPES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
_THREAD_VECTORS = 8  # at least, so that merging sums at the end is a small part of a block's work
_MAX_CHUNKS = 1024  # of a channel: with so many blocks even one channel fills a GPU
_LINE_BYTES = 128  # that neighbouring columns should fill
_FIELDS = ("inner", "chunk_positions", "columns", "block_columns", "chunks", "channels_last")
_LAYOUT = np.dtype([("positions", np.int64), *((name, np.int32) for name in _FIELDS)])


@cache
def kernel(file: str, name: str, c_type: str, width: int, merged: int = 0, **more: Any) -> Kernel:
    """Kernel `name` for vectors of `width` values; `merged` doubles a value go to shared memory."""
    shared = merged * 8 * width * THREADS
    return Kernel(file, name, threads=THREADS, shared=shared, T=c_type, V=width, **more)


class Flat(NamedTuple):
    """Arrays of one shape, value by value, in the memory order of the first one."""

    arrays: list[Any]  # vectors
    shape: tuple[int, ...]  # in memory order
    order: list[int]  # axes from the slowest to the fastest

    @property
    def width(self) -> int:
        return _width(self.arrays, math.prod(self.shape))

    def launch(self, file: str, name: str, *options: Any) -> Any:
        """The result of a kernel (arrays ..., result, vectors, options ...)."""
        first, width = self.arrays[0], self.width
        out = empty(self.shape, first.dtype, like=first)
        size = out.size // width
        run = kernel(file, name, c_type_of(first.dtype), width)
        run(blocks_for(size, THREADS), *self.arrays, out.reshape(-1), np.int64(size), *options)
        return out.transpose(sorted(range(out.ndim), key=self.order.__getitem__))


def flat(*arrays: Any) -> Flat:
    """`arrays` of one shape in one dtype; those in another memory order than the first are copied.

    Raises:
        ValueError: if the shapes differ.
    """
    same = matched(*arrays)
    order = memory_order(same[0])
    views = [dense(a.transpose(order)) for a in same]
    return Flat([v.reshape(-1) for v in views], views[0].shape, order)


class Images(NamedTuple):
    """Arrays (N, C, ...) of one shape as (outer, columns, inner) vectors, in the first's order."""

    arrays: list[Any]  # dense
    shape: tuple[int, ...]
    last: bool  # channels last
    width: int
    layout: np.ndarray  # struct Layout

    @property
    def dtype(self) -> np.dtype:
        return self.arrays[0].dtype

    @property
    def chunks(self) -> int:
        return int(self.layout["chunks"])

    def empty(self) -> Any:
        """An array for the result of a kernel, in the images' memory order."""
        like = self.arrays[0]
        out = empty(like.shape, like.dtype, like=like)
        return out.transpose(0, 3, 1, 2) if self.last else out

    def per_channel(self, *vectors: Any) -> list[Any]:
        """`vectors` (C,) in the images' dtype.

        Raises:
            ValueError: if one is not (C,).
        """
        expected = self.shape[1:2]
        for vector in vectors:
            if vector.shape != expected:
                raise ValueError(f"one value a channel {expected} expected, not {vector.shape}")
        return [dense(vector.astype(self.dtype, copy=False)) for vector in vectors]

    def launch(self, file: str, name: str, *arguments: Any, merged: int = 0, **more: Any) -> None:
        """A kernel over all columns and chunks; `layout` is among its arguments."""
        tiles = math.ceil(self.layout["columns"] / self.layout["block_columns"])
        run = kernel(file, name, c_type_of(self.dtype), self.width, merged, **more)
        run((tiles * self.chunks,), *arguments)

    def partial(self, doubles: int) -> Any:
        """An array (C, chunks, doubles) for what each block has of each channel."""
        shape = self.shape[1], self.chunks, doubles
        return empty(shape, np.float64, like=self.arrays[0])

    def total(self, partial: Any) -> Any:
        """Sums (K, C) of partial (C, chunks, K)."""
        channels, chunks, count = partial.shape
        out = empty((count, channels), self.dtype, like=partial)
        run = kernel("channel_sums", "total", c_type_of(self.dtype), 1, SUMS=count)
        run(blocks_for(32 * channels, THREADS), partial, out, np.int32(channels), np.int32(chunks))
        return out


def images(*arrays: Any, wide: bool = True) -> Images:
    """`arrays` of one shape and dtype; those in another memory order than the first are copied.

    Unless `wide`, a vector is one value.

    Raises:
        ValueError: if the shapes differ, or are not (N, C, ...).
    """
    same = matched(*arrays)
    first, shape = same[0], arrays[0].shape
    if first.ndim < 2:
        raise ValueError(f"an array of channels must be (N, C, ...), but has shape {shape}")
    n, channels, inner = shape[0], shape[1], math.prod(shape[2:])
    last = is_channels_last(first)
    views = [dense(a.transpose(0, 2, 3, 1) if last else a) for a in same]
    outer, inner, channelwise = (n * inner, 1, True) if last or inner == 1 else (n, inner, False)
    if channels == 1 and first.size < 2**31:
        outer, inner, channelwise = 1, outer * inner, False
    width = _width(views, channels if channelwise else inner) if wide else 1
    columns, inner = (channels // width, 1) if channelwise else (channels, inner // width)
    block_columns = 1
    if channelwise:  # a power of two
        fitting = 1 << (max(1, columns) - 1).bit_length()
        block_columns = min(_LINE_BYTES // (width * first.itemsize), fitting)
    rows, positions = THREADS // block_columns, outer * inner
    chunks = min(_MAX_CHUNKS, max(1, math.ceil(positions / (rows * _THREAD_VECTORS))))
    chunk = math.ceil(positions / (chunks * rows)) * rows
    numbers = positions, max(1, inner), chunk, columns, block_columns, chunks, channelwise
    return Images(views, shape, last, width, np.array(numbers, _LAYOUT))


def matched(*arrays: Any) -> list[Any]:
    """`arrays` in one dtype.

    Raises:
        ValueError: if the shapes differ.
    """
    shape, dtype = arrays[0].shape, np.result_type(*(a.dtype for a in arrays))
    for array in arrays[1:]:
        if array.shape != shape:
            raise ValueError(f"the arrays must have one shape, but have {shape} and {array.shape}")
    return [a.astype(dtype, copy=False) for a in arrays]


def is_channels_last(x: Any) -> bool:
    """Whether x is (N, C, H, W) over dense memory (N, H, W, C), and may be C-contiguous as well."""
    return x.ndim == 4 and bool(x.transpose(0, 2, 3, 1).flags.c_contiguous)


def memory_order(x: Any) -> list[int]:
    """Axes of x from the slowest to the fastest."""
    order = list(range(x.ndim))
    return order if x.flags.c_contiguous else sorted(order, key=lambda i: -abs(x.strides[i]))


def c_type_of(dtype: np.dtype) -> str:
    """The C++ type of numbers of this dtype.

    Raises:
        TypeError: if it is neither float32 nor float64.
    """
    if dtype not in _C_TYPES:
        raise TypeError(f"kernels on a GPU compute in float32 and float64, not in {dtype}")
    return _C_TYPES[dtype]


def _width(arrays: list[Any], size: int) -> int:
    """Values in a vector; the address of a new array is always a multiple of 16 bytes."""
    width = 16 // arrays[0].itemsize
    aligned = all(address(array) % 16 == 0 for array in arrays)
    return width if aligned and size and size % width == 0 else 1

"""A caching allocator for results: a block is reused as soon as the last array in it has died.

A fresh large array comes from the operating system, and touching its pages for the first time costs
more than the arithmetic of most kernels. So arrays of at least POOLED bytes are views of blocks
that this module keeps. They are ordinary arrays in every way. A block has pages of its own, for the
C library's heap would keep the memory between arrays that live longer.

An array refers to its block, so a block is free when nothing but the pool refers to it. Nobody has
to give anything back, and nothing can go wrong between threads, after a fork or at exit. A request
takes the smallest free block that is large enough, but none of more than twice its size. What the
pool holds is bounded:

* Before the pool grows, free blocks go back to the system, the longest unused first. This ends when
  all blocks together exceed the recent peak of use by no more than a sixteenth and the reserve,
  SPARE bytes at first. (The recent peak is that of this EPOCH of requests and the last. Use is
  counted whenever the pool grows.) If a freed size is requested again soon, without growth in use,
  the reserve is enlarged by that size. The pool never holds more than twice the recent peak.
* A block that nobody took during a whole EPOCH of requests goes back when the EPOCH ends.

A training step requests the same sizes again and again, so after the first few it gets all its
memory from here. A program that moves on to other shapes soon holds none of the old ones.
"""

from __future__ import annotations

import math
import mmap
import os
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from contextlib import suppress
from sys import getrefcount
from typing import Any

import numpy as np

from ... import memo

ALIGNMENT = 64  # bytes: a cache line, and the widest vector
POOLED = 1 << 16  # bytes
EPOCH = 4096  # requests
SPARE = 1 << 23  # bytes
HUGE = 1 << 22  # bytes: NumPy asks for huge pages too from this size on


class Block(np.ndarray):
    """Memory of the pool: the base of the arrays in it, which nobody else refers to."""

    __slots__ = ("capacity", "taken")

    capacity: int  # bytes
    taken: int  # the number of the request that took it last


memo.OWNERS.add(Block)


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array like `numpy.empty`'s, C-contiguous."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < POOLED or dtype.hasobject:
        return np.empty(shape, dtype)
    block = _pool.take(size)
    return np.ndarray(shape, dtype, block)


def empty_image(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array of `shape` (N, C, H, W) over channels-last memory (N, H, W, C)."""
    n, c, h, w = shape
    return empty((n, h, w, c), dtype).transpose(0, 3, 1, 2)


def empty_like(x: np.ndarray) -> np.ndarray:
    """An array of x's shape and dtype, in x's memory order if x is dense, else C-contiguous."""
    if x.flags.c_contiguous:
        return empty(x.shape, x.dtype)
    if is_channels_last(x):
        return empty_image(x.shape, x.dtype)
    order = sorted(range(x.ndim), key=lambda i: -x.strides[i])
    if not x.transpose(order).flags.c_contiguous:
        return empty(x.shape, x.dtype)
    inverse = sorted(range(x.ndim), key=order.__getitem__)
    return empty(tuple(x.shape[i] for i in order), x.dtype).transpose(inverse)


def is_channels_last(x: np.ndarray) -> bool:
    """Whether x is (N, C, H, W) over dense memory (N, H, W, C).

    With C == 1 or H == W == 1 it may be C-contiguous as well.
    """
    return x.ndim == 4 and x.transpose(0, 2, 3, 1).flags.c_contiguous


class _Pool:
    """Blocks by size. Only growing and shrinking take the lock; see `_free`."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # not Lock: a signal handler or finaliser may compute too
        self.blocks: dict[int, list[Block]] = {}
        self.sizes: list[int] = []  # of all blocks, ascending
        self.requests = 0
        self.held = 0  # bytes of all blocks together
        self.most_used = self.most_used_before = 0  # peak bytes in use, in this EPOCH and the last
        self.spare = SPARE  # bytes: the reserve
        self.gone: dict[int, int] = {}  # sizes freed in this EPOCH -> the recent peak at that time

    def take(self, size: int) -> Block:
        """A block of at least `size` bytes."""
        self.requests += 1
        if self.requests % EPOCH == 0:
            self._end_epoch()
        step = 1 << (size.bit_length() - 5)  # a sixteenth at most
        size = -(-size // step) * step
        block = self._fitting(size)
        if block is None:
            block = self._fresh(size)
        block.taken = self.requests
        return block

    def _fitting(self, size: int) -> Block | None:
        sizes = self.sizes  # another thread may replace the list, but never changes it
        for capacity in sizes[bisect_left(sizes, size) : bisect_right(sizes, 2 * size)]:
            if found := _free(self.blocks.get(capacity, ()), 1):
                return found[0]
        return None

    def _fresh(self, size: int) -> Block:
        with self.lock:
            free = self._all_free()
            used = size + self.held - sum(block.capacity for block in free)
            self.most_used = max(self.most_used, used)
            most = max(self.most_used, self.most_used_before)
            if self.gone.pop(size, 0) == most:
                self.spare += size
            allowed = most + min(most, most // 16 + self.spare)
            while free and self.held + size > allowed:
                block = free.pop()
                self.gone[block.capacity] = most
                self._drop(block)
            block = Block(size, np.uint8, _pages(size))
            block.capacity = size
            self.blocks.setdefault(size, []).append(block)
            self.held += size
            self.sizes = sorted(self.blocks)
        return block

    def _end_epoch(self) -> None:
        with self.lock:
            free = self._all_free()
            while free and free[-1].taken <= self.requests - EPOCH:
                self._drop(free.pop())
            self.gone.clear()
            self.most_used_before, self.most_used = (
                self.most_used,
                self.held - sum(block.capacity for block in free),
            )

    def _all_free(self) -> list[Block]:
        """The free blocks, the longest unused last."""
        free = [block for blocks in self.blocks.values() for block in _free(blocks, len(blocks))]
        return sorted(free, key=lambda block: -block.taken)

    def _drop(self, block: Block) -> None:
        left = [other for other in self.blocks.pop(block.capacity) if other is not block]
        if left:
            self.blocks[block.capacity] = left
        self.held -= block.capacity
        self.sizes = sorted(self.blocks)


def _pages(size: int) -> mmap.mmap:
    """Fresh memory from the system, which gets it back when nothing refers to it any more."""
    if not (hasattr(mmap, "MAP_PRIVATE") and hasattr(mmap, "MAP_ANONYMOUS")):  # Windows
        return mmap.mmap(-1, size)
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if size >= HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a system without huge pages
            pages.madvise(mmap.MADV_HUGEPAGE)
    return pages


def _free(blocks: Sequence[Block], most: int) -> list[Block]:
    """The first free blocks, at most `most`: only the pool, and the variable here, refer to them.

    Threads that look at the same block count each other's references, and both go on to the next.
    """
    free = []
    for block in blocks:
        if getrefcount(block) <= _alone:
            free.append(block)
            if len(free) == most:
                break
    return free


# What `_free` counts for a free block; versions of Python differ in the references of a call.
_alone = 0
_probe = [Block(1, np.uint8)]
while not _free(_probe, 1):
    _alone += 1

_pool = _Pool()


def _after_fork() -> None:
    _pool.lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

"""The pool that large results come from: arrays like any other, and memory that is used again."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest
from minigan_kernels.cpu.runtime import allocator
from minigan_kernels.cpu.runtime.allocator import (
    ALIGNMENT,
    EPOCH,
    POOLED,
    SPARE,
    Block,
    empty,
    empty_image,
    empty_like,
    is_channels_last,
)

LARGE = (POOLED // 4,)  # of float32


@pytest.fixture(autouse=True)
def pool(monkeypatch: pytest.MonkeyPatch) -> allocator._Pool:
    fresh = allocator._Pool()
    monkeypatch.setattr(allocator, "_pool", fresh)
    return fresh


def place(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def blocks(pool: allocator._Pool) -> int:
    return sum(map(len, pool.blocks.values()))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, bool])
@pytest.mark.parametrize("shape", [(300, 500), (70_001, 9), (2, 0, 3), (), (3,)])
def test_arrays_are_ordinary(shape: tuple[int, ...], dtype: type) -> None:
    x = empty(shape, dtype)
    assert type(x) is np.ndarray
    assert (x.shape, x.dtype) == (shape, dtype)
    assert x.flags.c_contiguous
    assert x.flags.writeable
    x[...] = 1
    assert x.sum() == x.size
    assert type(x[None]) is type(x.T) is type(x.copy()) is np.ndarray
    x.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        x[...] = 0
    x.flags.writeable = True
    x[...] = 0
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(x)), x)


def test_large_arrays_begin_at_a_cache_line() -> None:
    for size in range(POOLED, 4 * POOLED, 1000):
        assert place(empty((size,), np.uint8)) % ALIGNMENT == 0


def test_memory_is_used_again_once_the_last_view_has_died(pool: allocator._Pool) -> None:
    x = empty((64, 1024), np.float32)
    where = place(x)
    view = x.T[5:, ::2]
    del x
    other = empty((64, 1024), np.float32)
    assert place(other) != where
    del view
    again = empty((1024, 64), np.float32)
    assert place(again) == where
    assert blocks(pool) == 2


def test_whoever_can_reach_the_memory_keeps_it() -> None:
    x = empty(LARGE, np.float32)
    x[...] = 7
    reachers = [memoryview(x), np.frombuffer(x, np.uint8), x.view(np.int32).reshape(2, -1), x.base]
    del x
    while reachers:
        other = empty(LARGE, np.float32)
        other[...] = 0
        assert np.asarray(reachers[-1]).any()
        del other
        reachers.pop()


@pytest.mark.parametrize("size", [17 * POOLED, 32 * POOLED, 33 * POOLED, 63 * POOLED])
def test_a_block_serves_requests_of_more_than_half_its_size(
    size: int, pool: allocator._Pool
) -> None:
    x = empty((size,), np.uint8)
    where = place(x)
    del x
    for smaller in (size - size // 33, size * 3 // 4, size * 8 // 15):
        assert place(empty((smaller,), np.uint8)) == where
    empty((size * 7 // 15,), np.uint8)
    assert blocks(pool) == 2


def test_the_smallest_block_that_fits_is_taken() -> None:
    large, small, lesser = (empty((n * POOLED,), np.uint8) for n in (36, 28, 20))
    where = place(small)
    del large, small, lesser
    assert place(empty((24 * POOLED,), np.uint8)) == where


@pytest.mark.parametrize("size", [POOLED, POOLED + 1, 123_457, 10**6, 2**20 - 1, 2**20, 2**20 + 1])
def test_little_is_wasted(size: int, pool: allocator._Pool) -> None:
    empty((size,), np.uint8)
    assert size <= pool.held <= size * 17 / 16


def step() -> list[weakref.ref[np.ndarray]]:
    """As in training: results of a few sizes that live for a while, the same every time."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(POOLED, 40 * POOLED, 8)
    alive: list[np.ndarray] = []
    for _ in range(60):
        alive.append(empty((int(rng.choice(sizes)),), np.uint8))
        if len(alive) > 12:
            alive.pop(int(rng.integers(len(alive))))
    return [weakref.ref(x) for x in alive]


def test_a_step_that_repeats_takes_no_fresh_memory(
    pool: allocator._Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        step()
    held = pool.held

    def refuse(size: int) -> None:
        raise AssertionError("fresh memory was taken")

    monkeypatch.setattr(pool, "_fresh", refuse)
    for _ in range(3 * EPOCH // 60):  # across the ends of epochs
        assert all(x() is None for x in step())
    assert pool.held == held


def test_what_is_held_is_bounded_when_shapes_change(pool: allocator._Pool) -> None:
    for i in range(400):
        alive = [empty((POOLED * (10 + i) + j,), np.uint8) for j in range(3)]
        most = 2 * sum(x.nbytes for x in alive)  # the ones before still live as these are made
        assert pool.held <= min(2 * most, most * 17 / 16 + SPARE) * 17 / 16
        assert pool.held == sum(b.capacity for blocks in pool.blocks.values() for b in blocks)


def test_what_goes_back_and_is_wanted_again_is_kept_from_then_on(
    pool: allocator._Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [POOLED * 3**n for n in range(5, 9)]  # no block serves a request for another

    def turn() -> None:
        for size in sizes:
            empty((size,), np.uint8)

    fresh, took = pool._fresh, []
    monkeypatch.setattr(pool, "_fresh", lambda size: took.append(size) or fresh(size))
    turn()
    assert pool.held < sum(sizes)  # for one at a time, that would be too much
    turns = []
    for _ in range(9):
        took.clear()
        turn()
        turns.append(len(took))
    assert turns[0] > 0
    assert turns[-1] == 0
    assert pool.held <= 2 * pool.most_used


def test_memory_that_nobody_wants_any_more_goes_back(pool: allocator._Pool) -> None:
    huge = [empty((100 * POOLED,), np.uint8) for _ in range(4)]
    gone = [weakref.ref(x.base) for x in huge]
    del huge
    for _ in range(2 * EPOCH):
        empty((POOLED,), np.uint8)
    assert pool.held == POOLED
    gc.collect()
    assert all(block() is None for block in gone)


def test_threads_never_get_the_same_memory(pool: allocator._Pool) -> None:
    errors = []

    def work(number: int) -> None:
        for _ in range(300):
            arrays = [empty(LARGE, np.float32) for _ in range(3)]
            for i, x in enumerate(arrays):
                x[...] = 10 * number + i
            for i, x in enumerate(arrays):
                if not (x == 10 * number + i).all():
                    errors.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert blocks(pool) <= 2 * 24


def _in_child(x: np.ndarray) -> None:
    assert (x == 3).all()
    kept = [empty(LARGE, np.float32) for _ in range(3)]
    for y in kept:
        y[...] = 1
    os._exit(0 if (x == 3).all() else 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_goes_on_with_its_own(pool: allocator._Pool) -> None:
    x = empty(LARGE, np.float32)
    x[...] = 3
    with pool.lock:  # as another thread could hold it
        child = multiprocessing.get_context("fork").Process(target=_in_child, args=(x,))
        child.start()
    child.join(60)
    assert child.exitcode == 0
    assert (x == 3).all()


def test_nothing_is_said_at_exit() -> None:
    program = (
        "from minigan_kernels.cpu.runtime.allocator import empty; import atexit, numpy as np\n"
        "x = [empty((99999,), np.float32) for _ in range(3)]\n"
        "class Late:\n"
        "    def __del__(self, empty=empty, np=np): empty((99999,), np.float32)[...] = 1\n"
        "x.append(Late()); x.append(x); atexit.register(lambda: empty((99999,), np.float32))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_images_lie_channels_last() -> None:
    for shape in ((2, 3, 4, 5), (16, 8, 32, 32)):
        x = empty_image(shape, np.float32)
        _, c, h, w = shape
        assert x.shape == shape
        assert x.strides == tuple(4 * s for s in (c * h * w, 1, w * c, c))
        assert is_channels_last(x)
        assert not x.flags.c_contiguous


def test_what_is_channels_last() -> None:
    x = np.zeros((2, 3, 4, 5), np.float32)
    last = np.zeros((2, 4, 5, 3), np.float32).transpose(0, 3, 1, 2)
    assert not is_channels_last(x)
    assert is_channels_last(last)
    assert is_channels_last(x[:, :1].copy())  # one channel: both
    assert is_channels_last(x[:, :, :1, :1].copy())
    assert not is_channels_last(last[:, :2])
    assert not is_channels_last(last[..., ::-1])
    assert not is_channels_last(last[0])


@pytest.mark.parametrize("side", [5, 40])
def test_the_same_layout_again(side: int) -> None:
    x = np.zeros((3, 2, side, side + 1, 7), np.float32)
    for order in ((0, 1, 2, 3, 4), (4, 2, 3, 1, 0), (0, 3, 1, 2, 4)):
        y = x.transpose(order)
        z = empty_like(y)
        assert (z.shape, z.strides, z.dtype) == (y.shape, y.strides, y.dtype)
    for y in (x[:, :, 1:], np.broadcast_to(x[:1], x.shape), x[::-1]):
        z = empty_like(y)
        assert z.shape == y.shape
        assert z.flags.c_contiguous


def test_objects_are_not_pooled() -> None:
    x = empty((POOLED,), object)
    assert not isinstance(x.base, Block)

"""From shapes to the tables of `direct`'s loops: where they find and put their values.

Offsets are in bytes. They count from the first value that a task's first window sees, wherever that
lies: in the source itself, or in the part of it that was laid out anew.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ....checks import Pair, Window
from ...isa.simd import LANES
from .geometry import Blocks, Runs, backward, blocks, forward, joined, positions, runs
from .macrokernels import PHASE, Band, Job, Share, Spill
from .microkernel import DEEP, PANEL, ROWS, WIDE, Walk

_PIXELS = 512  # of outputs in a task: enough to use what is read from afar
_BAND = 1 << 19  # bytes that a task lays out, if it can: half of a second cache
_TASKS = 16  # enough for a fair share of the work on a few cores
_LEAST = 64  # pixels in a task nevertheless
_SUMMED = 1 << 20  # floats in all shares of a filter gradient
_SUMS = 1 << 17  # floats that a task of a filter gradient adds up
_DEALT = 16  # channels side by side there: a cache line

Shape = tuple[int, ...]


class Source(NamedTuple):
    """Images as a loop finds them."""

    copied: bool
    band: Band
    channels: np.ndarray
    consecutive: np.ndarray
    image: int  # steps, where the loop reads them
    plane: int
    line: int
    pixel: int
    size: int  # bytes of a copy


def _source(
    shape: Shape,
    strides: Shape,
    channels: np.ndarray,
    images: int,
    lines: int,
    pixels: Pair,
    *,
    in_place: bool = False,
    planes_first: bool = False,
) -> Source:
    """A copy of `images` images, `lines` lines and the `pixels` from the first to the last.

    channels[plane, k] are the channels of a plane of it. With `in_place`, the source itself.
    """
    (planes, width), (first, last) = channels.shape, pixels
    places = channels * strides[1]
    consecutive = (np.diff(places, axis=1) == 4).all(axis=1)
    if in_place:
        band = Band(0, 0, 0, 0, first * strides[3], 0, 0, 0, 0, 0, 0, 0)
        steps = strides[0], 0, strides[2], strides[3]
        return Source(False, band, places, consecutive, *steps, 0)
    begin, end = min(max(0, first), last), max(min(shape[3], last), first)
    if begin >= end:  # nothing but padding
        begin = end = last
    left, count, right = (begin - first) * width, end - begin, (last - end) * width
    pixel = 4 * width
    line = pixel * (last - first)
    image, plane = lines * line, images * lines * line
    if not planes_first:
        image, plane = planes * lines * line, lines * line
    run = width
    if planes == 1 and consecutive[0] and strides[3] == pixel:  # a line is one run
        run, count = count * width, min(count, 1)
    band = Band(
        strides[0], strides[2], strides[3], shape[2], begin * strides[3],
        run, left, count, right, image, plane, line,
    )  # fmt: skip
    return Source(
        True, band, places, consecutive, image, plane, line, pixel, images * planes * lines * line
    )


def _whole(channels: int, width: int) -> np.ndarray:
    """Channels dealt to planes of `width`; the last one repeats its last channel."""
    planes = -(-channels // width)
    return np.minimum(np.arange(planes * width), channels - 1).reshape(planes, width)


def _grouped(inputs: int, outputs: int, groups: int) -> np.ndarray:
    """For every input of a group a plane: what each output sees as that input."""
    each = inputs // groups
    return np.arange(outputs) // (outputs // groups) * each + np.arange(each)[:, None]


class Convolution(NamedTuple):
    """What `convolve` takes, and how its filters are packed."""

    job: Job
    blocks: Blocks
    source: Source
    phases: np.ndarray
    places: np.ndarray
    targets: np.ndarray
    runs: Runs
    rows: list[np.ndarray]  # of the filters, for each phase
    sums: int  # bytes


@lru_cache(512)
def convolution(
    x_shape: Shape,
    x_strides: Shape,
    y_shape: Shape,
    y_strides: Shape,
    window: Window,
    groups: int,
    transposed: bool,
) -> Convolution:
    """For outputs y of images x; `transposed`, for the gradient y by images, x that by outputs.

    More than one group is done lane by lane.
    """
    grids = (backward if transposed else forward)(window, (y_shape[2], y_shape[3]))
    (stride_y, stride_x), low, high = grids.stride, grids.low, grids.high
    lanewise = groups > 1
    each = x_shape[1] // groups
    channels = _grouped(x_shape[1], y_shape[1], groups) if lanewise else _whole(each, each)
    pixels = low[1], (grids.size[1] - 1) * stride_x + high[1] + 1

    def seen(lines: int) -> int:
        return (lines - 1) * stride_y + high[0] - low[0] + 1

    line = 4 * channels.size * (pixels[1] - pixels[0])
    total = x_shape[0] * grids.size[0] * grids.size[1]
    cut = blocks(
        x_shape[0],
        grids.size,
        min(_PIXELS, max(_LEAST, total // _TASKS)),
        lambda lines: line * seen(lines) <= _BAND,
    )
    in_place = (
        not lanewise
        and (each == 1 or x_strides[1] == 4)
        and low[0] >= 0
        and low[0] + seen(grids.size[0]) <= x_shape[2]
        and low[1] >= 0
        and pixels[1] <= x_shape[3]
    )
    source = _source(
        x_shape, x_strides, channels, cut.some, seen(cut.tall), pixels, in_place=in_place
    )
    step = source.pixel * grids.spacing if lanewise else 4
    phases, places, targets, parts, rows = [], [], [], [], []
    sizes = np.zeros(4, np.int64)  # of the tables, and of the filters, so far
    for grid in grids.parts:
        size = cut.some, min(cut.tall, grid.size[0]), grid.size[1]
        steps = source.image, stride_y * source.line, stride_x * source.pixel
        places.append(positions(size, steps))
        origin = grid.origin[0] * y_strides[2] + grid.origin[1] * y_strides[3]
        steps = y_strides[0], grid.step[0] * y_strides[2], grid.step[1] * y_strides[3]
        targets.append(origin + positions(size, steps))
        starts = [
            plane * source.plane + (y - low[0]) * source.line + (x - low[1]) * source.pixel
            for plane in range(len(channels))
            for _, y, x in grid.taps
        ]
        parts.append(runs(joined(starts, 1 if lanewise else each, step), step))
        taps, inputs = np.array([tap[0] for tap in grid.taps], np.int64), np.arange(each)
        order = taps * each + inputs[:, None] if lanewise else taps[:, None] * each + inputs
        rows.append(order.ravel())
        new = places[-1].size, parts[-1].offsets.size, parts[-1].pieces.size, order.size * PANEL
        phases.append((*grid.size, *sizes, *new[1:]))
        sizes += *new[:3], -(-y_shape[1] // WIDE) * new[3]
    job = Job(
        Walk(step, PANEL, lanewise, False), source.copied, len(channels),
        x_strides[0], x_strides[2], stride_y, -low[0], seen(1), y_shape[1], y_strides[0],
        grids.parts[0].step[0] * y_strides[2],
    )  # fmt: skip
    return Convolution(
        job, cut, source, np.array(phases, PHASE), np.concatenate(places), np.concatenate(targets),
        Runs(*map(np.concatenate, zip(*parts, strict=True))), rows,
        PANEL * (cut.some * cut.tall * grids.size[1] + ROWS),
    )  # fmt: skip


class Spillage(NamedTuple):
    """What `spill` takes, and sizes of its memory in bytes."""

    job: Spill
    blocks: Blocks
    source: Source
    places: np.ndarray
    targets: np.ndarray
    runs: Runs
    columns: int
    line: int
    sums: int


def spilling(window: Window, few: int) -> tuple[int, int, int]:
    """Taps down and across, filled up to whole strides, and floats that a pixel then spills."""
    down, across = (-(-k // s) * s for k, s in zip(window.kernel, window.stride, strict=True))
    return down, across, down * across * few


@lru_cache(512)
def spillage(
    x_shape: Shape, x_strides: Shape, y_shape: Shape, y_strides: Shape, window: Window
) -> Spillage:
    """For the gradient y by images with few channels, where x is that by outputs."""
    _, stride, padding, _ = window
    _, depth, height, width = x_shape
    down, across, columns = spilling(window, y_shape[1])
    up, beside = down // stride[0], across // stride[1]
    lines, spilt = (
        (size - 1 + p) // s + 1 for size, p, s in zip(y_shape[2:], padding, stride, strict=True)
    )
    wide = 4 * columns * (beside - 1 + max(width, spilt))
    cut = blocks(
        x_shape[0], (lines, 1), lines, lambda tall: (tall + up - 1) * wide <= _BAND // 2
    )._replace(some=1)
    most = min(cut.tall + up - 1, height)
    in_place = depth == 1 or x_strides[1] == 4
    source = _source(
        x_shape, x_strides, _whole(depth, depth), 1, most, (0, width), in_place=in_place
    )
    job = Spill(
        Walk(4, PANEL, False, False), source.copied, x_strides[0], x_strides[2], height,
        width, up, beside, *stride, *padding,
        spilt, y_shape[1], y_shape[2], y_shape[3], depth, columns, wide,
    )  # fmt: skip
    return Spillage(
        job, cut, source,
        positions((most, width), (source.line, source.pixel)),
        positions((most, width), (wide, 4 * columns)),
        runs([(0, depth)], 4),
        most * wide + PANEL,
        4 * spilt * stride[1] * y_shape[1] + PANEL,
        PANEL * (most * width + ROWS),
    )  # fmt: skip


class Correlation(NamedTuple):
    """What `correlate` takes, and sizes of its memory in bytes."""

    job: Share
    blocks: Blocks
    source: Source
    gradient: Source
    starts: np.ndarray
    places: np.ndarray
    targets: np.ndarray
    runs: Runs
    tasks: int
    sums: int


@lru_cache(512)
def correlation(
    x_shape: Shape,
    x_strides: Shape,
    g_shape: Shape,
    g_strides: Shape,
    window: Window,
    groups: int,
    pitch: int,
) -> Correlation:
    """For the filter gradient from images x and output gradients g, its rows `pitch` bytes apart.

    If there are shares, each has rows of its own without gaps. More than one group is done lane by
    lane.
    """
    (kh, kw), (sy, sx), (py, px), (dy, dx) = window
    n, filters, height, width = g_shape
    each = x_shape[1] // groups
    lanewise = groups > 1
    channels = (
        _grouped(x_shape[1], filters, groups) if lanewise else _whole(each, min(each, _DEALT))
    )
    planes, across = len(channels), -(-filters // WIDE)
    cut = blocks(n, (height, width), DEEP, lambda lines: True)
    chunks = cut.tasks
    sums = kh * kw * each * filters
    shares = max(1, min(_TASKS, _SUMMED // sums, chunks))
    deep, wide = planes, across
    while not lanewise:
        rows = kh * kw * each // -(-planes // deep)
        tasks = shares * -(-planes // deep) * -(-across // wide)
        if (tasks >= _TASKS and rows * wide * WIDE <= _SUMS) or deep == wide == 1:
            break
        if wide == 1 or (deep > 1 and rows > wide * WIDE):
            deep = -(-deep // 2)
        else:
            wide = -(-wide // 2)
    pixels = -px, (width - 1) * sx + (kw - 1) * dx + 1 - px
    seen = (kh - 1) * dy + 1
    source = _source(x_shape, x_strides, channels, cut.some, (cut.tall - 1) * sy + seen, pixels)
    in_place = (
        (filters == 1 or g_strides[1] == 4)
        and filters % (WIDE if lanewise else LANES) == 0
        and (height == 1 or g_strides[2] == width * g_strides[3])
        and (n == 1 or g_strides[0] == height * g_strides[2])
    )
    gradient = _source(
        g_shape, g_strides, _whole(filters, WIDE), cut.some, cut.tall, (0, width),
        in_place=in_place, planes_first=True,
    )  # fmt: skip
    if shares > 1:
        pitch = 4 * filters
    starts, places, targets = [(0, 0)], [], []
    for first in range(0, planes, deep):
        last = min(first + deep, planes)
        own = (
            np.arange(first, last)
            if lanewise
            else np.arange(first * _DEALT, min(last * _DEALT, each))
        )
        inner = (
            (own - first) * source.plane
            if lanewise
            else (own // _DEALT - first) * source.plane + own % _DEALT * 4
        )
        taps = positions((kh, kw), (dy * source.line, dx * source.pixel))
        places.append((taps[:, None] + inner).ravel())
        targets.append(((np.arange(kh * kw)[:, None] * each + own) * pitch).ravel())
        starts.append((last, starts[-1][1] + places[-1].size))
    step = sx * source.pixel
    lines = positions((cut.some, cut.tall), (source.image, sy * source.line))
    table = runs([(int(line), width) for line in lines], step)
    walk = Walk(step, gradient.pixel, lanewise, False)
    job = Share(
        walk, walk._replace(add=True), gradient.copied, x_strides[0], sy, py, seen,
        g_strides[0], g_strides[2], gradient.plane or PANEL, -(-width // DEEP),
        filters, wide, shares, 4 * sums,
    )  # fmt: skip
    return Correlation(
        job, cut, source, gradient, np.array(starts, np.int64), np.concatenate(places),
        np.concatenate(targets), table, shares * (len(starts) - 1) * -(-across // wide),
        PANEL * (max(p.size for p in places) + ROWS),
    )  # fmt: skip

"""The two contractions that every convolution and every matrix product comes down to.

`correlate` sums over the channels of a filter, `weight_gradient` over pixels. Both bring their
operands into the kernels' layout, and leave the result as a view of channels-last memory.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..shapes import Window
from .launch import blocks_for, empty, kernel, multiprocessors
from .layout import THREADS, WORDS, channels_last, grouped
from .plan import Plan, choose

_AXIS = np.dtype([(n, np.int32) for n in ("in", "out", "kernel", "stride", "padding", "dilation")])
_SIZES = ("images", "groups", "channels", "filters", "transposed", "splits")
_CONV = np.dtype([("h", _AXIS), ("w", _AXIS), *((name, np.int32) for name in _SIZES)])


def problem_of(
    source: tuple[int, ...],
    target: tuple[int, ...],
    window: Window,
    groups: int,
    *,
    transposed: bool,
    splits: int = 1,
) -> np.ndarray:
    """The struct Conv of conv.cuh, for images of shapes (N, H, W, C)."""
    axes = [(source[1 + i], target[1 + i], *(part[i] for part in window)) for i in range(2)]
    sizes = (source[0], groups, source[3] // groups, target[3] // groups, transposed, splits)
    return np.array((*axes, *sizes), _CONV)


def correlate(
    image: Any, w: Any, shape: tuple[int, ...], window: Window, groups: int, *, transposed: bool
) -> Any:
    """The convolution of `image` by w (O, C/groups, kH, kW), or its gradient by the input
    (transposed, and `image` is the output's gradient): an image of `shape` (N, C, H, W).
    """
    kind = np.result_type(image, w).type
    n, c, h, wide = shape
    steps = window.stride if transposed else (1, 1)  # phases, each a problem of its own
    phases, filters = math.prod(steps), c // groups
    rows = n * math.ceil(h / steps[0]) * math.ceil(wide / steps[1])
    channels = image.shape[1] // groups
    plan = choose(
        kind, rows, filters, channels * math.prod(window.kernel) // phases,
        products=phases * groups, channels=(channels,) if groups > 1 else (), few=True,
        multiprocessors=multiprocessors(image),
    )  # fmt: skip
    image = channels_last(image, plan.kind, plan.multiple)
    w = channels_last(grouped(w, groups, transposed=transposed), plan.kind, plan.multiple)
    y = _parts(plan, (n, h, wide, c), kind, image)
    problem = problem_of(
        image.shape, (n, h, wide, c), window, groups, transposed=transposed, splits=plan.splits
    )
    depth = phases * groups * plan.splits
    if plan.tile:
        tiles = (math.ceil(rows / plan.tile.m), math.ceil(filters / plan.tile.n), depth)
        file = "conv_6_tensor" if plan.tensor else "conv_5_pipelined"
        plan.product(file, "convolve")(tiles, image, w, y, problem)
    elif plan.multiple > 1:
        few = kernel("conv_few", "convolve", threads=THREADS)
        few((*blocks_for(rows * 32, THREADS), 1, depth), image, w, y, problem)
    else:
        naive = kernel("conv_1_naive", "convolve", threads=THREADS, T=WORDS[kind])
        naive((*blocks_for(rows * filters, THREADS), 1, depth), image, w, y, problem)
    return _whole(plan, y).transpose(0, 3, 1, 2)


def weight_gradient(x: Any, g: Any, shape: tuple[int, ...], window: Window, groups: int) -> Any:
    """The gradient of a convolution by its weight of `shape` (O, C/groups, kH, kW)."""
    kind = np.result_type(x, g).type
    filters, channels, kernel_h, kernel_w = shape[0] // groups, *shape[1:]
    plan = choose(
        kind, kernel_h * kernel_w * channels, filters, g.size // g.shape[1] if g.size else 0,
        products=groups, channels=(channels, filters) if groups > 1 else (),
        multiprocessors=multiprocessors(x),
    )  # fmt: skip
    x, g = (channels_last(each, plan.kind, plan.multiple) for each in (x, g))
    columns, rows = g.shape[3] // groups, x.shape[3] // groups  # now with padding
    dw = _parts(plan, (groups, kernel_h, kernel_w, rows, columns), kind, x)
    problem = problem_of(x.shape, g.shape, window, groups, transposed=False, splits=plan.splits)
    if plan.tile:
        height = kernel_h * kernel_w * rows
        tiles = math.ceil(height / plan.tile.m), math.ceil(columns / plan.tile.n)
        product = plan.product("conv_7_split", "convolve_dw")
        product((*tiles, groups * plan.splits), x, g, dw, problem)
    else:
        naive = kernel("conv_1_naive", "convolve_dw", threads=THREADS, T=WORDS[kind])
        naive(blocks_for(dw.size, THREADS), x, g, dw, problem)
    dw = _whole(plan, dw)[..., :channels, :filters]
    return dw.transpose(0, 4, 3, 1, 2).reshape(shape)


def _parts(plan: Plan, shape: tuple[int, ...], kind: type, like: Any) -> Any:
    return empty((plan.splits, *shape) if plan.splits > 1 else shape, kind, like=like)


def _whole(plan: Plan, parts: Any) -> Any:
    if plan.splits == 1:
        return parts
    out = empty(parts.shape[1:], np.float32, like=parts)
    reduce = kernel("reduce", "reduce", threads=THREADS)
    reduce(blocks_for(out.size, THREADS), parts, out, np.int32(plan.splits), np.int64(out.size))
    return out

"""The two contractions that every convolution and every matrix product comes down to.

`correlate` sums over the channels of a filter, `weight_gradient` over pixels. Both bring their
operands into the kernels' layout, and leave the result as a view of channels-last memory.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..derived import LARGE, leave
from ..shapes import Window
from .launch import blocks_for, empty, kernel, multiprocessors
from .layout import THREADS, WORDS, channels_last, grouped
from .norm import MOMENTS
from .plan import Plan, Work, choices, choose
from .tune import settle

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
) -> np.ndarray:
    """The struct Conv of conv.cuh, for images of shapes (N, H, W, C)."""
    axes = [(source[1 + i], target[1 + i], *(part[i] for part in window)) for i in range(2)]
    sizes = (source[0], groups, source[3] // groups, target[3] // groups, transposed, 1)
    return np.array((*axes, *sizes), _CONV)


def correlate(
    image: Any,
    w: Any,
    shape: tuple[int, ...],
    window: Window,
    groups: int,
    *,
    transposed: bool,
    normed: bool = False,
) -> Any:
    """The convolution of `image` by w (O, C/groups, kH, kW), or its gradient by the input
    (transposed, and `image` is the output's gradient): an image of `shape` (N, C, H, W).

    What may be `normed` is left with its moments, where a kernel has them at hand: `norm.moments`
    looks there first.
    """
    kind = np.result_type(image, w).type
    n, c, h, wide = shape
    steps = window.stride if transposed else (1, 1)  # phases, each a problem of its own
    phases, filters, channels = math.prod(steps), c // groups, image.shape[1] // groups
    rows = n * math.ceil(h / steps[0]) * math.ceil(wide / steps[1])
    work = Work(rows, filters, channels * math.prod(window.kernel) // phases, phases * groups)
    plan = choose(
        kind, work, channels=(channels,) if groups > 1 else (), few=True,
        multiprocessors=multiprocessors(image),
    )  # fmt: skip
    image = channels_last(image, plan.kind, plan.multiple)
    w = channels_last(grouped(w, groups, transposed=transposed), plan.kind, plan.multiple)
    target = n, h, wide, c
    problem = problem_of(image.shape, target, window, groups, transposed=transposed)
    if plan.tile:
        file = "conv_6_tensor" if plan.tensor else "conv_5_pipelined"
        normed &= 4 * math.prod(target) >= LARGE  # or the engine does not freeze it
        y, partial = _product(
            file, "convolve", plan, work, image, w, target, problem, phases if normed else 0
        )
        y = y.transpose(0, 3, 1, 2)
        if partial is not None:
            leave(y, MOMENTS, partial)
        return y
    y = empty(target, kind, like=image)
    if plan.multiple > 1:
        run = kernel("conv_few", "convolve", threads=THREADS)
        blocks = blocks_for(rows * 32, THREADS)
    else:
        run = kernel("conv_1_naive", "convolve", threads=THREADS, T=WORDS[kind])
        blocks = blocks_for(rows * filters, THREADS)
    run((*blocks, 1, work.products), image, w, y, problem)
    return y.transpose(0, 3, 1, 2)


def weight_gradient(x: Any, g: Any, shape: tuple[int, ...], window: Window, groups: int) -> Any:
    """The gradient of a convolution by its weight of `shape` (O, C/groups, kH, kW)."""
    kind = np.result_type(x, g).type
    filters, channels, kernel_h, kernel_w = shape[0] // groups, *shape[1:]
    taps, depth = kernel_h * kernel_w, g.size // g.shape[1] if g.size else 0
    plan = choose(
        kind, Work(taps * channels, filters, depth, groups),
        channels=(channels, filters) if groups > 1 else (), multiprocessors=multiprocessors(x),
    )  # fmt: skip
    x, g = (channels_last(each, plan.kind, plan.multiple) for each in (x, g))
    columns, rows = g.shape[3] // groups, x.shape[3] // groups  # now with padding
    target = groups, kernel_h, kernel_w, rows, columns
    problem = problem_of(x.shape, g.shape, window, groups, transposed=False)
    if plan.tile:
        work = Work(taps * rows, columns, depth, groups)
        dw, _ = _product("conv_7_split", "convolve_dw", plan, work, x, g, target, problem)
    else:
        dw = empty(target, kind, like=x)
        naive = kernel("conv_1_naive", "convolve_dw", threads=THREADS, T=WORDS[kind])
        naive(blocks_for(dw.size, THREADS), x, g, dw, problem)
    dw = dw[..., :channels, :filters]
    return dw.transpose(0, 4, 3, 1, 2).reshape(shape)


def _product(
    file: str,
    name: str,
    rule: Plan,
    work: Work,
    left: Any,
    right: Any,
    shape: tuple[int, ...],
    problem: np.ndarray,
    phases: int = 0,
) -> tuple[Any, Any]:
    """The sums of `work`, an array of `shape`, on the rule's tile or a measured one.

    And the moments of its last axis, for `norm.moments` to merge, if it is made in `phases` phases
    that are not split; else None.
    """

    def compute(plan: Plan) -> tuple[Any, Any]:
        assert plan.tile
        problem["splits"] = n = plan.splits
        y = empty((n, *shape) if n > 1 else shape, np.float32, like=left)
        x_blocks, y_blocks, products = work.grid(plan.tile)
        partial, outputs = None, [y]
        if phases and n == 1:
            partial = empty((shape[-1], phases * x_blocks, 3), np.float64, like=left)
        if name == "convolve":
            outputs.append(np.uint64(0) if partial is None else partial)  # 0: nowhere
        blocks = x_blocks, y_blocks, products * n
        plan.product(file, name)(blocks, left, right, *outputs, problem)
        if n == 1:
            return y, partial
        whole = empty(shape, np.float32, like=left)
        reduce = kernel("reduce", "reduce", threads=THREADS)
        reduce(blocks_for(whole.size, THREADS), y, whole, np.int32(n), np.int64(whole.size))
        return whole, None

    plans = choices(rule, work, multiprocessors=multiprocessors(left))
    return compute(settle(plans, file, name, problem, compute) if plans else rule)

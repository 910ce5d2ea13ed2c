"""The two contractions that every convolution and every matrix product comes down to.

`correlate` sums over the channels of a filter, `weight_gradient` over pixels. Both bring their
operands into the kernels' layout, and leave the result as a view of channels-last memory.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..checks import Window
from ..epilogue import Epilogue, check_bias
from ..memo import LARGE, attach
from . import activation
from .autotune import settle
from .elementwise import images
from .launch import blocks_for, dense, empty, kernel, multiprocessors
from .norm import MOMENTS
from .pack import THREADS, WORDS, channels_last, grouped
from .tiling import Plan, Work, choices, choose

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


class Ending(NamedTuple):
    """What becomes of a correlation's sums in the launch that computes them: they get a bias and
    an activation, or leave their moments, or neither.
    """

    bias: Any = None
    epilogue: Epilogue | None = None
    moments: bool = False

    @property
    def defines(self) -> dict[str, str]:
        """Macros of the kernels."""
        return {"ACTIVATION": f"end_in_{self.epilogue.activation}"} if self.epilogue else {}

    @property
    def slope(self) -> np.float32:
        """Of a leaky ReLU."""
        return np.float32((self.epilogue and self.epilogue.slope) or 0)

    def prepared(self, shape: tuple[int, ...], kind: type) -> Ending:
        """For an image of `shape` (N, C, H, W) in this kind of numbers.

        Raises:
            ValueError: if the bias is not (C,).
        """
        if not self.epilogue:  # moments are found again if the engine freezes the image
            return Ending(moments=self.moments and 4 * math.prod(shape) >= LARGE)
        check_bias(shape, self.bias.shape)
        return self._replace(bias=dense(self.bias.astype(kind, copy=False)))


PLAIN = Ending()


def correlate(
    image: Any,
    w: Any,
    shape: tuple[int, ...],
    window: Window,
    groups: int,
    *,
    transposed: bool,
    ending: Ending = PLAIN,
) -> Any:
    """The convolution of `image` by w (O, C/groups, kH, kW), or its gradient by the input
    (transposed, and `image` is the output's gradient): an image of `shape` (N, C, H, W).

    Moments are left with it where a kernel has them at hand: `norm.moments` looks there first.
    """
    kind = np.result_type(image, w).type
    ending = ending.prepared(shape, kind)
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
        y, partial = _product(
            file, "convolve", plan, work, image, w, target, problem, ending, phases
        )
        y = y.transpose(0, 3, 1, 2)
        if partial is not None:
            attach(y, MOMENTS, partial)
        return y
    y = empty(target, kind, like=image)
    if plan.multiple > 1:
        run = kernel("conv_small_n", "convolve", threads=THREADS, **ending.defines)
        blocks = *blocks_for(rows * 32, THREADS), 1, work.products
        run(blocks, image, w, _address(ending.bias), y, problem, ending.slope)
        return y.transpose(0, 3, 1, 2)
    run = kernel("conv_1_naive", "convolve", threads=THREADS, T=WORDS[kind])
    run((*blocks_for(rows * filters, THREADS), 1, work.products), image, w, y, problem)
    y = y.transpose(0, 3, 1, 2)
    return ending.epilogue.apply(activation, y, ending.bias) if ending.epilogue else y


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
        dw, _ = _product("conv_7_split_k", "convolve_dw", plan, work, x, g, target, problem)
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
    ending: Ending = PLAIN,
    phases: int = 1,
) -> tuple[Any, Any]:
    """The sums of `work`, an array of `shape`, on the rule's tile or a measured one.

    And the moments of its last axis, for `norm.moments` to merge, or None.
    """

    def compute(plan: Plan) -> tuple[Any, Any]:
        assert plan.tile
        problem["splits"] = n = plan.splits
        y = empty((n, *shape) if n > 1 else shape, np.float32, like=left)
        x_blocks, y_blocks, products = work.grid(plan.tile)
        now = ending if n == 1 else PLAIN
        run, blocks = plan.product(file, name, **now.defines), (x_blocks, y_blocks, products * n)
        partial = None
        if now.moments:
            partial = empty((shape[-1], phases * x_blocks, 3), np.float64, like=left)
        if name == "convolve":
            outputs = y, _address(partial)
            run(blocks, left, right, _address(now.bias), *outputs, problem, now.slope)
        else:
            run(blocks, left, right, y, problem)
        return (y, partial) if n == 1 else _reduced(y, ending)

    plans = choices(rule, work, multiprocessors=multiprocessors(left))
    return compute(settle(plans, file, name, problem, compute) if plans else rule)


def _reduced(parts: Any, ending: Ending) -> tuple[Any, Any]:
    """The sum of `parts` (parts, ...) with its ending, and its moments or None."""
    count, *shape = parts.shape
    y = empty(tuple(shape), np.float32, like=parts)
    if not (ending.epilogue or ending.moments):
        reduce = kernel("reduce", "reduce", threads=THREADS)
        reduce(blocks_for(y.size, THREADS), parts, y, np.int32(count), np.int64(y.size))
        return y, None
    seen = images(y.transpose(0, 3, 1, 2))
    partial = seen.partial(3) if ending.moments else None
    sizes = np.int32(count), np.int64(y.size // seen.width)
    seen.launch(
        "reduce_channels", "reduce", parts, _address(ending.bias), y, _address(partial), seen.lanes,
        *sizes, ending.slope, merged=3 * ending.moments, **ending.defines,
    )  # fmt: skip
    return y, partial


def _address(array: Any) -> Any:
    """`array` as the argument of a kernel, which may have none: then it is null."""
    return np.uint64(0) if array is None else array

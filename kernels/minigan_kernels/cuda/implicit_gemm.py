"""Convolutions as implicit GEMMs: the two matrix products that every one of them comes down to.

The matrix of windows is never written (as im2col would): a kernel computes from its row and column
where each value is in the image. `correlate` sums over the channels of a filter and has a row for
each output pixel; `weight_gradient` sums over pixels and has a row for each tap and channel. Both
bring their operands into the kernels' layout, and give a view of channels-last memory. A matrix
product is a convolution of images of one pixel (linalg.py).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..checks import Window, check_int32
from ..epilogue import Epilogue, check_bias
from ..memo import LARGE, attach
from . import activation
from .autotune import settle
from .elementwise import images
from .launch import blocks_for, dense, empty, kernel, multiprocessors
from .norm import MOMENTS
from .pack import C_TYPES, THREADS, channels_last, packed_weights
from .tiling import GemmShape, Plan, choices, choose

_AXIS = np.dtype([(n, np.int32) for n in ("in", "out", "kernel", "stride", "padding", "dilation")])
_SIZES = ("images", "groups", "channels", "filters", "transposed", "split_k")
_CONV = np.dtype([("h", _AXIS), ("w", _AXIS), *((name, np.int32) for name in _SIZES)])


def problem_of(
    source: tuple[int, ...],
    target: tuple[int, ...],
    window: Window,
    groups: int,
    *,
    transposed: bool,
) -> np.ndarray:
    """The struct Conv of conv.cuh, for images of shapes (N, H, W, C).

    Raises:
        ValueError: if it cannot count all pixels.
    """
    for shape in (source, target):
        check_int32("pixels", math.prod(shape[:3]))
    axes = [(source[1 + i], target[1 + i], *(part[i] for part in window)) for i in range(2)]
    sizes = (source[0], groups, source[3] // groups, target[3] // groups, transposed, 1)
    return np.array((*axes, *sizes), _CONV)


class GemmEpilogue(NamedTuple):
    """What a kernel does with its accumulators: bias and activation, moments, or neither."""

    bias: Any = None
    activation: Epilogue | None = None
    moments: bool = False

    @property
    def defines(self) -> dict[str, str]:
        """Macros of the kernels."""
        if self.activation is None:
            return {}
        return {"ACTIVATION": f"epilogue_{self.activation.activation}"}

    @property
    def slope(self) -> np.float32:
        """Of a leaky ReLU."""
        return np.float32((self.activation and self.activation.slope) or 0)

    def prepared(self, shape: tuple[int, ...], kind: type) -> GemmEpilogue:
        """For an image of `shape` (N, C, H, W) in this dtype.

        Raises:
            ValueError: if the bias is not (C,).
        """
        if not self.activation:  # moments are found again if the engine freezes the image
            return GemmEpilogue(moments=self.moments and 4 * math.prod(shape) >= LARGE)
        check_bias(shape, self.bias.shape)
        return self._replace(bias=dense(self.bias.astype(kind, copy=False)))


PLAIN = GemmEpilogue()


class _Gemm(NamedTuple):
    """A GEMM on tiles: kernel `name` of `file`, its packed operands, and what it writes."""

    file: str
    name: str
    left: Any
    right: Any
    result: tuple[int, ...]  # its shape
    problem: np.ndarray  # struct Conv
    shape: GemmShape
    phases: int = 1  # of an input gradient: conv.cuh

    def run(self, rule: Plan, epilogue: GemmEpilogue) -> tuple[Any, Any]:
        """The result by the rule's plan or a measured one, and the moments of its last axis.

        The moments, which `norm.moments` merges, are None unless the epilogue stores them.
        """
        plans = choices(rule, self.shape, multiprocessors=multiprocessors(self.left))
        if not plans:
            return self._compute(rule, epilogue)

        def compute(plan: Plan) -> tuple[Any, Any]:
            return self._compute(plan, epilogue)

        return compute(settle(plans, self.file, self.name, self.problem, compute))

    def _compute(self, plan: Plan, epilogue: GemmEpilogue) -> tuple[Any, Any]:
        assert plan.tile
        self.problem["split_k"] = slices = plan.split_k
        if slices == 1:
            return self._launch(plan, self.result, epilogue)
        partial_sums, _ = self._launch(plan, (slices, *self.result), PLAIN)
        return _reduced(partial_sums, epilogue)

    def _launch(
        self, plan: Plan, shape: tuple[int, ...], epilogue: GemmEpilogue
    ) -> tuple[Any, Any]:
        assert plan.tile
        y = empty(shape, np.float32, like=self.left)
        x_blocks, y_blocks, z_blocks = self.shape.grid(plan.tile)
        blocks = x_blocks, y_blocks, z_blocks * plan.split_k
        run = plan.kernel(self.file, self.name, **epilogue.defines)
        if self.name == "convolve_dw":
            run(blocks, self.left, self.right, y, self.problem)
            return y, None
        moments = None
        if epilogue.moments:
            moments = empty((shape[-1], self.phases * x_blocks, 3), np.float64, like=self.left)
        operands = self.left, self.right, _pointer(epilogue.bias)
        run(blocks, *operands, y, _pointer(moments), self.problem, epilogue.slope)
        return y, moments


def correlate(
    image: Any,
    w: Any,
    shape: tuple[int, ...],
    window: Window,
    groups: int,
    *,
    transposed: bool,
    epilogue: GemmEpilogue = PLAIN,
) -> Any:
    """The convolution of `image` with w (O, C/groups, kH, kW), an image of `shape` (N, C, H, W).

    Or its gradient with respect to the input, if `transposed`: `image` is the gradient with respect
    to the output. Where a kernel computes moments too, they are attached for `norm.moments`.
    """
    kind = np.result_type(image, w).type
    epilogue = epilogue.prepared(shape, kind)
    steps = window.stride if transposed else (1, 1)  # one phase, a GEMM of its own, for each
    gemm = _correlation_shape(shape, image.shape[1] // groups, window, groups, steps)
    plan = choose(
        kind, gemm, channels=(image.shape[1] // groups,) if groups > 1 else (), small_n=True,
        multiprocessors=multiprocessors(image),
    )  # fmt: skip
    image = channels_last(image, plan.kind, plan.multiple)
    w = packed_weights(w, groups, plan.kind, plan.multiple, transposed=transposed)
    n, c, *plane = shape
    target = n, *plane, c
    problem = problem_of(image.shape, target, window, groups, transposed=transposed)
    if plan.tile is None:
        return _without_tiles(plan, gemm, image, w, target, problem, epilogue)
    file = "conv_6_tensor" if plan.tensor else "conv_5_pipelined"
    tiled = _Gemm(file, "convolve", image, w, target, problem, gemm, math.prod(steps))
    y, moments = tiled.run(plan, epilogue)
    y = y.transpose(0, 3, 1, 2)
    if moments is not None:
        attach(y, MOMENTS, moments)
    return y


def _correlation_shape(
    shape: tuple[int, ...], channels: int, window: Window, groups: int, steps: tuple[int, ...]
) -> GemmShape:
    """A row for each pixel of a phase, a column for each filter, summed over taps and channels."""
    n, c, h, w = shape
    phases = math.prod(steps)
    rows = n * math.ceil(h / steps[0]) * math.ceil(w / steps[1])
    return GemmShape(
        rows, c // groups, channels * math.prod(window.kernel) // phases, phases * groups
    )


def _without_tiles(
    plan: Plan,
    gemm: GemmShape,
    image: Any,
    w: Any,
    target: tuple[int, ...],
    problem: np.ndarray,
    epilogue: GemmEpilogue,
) -> Any:
    """A correlation too narrow for tiles, in float64, or of channels that cannot be padded."""
    y = empty(target, plan.kind, like=image)
    if plan.multiple > 1:
        run = kernel("conv_small_n", "convolve", threads=THREADS, **epilogue.defines)
        blocks = *blocks_for(gemm.m * 32, THREADS), 1, gemm.batch
        run(blocks, image, w, _pointer(epilogue.bias), y, problem, epilogue.slope)
        return y.transpose(0, 3, 1, 2)
    run = kernel("conv_1_naive", "convolve", threads=THREADS, T=C_TYPES[plan.kind])
    run((*blocks_for(gemm.m * gemm.n, THREADS), 1, gemm.batch), image, w, y, problem)
    y = y.transpose(0, 3, 1, 2)
    if epilogue.activation is None:
        return y
    return epilogue.activation.apply(activation, y, epilogue.bias)


def weight_gradient(x: Any, g: Any, shape: tuple[int, ...], window: Window, groups: int) -> Any:
    """The gradient with respect to a convolution's weights of `shape` (O, C/groups, kH, kW)."""
    kind = np.result_type(x, g).type
    filters, channels, kernel_h, kernel_w = shape[0] // groups, *shape[1:]
    taps, depth = kernel_h * kernel_w, g.size // g.shape[1] if g.size else 0
    plan = choose(
        kind, GemmShape(taps * channels, filters, depth, groups),
        channels=(channels, filters) if groups > 1 else (), multiprocessors=multiprocessors(x),
    )  # fmt: skip
    x, g = (channels_last(each, plan.kind, plan.multiple) for each in (x, g))
    columns, rows = g.shape[3] // groups, x.shape[3] // groups  # now with padding
    target = groups, kernel_h, kernel_w, rows, columns
    problem = problem_of(x.shape, g.shape, window, groups, transposed=False)
    if plan.tile:
        gemm = GemmShape(taps * rows, columns, depth, groups)
        dw, _ = _Gemm("conv_7_split_k", "convolve_dw", x, g, target, problem, gemm).run(plan, PLAIN)
    else:
        dw = empty(target, kind, like=x)
        naive = kernel("conv_1_naive", "convolve_dw", threads=THREADS, T=C_TYPES[kind])
        naive(blocks_for(dw.size, THREADS), x, g, dw, problem)
    dw = dw[..., :channels, :filters]
    return dw.transpose(0, 4, 3, 1, 2).reshape(shape)


def _reduced(partial_sums: Any, epilogue: GemmEpilogue) -> tuple[Any, Any]:
    """The sum of split-K slices (slices, ...) with its epilogue, and its moments or None."""
    slices, *shape = partial_sums.shape
    y = empty(tuple(shape), np.float32, like=partial_sums)
    if not (epilogue.activation or epilogue.moments):
        reduce = kernel("reduce", "reduce", threads=THREADS)
        sizes = np.int32(slices), np.int64(y.size)
        reduce(blocks_for(y.size, THREADS), partial_sums, y, *sizes)
        return y, None
    view = images(y.transpose(0, 3, 1, 2))
    moments = view.partial(3) if epilogue.moments else None
    sizes = np.int32(slices), np.int64(y.size // view.width)
    view.launch(
        "reduce_channels", "reduce", partial_sums, _pointer(epilogue.bias), y, _pointer(moments),
        view.layout, *sizes, epilogue.slope, merged=3 * epilogue.moments, **epilogue.defines,
    )  # fmt: skip
    return y, moments


def _pointer(array: Any) -> Any:
    """`array` as the argument of a kernel that may have none: then it is null."""
    return np.uint64(0) if array is None else array

"""The convolution in versions, from the definition to what `conv2d` runs: one idea more each.

    y = STEPS["3 registers"](x, w, stride=2, padding=1)

Read src/conv_1_naive.cu, conv_2_shared.cu, ... in this order. The head of each says what the one
before it wasted, and how to run it. Versions 5 to 7 are the kernels that `conv2d` uses.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..checks import check_conv, conv_window
from . import tiling
from .conv import conv2d
from .implicit_gemm import problem_of
from .launch import Kernel, empty, kernel
from .pack import channels_last


def by(
    launch: Kernel,
    tile: tuple[int, int],
    multiple: int,
    x: Any,
    w: Any,
    *,
    stride: int,
    padding: int,
) -> Any:
    """The convolution by a kernel whose blocks compute `tile` outputs (pixels, filters)."""
    window = conv_window(w.shape, stride, padding, 1)
    n, filters, h, wide = check_conv(x.shape, w.shape, None, window, 1)
    x, w = channels_last(x, np.float32, multiple), channels_last(w, np.float32, multiple)
    y = empty((n, h, wide, filters), np.float32, like=x)
    problem = problem_of(x.shape, y.shape, window, 1, transposed=False)
    blocks = math.ceil(n * h * wide / tile[0]), math.ceil(filters / tile[1])
    launch(blocks if tile[1] > 1 else (math.ceil(y.size / tile[0]),), x, w, y, problem)
    return y.transpose(0, 3, 1, 2)


def _tiled(precision: str, split_k: int, x: Any, w: Any, *, stride: int, padding: int) -> Any:
    """`conv2d` on the largest tile."""
    with tiling.precision(precision), tiling.force(0, split_k):
        return conv2d(x, w, stride=stride, padding=padding)


NAIVE = kernel("conv_1_naive", "convolve", threads=256, T="float")
SHARED = kernel("conv_2_shared", "convolve", threads=256, shared=4 * 16 * (16 + 17))
REGISTERS = kernel("conv_3_registers", "convolve", threads=256, shared=4 * 2 * 16 * 66)
VECTORISED = kernel(
    "conv_4_vectorised", "convolve",
    threads=256, shared=4 * 2 * 128 * 16, TILE_M=128, TILE_N=128, TILE_K=16,
)  # fmt: skip

STEPS: dict[str, Callable[..., Any]] = {
    "1 naive": partial(by, NAIVE, (256, 1), 1),
    "2 shared": partial(by, SHARED, (16, 16), 1),
    "3 registers": partial(by, REGISTERS, (64, 64), 1),
    "4 vectorised": partial(by, VECTORISED, (128, 128), 4),
    "5 pipelined": partial(_tiled, "float32", 1),
    "6 tensor, tf32": partial(_tiled, "tf32", 1),
    "6 tensor, bfloat16": partial(_tiled, "bfloat16", 1),
    "7 split-K": partial(_tiled, "bfloat16", 4),
}

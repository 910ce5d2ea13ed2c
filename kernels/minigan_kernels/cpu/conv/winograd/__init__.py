"""Convolution, its gradients and its transpose in the Winograd domain, for strides 1 and 2.

A convolution of stride s is a sum of s*s convolutions of stride 1, one for each phase (p, q): the
pixels (s i + p, s j + q) of the padded image with the taps (s u + p, s v + q) of the filter. So a
4x4 window of stride 2 is four 2x2 windows of stride 1, and each of those is done by F(m x m, r x r)
(see `toom_cook`): 25 multiplications give 4x4 outputs, where 64 would be needed. With V the
transformed tiles of an image, U the transformed weights, Z the transformed tiles of an output
gradient,

    output            y  = A^T [sum over phases and channels of  V U] A
    image gradient    dx = B [Z U^T] B^T, tiles overlapping by r - 1 and added up
    weight gradient   dw = G^T [sum over tiles of  V^T Z] G

each bracket a GEMM in every one of the (m + r - 1)^2 planes of the Winograd domain. The three
directions share the three transforms (decomposed: Huang et al. 2021, arXiv:2002.00552).

An image goes by the direct algorithm where the values of a tile are so far apart that outputs that
do not see the largest would lose their digits (see `value_range`). A weight gradient, which is a
sum over images, does so if one image does.

This file has the three directions and the memory that they need. `blocking` cuts them into tasks,
`tasks` are the compiled loops: `forward` transforms, the GEMM, `inverse` transforms. Images are
stored channels last, with whole vectors of channels, and weights as (kernel, kernel, channels,
filters). Operands are stored as the microkernels read them: V and Z as [plane][tile block][K block
of LANES channels][MR tiles][lane], U as [plane][panel of NR filters][channel][filter], or split for
AMX, see `gemm_amx`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cache, partial
from typing import NamedTuple

import numpy as np

from ....checks import Window
from ....epilogue import Epilogue, check_bias
from ....memo import memoize
from ...activation import apply_epilogue
from ...gemm.blocking import A_BLOCK_BYTES
from ...isa.simd import LANES
from ...runtime.allocator import empty, empty_image, is_channels_last
from ...runtime.native_task import NativeTask
from ...runtime.parallel import parallel_for, thread_count
from ...runtime.workspace import address, aligned_bytes
from .. import direct
from ..problem import ConvProblem, End, Ended
from ..weights import taps_of, transposed
from .blocking import (
    NR,
    Plan,
    Shape,
    batch_slices,
    image_gradient_plan,
    keeps_weights,
    output_plan,
    taps_of_phase,
    weight_gradient_plan,
)
from .epilogue import NO_EPILOGUE, BiasLeakyReLU
from .forward import Taps, forward_transforms
from .problem import WinogradProblem, tile_plane_stride, weight_plane_stride, weight_units
from .tasks import Task, compiled_tasks
from .weight_cache import transformed_weights

_MEMOIZED_BYTES = 1 << 23  # transformed tiles that are larger are not kept
_TRANSFORM_TASKS = 16

_NO_TAPS = Taps(0, 0, 0, 0, 0, 0)  # of weights that are transformed already


def fits(window: Window, groups: int) -> bool:
    """Whether these kernels can do a convolution: 2 or 3 taps a phase, alike both ways."""
    kernel, stride, _, dilation = window
    return (
        (groups, dilation) == (1, (1, 1))
        and stride in ((1, 1), (2, 2))
        and kernel[0] == kernel[1]
        and taps_of_phase(window) in (2, 3)
    )


def conv2d(x: np.ndarray, w: np.ndarray, p: ConvProblem, end: End | None = None) -> Ended:
    """Convolution by tiles of p.tile x p.tile outputs. A bias and a leaky ReLU are fused into the
    inverse transform; another activation is left undone.
    """
    window, shape, m = p.window, p.output, p.tile
    given, x = x, _padded(x)
    taps, key = partial(_padded_taps, w), ("weights", window, m)
    y = empty_image((shape[0], _whole(shape[1]), *shape[2:]), np.float32)
    fused = _fused(end, shape)
    exceeding: list[int] = []
    for part, q in batch_slices(x.shape, y.shape, window, m):
        v = _transformed_images(_cut(x, part), q)
        u = _weights(q, w, key, taps, side_by_side=False)
        parallel_for(*_output_task(q, v, u, _cut(y, part), fused), grain=1)
        exceeding += _exceeding(v, q, part)
    done, left = (end, None) if fused is not None else (None, end)
    result = _cropped(y, shape[1])
    return _exact(direct.conv2d, exceeding, given, w, p, done, result), left


def conv2d_dx(g: np.ndarray, w: np.ndarray, p: ConvProblem, end: End | None = None) -> Ended:
    """Gradient with respect to images, for an output gradient g; ends as `conv2d` does."""
    window, shape, m = p.window, p.image, p.tile
    given, g = g, _padded(g)
    taps, key = partial(_transposed_taps, w), ("transposed weights", window, m)
    dx = empty_image((shape[0], _whole(shape[1]), *shape[2:]), np.float32)
    fused = _fused(end, shape)
    if not _covered(window, shape, g.shape):
        dx[...] = 0
        if fused is not None:
            apply_epilogue(dx, fused.bias, fused.epilogue)
    exceeding: list[int] = []
    for part, q in batch_slices(dx.shape, g.shape, window, m):
        z = _transformed_gradients(_cut(g, part), q)
        u = _weights(q, w, key, taps, side_by_side=True)
        parallel_for(*_image_gradient_task(q, z, u, _cut(dx, part), fused), grain=1)
        exceeding += _exceeding(z, q, part)
    done, left = (end, None) if fused is not None else (None, end)
    result = _cropped(dx, shape[1])
    return _exact(direct.conv2d_dx, exceeding, given, w, p, done, result), left


def conv2d_dw(x: np.ndarray, g: np.ndarray, p: ConvProblem) -> np.ndarray:
    """Gradient with respect to the weight, for an output gradient g."""
    window, shape, m = p.window, p.weight, p.tile
    given, (x, g) = (x, g), (_padded(x), _padded(g))
    taps: np.ndarray | None = None
    for part, q in batch_slices(x.shape, g.shape, window, m):
        v = _transformed_images(_cut(x, part), q)
        z = _transformed_gradients(_cut(g, part), q)
        if _exceeding(v, q, part) or _exceeding(z, q, part):
            return direct.conv2d_dw(*given, p)
        more = _weight_gradients(q, v, z)
        taps = more if taps is None else taps + more
    assert taps is not None  # a batch has images
    return np.ascontiguousarray(taps[:, :, : shape[1], : shape[0]]).transpose(3, 2, 0, 1)


class Fused(NamedTuple):
    """An epilogue that the tasks apply."""

    bias: np.ndarray  # padded to whole vectors
    epilogue: Epilogue

    def arguments(self) -> BiasLeakyReLU:
        assert self.epilogue.slope is not None
        return BiasLeakyReLU(address(self.bias), float(self.epilogue.slope))


def _fused(end: End | None, shape: Shape) -> Fused | None:
    """The epilogue of a result of `shape`, if the tasks can apply it: a tanh or a sigmoid needs
    NumPy's exponentials, so it takes a second pass.
    """
    if end is None or end[1].slope is None:
        return None
    bias, epilogue = end
    check_bias(shape, bias.shape)
    padded = np.zeros(_whole(shape[1]), np.float32)
    padded[: shape[1]] = bias
    return Fused(padded, epilogue)


def _whole(channels: int) -> int:
    """Channels of whole vectors."""
    return -(-channels // LANES) * LANES


def _padded(x: np.ndarray) -> np.ndarray:
    """x (N, C, H, W) channels last, padded with channels of zeros to whole vectors."""
    n, c, h, w = x.shape
    if c % LANES == 0 and x.dtype == np.float32 and is_channels_last(x):
        return x
    full = empty_image((n, _whole(c), h, w), np.float32)
    full[:, :c], full[:, c:] = x, 0
    return full


def _cropped(x: np.ndarray, channels: int) -> np.ndarray:
    """The first `channels` of x, dense."""
    if channels == x.shape[1]:
        return x
    out = empty_image((len(x), channels, *x.shape[2:]), x.dtype)
    out[...] = x[:, :channels]
    return out


def _padded_taps(w: np.ndarray) -> np.ndarray:
    """w (O, I, kH, kW) as (kH, kW, I, O), I and O padded with zeros to whole vectors."""
    taps = taps_of(w)
    lacking = [-size % LANES for size in taps.shape[2:]]
    return np.pad(taps, [(0, 0), (0, 0), *((0, n) for n in lacking)]) if any(lacking) else taps


def _transposed_taps(w: np.ndarray) -> np.ndarray:
    """w (O, I, kH, kW) as (kH, kW, O, I), padded likewise."""
    return memoize(w, "transposed", lambda: transposed(_padded_taps(w)))


def _covered(window: Window, image: Shape, output: Shape) -> bool:
    """Whether the windows see every pixel of the padded image."""
    return all(
        (count - 1) * stride + kernel >= size + padding
        for size, count, stride, kernel, padding in zip(
            image[2:], output[2:], window.stride, window.kernel, window.padding, strict=True
        )
    )


def _cut(array: np.ndarray, part: slice) -> np.ndarray:
    return array if part == slice(0, len(array)) else array[part]


def _transformed_images(x: np.ndarray, p: WinogradProblem) -> np.ndarray:
    """V, which the output and the weight gradient want."""
    run = forward_transforms(p.m, p.r).images
    return _transformed_tiles(run, x, p, p.phases * p.channels // LANES)


def _transformed_gradients(g: np.ndarray, p: WinogradProblem) -> np.ndarray:
    """Z, which both gradients want."""
    return _transformed_tiles(forward_transforms(p.m, p.r).gradients, g, p, p.filters // LANES)


def _transformed_tiles(
    run: Callable[..., None], source: np.ndarray, p: WinogradProblem, k_blocks: int
) -> np.ndarray:
    """The transformed tiles of `source`, memoized with it if they are not too large."""
    # The GEMM reads whole panels, and whole strips for AMX. Where one lacks a vector, it reads one
    # block behind the last plane.
    size = p.planes * tile_plane_stride(k_blocks, p.tile_blocks) + A_BLOCK_BYTES
    if size > _MEMOIZED_BYTES:
        return _transform_tiles(run, source, p, size)
    return memoize(source, (run, p), lambda: _transform_tiles(run, source, p, size))


def _transform_tiles(
    run: Callable[..., None], source: np.ndarray, p: WinogradProblem, size: int
) -> np.ndarray:
    """The transformed tiles, and in the last bytes which images have values out of range."""
    out = aligned_bytes(size + 8 * p.images)
    exceeded = _exceeded(out, p)
    exceeded[:] = 0
    loop = NativeTask(run, p, address(source), _zeros(p), address(out), address(exceeded))
    parallel_for(loop, p.tile_blocks, grain=-(-p.tile_blocks // _TRANSFORM_TASKS))
    return out


def _exceeded(tiles: np.ndarray, p: WinogradProblem) -> np.ndarray:
    return tiles[-8 * p.images :].view(np.int64)


def _exceeding(tiles: np.ndarray, p: WinogradProblem, part: slice) -> list[int]:
    """The images of the batch, of which these are a part, that have values out of range."""
    exceeded = _exceeded(tiles, p)
    if not exceeded.any():
        return []
    found: list[int] = (part.start + np.flatnonzero(exceeded)).tolist()
    return found


def _exact(
    convolve: Callable[..., Ended],
    exceeding: list[int],
    source: np.ndarray,
    w: np.ndarray,
    p: ConvProblem,
    end: End | None,
    result: np.ndarray,
) -> np.ndarray:
    """The result with those images computed again, by another algorithm, that exceed the range."""
    if exceeding:
        count = len(exceeding)
        few = p._replace(image=(count, *p.image[1:]), output=(count, *p.output[1:]))
        again, left = convolve(source[exceeding], w, few, end)
        result[exceeding] = again if left is None else apply_epilogue(again, *left)
    return result


def _weights(
    p: WinogradProblem,
    w: np.ndarray,
    key: Hashable,
    taps: Callable[[], np.ndarray],
    *,
    side_by_side: bool,
) -> np.ndarray:
    """The transformed weights, if they are worth keeping; else the taps, which the tasks transform.

    The phases' panels are stored one below the other, as the sum over phases wants them (U), or
    `side_by_side` (U^T).
    """
    if not keeps_weights(p):
        return taps()
    return transformed_weights(w, key, lambda: _transform_weights(p, taps(), side_by_side))


def _transform_weights(p: WinogradProblem, taps: np.ndarray, side_by_side: bool) -> np.ndarray:
    rows, columns = taps.shape[2:]
    phases, panels = p.phases if side_by_side else 1, -(-columns // NR)
    rows = p.phases * rows // phases  # of a panel
    out = aligned_bytes(p.planes * weight_plane_stride(rows, phases * panels))
    run = forward_transforms(p.m, p.r).weights
    loop = NativeTask(run, _taps(p, taps), side_by_side, address(out))
    units = phases * weight_units(rows)
    parallel_for(loop, units, grain=-(-units // _TRANSFORM_TASKS))
    return out


def _taps(p: WinogradProblem, taps: np.ndarray) -> Taps:
    return Taps(address(taps), _zeros(p), p.kernel, p.stride, *taps.shape[2:])


def _output_task(
    p: WinogradProblem, v: np.ndarray, weights: np.ndarray, y: np.ndarray, fused: Fused | None
) -> tuple[NativeTask, int]:
    """What computes y from V and U, or from V and the taps, and in how many chunks."""
    run = compiled_tasks(p.m, p.r, fused is not None).outputs
    return _task(run, p, output_plan(p, thread_count()), v, weights, y, fused)


def _image_gradient_task(
    p: WinogradProblem, z: np.ndarray, weights: np.ndarray, dx: np.ndarray, fused: Fused | None
) -> tuple[NativeTask, int]:
    """What computes dx from Z and U^T, or Z and the transposed taps, and in how many chunks."""
    run = compiled_tasks(p.m, p.r, fused is not None).image_gradients
    return _task(run, p, image_gradient_plan(p, thread_count()), z, weights, dx, fused)


def _task(
    run: Callable[..., None],
    p: WinogradProblem,
    plan: Plan,
    tiles: np.ndarray,
    weights: np.ndarray,
    result: np.ndarray,
    fused: Fused | None,
) -> tuple[NativeTask, int]:
    kept = keeps_weights(p)
    task = NativeTask(
        run, p, Task(address(tiles), address(result), _zeros(p), *plan.blocking),
        _NO_TAPS if kept else _taps(p, weights),
        NO_EPILOGUE if fused is None else fused.arguments(),
        address(weights) if kept else plan.weights,
        plan.accumulators, plan.discard, plan.packed,
    )  # fmt: skip
    return task, plan.tasks


def _weight_gradients(p: WinogradProblem, v: np.ndarray, z: np.ndarray) -> np.ndarray:
    """dw (kernel, kernel, channels, filters) from V and Z."""
    out = empty((p.kernel, p.kernel, p.channels, p.filters), np.float32)
    plan = weight_gradient_plan(p, thread_count())
    loop = NativeTask(
        compiled_tasks(p.m, p.r).weight_gradients, p,
        Task(address(v), address(out), _zeros(p), *plan.blocking),
        address(z), plan.accumulators, plan.discard, plan.packed,
    )  # fmt: skip
    parallel_for(loop, plan.tasks, grain=1)
    return out


def _zeros(p: WinogradProblem) -> int:
    """Address of a row of zeros as long as any pixel or tap of this problem."""
    return address(_row_of_zeros(max(p.channels, p.filters)))


@cache
def _row_of_zeros(size: int) -> np.ndarray:
    return np.zeros(size, np.float32)

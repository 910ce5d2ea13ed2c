"""Two-dimensional convolution and its gradients, each by the algorithm that `select` chooses.

What the shapes and options alone decide (the argument checks, the output's shape, the algorithm) is
done once for each of them: see `select.plan`. An algorithm gets the bias and activation that a
convolution ends with. It applies them while the results are in registers or cache if it can, and
says what it left undone; that is done here, in a second pass over the result.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ...algorithms import forced, registered
from ...checks import Pair
from ...epilogue import LINEAR, Epilogue
from ..activation import apply_epilogue
from ..runtime.allocator import is_channels_last
from . import direct, select, winograd
from .im2col import gemm
from .im2col.im2col import col2im as col2im
from .im2col.im2col import im2col as im2col
from .problem import ConvProblem, End


def conv2d(
    x: np.ndarray,
    w: np.ndarray,
    *,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> np.ndarray:
    """Convolution of x (N, C, H, W) with w (O, C/groups, kH, kW), giving (N, O, H', W')."""
    shapes, steps = (x.shape, w.shape, None), (stride, padding, dilation)
    algorithm, p = _plan("conv2d", x, w, shapes, steps, groups)
    return _CONV2D[algorithm](x, w, p, None)[0]


def conv2d_dx(
    g: np.ndarray,
    w: np.ndarray,
    *,
    shape: tuple[int, int, int, int],
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> np.ndarray:
    """Gradient of `conv2d` with respect to its image of `shape` (N, C, H, W), for an output
    gradient g.
    """
    shapes, steps = (shape, w.shape, g.shape), (stride, padding, dilation)
    algorithm, p = _plan("conv2d_dx", g, w, shapes, steps, groups)
    return _CONV2D_DX[algorithm](g, w, p, None)[0]


def conv2d_dw(
    x: np.ndarray,
    g: np.ndarray,
    *,
    shape: tuple[int, int, int, int],
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> np.ndarray:
    """Gradient of `conv2d` with respect to its weight of `shape` (O, C/groups, kH, kW), for an
    output gradient g.
    """
    shapes, steps = (x.shape, shape, g.shape), (stride, padding, dilation)
    algorithm, p = _plan("conv2d_dw", x, g, shapes, steps, groups)
    return _CONV2D_DW[algorithm](x, g, p)


def conv2d_activated(
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray,
    *,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
    epilogue: Epilogue = LINEAR,
) -> np.ndarray:
    """f(conv2d(x, w) + bias), with the f of `epilogue` and bias (O,)."""
    shapes, steps = (x.shape, w.shape, None), (stride, padding, dilation)
    algorithm, p = _plan("conv2d", x, w, shapes, steps, groups)
    y, left = _CONV2D[algorithm](x, w, p, (bias, epilogue))
    return y if left is None else apply_epilogue(y, *left)


def conv2d_dx_activated(
    g: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray,
    *,
    shape: tuple[int, int, int, int],
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
    epilogue: Epilogue = LINEAR,
) -> np.ndarray:
    """f(conv2d_dx(g, w) + bias), with the f of `epilogue` and bias (C,)."""
    shapes, steps = (shape, w.shape, g.shape), (stride, padding, dilation)
    algorithm, p = _plan("conv2d_dx", g, w, shapes, steps, groups)
    dx, left = _CONV2D_DX[algorithm](g, w, p, (bias, epilogue))
    return dx if left is None else apply_epilogue(dx, *left)


def _plan(
    direction: str,
    a: np.ndarray,
    b: np.ndarray,
    shapes: tuple[Any, Any, Any],
    steps: tuple[Any, Any, Any],
    groups: int,
) -> tuple[str, ConvProblem]:
    """`select.plan`, memoized where equal arguments mean the same: 1.0 equals 1 but is refused."""
    plan: Callable[..., tuple[str, ConvProblem]] = select.plan
    if type(groups) is not int or not all(map(_is_exact, (*steps, shapes[0], shapes[1]))):
        plan = select.plan.__wrapped__
    return plan(direction, *shapes, steps, groups, (a.dtype, b.dtype), *forced.get())


def _is_exact(value: Any) -> bool:
    """Whether this is an int or a tuple of int, no more and no less."""
    return type(value) is int or (type(value) is tuple and set(map(type, value)) == _INT)


_INT = {int}


class _Algorithms(dict[str, Callable[..., Any]]):
    """The algorithms of a kernel by name: minigan's own, and by other names registered ones."""

    def __init__(self, kernel: str) -> None:
        own = {"direct": direct, "im2col": gemm, "winograd": winograd}
        super().__init__({name: getattr(package, kernel) for name, package in own.items()})
        self.kernel = kernel

    def __missing__(self, name: str) -> Callable[..., Any]:
        return partial(_by_registered, name, self.kernel)


def _by_registered(
    name: str, kernel: str, a: np.ndarray, b: np.ndarray, p: ConvProblem, end: End | None = None
) -> Any:
    """A convolution by the algorithm that somebody has registered, which does no activation.

    Raises:
        TypeError, ValueError: if it gives no array of float32 of the right shape.
    """
    window = p.window
    options: dict[str, Any] = {
        "stride": window.stride, "padding": window.padding, "dilation": window.dilation,
        "groups": p.groups,
    }  # fmt: skip
    shape = {"conv2d": p.output, "conv2d_dx": p.image, "conv2d_dw": p.weight}[kernel]
    if kernel != "conv2d":
        options["shape"] = shape
    found = registered[name][kernel].function(a, b, **options)
    if not isinstance(found, np.ndarray) or found.dtype != np.float32:
        given = found.dtype if isinstance(found, np.ndarray) else type(found).__name__
        raise TypeError(f"{name} must give an array of float32 as {kernel}, but gave {given}")
    if found.shape != shape:
        raise ValueError(f"{name} must give shape {shape} as {kernel}, but gave {found.shape}")
    if kernel == "conv2d_dw":
        return found
    if end is not None and not _is_own(found, a, b):
        found = np.array(found, order="C")
    return found, end


def _is_own(found: np.ndarray, *operands: np.ndarray) -> bool:
    """Whether the activation may be written into this result: dense, and part of no operand."""
    dense = found.flags.c_contiguous or is_channels_last(found)
    return (
        dense
        and found.flags.writeable
        and not any(np.may_share_memory(found, operand) for operand in operands)
    )


_CONV2D, _CONV2D_DX = _Algorithms("conv2d"), _Algorithms("conv2d_dx")
_CONV2D_DW = _Algorithms("conv2d_dw")

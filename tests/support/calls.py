"""Calls of every kernel on any shape, dtype and layout in memory; whether twins agree on them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import draw
import minigan_kernels as kernels
import numpy as np
from cuda_tools import on_device
from draw import LAYOUTS as LAYOUTS
from draw import Draw, laid, least_plane
from hypothesis import settings
from hypothesis import strategies as st
from minigan_kernels import KERNELS
from minigan_kernels.checks import Window
from minigan_kernels.cpu.runtime.allocator import is_channels_last
from minigan_kernels.epilogue import LINEAR, Epilogue

SETTINGS = settings(draw.SETTINGS, max_examples=25)
LARGE = settings(SETTINGS, max_examples=2)

EXACT = {
    "max_pool2d_index",
    "gather_plane",
    "upsample_nearest",
    "random_bits",
    "uniform",
    "normal",
    "dropout_mask",
}
WRITTEN = {  # which arguments a kernel overwrites
    "sgd": {0, 2},
    "rmsprop": {0, 2},
    "adam": {0, 2, 3},
    "random_bits": {0},
    "uniform": {0},
    "normal": {0},
    "dropout_mask": {0},
}


class Call(NamedTuple):
    """Arguments of a kernel; each array with the way in which it shall lie in memory."""

    arrays: list[tuple[np.ndarray, str]]
    options: dict[str, Any] = {}  # noqa: RUF012

    def laid(self, layout: str) -> Call:
        """The same with all arrays in one layout."""
        return self._replace(arrays=[(array, layout) for array, _ in self.arrays])

    def fresh(self, dtype: type | None = None) -> list[np.ndarray]:
        """New arrays, the floating ones in `dtype` if it is given."""
        return [
            laid(a if dtype is None or a.dtype.kind != "f" else a.astype(dtype), layout)
            for a, layout in self.arrays
        ]


class Source(Draw):
    """Draws what the calls of kernels are made of."""

    def __init__(self, draw: Callable[..., Any], large: bool) -> None:
        super().__init__(draw)
        self.large = large
        self.dtype = self.pick(np.float32, np.float64)
        self.rng = np.random.default_rng(self.int(0, 2**32))

    def normal(self, *shape: int) -> np.ndarray:
        return self.rng.standard_normal(shape).astype(self.dtype)

    def call(self, *arrays: np.ndarray, **options: Any) -> Call:
        layout = self.pick(*LAYOUTS) if self.pick(True, False) else None  # one for all of them
        return Call([(array, layout or self.pick(*LAYOUTS)) for array in arrays], options)

    def image(self) -> tuple[int, ...]:
        if self.large:  # several pieces of work, the last one smaller
            return self.pick((9, 7, 61, 53), (3, 150, 19, 23), (2100, 5, 3, 5))
        side = self.pick(1, 9)
        return self.int(1, 4), self.int(1, 5), self.int(1, side), self.int(1, side)

    def channels(self) -> tuple[int, ...]:
        """Shape (N, C) or (N, C, H, W)."""
        if self.pick(True, False):
            return self.image()
        return (1031, 173) if self.large else (self.int(1, 9), self.int(1, 6))

    def any_shape(self) -> tuple[int, ...]:
        if self.large:
            return self.channels()
        return self.draw(st.lists(st.integers(0, 5), max_size=4).map(tuple))

    def window(self, *, dilated: bool = True) -> tuple[dict[str, Any], Window]:
        kernel = self.int(1, 4), self.int(1, 4)
        window = Window(
            kernel,
            (self.int(1, 5), self.int(1, 3)),
            (self.int(0, 2), self.int(0, 2)),
            (self.int(1, 2), self.int(1, 3)) if dilated else (1, 1),
        )
        return {"stride": window.stride, "padding": window.padding}, window

    def plane(self, window: Window) -> tuple[int, int]:
        """A plane that the window fits, now and then exactly."""
        least = least_plane(window)
        more = (39, 44) if self.large else (self.pick(0, 0, 1, 2, 7), self.pick(0, 0, 1, 3, 6))
        return least[0] + more[0], least[1] + more[1]


CALLS: dict[str, Callable[[Source], Call]] = {}


def calls(*names: str) -> Callable[[Callable[..., Call]], Callable[..., Call]]:
    def register(build: Callable[..., Call]) -> Callable[..., Call]:
        for name in names:
            CALLS[name] = lambda s, name=name: build(s, name)  # type: ignore[misc]
        return build

    return register


@calls("conv2d", "conv2d_dx", "conv2d_dw")
def _conv(s: Source, name: str) -> Call:
    options, window = s.window()
    groups = s.pick(1, 1, 2, 3)
    inputs, filters = (42, 4) if s.large else (s.int(1, 3), s.int(1, 3))
    x_shape = (5 if s.large else s.int(1, 4), groups * inputs, *s.plane(window))
    w_shape = (groups * filters, inputs, *window.kernel)
    y_shape = (x_shape[0], w_shape[0], *window.output(x_shape[2:]))
    options |= {"dilation": window.dilation, "groups": groups}
    if name == "conv2d":
        return s.call(s.normal(*x_shape), s.normal(*w_shape), **options)
    if name == "conv2d_dx":
        return s.call(s.normal(*y_shape), s.normal(*w_shape), shape=x_shape, **options)
    return s.call(s.normal(*x_shape), s.normal(*y_shape), shape=w_shape, **options)


@calls("conv2d_activated", "conv2d_dx_activated")
def _activated(s: Source, name: str) -> Call:
    call = _conv(s, name.removesuffix("_activated"))
    w = call.arrays[1][0]
    channels = len(w) if name == "conv2d_activated" else w.shape[1] * call.options["groups"]
    epilogue = s.pick(LINEAR, Epilogue("leaky_relu", 0.2), Epilogue("tanh"), Epilogue("sigmoid"))
    bias = s.normal(channels), s.pick(*LAYOUTS)
    return Call([*call.arrays, bias], {**call.options, "epilogue": epilogue})


@calls("im2col", "col2im")
def _columns(s: Source, name: str) -> Call:
    options, window = s.window()
    n, c = s.int(1, 3), s.int(1, 3)
    plane = s.plane(window)
    options |= {"kernel": window.kernel, "dilation": window.dilation}
    if name == "im2col":
        return s.call(s.normal(n, c, *plane), **options)
    rows, columns = c * math.prod(window.kernel), math.prod(window.output(plane))
    return s.call(s.normal(n, rows, columns), shape=(n, c, *plane), **options)


@calls("matmul")
def _matmul(s: Source, name: str) -> Call:
    m, k, n = (700, 90, 310) if s.large else (s.int(1, 9), s.int(1, 9), s.int(1, 9))
    m, n = s.pick((m, n), (n, m))
    b = 4
    left, right = s.pick(
        ((m, k), (k, n)), ((b, m, k), (k, n)), ((b, m, k), (b, k, n)), ((m, k), (b, k, n)),
        ((2, 1, m, k), (b, k, n)), ((k,), (k, n)), ((m, k), (k,)),
    )  # fmt: skip
    return s.call(s.normal(*left), s.normal(*right))


@calls("moments")
def _moments(s: Source, name: str) -> Call:
    shape = s.channels()
    return s.call(s.normal(*shape) + s.normal(shape[1], *(1,) * (len(shape) - 2)))


@calls("batch_norm", "batch_norm_backward", "batch_norm_inference_backward")
def _batch_norm(s: Source, name: str) -> Call:
    shape = s.channels()
    x, beta, mean = s.normal(*shape), s.normal(shape[1]), s.normal(shape[1])
    gamma, var = (np.abs(s.normal(shape[1])) + s.dtype(0.1) for _ in range(2))
    gamma[::2] *= -1
    wide = (1, -1, *(1,) * (len(shape) - 2))
    y = x - mean.reshape(wide) + (beta * np.sqrt(var) / gamma).reshape(wide)
    x[np.abs(y) < 1e-3] += s.dtype(0.1)  # away from the kink, whose sides rounding exchanges
    arrays = [x, gamma, beta, mean, var]
    if name != "batch_norm":
        arrays.insert(0, s.normal(*shape))
    return s.call(*arrays, eps=1e-5, slope=s.pick(0.0, 0.2, 1.0))


@calls("leaky_relu", "leaky_relu_dx", "sigmoid", "softplus", "erf")
@calls("silu", "silu_backward", "gelu", "gelu_backward")
def _activation(s: Source, name: str) -> Call:
    shape = s.any_shape()
    options = {"slope": s.pick(0.0, 0.2, 1.0)} if name.startswith("leaky") else {}
    return s.call(
        *(s.normal(*shape) * 3 for _ in range(1 + name.endswith(("dx", "backward")))), **options
    )


@calls("bias_leaky_relu", "bias_tanh", "bias_sigmoid")
def _bias(s: Source, name: str) -> Call:
    shape = s.channels()
    options = {"slope": s.pick(0.0, 0.2)} if "leaky" in name else {}
    return s.call(s.normal(*shape), s.normal(shape[1]), **options)


@calls("bias_leaky_relu_backward", "bias_tanh_backward", "bias_sigmoid_backward")
def _bias_backward(s: Source, name: str) -> Call:
    shape = s.channels()
    options = {"slope": s.pick(0.0, 0.2)} if "leaky" in name else {}
    return s.call(s.normal(*shape), s.normal(*shape), **options)


@calls("bias_maxout", "bias_maxout_backward")
def _maxout(s: Source, name: str) -> Call:
    n, units = (301, 67) if s.large else (s.int(0, 5), s.int(1, 4))
    pieces = s.int(1, 5)
    x, bias = (
        s.rng.integers(-2, 3, shape).astype(s.dtype)  # many equal ones
        for shape in ((n, units * pieces), (units * pieces,))
    )
    if name == "bias_maxout":
        return s.call(x, bias, pieces=pieces)
    y = (x + bias).reshape(n, units, pieces).max(axis=2)
    return s.call(s.normal(n, units), y, x, bias, pieces=pieces)


@calls("softmax_cross_entropy", "softmax_cross_entropy_backward")
def _softmax_cross_entropy(s: Source, name: str) -> Call:
    n, classes = (3001, 67) if s.large else (s.int(0, 5), s.int(1, 20))
    labels = s.rng.integers(0, classes, n)
    x = s.normal(n, classes) * 3
    if name == "softmax_cross_entropy":
        return s.call(x, labels=labels)
    powers = np.exp(x)
    return s.call(s.normal(n), powers / powers.sum(axis=1, keepdims=True), labels=labels)


def _pooling(s: Source, *, filled: bool) -> tuple[dict[str, Any], Window, tuple[int, ...]]:
    """Options, window and image; with `filled` no window lies in the padding altogether."""
    _, window = s.window(dilated=False)
    if filled:
        inner = tuple(min(p, k - 1) for p, k in zip(window.padding, window.kernel, strict=True))
        window = window._replace(padding=inner)
    options = {"kernel": window.kernel, "stride": window.stride, "padding": window.padding}
    n, c = (4, 31) if s.large else (s.int(1, 3), s.int(1, 3))
    return options, window, (n, c, *s.plane(window))


@calls("max_pool2d_index")
def _max_pool(s: Source, name: str) -> Call:
    options, _, shape = _pooling(s, filled=True)
    few = s.rng.integers(0, 3, shape).astype(s.dtype)  # many equal ones
    few[s.rng.random(shape) < s.pick(0.0, 0.1)] = np.nan
    few[s.rng.random(shape) < s.pick(0.0, 0.8)] = -np.inf
    return s.call(few, **options)


@calls("gather_plane", "scatter_plane")
def _plane(s: Source, name: str) -> Call:
    shape, out = s.image(), (s.int(1, 5), s.int(1, 5))
    index = s.rng.integers(0, shape[2] * shape[3], (*shape[:2], *out))
    layout = s.pick(*LAYOUTS)
    if name == "gather_plane":
        return s.call(s.normal(*shape), index=laid(index, layout))
    return s.call(s.normal(*index.shape), index=laid(index, layout), shape=shape)


@calls("avg_pool2d", "avg_pool2d_dx")
def _avg_pool(s: Source, name: str) -> Call:
    options, window, shape = _pooling(s, filled=False)
    if name == "avg_pool2d":
        return s.call(s.normal(*shape), **options)
    return s.call(s.normal(*shape[:2], *window.output(shape[2:])), shape=shape, **options)


@calls("upsample_nearest", "upsample_nearest_dx")
def _upsample(s: Source, name: str) -> Call:
    n, c, h, w = (7, 29, 31, 37) if s.large else s.image()
    factor = s.int(1, 3)
    shape = (n, c, h, w) if name == "upsample_nearest" else (n, c, h * factor, w * factor)
    return s.call(s.normal(*shape), factor=factor)


@calls("sgd", "rmsprop", "adam")
def _step(s: Source, name: str) -> Call:
    shape = s.any_shape()
    p, g, square = s.normal(*shape), s.normal(*shape), s.normal(*shape) ** 2
    shared = {"lr": s.pick(1e-3, 0.5), "weight_decay": s.pick(0.0, 0.01)}
    if name == "sgd":
        options = {"momentum": s.pick(0.0, 0.9), "nesterov": s.pick(False, True)}
        return s.call(p, g, s.normal(*shape), **options, **shared)
    if name == "rmsprop":
        return s.call(p, g, square, alpha=0.9, eps=1e-3, **shared)
    options = {"beta1": s.pick(0.0, 0.5), "beta2": 0.999, "eps": 1e-3, "step": s.int(1, 9)}
    options |= {"decoupled": s.pick(False, True)}
    return s.call(p, g, s.normal(*shape), square, **options, **shared)


@calls("random_bits", "uniform", "normal", "dropout_mask")
def _random(s: Source, name: str) -> Call:
    out = np.zeros(s.any_shape(), np.uint32 if name == "random_bits" else s.dtype)
    options = {"keep": s.pick(0.1, 0.5, 1.0)} if name == "dropout_mask" else {}
    key, offset = s.int(0, 2**64 - 1), s.pick(0, 5, 2**32 - 3, 2**64 - 2)
    return s.call(out, key=key, offset=offset, **options)


@st.composite
def a_call(draw: Callable[..., Any], name: str, large: bool = False) -> Call:
    return CALLS[name](Source(draw, large))


def outcome(name: str, backend: str, call: Call, dtype: type | None = None) -> list[np.ndarray]:
    """All that the kernel returns and all of its arguments after the call."""
    arrays = call.fresh(dtype)
    kernel = getattr(kernels, name)
    with kernels.use(backend):
        if backend == "cuda":
            result = on_device(kernel, *arrays, **call.options)
        else:
            result = kernel(*arrays, **call.options)
    results = result if isinstance(result, tuple) else () if result is None else (result,)
    return [*results, *arrays]


def check_layout(name: str, result: np.ndarray, first: np.ndarray) -> None:
    """A kernel of images gives its result the layout of the first image."""
    file = KERNELS[name].__module__.rpartition(".")[2]
    if file not in ("norm", "activation", "pool") or result.ndim != 4 or first.ndim != 4:
        return
    if is_channels_last(first):
        assert is_channels_last(result)
    elif first.flags.c_contiguous or "bias" in name or file != "activation":
        assert result.flags.c_contiguous
    else:  # in whatever order a function of each value found them
        assert result.size == 0 or np.ravel(result, "K").base is not None


def check_twins(name: str, call: Call, backend: str = "cpu") -> None:
    fast, plain = outcome(name, backend, call), outcome(name, "reference", call)
    check_layout(name, fast[0], call.fresh()[0])
    assert [a.dtype for a in fast] == [a.dtype for a in plain]
    assert [a.shape for a in fast] == [a.shape for a in plain]
    kept = len(fast) - len(call.arrays)
    for i, before in enumerate(call.fresh()):
        if i not in WRITTEN.get(name, ()):
            np.testing.assert_array_equal(fast[kept + i], before, strict=True)
    # NumPy sums in pairs, which keeps errors down, where memory is contiguous.
    truth = plain if name in EXACT else outcome(name, "reference", call.laid("plain"), np.float64)
    for ours, exact in zip(fast, truth, strict=True):
        if name in EXACT:
            np.testing.assert_array_equal(ours, exact, strict=True)
        elif exact.size:
            # Sums of numbers of order one may cancel, so the error is held against at least one.
            error = math.sqrt(np.mean((ours - exact) ** 2))
            scale = max(1.0, math.sqrt(np.mean(exact**2)))
            assert error <= 16 * np.finfo(ours.dtype).eps * scale


def image(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


# Calls whose arguments do not fit each other.
BAD = [
    ("conv2d", (image(1, 3, 8, 8), image(2, 4, 3, 3)), {}),
    ("conv2d", (image(1, 3, 8), image(2, 3, 3, 3)), {}),
    ("conv2d", (image(1, 3, 8, 8), image(3, 3, 3)), {}),
    ("conv2d", (image(1, 3, 2, 2), image(2, 3, 3, 3)), {}),
    ("conv2d", (image(1, 3, 8, 8), image(2, 3, 3, 3)), {"stride": 0}),
    ("conv2d", (image(1, 3, 8, 8), image(2, 3, 3, 3)), {"groups": 2}),
    ("conv2d_dx", (image(1, 2, 6, 5), image(2, 3, 3, 3)), {"shape": (1, 3, 8, 8)}),
    ("conv2d_dw", (image(1, 3, 8, 8), image(1, 2, 6, 5)), {"shape": (2, 3, 3, 3)}),
    ("conv2d_activated", (image(1, 3, 8, 8), image(2, 3, 3, 3), image(3)), {}),
    ("conv2d_activated", (image(1, 3, 8, 8), image(2, 3, 3, 3), image(1, 2)), {}),
    (
        "conv2d_dx_activated",
        (image(1, 2, 6, 6), image(2, 3, 3, 3), image(1)),
        {"shape": (1, 3, 8, 8)},
    ),
    ("im2col", (image(3, 8, 8),), {"kernel": (3, 3)}),
    ("col2im", (image(1, 27, 36),), {"kernel": (3, 3), "shape": (1, 3, 8, 9)}),
    ("matmul", (image(2, 3), image(4, 5)), {}),
    ("batch_norm", (image(4, 3), *[image(2)] * 4), {"eps": 0.1}),
    ("batch_norm_backward", (image(4, 3), image(4, 2), *[image(3)] * 4), {"eps": 0.1}),
    ("leaky_relu_dx", (image(4, 3), image(4, 2)), {"slope": 0.1}),
    ("silu_backward", (image(4, 3), image(4, 2)), {}),
    ("gelu_backward", (image(4, 3), image(3)), {}),
    ("bias_tanh", (image(4, 3), image(2)), {}),
    ("bias_tanh_backward", (image(4, 3), image(5, 3)), {}),
    ("bias_maxout", (image(4, 6), image(5)), {"pieces": 2}),
    ("bias_maxout", (image(4, 6), image(6)), {"pieces": 4}),
    (
        "bias_maxout_backward",
        (image(4, 2), image(4, 3), image(4, 6), image(6)),
        {"pieces": 2},
    ),
    ("softmax_cross_entropy", (image(4, 3, 1),), {"labels": np.zeros(4, np.int64)}),
    ("softmax_cross_entropy", (image(4, 3),), {"labels": np.zeros(3, np.int64)}),
    ("softmax_cross_entropy", (image(4, 3),), {"labels": np.zeros(4)}),
    ("softmax_cross_entropy", (image(4, 3),), {"labels": np.array([0, 1, 2, 3])}),
    ("softmax_cross_entropy", (image(4, 3),), {"labels": np.array([0, 1, 2, -1])}),
    (
        "softmax_cross_entropy_backward",
        (image(3), image(4, 3)),
        {"labels": np.zeros(4, np.int64)},
    ),
    ("upsample_nearest", (image(1, 2, 3),), {"factor": 2}),
    ("upsample_nearest", (image(1, 1, 2, 3),), {"factor": 0}),
    ("upsample_nearest_dx", (image(1, 1, 4, 6),), {"factor": 3}),
    ("gather_plane", (image(1, 2, 4, 4),), {"index": np.zeros((1, 3, 2, 2), np.int64)}),
    ("max_pool2d_index", (image(1, 1, 4, 4),), {"kernel": (2, 2), "stride": 2, "padding": 2}),
    ("max_pool2d_index", (image(1, 4, 4),), {"kernel": (2, 2), "stride": 2}),
    ("avg_pool2d", (image(1, 1, 2, 2),), {"kernel": (3, 3), "stride": 2}),
    (
        "avg_pool2d_dx",
        (image(1, 1, 3, 3),),
        {"shape": (1, 1, 4, 4), "kernel": (2, 2), "stride": 2},
    ),
    (
        "scatter_plane",
        (image(1, 1, 2, 2),),
        {"index": np.zeros((1, 1, 3, 2), np.int64), "shape": (1, 1, 4, 4)},
    ),
]

"""Every CPU kernel against its plain NumPy twin, on any shape, dtype and layout in memory."""

from __future__ import annotations

import ctypes
import importlib
import inspect
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import minigan_kernels as kernels
import numba
import numpy as np
import pytest
from cuda_tools import needs_gxx, on_device
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from minigan_kernels import KERNELS
from minigan_kernels.cpu import threads
from minigan_kernels.cpu.memory import is_channels_last
from minigan_kernels.cuda import emu
from minigan_kernels.epilogue import LINEAR, Epilogue
from minigan_kernels.shapes import Window
from threadpoolctl import ThreadpoolController

SETTINGS = settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=25,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
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


LAYOUTS = ("plain", "channels last", "transposed", "reversed", "sliced")


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


def laid(array: np.ndarray, layout: str) -> np.ndarray:
    """A copy of `array` that is not contiguous, but for the layout "plain"."""
    if array.ndim == 0:
        return np.array(array)  # NumPy's own copy of a scalar is not an array
    if layout == "channels last" and array.ndim == 4:
        return array.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)
    if layout == "transposed":
        return array.T.copy().T
    if layout == "reversed":
        back = (slice(None, None, -1),) * array.ndim
        return array[back].copy()[back]
    if layout == "sliced":
        return np.repeat(array, 2, axis=-1)[..., ::2]
    return array.copy()


class Source:
    """Draws what the calls of kernels are made of."""

    def __init__(self, draw: Callable[..., Any], large: bool) -> None:
        self.draw, self.large = draw, large
        self.dtype = self.pick(np.float32, np.float64)
        self.rng = np.random.default_rng(self.int(0, 2**32))

    def pick(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def int(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

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
        least = [
            max(1, d * (k - 1) + 1 - 2 * p)
            for k, d, p in zip(window.kernel, window.dilation, window.padding, strict=True)
        ]
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


@calls("leaky_relu", "leaky_relu_dx", "sigmoid", "softplus")
def _activation(s: Source, name: str) -> Call:
    shape = s.any_shape()
    options = {"slope": s.pick(0.0, 0.2, 1.0)} if name.startswith("leaky") else {}
    return s.call(*(s.normal(*shape) * 3 for _ in range(1 + name.endswith("dx"))), **options)


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


def outcome(name: str, room: str, call: Call, dtype: type | None = None) -> list[np.ndarray]:
    """All that the kernel returns and all of its arguments after the call."""
    arrays = call.fresh(dtype)
    kernel = getattr(kernels, name)
    with kernels.use(room):
        if room == "cuda":
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


def check_twins(name: str, call: Call, room: str = "cpu") -> None:
    fast, plain = outcome(name, room, call), outcome(name, "reference", call)
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


@pytest.mark.parametrize("name", KERNELS)
def test_there_is_a_twin_of_the_same_name_in_the_same_file_and_a_case(name: str) -> None:
    file = KERNELS[name].__module__.rpartition(".")[2]
    twin = getattr(importlib.import_module(f"minigan_kernels.cpu.{file}"), name)
    assert inspect.signature(twin) == inspect.signature(KERNELS[name])
    assert name in CALLS


@pytest.mark.parametrize("name", KERNELS)
def test_twins_agree(name: str) -> None:
    @SETTINGS
    @given(a_call(name))
    def check(call: Call) -> None:
        check_twins(name, call)

    check()


@pytest.mark.parametrize("name", KERNELS)
def test_results_are_the_same_bytes_for_any_number_of_threads(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    @LARGE
    @given(a_call(name, large=True))
    def check(call: Call) -> None:
        for each in (call, call.laid("channels last")):
            check_twins(name, each)
            results = []
            for count in (1, 2, 3):
                monkeypatch.setattr(numba, "get_num_threads", lambda count=count: count)
                results.append([a.tobytes() for a in outcome(name, "cpu", each)])
            assert results[0] == results[1] == results[2]

    check()


def both(name: str, *arrays: np.ndarray, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """What the CPU kernel returns, and the reference."""
    results = []
    for room in ("cpu", "reference"):
        with kernels.use(room):
            result = getattr(kernels, name)(*arrays, **options)
        results.append(result[0] if isinstance(result, tuple) else result)
    return results[0], results[1]


def image(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


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


@pytest.mark.parametrize("room", ["cpu", "reference"])
@pytest.mark.parametrize(("name", "arrays", "options"), BAD)
def test_what_does_not_fit_is_a_value_error(
    room: str, name: str, arrays: tuple[np.ndarray, ...], options: dict[str, Any]
) -> None:
    with kernels.use(room), pytest.raises(ValueError, match=r"\d"):
        getattr(kernels, name)(*arrays, **options)


@pytest.mark.parametrize("place", [-1, 16])
def test_a_place_outside_the_plane_is_never_read_or_written(place: int) -> None:
    index = np.full((1, 1, 1, 1), place)
    with pytest.raises(IndexError, match="0 to 15"):
        kernels.gather_plane(image(1, 1, 4, 4), index=index)
    with pytest.raises(IndexError, match="0 to 15"):
        kernels.scatter_plane(image(1, 1, 1, 1), index=index, shape=(1, 1, 4, 4))


def test_arrays_that_do_not_fit_are_not_stepped() -> None:
    with pytest.raises(ValueError, match="same shape"):
        kernels.sgd(image(3), image(2), image(3), lr=1.0, momentum=0.0, nesterov=False,
                    weight_decay=0.0)  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("name", "inputs", "options"),
    [
        ("leaky_relu", 1, {"slope": 0.2}),
        ("leaky_relu_dx", 2, {"slope": 0.2}),
        ("sigmoid", 1, {}),
        ("softplus", 1, {}),
        ("bias_leaky_relu_backward", 2, {"slope": 0.2}),
        ("bias_tanh_backward", 2, {}),
        ("bias_sigmoid_backward", 2, {}),
    ],
)
def test_nan_infinity_and_zeros_pass_as_in_the_reference(
    name: str, inputs: int, options: dict[str, Any], dtype: type
) -> None:
    special = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, 88.0, -104.0, 1.0]
    grids = np.meshgrid(*[np.array(special, dtype)] * 2, indexing="ij")
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        ours, plain = both(name, *grids[:inputs], **options)
    np.testing.assert_array_equal(ours, plain, strict=True)
    np.testing.assert_array_equal(np.signbit(ours), np.signbit(plain))


def test_nan_passes_maxout() -> None:
    x = np.array([[1, np.nan, 2, 3], [np.nan, 5, -np.inf, np.inf]], np.float32)
    bias = np.zeros(4, np.float32)
    with np.errstate(invalid="ignore"):
        ours, plain = both("bias_maxout", x, bias, pieces=2)
        g = np.ones((2, 2), np.float32)
        dx, plain_dx = both("bias_maxout_backward", g, plain, x, bias, pieces=2)
    np.testing.assert_array_equal(ours, plain)
    np.testing.assert_array_equal(plain, [[np.nan, 3], [np.nan, np.inf]])
    np.testing.assert_array_equal(dx, plain_dx)


def test_softmax_cross_entropy_of_what_is_not_finite() -> None:
    inf = np.inf
    x = np.array([[-inf, 1, 2], [-inf, -inf, -inf], [inf, 0, 0], [np.nan, 0, 1]], np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        loss, plain = both("softmax_cross_entropy", x, labels=np.array([0, 1, 0, 2]))
    np.testing.assert_array_equal(loss, plain)
    np.testing.assert_array_equal(loss, [inf, np.nan, np.nan, np.nan])


@pytest.mark.parametrize("name", ["bias_leaky_relu", "bias_tanh", "bias_sigmoid"])
def test_nan_passes_the_fused_activations(name: str) -> None:
    x = np.array([[np.nan, 1.0], [2.0, np.inf]], np.float32)
    options = {"slope": 0.2} if "leaky" in name else {}
    np.testing.assert_array_equal(*both(name, x, np.array([0.5, -1.0], np.float32), **options))


@pytest.mark.parametrize("layout", ["plain", "channels last"])
@pytest.mark.parametrize("shape", [(4000, 3), (8, 3, 31, 29), (8, 200, 31, 29)])
@pytest.mark.parametrize("outlier", [0, 10])
def test_moments_of_values_far_from_zero(shape: tuple[int, ...], layout: str, outlier: int) -> None:
    x = (np.random.default_rng(0).standard_normal(shape) + 1e4).astype(np.float32)
    x[(0, slice(None), *(0,) * (x.ndim - 2))] += outlier  # one of those that sums are taken about
    mean, var = kernels.moments(laid(x, layout))
    axes = (0, *range(2, x.ndim))
    np.testing.assert_allclose(mean, x.mean(axis=axes, dtype=np.float64), rtol=1e-7)
    np.testing.assert_allclose(var, x.var(axis=axes, dtype=np.float64), rtol=1e-6)


@pytest.mark.parametrize("layout", ["plain", "channels last"])
def test_moments_of_a_channel_of_equal_values(layout: str) -> None:
    x = np.full((5, 3, 7, 9), 0.1, np.float32)
    x[:, 1] = 1e8
    mean, var = kernels.moments(laid(x, layout))
    np.testing.assert_array_equal(mean, x[0, :, 0, 0])
    np.testing.assert_array_equal(var, np.zeros(3))


@pytest.mark.parametrize("room", ["cpu", "reference"])
def test_philox_gives_the_published_words(room: str) -> None:
    """The first of the known answers that Random123 ships."""
    out = np.empty(4, np.uint32)
    with kernels.use(room):
        kernels.random_bits(out, key=0, offset=0)
    assert [f"{word:08x}" for word in out] == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]


def test_words_depend_on_their_place_alone() -> None:
    whole, part = np.empty(400, np.uint32), np.empty(33, np.uint32)
    kernels.random_bits(whole, key=7, offset=100)
    kernels.random_bits(part, key=7, offset=150)
    np.testing.assert_array_equal(part, whole[200:233])


def test_the_normal_numbers_are_normal() -> None:
    count = 1 << 18
    z = np.empty(count)
    kernels.normal(z, key=3, offset=0)
    for power, moment, spread in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(np.mean(z**power) - moment) < 4 * math.sqrt(spread / count)
    tail = math.erfc(3 / math.sqrt(2))  # beyond three standard deviations
    assert abs(np.mean(np.abs(z) > 3) - tail) < 4 * math.sqrt(tail / count)
    assert abs(np.mean(z[::2] * z[1::2])) < 4 / math.sqrt(count / 2)


def test_uniform_numbers_and_masks_have_their_share() -> None:
    count = 1 << 18
    numbers, mask = np.empty(count, np.float32), np.empty(count, np.float32)
    kernels.uniform(numbers, key=3, offset=0)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert abs(numbers.mean(dtype=np.float64) - 0.5) < 4 * math.sqrt(1 / 12 / count)
    kernels.dropout_mask(mask, keep=0.75, key=3, offset=0)
    assert set(mask) == {0, np.float32(1 / 0.75)}
    assert abs(np.mean(mask > 0) - 0.75) < 4 * math.sqrt(0.75 * 0.25 / count)


def convolve() -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((6, 8, 40, 40), np.float32)
    return kernels.conv2d(x, rng.standard_normal((16, 8, 3, 3), np.float32))


def test_numpy_keeps_its_threads() -> None:
    blas = ThreadpoolController().select(user_api="blas")
    before = [library.get_num_threads() for library in blas.lib_controllers]
    convolve()
    assert [library.get_num_threads() for library in blas.lib_controllers] == before


def test_kernels_may_be_called_from_several_threads() -> None:
    expected, results = convolve(), []
    callers = [threading.Thread(target=lambda: results.append(convolve())) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert [r.tobytes() for r in results] == [expected.tobytes()] * 4


def test_an_error_in_a_piece_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba, "get_num_threads", lambda: 3)

    def work(start: int, stop: int) -> None:
        if threading.current_thread() is not threading.main_thread() or start > 500:
            raise ArithmeticError(start, stop)

    with pytest.raises(ArithmeticError):
        threads.spread(work, 1000, grain=1)


def test_an_interrupted_caller_waits_for_its_helpers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba, "get_num_threads", lambda: 2)
    helping, finished = threading.Event(), []

    def work(start: int, stop: int) -> None:
        if threading.current_thread() is threading.main_thread():
            assert helping.wait(60)  # a helper is at work now
            raise KeyboardInterrupt
        helping.set()
        time.sleep(0.05)
        finished.append(start)

    with pytest.raises(KeyboardInterrupt):
        threads.spread(work, 2, grain=1)
    assert finished
    expected = convolve()
    monkeypatch.undo()
    assert convolve().tobytes() == expected.tobytes()


LITTER = """
#include <cstdint>
// Fills what the stack will lend next with signalling NaNs.
extern "C" void litter() {
    volatile std::uint32_t words[1 << 14];
    for (auto& word : words) word = 0x7f800001;
}
"""


@needs_gxx
@pytest.mark.filterwarnings("error")  # of NumPy: OpenBLAS for AVX-512 raised it
@pytest.mark.parametrize("room", ["reference", "cpu"])
def test_a_product_with_a_vector_raises_no_false_alarm(room: str, tmp_path: Path) -> None:
    (tmp_path / "litter.cpp").write_text(LITTER)
    library = tmp_path / "litter.so"
    subprocess.run(
        [emu.compiler()[0], "-O0", "-shared", "-fPIC", tmp_path / "litter.cpp", "-o", library],
        check=True,
    )
    litter = ctypes.CDLL(str(library)).litter
    rng = np.random.default_rng(0)
    for a_shape, b_shape in [
        ((3, 5), (5,)), ((3, 5), (5, 1)), ((1, 5), (5, 3)), ((2050, 5), (5, 1)),
        ((1, 5), (5, 2050)), ((2, 3, 5), (5,)), ((2, 3, 5), (2, 5, 1)), ((700, 3, 5), (700, 5, 1)),
    ]:  # fmt: skip
        a = rng.standard_normal(a_shape).astype(np.float32)
        b = rng.standard_normal(b_shape).astype(np.float32)
        for b_laid in (b, np.asfortranarray(b)):
            litter()
            with kernels.use(room):
                y = kernels.matmul(a, b_laid)
            np.testing.assert_allclose(y, a.astype(float) @ b, rtol=1e-5, atol=1e-5)


def test_a_helper_that_is_done_first_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba, "get_num_threads", lambda: 2)
    helped = threading.Event()

    def work(start: int, stop: int) -> None:
        if threading.current_thread() is threading.main_thread():
            assert helped.wait(60)
            time.sleep(0.002)  # by now the helper has said that it is done
        else:
            helped.set()

    for _ in range(20):
        helped.clear()
        threads.spread(work, 2, grain=1)
    assert threads._helpers[0].news.qsize() <= 2


def test_a_piece_may_use_kernels_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba, "get_num_threads", lambda: 3)
    expected, results = convolve(), []
    threads.spread(lambda start, stop: results.append(convolve()), 6, grain=1)
    assert [r.tobytes() for r in results] == [expected.tobytes()] * 6


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_kernels_work_in_a_forked_process() -> None:
    program = """
import os, sys, warnings, numba
sys.path.insert(0, sys.argv[1])
import test_twins
numba.get_num_threads = lambda: 3
expected = test_twins.convolve().tobytes()
warnings.simplefilter("ignore")  # newer Pythons warn of any fork beside threads
child = os.fork()
if not child:
    os._exit(0 if test_twins.convolve().tobytes() == expected else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    command = [sys.executable, "-c", program, os.path.dirname(__file__)]
    assert subprocess.run(command, timeout=120, check=False).returncode == 0

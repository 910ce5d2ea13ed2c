"""A case for each primitive."""

from __future__ import annotations

import math
from typing import Any

import minigan_kernels as kernels
import numpy as np
from hypothesis import strategies as st
from minigan_kernels.checks import Window
from minigan_kernels.epilogue import LINEAR, Epilogue

from minigan.tensor import Tensor

from .source import PRIMITIVE_CASES, Shape, Source, both, case_of, op


@case_of(PRIMITIVE_CASES, "identity", "negative", "exp", "square", "sin", "cos", "tanh", "sigmoid")
@case_of(PRIMITIVE_CASES, "erf", "silu", "gelu_erf")
def _smooth(s: Source, name: str) -> Any:
    return op(name), [s.normal(s.shape())]


@case_of(PRIMITIVE_CASES, "astype")
def _astype(s: Source, name: str) -> Any:
    return lambda x: op(name)(x, dtype=np.dtype(np.float64)), [s.normal(s.shape())]


@case_of(PRIMITIVE_CASES, "softplus")
def _softplus(s: Source, name: str) -> Any:
    return op(name), [3 * s.normal(s.shape())]


@case_of(PRIMITIVE_CASES, "log", "sqrt")
def _of_positive(s: Source, name: str) -> Any:
    return op(name), [s.positive(s.shape())]


@case_of(PRIMITIVE_CASES, "absolute")
def _kinked(s: Source, name: str) -> Any:
    return op(name), [s.away(s.shape())]


@case_of(PRIMITIVE_CASES, "leaky_relu")
def _leaky(s: Source, name: str) -> Any:
    slope = s.pick(0.0, 0.2, 1.0)
    return lambda x: op(name)(x, slope=slope), [s.away(s.shape())]


@case_of(PRIMITIVE_CASES, "leaky_relu_dx")
def _leaky_dx(s: Source, name: str) -> Any:
    slope, shape = s.pick(0.0, 0.2, 1.0), s.shape()
    return lambda g, x: op(name)(g, x, slope=slope), [s.normal(shape), s.away(shape)]


@case_of(PRIMITIVE_CASES, "elu")
def _elu(s: Source, name: str) -> Any:
    alpha = s.pick(1.0, 0.5)
    return lambda x: op(name)(x, alpha=alpha), [s.away(s.shape())]


@case_of(PRIMITIVE_CASES, "add", "subtract", "multiply")
def _binary(s: Source, name: str) -> Any:
    a, b = s.broadcast_pair()
    if s.flag():
        a, b = b, a
    return op(name), [s.normal(a), s.normal(b)]


@case_of(PRIMITIVE_CASES, "divide")
def _divide(s: Source, name: str) -> Any:
    a, b = s.broadcast_pair()
    return op(name), [s.normal(a), s.away(b, 0.5)]


@case_of(PRIMITIVE_CASES, "power")
def _power(s: Source, name: str) -> Any:
    a, b = s.broadcast_pair()
    exponents = s.normal(b) * (s.rng.random(b) < 0.8)  # 0 is one like any other where a > 0
    return op(name), [s.positive(a), np.asarray(exponents)]


@case_of(PRIMITIVE_CASES, "maximum", "minimum")
def _larger(s: Source, name: str) -> Any:
    return op(name), s.distinct(*s.broadcast_pair())


@case_of(PRIMITIVE_CASES, "where")
def _where(s: Source, name: str) -> Any:
    a, b = s.broadcast_pair()
    condition = s.rng.random(np.broadcast_shapes(a, b)) < 0.5
    return lambda a, b: op(name)(a, b, condition=condition), [s.normal(a), s.normal(b)]


@case_of(PRIMITIVE_CASES, "sum")
def _sum(s: Source, name: str) -> Any:
    shape, keepdims = s.shape(), s.flag()
    axis = s.axes(len(shape))
    return lambda x: op(name)(x, axis=axis, keepdims=keepdims), [s.normal(shape)]


@case_of(PRIMITIVE_CASES, "max", "min")
def _extreme(s: Source, name: str) -> Any:
    shape, keepdims = s.shape(), s.flag()
    axis = s.axes(len(shape))
    return lambda x: op(name)(x, axis=axis, keepdims=keepdims), s.distinct(shape)


@case_of(PRIMITIVE_CASES, "broadcast_to")
def _broadcast_to(s: Source, name: str) -> Any:
    shape = s.shape()
    return lambda x: op(name)(x, shape=shape), [s.normal(s.narrowed(shape))]


@case_of(PRIMITIVE_CASES, "sum_to")
def _sum_to(s: Source, name: str) -> Any:
    shape = s.shape()
    narrow = s.narrowed(shape)
    return lambda x: op(name)(x, shape=narrow), [s.normal(shape)]


@case_of(PRIMITIVE_CASES, "reshape")
def _reshape(s: Source, name: str) -> Any:
    shape = s.shape()
    new = s.pick((-1,), shape[::-1], (*shape, 1), (1, -1, *shape[1:]))
    return lambda x: op(name)(x, shape=new), [s.normal(shape)]


@case_of(PRIMITIVE_CASES, "transpose")
def _transpose(s: Source, name: str) -> Any:
    shape = s.shape()
    axes = tuple(s.draw(st.permutations(range(len(shape)))))
    return lambda x: op(name)(x, axes=axes), [s.normal(shape)]


def _some_index(s: Source, shape: Shape) -> Any:
    """Any kind of NumPy index into three axes: slices, places, repeats, masks, new axes."""
    n = shape[0]
    places = s.rng.integers(-n, n, (s.int(1, 2), 3))
    mask = s.rng.random(shape[:2]) < 0.6
    mask[0, 0] = True
    return s.pick(
        s.int(-n, n - 1),
        slice(None, None, -1),
        (Ellipsis, slice(s.int(0, 1), None, 2)),
        (slice(None), None, -1),
        (None, Ellipsis, 0),
        (),
        places,
        (slice(None), [0, 0, -1]),
        (places, slice(None), 0),
        (places, np.zeros_like(places)),
        mask,
        (mask, slice(None, None, -1)),
        s.rng.random(shape) < 0.7,
    )


@case_of(PRIMITIVE_CASES, "getitem")
def _getitem(s: Source, name: str) -> Any:
    shape = s.shape(3, 3)
    index = _some_index(s, shape)
    return lambda x: op(name)(x, index=index), [s.normal(shape)]


@case_of(PRIMITIVE_CASES, "put")
def _put(s: Source, name: str) -> Any:
    shape = s.shape(3, 3)
    index = _some_index(s, shape)
    part = np.zeros(shape)[index].shape
    return lambda g: op(name)(g, index=index, shape=shape), [s.normal(part)]


@case_of(PRIMITIVE_CASES, "concatenate")
def _concatenate(s: Source, name: str) -> Any:
    shape = s.shape(1, 3)
    axis = s.int(0, len(shape) - 1)
    lengths = [s.int(1, 3) for _ in range(s.int(1, 3))]
    parts = [s.normal((*shape[:axis], n, *shape[axis + 1 :])) for n in lengths]
    return lambda *xs: op(name)(*xs, axis=axis), parts


@case_of(PRIMITIVE_CASES, "pad")
def _pad(s: Source, name: str) -> Any:
    shape = s.shape(1, 3)
    width = tuple((s.int(0, 2), s.int(0, 2)) for _ in shape)
    return lambda x: op(name)(x, width=width, value=0.7), [s.normal(shape)]


@case_of(PRIMITIVE_CASES, "matmul")
def _matmul(s: Source, name: str) -> Any:
    n, k, m = s.int(1, 3), s.int(1, 3), s.int(1, 3)
    lead = s.shape(0, 2, 2)
    a, b = (*s.narrowed(lead), n, k), (*lead, k, m)
    return op(name), [s.normal(a), s.normal(b)]


@case_of(PRIMITIVE_CASES, "einsum")
def _einsum(s: Source, name: str) -> Any:
    sizes = {c: s.int(1, 3) for c in "bijkl"}
    subscripts = s.pick(
        "ij,jk->ik", "ij->ji", "ij->i", "ij->", "ij,ij->", "i,j->ij", "bij,bjk->bik",
        "ij,jk,kl->il", "ij,k->i", "bij,bij->b", "i,ij,j->", "ijk,j->ki", ",i->i",
    )  # fmt: skip
    shapes = [tuple(sizes[c] for c in term) for term in subscripts.split("->")[0].split(",")]
    if s.flag() and subscripts == "ij,ij->":  # labels of length 1 broadcast
        shapes[1] = (1, shapes[1][1])
    return lambda *xs: op(name)(*xs, subscripts=subscripts), [s.normal(shape) for shape in shapes]


def conv_shapes(s: Source) -> tuple[dict[str, Any], Shape, Shape, Shape]:
    """Options and the shapes of x, w and y."""
    options, window = s.windows()
    groups = options["groups"] = s.pick(1, 1, 2)
    x = (s.int(1, 2), groups * s.int(1, 2), *s.plane(window))
    w = (groups * s.int(1, 2), x[1] // groups, *window.kernel)
    return options, x, w, (x[0], w[0], *window.output((x[2], x[3])))


@case_of(PRIMITIVE_CASES, "conv2d")
def _conv2d(s: Source, name: str) -> Any:
    options, x, w, _ = conv_shapes(s)
    return lambda x, w: op(name)(x, w, **options), [s.normal(x), s.normal(w)]


@case_of(PRIMITIVE_CASES, "conv2d_dx")
def _conv2d_dx(s: Source, name: str) -> Any:
    options, x, w, y = conv_shapes(s)
    return lambda g, w: op(name)(g, w, shape=x, **options), [s.normal(y), s.normal(w)]


@case_of(PRIMITIVE_CASES, "conv2d_dw")
def _conv2d_dw(s: Source, name: str) -> Any:
    options, x, w, y = conv_shapes(s)
    return lambda x, g: op(name)(x, g, shape=w, **options), [s.normal(x), s.normal(y)]


@case_of(PRIMITIVE_CASES, "conv2d_activated", "conv2d_dx_activated")
def _conv2d_activated(s: Source, name: str) -> Any:
    options, x, w, y = conv_shapes(s)
    if name == "conv2d_dx_activated":
        options, x, y = {**options, "shape": x}, y, x
    xs = [s.normal(x), s.normal(w)]
    options["epilogue"] = s.pick(
        LINEAR, Epilogue("leaky_relu", 0.2), Epilogue("leaky_relu", 0.0), Epilogue("tanh"),
        Epilogue("sigmoid"),
    )  # fmt: skip
    bias = s.normal((y[1],))
    if options["epilogue"].activation == "leaky_relu":  # the kink between two values
        plain = {k: v for k, v in options.items() if k != "epilogue"}
        sums = op(name.removesuffix("_activated"))(*xs, **plain).data
        bias[:] = [-_gap(sums[:, c]) for c in range(y[1])]
    return lambda x, w, bias: op(name)(x, w, bias, **options), [*xs, bias]


def _places(s: Source) -> tuple[np.ndarray, Shape]:
    """Places in each plane, some of them named twice, and the planes' shape."""
    shape = s.image()
    index = s.rng.integers(0, shape[2] * shape[3], (*shape[:2], s.int(1, 3), s.int(1, 3)))
    return index, shape


@case_of(PRIMITIVE_CASES, "gather_plane")
def _gather(s: Source, name: str) -> Any:
    index, shape = _places(s)
    return lambda x: op(name)(x, index=index), [s.normal(shape)]


@case_of(PRIMITIVE_CASES, "scatter_plane")
def _scatter(s: Source, name: str) -> Any:
    index, shape = _places(s)
    return lambda g: op(name)(g, index=index, shape=shape), [s.normal(index.shape)]


def _pool_shapes(s: Source) -> tuple[dict[str, Any], Shape, Shape]:
    """Options and the shapes of x and y; every window holds a pixel."""
    kernel = s.int(1, 3), s.int(1, 3)
    stride = s.pick(1, 2, 4, (1, 3), (4, 1))
    padding = s.pick(s.int(0, min(kernel) - 1), tuple(s.int(0, k - 1) for k in kernel))
    window = Window(kernel, both(stride), both(padding))
    x = (s.int(1, 2), s.int(1, 2), *s.plane(window))
    y = (*x[:2], *window.output((x[2], x[3])))
    return {"kernel": kernel, "stride": stride, "padding": padding}, x, y


@case_of(PRIMITIVE_CASES, "avg_pool2d")
def _avg_pool(s: Source, name: str) -> Any:
    options, x, _ = _pool_shapes(s)
    return lambda x: op(name)(x, **options), [s.normal(x)]


@case_of(PRIMITIVE_CASES, "avg_pool2d_dx")
def _avg_pool_dx(s: Source, name: str) -> Any:
    options, x, y = _pool_shapes(s)
    return lambda g: op(name)(g, shape=x, **options), [s.normal(y)]


@case_of(PRIMITIVE_CASES, "upsample_nearest", "upsample_nearest_dx")
def _upsample_op(s: Source, name: str) -> Any:
    (n, c, h, w), factor = s.image(), s.int(1, 3)
    shape = (n, c, h, w) if name == "upsample_nearest" else (n, c, h * factor, w * factor)
    return lambda x: op(name)(x, factor=factor), [s.normal(shape)]


@case_of(PRIMITIVE_CASES, "bias_leaky_relu")
def _bias_leaky(s: Source, name: str) -> Any:
    slope, shape = s.pick(0.0, 0.2), s.vectors_or_images()
    bias = s.normal(shape[1:2])
    x = s.laid(s.away(shape) - bias.reshape(1, -1, *(1,) * (len(shape) - 2)))
    return lambda x, bias: op(name)(x, bias, slope=slope), [x, bias]


@case_of(PRIMITIVE_CASES, "bias_tanh", "bias_sigmoid")
def _bias_smooth(s: Source, name: str) -> Any:
    shape = s.vectors_or_images()
    return op(name), [s.normal(shape), s.normal(shape[1:2])]


@case_of(PRIMITIVE_CASES, "bias_maxout")
def _bias_maxout(s: Source, name: str) -> Any:
    n, units, pieces = s.int(1, 3), s.int(1, 3), s.int(1, 4)
    bias = s.normal((units * pieces,))
    (x,) = s.distinct((n, units * pieces))
    return lambda x, bias: op(name)(x, bias, pieces=pieces), [s.laid(x - bias), bias]


@case_of(PRIMITIVE_CASES, "softmax_cross_entropy")
def _softmax_cross_entropy(s: Source, name: str) -> Any:
    n, classes = s.int(1, 3), s.int(1, 4)
    labels = s.rng.integers(0, classes, n)
    return lambda x: op(name)(x, labels=labels), [2 * s.normal((n, classes))]


def batch(s: Source) -> Shape:
    """(N, C) or (N, C, H, W) with at least two values a channel, one that varies."""
    shape = s.vectors_or_images()
    return shape if math.prod(shape) >= 2 * shape[1] else (2, *shape[1:])


def scale_and_shift(
    s: Source, x: np.ndarray, mean: np.ndarray, deviation: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Any gamma, and a beta that puts the kink of an activation after it between two values."""
    gamma = s.away(x.shape[1:2], 0.5)
    beta = np.zeros_like(gamma)
    for c in range(len(gamma)):
        beta[c] = -_gap(gamma[c] * (x[:, c] - mean[c]) / deviation[c])
    return gamma, s.laid(beta)


def _gap(values: np.ndarray) -> float:
    """The middle of the widest gap between values, or a place below them if there is none."""
    values = np.unique(values)
    gaps = np.diff(values, append=values[-1])
    wide = np.argmax(gaps)
    return values[0] - 1 if gaps[wide] < 0.01 else values[wide : wide + 2].mean()


@case_of(PRIMITIVE_CASES, "batch_norm")
def _batch_norm(s: Source, name: str) -> Any:
    eps, slope, passed = s.pick(1e-5, 1e-2), s.pick(1.0, 0.2, 0.0), s.flag()

    def f(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        moments = kernels.moments(x.data) if passed else None
        return op(name)(x, gamma, beta, eps=eps, slope=slope, moments=moments)

    (x,) = s.distinct(batch(s))
    mean, var = kernels.moments(x)
    return f, [x, *scale_and_shift(s, x, mean, np.sqrt(var + eps))]


@case_of(PRIMITIVE_CASES, "group_norm")
def _group_norm(s: Source, name: str) -> Any:
    options = {"groups": s.int(1, 3), "eps": s.pick(1e-5, 1e-2)}
    shape = (s.int(1, 3), options["groups"] * s.int(1, 2), *s.shape(0, 2))
    values = math.prod(shape[1:]) // options["groups"]
    (x,) = s.distinct(shape if values > 1 else (*shape, 2))  # a group of one value is flat
    gamma, beta = s.normal(x.shape[1:2]), s.normal(x.shape[1:2])
    return lambda *xs: op(name)(*xs, **options), [x, gamma, beta]


@case_of(PRIMITIVE_CASES, "batch_norm_inference")
def _batch_norm_inference(s: Source, name: str) -> Any:
    eps, slope = s.pick(1e-5, 1e-2), s.pick(1.0, 0.2, 0.0)
    (x,) = s.distinct(s.vectors_or_images())
    mean, var = s.normal(x.shape[1:2]), s.positive(x.shape[1:2])
    options = {"mean": mean, "var": var, "eps": eps, "slope": slope}
    return (
        lambda x, gamma, beta: op(name)(x, gamma, beta, **options),
        [x, *scale_and_shift(s, x, mean, np.sqrt(var + eps))],
    )

"""One Hypothesis strategy for each primitive, layer and loss: a function of float64 arrays.

Every case is smooth around its inputs: values stay away from kinks and poles, masks and indices are
drawn once. Inputs lie in memory in any way that NumPy allows, and so do the gradients that come in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import minigan_kernels as kernels
import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from minigan_kernels.epilogue import LINEAR, Epilogue
from minigan_kernels.shapes import Window

import minigan as mg
from minigan import nn
from minigan.tensor import PRIMITIVES, Tensor
from minigan.testing import check_gradients

Shape = tuple[int, ...]

# Shrinking is left out: an example is small already, and shrinking it would take minutes.
SETTINGS = settings(
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
QUICK = settings(SETTINGS, max_examples=12)
MANY = settings(SETTINGS, max_examples=100)
TWIN = settings(SETTINGS, max_examples=5)


class Case(NamedTuple):
    """A function of tensors and the float64 arrays around which it is smooth."""

    f: Callable[..., Tensor]
    inputs: list[np.ndarray]


def check(case: Case, order: int = 2) -> None:
    """All derivatives up to `order`.

    Each order has a check of its own: where a gradient is differentiated further, it is recorded,
    and a fused operation takes its reference instead of its backward kernel.
    """
    for last in range(1, order + 1):
        check_gradients(case.f, case.inputs, order=last)


def run(strategy: st.SearchStrategy[Case], how: settings, body: Callable[[Case], object]) -> None:
    """`body` for as many drawn cases as `how` says."""

    @how
    @given(strategy)
    def each(case: Case) -> None:
        body(case)

    each()


def layer_classes() -> dict[str, type[nn.Module]]:
    """The layers of `minigan.nn`: all that derive from `Module`."""
    return {
        name: kind
        for name, kind in vars(nn).items()
        if isinstance(kind, type) and issubclass(kind, nn.Module) and kind is not nn.Module
    }


def loss_functions() -> dict[str, Callable[..., Tensor]]:
    """The public functions of `minigan.losses`."""
    return {
        name: value
        for name, value in vars(mg.losses).items()
        if callable(value)
        and getattr(value, "__module__", "") == mg.losses.__name__
        and not name.startswith("_")
    }


# --- What a case is drawn from ---------------------------------------------------------------


class Source:
    """Shapes and options come from Hypothesis, numbers from a generator that it seeds."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self.draw = draw
        self.rng = np.random.default_rng(draw(st.integers(0, 2**16)))

    def pick(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def int(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def flag(self) -> bool:
        return self.draw(st.booleans())

    def shape(self, low: int = 0, high: int = 3, most: int = 3) -> Shape:
        return tuple(self.draw(st.lists(st.integers(1, most), min_size=low, max_size=high)))

    def image(self, *, channels: int | None = None) -> Shape:
        """(N, C, H, W), odd and small."""
        return (
            self.int(1, 2),
            channels or self.int(1, 3),
            self.int(1, 4),
            self.int(1, 4),
        )

    def vectors_or_images(self) -> Shape:
        """(N, C) or (N, C, H, W)."""
        return (self.int(1, 3), self.int(1, 3)) if self.flag() else self.image()

    def narrowed(self, shape: Shape) -> Shape:
        """A shape that broadcasts to `shape`: leading axes left out, others of length 1."""
        kept = shape[self.int(0, len(shape)) :]
        return tuple(1 if self.flag() else n for n in kept)

    def broadcast_pair(self) -> tuple[Shape, Shape]:
        """Two shapes that broadcast with each other, neither of them the result's, perhaps."""
        shape = self.shape()
        return self.narrowed(shape) if self.flag() else shape, self.narrowed(shape)

    def axes(self, ndim: int) -> Any:
        """None, one axis or several, from either end."""
        if ndim == 0 or self.flag():
            return self.pick(None, ()) if ndim == 0 else None
        signed = st.integers(-ndim, ndim - 1)
        if self.flag():
            return self.draw(signed)
        several = st.lists(signed, min_size=1, max_size=ndim, unique_by=lambda a: a % ndim)
        return tuple(self.draw(several))

    # numbers; each array lies in memory in a way of its own

    def laid(self, array: np.ndarray | np.float64) -> np.ndarray:
        """The same values, perhaps as a view that is not contiguous."""
        layout = self.pick("plain", "channels last", "transposed", "reversed", "sliced")
        if np.ndim(array) == 0:
            return np.asarray(array)
        if layout == "channels last" and array.ndim == 4:
            return array.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)
        if layout == "transposed":
            return array.T.copy().T
        backwards = (slice(None, None, -1),) * array.ndim
        if layout == "reversed":
            return array[backwards].copy()[backwards]
        if layout == "sliced":
            wide = np.full(tuple(2 * n + 1 for n in array.shape), np.nan)
            view = wide[(slice(1, None, 2),) * array.ndim]
            view[...] = array
            return view
        return array

    def normal(self, shape: Shape) -> np.ndarray:
        return self.laid(self.rng.standard_normal(shape))

    def positive(self, shape: Shape, low: float = 0.5, high: float = 2.0) -> np.ndarray:
        return self.laid(self.rng.uniform(low, high, shape))

    def away(self, shape: Shape, gap: float = 0.1) -> np.ndarray:
        """Values of either sign, none within `gap` of 0."""
        sign = self.rng.choice([-1.0, 1.0], shape)
        return self.laid(sign * self.rng.uniform(gap, gap + 1.5, shape))

    def distinct(self, *shapes: Shape) -> list[np.ndarray]:
        """Arrays of which no two values are within 0.1 of each other."""
        sizes = [math.prod(shape) for shape in shapes]
        count = sum(sizes)
        values = 0.15 * (np.arange(count) - count / 2) + self.rng.uniform(-0.02, 0.02, count)
        parts = np.split(self.rng.permutation(values), np.cumsum(sizes)[:-1])
        return [self.laid(p.reshape(s)) for p, s in zip(parts, shapes, strict=True)]

    def turned(self, f: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """f, perhaps with a view on top, so that the gradient by f's result is not contiguous."""
        way = self.pick("as it is", "transposed", "reversed")
        if way == "transposed":
            return lambda *xs: mg.transpose(f(*xs))
        if way == "reversed":
            return lambda *xs: _reversed(f(*xs))
        return f

    def windows(self, most: int = 3) -> tuple[dict[str, Any], Window]:
        """Options of a convolution, with strides beyond the kernel among them, and their window."""
        kernel = self.int(1, most), self.int(1, most)
        stride, padding = (self.int(1, 4), self.int(1, 3)), (self.int(0, 2), self.int(0, 2))
        dilation = self.int(1, 2), self.int(1, 2)
        if self.flag():  # one number for both directions
            one = stride[0], padding[0], dilation[0]
            options: dict[str, Any] = dict(zip(("stride", "padding", "dilation"), one, strict=True))
            stride, padding, dilation = ((v, v) for v in one)
        else:
            options = {"stride": stride, "padding": padding, "dilation": dilation}
        return options, Window(kernel, stride, padding, dilation)

    def plane(self, window: Window) -> tuple[int, int]:
        """A size (H, W) that the window fits."""
        sizes = []
        for k, p, d in zip(window.kernel, window.padding, window.dilation, strict=True):
            least = max(1, d * (k - 1) + 1 - 2 * p)
            sizes.append(self.int(least, least + 4))
        return sizes[0], sizes[1]


Build = Callable[[Source], tuple[Callable[..., Tensor], Sequence[np.ndarray]]]


def strategy(build: Build) -> st.SearchStrategy[Case]:
    @st.composite
    def drawn(draw: Any) -> Case:
        source = Source(draw)
        f, inputs = build(source)
        return Case(source.turned(f), list(inputs))

    return drawn()


PRIMITIVE_CASES: dict[str, st.SearchStrategy[Case]] = {}
LAYER_CASES: dict[str, st.SearchStrategy[Case]] = {}
LOSS_CASES: dict[str, st.SearchStrategy[Case]] = {}


def case_of(table: dict[str, st.SearchStrategy[Case]], *names: str) -> Callable[[Any], Any]:
    """Register a builder `(source, name) -> (f, inputs)` for these names."""

    def register(build: Callable[[Source, str], Any]) -> Callable[[Source, str], Any]:
        for name in names:
            table[name] = strategy(lambda source, name=name: build(source, name))
        return build

    return register


def op(name: str) -> Callable[..., Tensor]:
    """The primitive itself, looked up at the call, as a mutation may replace parts of it."""
    return PRIMITIVES[name]


# --- Primitives ------------------------------------------------------------------------------


@case_of(PRIMITIVE_CASES, "identity", "negative", "exp", "square", "sin", "cos", "tanh", "sigmoid")
def _smooth(s: Source, name: str) -> Any:
    return op(name), [s.normal(s.shape())]


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
    return op(name), [s.positive(a), s.normal(b)]


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


def _conv_shapes(s: Source) -> tuple[dict[str, Any], Shape, Shape, Shape]:
    """Options and the shapes of x, w and y."""
    options, window = s.windows()
    groups = options["groups"] = s.pick(1, 1, 2)
    x = (s.int(1, 2), groups * s.int(1, 2), *s.plane(window))
    w = (groups * s.int(1, 2), x[1] // groups, *window.kernel)
    return options, x, w, (x[0], w[0], *window.output((x[2], x[3])))


@case_of(PRIMITIVE_CASES, "conv2d")
def _conv2d(s: Source, name: str) -> Any:
    options, x, w, _ = _conv_shapes(s)
    return lambda x, w: op(name)(x, w, **options), [s.normal(x), s.normal(w)]


@case_of(PRIMITIVE_CASES, "conv2d_dx")
def _conv2d_dx(s: Source, name: str) -> Any:
    options, x, w, y = _conv_shapes(s)
    return lambda g, w: op(name)(g, w, shape=x, **options), [s.normal(y), s.normal(w)]


@case_of(PRIMITIVE_CASES, "conv2d_dw")
def _conv2d_dw(s: Source, name: str) -> Any:
    options, x, w, y = _conv_shapes(s)
    return lambda x, g: op(name)(x, g, shape=w, **options), [s.normal(x), s.normal(y)]


@case_of(PRIMITIVE_CASES, "conv2d_activated", "conv2d_dx_activated")
def _conv2d_activated(s: Source, name: str) -> Any:
    options, x, w, y = _conv_shapes(s)
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
    window = Window(kernel, _both(stride), _both(padding))
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


def _batch(s: Source) -> Shape:
    """(N, C) or (N, C, H, W) with at least two values a channel, one that varies."""
    shape = s.vectors_or_images()
    return shape if math.prod(shape) >= 2 * shape[1] else (2, *shape[1:])


def _scale_and_shift(
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

    (x,) = s.distinct(_batch(s))
    mean, var = kernels.moments(x)
    return f, [x, *_scale_and_shift(s, x, mean, np.sqrt(var + eps))]


@case_of(PRIMITIVE_CASES, "batch_norm_inference")
def _batch_norm_inference(s: Source, name: str) -> Any:
    eps, slope = s.pick(1e-5, 1e-2), s.pick(1.0, 0.2, 0.0)
    (x,) = s.distinct(s.vectors_or_images())
    mean, var = s.normal(x.shape[1:2]), s.positive(x.shape[1:2])
    options = {"mean": mean, "var": var, "eps": eps, "slope": slope}
    return (
        lambda x, gamma, beta: op(name)(x, gamma, beta, **options),
        [x, *_scale_and_shift(s, x, mean, np.sqrt(var + eps))],
    )


# --- Layers: by their input and by all of their parameters ------------------------------------


def layer_case(
    s: Source, layer: nn.Module, x: np.ndarray, reset: Callable[[], None] = lambda: None
) -> tuple[Callable[..., Tensor], list[np.ndarray]]:
    """A layer as a function of its input and parameters, whose values are drawn anew."""
    layer.astype(np.float64)
    names = list(layer.parameters())

    def f(x: Tensor, *values: Tensor) -> Tensor:
        reset()
        with layer.replaced(dict(zip(names, values, strict=True))):
            return layer(x)

    return f, [x, *(s.normal(p.shape) for p in layer.parameters().values())]


def rng() -> mg.Generator:
    return mg.Generator(0, "cases")


def _activation(s: Source) -> nn.Activation | None:
    return s.pick(None, nn.Tanh(), nn.Sigmoid(), nn.ELU(0.5), nn.LeakyReLU(0.2))


@case_of(LAYER_CASES, "Tanh", "Sigmoid", "Softplus", "ELU", "ReLU", "LeakyReLU", "Flatten")
def _plain_layer(s: Source, name: str) -> Any:
    return layer_case(s, getattr(nn, name)(), s.away(s.shape(2, 3)))


@case_of(LAYER_CASES, "Activation")
def _fused_activation(s: Source, name: str) -> Any:
    """Each activation's `with_bias`."""
    layer = s.pick(nn.Tanh(), nn.Sigmoid(), nn.Softplus(), nn.ELU(), nn.ReLU(), nn.LeakyReLU(0.2))
    shape = s.vectors_or_images()
    bias = s.normal(shape[1:2])
    x = s.laid(s.away(shape) - bias.reshape(1, -1, *(1,) * (len(shape) - 2)))
    return layer.with_bias, [x, bias]


@case_of(LAYER_CASES, "Reshape")
def _reshape_layer(s: Source, name: str) -> Any:
    return layer_case(s, nn.Reshape(2, -1, 1), s.normal((s.int(1, 3), 2 * s.int(1, 2))))


@case_of(LAYER_CASES, "Sequential")
def _sequential(s: Source, name: str) -> Any:
    layer = nn.Sequential(
        nn.Linear(2, 3, rng=rng(), activation=nn.Tanh()),
        nn.Sequential(nn.BatchNorm1d(3), nn.ELU()),
        nn.Linear(3, 1, rng=rng(), bias=False),
    )
    return layer_case(s, layer, *s.distinct((s.int(3, 4), 2)))


@case_of(LAYER_CASES, "Linear")
def _linear(s: Source, name: str) -> Any:
    size, units = s.int(1, 3), s.int(1, 3)
    layer = nn.Linear(size, units, rng=rng(), bias=s.flag(), activation=_activation(s))
    return layer_case(s, layer, s.normal((s.int(1, 3), size)))


@case_of(LAYER_CASES, "Maxout")
def _maxout(s: Source, name: str) -> Any:
    size, units, pieces = s.int(1, 3), s.int(1, 2), s.int(1, 3)
    layer = nn.Maxout(size, units, pieces, rng=rng())
    return layer_case(s, layer, s.normal((s.int(1, 3), size)))


@case_of(LAYER_CASES, "Embedding")
def _embedding(s: Source, name: str) -> Any:
    count = s.int(1, 3)
    layer = nn.Embedding(count, s.int(1, 3), rng=rng()).astype(np.float64)
    labels = s.rng.integers(0, count, s.int(1, 4))

    def f(weight: Tensor) -> Tensor:
        with layer.replaced({"weight": weight}):
            return layer(labels)

    return f, [s.normal(layer.weight.shape)]


@case_of(LAYER_CASES, "Conv2d")
def _conv_layer(s: Source, name: str) -> Any:
    options, x, w, _ = _conv_shapes(s)
    layer = nn.Conv2d(
        x[1], w[0], w[2:], rng=rng(), bias=s.flag(), activation=_activation(s), **options
    )
    return layer_case(s, layer, s.normal(x))


@case_of(LAYER_CASES, "ConvTranspose2d")
def _conv_transpose_layer(s: Source, name: str) -> Any:
    options, y, w, x = _conv_shapes(s)  # the convolution's output is this layer's input
    window = Window(w[2:], *(_both(options[k]) for k in ("stride", "padding", "dilation")))
    options["output_padding"] = tuple(
        (n + 2 * p - d * (k - 1) - 1) % step
        for n, k, step, p, d in zip(
            y[2:], window.kernel, window.stride, window.padding, window.dilation, strict=True
        )
    )
    layer = nn.ConvTranspose2d(
        x[1], y[1], w[2:], rng=rng(), bias=s.flag(), activation=_activation(s), **options
    )
    assert layer.weight.shape == w
    return layer_case(s, layer, s.normal(x))


@case_of(LAYER_CASES, "UpsampleNearest")
def _upsample(s: Source, name: str) -> Any:
    return layer_case(s, nn.UpsampleNearest(s.int(1, 3)), s.normal(s.image()))


@case_of(LAYER_CASES, "MaxPool2d", "AvgPool2d")
def _pool_layer(s: Source, name: str) -> Any:
    kernel = s.int(1, 3), s.int(1, 3)
    padding = s.int(0, min(kernel) // 2)
    stride = s.pick(None, 1, (2, 3), 4)
    size = [max(1, k - 2 * padding) + s.int(0, 3) for k in kernel]
    layer = getattr(nn, name)(kernel, stride=stride, padding=padding)
    return layer_case(s, layer, *s.distinct((s.int(1, 2), s.int(1, 2), *size)))


@case_of(LAYER_CASES, "Dropout")
def _dropout(s: Source, name: str) -> Any:
    layer = nn.Dropout(s.pick(0.5, 0.8, 1.0), rng=rng())

    def reset() -> None:  # the same mask at every call
        layer.rng.offset = 0

    return layer_case(s, layer.train(s.flag()), s.normal(s.shape(2, 3)), reset)


@case_of(LAYER_CASES, "Conditional", "Joined")
def _conditional(s: Source, name: str) -> Any:
    """With both inputs, and over vectors and planes."""
    n, k = s.int(2, 3), s.int(1, 3)
    tanh = nn.Tanh()
    layer: nn.Module
    if name == "Joined":
        first, second = nn.Linear(2, 2, rng=rng()), nn.Linear(k, 1, rng=rng())
        layer = nn.Joined(first, second, nn.Linear(3, 2, rng=rng(), activation=tanh), nn.ELU())
    else:
        layer = nn.Conditional(
            nn.Sequential(nn.Linear(2 + k, 4, rng=rng(), activation=tanh), nn.Reshape(1, 2, 2)),
            nn.Conv2d(1 + k, 2, 2, rng=rng()),
        )
    _, (x, *parameters) = layer_case(s, layer, s.normal((n, 2)))
    names = list(layer.parameters())

    def of_both(x: Tensor, y: Tensor, *values: Tensor) -> Tensor:
        with layer.replaced(dict(zip(names, values, strict=True))):
            return layer(x, y)

    return of_both, [x, s.normal((n, k)), *parameters]


@case_of(LAYER_CASES, "GaussianNoise")
def _noise(s: Source, name: str) -> Any:
    layer = nn.GaussianNoise(s.pick(0.0, 0.5), rng=rng())

    def reset() -> None:  # the same noise at every call
        layer.rng.offset = 0

    return layer_case(s, layer.train(s.flag()), s.normal(s.shape(2, 3)), reset)


@case_of(LAYER_CASES, "WeightNormLinear")
def _weight_norm(s: Source, name: str) -> Any:
    size, units = s.int(1, 3), s.int(1, 3)
    layer = nn.WeightNormLinear(
        size, units, rng=rng(), activation=_activation(s), learn_scale=s.flag()
    )
    f, (x, _, *rest) = layer_case(s, layer, s.normal((s.int(1, 3), size)))
    return f, [x, s.away((units, size), 0.5), *rest]  # a row of zeros has no direction


@case_of(LAYER_CASES, "SpectralNorm")
def _spectral_norm(s: Source, name: str) -> Any:
    """In inference, where u and v stand still, and are what the layer's values make of them."""
    rows, columns = s.int(1, 3), s.int(1, 3)
    x = s.normal((s.int(1, 3), columns))
    inner: nn.Linear | nn.Conv2d = nn.Linear(columns, rows, rng=rng(), activation=_activation(s))
    if s.flag():
        inner = nn.Conv2d(columns, rows, 2, rng=rng(), bias=s.flag(), activation=_activation(s))
        x = s.normal((s.int(1, 2), columns, 3, 2))
    layer = nn.SpectralNorm(inner, rng=rng())
    f, (x, *values) = layer_case(s, layer, x)
    inner.weight = Tensor(values[0])
    layer.converge()
    layer.eval()
    return f, [x, *values]


@case_of(LAYER_CASES, "BatchNorm", "BatchNorm1d", "BatchNorm2d")
def _batch_norm_layer(s: Source, name: str) -> Any:
    shape = {
        "BatchNorm": _batch(s),
        "BatchNorm1d": (s.int(2, 4), s.int(1, 3)),
        "BatchNorm2d": (2, *s.image()[1:]),
    }[name]
    layer = getattr(nn, name)(shape[1], eps=s.pick(1e-5, 1e-2), activation=_activation(s))
    layer.train(s.flag())
    layer.running_mean[:] = s.rng.standard_normal(shape[1])
    layer.running_var[:] = s.rng.uniform(0.5, 2, shape[1])
    (x,) = s.distinct(shape)
    f, _ = layer_case(s, layer, x)
    mean, var = kernels.moments(x) if layer.training else (layer.running_mean, layer.running_var)
    return f, [x, *_scale_and_shift(s, x, mean, np.sqrt(var + layer.eps))]


@case_of(LAYER_CASES, "InstanceNorm2d")
def _instance_norm(s: Source, name: str) -> Any:
    n, c, h, w = s.image()
    return layer_case(s, nn.InstanceNorm2d(c), *s.distinct((n, c, h + 1, w)))


@case_of(LAYER_CASES, "LayerNorm")
def _layer_norm(s: Source, name: str) -> Any:
    shape = (s.int(1, 2), *s.shape(0, 1), *s.pick((2,), (3,), (1, 3), (2, 2)))
    own = shape[-s.int(1, 2) :]
    return layer_case(s, nn.LayerNorm(own), *s.distinct(shape))


# --- Losses ----------------------------------------------------------------------------------


@case_of(LOSS_CASES, "binary_cross_entropy")
def _bce(s: Source, name: str) -> Any:
    shape = s.shape(1, 2)
    target = s.pick(0.0, 1.0, 0.9, s.rng.random(shape))
    return lambda logits: mg.losses.binary_cross_entropy(logits, target), [2 * s.normal(shape)]


@case_of(LOSS_CASES, "discriminator_loss")
def _discriminator(s: Source, name: str) -> Any:
    smooth = s.pick(1.0, 0.9)
    return (
        lambda real, fake: mg.losses.discriminator_loss(real, fake, smooth=smooth),
        [2 * s.normal(s.shape(1, 2)), 2 * s.normal(s.shape(1, 2))],
    )


@case_of(LOSS_CASES, "saturating_loss", "non_saturating_loss")
def _generator(s: Source, name: str) -> Any:
    return getattr(mg.losses, name), [2 * s.normal(s.shape(1, 2))]


@case_of(LOSS_CASES, "least_squares_discriminator_loss")
def _least_squares_discriminator(s: Source, name: str) -> Any:
    a, b = s.pick((0.0, 1.0), (-1.0, 1.0))
    return (
        lambda real, fake: mg.losses.least_squares_discriminator_loss(real, fake, a=a, b=b),
        [2 * s.normal(s.shape(1, 2)), 2 * s.normal(s.shape(1, 2))],
    )


@case_of(LOSS_CASES, "least_squares_generator_loss")
def _least_squares_generator(s: Source, name: str) -> Any:
    c = s.pick(1.0, 0.0)
    return (
        lambda fake: mg.losses.least_squares_generator_loss(fake, c=c),
        [2 * s.normal(s.shape(1, 2))],
    )


@case_of(LOSS_CASES, "wasserstein_critic_loss")
def _critic(s: Source, name: str) -> Any:
    return mg.losses.wasserstein_critic_loss, [s.normal(s.shape(1, 2)), s.normal(s.shape(1, 2))]


@case_of(LOSS_CASES, "wasserstein_generator_loss")
def _critics_generator(s: Source, name: str) -> Any:
    return mg.losses.wasserstein_generator_loss, [s.normal(s.shape(1, 2))]


@case_of(LOSS_CASES, "hinge_discriminator_loss")
def _hinge(s: Source, name: str) -> Any:
    real, fake = s.away(s.shape(1, 2)), s.away(s.shape(1, 2))  # the kinks are at 1 and -1
    return mg.losses.hinge_discriminator_loss, [1 + real, fake - 1]


@case_of(LOSS_CASES, "real_logit")
def _real_logit(s: Source, name: str) -> Any:
    return mg.losses.real_logit, [s.normal((s.int(1, 3), 2))]


@case_of(LOSS_CASES, "softmax_cross_entropy")
def _cross_entropy(s: Source, name: str) -> Any:
    n, classes = s.int(1, 3), s.int(1, 4)
    labels = s.rng.integers(0, classes, n)
    return (
        lambda logits: mg.losses.softmax_cross_entropy(logits, labels),
        [2 * s.normal((n, classes))],
    )


@case_of(LOSS_CASES, "laplacian_pyramid_loss")
def _laplacian_pyramid(s: Source, name: str) -> Any:
    """|.| has its kinks where two levels agree, which drawn numbers do not."""
    shape, levels = (s.int(1, 2), s.int(1, 2), s.int(2, 6), s.int(2, 6)), s.int(1, 3)
    return (
        lambda x, y: mg.losses.laplacian_pyramid_loss(x, y, levels=levels),
        [s.normal(shape), s.normal(shape)],
    )


def _reversed(y: Tensor) -> Tensor:
    return y[(slice(None, None, -1),) * y.ndim]


def _both(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value

"""What a case is drawn from, and the tables in which cases are registered."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from draw import LAYOUTS, SETTINGS, Draw, laid, least_plane
from hypothesis import given, settings
from hypothesis import strategies as st
from minigan_kernels.checks import Window

import minigan as mg
from minigan.tensor import PRIMITIVES, Tensor
from minigan.testing import check_gradients

Shape = tuple[int, ...]

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


class Source(Draw):
    """Shapes and options come from Hypothesis, numbers from a generator that it seeds."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        super().__init__(draw)
        self.rng = np.random.default_rng(draw(st.integers(0, 2**16)))

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
        return laid(np.asarray(array), self.pick(*LAYOUTS))

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
        height, width = least_plane(window)
        return self.int(height, height + 4), self.int(width, width + 4)


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


def _reversed(y: Tensor) -> Tensor:
    return y[(slice(None, None, -1),) * y.ndim]


def both(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value

"""The direct convolution: any layer, any layout, within the rounding errors of its sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from calls import SETTINGS
from hypothesis import given, settings
from hypothesis import strategies as st
from minigan_kernels.checks import Window, check_conv, conv_window
from minigan_kernels.cpu import activation
from minigan_kernels.cpu.conv import direct
from minigan_kernels.cpu.conv.problem import ConvProblem
from minigan_kernels.cpu.conv.weights import taps_of
from minigan_kernels.epilogue import Epilogue
from minigan_kernels.reference import conv as reference
from spoilt import spoil_memory

Shape = tuple[int, int, int, int]

LAYOUTS: list[Callable[[np.ndarray], np.ndarray]] = [
    np.ascontiguousarray,
    lambda a: np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
    lambda a: np.ascontiguousarray(a[::-1])[::-1],
    lambda a: np.repeat(a, 2, axis=3)[..., ::2],
]

EPILOGUES = [Epilogue("leaky_relu", 0.2), Epilogue("tanh"), Epilogue("sigmoid")]


class Layer(NamedTuple):
    """A convolution of an image with a weight."""

    image: Shape
    weight: Shape
    window: Window
    groups: int

    @property
    def output(self) -> Shape:
        return check_conv(self.image, self.weight, None, self.window, self.groups)

    @property
    def problem(self) -> ConvProblem:
        return ConvProblem(self.image, self.weight, self.output, self.window, self.groups, 0)

    @property
    def options(self) -> dict[str, Any]:
        stride, padding, dilation = self.window[1:]
        return {"stride": stride, "padding": padding, "dilation": dilation, "groups": self.groups}

    def arrays(self, seed: int) -> list[np.ndarray]:
        """x, w and g, each in a layout of its own."""
        rng = np.random.default_rng(seed)
        layouts = rng.integers(0, len(LAYOUTS), 3)
        shapes = (self.image, self.weight, self.output)
        return [
            LAYOUTS[layout](rng.standard_normal(shape).astype(np.float32))
            for layout, shape in zip(layouts, shapes, strict=True)
        ]

    def directly(self, x: np.ndarray, w: np.ndarray, g: np.ndarray) -> list[np.ndarray]:
        """Output, image gradient and filter gradient."""
        return [
            direct.conv2d(x, w, self.problem)[0],
            direct.conv2d_dx(g, w, self.problem)[0],
            direct.conv2d_dw(x, g, self.problem),
        ]

    def plainly(self, x: np.ndarray, w: np.ndarray, g: np.ndarray) -> list[np.ndarray]:
        return [
            reference.conv2d(x, w, **self.options),
            reference.conv2d_dx(g, w, shape=self.image, **self.options),
            reference.conv2d_dw(x, g, shape=self.weight, **self.options),
        ]


@st.composite
def layers(draw: st.DrawFn) -> Layer:
    def pair(low: int, high: int) -> tuple[int, int]:
        return draw(st.integers(low, high)), draw(st.integers(low, high))

    groups = draw(st.sampled_from((1, 1, 1, 2, 3, 8)))
    ins = groups * draw(st.sampled_from((1, 2, 3, 5, 16, 20)))
    outs = groups * draw(st.sampled_from((1, 2, 7, 16, 33, 64)))
    kernel, stride, padding = pair(1, 4), pair(1, 4), pair(0, 2)
    dilation = draw(st.sampled_from(((1, 1), (1, 1), (2, 1), (1, 3))))
    least = [
        max(1, d * (k - 1) + 1 - 2 * p) for k, p, d in zip(kernel, padding, dilation, strict=True)
    ]
    size = [draw(st.integers(low, low + 9)) for low in least]
    weight = (outs, ins // groups, *kernel)
    window = conv_window(weight, stride, padding, dilation)
    return Layer((draw(st.integers(1, 4)), ins, size[0], size[1]), weight, window, groups)


def terms(layer: Layer) -> list[int]:
    """Products in a sum, in each direction, at most."""
    (n, _, _, _), (outs, each, kh, kw), (_, _, down, across) = (
        layer.image,
        layer.weight,
        layer.output,
    )
    return [each * kh * kw, outs // layer.groups * kh * kw, n * down * across]


@settings(SETTINGS, max_examples=120)
@given(layers(), st.integers(0, 2**31))
def test_every_layer_is_within_the_rounding_of_its_sums(layer: Layer, seed: int) -> None:
    arrays = layer.arrays(seed)
    exact = [a.astype(np.float64) for a in arrays]
    wanted, scales = layer.plainly(*exact), layer.plainly(*map(np.abs, exact))
    for found, want, scale, count in zip(
        layer.directly(*arrays), wanted, scales, terms(layer), strict=True
    ):
        assert found.dtype == np.float32
        assert found.shape == want.shape
        assert (np.abs(found - want) <= (count + 2) * 2.0**-24 * scale + 1e-30).all()


@settings(SETTINGS, max_examples=60)
@given(layers(), st.sampled_from(EPILOGUES), st.integers(0, 2**31))
def test_an_epilogue_in_the_cache_gives_what_one_afterwards_gives(
    layer: Layer, epilogue: Epilogue, seed: int
) -> None:
    x, w, g = layer.arrays(seed)
    bias = np.random.default_rng(seed).standard_normal(g.shape[1]).astype(np.float32)
    plain, _ = direct.conv2d(x, w, layer.problem)
    ended, left = direct.conv2d(x, w, layer.problem, (bias, epilogue))
    if left is None:
        np.testing.assert_array_equal(ended, epilogue.apply(activation, plain, bias))
    else:
        assert left == (bias, epilogue)
        np.testing.assert_array_equal(ended, plain)


def test_an_epilogue_ends_every_line_of_many_pieces_once() -> None:
    layer = square((5, 3, 64, 64), 64, 4, 2, 1)
    x, w, _ = layer.arrays(0)
    bias, epilogue = np.ones(64, np.float32), Epilogue("leaky_relu", 1.0)
    plain, _ = direct.conv2d(x, w, layer.problem)
    ended, left = direct.conv2d(x, w, layer.problem, (bias, epilogue))
    assert left is None
    np.testing.assert_array_equal(ended, plain + np.float32(1))


@pytest.mark.parametrize("shape", [(512, 256, 4, 4), (256, 128, 3, 3), (272, 1024, 1, 1)])
def test_large_weights_as_they_are_usually_stored(shape: Shape) -> None:
    w = np.random.default_rng(0).standard_normal(shape, np.float32)
    taps = taps_of(w)
    assert taps.flags.c_contiguous
    np.testing.assert_array_equal(taps, w.transpose(2, 3, 1, 0))


def square(
    image: Shape, filters: int, kernel: int, stride: int, pad: int, groups: int = 1
) -> Layer:
    weight = (filters, image[1] // groups, kernel, kernel)
    return Layer(image, weight, conv_window(weight, stride, pad, 1), groups)


ENDS = {
    "from three channels": square((2, 3, 16, 16), 64, 4, 2, 1),
    "to one channel": square((2, 64, 9, 9), 1, 3, 1, 1),
    "a whole plane": square((3, 32, 4, 4), 1, 4, 1, 0),
    "many groups": square((2, 24, 7, 7), 24, 3, 2, 1, groups=24),
}


@pytest.mark.parametrize("name", ENDS)
def test_memory_that_held_anything_is_never_seen(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = ENDS[name]
    arrays = layer.arrays(0)
    clean = layer.directly(*arrays)
    spoil_memory(monkeypatch, direct)
    for found, expected in zip(layer.directly(*arrays), clean, strict=True):
        assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", ENDS)
def test_the_planner_uses_it_for_the_ends(name: str) -> None:
    from minigan_kernels.cpu.conv.select import choose

    layer = ENDS[name]
    for direction in ("conv2d", "conv2d_dx", "conv2d_dw"):
        chosen = choose(
            direction, layer.image, layer.output, layer.window, layer.groups, np.dtype(np.float32)
        )
        assert chosen == ("direct", 0)

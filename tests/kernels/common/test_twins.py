"""Every CPU kernel against its plain NumPy twin, on any shape, dtype and layout in memory."""

from __future__ import annotations

import ctypes
import importlib
import inspect
import math
import subprocess
from pathlib import Path
from typing import Any

import minigan_kernels as kernels
import numpy as np
import pytest
from calls import (
    BAD,
    CALLS,
    LARGE,
    SETTINGS,
    Call,
    a_call,
    check_twins,
    image,
    laid,
    outcome,
)
from cuda_tools import needs_gxx
from hypothesis import given
from minigan_kernels import KERNELS
from minigan_kernels.cpu.runtime.parallel import use_threads
from minigan_kernels.cuda import emu


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
def test_results_are_the_same_bytes_for_any_number_of_threads(name: str) -> None:
    @LARGE
    @given(a_call(name, large=True))
    def check(call: Call) -> None:
        for each in (call, call.laid("channels last")):
            check_twins(name, each)
            results = []
            for count in (1, 2, 3):
                with use_threads(count):
                    results.append([a.tobytes() for a in outcome(name, "cpu", each)])
            assert results[0] == results[1] == results[2]

    check()


def both(name: str, *arrays: np.ndarray, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """What the CPU kernel returns, and the reference."""
    results = []
    for backend in ("cpu", "reference"):
        with kernels.use(backend):
            result = getattr(kernels, name)(*arrays, **options)
        results.append(result[0] if isinstance(result, tuple) else result)
    return results[0], results[1]


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize(("name", "arrays", "options"), BAD)
def test_what_does_not_fit_is_a_value_error(
    backend: str, name: str, arrays: tuple[np.ndarray, ...], options: dict[str, Any]
) -> None:
    with kernels.use(backend), pytest.raises(ValueError, match=r"\d"):
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
        ("erf", 1, {}),
        ("silu", 1, {}),
        ("silu_backward", 2, {}),
        ("gelu", 1, {}),
        ("gelu_backward", 2, {}),
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
    if name.startswith(("erf", "gelu", "silu")):  # they have an exp and an erf of their own
        limits = {"rtol": 4 * np.finfo(dtype).eps, "atol": np.finfo(dtype).tiny}
        np.testing.assert_allclose(ours, plain, strict=True, **limits)
    else:
        np.testing.assert_array_equal(ours, plain, strict=True)
    numbers = ~np.isnan(plain)  # of a NaN the sign means nothing
    np.testing.assert_array_equal(np.signbit(ours[numbers]), np.signbit(plain[numbers]))


def test_the_error_function_to_its_last_digits() -> None:
    x = np.linspace(0, 5, 50_001)[1:]
    x = np.concatenate([-x, x, 10.0 ** np.arange(-30, 30)]).astype(np.float32)
    ours, plain = both("erf", x)
    error = np.abs(ours / plain - 1) / np.finfo(np.float32).eps
    assert error.max() <= 4
    assert error.mean() < 1
    np.testing.assert_array_equal(ours, -both("erf", -x)[0])
    np.testing.assert_array_equal(np.abs(ours[np.abs(x) > 3.95]), 1)


def test_silu_to_its_last_digits() -> None:
    x = np.linspace(-80, 80, 100_001).astype(np.float32)
    ours = both("silu", x)[0].astype(np.float64)
    exact = x / (1 + np.exp(-x.astype(np.float64)))
    np.testing.assert_allclose(ours, exact, rtol=3 * np.finfo(np.float32).eps)
    far = np.array([-1e4, -1e30, 1e4, 1e30], np.float32)
    np.testing.assert_array_equal(both("silu", far)[0], np.maximum(far, 0))


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


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_philox_gives_the_published_words(backend: str) -> None:
    """The first of the known answers that Random123 ships."""
    out = np.empty(4, np.uint32)
    with kernels.use(backend):
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
@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_a_product_with_a_vector_raises_no_false_alarm(backend: str, tmp_path: Path) -> None:
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
            with kernels.use(backend):
                y = kernels.matmul(a, b_laid)
            np.testing.assert_allclose(y, a.astype(float) @ b, rtol=1e-5, atol=1e-5)

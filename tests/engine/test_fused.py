"""Fused operations: kernels equal the reference composition, each used where it belongs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any
from unittest import mock

import minigan_kernels as kernels
import numpy as np
import pytest
from cases import MANY, PRIMITIVE_CASES, QUICK, Case, run
from draw import normal

import minigan as mg
from minigan.fused import Fused
from minigan.tensor import PRIMITIVES, Tensor, grad

FUSED = {name: p for name, p in PRIMITIVES.items() if isinstance(p, Fused)}
BACKENDS = ["reference", "cpu"]


def both_ways(
    fused: Fused, f: Callable[..., Tensor], arrays: list[np.ndarray]
) -> list[list[np.ndarray]]:
    """The output and all gradients, by the kernels and by the reference."""
    answers = []
    for path in (f, None):
        xs = [Tensor(x) for x in arrays]
        if path is not None:
            y = f(*xs)
        else:
            with mock.patch.object(Fused, "__call__", _by_reference):
                y = f(*xs)
        g = Tensor(normal(*y.shape, seed=9).astype(y.dtype))
        answers.append([y.data, *(t.data for t in grad(y, xs, grad_output=g))])
    return answers


def _by_reference(fused: Fused, *args: Any, **options: Any) -> Tensor:
    tensors = [a if isinstance(a, Tensor) else Tensor(a) for a in args]
    return fused.reference(*tensors, **fused.defaults | options)


def assert_equal_in_both(name: str, backend: str, how: Any) -> None:
    def body(case: Case) -> None:
        with kernels.use(backend):
            by_kernel, by_reference = both_ways(FUSED[name], case.f, case.inputs)
        for a, b in zip(by_kernel, by_reference, strict=True):
            assert a.shape == b.shape
            assert a.dtype == b.dtype == np.float64
            # Relative to the whole: the terms of a batch norm's gradient cancel.
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * max(1, np.abs(b).max()))

    run(PRIMITIVE_CASES[name], how, body)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", FUSED)
def test_kernels_equal_the_reference(name: str, backend: str) -> None:
    assert_equal_in_both(name, backend, QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", FUSED)
def test_kernels_equal_the_reference_in_many_cases(name: str, backend: str) -> None:
    assert_equal_in_both(name, backend, MANY)


def at_float32(name: str) -> tuple[Callable[..., Tensor], list[np.ndarray]]:
    """A case of a size at which a kernel's threads and blocks come in."""
    x = normal(16, 24, 13, 11) * 2 + 0.5
    channel = [normal(24, seed=s) for s in (1, 2)]
    f32 = np.float32
    if name == "batch_norm_inference":
        constants = {"mean": channel[0].astype(f32), "var": (0.5 + channel[1] ** 2).astype(f32)}
        return lambda *xs: PRIMITIVES[name](*xs, **constants), [x, *channel]
    if name == "batch_norm":
        return PRIMITIVES[name], [x, *channel]
    if name == "group_norm":
        return lambda *xs: PRIMITIVES[name](*xs, groups=4), [x, *channel]
    if name in ("silu", "gelu_erf"):
        return PRIMITIVES[name], [x]
    if name == "bias_maxout":
        return lambda *xs: PRIMITIVES[name](*xs, pieces=3), [normal(301, 243), normal(243)]
    if name == "softmax_cross_entropy":
        labels = np.random.default_rng(3).integers(0, 243, 301)
        return lambda x: PRIMITIVES[name](x, labels=labels), [normal(301, 243) * 3]
    options = {"slope": 0.2} if name == "bias_leaky_relu" else {}
    return lambda *xs: PRIMITIVES[name](*xs, **options), [x, channel[0]]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", FUSED)
def test_kernels_in_float32_are_as_near_as_their_precision(name: str, backend: str) -> None:
    f, arrays = at_float32(name)
    arrays = [a.astype(np.float32) for a in arrays]
    with kernels.use(backend):
        by_kernel, _ = both_ways(FUSED[name], f, arrays)
        _, exact = both_ways(FUSED[name], f, [a.astype(np.float64) for a in arrays])
    for a, b in zip(by_kernel, exact, strict=True):
        assert a.dtype == np.float32
        assert np.sqrt(np.mean((a - b) ** 2)) < 1e-5 * np.sqrt(np.mean(b**2))


def named_case(name: str) -> tuple[Callable[..., Tensor], list[np.ndarray]]:
    f, _ = at_float32(name)
    if name == "bias_maxout":
        return f, [normal(4, 6), normal(6, seed=1)]
    if name == "softmax_cross_entropy":
        return lambda x: PRIMITIVES[name](x, labels=np.array([2, 0, 0, 1])), [normal(4, 3)]
    arrays = [normal(4, 3, 2, 2), normal(3, seed=1), normal(3, seed=2)]
    if name in ("silu", "gelu_erf"):
        return f, arrays[:1]
    if name == "group_norm":
        return lambda *xs: PRIMITIVES[name](*xs, groups=3), arrays
    if name == "batch_norm_inference":
        constants = {"mean": normal(3), "var": normal(3) ** 2 + 1}
        return lambda *xs: PRIMITIVES[name](*xs, **constants), arrays
    return f, arrays if name == "batch_norm" else arrays[:2]


@pytest.mark.parametrize("name", FUSED)
def test_each_path_is_taken_where_it_belongs(name: str) -> None:
    fused = FUSED[name]
    f, arrays = named_case(name)
    kernel, reference = (mock.Mock(side_effect=v) for v in (fused.backward_kernel, fused.reference))
    with (
        mock.patch.object(fused, "backward_kernel", kernel),
        mock.patch.object(fused, "reference", reference),
    ):
        xs = [Tensor(a) for a in arrays]
        y = f(*xs)
        assert (kernel.call_count, reference.call_count) == (0, 0)
        plain = grad(y.sum(), xs)
        assert (kernel.call_count, reference.call_count) == (1, 0)
        assert all(g.node is None for g in plain)
        recorded = grad(y.sum(), xs, create_graph=True)
        assert (kernel.call_count, reference.call_count) == (1, 1)
        assert all(g.node is not None for g in recorded)
        # A gradient of a recorded gradient goes on through the reference's graph.
        first = mg.sum(recorded[0] * normal(*arrays[0].shape, seed=4))
        grad(first, xs, allow_unused=True)
        assert (kernel.call_count, reference.call_count) == (1, 1)
    for a, b in zip(plain, recorded, strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-9, atol=1e-9)


def test_batch_norm_with_moments_passed_equals_without() -> None:
    x, gamma, beta = (Tensor(a) for a in named_case("batch_norm")[1])
    passed = kernels.moments(x.data)
    ys = [mg.batch_norm(x, gamma, beta, moments=m) for m in (None, passed)]
    np.testing.assert_array_equal(ys[0].data, ys[1].data)
    for record in (False, True):
        weight = normal(*x.shape, seed=5)
        found = [
            grad(mg.sum(y * weight), [x, gamma, beta], create_graph=record, allow_unused=True)
            for y in ys
        ]
        for a, b in zip(*found, strict=True):
            np.testing.assert_array_equal(a.data, b.data)
        # A gradient with respect to x without a mean: the moments were not taken for constants.
        assert np.abs(found[1][0].data.sum((0, 2, 3))).max() < 1e-10


def test_moments_passed_are_those_that_the_kernel_uses() -> None:
    """Whoever passes moments saves their computation: they are not computed again."""
    x, gamma, beta = (Tensor(a) for a in named_case("batch_norm")[1])
    shifted = tuple(m + 1 for m in kernels.moments(x.data))
    with mock.patch.object(kernels, "moments", side_effect=AssertionError):
        y = mg.batch_norm(x, gamma, beta, moments=shifted)
    mean, var = (m.reshape(1, -1, 1, 1) for m in shifted)
    scale, shift = (v.data.reshape(1, -1, 1, 1) for v in (gamma, beta))
    expected = (x.data - mean) / np.sqrt(var + 1e-5) * scale + shift
    np.testing.assert_allclose(y.data, expected, rtol=1e-12)


@pytest.mark.parametrize("name", FUSED)
def test_a_fused_operation_looks_like_its_reference(name: str) -> None:
    fused = FUSED[name]
    assert fused.__doc__ == fused.reference.__doc__
    assert fused.name == fused.reference.__name__ == name
    required = [
        p.name
        for p in inspect.signature(fused.reference).parameters.values()
        if p.kind is p.KEYWORD_ONLY and p.default is not p.empty
    ]
    assert set(required) == set(fused.defaults)


@pytest.mark.parametrize("name", FUSED)
def test_residuals_are_not_kept_without_recording(name: str) -> None:
    f, arrays = named_case(name)
    with mg.no_grad():
        assert f(*map(Tensor, arrays)).node is None

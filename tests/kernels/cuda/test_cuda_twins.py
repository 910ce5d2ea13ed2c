"""Every CUDA kernel, run on the CPU, against its plain NumPy twin."""

from __future__ import annotations

import importlib
import inspect
from itertools import chain
from typing import Any

import minigan_kernels as kernels
import numpy as np
import pytest
from calls import BAD, SETTINGS, Call, a_call, check_twins, image, laid, outcome
from cuda_tools import DEVICE, SCHEDULES, needs_gxx, on_device
from hypothesis import given, settings
from minigan_kernels import KERNELS
from minigan_kernels.cuda import optim, pool
from minigan_kernels.cuda.emu import emulation

import minigan as mg
from minigan.device import HOST

pytestmark = needs_gxx

OTHERS = {"conv", "linalg"}  # tested by themselves
NAMES = [name for name, twin in KERNELS.items() if twin.__module__.split(".")[-1] not in OTHERS]


def emulated(name: str, *arrays: Any, **options: Any) -> Any:
    with kernels.use("cuda"):
        return on_device(getattr(kernels, name), *arrays, **options)


@pytest.mark.parametrize("name", KERNELS)
def test_there_is_a_twin_of_the_same_name_in_the_same_file(name: str) -> None:
    file = KERNELS[name].__module__.rpartition(".")[2]
    twin = getattr(importlib.import_module(f"minigan_kernels.cuda.{file}"), name)
    assert inspect.signature(twin) == inspect.signature(KERNELS[name])


@pytest.mark.parametrize("name", NAMES)
def test_twins_agree(name: str) -> None:
    @settings(SETTINGS, max_examples=15)
    @given(a_call(name))
    def check(call: Call) -> None:
        check_twins(name, call, "cuda")

    check()


@pytest.mark.parametrize(
    ("a", "b"), [((2, 3, 0), (0, 4)), ((2, 0), (0, 4)), ((5, 2, 0), (5, 0, 3))]
)
def test_a_product_over_nothing_is_zero(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    x, w = np.ones(a, np.float32), np.ones(b, np.float32)
    np.testing.assert_array_equal(emulated("matmul", x, w), x @ w)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("schedule", SCHEDULES[1:])
def test_results_do_not_depend_on_the_order_of_warps(name: str, schedule: int) -> None:
    @settings(SETTINGS, max_examples=2)
    @given(a_call(name))
    def check(call: Call) -> None:
        results = []
        for order in (0, schedule):
            with emulation(order):
                results.append([a.tobytes() for a in outcome(name, "cuda", call)])
        assert results[0] == results[1]

    check()


@pytest.mark.parametrize(("name", "arrays", "options"), [b for b in BAD if b[0] in NAMES])
def test_what_does_not_fit_is_a_value_error(
    name: str, arrays: tuple[np.ndarray, ...], options: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"\d"):
        emulated(name, *arrays, **options)


@pytest.mark.parametrize("name", ["leaky_relu", "sgd", "upsample_nearest", "moments", "uniform"])
def test_other_numbers_than_floats_are_a_type_error(name: str) -> None:
    options: dict[str, Any] = {
        "leaky_relu": {"slope": 0.5},
        "sgd": {"lr": 1.0, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0},
        "upsample_nearest": {"factor": 2},
        "uniform": {"key": 0, "offset": 0},
    }.get(name, {})
    arrays = [np.ones((1, 2, 2, 2), np.float16) for _ in range(3 if name == "sgd" else 1)]
    with pytest.raises(TypeError, match="not in float16"):
        emulated(name, *arrays, **options)


# Several chunks of positions, whose last is short, and several tiles of lanes.
MANY = [(3, 2, 37, 61), (5, 3, 44, 36), (2500, 3), (300, 44), (700, 1), (1, 70, 5, 3)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", ["plain", "channels last"])
@pytest.mark.parametrize("shape", MANY)
def test_channels_of_several_blocks(shape: tuple[int, ...], layout: str, dtype: type) -> None:
    rng = np.random.default_rng(0)
    g, x = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    gamma, beta, mean, var = (rng.uniform(0.5, 2, shape[1]).astype(dtype) for _ in range(4))
    for call, name in (
        (Call([(x, layout)]), "moments"),
        (Call([(x, layout), (beta, "plain")], {"slope": 0.2}), "bias_leaky_relu"),
        (Call([(g, layout), (x, layout)]), "bias_sigmoid_backward"),
        (
            Call(
                [(a, layout) for a in (g, x, gamma, beta, mean, var)], {"eps": 1e-5, "slope": 1.0}
            ),
            "batch_norm_backward",
        ),
    ):
        check_twins(name, call, "cuda")


@pytest.mark.parametrize("shape", [(300, 3), (3, 20, 31, 29), (8, 3, 31, 29)])
@pytest.mark.parametrize("layout", ["plain", "channels last"])
@pytest.mark.parametrize("outlier", [0, 10])
def test_moments_of_values_far_from_zero(shape: tuple[int, ...], layout: str, outlier: int) -> None:
    x = (np.random.default_rng(0).standard_normal(shape) + 1e4).astype(np.float32)
    x[(0, slice(None), *(0,) * (x.ndim - 2))] += outlier
    mean, var = emulated("moments", laid(x, layout))
    axes = (0, *range(2, x.ndim))
    np.testing.assert_allclose(mean, x.mean(axis=axes, dtype=np.float64), rtol=1e-7)
    np.testing.assert_allclose(var, x.var(axis=axes, dtype=np.float64), rtol=1e-6)


def test_moments_of_a_channel_of_equal_values() -> None:
    x = np.full((5, 3, 7, 9), 0.1, np.float32)
    x[:, 1] = 1e8
    mean, var = emulated("moments", x)
    np.testing.assert_array_equal(mean, x[0, :, 0, 0])
    np.testing.assert_array_equal(var, np.zeros(3))


SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, 88.0, -104.0, 1.0]


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
    grids = np.meshgrid(*[np.array(SPECIAL, dtype)] * 2, indexing="ij")[:inputs]
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        ours = emulated(name, *grids, **options)
        plain = getattr(kernels, name)(*grids, **options)
    ours, plain = (r[0] if isinstance(r, tuple) else r for r in (ours, plain))
    eps = np.finfo(dtype).eps  # libraries' exp and log1p differ in their last bits
    np.testing.assert_allclose(ours, plain, rtol=2 * eps, atol=np.finfo(dtype).tiny)
    numbers = ~np.isnan(plain)  # of a NaN the sign means nothing
    np.testing.assert_array_equal(np.signbit(ours[numbers]), np.signbit(plain[numbers]))


def test_softmax_cross_entropy_of_what_is_not_finite() -> None:
    inf = np.inf
    x = np.array([[-inf, 1, 2], [-inf, -inf, -inf], [inf, 0, 0], [np.nan, 0, 1]], np.float32)
    labels = np.array([0, 1, 0, 2])
    with np.errstate(invalid="ignore", divide="ignore"):
        ours = emulated("softmax_cross_entropy", x, labels=labels)
        plain = kernels.softmax_cross_entropy(x, labels=labels)
    for a, b in zip(ours, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_more_classes_than_a_warp_has_lanes() -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((9, 77)).astype(np.float32) * 3, rng.integers(0, 77, 9)
    call = Call([(x, "plain")], {"labels": labels})
    check_twins("softmax_cross_entropy", call, "cuda")


def test_nan_passes_maxout() -> None:
    x = np.array([[1, np.nan, 2, 3], [np.nan, 5, -np.inf, np.inf]], np.float32)
    bias, g = np.zeros(4, np.float32), np.ones((2, 2), np.float32)
    y = emulated("bias_maxout", x, bias, pieces=2)
    np.testing.assert_array_equal(y, [[np.nan, 3], [np.nan, np.inf]])
    dx, _ = emulated("bias_maxout_backward", g, y, x, bias, pieces=2)
    np.testing.assert_array_equal(dx, [[0, 0, 0, 1], [0, 0, 0, 1]])


@pytest.mark.parametrize("place", [-1, 16, 2**40])
def test_a_place_outside_the_plane_is_never_read_or_written(place: int) -> None:
    index = np.array([[[[place, 5]]]])
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    np.testing.assert_array_equal(emulated("gather_plane", x, index=index), [[[[np.nan, 5]]]])
    dx = emulated("scatter_plane", image(1, 1, 1, 2), index=index, shape=x.shape)
    np.testing.assert_array_equal(dx, x == 5)


@pytest.mark.parametrize("layout", ["plain", "channels last"])
@pytest.mark.parametrize("planes", [(2, 3), (1, 11)])
def test_many_gradients_go_to_few_places(planes: tuple[int, int], layout: str) -> None:
    rng = np.random.default_rng(0)
    index = rng.integers(0, 6, (*planes, 9, 11))
    g = rng.standard_normal(index.shape)
    call = Call([(g, layout)], {"index": laid(index, layout), "shape": (*planes, 2, 3)})
    check_twins("scatter_plane", call, "cuda")


@pytest.mark.parametrize(
    "name", ["max_pool2d_index", "avg_pool2d", "avg_pool2d_dx", "gather_plane", "scatter_plane",
             "upsample_nearest"],
)  # fmt: skip
def test_images_beyond_the_reach_of_an_int(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_INT_REACH", 0)

    @settings(SETTINGS, max_examples=3)
    @given(a_call(name))
    def check(call: Call) -> None:
        check_twins(name, call, "cuda")

    check()


# --- Optimisers --------------------------------------------------------------------------------

SIZES = [(3,), (0,), (1030,), (7, 1031), (5, 1, 2), ()]
OPTIONS: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0.9, "nesterov": True},
    "rmsprop": {"alpha": 0.9, "eps": 1e-3},
    "adam": {"beta1": 0.5, "beta2": 0.999, "eps": 1e-3, "step": 7, "decoupled": False},
}


def state(name: str, shapes: list[tuple[int, ...]], dtype: type) -> list[list[np.ndarray]]:
    """Parameters, gradients and as many states as the optimiser has."""
    rng = np.random.default_rng(0)
    lists = 4 if name == "adam" else 3
    return [[rng.uniform(0.1, 1, s).astype(dtype) for s in shapes] for _ in range(lists)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OPTIONS)
def test_all_parameters_are_stepped_at_once(
    name: str, dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    launches = []
    run = optim.Kernel.__call__
    monkeypatch.setattr(
        optim.Kernel, "__call__", lambda *a, **k: (launches.append(a[1]), run(*a, **k))
    )
    ours, plain = state(name, SIZES, dtype), state(name, SIZES, dtype)
    options = {**OPTIONS[name], "lr": 0.1, "weight_decay": 0.01}
    emulated(name, *ours, **options)
    getattr(kernels, name)(*plain, **options)
    for a, b in zip(chain(*ours), chain(*plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=8 * np.finfo(dtype).eps)
    assert len(launches) == 1


def test_more_parameters_than_a_table_holds() -> None:
    shapes = [(k % 5 + 1,) for k in range(optim.ENTRIES + 3)]
    ours, plain = state("sgd", shapes, np.float64), state("sgd", shapes, np.float64)
    options = {**OPTIONS["sgd"], "lr": 0.1, "weight_decay": 0.0}
    emulated("sgd", *ours, **options)
    kernels.sgd(*plain, **options)
    for a, b in zip(chain(*ours), chain(*plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)


def test_a_parameter_off_the_beat_of_16_bytes_is_stepped_too() -> None:
    arrays = state("sgd", [(41,)], np.float32)
    ours = [[a[0][1:]] for a in arrays]
    plain = [[a[0][1:].copy()] for a in arrays]
    options = {**OPTIONS["sgd"], "lr": 0.1, "weight_decay": 0.0}
    first = [a[0][0] for a in arrays]
    emulated("sgd", *ours, **options)
    kernels.sgd(*plain, **options)
    np.testing.assert_allclose(ours[0][0], plain[0][0], rtol=1e-6)
    assert [a[0][0] for a in arrays] == first


@pytest.mark.parametrize("name", OPTIONS)
def test_rates_and_step_may_lie_on_the_gpu(name: str) -> None:
    on_gpu, plain = state(name, SIZES, np.float32), state(name, SIZES, np.float32)
    options = {**OPTIONS[name], "lr": 0.1, "weight_decay": 0.01}
    emulated(name, *plain, **options)
    varied = {"lr", "momentum", "step"} & options.keys()
    options |= {key: np.array([options[key]]) for key in varied}
    emulated(name, *on_gpu, **options)
    for a, b in zip(chain(*on_gpu), chain(*plain), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.skipif(DEVICE is not HOST, reason="CuPy's arrays cannot be read-only")
def test_a_read_only_parameter_is_an_error_before_anything_is_written() -> None:
    ps, gs, vs = state("sgd", [(3,), (4,)], np.float32)
    ps[1].flags.writeable = False
    before = ps[0].copy()
    with pytest.raises(ValueError, match="read-only"):
        emulated("sgd", ps, gs, vs, **OPTIONS["sgd"], lr=0.1, weight_decay=0.0)
    np.testing.assert_array_equal(ps[0], before)


# --- Random numbers ----------------------------------------------------------------------------


def test_philox_gives_the_published_words() -> None:
    """The first of the known answers that Random123 ships."""
    out = np.empty(4, np.uint32)
    emulated("random_bits", out, key=0, offset=0)
    assert [f"{word:08x}" for word in out] == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]


@pytest.mark.parametrize("name", ["random_bits", "uniform", "normal", "dropout_mask"])
@pytest.mark.parametrize("size", [1, 4, 8191, 40000])
def test_the_stream_is_the_cpus_to_the_last_bit(name: str, size: int) -> None:
    dtype = np.uint32 if name == "random_bits" else np.float32
    options: dict[str, Any] = {"keep": 0.3} if name == "dropout_mask" else {}
    ours, cpu, graph = (np.empty(size, dtype) for _ in range(3))
    emulated(name, ours, key=2**64 - 3, offset=2**32 - 5, **options)
    with kernels.use("cpu"):
        getattr(kernels, name)(cpu, key=2**64 - 3, offset=2**32 - 5, **options)
    assert ours.tobytes() == cpu.tobytes()
    place = np.array([2**64 - 3], np.uint64), np.array([2**32 - 5], np.uint64)  # on the GPU
    emulated(name, graph, key=place[0], offset=place[1], **options)
    assert graph.tobytes() == cpu.tobytes()


def test_numbers_go_to_memory_off_the_beat_of_16_bytes() -> None:
    memory = np.zeros(23, np.float32)
    whole = np.empty(21, np.float32)
    emulated("uniform", whole, key=1, offset=0)
    emulated("uniform", memory[1:22], key=1, offset=0)
    np.testing.assert_array_equal(memory, [0, *whole, 0])


# --- Above the kernels -------------------------------------------------------------------------


def test_gradients_of_a_gradient_penalty_are_those_of_the_reference() -> None:
    """Convolution, batch norm, pooling, up-sampling, maxout; second derivatives of most."""
    rng = np.random.default_rng(0)
    shapes = [(2, 3, 8, 8), (4, 3, 3, 3), (4,), (4,), (64, 12), (12,)]
    arrays = [rng.standard_normal(shape) for shape in shapes]

    def gradients(backend: str) -> list[np.ndarray]:
        with kernels.use(backend):
            x, w, gamma, beta, dense, bias = tensors = [mg.Tensor(a) for a in arrays]
            y = mg.batch_norm(mg.conv2d(x, w, padding=1), gamma, beta, slope=0.2)
            y = mg.upsample_nearest(mg.max_pool2d(y, 2), 2) + mg.avg_pool2d(
                y, 3, stride=1, padding=1
            )
            y = mg.reshape(mg.avg_pool2d(mg.sigmoid(y), 2), (2, 64)) @ dense
            score = mg.sum(mg.softplus(mg.ops.maxout.bias_maxout(y, bias, pieces=3)))
            slope = mg.grad(score, x, create_graph=True)
            return [g.data for g in mg.grad(score + mg.sum(slope * slope), tensors)]

    for ours, plain in zip(gradients("cuda"), gradients("reference"), strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-9, atol=1e-11)

"""What kernels refuse or get right at the edge of sizes, slopes and logits, in every twin."""

from __future__ import annotations

from typing import Any

import minigan_kernels as kernels
import numpy as np
import pytest
from cuda_tools import needs_gxx
from minigan_kernels.checks import Window, check_int32
from minigan_kernels.cpu import pool
from minigan_kernels.cuda.implicit_gemm import problem_of
from minigan_kernels.epilogue import Epilogue

import minigan as mg

TWINS = ["reference", "cpu", pytest.param("cuda", marks=needs_gxx)]
ALL = [*TWINS, "im2col", "direct", "winograd"]
f32 = np.float32


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, f32)


# --- Sizes ------------------------------------------------------------------------------------

NO_PIXELS = {
    "conv2d": lambda: kernels.conv2d(ones(1, 1, 0, 4), ones(1, 1, 2, 2), padding=(1, 0)),
    "conv2d activated": lambda: kernels.conv2d_activated(
        ones(1, 1, 4, 0), ones(1, 1, 2, 2), ones(1), padding=(0, 1)
    ),
    "conv2d_dx": lambda: kernels.conv2d_dx(
        ones(1, 1, 1, 3), ones(1, 1, 2, 2), shape=(1, 1, 0, 4), padding=(1, 0)
    ),
    "conv2d_dx activated": lambda: kernels.conv2d_dx_activated(
        ones(1, 1, 1, 3), ones(1, 1, 2, 2), ones(1), shape=(1, 1, 0, 4), padding=(1, 0)
    ),
    "conv2d_dw": lambda: kernels.conv2d_dw(
        ones(1, 1, 0, 4), ones(1, 1, 1, 3), shape=(1, 1, 2, 2), padding=(1, 0)
    ),
    "im2col": lambda: kernels.im2col(ones(1, 1, 0, 4), kernel=(2, 2), padding=1),
    "max_pool2d_index": lambda: kernels.max_pool2d_index(
        ones(1, 1, 0, 4), kernel=(2, 2), stride=1, padding=1
    ),
    "avg_pool2d": lambda: kernels.avg_pool2d(ones(1, 1, 0, 4), kernel=(2, 2), stride=1, padding=1),
    "avg_pool2d_dx": lambda: kernels.avg_pool2d_dx(
        ones(1, 1, 1, 5), shape=(1, 1, 0, 4), kernel=(2, 2), stride=1, padding=1
    ),
}


@pytest.mark.parametrize("twin", ALL)
@pytest.mark.parametrize("call", NO_PIXELS)
def test_a_plane_without_pixels_is_refused(call: str, twin: str) -> None:
    with (
        kernels.use(twin),
        pytest.raises(ValueError, match=r"a plane of (0x4|4x0) has no pixels"),
    ):
        NO_PIXELS[call]()


BAD_OPTIONS = [
    ({"stride": 0}, "stride must be an integer of at least 1"),
    ({"stride": (1, -1)}, "stride must be an integer of at least 1"),
    ({"padding": -1}, "padding must be an integer of at least 0"),
    ({"dilation": 0}, "dilation must be an integer of at least 1"),
    ({"groups": 0}, "do not split into 0 groups"),
    ({"groups": -1}, "do not split into -1 groups"),
    ({"groups": 1.0}, "groups must be an integer of at least 1, but is 1.0"),
    ({"groups": "2"}, "groups must be an integer of at least 1, but is '2'"),
    ({"dilation": 4}, "does not fit a plane of 4x4"),
]


@pytest.mark.parametrize("twin", ALL)
@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS)
def test_options_that_cannot_be_are_refused(
    options: dict[str, Any], message: str, twin: str
) -> None:
    x, w, g = ones(1, 2, 4, 4), ones(2, 2, 2, 2), ones(1, 2, 3, 3)
    calls = (
        lambda: kernels.conv2d(x, w, **options),
        lambda: kernels.conv2d_dx(g, w, shape=x.shape, **options),
        lambda: kernels.conv2d_dw(x, g, shape=w.shape, **options),
    )
    for call in calls:
        with kernels.use(twin), pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("twin", TWINS)
def test_a_kernel_without_taps_or_larger_than_the_image_is_refused(twin: str) -> None:
    x = ones(1, 1, 4, 4)
    with kernels.use(twin):
        with pytest.raises(ValueError, match="kernel must be an integer of at least 1"):
            kernels.conv2d(x, ones(1, 1, 0, 2))
        with pytest.raises(ValueError, match="kernel must be an integer of at least 1"):
            kernels.avg_pool2d(x, kernel=(0, 2), stride=1)
        with pytest.raises(ValueError, match="kernel must be an integer of at least 1"):
            kernels.max_pool2d_index(x, kernel=(2, 0), stride=1)
        for call in (
            lambda: kernels.conv2d(x, ones(1, 1, 5, 2)),
            lambda: kernels.avg_pool2d(x, kernel=(2, 5), stride=1),
            lambda: kernels.max_pool2d_index(x, kernel=(5, 5), stride=1),
        ):
            with pytest.raises(ValueError, match="does not fit a plane of 4x4"):
                call()


@pytest.mark.parametrize("padding", [(1, 0), (0, 1), (2, 0), 1, 3])
@pytest.mark.parametrize("bias", [False, True])
def test_a_transposed_convolution_to_no_pixels_says_so(padding: Any, bias: bool) -> None:
    x, w = mg.Tensor(ones(1, 1, 1, 1)), mg.Tensor(ones(1, 1, 2, 2))
    more = (mg.Tensor(ones(1)),) if bias else ()
    with pytest.raises(ValueError, match="without a pixel; lower the padding"):
        mg.conv_transpose2d(x, w, *more, padding=padding)


def test_a_transposed_convolution_that_output_padding_gives_a_row_is_right() -> None:
    x, w = mg.Tensor(ones(1, 1, 1, 4)), mg.Tensor(ones(1, 1, 2, 2))
    y = mg.conv_transpose2d(x, w, stride=2, padding=(1, 0), output_padding=(1, 0))
    assert y.shape == (1, 1, 1, 8)


def test_places_in_a_huge_plane_take_64_bits() -> None:
    """By the loop for such planes, on a small one: the same places, of the wider type."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 7, 9, 5), f32)
    index = [np.empty((3, 3, 4, 5), np.int64) for _ in range(2)]
    for loop, out in zip((pool._max_index, pool._max_index_int64), index, strict=True):
        loop(x, (2, 3, 2, 2, 0, 1), out)
    np.testing.assert_array_equal(*index)


def test_a_plane_of_more_than_2_31_pixels_is_done_by_that_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its memory is one value, read again and again."""
    x = np.lib.stride_tricks.as_strided(ones(1), (1, 1, 46342, 46342), (0, 0, 0, 0))
    called: list[str] = []
    for name in ("_max_index", "_max_index_int64"):
        monkeypatch.setattr(pool, name, name)
    monkeypatch.setattr(pool, "_by_image", lambda work, *arrays: called.append(loop_of(work)))

    def loop_of(work: Any) -> str:
        return next(c.cell_contents for c in work.__closure__ if type(c.cell_contents) is str)

    options = {"kernel": (1, 1), "stride": 46341}
    kernels.max_pool2d_index(x, **options)
    kernels.max_pool2d_index(x[:, :, :46339], **options)
    assert called == ["_max_index_int64", "_max_index"]


def test_a_gpu_refuses_what_it_would_count_beyond_32_bits() -> None:
    check_int32("pixels", 2**31 - 1)
    with pytest.raises(ValueError, match=r"2147483648 pixels, .*take smaller images"):
        check_int32("pixels", 2**31)
    small, window = (1, 4, 4, 1), Window((1, 1))
    for shapes in (((1, 46342, 46342, 1), small), (small, (3, 2**15, 2**15, 1))):
        with pytest.raises(ValueError, match="fewer than 2\\^31"):
            problem_of(*shapes, window, 1, transposed=False)
    from minigan_kernels.cuda import pool as gpu

    x = np.lib.stride_tricks.as_strided(ones(1), (1, 1, 46342, 46342), (0, 0, 0, 0))
    index = np.zeros((1, 1, 1, 1), np.int64)
    for call in (
        lambda: gpu.max_pool2d_index(x, kernel=(1, 1), stride=46341),
        lambda: gpu.avg_pool2d(x, kernel=(1, 1), stride=46341),
        lambda: gpu.gather_plane(x, index=index),
        lambda: gpu.scatter_plane(ones(1, 1, 1, 1), index=index, shape=x.shape),
        lambda: gpu.upsample_nearest(ones(1, 1, 2, 2), factor=23171),
    ):
        with pytest.raises(ValueError, match="pixels of a plane"):
            call()


# --- Slopes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize("slope", [-0.5, 2.0, np.nan, np.inf, -1e-9])
def test_a_slope_whose_derivative_the_output_does_not_tell_is_refused(
    slope: float, twin: str
) -> None:
    x, bias = ones(2, 3), np.zeros(3, f32)
    with kernels.use(twin):
        for call in (
            lambda: kernels.bias_leaky_relu(x, bias, slope=slope),
            lambda: kernels.bias_leaky_relu_backward(x, x, slope=slope),
        ):
            with pytest.raises(ValueError, match="slope of a leaky ReLU must be from 0 to 1"):
                call()
    with pytest.raises(ValueError, match="no slope of a leaky_relu: it must be from 0 to 1"):
        Epilogue("leaky_relu", slope)


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize("slope", [-0.5, 0.0, 0.25, 1.0, 2.0])
def test_what_reads_its_input_is_right_for_any_slope(slope: float, twin: str) -> None:
    x = np.array([[-1.0, 2.0], [3.0, -4.0], [0.5, 1.0]], f32)
    g, gamma, beta = np.ones_like(x), ones(2), np.zeros(2, f32)
    mean, var = np.zeros(2, f32), ones(2)
    factor = np.where(x > 0, 1, slope).astype(f32)
    with kernels.use(twin):
        y = kernels.leaky_relu(x, slope=slope)
        dx = kernels.leaky_relu_dx(g, x, slope=slope)
        normal = kernels.batch_norm(x, gamma, beta, mean, var, eps=0.0, slope=slope)
        back, _, dbeta = kernels.batch_norm_inference_backward(
            g, x, gamma, beta, mean, var, eps=0.0, slope=slope
        )
    np.testing.assert_allclose(y, factor * x)
    np.testing.assert_allclose(dx, factor)
    np.testing.assert_allclose(normal, factor * x, rtol=1e-6)
    np.testing.assert_allclose(back, factor, rtol=1e-6)
    np.testing.assert_allclose(dbeta, factor.sum(axis=0), rtol=1e-6)


# --- Logits -----------------------------------------------------------------------------------

LARGE = [1.0, 1e4, 1e8, -1e8, 1e30, -3e38]


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize("size", LARGE)
def test_the_cross_entropy_of_large_logits_is_exact(size: float, twin: str) -> None:
    x = np.array([[size, size], [size, -np.inf]], f32)
    with kernels.use(twin):
        loss, p = kernels.softmax_cross_entropy(x, labels=np.array([1, 0]))
    np.testing.assert_allclose(loss, [np.log(2), 0], atol=1e-7)
    np.testing.assert_allclose(p, [[0.5, 0.5], [1, 0]])


@pytest.mark.parametrize("size", LARGE)
def test_the_softmax_family_of_large_logits_is_exact(size: float) -> None:
    x = mg.Tensor(np.array([[size, size]], f32))
    log2 = np.log(2).astype(f32)
    np.testing.assert_allclose(mg.softmax(x).numpy(), [[0.5, 0.5]])
    np.testing.assert_allclose(mg.log_softmax(x).numpy(), [[-log2, -log2]], rtol=1e-6)
    np.testing.assert_allclose(mg.logsumexp(x, axis=1).numpy(), [f32(size) + log2], rtol=1e-6)
    labels = np.array([1])
    loss = mg.softmax_cross_entropy(x, labels=labels)
    np.testing.assert_allclose(loss.numpy(), [log2], rtol=1e-6)
    for function, expected in (
        (lambda t: mg.softmax_cross_entropy(t, labels=labels).sum(), [[0.5, -0.5]]),
        (lambda t: mg.log_softmax(t)[0, 1], [[-0.5, 0.5]]),
        (lambda t: mg.softmax(t)[0, 1], [[-0.25, 0.25]]),
        (lambda t: mg.logsumexp(t, axis=1).sum(), [[0.5, 0.5]]),
    ):
        for create_graph in (False, True):  # recorded, it is the composition that is differentiated
            found = mg.grad(function(x), x, create_graph=create_graph)
            np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("twin", TWINS)
def test_activations_of_huge_values_are_their_limits(twin: str) -> None:
    x = np.array([1e4, -1e4, 1e8, -1e8, 3e38, -3e38, np.inf, -np.inf], f32)
    zero_one = np.array([1, 0] * 4, f32)
    with kernels.use(twin), np.errstate(all="raise", under="ignore"):
        np.testing.assert_array_equal(kernels.sigmoid(x), zero_one)
        np.testing.assert_array_equal(kernels.softplus(x), np.maximum(x, 0))
        row, bias = x[None], np.zeros(len(x), f32)
        np.testing.assert_array_equal(kernels.bias_sigmoid(row, bias), zero_one[None])
        np.testing.assert_array_equal(kernels.bias_tanh(row, bias), 2 * zero_one[None] - 1)


@pytest.mark.parametrize("size", [1e4, 1e8, 1e30])
def test_the_binary_cross_entropy_of_large_logits_is_exact(size: float) -> None:
    from minigan.losses import binary_cross_entropy_with_logits

    for logit, target, loss, slope in (
        (size, 1.0, 0.0, 0.0),
        (-size, 0.0, 0.0, 0.0),
        (size, 0.0, size, 1.0),
        (-size, 1.0, size, -1.0),
    ):
        x = mg.Tensor(np.array([logit], f32))
        found = binary_cross_entropy_with_logits(x, target)
        np.testing.assert_allclose(found.numpy(), loss, rtol=1e-6)
        np.testing.assert_allclose(mg.grad(found, x).numpy(), [slope], atol=1e-7)

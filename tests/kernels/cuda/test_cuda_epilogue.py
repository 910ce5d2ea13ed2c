"""Bias and activation in the launch that computes a convolution on a GPU."""

from __future__ import annotations

from typing import Any

import minigan_kernels as kernels
import numpy as np
import pytest
from cuda_tools import DEVICE, ROUNDED, SCHEDULES, needs_gxx
from minigan_kernels.cuda import tiling
from minigan_kernels.cuda.emu import emulation
from minigan_kernels.epilogue import LINEAR, Epilogue
from test_cuda_conv import CASES, TILES, Case, check, exact, on_gpu
from test_cuda_moments import launches

from minigan import Tensor, conv2d, grad, nn, no_grad
from minigan.device import HOST
from minigan.random import Generator

pytestmark = needs_gxx

LEAKY, TANH, SIGMOID = Epilogue("leaky_relu", 0.2), Epilogue("tanh"), Epilogue("sigmoid")
# All that tiles are compiled with; one of each precision in the quick tests, and one activation.
EACH = [
    pytest.param(*tile, end, marks=[] if end is LEAKY or tile[1] == 1 else pytest.mark.slow)
    for tile in TILES
    for end in (LEAKY, TANH, SIGMOID)
]
FEW: Case = ((2, 3, 11, 9), (24, 3, 4, 4), {"stride": 2, "padding": 1})  # channels of the result


def calls(
    case: Case, precision: str, end: Epilogue
) -> list[tuple[str, list[np.ndarray], dict[str, Any]]]:
    """The convolution and its input gradient, on values that the precision can hold."""
    x_shape, w_shape, options = case
    rng = np.random.default_rng(0)
    x, w = (
        ROUNDED[precision](rng.standard_normal(s).astype(np.float32)) for s in (x_shape, w_shape)
    )
    g_shape = exact("conv2d", [x, w], options).shape
    g = ROUNDED[precision](rng.standard_normal(g_shape).astype(np.float32))
    # In steps of one: what belongs to a neighbour is far off, and tanh is where it bends.
    bias = [(np.arange(n) % 5 - 2).astype(np.float32) for n in (g_shape[1], x_shape[1])]
    options = {**options, "epilogue": end}
    return [
        ("conv2d_activated", [x / 8, w, bias[0]], options),
        ("conv2d_dx_activated", [g / 8, w, bias[1]], {**options, "shape": x_shape}),
    ]


@pytest.mark.parametrize(("precision", "tile", "end"), EACH)
def test_every_tile_ends_right(precision: str, tile: int, end: Epilogue) -> None:
    """Ragged tiles, four phases, groups."""
    with tiling.precision(precision), tiling.force(tile, 1):
        for case in ("DCGAN's", "odd", "in groups"):
            for call in calls(CASES[case], precision, end):
                check(on_gpu(*call), exact(*call))


@pytest.mark.parametrize("end", [LINEAR, LEAKY, TANH, SIGMOID])
@pytest.mark.parametrize("precision", tiling.PRECISIONS)
def test_a_sum_that_was_cut_ends_once(precision: str, end: Epilogue) -> None:
    with tiling.precision(precision):
        for case in ("DCGAN's", "odd"):  # vectors of four channels, and of one
            for call in calls(CASES[case], precision, end):
                results = set()
                for schedule in SCHEDULES[::3]:
                    with tiling.force(-1, 4), emulation(schedule):
                        y = on_gpu(*call)
                    check(y, exact(*call))
                    results.add(y.tobytes())
                assert len(results) == 1


@pytest.mark.parametrize("end", [LINEAR, LEAKY, TANH, SIGMOID])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_of_few_channels_end_right(channels: int, end: Epilogue) -> None:
    (_, w_shape, options), images = FEW, (2, channels, 11, 9)
    case = (images, (w_shape[0], channels, *w_shape[2:]), options)
    for call in calls(case, "float32", end):
        check(on_gpu(*call), exact(*call))
    case = (images, (channels, channels, 3, 3), {})
    for call in calls(case, "float32", end):
        check(on_gpu(*call), exact(*call))


@pytest.mark.skipif(DEVICE is not HOST, reason="counts emulated launches")
def test_nothing_passes_over_a_result_again() -> None:
    one, cut = ["pack", "pack", "convolve"], ["pack", "pack", "convolve", "reduce"]
    for case, split_k, expected in (
        (CASES["DCGAN's"], 1, one), (CASES["DCGAN's"], 4, cut), (FEW, 1, one),
    ):  # fmt: skip
        for name, arrays, options in calls(case, "float32", TANH):
            with tiling.force(1, split_k), launches() as names:
                getattr(kernels, name)(*arrays, **options)
            assert names == expected


def test_float64_and_ragged_groups_have_a_pass_of_their_own() -> None:
    for case in (CASES["odd"], ((2, 6, 5, 5), (9, 2, 3, 3), {"groups": 3})):
        for name, arrays, options in calls(case, "float32", SIGMOID):
            truth = exact(name, arrays, options)
            doubles = [a.astype(np.float64) for a in arrays]
            np.testing.assert_allclose(on_gpu(name, doubles, options), truth, rtol=1e-12)
            check(on_gpu(name, arrays, options), truth)


def players() -> tuple[nn.Module, nn.Module]:
    rng = Generator(0, "players")
    G = nn.Sequential(
        nn.ConvTranspose2d(8, 8, 4, rng=rng, activation=nn.ReLU()),
        nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1, rng=rng, activation=nn.Tanh()),
    )
    D = nn.Sequential(
        nn.Conv2d(3, 8, 4, stride=2, padding=1, rng=rng, activation=nn.LeakyReLU(0.2)),
        nn.Conv2d(8, 1, 4, rng=rng, activation=nn.Sigmoid()),
    )
    return G, D


@pytest.mark.skipif(DEVICE is not HOST, reason="counts emulated launches")
def test_no_player_pays_for_the_other() -> None:
    """A generator's step goes through D, of whose four filters it wants no gradient."""
    G, D = players()
    z = np.random.default_rng(0).standard_normal((2, 8, 1, 1)).astype(np.float32)
    steps = {}
    for name, wanted in (("G", G), ("D", D)):
        with launches() as names:
            loss = D(G(Tensor(z))).mean()
            forward = names.copy()
            names.clear()
            grad(loss, wanted.parameters())
        assert forward.count("convolve") == 4
        assert not [n for n in forward if n.startswith("bias_")]
        steps[name] = [names.count("convolve"), names.count("convolve_dw")]
    assert steps == {"G": [3, 2], "D": [1, 2]}  # z and what D is given have no gradient


def test_a_penalty_computes_no_convolution_twice() -> None:
    _, D = players()
    x = Tensor(np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32))
    with launches() as names:
        y = D(x).sum()
        assert names.count("convolve") == 2
        names.clear()
        (slope,) = grad(y, [x], create_graph=True)
        assert names.count("convolve") == 2  # of the backward pass alone
        grad((slope * slope).sum(), D.parameters())
    with kernels.use("reference"):
        again = grad(D(x).sum(), x)
    np.testing.assert_allclose(slope.data, again.data, rtol=1e-4, atol=1e-6)


def test_what_is_no_epilogue() -> None:
    with pytest.raises(ValueError, match=r"'relu'.*leaky_relu, tanh, sigmoid"):
        Epilogue("relu")
    for activation, slope in (("tanh", 0.5), ("leaky_relu", None), ("leaky_relu", 2.0)):
        with pytest.raises(ValueError, match="no slope of a"):
            Epilogue(activation, slope)
    x, w = np.ones((1, 2, 4, 4), np.float32), np.ones((2, 2, 3, 3), np.float32)
    with no_grad(), pytest.raises(ValueError, match="needs a bias"):
        conv2d(Tensor(x), Tensor(w), epilogue=TANH)

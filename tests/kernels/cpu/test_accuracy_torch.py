"""Convolutions in float32 lose little more than PyTorch's, where it is installed."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import minigan_kernels as kernels
import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch's own, while it is imported
    torch = pytest.importorskip("torch")

DIRECTIONS = ("forward", "dx", "dw")
MIDDLE = {"64->128": (64, 128, 32), "128->256": (128, 256, 16), "256->512": (256, 512, 8)}
WINDOW = {"stride": 2, "padding": 1}


class Layer(NamedTuple):
    """Arrays of a layer of a DCGAN, and PyTorch's results."""

    x: np.ndarray
    w: np.ndarray
    g: np.ndarray
    truth: list[np.ndarray]  # float64
    losses: list[float]  # of its float32


def theirs(*arrays: np.ndarray) -> list[np.ndarray]:
    x, w, g = map(torch.tensor, arrays)
    conv2d = torch.nn.functional.conv2d
    gradient = torch.nn.grad
    return [
        conv2d(x, w, **WINDOW).numpy(),
        gradient.conv2d_input(x.shape, w, g, **WINDOW).numpy(),
        gradient.conv2d_weight(x, w.shape, g, **WINDOW).numpy(),
    ]


def losses(results: list[np.ndarray], truth: list[np.ndarray]) -> list[float]:
    """rms error, relative, of each direction."""
    return [
        float(np.sqrt(np.mean((y - exact) ** 2) / np.mean(exact**2)))
        for y, exact in zip(results, truth, strict=True)
    ]


@pytest.fixture(scope="module", params=MIDDLE.values(), ids=MIDDLE)
def layer(request: pytest.FixtureRequest) -> Layer:
    channels, filters, side = request.param
    rng = np.random.default_rng(0)
    x, w, g = (
        rng.standard_normal(shape, np.float32)
        for shape in (
            (16, channels, side, side),
            (filters, channels, 4, 4),
            (16, filters, side // 2, side // 2),
        )
    )
    truth = theirs(*(a.astype(np.float64) for a in (x, w, g)))
    return Layer(x, w, g, truth, losses(theirs(x, w, g), truth))


@pytest.mark.parametrize(("algorithm", "most"), [("cpu", 3.0), ("winograd2", 1.6)])
def test_the_loss_of_float32(algorithm: str, most: float, layer: Layer) -> None:
    x, w, g, truth, reference = layer
    window: dict[str, Any] = WINDOW
    with kernels.use(algorithm):
        ours = [
            kernels.conv2d(x, w, **window),
            kernels.conv2d_dx(g, w, shape=x.shape, **window),
            kernels.conv2d_dw(x, g, shape=w.shape, **window),
        ]
    ratios = {
        name: round(mine / other, 2)
        for name, mine, other in zip(DIRECTIONS, losses(ours, truth), reference, strict=True)
    }
    print(algorithm, ratios)
    assert all(ratio <= most for ratio in ratios.values()), ratios

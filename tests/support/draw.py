"""What tests draw: arrays from a seed, and by Hypothesis what their cases are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from minigan_kernels.checks import Window

from minigan import Tensor

# Shrinking is left out: an example is small already, and shrinking it would take minutes.
SETTINGS = settings(
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def normal(*shape: int, seed: int = 0, dtype: Any = np.float64) -> np.ndarray:
    """Standard normal numbers, the same for the same seed."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def tensor(*shape: int, seed: int = 0) -> Tensor:
    return Tensor(normal(*shape, seed=seed))


LAYOUTS = ("plain", "channels last", "transposed", "reversed", "sliced")


def laid(array: np.ndarray, layout: str) -> np.ndarray:
    """A copy of `array` that is not contiguous in memory, but for the layout "plain"."""
    if np.ndim(array) == 0:
        return np.array(array)  # NumPy's own copy of a scalar is not an array
    if layout == "channels last" and array.ndim == 4:
        return array.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)
    if layout == "transposed":
        return array.T.copy().T
    back = (slice(None, None, -1),) * array.ndim
    if layout == "reversed":
        return array[back].copy()[back]
    if layout == "sliced":
        between = np.nan if array.dtype.kind == "f" else 0  # what must not be read
        wide = np.full(tuple(2 * n + 1 for n in array.shape), between, array.dtype)
        view = wide[(slice(1, None, 2),) * array.ndim]
        view[...] = array
        return view
    return array.copy()


class Draw:
    """Draws sizes and options by Hypothesis."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self.draw = draw

    def pick(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def int(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))


def least_plane(window: Window) -> tuple[int, int]:
    """The smallest plane (H, W) that the window fits."""
    height, width = (
        max(1, d * (k - 1) + 1 - 2 * p)
        for k, d, p in zip(window.kernel, window.dilation, window.padding, strict=True)
    )
    return height, width

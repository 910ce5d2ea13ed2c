"""Checking an algorithm of one's own against the plain kernels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

import minigan_kernels

from . import algorithms
from .checks import Pair, check_conv, conv_window

# (N, C, H, W), (O, C/groups, kH, kW), stride, padding, dilation, groups: the middle and the ends of
# a DCGAN, one pixel, one channel, odd sizes, strides beyond the kernel, no padding, and the rest.
LAYERS: tuple[tuple[Any, ...], ...] = (
    ((2, 3, 16, 16), (8, 3, 4, 4), 2, 1, 1, 1),
    ((2, 16, 8, 8), (32, 16, 4, 4), 2, 1, 1, 1),
    ((2, 32, 4, 4), (1, 32, 4, 4), 1, 0, 1, 1),
    ((1, 16, 9, 7), (17, 16, 3, 3), 1, 1, 1, 1),
    ((3, 1, 5, 5), (1, 1, 1, 1), 1, 0, 1, 1),
    ((1, 1, 1, 1), (1, 1, 1, 1), 1, 0, 1, 1),
    ((2, 5, 11, 6), (4, 5, 2, 3), 3, 0, 1, 1),
    ((1, 2, 7, 9), (3, 2, 1, 2), (2, 3), (0, 1), 1, 1),
    ((2, 4, 10, 10), (6, 4, 3, 3), 1, 2, 2, 1),
    ((2, 6, 8, 8), (4, 3, 3, 3), 1, 1, 1, 2),
    ((1, 4, 8, 8), (4, 1, 3, 3), 2, 1, 1, 4),
    ((2, 3, 12, 12), (4, 3, 5, 5), 1, 2, 1, 1),
)


def check_algorithm(
    name: str, *, layers: Sequence[tuple[Any, ...]] = LAYERS, tolerance: float = 1e-4
) -> int:
    """Compare a registered algorithm with the plain kernels, and count the comparisons.

    It computes each of the `layers` that it takes, for each kernel that it is registered for, with
    arrays in three orders in memory, and with a bias after it. A layer is the shapes (N, C, H, W)
    and (O, C/groups, kH, kW), then stride, padding, dilation and groups. `tolerance` is relative to
    the sum of the absolute values of what is added up.

    Raises:
        AssertionError: naming the layer, if a result is another, or an operand was written.
        ValueError: if the algorithm is not registered, or takes none of the layers.
    """
    if name not in algorithms.registered:
        raise ValueError(f"no algorithm is registered as {name!r}")
    count = 0
    for kernel in algorithms.registered[name]:
        for layer in layers:
            count += sum(1 for _ in _compared(name, kernel, layer, tolerance))
    if not count:
        raise ValueError(f"{name} takes none of the {len(layers)} layers; give others")
    return count


def _compared(name: str, kernel: str, layer: tuple[Any, ...], tolerance: float) -> Iterator[None]:
    """One comparison for each order in memory, if the algorithm takes the layer."""
    from .cpu.conv import select

    image, weight, stride, padding, dilation, groups = layer
    window = conv_window(weight, stride, padding, dilation)
    output = check_conv(image, weight, None, window, groups)
    of_layer = (kernel, image, output, window, groups)
    with minigan_kernels.use(name):
        if select.choose(*of_layer, np.dtype(np.float32))[0] != name:
            return
    shapes: dict[str, tuple[int, ...]] = {"x": image, "w": weight, "g": output}
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shapes[key], np.float32) for key in algorithms.KERNELS[kernel][0]]
    options: dict[str, int | Pair | tuple[int, ...]] = dict(
        zip(algorithms.OPTIONS, layer[2:], strict=True)
    )
    if kernel != "conv2d":
        options["shape"] = image if kernel == "conv2d_dx" else weight
    run = getattr(minigan_kernels, kernel)
    wide = [array.astype(np.float64) for array in arrays]
    with minigan_kernels.use("reference"):
        wanted, size = run(*wide, **options), run(*map(np.abs, wide), **options)
    for order, laid in _ORDERS.items():
        given = [laid(array) for array in arrays]
        with minigan_kernels.use(name, strict=True):
            found = run(*given, **options)
        where = f"{name} as {kernel} of {image} and {weight}, {options}, arrays {order}"
        error = np.abs(found - wanted)
        if not (error <= tolerance * size + 1e-30).all():
            raise AssertionError(f"{where}: it is wrong by up to {np.max(error):.3g}")
        if not all(map(np.array_equal, given, arrays)):
            raise AssertionError(f"{where}: it has written its operands")
        if kernel != "conv2d_dw":
            _check_biased(name, kernel, where, given, arrays, found, options)
        yield


def _check_biased(
    name: str,
    kernel: str,
    where: str,
    given: list[np.ndarray],
    arrays: list[np.ndarray],
    plain: np.ndarray,
    options: dict[str, Any],
) -> None:
    """Compare with a bias, which is added in place to what the algorithm gave.

    Raises:
        AssertionError: if the sum is wrong, or an operand was written.
    """
    bias = np.linspace(-1, 1, plain.shape[1], dtype=np.float32)
    with minigan_kernels.use(name, strict=True):
        found = getattr(minigan_kernels, f"{kernel}_activated")(*given, bias, **options)
    if not np.allclose(found, plain + bias.reshape(-1, 1, 1), rtol=1e-5, atol=1e-6):
        raise AssertionError(f"{where}: it is wrong where a bias follows")
    if not all(map(np.array_equal, given, arrays)):
        raise AssertionError(f"{where}: it gave a part of its operands, which was written")


def _spread(array: np.ndarray) -> np.ndarray:
    """The same values in every other place of a larger array."""
    room = np.full((*array.shape[:-1], 2 * array.shape[-1]), np.nan, np.float32)
    room[..., ::2] = array
    return room[..., ::2]


_ORDERS = {
    "in C order": lambda array: array.copy(),
    "with channels last": lambda array: array.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2),
    "with gaps": _spread,
}

"""Which kernels the convolutions of a DCGAN use on a device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import minigan_kernels as kernels
import numpy as np
from minigan_kernels.checks import conv_window

from .. import gans, nn
from ..device import Array, Device
from ..random import Generator
from ..tensor import Tensor, no_grad

SHAPE = (3, 64, 64)
BATCH = 64
Shape = Any  # (N, C, H, W), or of a weight
Layer = tuple[str, bool, Shape, Shape, Shape, dict[str, Any]]


def kernels_of_layers(device: Device) -> Sequence[tuple[str, ...]]:
    """A row for each layer: its name, its shapes, and the kernels of its output, dx and dw."""
    rows = []
    for name, transposed, x, y, w, options in _layers():
        small, large = (x, y) if transposed else (y, x)
        kernel_of = _on_cpu if device.name == "cpu" else _on_gpu(device)
        forward, back, weight = (
            kernel_of(kind, large, small, w, options)
            for kind in ("conv2d", "conv2d_dx", "conv2d_dw")
        )
        both = (back, forward) if transposed else (forward, back)
        rows.append((name, f"{_words(x)} to {_words(y)}", *both, weight))
    return rows


def _layers() -> list[Layer]:
    """Name, whether it is transposed, shapes of input, output and weight, and options."""
    seen: list[Layer] = []

    def watch(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            x, y = ((BATCH, *t.shape[1:]) for t in (inputs[0], output))
            options = {k: v for k, v in module.options.items() if k != "output_padding"}
            transposed = isinstance(module, nn.ConvTranspose2d)
            name = f"{'transposed ' if transposed else ''}convolution"
            seen.append((name, transposed, x, y, module.weight.shape, options))

    recipe: Any = gans.load("dcgan")()
    rng = _Zeros(0)
    with (
        kernels.use("reference"),
        no_grad(),
        nn.watching(watch),
    ):  # nothing to compile
        players = recipe.players(rng, SHAPE)
        players["D"](players["G"](Tensor(recipe.latent(rng, 2))))
    return seen


class _Zeros(Generator):
    """Draws nothing: only shapes matter here."""

    def _draw(self, shape: Any, kernel: Any, **options: Any) -> Array:
        return np.zeros(shape, np.float32)


def _on_cpu(kind: str, image: Shape, output: Shape, w: Shape, options: dict[str, Any]) -> str:
    if not kernels.compiles():
        return "reference"
    from minigan_kernels.cpu.conv.select import choose

    window = conv_window(w, options["stride"], options["padding"], options["dilation"])
    groups, float32 = options["groups"], np.dtype(np.float32)
    algorithm, tile = choose(kind, image, output, window, groups, float32)
    return f"{algorithm} {tile}x{tile}" if tile else algorithm


def _on_gpu(device: Device) -> Callable[[str, Shape, Shape, Shape, dict[str, Any]], str]:
    from minigan_kernels.cuda import autotune, launch

    def kernel_of(kind: str, image: Shape, output: Shape, w: Shape, options: dict[str, Any]) -> str:
        x, y, weight = (device.put(np.empty(shape, np.float32)) for shape in (image, output, w))
        with device.context(), launch.planning() as launched, autotune.noting() as measured:
            if kind == "conv2d":
                kernels.conv2d(x, weight, **options)
            elif kind == "conv2d_dx":
                kernels.conv2d_dx(y, weight, shape=image, **options)
            else:
                kernels.conv2d_dw(x, y, shape=w, **options)
        title = " + ".join(_title(k) for k in launched if k.file.stem != "pack")
        return title + "".join(", measured" if each else ", by the rule" for each in measured)

    return kernel_of


def _title(kernel: Any) -> str:
    tile = [kernel.defines[key] for key in ("TILE_M", "TILE_N") if key in kernel.defines]
    return " ".join([kernel.file.stem, *(["x".join(map(str, tile))] if tile else [])])


def _words(shape: Shape) -> str:
    return "x".join(map(str, shape[1:]))

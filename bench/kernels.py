"""Part `kernels`: every convolution of a DCGAN in each direction, against PyTorch's best.

Rates count the operations of the direct algorithm, so that Winograd's, which needs fewer
multiplications, can lie above what the machine does in a matrix product. "kept" is the same call
with arrays that the engine has frozen, where kernels find what they kept of an earlier call: in
forward and dx the weights as the algorithm wants them, for Winograd's transformed if more than a
few tiles use them (`FEW_TILES` in `winograd.blocking`); in dw Winograd's tiles of the image and of
the output gradient, if they are not too large (`_MEMOIZED_BYTES` in `winograd`). A training step is
in between. Algorithms that `--algorithms FILE` registers have a column each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import minigan_kernels
import numpy as np
from minigan_kernels.algorithms import registered
from minigan_kernels.checks import conv_window
from minigan_kernels.cpu.conv import select
from minigan_kernels.layouts import conv_weight
from minigan_kernels.memo import freeze_result

from . import table
from .layers import DIRECTIONS, Layer, dcgan
from .machine import roofline
from .passes import measure as measure_passes
from .peers import module
from .settings import Settings, say
from .timing import Step, compare

TITLE = "Kernels: a DCGAN's layers, float32"
OURS, KEPT = "minigan", "minigan, kept"
BUDGET = 1.3  # seconds for one layer and direction
OPERANDS = {
    "conv2d": ("image", "w"),
    "conv2d_dx": ("output", "w"),
    "conv2d_dw": ("image", "output"),
}
KEPT_OPERANDS = {"conv2d": ("w",), "conv2d_dx": ("w",), "conv2d_dw": ("image", "output")}

Arrays = dict[str, np.ndarray]


def measure(settings: Settings) -> dict[str, Any]:
    """Time all layers, then what is not a convolution."""
    size = {"width": 16, "batch": 8, "side": 32} if settings.quick else {}
    todo = [(layer, direction) for layer in dcgan(**size) for direction in DIRECTIONS]
    rows = []
    for number, (layer, direction) in enumerate(todo, 1):
        say(f"kernels {number}/{len(todo)}: {layer.name} {direction}")
        rows.append(_row(layer, direction, settings))
    passes = measure_passes(settings)
    roof = roofline(settings.threads, *((1, 256) if settings.quick else ()))
    for row in [*rows, *passes]:
        least = roof.least(row.get("flops", 0), row["bytes"])
        row["roof"] = least / row["times"][OURS].median
    return {"rows": rows, "passes": passes, "roofline": roof}


def ours(layer: Layer, direction: str, arrays: Arrays) -> Step:
    """One direction of `layer` through the public kernels."""
    options: dict[str, Any] = {"stride": layer.stride, "padding": layer.padding}
    name = layer.kernel_of(direction)
    if name == "conv2d_dx":
        options["shape"] = layer.image
    if name == "conv2d_dw":
        options["shape"] = layer.weight
    kernel: Callable[..., object] = getattr(minigan_kernels, name)
    first, second = (arrays[key] for key in OPERANDS[name])
    return lambda: kernel(first, second, **options)


def kept(layer: Layer, direction: str, arrays: Arrays) -> Step:
    """The same, with arrays that the engine would have frozen."""
    frozen = {key: array.copy(order="K") for key, array in arrays.items()}
    for key in KEPT_OPERANDS[layer.kernel_of(direction)]:
        freeze_result(frozen[key], ())
    return ours(layer, direction, frozen)


def forced(algorithm: str, step: Step) -> Step:
    """`step` by one algorithm, and by no other."""

    def run() -> object:
        with minigan_kernels.use(algorithm, strict=True):
            return step()

    return run


def _registered(layer: Layer, direction: str, arrays: Arrays) -> dict[str, Step]:
    """One direction of `layer` by each registered algorithm that takes it."""
    kernel, steps = layer.kernel_of(direction), dict[str, Step]()
    window = conv_window(layer.weight, layer.stride, layer.padding, 1)
    of_layer = (kernel, layer.image, layer.output, window, 1, np.dtype(np.float32))
    for name in registered:
        with minigan_kernels.use(name):
            takes = select.choose(*of_layer)[0] == name
        if takes:
            steps[name] = forced(name, ours(layer, direction, arrays))
    return steps


def operands(layer: Layer) -> Arrays:
    """Random arrays in the layouts that the engine uses: channels last, weights as HWIO."""
    rng = np.random.default_rng(0)
    return {
        "image": image(rng.standard_normal(layer.image, np.float32)),
        "w": conv_weight(np.float32(0.02) * rng.standard_normal(layer.weight, np.float32)),
        "output": image(rng.standard_normal(layer.output, np.float32)),
    }


def image(x: np.ndarray) -> np.ndarray:
    """A copy of x (N, C, H, W) with channels last in memory."""
    return np.array(x.transpose(0, 2, 3, 1), order="C").transpose(0, 3, 1, 2)


def _row(layer: Layer, direction: str, settings: Settings) -> dict[str, Any]:
    arrays = operands(layer)
    steps = {OURS: ours(layer, direction, arrays), KEPT: kept(layer, direction, arrays)}
    steps |= _registered(layer, direction, arrays)
    torch = module("torch_kernels")
    theirs = torch.conv(layer, direction, *arrays.values()) if torch else {}
    found = compare(steps | theirs, budget=settings.budget(BUDGET), prime=True)
    peer = found.fastest(theirs, OURS)
    ratios = {name: found.ratio(peer, name) for name in steps} if peer else {}
    seconds = found.timing(OURS).median
    return {
        "name": layer.name,
        "planes": layer.planes,
        "direction": direction,
        "middle": layer.middle,
        "flops": layer.flops,
        "bytes": layer.bytes,
        "times": found.timings(),
        "peer": peer,
        "ratios": ratios,
        "gflops": 1e-9 * layer.flops / seconds,
        "error": _errors(layer, direction, arrays, steps[OURS], theirs.get(peer)),
    }


def _errors(
    layer: Layer, direction: str, arrays: Arrays, mine: Step, theirs: Step | None
) -> dict[str, float | None]:
    """Root of the mean square error over that of the result, against float64."""
    with minigan_kernels.use("reference"):
        exact: Any = ours(layer, direction, {k: a.astype(np.float64) for k, a in arrays.items()})()
    size = np.sqrt(np.square(exact).mean())

    def error(step: Step) -> float:
        return float(np.sqrt(np.square(np.asarray(step()) - exact).mean()) / size)

    return {"minigan": error(mine), "PyTorch": None if theirs is None else error(theirs)}


def show(result: dict[str, Any]) -> None:
    """Print the tables."""
    roof = result["roofline"]
    products, traffic = (table.doubt(roof, f"{roof[key]:.0f}") for key in ("gflops", "gbytes"))
    heading = (
        "layer", "pixels", "", "minigan", "PyTorch", "ratio", "kept", "ratio", "GFLOP/s", "of roof",
        "error", "PyTorch's", *registered,
    )  # fmt: skip
    rows = []
    for row in result["rows"]:
        times, error = row["times"], row["error"]
        cells = [
            row["name"],
            row["planes"],
            row["direction"],
            table.seconds(times[OURS]),
            table.seconds(times.get(row["peer"])),
            table.times(row["ratios"].get(OURS)),
            table.seconds(times.get(KEPT)),
            table.times(row["ratios"].get(KEPT)),
            f"{row['gflops']:.0f}",
            f"{row['roof']:.0%}",
            f"{error['minigan']:.1e}",
            "-" if error["PyTorch"] is None else f"{error['PyTorch']:.1e}",
            *(table.seconds(times.get(name)) for name in registered),
        ]
        rows.append(cells)
    notes = (
        f"Roof: {products} GFLOP/s (matrix product by {roof['product_by']}), "
        f"{traffic} GB/s; operations as the direct algorithm counts them. PyTorch is "
        "the faster of channels_first and channels_last. A ratio is PyTorch's time over minigan's. "
        "kept: what kernels keep of frozen arrays was there: weights as the algorithm wants them, "
        "Winograd's tiles if they are not too large. error: rms against float64, relative."
    )
    table.show(TITLE, heading, rows, notes)
    rows = [
        [
            row["name"],
            row["shape"],
            table.seconds(row["times"][OURS]),
            table.seconds(row["times"].get(row["peer"])),
            table.times(row["ratios"].get(OURS)),
            f"{row['gbytes']:.1f}",
            f"{row['roof']:.0%}",
        ]
        for row in result["passes"]
    ]
    columns = ("pass over memory", "of", "minigan", "PyTorch", "ratio", "GB/s", "of roof")
    table.show("What is not a convolution", columns, rows)

"""Part `ladder`: what each idea bought, on one layer of DCGAN and on its whole step.

The rungs are in RUNGS, and nowhere else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest.mock import patch

import minigan_kernels
import numpy as np
from minigan_kernels.memo import memoize

from . import naive, table
from .kernels import Arrays, kept, operands, ours
from .layers import DIRECTIONS, Layer
from .layers import dcgan as dcgan_layers
from .machine import roofline
from .peers import Peer, Size, module, peer, ready
from .peers.ours import dcgan
from .settings import Settings, say
from .timing import Step, compare
from .workloads import EAGER, TUNED

TITLE = "The ladder: what each idea bought"
LAYER = Layer("D", 64, 128, 256, 16)
STEP = Size((3, 64, 64))


@dataclass(frozen=True)
class Rung:
    """One idea more than the rung below."""

    name: str
    idea: str
    kernels: str | None  # what `minigan_kernels.use` calls it; None for the plain loop
    keeps: bool = False  # whether what was transformed once is kept for the next call


RUNGS = (
    Rung("loop", "the definition, one product after the other", None),
    Rung("im2col", "windows packed as rows for BLAS, as Caffe and Chainer", "im2col"),
    Rung("direct", "no packing: register tiles of explicit vectors", "direct"),
    Rung("Winograd F(2x2)", "9 multiplications for 16", "winograd2"),
    Rung("Winograd F(4x4)", "25 multiplications for 64", "winograd"),
    Rung("kept transforms", "what is worth its memory is transformed once", "winograd", keeps=True),
    Rung("minigan", "each layer by the algorithm that suits it", "cpu", keeps=True),
)
LOOP_IMAGES = 2  # of the batch, which is all that patience allows


def measure(settings: Settings) -> dict[str, Any]:
    """Climb it on the layer in all directions, then on the step."""
    layer = Layer("D", 4, 16, 32, 16) if settings.quick else LAYER
    size = Size((3, 32, 32), 8, 8) if settings.quick else STEP
    roof = roofline(settings.threads, *((1, 256) if settings.quick else ()))
    rows: list[dict[str, Any]] = [
        {"name": rung.name, "idea": rung.idea, "layer": {}, "step": None} for rung in RUNGS
    ]
    peers = []
    for direction in DIRECTIONS:
        say(f"ladder: {layer.name} {direction}")
        peers.append(_climb_layer(layer, direction, rows, settings))
    say("ladder: the whole step")
    step_peers = _climb_step(size, layer, rows, settings)
    return {
        "rows": rows,
        "title": f"{layer.name}, {layer.planes} pixels, batch {layer.batch}",
        "step": f"DCGAN {size}",
        "flops": layer.flops,
        "roofline": roof,
        "peers": dict(zip(DIRECTIONS, peers, strict=True)) | {"step": step_peers},
    }


def _climb_layer(
    layer: Layer, direction: str, rows: list[dict[str, Any]], settings: Settings
) -> dict[str, Any]:
    """Time one direction on every rung into `rows`; what PyTorch takes."""
    arrays = operands(layer)
    steps: dict[str, Step] = {}
    for rung in RUNGS:
        if rung.kernels is None:
            steps[rung.name] = _loop(layer, direction)
        else:
            # What was not frozen keeps nothing: no need for `nothing_kept`, which takes its time.
            call = (kept if rung.keeps else ours)(layer, direction, arrays)
            steps[rung.name] = _within(rung, call)
    torch = module("torch_kernels")
    theirs = torch.conv(layer, direction, *arrays.values()) if torch else {}
    found = compare(steps | theirs, budget=settings.budget(4), prime=True)
    for rung, row in zip(RUNGS, rows, strict=True):
        timing = vars(found.timing(rung.name))
        if rung.kernels is None:
            scale = layer.batch / LOOP_IMAGES
            timing = timing | {key: scale * timing[key] for key in ("median", "low", "high")}
        row["layer"][direction] = timing
    return {name: found.timing(name) for name in theirs}


def _climb_step(
    size: Size, layer: Layer, rows: list[dict[str, Any]], settings: Settings
) -> dict[str, Any]:
    steps, _ = ready(
        [
            *(Peer(rung.name, partial(_climb, rung, size)) for rung in RUNGS[1:]),
            peer(EAGER, "torch_dcgan.eager", size),
            peer(TUNED, "torch_dcgan.tuned", size, channels_last=True),
        ]
    )
    theirs = [name for name in (EAGER, TUNED) if name in steps]
    found = compare(steps, budget=settings.budget(40), least=5, prime=True)
    rows[0]["step"] = _loop_step(size, layer, rows[0]["layer"])
    for rung, row in zip(RUNGS[1:], rows[1:], strict=True):
        row["step"] = found.timing(rung.name)
    return {name: found.timing(name) for name in theirs}


def _loop_step(size: Size, like: Layer, found: dict[str, Any]) -> dict[str, Any]:
    """What the convolutions of a step take at the rates that were found on `like`."""
    total = 0.0
    for layer in dcgan_layers(size.image[1], size.image[0], size.width, size.batch):
        first = layer.channels == size.image[0] if layer.player == "D" else layer.stride == 1
        # D sees real and false images in its own update, and false ones in G's; the gradient by
        # real images or by z is nobody's.
        times = {"D": (3, 1 if first else 3, 2), "G": (1, 0 if first else 1, 1)}[layer.player]
        for direction, count in zip(DIRECTIONS, times, strict=True):
            total += count * layer.flops / like.flops * found[direction]["median"]
    return {"median": total, "disturbed": False, "estimated": True}


def _climb(rung: Rung, size: Size) -> Step:
    step = _within(rung, dcgan(size))

    def run() -> object:
        with nothing_kept():  # a thousandth of a step
            return step()

    return step if rung.keeps else run


def _within(rung: Rung, step: Step) -> Step:
    """`step` with a rung's kernels."""

    def run() -> object:
        assert rung.kernels is not None
        with minigan_kernels.use(rung.kernels):
            return step()

    return run


@contextmanager
def nothing_kept() -> Iterator[None]:
    """Within the block every kernel transforms what it is given anew."""

    def compute_again(array: object, name: object, compute: Callable[[], Any]) -> Any:
        return compute()

    with ExitStack() as stack:
        for name, file in list(sys.modules.items()):
            if name.startswith("minigan_kernels.") and vars(file).get("memoize") is memoize:
                stack.enter_context(patch.object(file, "memoize", compute_again))
        yield


def _loop(layer: Layer, direction: str) -> Step:
    """The plain loop, on a few images of the batch."""
    few = Layer(layer.player, LOOP_IMAGES, layer.channels, layer.filters, layer.side)
    arrays: Arrays = {key: np.ascontiguousarray(a) for key, a in operands(few).items()}
    image, w, output = (arrays[key] for key in ("image", "w", "output"))
    edges = (layer.stride, layer.padding)
    return {
        "conv2d": lambda: naive.conv2d(image, w, np.zeros_like(output), *edges),
        "conv2d_dx": lambda: naive.conv2d_dx(output, w, np.zeros_like(image), *edges),
        "conv2d_dw": lambda: naive.conv2d_dw(image, output, np.zeros_like(w), *edges),
    }[layer.kernel_of(direction)]


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    rows = []
    for row in result["rows"]:
        cells = [f"{table.seconds(row['layer'][d])}" for d in DIRECTIONS]
        total = sum(row["layer"][d]["median"] for d in DIRECTIONS)
        rate = f"{3e-9 * result['flops'] / total:.0f}"
        rows.append([f"{row['name']}: {row['idea']}", *cells, rate, table.seconds(row["step"])])
    peers = result["peers"]
    rows += [
        [name, *(table.seconds(peers[d][name]) for d in DIRECTIONS), "", ""]
        for name in peers["forward"]
    ]
    rows += [[n, *[""] * 4, table.seconds(timing)] for n, timing in peers["step"].items()]
    notes = (
        f"Layer: {result['title']}. Step: {result['step']}. The loop runs on one thread and a few "
        "images, and its step is what its rate on the layer would make it."
    )
    table.show(TITLE, ("", *DIRECTIONS, "GFLOP/s", "step"), rows, notes)

"""What a card takes for a DCGAN: its rounds, layers and passes, beside PyTorch and the roofline.

Times of single kernels are those of the card alone: as many calls as make a graph, launched between
two events. Rounds are timed by the clock, with all that the host does for them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import minigan_kernels as kernels
import numpy as np
from minigan_kernels.cuda import ladder

import minigan as mg
from minigan.device import Device
from minigan.gans.dcgan import DCGAN

from .gpu_checks import Row, at, dcgan
from .kernels import OPERANDS, ours
from .layers import DIRECTIONS, Layer
from .layers import dcgan as layers_of
from .passes import ARRAYS
from .peers import Size, module
from .timing import Step

CALLS = 20  # of a kernel in a graph
TURNS = 7  # of which the median counts
EAGER, COMPILED = "PyTorch eager", "PyTorch compiled"
STEADY = 5  # rounds before any is timed: graphs are captured, algorithms chosen
# 1e12 operations a second and multiprocessor at 1 GHz, by compute capability (NVIDIA's white papers
# on A100 and H100).
RATES = {
    (8, 0): {"float32": 0.128, "tf32": 1.024, "bfloat16": 2.048},
    (9, 0): {"float32": 0.256, "tf32": 2.048, "bfloat16": 4.096},
}


class Watch:
    """Seconds of work on a card; a test brings its own."""

    def __init__(self, device: Device) -> None:
        self.device = device

    def kernel(self, step: Step) -> float:
        """Seconds of one call of `step`, without what the host does for it."""
        step()  # compiles
        _, launch = self.device.capture(lambda: [step() for _ in range(CALLS)])
        return self.events(launch) / CALLS

    def events(self, launch: Step) -> float:
        """Seconds from before a launch to after it, on the card's own clock."""
        import cupy

        launch()
        began, ended = cupy.cuda.Event(), cupy.cuda.Event()
        times = []
        for _ in range(TURNS):
            began.record()
            launch()
            ended.record()
            ended.synchronize()
            times.append(1e-3 * cupy.cuda.get_elapsed_time(began, ended))
        return statistics.median(times)

    def rounds(self, step: Step, count: int) -> float:
        """Seconds of one of `count` rounds, each of which waits for its values."""
        for _ in range(STEADY):
            step()
        began = time.perf_counter()
        for _ in range(count):
            step()
        return (time.perf_counter() - began) / count

    def used(self) -> int:
        """Bytes of the card's memory that are not free."""
        import cupy

        free, total = cupy.cuda.runtime.memGetInfo()
        return int(total - free)


def roofline(watch: Watch, values: int, peaks: dict[str, float]) -> Row:
    """1e9 bytes a second that a copy of `values` float32 reads and writes, and the peaks."""
    source = watch.device.put(np.zeros(values, np.float32))
    target = watch.device.empty(values, np.float32)
    seconds = watch.kernel(lambda: target.__setitem__(slice(None), source))
    return {"gbytes": 8e-9 * values / seconds, "tflops": peaks}


def peaks(capability: tuple[int, int], multiprocessors: int, gigahertz: float) -> dict[str, float]:
    """1e12 operations a second of a card by precision; empty if its rates are not known here."""
    rates = RATES.get(capability, {})
    return {name: rate * multiprocessors * gigahertz for name, rate in rates.items()}


def least(flops: float, size: float, roof: Row, precision: str) -> float | None:
    """Seconds that `flops` operations on `size` bytes take at least."""
    peak = roof["tflops"].get(precision)
    return None if peak is None else max(1e-12 * flops / peak, 1e-9 * size / roof["gbytes"])


def rounds(watch: Watch, size: Size, count: int, precision: str, torch: Any) -> Row:
    """A DCGAN's round in a precision: as usual, replayed, and by PyTorch as it is written."""
    row: Row = {"precision": precision, "times": {}, "absent": {}}
    device = at(watch.device, precision)
    usual, replayed = dcgan(device, size), dcgan(device, size)
    replayed.use_graphs(lambda why: row["absent"].update({"minigan, graph": why}))
    row["times"]["minigan"] = watch.rounds(usual.round, count)
    row["times"]["minigan, graph"] = watch.rounds(replayed.round, count)
    if row["absent"]:
        del row["times"]["minigan, graph"]  # which were rounds as usual
    if torch:
        beside(watch, size, count, row, torch, EAGER)
    return row


def beside(watch: Watch, size: Size, count: int, row: Row, torch: Any, name: str) -> None:
    """Add PyTorch's time to a row of `rounds`, or why there is none."""
    try:
        step = torch.dcgan(size, row["precision"], compiled=name == COMPILED)
        row["times"][name] = watch.rounds(step, count)
    except Exception as error:  # a compiler that is not there, a mode that is not
        first = (str(error).splitlines() or [""])[0]
        row["absent"][name] = f"{type(error).__name__}: {first}"[:140]


def layers(watch: Watch, size: Size, precision: str, roof: Row, torch: Any) -> list[Row]:
    """Each layer of a DCGAN in each direction, ours and cuDNN's.

    Ours take and give float32; cuDNN is given bfloat16 where that is the precision.
    """
    rows = []
    for layer in layers_of(size.image[1], size.image[0], size.width, size.batch):
        arrays = operands(layer, watch.device)
        for direction in DIRECTIONS:
            with at(watch.device, precision).computing():
                seconds = watch.kernel(ours(layer, direction, arrays))
            theirs = torch.conv(layer, direction, precision) if torch else None
            bound = least(layer.flops, layer.bytes, roof, precision)
            rows.append({
                "layer": layer.name, "planes": layer.planes, "direction": direction,
                "precision": precision, "middle": layer.middle,
                "kernel": layer.kernel_of(direction), "seconds": seconds, "cudnn": theirs,
                "tflops": 1e-12 * layer.flops / seconds,
                "roof": None if bound is None else bound / seconds,
            })  # fmt: skip
    return rows


def operands(layer: Layer, device: Device) -> dict[str, Any]:
    """Random arrays on the device, in the layouts that the engine uses."""
    rng = np.random.default_rng(0)
    found = {}
    for name, shape in (("image", layer.image), ("w", layer.weight), ("output", layer.output)):
        order = (2, 3, 1, 0) if name == "w" else (0, 2, 3, 1)
        memory = rng.standard_normal([shape[i] for i in order], np.float32)
        found[name] = device.put(memory).transpose(*np.argsort(order).tolist())
    return found


def ladder_rows(watch: Watch, layer: Layer, roof: Row) -> list[Row]:
    """The convolution in its steps, on one layer."""
    arrays = operands(layer, watch.device)
    x, w = (arrays[name] for name in OPERANDS["conv2d"])
    rows = []
    for name, step in ladder.STEPS.items():
        call = partial(step, x, w, stride=layer.stride, padding=layer.padding)
        seconds = watch.kernel(call)
        precision = "bfloat16" if name[0] == "7" else name.partition(", ")[2] or "float32"
        bound = least(layer.flops, layer.bytes, roof, precision)
        rows.append({
            "step": name, "seconds": seconds, "tflops": 1e-12 * layer.flops / seconds,
            "roof": None if bound is None else bound / seconds,
        })  # fmt: skip
    return rows


def passes(watch: Watch, shape: tuple[int, ...], width: int, roof: Row) -> list[Row]:
    """Batch norm with its activation and Adam, against the bandwidth of a copy."""
    put, rng = watch.device.put, np.random.default_rng(0)
    n, c, h, w = shape
    x, g = (put(rng.standard_normal((n, h, w, c), np.float32)).transpose(0, 3, 1, 2) for _ in "xg")
    vector = put(rng.standard_normal(c, np.float32))
    mean, var = kernels.moments(x)
    options: dict[str, Any] = {"eps": 1e-5, "slope": 0.0}

    def norm() -> object:
        return kernels.batch_norm(x, vector, vector, *kernels.moments(x), **options)

    recipe = DCGAN(width=width)
    players = recipe.players(mg.Generator(seed=0), (3, 64, 64)).values()
    ps = [put(p.data) for player in players for p in player.parameters().values()]
    gs, means, squares = ([p * 0 + 1e-3 for p in ps] for _ in range(3))
    adam: dict[str, Any] = {
        "lr": 2e-4,
        "beta1": 0.5,
        "beta2": 0.999,
        "eps": 1e-8,
        "weight_decay": 0.0,
        "step": 1,
    }
    steps: dict[str, tuple[Callable[[], object], int]] = {
        "batch norm + ReLU forward": (norm, x.size),
        "batch norm + ReLU backward": (
            lambda: kernels.batch_norm_backward(g, x, vector, vector, mean, var, **options),
            x.size,
        ),
        "Adam": (lambda: kernels.adam(ps, gs, means, squares, **adam), sum(p.size for p in ps)),
    }
    rows = []
    for name, (step, values) in steps.items():
        seconds, size = watch.kernel(step), 4 * values * ARRAYS[name]
        rate = 1e-9 * size / seconds
        row = {"pass": name, "values": values, "seconds": seconds, "gbytes": rate}
        rows.append(row | {"roof": rate / roof["gbytes"]})
    return rows


def growth(watch: Watch, size: Size, few: int, many: int) -> Row:
    """The memory in use after few rounds and after many more."""
    state = dcgan(watch.device, size)
    state.use_graphs(lambda why: None)
    used = []
    for count in (few, many):
        for _ in range(count):
            state.round()
        used.append(watch.used())
    return {"rounds": many, "before": used[0], "after": used[1], "grown": used[1] - used[0]}


def peer() -> Any:
    """PyTorch on a card; None where it is not installed, or has none."""
    torch = module("torch_cuda")
    return torch if torch is not None and torch.available() else None

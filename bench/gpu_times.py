"""What a GPU takes for a DCGAN: its rounds, layers and passes, beside PyTorch and the roofline.

Times of single kernels are those of the GPU alone: as many calls as make a graph, launched between
two events. Rounds are timed by the clock, with all that the host does for them. What is compared
takes turns, because a GPU's clock changes with its load and its heat.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
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
from .timing import Step, order_of

CALLS = 20  # of a kernel in a graph
TURNS = 7  # of which the median counts
USUAL, GRAPH = "minigan", "minigan, graph"
EAGER, COMPILED = "PyTorch eager", "PyTorch compiled"
Turn = Callable[[], float]  # seconds of one call, measured anew each time
STEADY = 5  # rounds before any is timed: graphs are captured, algorithms chosen
# 1e12 operations a second and multiprocessor at 1 GHz, by compute capability (NVIDIA's white papers
# on A100 and H100).
RATES = {
    (8, 0): {"float32": 0.128, "tf32": 1.024, "bfloat16": 2.048},
    (9, 0): {"float32": 0.256, "tf32": 2.048, "bfloat16": 4.096},
}


class Watch:
    """Seconds of work on a GPU; a test brings its own."""

    def __init__(self, device: Device) -> None:
        self.device = device

    def kernel(self, step: Step) -> float:
        """Seconds of one call of `step`, without what the host does for it."""
        return in_turns({"": self.turn(step)})[""]

    def turn(self, step: Step) -> Turn:
        """What gives seconds of one call of `step`, without what the host does for it."""
        import cupy

        step()  # compiles
        _, launch = self.device.capture(lambda: [step() for _ in range(CALLS)])
        launch()
        began, ended = cupy.cuda.Event(), cupy.cuda.Event()

        def seconds() -> float:
            began.record()
            launch()
            ended.record()
            ended.synchronize()
            return 1e-3 * float(cupy.cuda.get_elapsed_time(began, ended)) / CALLS

        return seconds

    def rounds(self, steps: Mapping[str, Step], count: int) -> dict[str, float]:
        """Seconds of a round of each, of about `count`, each of which waits for its values."""
        block = max(1, count // TURNS)
        for step in steps.values():
            for _ in range(STEADY):
                step()

        def turn(step: Step) -> float:
            began = time.perf_counter()
            for _ in range(block):
                step()
            return (time.perf_counter() - began) / block

        return in_turns({name: partial(turn, step) for name, step in steps.items()})

    def used(self) -> int:
        """Bytes of the GPU's memory that are not free."""
        import cupy

        free, total = cupy.cuda.runtime.memGetInfo()
        return int(total - free)


def in_turns(turns: Mapping[str, Turn]) -> dict[str, float]:
    """The median by name of what TURNS turns of each give."""
    found: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(TURNS):
        for name in order_of(list(turns), number):
            found[name].append(turns[name]())
    return {name: statistics.median(seconds) for name, seconds in found.items()}


def roofline(watch: Watch, values: int, peaks: dict[str, float]) -> Row:
    """1e9 bytes a second that a copy of `values` float32 reads and writes, and the peaks."""
    source = watch.device.put(np.zeros(values, np.float32))
    target = watch.device.empty(values, np.float32)
    seconds = watch.kernel(lambda: target.__setitem__(slice(None), source))
    return {"gbytes": 8e-9 * values / seconds, "tflops": peaks}


def peaks(capability: tuple[int, int], multiprocessors: int, gigahertz: float) -> dict[str, float]:
    """1e12 operations a second of a GPU by precision; empty if its rates are not known here."""
    rates = RATES.get(capability, {})
    return {name: rate * multiprocessors * gigahertz for name, rate in rates.items()}


def least(flops: float, size: float, roof: Row, precision: str) -> float | None:
    """Seconds that `flops` operations on `size` bytes take at least."""
    peak = roof["tflops"].get(precision)
    return None if peak is None else max(1e-12 * flops / peak, 1e-9 * size / roof["gbytes"])


def rounds(watch: Watch, size: Size, count: int, precision: str, torch: Any) -> Row:
    """A DCGAN's round in a precision: as usual, replayed, and by PyTorch as it is written."""
    row: Row = {"precision": precision, "times": {}, "ratios": {}, "absent": {}}
    device = at(watch.device, precision)
    usual, replayed = dcgan(device, size), dcgan(device, size)
    replayed.use_graphs(lambda why: row["absent"].update({GRAPH: why}))
    steps: dict[str, Step] = {USUAL: usual.advance, GRAPH: replayed.advance}
    if torch:
        steps |= _theirs(size, row, torch, EAGER)
    row["times"] = watch.rounds(steps, count)
    if GRAPH in row["absent"]:
        del row["times"][GRAPH]  # which were rounds as usual
    if EAGER in row["times"]:
        row["ratios"][EAGER] = row["times"][EAGER] / row["times"][_ours(row)]
    return row


def compiled(watch: Watch, size: Size, count: int, row: Row, torch: Any) -> None:
    """Add compiled PyTorch's time to a row of `rounds`, in turns with ours anew, or why not."""
    theirs = _theirs(size, row, torch, COMPILED)
    if not theirs:
        return
    state, mine = dcgan(at(watch.device, row["precision"]), size), _ours(row)
    if mine == GRAPH:
        state.use_graphs(lambda why: None)
    found = watch.rounds({mine: state.advance} | theirs, count)
    row["times"][COMPILED] = found[COMPILED]
    row["ratios"][COMPILED] = found[COMPILED] / found[mine]


def _ours(row: Row) -> str:
    """What of ours the others are compared with."""
    return GRAPH if GRAPH in row["times"] else USUAL


def _theirs(size: Size, row: Row, torch: Any, name: str) -> dict[str, Step]:
    """PyTorch's step; none if it cannot take one, and the row says why."""
    try:
        step: Step = torch.dcgan(size, row["precision"], compiled=name == COMPILED)
        step()
    except Exception as error:  # a compiler that is not there, a mode that is not
        first = (str(error).splitlines() or [""])[0]
        row["absent"][name] = f"{type(error).__name__}: {first}"[:140]
        return {}
    return {name: step}


def layers(watch: Watch, size: Size, precision: str, roof: Row, torch: Any) -> list[Row]:
    """Each layer of a DCGAN in each direction, ours and cuDNN's.

    Ours take and give float32; cuDNN is given bfloat16 where that is the precision.
    """
    rows = []
    for layer in layers_of(size.image[1], size.image[0], size.width, size.batch):
        arrays = operands(layer, watch.device)
        for direction in DIRECTIONS:
            with at(watch.device, precision).context():
                turns = {USUAL: watch.turn(ours(layer, direction, arrays))}
            if torch:
                turns["cuDNN"] = torch.conv(layer, direction, precision)
            found = in_turns(turns)
            seconds = found[USUAL]
            bound = least(layer.flops, layer.bytes, roof, precision)
            rows.append({
                "layer": layer.name, "planes": layer.planes, "direction": direction,
                "precision": precision, "middle": layer.middle,
                "kernel": layer.kernel_of(direction), "seconds": seconds,
                "cudnn": found.get("cuDNN"),
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
        "decoupled": False,
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
            state.advance()
        used.append(watch.used())
    return {"rounds": many, "before": used[0], "after": used[1], "grown": used[1] - used[0]}


def peer() -> Any:
    """PyTorch on a GPU; None where it is not installed, or has none."""
    torch = module("torch_cuda")
    return torch if torch is not None and torch.available() else None

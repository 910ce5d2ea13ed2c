"""Part `gpu`: the one command for a CUDA GPU. First whether it computes right, then how fast.

Every primitive against its emulation on random bits, noise and a round against the CPU's, the
twins' own tests with arrays on the GPU, compute-sanitizer where it is installed, and 200 rounds of
a DCGAN as usual and replayed from a graph. Then, beside PyTorch where that is installed with CUDA,
a DCGAN's rounds, each of its convolutions, the convolution in its steps, batch norm and Adam
against the bandwidth of a copy, and memory that must not grow in 10,000 rounds. Goals are those
that this project set itself.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from minigan.device import Device, cuda, probe
from minigan.errors import UserError

from . import gpu_checks as checks
from . import gpu_times as times
from .gpu_checks import Row
from .gpu_tables import show as show
from .layers import Layer
from .peers import Size
from .settings import say

LIMIT = 540  # seconds after which nothing is begun
PRECISIONS = ("float32", "tf32", "bfloat16")


@dataclass
class Sizes:
    """How much of everything."""

    dcgan: Size = field(default_factory=lambda: Size((3, 64, 64), 64, 128))
    checked: int = 200  # rounds that are compared
    timed: int = 100
    grown: tuple[int, int] = (100, 10_000)  # rounds between which memory must not grow
    copied: int = 1 << 27  # values
    normed: tuple[int, int, int, int] = (128, 64, 32, 32)
    layer: Layer = field(default_factory=lambda: Layer("D", 128, 64, 128, 32))  # for the steps


def measure(
    device: Device, watch: times.Watch, sizes: Sizes, peaks: dict[str, float], torch: Any
) -> Row:
    """All parts, each for itself: one that fails is a check that failed."""
    began = time.monotonic()
    found: Row = {"rows": [], "left_out": [], "absent": absent(torch)}
    rows: list[Row] = found["rows"]

    def part(name: str, work: Callable[[], Any]) -> Any:
        if time.monotonic() - began > LIMIT:
            found["left_out"].append(name)
            return None
        say(f"gpu: {name}")
        try:
            return work()
        except Exception as error:
            first = (str(error).splitlines() or [""])[0]
            rows.append({"check": name, "right": False, "says": f"{type(error).__name__}: {first}"})
            return None

    size = sizes.dcgan
    rows += part("primitives", lambda: checks.primitives(device)) or []
    rows += part("noise", lambda: checks.noise(device)) or []
    rows += filter(None, [part("a round", lambda: checks.beside_cpu(device, size))])
    rows += filter(None, [part("replayed", lambda: checks.graphs(device, size, sizes.checked))])
    rows += filter(None, [part("the twins' tests", checks.suite)])
    rows += part("sanitizer", checks.sanitizer) or []
    found["growth"] = part("growth", lambda: times.growth(watch, size, *sizes.grown))
    found["roofline"] = roof = part("copy", lambda: times.roofline(watch, sizes.copied, peaks))
    passes = part("passes", lambda: times.passes(watch, sizes.normed, size.width, roof))
    found["passes"] = passes or []
    found["ladder"] = part("ladder", lambda: times.ladder_rows(watch, sizes.layer, roof)) or []
    found |= {"rounds": [], "layers": []}
    for precision in PRECISIONS:
        work = partial(times.rounds, watch, size, sizes.timed, precision, torch)
        found["rounds"] += filter(None, [part(f"rounds in {precision}", work)])
        every = partial(times.layers, watch, size, precision, roof, torch)
        found["layers"] += part(f"layers in {precision}", every) or []
    for row in found["rounds"] if torch else ():  # last: compiling takes minutes
        last = partial(times.compiled, watch, size, sizes.timed, row, torch)
        part(f"{times.COMPILED} in {row['precision']}", last)
    found["goals"] = goals(found)
    return found


def absent(torch: Any) -> list[str]:
    """What is not installed, so that something cannot be checked or compared."""
    way = f"{checks.SANITIZER} (pip install nvidia-cuda-sanitizer-api)"
    missing = [] if checks.sanitizer_path() else [way]
    return missing if torch else [*missing, "PyTorch with CUDA"]


def goals(found: Row) -> list[Row]:
    """What minigan wants to reach on a GPU, and what it reached; None: not measured."""
    wanted: list[tuple[str, float, list[float]]] = []
    for peer, least in ((times.EAGER, 2.0), (times.COMPILED, 1.0)):
        for row in found["rounds"]:
            reached = [row["ratios"][peer]] if peer in row["ratios"] else []
            wanted.append((f"a round in {row['precision']}, to {peer}", least, reached))
    middle = [r for r in found["layers"] if r["middle"] and r["cudnn"]]
    for precision in PRECISIONS[1:]:
        mine = [r for r in middle if r["precision"] == precision]
        back = [r["cudnn"] / r["seconds"] for r in mine if r["kernel"] == "conv2d_dx"]
        every = [r["cudnn"] / r["seconds"] for r in mine]
        wanted.append((f"every middle convolution in {precision}, to cuDNN", 0.9, every))
        wanted.append((f"every transposed one in {precision}, to cuDNN", 1.0, back))
    passes = [row["roof"] for row in found["passes"]]
    wanted.append(("batch norm and Adam, to a copy's bandwidth", 0.85, passes))
    rows = [
        {"goal": goal, "wanted": least, "reached": min(got, default=None),
         "met": min(got) >= least if got else None}
        for goal, least, got in wanted
    ]  # fmt: skip
    grown = found["growth"] and found["growth"]["grown"]
    met = None if grown is None else grown <= 0
    return [
        *rows,
        {"goal": "bytes by which memory grows", "wanted": 0, "reached": grown, "met": met},
    ]


def right(result: Row) -> bool:
    """Whether all checks passed; a goal that is missed is no error."""
    return all(row["right"] for row in result["rows"])


def facts() -> Row:
    """The GPU and its driver.

    Raises:
        UserError: if there is no GPU to measure, with the way out.
    """
    found = probe.probe_cuda()
    if why := probe.diagnose(found):
        raise UserError(f"there is no GPU to measure: {why}")
    smi, driver = shutil.which("nvidia-smi"), f"unknown, for CUDA {probe.version(found.driver)}"
    if smi:
        query = [smi, "--query-gpu=driver_version", "--format=csv,noheader"]
        done = subprocess.run(query, capture_output=True, text=True)
        driver = (done.stdout.split() or [driver])[0]
    return {
        "gpu": found.gpu, "capability": list(found.capability), "driver": driver,
        "cuda": probe.version(found.toolkit), "cupy": found.cupy, "nvrtc": found.compiler,
        "memory": found.total,
    }  # fmt: skip


def on_gpu(quick: bool) -> Row:
    """Measure the current GPU; small and short to see whether it runs if `quick`."""
    about = facts()
    import cupy

    attributes = cupy.cuda.Device().attributes
    peaks = times.peaks(
        tuple(about["capability"]),
        attributes["MultiProcessorCount"],
        1e-6 * attributes["ClockRate"],  # of kHz
    )
    device = cuda.Cuda()
    sizes = small() if quick else Sizes()
    return {"about": about} | measure(device, times.Watch(device), sizes, peaks, times.peer())


def small() -> Sizes:
    """Sizes for a moment."""
    return Sizes(
        Size((1, 28, 28), 4, 4), 6, 2, (2, 4), 1 << 10, (2, 4, 4, 4), Layer("D", 1, 8, 8, 8)
    )

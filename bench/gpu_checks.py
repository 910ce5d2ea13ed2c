"""What must be right on a GPU before any time of it counts."""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from minigan_kernels.cuda.launch import Kernel, blocks_for

from minigan.data import Dataset
from minigan.device import HOST, Device, to_host
from minigan.gans.dcgan import DCGAN
from minigan.random import Generator
from minigan.training.state import State

from .peers import Size
from .peers.images import images

HERE = Path(__file__).parent
ROOT = HERE.parent
VALUES = 1 << 16
SANITIZER = "compute-sanitizer"
WARP = 32  # threads in a block of each, so that one compilation serves them all
SUM = 32 * 2.0**-23  # of what is summed: how far a tensor core's sum may lie from another's
SUITE = [f"tests/kernels/cuda/test_cuda_{part}.py" for part in ("twins", "conv", "epilogue")]
NEAR = 1e-3  # of a loss: how far one of another device may be from the CPU's after a round
PATIENCE = 120  # seconds for a command
SANITIZED = "import bench.gpu_checks as checks; checks.few_kernels()"
FEW = Size((3, 32, 32), 16, 8)

Row = dict[str, Any]


class Primitive(NamedTuple):
    """A kernel of primitives.cu with its arguments, of which `outputs` are written."""

    kernel: Kernel
    grid: tuple[int, ...]
    arguments: list[Any]
    outputs: tuple[int, ...]
    slack: float = 0.0  # by which a result may differ; 0: not in a bit, but for NaN


def primitives(device: Device) -> list[Row]:
    """Each primitive on the device against the same kernel, emulated: a row with its bits."""
    rows = []
    for name, test in _primitives().items():
        found = _run(test, device.put)
        expected = _run(test, HOST.put)
        differ = sum(_differences(a, b, test.slack) for a, b in zip(found, expected, strict=True))
        values = sum(a.size for a in expected)
        rows.append({"check": name, "right": differ == 0, "of": values, "wrong": differ})
    return rows


def _primitives() -> dict[str, Primitive]:
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 1 << 32, VALUES, np.uint32, endpoint=False)
    words = rng.standard_normal(2 * 5 * WARP).astype(np.float32)
    halves = rng.integers(0, 1 << 16, 256, np.uint16, endpoint=False)
    lanes = np.zeros(128, np.uint32)

    def kernel(name: str, shared: int = 0) -> Kernel:
        return Kernel("primitives", name, threads=WARP, shared=shared, folder=HERE)

    found = {
        "to_bf16, to_tf32, to_float": Primitive(
            kernel("rounding"),
            blocks_for(VALUES, WARP),
            [bits.view(np.float32), *np.zeros((2, VALUES), np.uint32),
             np.zeros(VALUES, np.float32), np.int32(VALUES)],
            (1, 2, 3),
        ),
        "copy_async16, copy_async4, wait_copies, load4, store4, load_word": Primitive(
            kernel("copies", shared=4 * 2 * 5 * WARP), (1,), [words, np.zeros_like(words)], (1,)
        ),
        "load_matrices, load_matrices_transposed": Primitive(
            kernel("matrices", shared=16 * 24 * 2), (1,), [halves, lanes, lanes.copy()], (1, 2)
        ),
    }  # fmt: skip
    for name, values in (("integers", 0), ("any numbers", 1)):
        for kind in ("bf16", "tf32"):
            a, b, d = (_fragments(rng, kind, count, values) for count in (4, 2, 0))
            test = Primitive(kernel(f"product_{kind}"), (1,), [a, b, d], (2,), SUM * 64 * values)
            found[f"mma_{kind} of {name}"] = test
    return found


def _fragments(rng: np.random.Generator, kind: str, count: int, normal: int) -> np.ndarray:
    """What 32 lanes hold of a matrix, `count` words each; 0 for the sums, four floats."""
    shape = (32, count or 4, 2 if count and kind == "bf16" else 1)
    x = rng.standard_normal(shape) if normal else rng.integers(-8, 9, shape)
    values = x.astype(np.float32)
    if not count:
        return values.reshape(32, 4)
    if kind == "tf32":
        return (values.view(np.uint32) & np.uint32(0xFFFFE000)).reshape(32, count)
    high = (values.view(np.uint32) >> 16).astype(np.uint16)
    return np.ascontiguousarray(high).view(np.uint32).reshape(32, count)


def _run(test: Primitive, put: Callable[[Any], Any]) -> list[np.ndarray]:
    arguments = [
        put(a.copy()) if isinstance(a, np.ndarray) and a.ndim else a for a in test.arguments
    ]
    test.kernel(test.grid, *arguments)
    return [to_host(arguments[i]) for i in test.outputs]


def _differences(found: np.ndarray, expected: np.ndarray, slack: float) -> int:
    """How many values differ; that two are NaN is enough."""
    if found.dtype.kind != "f":
        nan = np.zeros(1, bool)
        if found.dtype == np.uint32:  # a float's bits
            nan = np.isnan(found.view(np.float32)) & np.isnan(expected.view(np.float32))
        return int(((found != expected) & ~nan).sum())
    same = np.isclose(found, expected, rtol=0, atol=slack, equal_nan=True)
    if not slack:
        bits = f"u{found.itemsize}"
        same = (found.view(bits) == expected.view(bits)) | np.isnan(found) & np.isnan(expected)
    return int((~same).sum())


def noise(device: Device) -> list[Row]:
    """The generator's streams on the device against the CPU's, to the last bit."""
    here, there = Generator(0, "noise"), Generator(0, "noise")
    there.device = device
    rows = []
    for name in ("normal", "uniform"):
        found, expected = (to_host(getattr(g, name)(VALUES + 3)) for g in (there, here))
        differ = _differences(found, expected, 0.0)
        rows.append({"check": name, "right": not differ, "of": found.size, "wrong": differ})
    return rows


def suite() -> Row:
    """The twins' own tests, with arrays on the GPU."""
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *SUITE]
    row = _done(words, {**os.environ, "MINIGAN_TEST_GPU": "1"})
    right = row["right"] and " passed" in row["says"]  # without g++ some files skip all
    return {"check": "the twins' tests", **row, "right": right}


def sanitizer() -> list[Row]:
    """compute-sanitizer's memcheck and racecheck over a few kernels; no row where it is missing."""
    rows, tool = [], sanitizer_path()
    for kind in ("memcheck", "racecheck") if tool else ():
        words = [str(tool), "--tool", kind, "--error-exitcode", "9", sys.executable, "-c"]
        rows.append({"check": kind, **_done([*words, SANITIZED], dict(os.environ))})
    return rows


def sanitizer_path() -> str | None:
    """Where compute-sanitizer is: on the PATH, or among NVIDIA's Python packages."""
    nvidia = importlib.util.find_spec("nvidia")
    places = nvidia.submodule_search_locations if nvidia else None
    packaged = [str(p) for place in places or () for p in Path(place).glob("*/bin/" + SANITIZER)]
    return shutil.which(SANITIZER) or next(iter(packaged), None)


def _done(words: list[str], environment: dict[str, str]) -> Row:
    """Whether a command succeeded within its time, and the last thing it said."""
    try:
        done = subprocess.run(
            words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        return {"right": False, "says": f"it was not done after {PATIENCE} s"}
    said = done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or [""]
    return {"right": done.returncode == 0, "says": said[-1]}


def few_kernels() -> None:
    """A round of a small DCGAN on the GPU: every kind of kernel once, each tile's by precision.

    Every array has memory of its own: what lies beyond it in CuPy's pool would be right to a
    sanitizer.
    """
    import cupy
    from minigan_kernels.cuda import tiling

    from minigan.device import cuda

    cupy.cuda.set_allocator(None)
    for precision in tiling.PRECISIONS:
        device = cuda.device("cuda", precision, deterministic=True)  # nothing more to time tiles
        dcgan(device, FEW).advance()


def at(device: Device, precision: str) -> Device:
    """`device`, multiplying in `precision`."""
    other = copy.copy(device)
    other.precision = precision
    return other


def dcgan(device: Device, size: Size) -> State:
    """A DCGAN before its first round."""
    recipe = DCGAN(batch_size=size.batch, width=size.width, lr_g=2e-4)
    return State.fresh(recipe, Dataset("digits", images(size.image)), 0, device)


def beside_cpu(device: Device, size: Size) -> Row:
    """A round's losses in float32 beside those of the CPU, from the same values and noise.

    Large convolutions leave moments for batch norm there, which no twin's own test asks for.
    """
    size = dataclasses.replace(size, batch=min(size.batch, 16))  # the CPU takes seconds
    ours, theirs = (dcgan(each, size).advance() for each in (at(device, "float32"), HOST))
    apart = max(abs(ours[name] - theirs[name]) / abs(theirs[name]) for name in theirs)
    says = f"losses differ by {apart:.1e}"
    return {"check": "a round beside the CPU's", "right": apart < NEAR, "says": says}


def graphs(device: Device, size: Size, rounds: int) -> Row:
    """Rounds of a DCGAN as usual and replayed from a graph: whether all values are the same."""
    said: list[str] = []
    usual, replayed = dcgan(device, size), dcgan(device, size)
    replayed.use_graphs(said.append)
    rows = [usual.advance() == replayed.advance() for _ in range(rounds)]
    states = [state.device_arrays().values() for state in (usual, replayed)]
    wrong = sum(to_host(a).tobytes() != to_host(b).tobytes() for a, b in zip(*states, strict=True))
    return {
        "check": f"{rounds} rounds, replayed",
        "right": all(rows) and not wrong and not said,
        "of": rounds,
        "wrong": rows.count(False),
        "says": said[0] if said else "",
    }

"""Whether another checkout trains to the same bytes: `python -m bench same-bytes CHECKOUT`.

A change that moves code and means to compute the same is held to that. Every recipe trains for a
few steps from one seed, on images and on points where it takes them, in a process of each checkout,
with vectors of 16, 8 and 4 lanes, with and without the matrix unit where the CPU has one, on 1 and
on 2 threads. What the run directories then hold is compared: the arrays of the first and the last
checkpoint (parameters, buffers and the optimisers' state), the states of noise and data, the losses
of every step, and the pictures of samples. The kernels of either checkout are cached as always, so
the second comparison takes minutes and the first as long as compiling them.

Both checkouts are run by the Python of this one, and seen through their command line and their run
directories alone: modules may have other names in each. What `bench tune` chose for one of them
counts; forget it first.
"""

from __future__ import annotations

import argparse
import json
import math
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from . import checkouts
from .settings import say
from .threads import processors

HERE = Path(__file__).resolve().parents[1]
CHILD = Path(__file__).with_name("training_child.py")
STEPS, SEED = 20, 7
LANES = (16, 8, 4)
IMAGES, SIDE = 128, 28  # of noise, in ten classes
# Small, and yet enough channels for Winograd's algorithm in the layers that it fits.
SMALL = {
    "width": 16, "hidden": 64, "units": 32, "latent_size": 24, "batch_size": 8, "labels": 10,
    "encoding_steps": 2,
}  # fmt: skip
# Beside each recipe on images of one channel and on points.
MORE = {
    "dcgan, 32 pixels": ["dcgan", "--width", "32", "--batch-size", "16", "--size", "32"],
    "dcgan, 64 pixels": ["dcgan", "--width", "16", "--batch-size", "4", "--size", "64"],
    "cgan, stacked": ["cgan", "--width", "16", "--batch-size", "8", "--stack", "2"],
    "wgan_gp, stacked": ["wgan_gp", "--width", "16", "--batch-size", "8", "--stack", "3"],
    "gan, wide": ["gan", "--hidden", "1200", "--batch-size", "100"],  # BLAS on several threads
}
PIXELS = " samples"  # ends the names of pictures, whose levels say less than numbers do

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Setting:
    """How both checkouts compute."""

    lanes: int
    amx: bool
    threads: int

    def __str__(self) -> str:
        unit = " with AMX" if self.amx else ""
        return f"{self.lanes} lanes{unit}, {self.threads} thread{'s'[: self.threads > 1]}"

    def environment(self, checkout: Path) -> dict[str, str]:
        """The variables of a process that computes so with the packages of `checkout`."""
        chosen = {"MINIGAN_LANES": str(self.lanes), "MINIGAN_AMX": str(int(self.amx))}
        return checkouts.environment(checkout, self.threads, chosen)


@dataclass(frozen=True)
class Difference:
    """How two runs differ: where most, by how much, and since which step if it is known."""

    where: str
    absolute: float = math.inf
    relative: float = math.inf  # to the largest value of that array
    step: int | None = None

    def __str__(self) -> str:
        since = f" from step {self.step} on" if self.step is not None else ""
        if math.isinf(self.absolute):
            return self.where + since
        return f"{self.where}{since}: {self.absolute:.1e}, {self.relative:.1e} of the largest"


def main(words: Sequence[str]) -> int:
    """Compare and print; 0 if all bytes are the same, 1 if some differ, 2 if it cannot be done."""
    from minigan.errors import UserError

    options = _parse(words)
    try:
        return 0 if compare(options) else 1
    except UserError as error:
        print(f"minigan bench: {error}", file=sys.stderr)
        return 2


def compare(options: argparse.Namespace) -> bool:
    """Whether all bytes are the same; a table for each setting says of what.

    Raises:
        UserError: if a checkout cannot be run.
    """
    from . import table

    same = True
    with tempfile.TemporaryDirectory(prefix="minigan-same-bytes-") as temporary:
        data = Path(temporary) / "noise"
        write_images(data)
        planned = cases(options.recipes, data, options.steps)
        for number, setting in enumerate(settings(options.lanes, options.threads)):
            say(f"{setting}: {len(planned)} runs in each checkout")
            folder = Path(temporary) / str(number)
            rows = list(compared(options.checkout, planned, setting, folder))
            same = same and not any(found for _, _, found in rows)
            refused = ", ".join(
                f"{name!r}" for name in sorted(planned.keys() - {row[0] for row in rows})
            )
            table.show(
                f"{setting}, {options.steps} steps",
                ("run", "digest here", "there"),
                [(name, digest, str(found or "the same")) for name, digest, found in rows],
                f"such data are refused in both: {refused}" if refused else "",
            )
    print("all bytes are the same" if same else "some bytes differ")
    return same


def compared(
    checkout: Path, planned: dict[str, list[str]], setting: Setting, folder: Path
) -> Iterator[tuple[str, str, Difference | None]]:
    """Each run: its name, a digest of its arrays in this checkout, and what differs in the other.

    A recipe may refuse images or points in both checkouts, and that run is left out.

    Raises:
        UserError: if a checkout cannot be run, or a recipe refuses all data.
    """
    from minigan.errors import UserError

    ours = train(HERE, planned, setting, folder / "here")
    theirs = train(checkout, planned, setting, folder / "there")
    done = {planned[name][1] for name, (code, _) in ours.items() if not code}
    for name, words in planned.items():
        (code, said), (other, answer) = ours[name], theirs[name]
        if code == other == 2 and name not in MORE and words[1] in done:
            continue
        if code == other == 2:
            raise UserError(f"neither checkout trains {name!r}: {said}")
        if code or other:
            yield name, "-", Difference(f"ends with {code} here ({said}), {other} there ({answer})")
            continue
        here, there = (folder / side / name for side in ("here", "there"))
        arrays = arrays_of(here)
        yield name, digest(arrays), difference(here, there, arrays)


def train(
    checkout: Path, planned: dict[str, list[str]], setting: Setting, folder: Path
) -> dict[str, tuple[int, str]]:
    """Train all in one process of a checkout; by name the exit code and what was said last."""
    from minigan.errors import UserError

    folder.mkdir(parents=True)
    words = [[name, [*given, "--out", str(folder / name)]] for name, given in planned.items()]
    answer = subprocess.run(
        [sys.executable, str(CHILD), str(checkout)],
        input=json.dumps(words),
        cwd=folder,
        env=setting.environment(checkout),
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        last = (answer.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise UserError(f"minigan in {checkout} cannot be run: {last}")
    return {name: (code, said) for name, (code, said) in json.loads(answer.stdout).items()}


def cases(recipes: Sequence[str], data: Path, steps: int) -> dict[str, list[str]]:
    """The words of every run, by its name: each recipe on images and on points, and MORE."""
    from minigan import gans

    found: dict[str, list[str]] = {}
    often = ["--steps", str(steps), "--seed", str(SEED)]
    often += ["--sample-every", str(10 * steps), "--checkpoint-every", str(10 * steps)]
    for name in recipes:
        known = {field.name for field in fields(gans.load(name))}
        sizes = [f"--{key.replace('_', '-')}={n}" for key, n in SMALL.items() if key in known]
        for kind, source in (("images", str(data)), ("points", "grid")):
            found[f"{name}, {kind}"] = [name, *sizes, "--data", source]
    found |= {
        name: [*words, "--data", str(data)] for name, words in MORE.items() if words[0] in recipes
    }
    return {name: ["train", *words, *often] for name, words in found.items()}


def settings(lanes: Sequence[int], threads: Sequence[int]) -> list[Setting]:
    """Every way to compute of this machine."""
    from minigan_kernels.cpu.isa.amx import AMX

    return [
        Setting(width, amx, count)
        for width in lanes
        for amx in ((True, False) if AMX and width == max(LANES) else (False,))
        for count in threads
    ]


def write_images(folder: Path) -> None:
    """Write noise of ten classes in MNIST's format."""
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(SEED).integers(0, 256, (IMAGES, SIDE, SIDE), np.uint8)
    labels = (np.arange(IMAGES) % 10).astype(np.uint8)
    for kind, array in (("images", pixels), ("labels", labels)):
        head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
        path = folder / f"train-{kind}-idx{array.ndim}-ubyte"
        path.write_bytes(head + array.tobytes())


# --- Run directories -------------------------------------------------------------------------


def arrays_of(run: Path) -> Arrays:
    """All arrays of a run directory: of its checkpoints, and the pixels of its samples."""
    from PIL import Image
    from safetensors import safe_open

    found: Arrays = {}
    for path in sorted((run / "checkpoints").glob("*.safetensors")):
        with safe_open(path, "numpy") as file:
            for name in file.keys():  # noqa: SIM118
                found[f"{path.stem} {name}"] = file.get_tensor(name)
    for path in sorted((run / "samples").glob("step-*.png")):
        with Image.open(path) as image:
            found[f"{path.stem}{PIXELS}"] = np.array(image)
    return found


def digest(arrays: Arrays) -> str:
    """Sixteen digits for all bytes."""
    total = blake2b(digest_size=8)
    for name, array in sorted(arrays.items()):
        total.update(f"{name} {array.dtype} {array.shape}".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def difference(here: Path, there: Path, arrays: Arrays) -> Difference | None:
    """How the run `there` differs from that `here`, which has these arrays."""
    others = arrays_of(there)
    step = first_step(rows_of(here), rows_of(there))
    if lost := arrays.keys() ^ others.keys():
        return Difference(f"{min(lost)} is not in both", step=step)
    worst = max(
        (found for name in arrays if (found := between(name, arrays[name], others[name], step))),
        key=lambda found: (not found.where.endswith(PIXELS), found.relative),
        default=None,
    )
    if worst is None and step is not None:
        return Difference("the losses", step=step)
    if worst is None and facts_of(here) != facts_of(there):
        return Difference("the state of noise or data")
    return worst


def between(name: str, a: np.ndarray, b: np.ndarray, step: int | None) -> Difference | None:
    """How two arrays of one name differ; `step` is the first whose losses do."""
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return Difference(f"{name} is {a.dtype} {a.shape} and {b.dtype} {b.shape}", step=step)
    if a.tobytes() == b.tobytes():
        return None
    with np.errstate(invalid="ignore"):
        apart = np.abs(a.astype(np.float64) - b.astype(np.float64)).max()
        largest = np.abs(a.astype(np.float64)).max()
    if not math.isfinite(apart):
        return Difference(f"{name} is not finite", step=step)
    return Difference(name, float(apart), float(apart / largest) if largest else math.inf, step)


def rows_of(run: Path) -> list[dict[str, Any]]:
    """What each step reported, without the seconds."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def first_step(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> int | None:
    """The first step of which two runs report different things; as text, where NaN equals NaN."""
    for number, (one, other) in enumerate(zip(a, b, strict=False), 1):
        if json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True):
            return number
    return min(len(a), len(b)) + 1 if len(a) != len(b) else None


def facts_of(run: Path) -> list[Any]:
    """The step and the states of noise and data in each checkpoint."""
    from safetensors import safe_open

    found = []
    for path in sorted((run / "checkpoints").glob("*.safetensors")):
        with safe_open(path, "numpy") as file:
            facts = json.loads(file.metadata()["minigan"])
        found.append([facts[key] for key in ("step", "rng", "batches")])
    return found


# --- The command line ------------------------------------------------------------------------


def _parse(words: Sequence[str]) -> argparse.Namespace:
    both = [1, 2] if len(processors()) > 1 else [1]
    made = checkouts.parser(
        "same-bytes", "Whether another checkout trains to the same bytes.", both
    )
    made.add_argument("--steps", type=int, default=STEPS, help=f"of each run (default: {STEPS})")
    lanes = ",".join(map(str, LANES))
    made.add_argument("--lanes", type=checkouts.numbers, default=list(LANES), help=f"of {lanes}")
    options = checkouts.parse(made, words)
    if options.steps < 1 or not {*options.lanes} <= {*LANES}:
        made.error(f"--steps must be at least 1, and --lanes of {lanes}")
    return options

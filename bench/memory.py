"""How much memory the steps take: each peer alone in a fresh process.

The system's high-water mark is read (VmHWM), which can be set back. That of `getrusage` cannot, and
it counts the parent's memory as well, since a process begins as a copy of its parent.
"""

from __future__ import annotations

import importlib
import json
import resource
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from minigan.errors import RunError

from . import table
from .settings import Settings, say
from .threads import limit

STEPS = 6
LIBRARIES = {"minigan": "minigan_kernels.cpu.conv", "PyTorch": "torch"}  # by a name's first word
ROOT = Path(__file__).resolve().parents[1]


def of_peer(name: str, settings: Settings) -> dict[str, Any]:
    """Resident memory in bytes of the first workload's steps by the peer of that name.

    `imported` is what there is with its libraries and the images, minigan's with Numba, `built` the
    peak until the first step was done, `peak` that of the steps after it.

    Raises:
        RunError: if the process fails.
    """
    say(f"memory: {name}")
    words = [name, str(settings.threads), "quick" if settings.quick else "full"]
    return {"peer": name, **alone("bench.memory", words, name)}


def alone(module: str, words: list[str], peer: str) -> dict[str, Any]:
    """What a module prints last, as JSON, in a process of its own.

    Raises:
        RunError: if the process fails.
    """
    answer = subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        raise RunError(f"the memory of {peer} was not measured: {answer.stderr.splitlines()[-1:]}")
    found: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return found


def resident(key: str = "VmRSS") -> int:
    """Resident memory of this process in bytes: now, or with VmHWM the most since `start_anew`."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:  # macOS: the most it ever was, in bytes
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{key}:"))


def start_anew() -> None:
    """Forget the high-water mark, where the system lets one."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def show(rows: list[dict[str, Any]]) -> None:
    """Print the table."""
    cells = [
        [
            row["peer"],
            f"{row['imported'] / 1e6:.0f} MB",
            f"{row['built'] / 1e6:.0f} MB",
            f"{row['peak'] / 1e6:.0f} MB",
            f"{(row['peak'] - row['imported']) / 1e6:.0f} MB",
        ]
        for row in rows
    ]
    heading = ("resident memory", "imports", "peak at first", "peak of a step", "over imports")
    table.show("Memory of the first step above", heading, cells)


def main(name: str, threads: str, how: str) -> None:
    """Take a few steps in this process and print what they needed."""
    limit(int(threads))
    importlib.import_module(LIBRARIES[name.split()[0]])
    images = importlib.import_module("bench.peers.images").images
    workload = importlib.import_module("bench.workloads").workloads(how == "quick")[0]
    images((3, 64, 64))
    start_anew()
    found = {"imported": resident()}
    step = next(peer for peer in workload.peers if peer.name == name).build()
    step()
    found["built"] = resident("VmHWM")
    start_anew()
    for _ in range(STEPS):
        step()
    print(json.dumps(found | {"peak": resident("VmHWM")}))


if __name__ == "__main__":
    main(*sys.argv[1:])

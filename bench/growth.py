"""Part `growth`: how the time of a DCGAN step grows with batch, width, resolution and threads."""

from __future__ import annotations

from typing import Any

from minigan.gans._sizes import PLANES

from . import table
from .peers import Size, peer, ready
from .settings import Settings, say
from .threads import using
from .timing import compare
from .workloads import EAGER, OURS, TUNED

TITLE = "Growth: a DCGAN step as one number changes"
BASE = Size((3, 64, 64))
BATCHES, WIDTHS = (8, 16, 32, 64, 128), (16, 32, 64, 96)
BUDGET = 6  # seconds a point


def measure(settings: Settings) -> dict[str, Any]:
    """Change one number at a time; the others stay as `base` says."""
    base = Size((3, 32, 32), 8, 8) if settings.quick else BASE
    rows = [
        _row(kind, value, size, threads, settings)
        for kind, value, size, threads in _points(base, settings)
    ]
    return {"rows": rows, "base": str(base)}


def _points(base: Size, settings: Settings) -> list[tuple[str, int, Size, int]]:
    batches, widths = (BATCHES[:1], WIDTHS[:1]) if settings.quick else (BATCHES, WIDTHS)
    most = settings.threads
    threads = sorted({1 << i for i in range(most.bit_length())} | {most})
    return [
        *(("batch", n, Size(base.image, base.width, n), most) for n in batches),
        *(("width", n, Size(base.image, n, base.batch), most) for n in widths),
        *(("pixels", n, Size((3, n, n), base.width, base.batch), most) for n in sorted(PLANES)),
        *(("threads", n, base, n) for n in threads),
    ]


def _row(kind: str, value: int, size: Size, threads: int, settings: Settings) -> dict[str, Any]:
    say(f"growth: {kind} {value}")
    with using(threads):
        steps, _ = ready(
            [
                peer(OURS, "ours.dcgan", size),
                peer(EAGER, "torch_dcgan.eager", size),
                peer(TUNED, "torch_dcgan.tuned", size, channels_last=True),
            ]
        )
        found = compare(steps, budget=settings.budget(BUDGET), least=5, prime=True)
    return {"kind": kind, "value": value, "times": found.timings()}


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    names = list(result["rows"][0]["times"])
    rows = [
        [
            f"{row['kind']} {row['value']}",
            *(table.seconds(row["times"].get(name)) for name in names),
        ]
        for row in result["rows"]
    ]
    table.show(TITLE, ("", *names), rows, f"What does not change: {result['base']}.")

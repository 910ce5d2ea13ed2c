"""Part `overhead`: what the engine itself costs, in microseconds an operation.

Arrays so small that arithmetic is nothing, in chains of LENGTH operations of one kind: forward
with the tape and without, and backward. Against PyTorch's eager mode.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import minigan as mg

from . import table
from .peers import module
from .settings import Settings, say
from .timing import Step, compare

TITLE = "Overhead: microseconds an operation on tiny arrays"
LENGTH = 100  # operations in a chain
SHAPE, IMAGE, KERNEL = (4, 4), (1, 2, 4, 4), (2, 2, 3, 3)
Chain = dict[str, Step]  # forward, recorded, backward


def measure(settings: Settings) -> dict[str, Any]:
    """Time every operation in each mode."""
    torch = module("torch_overhead")
    length = 10 if settings.quick else LENGTH
    theirs = torch.chains(length) if torch else {}
    rows = []
    for name, chain in chains(length).items():
        say(f"overhead: {name}")
        for mode, step in chain.items():
            steps = {"minigan": step}
            if name in theirs:
                steps["PyTorch"] = theirs[name][mode]
            found = compare(steps, budget=settings.budget(0.5), gap=0.0, prime=True)
            ratio = found.ratio("PyTorch", "minigan") if "PyTorch" in steps else None
            rows.append(
                {
                    "name": name,
                    "mode": mode,
                    "micros": {n: 1e6 * found.timing(n).median / length for n in steps},
                    "times": found.timings(),
                    "ratio": ratio,
                }
            )
    return {"rows": rows, "length": length}


def operations() -> dict[str, tuple[tuple[int, ...], tuple[int, ...] | None, Callable[..., Any]]]:
    """By name: the shape of x, that of a second argument, and x to something of x's shape."""
    return {
        "x + y": (SHAPE, SHAPE, lambda x, y: x + y),
        "x * y": (SHAPE, SHAPE, lambda x, y: x * y),
        "x @ y": (SHAPE, SHAPE, lambda x, y: x @ y),
        "tanh": (SHAPE, None, lambda x, y: mg.tanh(x)),
        "sigmoid": (SHAPE, None, lambda x, y: mg.sigmoid(x)),
        "leaky_relu": (SHAPE, None, lambda x, y: mg.leaky_relu(x, 0.2)),
        "bias, leaky_relu": (SHAPE, SHAPE[1:], lambda x, b: mg.bias_leaky_relu(x, b, slope=0.2)),
        "reshape": (SHAPE, None, lambda x, y: mg.reshape(x, SHAPE)),
        "conv2d": (IMAGE, KERNEL, lambda x, w: mg.conv2d(x, w, padding=1)),
        "batch_norm": (IMAGE, (2,), lambda x, w: mg.batch_norm(x, w, w)),
    }


def chains(length: int) -> dict[str, Chain]:
    """By operation, what is timed."""
    found = {}
    rng = np.random.default_rng(0)
    for name, (shape, other, function) in operations().items():
        x = mg.Tensor(rng.standard_normal(shape, np.float32))
        y = mg.Tensor(rng.standard_normal(other or (), np.float32) / 4)
        found[name] = _chain(x, y, function, length)
    return found


def _chain(x: mg.Tensor, y: mg.Tensor, function: Callable[..., Any], length: int) -> Chain:
    def forward() -> mg.Tensor:
        value = x
        for _ in range(length):
            value = function(value, y)
        return value

    def unrecorded() -> mg.Tensor:
        with mg.no_grad():
            return forward()

    end = forward()
    ones = mg.Tensor(np.ones_like(end.data))
    return {
        "forward, no tape": unrecorded,
        "forward": forward,
        "backward": lambda: mg.grad(end, x, grad_output=ones),
    }


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    modes = list(dict.fromkeys(row["mode"] for row in result["rows"]))
    names = list(dict.fromkeys(row["name"] for row in result["rows"]))
    cells = {(row["name"], row["mode"]): row["micros"] for row in result["rows"]}
    libraries = list(result["rows"][0]["micros"])
    rows = [
        [name, *(table.digits(cells[name, mode][lib]) for mode in modes for lib in libraries)]
        for name in names
    ]
    heading = ("", *(f"{mode}\n{lib}" for mode in modes for lib in libraries))
    table.show(TITLE, heading, rows, f"Chains of {result['length']} operations.")

"""PyTorch: the same chains of tiny operations, by its eager mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from ..overhead import Chain, operations

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "x + y": lambda x, y: x + y,
    "x * y": lambda x, y: x * y,
    "x @ y": lambda x, y: x @ y,
    "tanh": lambda x, y: torch.tanh(x),
    "sigmoid": lambda x, y: torch.sigmoid(x),
    "leaky_relu": lambda x, y: functional.leaky_relu(x, 0.2),
    "bias, leaky_relu": lambda x, b: functional.leaky_relu(x + b, 0.2),
    "reshape": lambda x, y: torch.reshape(x, x.shape),
    "conv2d": lambda x, w: functional.conv2d(x, w, padding=1),
    "batch_norm": lambda x, w: functional.batch_norm(x, None, None, w, w, True),
}


def chains(length: int) -> dict[str, Chain]:
    """By operation, what is timed; the gradient is by x alone, as on our side."""
    found = {}
    for name, (shape, other, _) in operations().items():
        x = torch.randn(shape).requires_grad_(True)
        y = torch.randn(other or ()) / 4
        found[name] = _chain(x, y, FUNCTIONS[name], length)
    return found


def _chain(x: Any, y: Any, function: Callable[..., Any], length: int) -> Chain:
    def forward() -> Any:
        value = x
        for _ in range(length):
            value = function(value, y)
        return value

    def unrecorded() -> Any:
        with torch.no_grad():
            return forward()

    end = forward()
    ones = torch.ones_like(end)
    return {
        "forward, no tape": unrecorded,
        "forward": forward,
        "backward": lambda: torch.autograd.grad(end, x, ones, retain_graph=True),
    }

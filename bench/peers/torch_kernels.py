"""PyTorch: single layers and passes over memory, called as its autograd calls them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional

from ..layers import Layer
from ..timing import Step

LAYOUTS = {
    "PyTorch channels_first": torch.contiguous_format,
    "PyTorch channels_last": torch.channels_last,
}


def conv(
    layer: Layer, direction: str, image: np.ndarray, w: np.ndarray, output: np.ndarray
) -> dict[str, Step]:
    """One direction of `layer` in both layouts, each with weights in the same layout."""
    found = {}
    for name, layout in LAYOUTS.items():
        arrays = [torch.from_numpy(np.ascontiguousarray(a)) for a in (image, w, output)]
        found[name] = _call(layer, direction, *(a.contiguous(memory_format=layout) for a in arrays))
    return found


def _call(layer: Layer, direction: str, image: Any, w: Any, output: Any) -> Step:
    edges = (layer.stride, layer.padding)
    x, g = (output, image) if layer.transposed else (image, output)
    if direction == "forward":
        run = functional.conv_transpose2d if layer.transposed else functional.conv2d
        return lambda: run(x, w, None, *edges)
    mask = [direction == "dx", direction == "dw", False]
    place = mask.index(True)
    s, p = ([edge, edge] for edge in edges)

    def backward() -> object:
        return torch.ops.aten.convolution_backward(
            g, x, w, None, s, p, [1, 1], layer.transposed, [0, 0], 1, mask
        )[place]

    return backward


def passes(x: np.ndarray, g: np.ndarray, vector: np.ndarray) -> dict[str, dict[str, Step]]:
    """What is not a convolution: by name, the call in both layouts.

    x and g are (N, C, H, W), vector (C,).
    """
    found: dict[str, dict[str, Step]] = {}
    for layout_name, layout in LAYOUTS.items():
        xs, gs = (
            torch.from_numpy(np.ascontiguousarray(a)).contiguous(memory_format=layout)
            for a in (x, g)
        )
        for name, call in _passes(xs, gs, torch.from_numpy(vector)).items():
            found.setdefault(name, {})[layout_name] = call
    return found


def _passes(x: Any, g: Any, vector: Any) -> dict[str, Step]:
    mean, var = torch.zeros_like(vector), torch.ones_like(vector)
    leaf = x.clone().requires_grad_(True)
    gamma, beta = (vector.clone().requires_grad_(True) for _ in range(2))
    bias = beta[None, :, None, None]

    def norm(x: Any, gamma: Any, beta: Any) -> Any:
        y = functional.batch_norm(x, mean, var, gamma, beta, True, 0.1, 1e-5)
        return functional.relu_(y)

    def without_graph(call: Any) -> Step:
        def run() -> object:
            with torch.no_grad():
                return call()

        return run

    normed = norm(leaf, gamma, beta)
    shifted = functional.leaky_relu(leaf + bias, 0.2)
    squashed = torch.tanh(leaf + bias)

    def back(y: Any, *inputs: Any) -> Step:
        return lambda: torch.autograd.grad(y, inputs, g, retain_graph=True)

    return {
        "batch norm + ReLU forward": without_graph(lambda: norm(x, vector, vector)),
        "batch norm + ReLU backward": back(normed, leaf, gamma, beta),
        "bias + LeakyReLU forward": without_graph(
            lambda: functional.leaky_relu_(x + bias, 0.2),
        ),
        "bias + LeakyReLU backward": back(shifted, leaf, beta),
        "bias + tanh forward": without_graph(lambda: (x + bias).tanh_()),
        "bias + tanh backward": back(squashed, leaf, beta),
        "GELU forward": without_graph(lambda: functional.gelu(x)),
        "GELU backward": back(functional.gelu(leaf), leaf),
        "SiLU forward": without_graph(lambda: functional.silu(x)),
        "SiLU backward": back(functional.silu(leaf), leaf),
    }


def adam(parameters: list[np.ndarray]) -> dict[str, Step]:
    """A step over all parameters, as the default does it and fused."""
    found = {}
    for name, fused in (("PyTorch foreach", None), ("PyTorch fused", True)):
        values = [torch.from_numpy(p.copy()).requires_grad_(True) for p in parameters]
        for value in values:
            value.grad = torch.full_like(value, 1e-3)
        found[name] = torch.optim.Adam(values, lr=2e-4, betas=(0.5, 0.999), fused=fused).step
    return found

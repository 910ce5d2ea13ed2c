"""What is not a convolution: a few passes over memory, whose roof is the bandwidth."""

from __future__ import annotations

from typing import Any

import minigan_kernels as kernels
import numpy as np

import minigan as mg
from minigan.gans.dcgan import DCGAN

from .peers import module
from .settings import Settings, say
from .timing import Comparison, Step, compare

OURS = "minigan"
BUDGET = 1.0
# Arrays that each pass must read or write, if nothing stays in a cache between two loops over it.
ARRAYS = {
    "batch norm + ReLU forward": 3,
    "batch norm + ReLU backward": 5,
    "bias + LeakyReLU forward": 2,
    "bias + LeakyReLU backward": 3,
    "bias + tanh forward": 2,
    "bias + tanh backward": 3,
    "GELU forward": 2,
    "GELU backward": 3,
    "SiLU forward": 2,
    "SiLU backward": 3,
    "Adam": 7,
}


def measure(settings: Settings) -> list[dict[str, Any]]:
    """Time them on the largest planes of a DCGAN's inside, and Adam on all of its parameters."""
    shape = (8, 16, 16, 16) if settings.quick else (64, 64, 32, 32)
    rng = np.random.default_rng(0)
    x, g = (rng.standard_normal(shape, np.float32) for _ in range(2))
    vector = rng.standard_normal(shape[1], np.float32)
    recipe = DCGAN(width=8 if settings.quick else 64)
    players = recipe.players(mg.Generator(seed=0), (3, 64, 64)).values()
    parameters = [p.data for player in players for p in player.parameters().values()]
    steps = {name: {OURS: step} for name, step in _ours(x, g, vector).items()}
    steps["Adam"] = {OURS: _adam(parameters)}
    if torch := module("torch_kernels"):
        for name, calls in torch.passes(x, g, vector).items():
            steps[name] |= calls
        steps["Adam"] |= torch.adam(parameters)
    rows = []
    for name, calls in steps.items():
        say(f"kernels: {name}")
        found = compare(calls, budget=settings.budget(BUDGET), prime=True)
        adam = name == "Adam"
        values = sum(p.size for p in parameters) if adam else x.size
        of = f"{values / 1e6:.1f} M values" if adam else "x".join(map(str, shape))
        rows.append(_row(name, of, 4 * values * ARRAYS[name], found))
    return rows


def _ours(x: np.ndarray, g: np.ndarray, vector: np.ndarray) -> dict[str, Step]:
    last = (0, 2, 3, 1)
    x, g = (np.ascontiguousarray(a.transpose(last)).transpose(0, 3, 1, 2) for a in (x, g))
    eps, slope = 1e-5, 0.0
    mean, var = kernels.moments(x)
    y = kernels.bias_tanh(x, vector)

    def norm() -> object:
        found = kernels.moments(x)
        return kernels.batch_norm(x, vector, vector, *found, eps=eps, slope=slope)

    return {
        "batch norm + ReLU forward": norm,
        "batch norm + ReLU backward": lambda: kernels.batch_norm_backward(
            g, x, vector, vector, mean, var, eps=eps, slope=slope
        ),
        "bias + LeakyReLU forward": lambda: kernels.bias_leaky_relu(x, vector, slope=0.2),
        "bias + LeakyReLU backward": lambda: kernels.bias_leaky_relu_backward(g, x, slope=0.2),
        "bias + tanh forward": lambda: kernels.bias_tanh(x, vector),
        "bias + tanh backward": lambda: kernels.bias_tanh_backward(g, y),
        "GELU forward": lambda: kernels.gelu(x),
        "GELU backward": lambda: kernels.gelu_backward(g, x),
        "SiLU forward": lambda: kernels.silu(x),
        "SiLU backward": lambda: kernels.silu_backward(g, x),
    }


def _adam(parameters: list[np.ndarray]) -> Step:
    tensors = {str(i): mg.Tensor(p.copy(order="K")) for i, p in enumerate(parameters)}
    gradients = {i: mg.Tensor(np.full_like(p.data, 1e-3)) for i, p in tensors.items()}
    optimizer = mg.optim.Adam(tensors, 2e-4, (0.5, 0.999))
    return lambda: optimizer.step(gradients)


def _row(name: str, of: str, size: int, found: Comparison) -> dict[str, Any]:
    peer = found.fastest((n for n in found.rounds[0] if n != OURS), OURS)
    seconds = found.timing(OURS).median
    return {
        "name": name,
        "shape": of,
        "bytes": size,
        "times": found.timings(),
        "peer": peer,
        "ratios": {OURS: found.ratio(peer, OURS)} if peer else {},
        "gbytes": 1e-9 * size / seconds,
    }

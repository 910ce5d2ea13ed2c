"""Gradients of layers and networks against difference quotients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..nn import Module, SpectralNorm
from ..ops import concatenate, reshape
from ..random import Generator
from ..tensor import Array, Tensor
from .gradients import TOLERANCE, Evidence, examine


def check_module(
    module: Module,
    *inputs: Array,
    order: int = 2,
    tolerance: float = TOLERANCE,
    seed: int = 0,
) -> float:
    """Check the gradients of a module with respect to its inputs and to each of its parameters.

    `inputs` are arrays of any shape that the module takes; integers (labels, say) are constants.
    The module gives a tensor, or a tuple or list of them. It stays as it is: a copy in float64 is
    checked, whose parameters are moved at random from values at which errors hide, as 0 and 1 are.
    Each call begins with the same buffers and random numbers. In training u and v of spectral norm
    would move with the weights, while the gradient takes them for constants, so it is checked in
    inference.

    The answer is the largest relative error, as that of `check_gradients`.

    Raises:
        GradientError, UndecidedError: as `check_gradients` does.

    >>> check_module(nn.Linear(3, 2, rng=rng), rng.normal((4, 3))) < 1e-6
    True
    """
    return examine_module(module, *inputs, order=order, tolerance=tolerance, seed=seed).error


def examine_module(
    module: Module,
    *inputs: Array,
    order: int = 2,
    tolerance: float = TOLERANCE,
    seed: int = 0,
) -> Evidence:
    """`check_module` that answers with all that was found.

    >>> examine_module(nn.ELU(), rng.normal((4, 3))).idle
    []
    """
    rng = np.random.default_rng(seed)
    own = module.copy().astype(np.float64)
    parameters = own.parameters()
    for p in parameters.values():
        size = float(np.sqrt(np.mean(np.square(p.data)))) or 1.0
        p.data = p.data * (1 + 0.3 * rng.standard_normal(p.shape))
        p.data = p.data + 0.3 * size * rng.standard_normal(p.shape)
    fixed = Fixed({"": own})
    arrays = [np.asarray(x) for x in inputs]
    moving = {i: x.astype(np.float64) for i, x in enumerate(arrays) if x.dtype.kind == "f"}

    def f(*tensors: Tensor) -> Tensor:
        fixed.restore()
        given = dict(zip(moving, tensors, strict=False))
        with own.replaced(dict(zip(parameters, tensors[len(moving) :], strict=True))):
            return joined(own(*(given.get(i, x) for i, x in enumerate(arrays))))

    try:
        return examine(
            f,
            [*moving.values(), *(p.data for p in parameters.values())],
            names=[*(f"input {i}" for i in moving), *parameters],
            order=order,
            tolerance=tolerance,
            seed=seed,
        )
    finally:
        fixed.restore()  # the random generators are the module's own


class Fixed:
    """Networks that can be called again and again, as if for the first time.

    u and v of spectral norm belong to the weights that the networks have now, and stay.
    """

    def __init__(self, networks: Mapping[str, Module], *rngs: Generator) -> None:
        self.networks = networks
        modules = [m for network in networks.values() for m in network.modules().values()]
        for module in modules:
            if isinstance(module, SpectralNorm):
                module.converge()
                module.eval()
        self.buffers = {
            name: {key: a.copy() for key, a in network.buffers().items()}
            for name, network in networks.items()
        }
        own = [v for module in modules for v in vars(module).values() if isinstance(v, Generator)]
        self.rngs = [(rng, rng.state) for rng in (*rngs, *own)]

    def restore(self) -> None:
        """Set all buffers and random generators to what they were at first."""
        for name, network in self.networks.items():
            # Copies: a graph may still need the arrays of the last call.
            network.replace_arrays({key: a.copy() for key, a in self.buffers[name].items()})
        for rng, state in self.rngs:
            rng.state = state


def joined(output: Any) -> Tensor:
    """The values of a module's output, one tensor or several, in one."""
    if isinstance(output, Tensor):
        return output
    return concatenate([reshape(y, (y.size,)) for y in output])

"""Exponential moving averages of weights."""

from __future__ import annotations

from minigan_kernels.memo import writable

from ..nn import Module
from .schedules import Schedule, scheduled


def average(slow: Module, fast: Module, decay: float | Schedule, step: int = 0) -> None:
    """Update the parameters and floating-point buffers of `slow` towards those of `fast`, in place.

    slow = decay slow + (1 - decay) fast: the exponential moving average that many GANs sample from
    (Yazici et al. 2019, arXiv:1806.04498). `slow` starts as `fast.copy()`. Buffers are averaged
    too, because averaged weights do not fit the batch-norm moments of others; integer buffers are
    copied. `decay` may be a function of `step`, the number of the training step.
    """
    weight = scheduled(lambda n: 1 - decay(n), step) if callable(decay) else 1 - decay
    target, mine = fast.state(), slow.state()
    with writable(*mine.values()):
        for name, array in mine.items():
            if array.dtype.kind == "f":
                array += weight * (target[name] - array)
            else:
                array[...] = target[name]

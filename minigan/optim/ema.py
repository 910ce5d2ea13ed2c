"""Exponential moving averages of weights."""

from __future__ import annotations

from minigan_kernels.memo import writable

from ..nn import Module
from .schedules import Schedule, scheduled


def average(slow: Module, fast: Module, decay: float | Schedule, step: int = 0) -> None:
    """Move the parameters and floating-point buffers of `slow` towards `fast`'s, in place.

    slow = decay slow + (1 - decay) fast: the exponential moving average that many GANs sample from
    (Yazici et al. 2019, arXiv:1806.04498). `slow` starts as `fast.copy()`. Buffers are averaged
    alike, because weights without their batch-norm moments are another network; buffers of whole
    numbers are copied. `decay` may depend on `step`, the number of the round.
    """
    weight = scheduled(lambda n: 1 - decay(n), step) if callable(decay) else 1 - decay
    target, mine = fast.state(), slow.state()
    with writable(*mine.values()):
        for name, array in mine.items():
            if array.dtype.kind == "f":
                array += weight * (target[name] - array)
            else:
                array[...] = target[name]

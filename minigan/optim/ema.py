"""Exponential moving averages of weights."""

from __future__ import annotations

from minigan_kernels.memo import writable

from ..nn import Module
from ..nn.arguments import Interval
from .schedules import Schedule, scheduled

_DECAY = Interval("[0, 1]")


def average(slow: Module, fast: Module, decay: float | Schedule, step: int = 0) -> None:
    """Update the parameters and floating-point buffers of `slow` towards those of `fast`, in place.

    slow = decay slow + (1 - decay) fast: the exponential moving average that many GANs sample from
    (Yazici et al. 2019, arXiv:1806.04498). `slow` starts as `fast.copy()`. Buffers are averaged
    too, because averaged weights do not fit the batch-norm moments of others; integer buffers are
    copied. `decay` may be a function of `step`, the number of the training step.

    Raises:
        ValueError: if the decay is not in [0, 1], or the two are no copies of one network, or share
            an array; nothing is written then.

    >>> fast = nn.Linear(3, 1, rng=rng)
    >>> slow = fast.copy()
    >>> mg.optim.average(slow, fast, decay=0.999)
    """
    if callable(decay):
        value = decay
        weight = scheduled(lambda n: 1 - _DECAY.check(value(n), "the decay of an average"), step)
    else:
        weight = 1 - _DECAY.check(decay, "the decay of an average")
    target, mine = fast.arrays(), slow.arrays()
    if odd := target.keys() ^ mine.keys():
        raise ValueError(f"the average and its network differ in {', '.join(sorted(odd))}")
    for name, array in mine.items():
        if array is target[name]:
            raise ValueError(f"the average and its network share {name}; start from fast.copy()")
        if array.shape != target[name].shape:
            raise ValueError(f"{name} is {array.shape} in the average, not {target[name].shape}")
    with writable(*mine.values()):
        for name, array in mine.items():
            if array.dtype.kind == "f":
                array += weight * (target[name] - array)
            else:
                array[...] = target[name]

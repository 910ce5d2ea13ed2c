"""One optimiser update, in place, in plain NumPy.

Arrays come first, hyper-parameters by keyword. The first argument is a parameter or a list of
parameters. The other arguments are as many arrays of the same shapes. Parameters and states are
overwritten, gradients only read.
"""

from __future__ import annotations

import math

import numpy as np

from ..checks import Arrays, each


def sgd(
    ps: Arrays,
    gs: Arrays,
    velocities: Arrays,
    *,
    lr: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> None:
    """Gradient descent with momentum (Sutskever et al. 2013): v = mu v + g, p -= lr v.

    Nesterov's form moves along g + mu v instead. `weight_decay` adds weight_decay * p to g.

    >>> p, g, v = [np.ones(1)], [np.ones(1)], [np.zeros(1)]
    >>> kernels.sgd(p, g, v, lr=0.5, momentum=0.9, nesterov=False, weight_decay=0.0)
    >>> p
    [array([0.5])]
    """
    for weight, gradient, v in each(ps, gs, velocities):
        total = gradient + weight_decay * weight
        v *= momentum
        v += total
        weight -= lr * (total + momentum * v if nesterov else v)


def rmsprop(
    ps: Arrays,
    gs: Arrays,
    squares: Arrays,
    *,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
) -> None:
    """RMSProp (Tieleman & Hinton 2012): s = alpha s + (1-alpha) g^2, p -= lr g / (sqrt s + eps).

    >>> p, g, squares = [np.ones(1)], [np.ones(1)], [np.zeros(1)]
    >>> kernels.rmsprop(p, g, squares, lr=0.1, alpha=0.0, eps=0.0, weight_decay=0.0)
    >>> p
    [array([0.9])]
    """
    for weight, gradient, s in each(ps, gs, squares):
        total = gradient + weight_decay * weight
        s *= alpha
        s += (1 - alpha) * total * total
        weight -= lr * total / (np.sqrt(s) + eps)


def adam(
    ps: Arrays,
    gs: Arrays,
    means: Arrays,
    squares: Arrays,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    step: int,
) -> None:
    """Adam (Kingma & Ba 2015, arXiv:1412.6980, Algorithm 1).

    `step` counts updates from 1. `weight_decay` adds weight_decay * p to g. A `decoupled` one, as
    in AdamW, shrinks p by lr * weight_decay * p beforehand instead (Loshchilov & Hutter 2019,
    arXiv:1711.05101, Algorithm 2).

    >>> p, g, means, squares = [np.ones(1)], [np.ones(1)], [np.zeros(1)], [np.zeros(1)]
    >>> rule = {"beta1": 0.9, "beta2": 0.999, "eps": 0.0, "weight_decay": 0.0, "decoupled": False}
    >>> kernels.adam(p, g, means, squares, lr=0.5, step=1, **rule)
    >>> p[0].round(6)  # the first move is one of lr
    array([0.5])
    """
    for weight, gradient, m, s in each(ps, gs, means, squares):
        total = gradient
        if decoupled:
            weight *= 1 - lr * weight_decay
        elif weight_decay:
            total = gradient + weight_decay * weight
        m *= beta1
        m += (1 - beta1) * total
        s *= beta2
        s += (1 - beta2) * total * total
        root = np.sqrt(s) / math.sqrt(1 - beta2**step) + eps
        weight -= lr / (1 - beta1**step) * m / root

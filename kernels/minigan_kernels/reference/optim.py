"""One optimiser step of one parameter, in place, in plain NumPy.

Arrays come first, hyper-parameters by keyword. `p` and the state arrays are overwritten, `g` is
only read.
"""

from __future__ import annotations

import math

import numpy as np


def sgd(
    p: np.ndarray,
    g: np.ndarray,
    velocity: np.ndarray,
    *,
    lr: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> None:
    """Gradient descent with momentum (Sutskever et al. 2013): v = mu v + g, p -= lr v.

    Nesterov's form steps along g + mu v instead. `weight_decay` adds weight_decay * p to g.
    """
    slope = g + weight_decay * p
    velocity *= momentum
    velocity += slope
    p -= lr * (slope + momentum * velocity if nesterov else velocity)


def rmsprop(
    p: np.ndarray,
    g: np.ndarray,
    square: np.ndarray,
    *,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
) -> None:
    """RMSProp (Tieleman & Hinton 2012): s = alpha s + (1-alpha) g^2, p -= lr g / (sqrt s + eps)."""
    slope = g + weight_decay * p
    square *= alpha
    square += (1 - alpha) * slope * slope
    p -= lr * slope / (np.sqrt(square) + eps)


def adam(
    p: np.ndarray,
    g: np.ndarray,
    mean: np.ndarray,
    square: np.ndarray,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    step: int,
) -> None:
    """Adam (Kingma & Ba 2015, arXiv:1412.6980, Algorithm 1), the decay decoupled as in AdamW.

    `step` counts from 1. `weight_decay` shrinks p by lr * weight_decay * p beforehand
    (Loshchilov & Hutter 2019, arXiv:1711.05101, Algorithm 2).
    """
    p *= 1 - lr * weight_decay
    mean *= beta1
    mean += (1 - beta1) * g
    square *= beta2
    square += (1 - beta2) * g * g
    root = np.sqrt(square) / math.sqrt(1 - beta2**step) + eps
    p -= lr / (1 - beta1**step) * mean / root

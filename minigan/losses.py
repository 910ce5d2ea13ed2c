"""Losses of discriminator and generator, all on logits.

A logit l stands for the probability D = 1 / (1 + exp(-l)) that a sample is real. Then log D is
-softplus(-l) and log(1 - D) is -softplus(l), which neither overflow nor lose their gradient where D
is 0 or 1; a loss on probabilities does both.
"""

from __future__ import annotations

import numpy as np

from .ops import logsumexp, mean, softplus
from .tensor import Array, Tensor


def binary_cross_entropy(logits: Tensor, target: float | Array) -> Tensor:
    """-(t log D + (1 - t) log(1 - D)), meant over all logits; `target` t is in [0, 1]."""
    return mean(softplus(logits) - logits * target)


def discriminator_loss(real: Tensor, fake: Tensor, *, smooth: float = 1.0) -> Tensor:
    """-E[log D(x)] - E[log(1 - D(G(z)))] (Goodfellow et al. 2014, arXiv:1406.2661, equation 1).

    `smooth`, in (0, 1], is the target for real samples; 0.9 is the usual one-sided label smoothing
    (Salimans et al. 2016, arXiv:1606.03498, section 3.4). The target of fakes stays 0: smoothing it
    would reward samples where the model has mass already.
    """
    return binary_cross_entropy(real, smooth) + binary_cross_entropy(fake, 0.0)


def saturating_loss(fake: Tensor) -> Tensor:
    """E[log(1 - D(G(z)))], the generator's side of the minimax game (Goodfellow et al. 2014,
    equation 1).

    Its gradient vanishes where D is sure that a sample is false.
    """
    return mean(-softplus(fake))


def non_saturating_loss(fake: Tensor) -> Tensor:
    """-E[log D(G(z))], with the same fixed point but strong early gradients (Goodfellow et al.
    2014, section 3).
    """
    return mean(softplus(-fake))


def real_logit(logits: Tensor) -> Tensor:
    """The one logit of a discriminator with two, (N, 2) for false and real.

    A softmax over two logits is the sigmoid of their difference, so every loss here serves both.
    """
    if logits.ndim != 2 or logits.shape[1] != 2:
        raise ValueError(f"a two-logit discriminator gives (N, 2), not {logits.shape}")
    return logits[:, 1] - logits[:, 0]


def softmax_cross_entropy(logits: Tensor, labels: Array) -> Tensor:
    """-log softmax(logits)[label], meant over the batch; logits (N, classes), labels (N,) int."""
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"logits {logits.shape} want labels ({logits.shape[0]},), not {labels.shape}"
        )
    chosen = logits[np.arange(len(labels)), labels]
    return mean(logsumexp(logits, axis=1) - chosen)

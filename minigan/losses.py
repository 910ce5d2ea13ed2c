"""Losses of discriminator and generator.

Losses of probabilities take logits. Least squares, Wasserstein, hinge and pyramid losses take plain
values.

A logit l stands for the probability D = 1 / (1 + exp(-l)) that a sample is real. Then log D is
-softplus(-l) and log(1 - D) is -softplus(l). These neither overflow nor lose their gradient where D
is 0 or 1, as a loss on probabilities would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import ops
from .hints import absent, also
from .ops import check_shapes, conv2d, mean, relu, softplus, square
from .ops.labels import as_labels
from .tensor import Array, Tensor, adopt

__all__ = [
    "binary_cross_entropy_with_logits", "discriminator_loss", "hinge_discriminator_loss",
    "laplacian_pyramid_loss", "least_squares_discriminator_loss", "least_squares_generator_loss",
    "non_saturating_loss", "real_logit", "saturating_loss", "softmax_cross_entropy",
    "wasserstein_critic_loss", "wasserstein_generator_loss",
]  # fmt: skip

_MSE = "say minigan.mean(minigan.square(prediction - target))"
_L1 = "say minigan.mean(minigan.abs(prediction - target))"
_LOGITS = "losses take logits: say losses.binary_cross_entropy_with_logits(logits, target)"
HINTS: dict[str, str] = {
    "bce": _LOGITS,
    "bce_with_logits": _LOGITS,
    "BCELoss": _LOGITS,
    "BCEWithLogitsLoss": _LOGITS,
    "cross_entropy": "say losses.softmax_cross_entropy(logits, labels)",
    "nll_loss": "say losses.softmax_cross_entropy(logits, labels)",
    "CrossEntropyLoss": "say losses.softmax_cross_entropy(logits, labels)",
    "mse_loss": _MSE,
    "MSELoss": _MSE,
    "l1_loss": _L1,
    "L1Loss": _L1,
    "gradient_penalty": "it is minigan.penalties.gradient_penalty",
    "r1_penalty": "it is minigan.penalties.r1_penalty",
}
if not TYPE_CHECKING:  # which shall find names that there are not
    __getattr__ = absent(__name__, HINTS)


def __dir__() -> list[str]:
    return __all__


@also(
    reduction="it is the mean over all logits; times logits.size it is the sum",
    weight="multiply the loss of each part by its weight, and add them",
    pos_weight="multiply the loss of each part by its weight, and add them",
)
def binary_cross_entropy_with_logits(logits: Tensor, target: float | Array) -> Tensor:
    """-(t log D + (1 - t) log(1 - D)), averaged over all logits, D = sigmoid(logit).

    `target` t is in [0, 1].

    Raises:
        ValueError: if `target` is neither a number nor of the shape of the logits.

    >>> binary_cross_entropy_with_logits(mg.Tensor([100.0, -100.0]), 1.0).item()
    50.0
    """
    _check_target("binary_cross_entropy_with_logits", logits, target)
    return mean(softplus(logits) - logits * target)


def discriminator_loss(real: Tensor, fake: Tensor, *, smooth: float = 1.0) -> Tensor:
    """-E[log D(x)] - E[log(1 - D(G(z)))] (Goodfellow et al. 2014, arXiv:1406.2661, equation 1).

    `smooth`, in (0, 1], is the target for real samples; 0.9 is the usual one-sided label smoothing
    (Salimans et al. 2016, arXiv:1606.03498, section 3.4). The target of fakes stays 0: smoothing it
    would reward samples where the model has mass already.

    >>> unsure = mg.Tensor([[0.0]])  # D = 1/2
    >>> round(discriminator_loss(unsure, unsure).item(), 4)  # ln 4
    1.3863
    """
    entropy = binary_cross_entropy_with_logits
    return entropy(real, smooth) + entropy(fake, 0.0)


def saturating_loss(fake: Tensor) -> Tensor:
    """E[log(1 - D(G(z)))], the generator's side of the minimax game (Goodfellow et al. 2014,
    equation 1).

    Its gradient vanishes where D is sure that a sample is generated.

    >>> round(saturating_loss(mg.Tensor([[0.0]])).item(), 4)  # -ln 2: D cannot tell
    -0.6931
    """
    return mean(-softplus(fake))


def non_saturating_loss(fake: Tensor) -> Tensor:
    """-E[log D(G(z))], with the same fixed point but strong early gradients (Goodfellow et al.
    2014, section 3).

    >>> non_saturating_loss(mg.Tensor([[-100.0]])).item()
    100.0
    """
    return mean(softplus(-ops.real(fake)))


def real_logit(logits: Tensor) -> Tensor:
    """The one logit of a discriminator with two, (N, 2) for false and real.

    A softmax over two logits is the sigmoid of their difference, so every loss here serves both.

    >>> real_logit(mg.Tensor([[1.0, 3.0]])).numpy()
    array([2.], dtype=float32)
    """
    if logits.ndim != 2 or logits.shape[1] != 2:
        raise ValueError(f"a two-logit discriminator gives (N, 2), not {logits.shape}")
    logits = ops.real(logits)
    return logits[:, 1] - logits[:, 0]


def softmax_cross_entropy(logits: Tensor, labels: Array) -> Tensor:
    """-log softmax(logits)[label], averaged over the batch: logits (N, classes), labels (N,).

    Raises:
        ValueError: if the labels are no integers (N,) from 0 to classes - 1.

    >>> softmax_cross_entropy(mg.Tensor([[100.0, 0.0], [100.0, 0.0]]), np.array([0, 1])).item()
    50.0
    """
    return mean(ops.softmax_cross_entropy(logits, labels=as_labels(labels)))


def least_squares_discriminator_loss(
    real: Tensor, fake: Tensor, *, a: float = 0.0, b: float = 1.0
) -> Tensor:
    """E[(D(x) - b)^2] / 2 + E[(D(G(z)) - a)^2] / 2 for a D without a sigmoid (Mao et al. 2016,
    arXiv:1611.04076, equation 2).

    >>> least_squares_discriminator_loss(mg.Tensor([[1.0]]), mg.Tensor([[2.0]])).item()
    2.0
    """
    _check_target("least_squares_discriminator_loss", real, b)
    _check_target("least_squares_discriminator_loss", fake, a)
    real, fake = ops.real(real), ops.real(fake)
    return 0.5 * mean(square(real - b)) + 0.5 * mean(square(fake - a))


def least_squares_generator_loss(fake: Tensor, *, c: float = 1.0) -> Tensor:
    """E[(D(G(z)) - c)^2] / 2: also samples on the right side of D's boundary are pulled to it
    (Mao et al. 2016, equation 2).

    >>> least_squares_generator_loss(mg.Tensor([[3.0]])).item()
    2.0
    """
    _check_target("least_squares_generator_loss", fake, c)
    return 0.5 * mean(square(ops.real(fake) - c))


def wasserstein_critic_loss(real: Tensor, fake: Tensor) -> Tensor:
    """E[f(G(z))] - E[f(x)] (Arjovsky et al. 2017, arXiv:1701.07875, equation 3, to be minimised).

    Its negative estimates the Wasserstein distance times the critic's Lipschitz constant.

    >>> wasserstein_critic_loss(mg.Tensor([[3.0]]), mg.Tensor([[1.0]])).item()
    -2.0
    """
    return mean(fake) - mean(real)


def wasserstein_generator_loss(fake: Tensor) -> Tensor:
    """-E[f(G(z))] (Arjovsky et al. 2017, Theorem 3); also the generator's side of the hinge loss
    (Miyato et al. 2018, arXiv:1802.05957, equation 17).

    >>> wasserstein_generator_loss(mg.Tensor([[3.0]])).item()
    -3.0
    """
    return -mean(fake)


def hinge_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))] (Miyato et al. 2018, equation 16).

    >>> hinge_discriminator_loss(mg.Tensor([[0.5]]), mg.Tensor([[-2.0]])).item()
    0.5
    """
    return mean(relu(1 - ops.real(real))) + mean(relu(1 + ops.real(fake)))


def laplacian_pyramid_loss(x: Tensor, y: Tensor, *, levels: int = 3) -> Tensor:
    """Sum over a Laplacian pyramid's levels of the mean |L_j(x) - L_j(y)|: Lap_1 of Bojanowski et
    al. 2018, arXiv:1707.05776, which is Ling & Okada's (2006), up to a factor.

    x and y are (N, C, H, W). A level is the part that a binomial blur of 5 x 5 pixels removes
    (Burt & Adelson 1983). The blurred image, at half the size, is decomposed further; after
    `levels` levels it is the last one itself. Means take the place of the weights 4^j of the
    paper's sums.

    >>> x = mg.Tensor(rng.normal((2, 1, 8, 8)))
    >>> laplacian_pyramid_loss(x, x).item()
    0.0
    """
    check_shapes("laplacian_pyramid_loss", x.shape, y.shape)
    x, y = ops.real(x), ops.real(y)
    # Not from a list: its copy to a GPU could not be captured in a graph, filling arrays can.
    row = np.concatenate([np.full_like(x.data, n / 16, shape=(1,)) for n in (1, 4, 6, 4, 1)])
    blur = np.broadcast_to(np.outer(row, row), (x.shape[1], 1, 5, 5)).astype(x.dtype)
    rest = x - y  # a pyramid is linear: one of x - y is enough
    total: Tensor | float = 0.0
    for _ in range(levels):
        blurred = conv2d(rest, adopt(blur), padding=2, groups=x.shape[1])
        total = total + mean(abs(rest - blurred))
        rest = blurred[:, :, ::2, ::2]
    return total + mean(abs(rest))


def binary_cross_entropy(*args: Any, **options: Any) -> Any:
    """Refused, because elsewhere this name is that of a loss of probabilities.

    Raises:
        TypeError: naming `binary_cross_entropy_with_logits`, which this was before.
    """
    raise TypeError(
        "losses.binary_cross_entropy is now called binary_cross_entropy_with_logits, because it "
        "takes logits and not probabilities: rename it, and leave a sigmoid out"
    )


def _check_target(name: str, values: Tensor, target: Any) -> None:
    shape: tuple[int, ...] = np.shape(target)
    if shape != ():
        check_shapes(name, values.shape, shape)

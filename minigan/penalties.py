"""Terms that are added to a loss to keep training stable.

A penalty on a gradient differentiates it again: `grad` records its work, which is differentiated
like everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .ops import check_shapes, flatten, log, mean, sqrt, square, sum, var
from .random import Generator, takes_generator
from .tensor import Tensor, adopt, grad

__all__ = ["gaussian_kl", "gradient_penalty", "l2_penalty", "r1_penalty"]

Critic = Callable[[Tensor], Tensor]


def __dir__() -> list[str]:
    return __all__


@takes_generator
def gradient_penalty(
    D: Critic, real: Tensor, fake: Tensor, rng: Generator, *, eps: float = 1e-12
) -> Tensor:
    """E[(|grad D(x^)| - 1)^2], x^ = a x + (1 - a) G(z) with one a ~ U[0, 1] for each pair
    (Gulrajani et al. 2017, arXiv:1704.00028, equation 3).

    real and fake are (N, ...); D gives one value a sample, and the norm is over all values of one.
    `eps` is added under the root, whose slope at zero would make the second derivative NaN. A
    critic that mixes the samples of a batch, as batch norm does, has no gradient per sample.

    Raises:
        ValueError: if real and fake differ in shape.

    >>> real, fake = mg.Tensor(rng.normal((8, 1))), mg.Tensor(rng.normal((8, 1)))
    >>> gradient_penalty(lambda x: 2 * x, real, fake, rng).item()  # (2 - 1)^2
    1.0
    """
    check_shapes("gradient_penalty", real.shape, fake.shape)
    a = rng.uniform((len(real), *(1,) * (real.ndim - 1)))
    between = adopt(a * real.data + (1 - a) * fake.data)
    norm = sqrt(_square_of_slope(D, between) + eps)
    return mean(square(norm - 1))


def r1_penalty(D: Critic, real: Tensor) -> Tensor:
    """E[|grad D(x)|^2] on real samples x (N, ...) (Mescheder et al. 2018, arXiv:1801.04406,
    equation 9, without its factor gamma / 2).

    >>> r1_penalty(lambda x: 3 * x, mg.Tensor(rng.normal((8, 1)))).item()
    9.0
    """
    return mean(_square_of_slope(D, real.detach()))


def l2_penalty(parameters: Mapping[str, Tensor]) -> Tensor:
    """The sum of squares of all parameters: with a factor, weight decay as part of the loss.

    >>> l2_penalty({"weight": mg.Tensor([1.0, 2.0]), "bias": mg.Tensor([3.0])}).item()
    14.0
    """
    first, *others = (sum(square(p)) for p in parameters.values())
    for other in others:
        first = first + other
    return first


def gaussian_kl(real: Tensor, fake: Tensor, *, eps: float = 1e-3) -> Tensor:
    """KL(N(m_g, s_g) || N(m, s)) = (log(s / s_g) + (s_g + (m_g - m)^2) / s - 1) / 2,
    averaged over all values of a sample, where m and s are the mean and variance of a value over
    the batch, and m_g and s_g those over the generated batch.

    real and fake are (N, ...); `eps` is added to both variances, because a pixel at the border of
    an image may be constant.

    Raises:
        ValueError: if their samples differ in shape.

    >>> x = mg.Tensor(rng.normal((64, 3)))
    >>> gaussian_kl(x, x).item()
    0.0
    """
    check_shapes("gaussian_kl, of a sample,", real.shape[1:], fake.shape[1:])
    m, s = mean(real, 0), var(real, 0) + eps
    m_g, s_g = mean(fake, 0), var(fake, 0) + eps
    return 0.5 * mean(log(s) - log(s_g) + (s_g + square(m_g - m)) / s - 1)


def _square_of_slope(D: Critic, x: Tensor) -> Tensor:
    """|grad D(x)|^2 of each sample, (N,), recorded."""
    slope = grad(sum(D(x)), x, create_graph=True)
    return sum(square(flatten(slope)), 1)

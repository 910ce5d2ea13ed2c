"""VAE: an encoder and a decoder raise a lower bound of the likelihood, with nobody to fool."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from .. import nn
from ..nn.init import normal
from ..ops import exp, mean, sigmoid, softplus, square
from ..optim import Adam, Optimizer
from ..random import Generator
from ..tensor import Array, Tensor
from ..training.recipe import Feed, Players, Recipe, Shape, Update
from ._checks import check_square
from ._sizes import PLANES


class Decoder(nn.Sequential):
    """z (N, latent_size) to logits of pixels (N, C, H, W)."""

    log_sigma: nn.Parameter  # of a Gaussian p(x|z)


@dataclass(frozen=True)
class VAE(Recipe):
    """Kingma & Welling 2013, "Auto-encoding variational Bayes", arXiv:1312.6114.

    Algorithm 1 with the estimator of equation 7 and one sample of z for each image, which is
    equation 10 for a Gaussian q(z|x) and a standard normal p(z). The networks are those of dcgan:
    G decodes, and E, shaped as D, gives mean and log-variance of each component of z.

    Pixels are in [0, 1]. G's output with a sigmoid is their mean, as in the paper (section 5).
    p(x|z) is Gaussian with one standard deviation for all pixels, which is learned too; or for one
    channel Bernoulli, as for MNIST in the paper (appendix C). "ELBO" is the bound for one image,
    in nats: "log p(x|z)" minus "KL". By a Gaussian these are densities, and may be above 0.
    """

    batch_size: int = 64  # images in a batch; 100 in the paper
    latent_size: int = 100  # components of z
    width: int = 64  # channels next to the image, doubled with each halving; 32 below 64 pixels
    observation: Literal["gaussian", "bernoulli"] = "gaussian"  # p(x|z); bernoulli for one channel
    sigma: float = 0.1  # the Gaussian's standard deviation at the beginning
    lr: float = 1e-3  # learning rate of both Adams
    init_std: float = 0.02  # standard deviation of all initial weights

    steps: ClassVar[int] = 2000
    takes: ClassVar[str] = "square images of 28 to 128 pixels"
    watched: ClassVar[tuple[str, ...]] = ("ELBO",)

    @classmethod
    def defaults(cls, shape: Shape, *, classes: int, samples: int, tags: int = 1) -> dict[str, Any]:
        width = {} if shape[-1] in (64, 96) else {"width": 32}
        return width | ({"observation": "bernoulli"} if shape[0] == 1 else {})

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.sigma > 0, "sigma", "above 0")

    def output_range(self, shape: Shape) -> tuple[float, float]:
        return 0.0, 1.0

    def players(self, rng: Generator, shape: Shape) -> Players:
        check_square(self, shape, PLANES)
        return {"G": self.decoder(rng, shape), "E": self.encoder(rng, shape)}

    def decoder(self, rng: Generator, shape: Shape) -> Decoder:
        channels, side, _ = shape
        planes, gammas = PLANES[side], normal(self.init_std, mean=1.0)
        own: dict[str, Any] = {"rng": rng, "init": normal(self.init_std)}
        twice, c = {"stride": 2, "padding": 1, **own}, self.width << len(planes) - 1
        layers: list[nn.Module] = [
            nn.Reshape(self.latent_size, 1, 1),
            nn.ConvTranspose2d(self.latent_size, c, planes[0], **own, bias=False),
            nn.BatchNorm2d(c, rng=rng, gamma_init=gammas, activation=nn.ReLU()),
        ]
        for plane in planes[1:]:
            kernel = 4 - plane % 2  # 7 comes from 4 by a window of 3
            layers += [
                nn.ConvTranspose2d(c, c // 2, kernel, **twice, bias=False),
                nn.BatchNorm2d(c // 2, rng=rng, gamma_init=gammas, activation=nn.ReLU()),
            ]
            c //= 2
        G = Decoder(*layers, nn.ConvTranspose2d(c, channels, 4, **twice))
        if self.observation == "gaussian":
            G.log_sigma = nn.Parameter(np.full((), math.log(self.sigma), np.float32))
        return G

    def encoder(self, rng: Generator, shape: Shape) -> nn.Module:
        """Images (N, C, H, W) to means and log-variances (N, 2 latent_size) of q(z|x)."""
        planes, c = PLANES[shape[1]][::-1], self.width
        gammas, leaky = normal(self.init_std, mean=1.0), nn.LeakyReLU(0.2)
        own: dict[str, Any] = {"rng": rng, "init": normal(self.init_std)}
        half: dict[str, Any] = {"stride": 2, "padding": 1, **own}
        layers: list[nn.Module] = [nn.Conv2d(shape[0], c, 4, **half, activation=leaky)]
        for plane in planes[:-1]:
            layers += [
                nn.Conv2d(c, c * 2, 4 - plane % 2, **half, bias=False),
                nn.BatchNorm2d(c * 2, rng=rng, gamma_init=gammas, activation=leaky),
            ]
            c *= 2
        output = nn.Conv2d(c, 2 * self.latent_size, planes[-1], **own)
        return nn.Sequential(*layers, output, nn.Flatten())

    def optimizers(self, players: Players) -> dict[str, Optimizer]:
        return {name: Adam(player.parameters(), self.lr) for name, player in players.items()}

    def round(self, players: Players, batches: Feed, rng: Generator, step: int) -> Iterator[Update]:
        x = next(batches)
        likelihood, kl = self.bound(players, x, Tensor(self.latent(rng, len(x))))  # equation 10
        loss = mean(kl - likelihood)
        told = {"ELBO": -loss, "log p(x|z)": mean(likelihood), "KL": mean(kl)}
        yield "E", loss, told  # first, because its gradient is computed with the weights of G
        yield "G", loss, {}

    def bound(self, players: Players, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """log p(x|z) at one z of q(z|x), given by `noise` (N, latent_size) of N(0, 1), for each
        image, and KL(q(z|x) | p(z)), both (N,) in nats: the bound of equation 10 is the difference.
        """
        found = players["E"](x)
        mu, log_variance = found[:, : self.latent_size], found[:, self.latent_size :]
        kl = 0.5 * (square(mu) + exp(log_variance) - 1 - log_variance).sum(axis=1)  # appendix B
        z = mu + exp(0.5 * log_variance) * noise  # equation 9
        return self.log_likelihood(players["G"], x, players["G"](z)), kl

    def log_likelihood(self, G: nn.Module, x: Tensor, logits: Tensor) -> Tensor:
        """log p(x|z) of each image, (N,), where G(z) is `logits` (appendix C)."""
        if self.observation == "bernoulli":
            return (x * logits - softplus(logits)).sum(axis=(1, 2, 3))
        assert isinstance(G, Decoder)
        off = square(x - sigmoid(logits)).sum(axis=(1, 2, 3))
        each = G.log_sigma + 0.5 * math.log(2 * math.pi)
        return -0.5 * exp(-2 * G.log_sigma) * off - math.prod(x.shape[1:]) * each

    def latent(self, rng: Generator, n: int) -> np.ndarray:
        return rng.normal((n, self.latent_size))

    def generate(self, players: Players, z: Array) -> Tensor:
        """The mean of p(x|z), without the noise of its pixels."""
        return sigmoid(players["G"](Tensor(z)))

    def encode(self, players: Players, x: Array) -> Array:
        """The mean of q(z|x)."""
        return players["E"](Tensor(x)).data[:, : self.latent_size]

"""SGAN: a discriminator that classifies, from few labels and many images without."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from .. import nn
from ..losses import discriminator_loss, non_saturating_loss, softmax_cross_entropy
from ..nn.init import normal
from ..ops import concatenate, logsumexp, mean, sigmoid, square
from ..optim import Adam, Optimizer
from ..random import Generator
from ..tensor import Array, Tensor, no_grad
from ..training.recipe import EMA, Feed, LearningRateDecay, Players, Shape, Update
from ._checks import check_labels, check_values
from ._parts import beliefs


@dataclass(frozen=True)
class SGAN(EMA, LearningRateDecay):
    """Odena 2016, "Semi-supervised learning with generative adversarial networks",
    arXiv:1606.01583, with the losses, networks and settings of Salimans et al. 2016, "Improved
    techniques for training GANs", arXiv:1606.03498, sections 3.1 and 5.

    D is a classifier: an image of any class is real. It sees the class of only `labels` images.
    With `--fake-class` it has one more logit, for generated images; else that logit is 0, without
    loss, and D(x) = Z / (Z + 1) with Z = sum exp(logits). An average of D classifies.
    """

    batch_size: int = 100  # images in a batch
    classes: int = 10  # classes of the data
    labels: int = 100  # labelled images, equally many of each class, chosen by the run's seed
    latent_size: int = 100  # components of z, uniform in [0, 1]
    hidden: int = 500  # units of G's two hidden layers
    noise_input: float = 0.3  # standard deviation of the noise on D's input, in training
    noise_hidden: float = 0.5  # standard deviation of the noise on D's hidden layers, in training
    fake_class: bool = False  # D ends in classes + 1 logits
    feature_matching: bool = True  # G matches D's mean features; without, it fools D
    lr: float = 3e-3  # learning rate of both Adams
    lr_steps: int = 40_000  # steps, in whose last two fifths it falls to 0
    beta1: float = 0.5  # decay of Adam's first moment
    eps: float = 1e-4  # of Adam; the authors' 1e-8 is under the root
    ema: float = 0.999  # decay of the average of D

    steps: ClassVar[int] = 40_000
    minutes: ClassVar[float] = 187.1
    takes: ClassVar[str] = "labelled images up to 32 pixels in colour, or points"
    averaged: ClassVar[str] = "D"
    warms: ClassVar[bool] = True

    @classmethod
    def defaults(cls, shape: Shape, *, classes: int, samples: int, tags: int = 1) -> dict[str, Any]:
        check_labels(cls, classes)
        return {"classes": classes}

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("noise_input", "noise_hidden"):
            self.require(getattr(self, name) >= 0, name, "0 or more")

    def check_new(self, shape: Shape) -> None:
        super().check_new(shape)
        check_values(self, shape, 32)

    def output_range(self, shape: Shape) -> tuple[float, float] | None:
        return (0.0, 1.0) if len(shape) == 3 else None

    def players(self, rng: Generator, shape: Shape) -> Players:
        values, h = int(np.prod(shape)), self.hidden
        output = nn.Sigmoid() if len(shape) == 3 else None
        G = nn.Sequential(
            nn.Linear(self.latent_size, h, rng=rng, bias=False),
            nn.BatchNorm1d(h, activation=nn.Softplus(), learn_scale=False),  # as in their code
            nn.Linear(h, h, rng=rng, bias=False),
            nn.BatchNorm1d(h, activation=nn.Softplus(), learn_scale=False),
            nn.WeightNormLinear(h, values, rng=rng, activation=output),
            nn.Reshape(*shape),
        )
        return {"G": G, "D": Classifier(self, values, rng)}

    def prepare(self, players: Players, x: Array) -> None:
        """Give each layer of D outputs of mean 0 and variance 1 (Salimans & Kingma 2016)."""
        D: Any = players["D"]
        seen = Tensor(x[:1000])
        with no_grad():
            for layer in [*D.features, D.noise, D.last]:
                if isinstance(layer, nn.WeightNormLinear):
                    layer.standardise(seen)
                seen = layer(seen)

    def optimizers(self, players: Players) -> dict[str, Optimizer]:
        lr = self.falling(self.lr, hold=self.lr_steps * 3 // 5)
        rule: Any = {"lr": lr, "betas": (self.beta1, 0.999), "eps": self.eps}
        return {name: Adam(players[name].parameters(), **rule) for name in ("G", "D")}

    def round(self, players: Players, batches: Feed, rng: Generator, step: int) -> Iterator[Update]:
        G, D = players["G"], players["D"]
        assert isinstance(D, Classifier)
        n, (x, y), real = self.batch_size, batches.few(self.labels), next(batches)
        some = rng.integers(n, self.labels) if self.labels > n else np.arange(self.labels, like=y)
        with no_grad():
            fake = G(Tensor(self.latent(rng, n)))
        logits = D(concatenate([real, fake, x[some]]))  # in one pass: nothing in D mixes samples
        on_real, on_fake = self.real(logits[:n]), self.real(logits[n : 2 * n])
        supervised = softmax_cross_entropy(logits[2 * n :, : self.classes], y[some])
        loss = supervised + 0.5 * discriminator_loss(on_real, on_fake)  # section 5; 0.5: the code's
        yield "D", loss, beliefs(on_real, on_fake) | {"supervised": supervised}
        fake = G(Tensor(self.latent(rng, n)))
        if not self.feature_matching:
            yield "G", non_saturating_loss(self.real(D(fake))), {}
            return
        f = mean(D.features(real), 0).detach()  # section 3.1: |E f(x) - E f(G(z))|^2, as a mean
        yield "G", mean(square(mean(D.features(fake), 0) - f)), {}

    def real(self, logits: Tensor) -> Tensor:
        """The logit of being real, (N,): log Z, minus the logit of being false if there is one."""
        z = logsumexp(logits[:, : self.classes], axis=1)
        return z - logits[:, self.classes] if self.fake_class else z

    def latent(self, rng: Generator, n: int) -> np.ndarray:
        return rng.uniform((n, self.latent_size))

    def realness(self, players: Players, x: Array) -> Array:
        return sigmoid(self.real(players["D"](Tensor(x)))).data

    def classify(self, players: Players, x: Array) -> Array:
        return self.shown(players)["D"](Tensor(x)).data[:, : self.classes]


class Classifier(nn.Module):
    """Dense layers with normalised weights and noise before each: x (N, ...) to logits (N, K)."""

    def __init__(self, recipe: SGAN, values: int, rng: Generator) -> None:
        options: dict[str, Any] = {"rng": rng, "init": normal(0.1)}
        layers: list[nn.Module] = [nn.Flatten(), nn.GaussianNoise(recipe.noise_input, rng=rng)]
        for n, width in pairwise((values, 1000, 500, 250, 250, 250)):
            layers += [
                nn.WeightNormLinear(n, width, activation=nn.ReLU(), learn_scale=False, **options),
                nn.GaussianNoise(recipe.noise_hidden, rng=rng),
            ]
        self.features, self.noise = nn.Sequential(*layers[:-1]), layers[-1]  # f(x), (N, 250)
        self.last = nn.WeightNormLinear(250, recipe.classes + recipe.fake_class, **options)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.noise(self.features(x)))

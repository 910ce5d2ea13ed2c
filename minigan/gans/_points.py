"""Dense networks for points, in recipes that also make images: a ring is learned in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .. import nn
from ..nn.init import uniform
from ..random import Generator
from ..tensor import Array, Tensor
from ..training.recipe import Players, Shape, only_points
from ._sizes import Halving


@dataclass(frozen=True)
class ImagesOrPoints(Halving):
    """A recipe that makes images by the networks of `convolutional`, points by those of `dense`."""

    latent_size: int = 100  # components of z, standard normal
    hidden: int = 128  # rectifiers in each of three hidden layers, for points

    takes: ClassVar[str] = "images of 28 to 128 pixels, or points"
    points: ClassVar[Mapping[str, Any]] = {}  # other defaults of fields, for points

    @classmethod
    def defaults(cls, shape: Shape, *, classes: int, samples: int, tags: int = 1) -> dict[str, Any]:
        if len(shape) == 3:
            return super().defaults(shape, classes=classes, samples=samples, tags=tags)
        return dict(cls.points)

    def output_range(self, shape: Shape) -> tuple[float, float] | None:
        return (-1.0, 1.0) if len(shape) == 3 else None

    def players(self, rng: Generator, shape: Shape) -> Players:
        G, D = (self.convolutional if len(shape) == 3 else self.dense)(rng, shape)
        return {"G": G, "D": D}

    def convolutional(self, rng: Generator, shape: Shape) -> tuple[nn.Module, nn.Module]:
        """z (N, latent_size) to images (N, C, H, W) in (-1, 1), and those to scores (N,)."""
        raise TypeError(f"{type(self).__name__} has no convolutional method")

    def dense(self, rng: Generator, shape: Shape) -> tuple[nn.Module, nn.Module]:
        """z (N, latent_size) to points (N, D), and those to scores (N,)."""
        G = normed_layers(rng, self.latent_size, self.hidden)
        D = plain_layers(rng, shape[0], self.hidden)
        # Both last layers draw after these, so that a seed gives the same networks as ever.
        return (
            nn.Sequential(*G, nn.Linear(self.hidden, shape[0], rng=rng)),
            nn.Sequential(*D, nn.Linear(self.hidden, 1, rng=rng), nn.Reshape()),
        )

    @only_points
    def prepare(self, players: Players, x: Array) -> None:
        """Spread the kinks of D's first rectifiers over the data, if those are points."""
        if x.ndim == 2:
            first = players["D"].arrays()
            spread_kinks(first["layers.0.weight"], first["layers.0.bias"], np.abs(x).max())

    def latent(self, rng: Generator, n: int) -> np.ndarray:
        return rng.normal((n, self.latent_size))

    def opinion(self, players: Players, x: Array, labels: Array | None) -> Array | None:
        return players["D"](Tensor(x)).data


def normed_layers(rng: Generator, inputs: int, units: int) -> list[nn.Module]:
    """Three hidden layers of rectifiers with batch norm, for G."""
    layers: list[nn.Module] = []
    for size in (inputs, units, units):
        layers.append(nn.Linear(size, units, rng=rng, bias=False))
        layers.append(nn.BatchNorm1d(units, activation=nn.ReLU()))
    return layers


def plain_layers(rng: Generator, inputs: int, units: int) -> list[nn.Linear]:
    """Three hidden layers of rectifiers, for D; `spread_kinks` takes the first one's biases."""
    relu = nn.ReLU()
    first = nn.Linear(inputs, units, rng=rng, activation=relu, bias_init=uniform(1.0))
    return [first, *(nn.Linear(units, units, rng=rng, activation=relu) for _ in range(2))]


def spread_kinks(weight: np.ndarray, bias: np.ndarray, radius: float) -> None:
    """Scale biases from U(-1, 1), in place, so that the kinks fill a ball of `radius`.

    weight is (units, inputs), bias (units,). The distance of a unit's kink from the origin is
    |bias| / |weight|. With zero biases the kinks of a first layer all go through the origin, and a
    network for points is slow to distinguish points in one direction.
    """
    bias *= radius * np.linalg.norm(weight, axis=1)

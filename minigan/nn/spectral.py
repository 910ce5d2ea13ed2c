"""Spectral normalisation: a layer whose weight matrix stretches no vector."""

from __future__ import annotations

from typing import ClassVar

import minigan_kernels as kernels
import numpy as np

from .. import ops
from ..random import Generator, takes_generator
from ..tensor import Array, Tensor, adopt
from .conv import Conv2d, ConvTranspose2d
from .linear import Linear
from .module import Module
from .saved import Renamed


class SpectralNorm(Module):
    """The layer with its weight W divided by its largest singular value sigma (Miyato et al. 2018,
    arXiv:1802.05957, Algorithm 1).

    W is (rows, columns); of a convolution (O, I, kH, kW) it is the matrix (O, I kH kW), as in the
    paper. That bounds the map of one window. Of an image each pixel is in several windows, so the
    convolution stretches it by up to sqrt(ceil(kH / stride) ceil(kW / stride)).

    Each forward pass in training continues the power iteration by `iterations` steps; inference
    leaves u and v as they are. The gradient flows through W and through sigma = u^T W v, where u
    and v count as constants (equation 8 and appendix D).

    Raises:
        ValueError: if `iterations` is below 1.
        TypeError: for a transposed convolution, whose weight (I, O, kH, kW) is no such matrix, and
            for what is no layer with a weight.

    >>> layer = nn.SpectralNorm(nn.Linear(3, 2, rng=rng), rng=rng)
    >>> layer(mg.Tensor(rng.normal((4, 3)))).shape
    (4, 2)
    """

    takes_arrays = True
    pytorch_names: ClassVar[Renamed] = {  # of its older function, and of its parametrization
        "layer": ("",),
        "layer.weight": ("weight_orig", "parametrizations.weight.original"),
        "u": ("weight_u", "parametrizations.weight.0._u"),
        "v": ("weight_v", "parametrizations.weight.0._v"),
    }
    draws = "first vectors"

    @takes_generator
    def __init__(self, layer: Linear | Conv2d, *, rng: Generator, iterations: int = 1) -> None:
        if isinstance(layer, ConvTranspose2d):
            raise TypeError(
                "spectral norm reads the matrix (O, I kH kW) of a weight, and a ConvTranspose2d "
                "has (I, O, kH, kW); normalise a Conv2d, after an UpsampleNearest say"
            )
        if not isinstance(getattr(layer, "weight", None), Tensor):
            given = type(layer).__name__
            raise TypeError(f"spectral norm is of a layer with a weight, which {given} has not")
        if iterations < 1:
            raise ValueError(f"spectral norm needs at least one iteration, not {iterations}")
        self.layer = layer
        self.iterations = iterations
        self.u = _unit(rng.normal(len(layer.weight)))
        self.v = np.empty(0, np.float32)
        self.converge()

    def forward(self, x: Tensor) -> Tensor:
        before = self.u, self.v
        if self.training:
            self.converge(self.iterations)
        try:
            with self.layer.replaced({"weight": self.normalised()}):
                return self.layer(x)
        except BaseException:  # a pass that fails is none
            self.u, self.v = before
            raise

    def extra_repr(self) -> str:
        return f"iterations={self.iterations}" * (self.iterations != 1)

    def normalised(self) -> Tensor:
        """W / sigma, with sigma as u and v estimate it."""
        W = self.layer.weight
        sigma = ops.sum(W * adopt(np.outer(self.u, self.v).reshape(W.shape)))
        return W / sigma

    def converge(self, iterations: int = 15) -> None:
        """Continue the power iteration; 15 iterations are enough for weights that were just set."""
        W = self.layer.weight.data.reshape(len(self.u), -1)
        for _ in range(iterations):  # new arrays: a graph may still need the ones before
            self.v = _unit(kernels.matmul(W.T, self.u))
            self.u = _unit(kernels.matmul(W, self.v))


def _unit(x: Array) -> Array:
    return x / (np.linalg.norm(x) + 1e-12)

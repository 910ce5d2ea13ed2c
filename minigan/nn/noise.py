"""Gaussian noise."""

from __future__ import annotations

import math

from ..device import asarray_like
from ..random import Generator, takes_generator
from ..tensor import Tensor, adopt
from .arguments import check_floating
from .module import Module


class GaussianNoise(Module):
    """In training add N(0, std^2) to each value; in inference nothing.

    Between the layers of a discriminator it acts like dropout (Salimans et al. 2016,
    arXiv:1606.03498, section 4). The noise comes from `rng`, the generator of the whole run.

    >>> layer = nn.GaussianNoise(0.1, rng=rng).eval()  # in inference it does nothing
    >>> layer(mg.Tensor([1.0, 2.0])).numpy()
    array([1., 2.], dtype=float32)
    """

    takes_arrays = True
    draws = "noise"

    @takes_generator
    def __init__(self, std: float, *, rng: Generator) -> None:
        if not 0 <= std < math.inf:
            raise ValueError(f"the noise's standard deviation must be 0 or more, not {std}")
        self.std = std
        self.rng = rng

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.std == 0:
            return x
        check_floating(self, x)
        noise = self.rng.normal(x.shape, std=self.std).astype(x.dtype, copy=False)
        return x + adopt(asarray_like(noise, x.data))

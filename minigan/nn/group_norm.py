"""Normalisation over groups of channels."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from .. import ops
from ..device import asarray_like
from ..tensor import Tensor, adopt
from .arguments import Interval, check_floating, check_sizes
from .module import Module
from .parameters import Parameter
from .saved import Renamed

_EPS = Interval("[0, inf)")


class GroupNorm(Module):
    """Each sample (N, C, ...) normalised over `num_groups` groups of neighbouring channels (Wu & He
    2018, arXiv:1803.08494); see `minigan.group_norm`.

    It does not depend on the batch, nor on the mode. A group needs two values. gamma and beta
    (C,) are learned; without `affine` they are 1 and 0.

    Raises:
        ValueError: if the channels do not split into the groups.

    >>> nn.GroupNorm(2, 4)([[1.0, 3.0, 10.0, 30.0]]).numpy().round(2)
    array([[-1.,  1., -1.,  1.]], dtype=float32)
    """

    takes_arrays = True
    pytorch_names: ClassVar[Renamed] = {"gamma": ("weight",), "beta": ("bias",)}

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True
    ) -> None:
        check_sizes(self, num_groups=num_groups, num_channels=num_channels)
        _EPS.check(eps, "eps of GroupNorm")
        if num_channels % num_groups:
            raise ValueError(
                f"{num_channels} channels of a GroupNorm do not split into {num_groups} groups"
            )
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self.gamma = Parameter(np.ones(num_channels, np.float32)) if affine else None
        self.beta = Parameter(np.zeros(num_channels, np.float32)) if affine else None

    def extra_repr(self) -> str:
        words = [str(self.num_groups), str(self.num_channels)]
        words += [f"eps={self.eps}"] * (self.eps != 1e-5)
        return ", ".join(words + ["affine=False"] * (self.gamma is None))

    def forward(self, x: Tensor) -> Tensor:
        check_floating(self, x)
        channels = self.num_channels
        if x.ndim < 2 or x.shape[1] != channels:
            raise ValueError(
                f"GroupNorm of {channels} channels takes (N, {channels}, ...), but x has shape "
                f"{x.shape}"
            )
        if x.size < 2 * len(x) * self.num_groups:
            raise ValueError(f"GroupNorm needs two values a group, but x is {x.shape}")
        scale: tuple[Tensor, Tensor]
        if self.gamma is not None and self.beta is not None:
            scale = self.gamma, self.beta
        else:
            ones, zeros = np.ones(channels, x.dtype), np.zeros(channels, x.dtype)
            scale = adopt(asarray_like(ones, x.data)), adopt(asarray_like(zeros, x.data))
        return ops.group_norm(x, *scale, groups=self.num_groups, eps=self.eps)

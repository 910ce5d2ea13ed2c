"""Layers that make images (N, C, H, W) larger."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..ops.upsampling import check_mode, whole_factor
from ..tensor import Tensor
from .module import Module


class Upsample(Module):
    """Each pixel as a block of scale_factor x scale_factor; see `minigan.upsample`.

    Raises:
        ValueError: if a size is given, another mode than "nearest", or a factor that is no integer.

    >>> nn.Upsample(scale_factor=2)(np.zeros((1, 3, 4, 4), np.float32)).shape
    (1, 3, 8, 8)
    """

    takes_arrays = True

    def __init__(
        self,
        size: None = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
    ) -> None:
        check_mode(mode)
        if size is not None or scale_factor is None:
            given = "" if size is None else f", not size={size!r}"
            raise ValueError(f"Upsample takes scale_factor=, an integer{given}")
        if align_corners is not None:
            raise ValueError('align_corners means nothing to the mode "nearest"; leave it out')
        self.scale_factor, self.mode = whole_factor(scale_factor), mode

    def forward(self, x: Tensor) -> Tensor:
        return ops.upsample_nearest(x, self.scale_factor)


class PixelShuffle(Module):
    """(N, C r^2, H, W) to (N, C, H r, W r) for r = upscale_factor: sub-pixel convolution, behind a
    Conv2d (Shi et al. 2016, arXiv:1609.05158); see `minigan.pixel_shuffle`.

    >>> nn.PixelShuffle(2)(np.zeros((1, 12, 4, 4), np.float32)).shape
    (1, 3, 8, 8)
    """

    takes_arrays = True

    def __init__(self, upscale_factor: int) -> None:
        self.upscale_factor = whole_factor(upscale_factor)

    def forward(self, x: Tensor) -> Tensor:
        return ops.pixel_shuffle(x, self.upscale_factor)

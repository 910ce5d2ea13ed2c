"""Images made larger: pixels repeated, or taken from channels."""

from __future__ import annotations

import math
import operator
from typing import Any

from minigan_kernels.checks import image_shape

from ..tensor import Tensor, tensors
from .conv import upsample_nearest
from .shape import reshape, transpose

_OTHER_MODES = ("linear", "bilinear", "bicubic", "trilinear", "area", "nearest-exact")


def upsample(x: Tensor, scale_factor: int, mode: str = "nearest") -> Tensor:
    """Images x (N, C, H, W) made larger by an integer: (N, C, scale_factor H, scale_factor W).

    Each pixel becomes a block of its value; followed by a convolution it makes a larger image
    without a checkerboard (Odena et al. 2016, "Deconvolution and checkerboard artifacts").

    Raises:
        ValueError: for another mode than "nearest", or a factor that is no integer of at least 1.

    >>> mg.upsample(mg.Tensor([[[[1.0, 2.0]]]]), 2).numpy().tolist()
    [[[[1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0]]]]
    """
    check_mode(mode)
    return upsample_nearest(x, whole_factor(scale_factor))


def pixel_shuffle(x: Tensor, upscale_factor: int) -> Tensor:
    """x (N, C r^2, H, W) with r^2 channels as the r x r pixels of a block: (N, C, H r, W r) for
    r = `upscale_factor` (Shi et al. 2016, arXiv:1609.05158, equation 4).

    Pixel (r i + a, r j + b) of channel c is pixel (i, j) of channel c r^2 + a r + b.

    Raises:
        ValueError: if the channels are no multiple of r^2.

    >>> mg.pixel_shuffle(mg.Tensor([[[[1.0]], [[2.0]], [[3.0]], [[4.0]]]]), 2).numpy().tolist()
    [[[[1.0, 2.0], [3.0, 4.0]]]]
    """
    (x,) = tensors(x)
    n, channels, h, w = image_shape(x.shape)
    r = whole_factor(upscale_factor)
    if channels % (r * r):
        raise ValueError(
            f"pixel_shuffle by {r} takes {r * r} channels for each that it gives, but x {x.shape} "
            f"has {channels}"
        )
    c = channels // (r * r)
    blocks = transpose(reshape(x, (n, c, r, r, h, w)), (0, 1, 4, 2, 5, 3))  # (N, C, H, r, W, r)
    return reshape(blocks, (n, c, h * r, w * r))


def check_mode(mode: str) -> None:
    """Check that images are made larger in this way.

    Raises:
        ValueError: if they are not, with what to do.
    """
    if mode in _OTHER_MODES:
        raise ValueError(
            f'the mode of upsampling is "nearest", and not {mode!r}: follow it with a convolution, '
            "which learns how to smooth"
        )
    if mode != "nearest":
        raise ValueError(f'the mode of upsampling is "nearest", not {mode!r}')


def whole_factor(factor: Any) -> int:
    """By what images are made larger, as an integer; 2.0 and (2, 2) are 2.

    Raises:
        ValueError: if it is none of at least 1, the same for both directions.
    """
    both = set(factor) if isinstance(factor, tuple | list) else {factor}
    if len(both) == 1:
        (one,) = both
        if isinstance(one, float) and math.isfinite(one) and one == int(one):
            one = int(one)
        try:
            if operator.index(one) >= 1:
                return operator.index(one)
        except TypeError:
            pass
    raise ValueError(
        f"images are made larger by an integer of at least 1, the same for both directions, not by "
        f"{factor!r}"
    )

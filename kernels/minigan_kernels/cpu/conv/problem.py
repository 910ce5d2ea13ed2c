"""A convolution as its algorithms see it: shapes and options, checked and chosen for once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...checks import Window
from ...epilogue import Epilogue

Shape = tuple[int, int, int, int]
End = tuple[np.ndarray, Epilogue]  # a bias and an activation, with which a convolution may end
Ended = tuple[np.ndarray, End | None]  # a result, and what is still to be done to it


class ConvProblem(NamedTuple):
    """A convolution of images with a weight; its gradients are the other two directions of it."""

    image: Shape  # (N, C, H, W)
    weight: Shape  # (O, C/groups, kH, kW)
    output: Shape  # (N, O, H', W')
    window: Window
    groups: int
    tile: int  # outputs along a side of a Winograd tile; 0 for other algorithms

"""Temporary stand-in."""

from .packed import conv2d as conv2d
from .packed import conv2d_dw as conv2d_dw
from .packed import conv2d_dx as conv2d_dx

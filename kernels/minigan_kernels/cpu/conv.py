"""CPU twins."""

from ..reference.conv import conv2d as conv2d
from ..reference.conv import conv2d_dx as conv2d_dx
from ..reference.conv import conv2d_dw as conv2d_dw
from ..reference.conv import im2col as im2col
from ..reference.conv import col2im as col2im

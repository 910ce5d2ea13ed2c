"""CPU twins."""

from ..reference.pool import max_pool2d_index as max_pool2d_index
from ..reference.pool import gather_plane as gather_plane
from ..reference.pool import scatter_plane as scatter_plane
from ..reference.pool import avg_pool2d as avg_pool2d
from ..reference.pool import avg_pool2d_dx as avg_pool2d_dx

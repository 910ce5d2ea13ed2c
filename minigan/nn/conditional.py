"""Networks of two inputs: a sample and its condition."""

from __future__ import annotations

from .. import ops
from ..tensor import Tensor
from .container import Sequential, check_layers
from .module import Module


class Conditional(Module):
    """Blocks one after another, each of which gets the output of the one before it, and y.

    x is (N, C, ...) and y (N, K). A block for vectors gets K more values, a block for images K more
    channels, each constant.

    >>> G = nn.Conditional(nn.Linear(4 + 2, 3, rng=rng), nn.Linear(3 + 2, 1, rng=rng))
    >>> G(mg.Tensor(rng.normal((5, 4))), mg.Tensor(rng.normal((5, 2)))).shape
    (5, 1)
    """

    takes_arrays = True

    def __init__(self, *blocks: Module) -> None:
        self.blocks = check_layers(self, blocks)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        for block in self.blocks:
            planes = ops.reshape(y, (*y.shape, *(1,) * (x.ndim - 2)))
            planes = ops.broadcast_to(planes, (*y.shape, *x.shape[2:]))
            x = block(ops.concatenate([x, planes], axis=1))
        return x


class Joined(Module):
    """A layer for x, one for y, and layers for both results (N, ...), concatenated.

    >>> of_x, of_y = nn.Linear(4, 3, rng=rng), nn.Linear(2, 3, rng=rng)
    >>> layer = nn.Joined(of_x, of_y, nn.Linear(6, 1, rng=rng))
    >>> layer(mg.Tensor(rng.normal((5, 4))), mg.Tensor(rng.normal((5, 2)))).shape
    (5, 1)
    """

    takes_arrays = True

    def __init__(self, of_x: Module, of_y: Module, *joint: Module) -> None:
        self.of_x, self.of_y = check_layers(self, (of_x, of_y))
        self.joint = Sequential(*joint)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.joint(ops.concatenate([self.of_x(x), self.of_y(y)], axis=1))

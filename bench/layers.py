"""The convolutions of a DCGAN, as the kernels see them.

A layer of D is a convolution and a layer of G a transposed one. Both are described by the
convolution: from an image (N, C, H, W) by weights (O, C, k, k) to (N, O, H', W'). A transposed
layer runs it backwards: its forward pass is the gradient with respect to the image, and the
reverse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DIRECTIONS = ("forward", "dx", "dw")


@dataclass(frozen=True)
class Layer:
    """A convolutional layer for a batch."""

    player: str  # "D" or "G"
    batch: int
    channels: int  # of the image
    filters: int
    side: int  # pixels of the image
    stride: int = 2
    padding: int = 1
    kernel: int = 4

    @property
    def transposed(self) -> bool:
        return self.player == "G"

    @property
    def small(self) -> int:
        """Pixels on a side of what the convolution gives."""
        return (self.side + 2 * self.padding - self.kernel) // self.stride + 1

    @property
    def name(self) -> str:
        ends = [f"{self.channels}", f"{self.filters}"]
        return f"{self.player} " + "→".join(ends[::-1] if self.transposed else ends)

    @property
    def planes(self) -> str:
        """Pixels on a side before and after the layer."""
        ends = [f"{self.side}", f"{self.small}"]
        return "→".join(ends[::-1] if self.transposed else ends)

    @property
    def middle(self) -> bool:
        """Whether neither an image nor a latent vector or a logit is at one of its ends."""
        return self.stride == 2 and self.channels > 3

    @property
    def image(self) -> tuple[int, int, int, int]:
        return self.batch, self.channels, self.side, self.side

    @property
    def weight(self) -> tuple[int, int, int, int]:
        return self.filters, self.channels, self.kernel, self.kernel

    @property
    def output(self) -> tuple[int, int, int, int]:
        return self.batch, self.filters, self.small, self.small

    @property
    def flops(self) -> int:
        """Operations of the direct algorithm, the same in each direction."""
        return 2 * self.batch * self.small**2 * int(np.prod(self.weight))

    @property
    def bytes(self) -> int:
        """Of image, weights and output, each moved once."""
        return 4 * sum(int(np.prod(s)) for s in (self.image, self.weight, self.output))

    def kernel_of(self, direction: str) -> str:
        """The kernel that computes a direction of this layer."""
        forward, dx = "conv2d", "conv2d_dx"
        if self.transposed:
            forward, dx = dx, forward
        return {"forward": forward, "dx": dx, "dw": "conv2d_dw"}[direction]


def dcgan(
    side: int = 64, channels: int = 3, width: int = 64, batch: int = 64, latent: int = 100
) -> list[Layer]:
    """All layers of a DCGAN for images of side x side pixels, a power of two; D's first."""
    found = [Layer("D", batch, channels, width, side)]
    c, plane = width, side // 2
    while plane > 4:
        found.append(Layer("D", batch, c, 2 * c, plane))
        c, plane = 2 * c, plane // 2
    ends = [Layer("D", batch, c, 1, 4, 1, 0), Layer("G", batch, c, latent, 4, 1, 0)]
    back = [Layer("G", x.batch, x.channels, x.filters, x.side) for x in found[::-1]]
    return [*found, *ends, *back]

"""How deep the networks for images are: one rule for every recipe whose planes halve.

Each halving of the image is one strided convolution of D, and the transposed one of G; channels
double with it. An image is halved until its shorter side has at most 7 pixels, and at least twice:

    side      28  32  48  64  96  128
    halvings   2   3   3   4   4    5
    smallest   7   4   6   4   6    4

Fewer halvings than these leave a last layer that is dense in thousands of values, and a G whose
outer convolutions alone would have to draw whatever is larger than a few pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ..training.recipe import Recipe, Shape
from ._checks import check_images, either

SIDES = (28, 32, 48, 64, 96, 128)  # for which the rule is tested and settings are measured
LARGEST = 7  # pixels of the shorter side of the smallest planes
# In DCGAN's family G's first layer makes the smallest planes, and none has more than 6 pixels:
# 28 is halved once more, 7 to 4 by a window of 3. Sides of the planes between z and the image.
PLANES = {
    28: (4, 7, 14),
    32: (4, 8, 16),
    48: (6, 12, 24),
    64: (4, 8, 16, 32),
    96: (6, 12, 24, 48),
    128: (4, 8, 16, 32, 64),
}


def halvings(height: int, width: int) -> int:
    """How often images are halved: until the shorter side has at most 7 pixels, at least twice.

    >>> [halvings(side, side) for side in SIDES]
    [2, 3, 3, 4, 4, 5]
    """
    count = 2
    while min(height, width) >> count > LARGEST:
        count += 1
    return count


@dataclass(frozen=True)
class Halving(Recipe):
    """A recipe whose networks halve images, by the rule of `halvings` unless it is told otherwise.

    A run from before the rule has no such field: it halved twice, whatever its images were.
    """

    halvings: int = 2  # of the image; by default until 7 pixels or fewer are left

    # Other defaults of fields, for images in colour of more than 28 pixels: the best in trials of
    # 200 to 400 steps on emoji of 64 pixels.
    colour: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def defaults(cls, shape: Shape, *, classes: int, samples: int, tags: int = 1) -> dict[str, Any]:
        found = super().defaults(shape, classes=classes, samples=samples, tags=tags)
        if len(shape) == 3:
            found |= {"halvings": halvings(*shape[1:])}
            found |= cls.colour if shape[0] == 3 and min(shape[1:]) > min(SIDES) else {}
        return found

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.halvings >= 2, "halvings", "at least 2")

    def check_new(self, shape: Shape) -> None:
        super().check_new(shape)
        if len(shape) != 3:
            self.require(self.halvings == 2, "halvings", "left out for points")
        elif vars(self).get("dense"):
            usual = (2, halvings(*shape[1:]))
            self.require(self.halvings in usual, "halvings", "left out beside dense networks")

    def smallest(self, shape: Shape) -> tuple[int, int]:
        """Height and width of images of `shape` after all halvings.

        Raises:
            UserError: if these are no images, or their sides cannot be halved so often.
        """
        n = self.halvings
        what = f"images whose sides can be halved {n} times"
        if named := [side for side in SIDES if side % 2**n == 0]:
            what += f", such as {either(named)} pixels"
        check_images(self, shape, what, lambda h, w: h % 2**n == w % 2**n == 0)
        return shape[1] >> n, shape[2] >> n

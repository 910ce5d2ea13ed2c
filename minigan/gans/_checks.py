"""Checks of the data that a recipe takes, which refuse others in one sentence."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from ..errors import UserError
from ..training.recipe import Recipe, Shape


def check_labels(kind: type[Recipe], classes: int) -> None:
    """Make sure that there are labels.

    Raises:
        UserError: if there are not.
    """
    if classes == 0:
        raise UserError(f"{_name(kind)} needs labels; give --data with labels, such as glyphs")


def check_images(recipe: Recipe, shape: Shape, what: str, fits: Callable[[int, int], bool]) -> None:
    """Make sure that samples of `shape` are images whose height and width fit.

    `what` says in words which images fit.

    Raises:
        UserError: if they are not.
    """
    if len(shape) == 3 and fits(*shape[1:]):
        return
    way_out = "a size with --size, or other" if len(shape) == 3 else "image"
    raise UserError(
        f"{_name(type(recipe))} makes {what}, but the data are {shape}; "
        f"choose {way_out} data with --data"
    )


def check_square(recipe: Recipe, shape: Shape, sides: Collection[int]) -> None:
    """Make sure that samples of `shape` are square images with one of these `sides`.

    Raises:
        UserError: if they are not.
    """
    what = f"square images of {either(sides)} pixels"
    check_images(recipe, shape, what, lambda height, width: height == width and height in sides)


def check_values(recipe: Recipe, shape: Shape, side: int) -> None:
    """Make sure that dense layers have no more values of an image to learn than side x side in
    colour has: each of their units has a weight for every value.

    Raises:
        UserError: if they have.
    """
    if len(shape) == 3 and np.prod(shape) > 3 * side**2:
        raise UserError(
            f"{_name(type(recipe))} is made of dense layers, for images of at most {side}x{side} "
            f"pixels in colour, but the data are {shape}; give --size {side} or less, or choose a "
            "recipe of convolutions"
        )


def either(numbers: Collection[int]) -> str:
    """One or more numbers as words: that any of them will do.

    >>> either([28, 32, 48]), either([128])
    ('28, 32 or 48', '128')
    """
    *others, last = map(str, numbers)
    return f"{', '.join(others)} or {last}" if others else last


def _name(kind: type[Recipe]) -> str:
    """The name of a recipe on the command line."""
    return kind.__module__.rpartition(".")[2]

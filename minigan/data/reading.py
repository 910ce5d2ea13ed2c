"""How samples are read from their files and drawn for batches, beside what data they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self, get_args

import numpy as np

from ..errors import UserError
from .streams import Purpose, stream

Colour = tuple[int, int, int]
Crop = Literal["centre", "random", "none"]

LARGER = 8  # pictures for random crops are kept this part of their size larger
_OF_FILES = ("crop", "background", "skip_broken")  # what only picture files can be asked for


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How samples are read and drawn: the flags of `minigan train` and keywords of `load`.

    A run's configuration keeps all of them with its data. `flip` and the place of a random crop are
    drawn with each batch; the others say what is read.

    Raises:
        UserError: if a value is out of range, or the background no colour.

    >>> Reading(crop="random").kept_size(64)
    72
    """

    crop: Crop = "centre"  # of pictures: the middle, a random place at each draw, or none: padded
    background: str = "white"  # colour behind transparent pictures, and around those not cropped
    skip_broken: bool = False  # leave out pictures that cannot be read
    flip: bool = False  # mirror each picture left to right in every second draw, at random
    hold_out: int = 0  # keep so many samples from training; they become the test part

    def __post_init__(self) -> None:
        if self.crop not in (known := get_args(Crop)):
            raise UserError(f"--crop is one of {', '.join(known)}, not {self.crop!r}")
        if self.hold_out < 0:
            raise UserError(f"--hold-out must be 0 or more, not {self.hold_out}")
        colour(self.background)

    @classmethod
    def of(cls, known: Mapping[str, Any]) -> Self:
        """The values of these names in a mapping, which may hold others.

        >>> Reading.of({"flip": True, "size": 64})
        Reading(crop='centre', background='white', skip_broken=False, flip=True, hold_out=0)
        """
        return cls(**{f.name: known[f.name] for f in fields(Reading) if f.name in known})

    def keywords(self) -> dict[str, Any]:
        """The values by name.

        >>> Reading(hold_out=10).keywords()["hold_out"]
        10
        """
        return {f.name: getattr(self, f.name) for f in fields(Reading)}

    def unusual(self) -> dict[str, Any]:
        """Those values that are not the defaults.

        >>> Reading(flip=True).unusual()
        {'flip': True}
        """
        usual = {f.name: f.default for f in fields(Reading)}
        return {name: value for name, value in self.keywords().items() if value != usual[name]}

    def kept_size(self, size: int) -> int:
        """The pixels on a side of pictures as they are kept, of which batches show `size`.

        >>> Reading().kept_size(64), Reading(crop="random").kept_size(4)
        (64, 5)
        """
        return size + max(1, size // LARGER) if self.crop == "random" else size

    def check_arrays(self, name: str) -> None:
        """Make sure that nothing is asked that only picture files can do.

        Raises:
            UserError: naming the option.

        >>> Reading(flip=True).check_arrays("mnist")
        """
        if asked := [option for option in _OF_FILES if option in self.unusual()]:
            flag = asked[0].replace("_", "-")
            raise UserError(f"--{flag} is for picture files, which {name} is not; leave it out")


def held_out(count: int, hold_out: int) -> tuple[np.ndarray, np.ndarray]:
    """The indices of the samples that are left to train on, and of those held out, both ascending.

    They depend on the two numbers alone.

    Raises:
        UserError: if nothing would be left.

    >>> rest, held = held_out(5, 2)
    >>> len(rest), len(held), sorted([*rest.tolist(), *held.tolist()])
    (3, 2, [0, 1, 2, 3, 4])
    """
    if hold_out >= count:
        raise UserError(
            f"--hold-out {hold_out} leaves none of the {count} samples to train on; give 0 to "
            f"{count - 1}"
        )
    order = stream(0, 0, Purpose.HELD_OUT).permutation(count)
    return np.sort(order[hold_out:]), np.sort(order[:hold_out])


def colour(background: str | Colour) -> Colour:
    """A colour as Pillow knows it by name or as "#rrggbb", or three numbers in 0 .. 255.

    Raises:
        UserError: if it is none.

    >>> colour("white"), colour("#010203")
    ((255, 255, 255), (1, 2, 3))
    """
    from PIL import ImageColor

    try:
        if isinstance(background, str):
            return ImageColor.getrgb(background)[:3]
        red, green, blue = (int(np.uint8(value)) for value in background)
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(
            f"The background {background!r} is no colour; give a name or #rrggbb."
        ) from error
    return red, green, blue


def colour_name(background: str | Colour) -> str:
    """A colour as text.

    >>> colour_name((1, 2, 3)), colour_name("white")
    ('#010203', 'white')
    """
    if isinstance(background, str):
        return background
    return "#" + bytes(colour(background)).hex()

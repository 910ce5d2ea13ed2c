"""A data set in memory or mapped from a file: images or points, with what is known about them."""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, overload

import numpy as np

from ..errors import UserError
from ..hints import told
from .cache import remembered
from .images import middle
from .mixture import Mixture

_WAY = (
    "a Dataset is a name and an array, Dataset(name, x); of arrays alone "
    "minigan.data.from_arrays(x, range=(0, 1)) makes one"
)
_HASHED = 1 << 24  # bytes hashed at once, so that an array with strides is copied by pieces


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Samples with their labels and true factors, as far as these are known.

    x is (N, C, H, W) uint8 in 0 .. 255 for images, or (N, D) float32 for points; y (N,) int64 (or
    integers that become it) in 0 .. len(classes) - 1; each factor (N,) float32. If each channel is
    an image with its own class, `parts` are those classes, and `classes` their tuples. x may be
    mapped from a file, and larger than the memory.

    Batches show each image mirrored, left to right, every second time on average, if `flip`. If
    `wide` are the same images with more around them, (N, C, H', W'), x is the middle of `wide`, and
    batches show a part of this size from any place there.

    `minigan.data.from_arrays` takes other arrays: floats in a range, any labels.

    `dataset[i]` is sample i and its label, or the sample alone if there are none; a slice, a mask
    or an array of indices gives a data set. Iterating gives one sample after the other, once;
    `Batches` draws them at random.

    Raises:
        UserError: for another shape or dtype, or if there are no samples.
        TypeError: if it is not given a name, and NumPy's arrays.

    >>> images = np.zeros((6, 1, 28, 28), np.uint8)
    >>> data = Dataset("mine", images, np.arange(6) % 2, classes=("zero", "one"))
    >>> len(data), data.shape, data.histogram()
    (6, (1, 28, 28), {'zero': 3, 'one': 3})
    """

    name: str
    x: np.ndarray
    y: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    factors: dict[str, np.ndarray] = field(default_factory=dict)
    mixture: Mixture | None = None
    parts: tuple[str, ...] = ()
    flip: bool = False
    wide: np.ndarray | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not isinstance(self.x, np.ndarray):
            given = f"{type(self.name).__name__} and {type(self.x).__name__}"
            raise TypeError(f"Dataset was given {given}; {_WAY}")
        kind = (self.x.ndim, self.x.dtype)
        if kind not in ((4, np.dtype(np.uint8)), (2, np.dtype(np.float32))):
            raise UserError(
                f"The data set {self.name} must be uint8 images (N, C, H, W) or float32 points "
                f"(N, D), not {self.x.dtype} {self.x.shape}; minigan.data.from_arrays takes other "
                "arrays."
            )
        if self.x.size == 0:
            raise UserError(f"The data set {self.name} is empty: {self.x.shape}.")
        if self.flip and not self.is_image:
            raise UserError(f"{self.name} consists of points, which have no left; leave out --flip")
        if self.wide is not None and not self._is_middle(self.wide):
            raise UserError(
                f"The data set {self.name} must be the middle of its wide images, uint8 (N, C, H, "
                f"W), which are {self.wide.dtype} {self.wide.shape}."
            )
        if self.y is not None:
            if self.y.dtype.kind in "iu":
                object.__setattr__(self, "y", self.y.astype(np.int64, copy=False))
            if self.y.shape != (len(self),) or self.y.dtype != np.int64:
                raise UserError(
                    f"The data set {self.name} has {len(self)} samples but labels "
                    f"{self.y.dtype} {self.y.shape}; they must be int64 ({len(self)},)."
                )
            low, high = int(self.y.min()), int(self.y.max())
            if low < 0 or high >= len(self.classes):
                raise UserError(
                    f"The data set {self.name} names {len(self.classes)} classes but has labels "
                    f"from {low} to {high}."
                )
        for factor, values in self.factors.items():
            if values.shape != (len(self),) or values.dtype != np.float32:
                raise UserError(
                    f"The factor {factor} of the data set {self.name} must be float32 "
                    f"({len(self)},), not {values.dtype} {values.shape}."
                )

    def _is_middle(self, wide: np.ndarray) -> bool:
        if not self.is_image or wide.ndim != 4 or wide.dtype != np.uint8:
            return False
        fits = all(a <= b for a, b in zip(self.shape, wide.shape[1:], strict=True))
        return fits and wide.shape[:2] == self.x.shape[:2] and self.shape[1] == self.shape[2]

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        return f"<Dataset {self.name}: {', '.join(self._facts())}>"

    def _facts(self) -> list[str]:
        facts = [f"{len(self):,} {'images' if self.is_image else 'points'} {self.shape}"]
        if self.classes:
            shown = ", ".join(self.classes[:10]) + (", ..." if len(self.classes) > 10 else "")
            plural = "es" if len(self.classes) > 1 else ""
            facts.append(f"{len(self.classes)} class{plural}: {shown}")
        if self.factors:
            facts.append(f"factors {', '.join(self.factors)}")
        return facts

    def _repr_html_(self) -> str:
        """What a notebook shows: the facts and some samples."""
        from .thumbnail import images, points

        text = html.escape(f"{self.name}: {', '.join(self._facts())}")
        picture = images(self.x) if self.is_image else points(self.x)
        return f"<div>{text}</div>{picture}"

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int] | np.ndarray) -> Dataset: ...
    def __getitem__(self, index: Any) -> Any:
        try:
            if isinstance(index, int | np.integer):
                return self.x[index] if self.y is None else (self.x[index], int(self.y[index]))
            if isinstance(index, str) and index in self.factors:
                raise TypeError(f"the factor {index} is dataset.factors[{index!r}]")
            if not isinstance(index, slice):
                index = np.asarray(index)
                if index.ndim != 1 or index.dtype.kind not in "iub":
                    raise TypeError(
                        "a data set is indexed by an integer, a slice, a mask or an array of "
                        "integers; sample i is dataset[i], and all of them are dataset.x"
                    )
            wide = None if self.wide is None else self.wide[index]
            return replace(
                self,
                x=self.x[index] if wide is None else middle(wide, self.shape[1]),
                wide=wide,
                y=None if self.y is None else self.y[index],
                factors={name: values[index] for name, values in self.factors.items()},
            )
        except IndexError as error:
            raise IndexError(f"{self.name} has {len(self)} samples: {error}") from None

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample: (C, H, W) or (D,)."""
        return self.x.shape[1:]

    @property
    def is_image(self) -> bool:
        """Whether the samples are images, not points."""
        return self.x.ndim == 4

    def histogram(self) -> dict[str, int]:
        """The number of samples of each class, in class order; empty without labels."""
        if self.y is None:
            return {}
        counts = np.bincount(self.y, minlength=len(self.classes))
        return {name: int(count) for name, count in zip(self.classes, counts, strict=True)}

    def with_classes_of(self, other: Dataset) -> Dataset:
        """The same samples, with the classes of `other` and labels that count in these.

        A part of the data that lacks a class has fewer names than the rest.

        Raises:
            UserError: if a class here is none of `other`.
        """
        if (self.classes, self.parts) == (other.classes, other.parts) or self.y is None:
            return self
        mine, theirs = self.parts or self.classes, other.parts or other.classes
        unknown = sorted(set(mine) - set(theirs))
        if unknown or bool(self.parts) != bool(other.parts):
            raise UserError(
                f"The data set {self.name} has the class {unknown[0] if unknown else mine[0]}, "
                f"which {other.name} lacks; the classes there are {', '.join(theirs)}."
            )
        places = np.array([theirs.index(name) for name in mine], np.int64)
        if not self.parts:
            return replace(self, y=places[self.y], classes=other.classes)
        channels = self.shape[0]
        each = np.unravel_index(self.y, (len(mine),) * channels)
        y = np.ravel_multi_index([places[one] for one in each], (len(theirs),) * channels)
        return replace(self, y=y.astype(np.int64), classes=other.classes, parts=other.parts)

    def digest(self) -> str:
        """The SHA-256 of all that a run learns from: samples, labels, shape, classes and parts.

        It is 64 hexadecimal digits. The name and the factors, which no run sees, do not count. It
        reads x and y once: the 47 MB of MNIST take some 40 ms, and each GB less than a second, on a
        processor with instructions for SHA. That of images in minigan's cache is remembered there.
        """
        x = self.x if self.wide is None else self.wide
        arrays = [x] if self.y is None else [x, self.y]
        head = {
            "arrays": [(a.dtype.str, a.shape) for a in arrays],
            "classes": self.classes,
            "parts": self.parts,
        }
        told = json.dumps(head).encode()

        def digest() -> str:
            found = hashlib.sha256(told)
            for array in arrays:
                rows = max(1, _HASHED // array[:1].nbytes)
                for start in range(0, len(array), rows):
                    found.update(np.ascontiguousarray(array[start : start + rows]).data)
            return found.hexdigest()

        return remembered(arrays, told, digest)


Dataset.__init__ = told(_WAY)(Dataset.__init__)  # type: ignore[method-assign]

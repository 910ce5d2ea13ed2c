"""A data set from arrays that the user has: floats or bytes, and labels of any integers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import UserError
from .dataset import Dataset

CHANNELS = (1, 2, 3)
LATER = 64  # images turned into bytes at once, so that little memory is taken beside them


def from_arrays(
    x: Any,
    y: Any = None,
    *,
    name: str = "arrays",
    classes: Sequence[str] | Mapping[int, str] | None = None,
    range: tuple[float, float] | None = None,
) -> Dataset:
    """A data set of images or points in memory.

    x are images (N, C, H, W) or (N, H, W), or points (N, D): NumPy arrays, or what `numpy.asarray`
    takes. Images of type uint8 are used as they are, without a copy. For any other type `range`
    says which values are black and full intensity, such as (0, 1) or (-1, 1); they become bytes,
    as all images of a data set are. Points become float32.

    y (N,) are labels: any integers, booleans or strings. Each value is a class, in ascending order,
    named as the value, or as `classes` says: a mapping from values to names, or a sequence of the
    names of the values 0, 1, ..., which may have classes without a sample.

    >>> rng = np.random.default_rng(0)
    >>> from_arrays(rng.random((6, 8, 8)), [3, -1, 3, 3, 7, -1], range=(0, 1))
    <Dataset arrays: 6 images (1, 8, 8), 3 classes: -1, 3, 7>

    Raises:
        UserError: for another shape or type, values outside the range, NaN, or labels that do not
            fit.
    """
    x = _array(x, "x")
    if x.size == 0:
        raise UserError(f"x is empty: {x.shape}")
    x = _points(x, range) if x.ndim == 2 else _images(x, range)
    if y is None:
        if classes is not None:
            raise UserError("classes name the values of labels; give the labels y too")
        return Dataset(name, x)
    labels, names = _labels(_array(y, "y"), len(x), classes)
    return Dataset(name, x, labels, names)


def _array(value: Any, name: str) -> np.ndarray:
    """What was given, as a NumPy array.

    Raises:
        UserError: if it is none, saying how to come by one.
    """
    known = (np.ndarray, list, tuple, range)
    if not isinstance(value, known) and not hasattr(value, "__array__"):
        way = ""
        listed = hasattr(value, "__getitem__") and hasattr(value, "__len__")
        if listed and not isinstance(value, str | bytes | Mapping):  # a data set of PyTorch
            way = ": np.stack([np.asarray(image) for image, label in samples]), say"
        raise UserError(
            f"{name} is no array, but of type {type(value).__name__}; gather its samples into one "
            f"NumPy array{way}"
        )
    try:
        found = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:  # lists of unequal length, a GPU's array
        raise UserError(f"{name} does not become a NumPy array: {error}") from error
    if found.dtype.kind not in ("biufU" if name == "y" else "biuf"):
        raise UserError(f"{name} must hold numbers, not {found.dtype}")
    return found


def _points(x: np.ndarray, range: tuple[float, float] | None) -> np.ndarray:
    if x.dtype.kind != "f":
        raise UserError(
            f"x {x.shape} of {x.dtype} is neither images (N, C, H, W) nor points (N, D) of floats; "
            "give x.reshape(N, 1, H, W) of flat images, or x.astype('float32') of points"
        )
    if range is not None:
        raise UserError(f"points are used as they are; leave out range={range}")
    _check_finite(x)
    if np.abs(x).max() > np.finfo(np.float32).max:
        raise UserError("x has values that float32 cannot hold; scale them down")
    return x.astype(np.float32, copy=False)


def _images(x: np.ndarray, range: tuple[float, float] | None) -> np.ndarray:
    if x.ndim == 3:
        x = x[:, None]
    if x.ndim != 4:
        raise UserError(
            f"x must be images (N, C, H, W) or (N, H, W), or points (N, D), not {x.shape}"
        )
    if x.shape[1] not in CHANNELS:
        way = "leave out further channels: x[:, :3], say"
        if x.shape[3] in (*CHANNELS, 4):
            transparent = "[..., :3]" if x.shape[3] == 4 else ""
            way = f"give x{transparent}.transpose(0, 3, 1, 2) if the channels come last"
        raise UserError(
            f"x is {x.shape}, where images (N, C, H, W) would have {x.shape[1]} channels, but "
            f"there are 1 to 3; {way}"
        )
    if x.dtype == np.uint8:
        if range not in (None, (0, 255)):
            raise UserError(f"x holds bytes, whose range is (0, 255), not {range}; leave range out")
        return x
    _check_finite(x)
    low, high = x.min().item(), x.max().item()
    if range is None:
        raise UserError(
            f"x holds {x.dtype} from {low:g} to {high:g}; say which values are black and full "
            f"intensity: range={_guess(low, high)}, say"
        )
    return _to_bytes(x, range, low, high)


def _check_finite(x: np.ndarray) -> None:
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        bad = int(np.argmin(np.isfinite(x).reshape(len(x), -1).all(axis=1)))
        raise UserError(f"x[{bad}] has a value that is not finite; leave such samples out")


def _guess(low: float, high: float) -> tuple[int, int]:
    """The usual range in which values from `low` to `high` are."""
    usual = [(0, 1), (-1, 1), (0, 255)]
    bottom, top = math.floor(low), math.ceil(high)
    around = bottom, max(top, bottom + 1)  # of one value alone, too
    return next((r for r in usual if r[0] <= low and high <= r[1]), around)


def _to_bytes(
    x: np.ndarray, range: tuple[float, float], smallest: float, largest: float
) -> np.ndarray:
    try:
        low, high = map(float, range)
    except (TypeError, ValueError):
        raise UserError(f"range is two numbers, such as (0, 1), not {range!r}") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UserError(f"range is two finite numbers, low < high, not {range}")
    slack = 1e-3 * (high - low)  # less than half a byte: of rounding, or a resized image
    if smallest < low - slack or largest > high + slack:
        raise UserError(
            f"x has values from {smallest:g} to {largest:g}, outside of range={range}; give the "
            "range that they are in, or x.clip"
            f"({low:g}, {high:g})"
        )
    found = np.empty(x.shape, np.uint8)
    for start in np.arange(0, len(x), LATER):
        part = x[start : start + LATER].astype(np.float64)
        found[start : start + LATER] = np.rint((part - low) * (255 / (high - low))).clip(0, 255)
    return found


def _labels(
    y: np.ndarray, count: int, classes: Sequence[str] | Mapping[int, str] | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The labels (N,) int64 in 0 .. len(names) - 1, and the names."""
    if y.shape != (count,):
        way = ""
        if y.shape == (count, 1):
            way = "; give y[:, 0]"
        elif y.ndim == 2 and len(y) == count:
            way = "; give y.argmax(axis=1) of one-hot labels"
        raise UserError(f"x has {count} samples, but y is {y.shape}, not ({count},){way}")
    if y.dtype.kind == "f":
        raise UserError(f"y holds {y.dtype}, but labels are integers; give y.astype(int)")
    if classes is None:
        values, places = np.unique(y, return_inverse=True)
        return places.astype(np.int64), tuple(str(value) for value in values.tolist())
    named = classes if isinstance(classes, Mapping) else dict(enumerate(classes))
    names = tuple(str(name) for name in named.values())
    if len(set(names)) < len(names):
        raise UserError(f"classes has a name twice: {', '.join(names)}")
    keys = list(named)
    places = np.full(count, -1)
    for place, key in enumerate(keys):
        places[y == key] = place
    if (places < 0).any():
        odd = y[np.argmin(places)].item()
        known = ", ".join(map(str, keys[:10])) + (", ..." if len(keys) > 10 else "")
        raise UserError(
            f"y has the label {odd}, but classes names {known or 'none'}; name each label, or "
            "leave classes out"
        )
    return places.astype(np.int64), names

"""Data sets from arrays: what is taken, what is refused in which sentence, and how they look."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from minigan.data import Batches, Dataset, from_arrays, load
from minigan.errors import UserError

RNG = np.random.default_rng(0)
UNIT = RNG.random((6, 1, 5, 4))
BYTES = np.rint(UNIT * 255).astype(np.uint8)
POINTS = RNG.normal(size=(6, 2))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
@pytest.mark.parametrize("bounds", [(0, 1), (-1, 1), (0.0, 255.0), (-0.5, 0.5)])
def test_floats_in_a_range_become_the_nearest_bytes(
    bounds: tuple[float, float], dtype: Any
) -> None:
    low, high = bounds
    x = (low + (high - low) * (BYTES / 255)).astype(dtype)
    assert (from_arrays(x, range=bounds).x == BYTES).all()


@pytest.mark.parametrize("count", [1, 63, 64, 65])
def test_any_number_of_images_is_converted(count: int) -> None:
    x = RNG.integers(0, 256, (count, 2, 2), np.uint8)
    assert (from_arrays(x / 255, range=(0, 1)).x[:, 0] == x).all()


def test_bytes_are_taken_without_a_copy() -> None:
    assert from_arrays(BYTES).x is BYTES
    assert np.shares_memory(from_arrays(BYTES[:, 0]).x, BYTES)


@pytest.mark.parametrize("x", [BYTES.astype(np.int64), BYTES.astype(np.uint16)])
def test_other_integers_are_taken_with_their_range(x: np.ndarray) -> None:
    assert (from_arrays(x, range=(0, 255)).x == BYTES).all()
    assert from_arrays(UNIT > 0.5, range=(0, 1)).x.max() == 255


def test_points_become_float32() -> None:
    found = from_arrays(POINTS)
    assert found.x.dtype == np.float32
    assert (found.x == POINTS.astype(np.float32)).all()
    assert not found.is_image


class OfAnotherLibrary:
    """An array such as PyTorch's."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return POINTS


def test_what_numpy_can_read_is_taken() -> None:
    assert len(from_arrays(OfAnotherLibrary())) == 6
    assert len(from_arrays(POINTS.tolist(), list("aabbab"))) == 6


@pytest.mark.parametrize("dtype", ["i1", "u1", "i4", "u8", ">i2"])
def test_labels_of_any_integers_are_classes(dtype: str) -> None:
    values = [3, 100, 3, 7, 100, 3]
    found = from_arrays(BYTES, np.array(values, dtype))
    assert found.classes == ("3", "7", "100")
    assert found.y is not None
    assert found.y.dtype == np.int64
    assert [found.classes[label] for label in found.y] == list(map(str, values))


def test_labels_may_be_negative_or_words() -> None:
    assert from_arrays(BYTES, [1, -1] * 3).classes == ("-1", "1")
    assert from_arrays(BYTES, ["cat", "ant"] * 3).histogram() == {"ant": 3, "cat": 3}
    assert from_arrays(BYTES, [True, False] * 3).classes == ("False", "True")


def test_classes_may_be_named() -> None:
    found = from_arrays(BYTES, [0, 2] * 3, classes=["zero", "one", "two"])
    assert found.histogram() == {"zero": 3, "one": 0, "two": 3}
    assert from_arrays(BYTES, [5, -1] * 3, classes={-1: "no", 5: "yes"}).histogram() == {
        "no": 3,
        "yes": 3,
    }


class Samples:
    """A data set such as PyTorch's."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, i: int) -> Any:
        return BYTES[i], 0


REFUSED = {
    "floats without a range": ([UNIT], {}, "holds float64 from 0.0|range=(0, 1)"),
    "floats of both signs": ([UNIT - 0.5], {}, "range=(-1, 1)"),
    "integers": ([BYTES.astype(int)], {}, "range=(0, 255)"),
    "out of the range": ([2 * UNIT - 1], {"range": (0, 1)}, "x.clip(0, 1)"),
    "no range": ([UNIT], {"range": 1}, "two numbers, such as (0, 1), not 1"),
    "range turned round": ([UNIT], {"range": (1, 0)}, "low < high"),
    "range of bytes": ([BYTES], {"range": (0, 1)}, "leave range out"),
    "range of points": ([POINTS], {"range": (0, 1)}, "leave out range"),
    "channels last": ([RNG.random((6, 8, 8, 3))], {}, "give x.transpose(0, 3, 1, 2)"),
    "transparent": ([RNG.random((6, 8, 8, 4))], {}, "x[..., :3].transpose(0, 3, 1, 2)"),
    "many channels": ([RNG.random((6, 5, 8, 8))], {}, "x[:, :3]"),
    "flat images": ([BYTES.reshape(6, -1)], {}, "x.reshape(N, 1, H, W)"),
    "one sample": ([UNIT[0, 0, 0]], {}, "not (4,)"),
    "nothing": ([UNIT[:0]], {}, "empty: (0, 1, 5, 4)"),
    "not finite": ([np.array([[0.0], [np.inf]])], {}, "x[1] has a value that is not finite"),
    "too large": ([np.array([[1e300]])], {}, "float32 cannot hold"),
    "complex": ([POINTS * 1j], {}, "not complex128"),
    "ragged": ([[[1.0], [1.0, 2.0]]], {}, "does not become a NumPy array"),
    "samples": ([Samples()], {}, "of type Samples|np.stack"),
    "a name": (["mnist"], {}, "of type str; gather its samples into one NumPy array"),
    "one-hot": ([BYTES, np.eye(6)], {}, "y.argmax(axis=1)"),
    "a column": ([BYTES, np.zeros((6, 1), int)], {}, "y[:, 0]"),
    "few labels": ([BYTES, [1, 2]], {}, "6 samples, but y is (2,)"),
    "float labels": ([BYTES, np.zeros(6)], {}, "y.astype(int)"),
    "unnamed": ([BYTES, [0, 1] * 3], {"classes": ["no"]}, "the label 1, but classes names 0;"),
    "named twice": ([BYTES, [0, 1] * 3], {"classes": ["a", "a"]}, "twice: a, a"),
    "names alone": ([BYTES], {"classes": ["a"]}, "give the labels y too"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_rest_is_refused_with_the_way_out(case: str) -> None:
    given, options, says = REFUSED[case]
    with pytest.raises(UserError) as refused:
        from_arrays(*given, **options)
    text = str(refused.value)
    assert "\n" not in text
    assert all(part in text for part in says.split("|")), text


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [(-2.99, 2.7, (-3, 3)), (-0.5, 1.5, (-1, 2)), (3, 3, (0, 255)), (-7, -7, (-7, -6))],
)
def test_the_range_that_is_suggested_is_taken(
    low: float, high: float, says: tuple[int, int]
) -> None:
    x = np.linspace(low, high, 24).reshape(6, 1, 2, 2)
    with pytest.raises(UserError, match=re.escape(f"range={says}, say")):
        from_arrays(x)
    assert from_arrays(x, range=says).x.dtype == np.uint8


# --- A data set in the hand --------------------------------------------------------------------


def test_a_data_set_is_indexed() -> None:
    found = load("glyphs")
    x, label = found[3]
    assert x.shape == (1, 28, 28)
    assert type(label) is int
    assert (found[-1][0] == found.x[-1]).all()
    some = found[found.y == 4]
    assert isinstance(some, Dataset)
    assert some.histogram()["4"] == len(some) == 1200
    assert some.factors["slant"].shape == (1200,)
    assert [len(found[index]) for index in (slice(5), [1, 2], np.arange(3))] == [5, 2, 3]
    assert from_arrays(POINTS)[2].tolist() == POINTS[2].astype(np.float32).tolist()


def test_iterating_over_a_data_set_ends() -> None:
    assert [label for _, label in from_arrays(BYTES, [0, 1] * 3)] == [0, 1, 0, 1, 0, 1]
    assert len(list(from_arrays(POINTS))) == 6


@pytest.mark.parametrize(
    ("index", "kind", "says"),
    [
        (6, IndexError, "arrays has 6 samples"),
        ([0, 9], IndexError, "arrays has 6 samples"),
        ("x", TypeError, "sample i is dataset"),
        ((0, 1), TypeError, None),
        (1.0, TypeError, "an integer, a slice"),
        (slice(0), UserError, "empty"),
    ],
)
def test_what_is_no_index_is_refused(index: Any, kind: type[Exception], says: str | None) -> None:
    found = from_arrays(BYTES)
    if says is None:  # a tuple of integers is an array of indices
        assert len(found[index]) == 2
        return
    with pytest.raises(kind, match=says):
        found[index]


def test_labels_of_any_integer_type_are_taken() -> None:
    found = Dataset("mine", BYTES, np.zeros(6, np.int32), ("a",))
    assert found.y is not None
    assert found.y.dtype == np.int64
    with pytest.raises(UserError, match="from_arrays takes other"):
        Dataset("mine", UNIT)


def test_data_show_themselves_in_a_line() -> None:
    assert repr(from_arrays(BYTES, [0, 1] * 3, name="mine")) == (
        "<Dataset mine: 6 images (1, 5, 4), 2 classes: 0, 1>"
    )
    assert repr(from_arrays(POINTS)) == "<Dataset arrays: 6 points (2,)>"
    assert repr(from_arrays(BYTES, [0] * 6)).endswith("1 class: 0>")
    for name in ("glyphs", "ring"):
        assert len(repr(load(name))) < 150


@pytest.mark.parametrize("x", [BYTES, BYTES.repeat(2, axis=1), BYTES.repeat(3, axis=1)])
def test_a_notebook_shows_images(x: np.ndarray) -> None:
    page = from_arrays(x, name="<b>")._repr_html_()
    assert page.count("<img ") == 1
    assert "&lt;b&gt;: 6 images" in page


def test_a_notebook_shows_points() -> None:
    assert from_arrays(POINTS)._repr_html_().count("<circle ") == 6
    assert "<svg" not in from_arrays(POINTS[:, :1])._repr_html_()
    assert from_arrays(np.zeros((3, 2)))._repr_html_().count("<circle ") == 3


def test_an_epoch_of_batches_ends() -> None:
    found = Batches(from_arrays(BYTES), 2, seed=0, output_range=(0, 1))
    assert len(found) == 3
    whole = list(found.epoch())
    assert len(whole) == 3
    assert found.position == 3
    next(found)
    assert len(list(found.epoch())) == 2
    assert found.position == 6
    assert all((a == found.at(i)[0]).all() for i, a in enumerate(whole))

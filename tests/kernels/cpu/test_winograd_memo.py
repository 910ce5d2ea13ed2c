"""What Winograd keeps with frozen arrays: transformed once, and never stale."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import minigan_kernels as kernels
import numpy as np
import pytest
from calls import laid
from minigan_kernels import memo
from minigan_kernels.checks import Window
from minigan_kernels.cpu.conv import winograd
from minigan_kernels.cpu.conv.winograd import weight_cache
from test_winograd import BOTH_TILES, FULL, Arrays, Layer, by, same_bytes


class Kept(NamedTuple):
    """Frozen arrays of a layer, and what the kernels transformed, with its bytes."""

    layer: Layer
    arrays: Arrays
    transformed: list[tuple[str, int]]

    def bytes_of(self, name: str) -> list[int]:
        return [size for found, size in self.transformed if found == name]

    def names(self) -> list[str]:
        return sorted(name for name, _ in self.transformed)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Kept:
    return watched(FULL, monkeypatch)


def watched(layer: Layer, monkeypatch: pytest.MonkeyPatch) -> Kept:
    transformed: list[tuple[str, int]] = []

    def recorded(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def transform(*args: Any) -> Any:
            out = real(*args)
            transformed.append((name, out.nbytes))
            return out

        return transform

    for name in ("_transform_tiles", "_transform_weights"):
        monkeypatch.setattr(winograd, name, recorded(name, getattr(winograd, name)))
    arrays = layer.arrays()
    for array in arrays:
        memo.freeze(array)
    return Kept(layer, arrays, transformed)


@pytest.mark.parametrize(("images", "times"), [(64, 0), (128, 2)])
def test_weights_for_few_tiles_are_never_kept_transformed(
    images: int, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would take 100 / 16 of the weights' memory, and the deepest layers have most weights."""
    one_tile_an_image = Layer((images, 16, 8, 8), 16, Window((4, 4), (2, 2), (1, 1), (1, 1)))
    kept = watched(one_tile_an_image, monkeypatch)
    by("winograd", kept.layer, kept.arrays)
    assert len(kept.bytes_of("_transform_weights")) == times


def test_the_weights_kept_transformed_are_those_made_last(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory for two: of three that are used in turn, the first is transformed again."""
    x, w, _ = kept.arrays
    stride, padding = kept.layer.window.stride, kept.layer.window.padding
    weights = [w * factor for factor in (1, 2, 4)]
    for array in weights:
        memo.freeze(array)

    def use(i: int) -> int:
        kept.transformed.clear()
        kernels.conv2d(x, weights[i], stride=stride, padding=padding)
        return len(kept.bytes_of("_transform_weights"))

    with kernels.use("winograd"):
        assert use(0) == 1
        (size,) = kept.bytes_of("_transform_weights")
        monkeypatch.setattr(weight_cache, "MOST_BYTES", 2 * size)
        assert [use(i) for i in (1, 0, 2, 1, 2, 0, 1)] == [1, 0, 1, 0, 0, 1, 1]


def test_weights_that_were_written_do_not_count(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was kept before a write is gone: it must not count, nor take with it what came after."""
    x, w, _ = kept.arrays
    stride, padding = kept.layer.window.stride, kept.layer.window.padding
    weights = [w * factor for factor in (1, 2)]
    for array in weights:
        memo.freeze(array)
    with kernels.use("winograd"):
        for _ in range(5):
            kept.transformed.clear()
            for array in (*weights, *weights):
                kernels.conv2d(x, array, stride=stride, padding=padding)
            size, _ = kept.bytes_of("_transform_weights")
            monkeypatch.setattr(weight_cache, "MOST_BYTES", 3 * size)
            with memo.writable(*weights):
                for array in weights:
                    array *= 2


@BOTH_TILES
def test_frozen_arrays_are_transformed_once(algorithm: str, kept: Kept) -> None:
    bare = by(algorithm, kept.layer, tuple(laid(a, "channels last") for a in kept.arrays))
    # x and g for two directions each, and w in two ways.
    assert kept.names() == ["_transform_tiles"] * 4 + ["_transform_weights"] * 2
    kept.transformed.clear()
    same_bytes(by(algorithm, kept.layer, kept.arrays), bare)
    assert kept.names() == ["_transform_tiles"] * 2 + ["_transform_weights"] * 2
    same_bytes(by(algorithm, kept.layer, kept.arrays), bare)
    assert len(kept.transformed) == 4


@pytest.mark.parametrize("spoilt", range(3))
def test_what_was_derived_is_forgotten_when_its_array_is_written(spoilt: int, kept: Kept) -> None:
    before = by("winograd", kept.layer, kept.arrays)
    with memo.writable(kept.arrays[spoilt]):
        kept.arrays[spoilt][...] *= 2  # exact, in every transform and product
    after = by("winograd", kept.layer, kept.arrays)
    for i, (new, old) in enumerate(zip(after, before, strict=True)):
        uses = {0: (0, 1), 1: (1, 2), 2: (0, 2)}[i]
        np.testing.assert_array_equal(new, 2 * old if spoilt in uses else old)


@pytest.mark.parametrize("spoilt", range(3))
def test_nothing_stale_of_arrays_that_anybody_may_write(spoilt: int) -> None:
    arrays = FULL.arrays()
    by("winograd", FULL, arrays)
    arrays[spoilt][...] = FULL.arrays(seed=1)[spoilt]
    fresh = tuple(laid(a, "channels last") for a in arrays)
    same_bytes(by("winograd", FULL, arrays), by("winograd", FULL, fresh))

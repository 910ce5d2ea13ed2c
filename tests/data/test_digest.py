"""The digest of a data set tells whether a run would learn from something else."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import numpy as np
import pytest

from minigan.data import Dataset, dataset, load


def images(**changes: Any) -> Dataset:
    x = np.arange(6 * 2 * 4 * 4, dtype=np.uint8).reshape(6, 2, 4, 4)
    y = np.arange(6, dtype=np.int64) % 3
    made = Dataset("some", x, y, ("a", "b", "c"))
    return dataclasses.replace(made, **changes)


def test_digest_is_of_the_bytes_after_a_head() -> None:
    data = images()
    assert data.y is not None
    head = (
        b'{"arrays": [["|u1", [6, 2, 4, 4]], ["<i8", [6]]], '
        b'"classes": ["a", "b", "c"], "parts": []}'
    )
    expected = hashlib.sha256(head + data.x.tobytes() + data.y.tobytes()).hexdigest()
    assert data.digest() == expected == images().digest()


def exchanged(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x[[0, 5]] = x[[5, 0]]
    return x


DATA = images()
LABELS = np.arange(6, dtype=np.int64)[::-1] % 3
OTHERS = {
    "one pixel": {"x": DATA.x ^ (np.arange(192).reshape(DATA.x.shape) == 191).astype(np.uint8)},
    "the order": {"x": exchanged(DATA.x)},
    "the shape": {"x": DATA.x.reshape(6, 2, 2, 8)},
    "the labels": {"y": LABELS},
    "no labels": {"y": None},
    "names of classes": {"classes": ("a", "c", "b")},
    "another class": {"classes": ("a", "b", "c", "d")},
    "a split name": {"classes": ('a", "b', "b", "c")},
    "a name that is not UTF-8": {"classes": ("caf\udce9", "b", "c")},
    "parts": {"parts": ("0", "1")},
    "fewer": {"x": DATA.x[:5], "y": LABELS[:5]},
}


@pytest.mark.parametrize("changes", OTHERS.values(), ids=OTHERS)
def test_digest_tells_other_content(changes: dict[str, Any]) -> None:
    assert images(**changes).digest() != DATA.digest()


def test_digests_of_all_contents_differ() -> None:
    assert len({images(**changes).digest() for changes in OTHERS.values()}) == len(OTHERS)


def test_digest_ignores_what_no_run_sees() -> None:
    factors = {"slant": np.zeros(6, np.float32)}
    assert images(name="other", factors=factors).digest() == DATA.digest()


def test_digest_is_of_the_values_whatever_the_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    turned = np.asfortranarray(DATA.x)
    assert images(x=turned).digest() == DATA.digest()
    monkeypatch.setattr(dataset, "_HASHED", 70)  # two images at once, with a rest
    assert images(x=turned).digest() == DATA.digest()


def test_digest_of_points() -> None:
    points = load("ring")
    assert points.digest() == load("ring").digest()
    assert points.digest() != load("ring", seed=1).digest()
    nearly = points.x.copy()
    nearly[-1, -1] = np.nextafter(nearly[-1, -1], np.float32(9))
    assert dataclasses.replace(points, x=nearly).digest() != points.digest()
    assert load("ring", split="test").digest() != points.digest()

"""Pictures as the report has them: smaller than the files, and looking the same."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minigan.viz.embed import Embedded, embedded, evenly, spread
from minigan.viz.grid import CAPTION_HEIGHT, GAP, image_grid, save_grid, with_headings

RNG = np.random.default_rng(0)


def decoded(picture: Embedded) -> np.ndarray:
    with Image.open(io.BytesIO(picture.content)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def saved(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid_is_kept_exactly_at_its_own_size(tmp_path: Path, channels: int) -> None:
    images = RNG.uniform(-1, 1, (64, channels, 28, 28))
    save_grid(tmp_path / "grid.png", images, value_range=(-1, 1))
    found = embedded(tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as image:
        before = np.asarray(image)
        assert (found.width, found.height) == image.size
    if channels == 1:
        assert found.pixelated
        np.testing.assert_array_equal(decoded(found).repeat(2, 0).repeat(2, 1), before)
        assert found.media_type == "image/png"
    assert len(found.content) < 0.75 * (tmp_path / "grid.png").stat().st_size


def test_a_large_picture_loses_a_little(tmp_path: Path) -> None:
    x, y = np.mgrid[:600, :600]
    smooth = np.stack([x % 256, (x + y) % 256, y % 256], axis=-1) + RNG.integers(
        0, 8, (600, 600, 1)
    )
    path = saved(tmp_path / "large.png", smooth.clip(0, 255).astype(np.uint8))
    found = embedded(path)
    assert found.media_type in ("image/webp", "image/jpeg")
    assert len(found.content) < 0.3 * path.stat().st_size
    assert np.abs(decoded(found) - smooth.clip(0, 255)).mean() < 8


def test_few_colours_are_kept(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 2, (50, 41, 3)).astype(np.uint8) * 200
    path = saved(tmp_path / "few.png", pixels)
    np.testing.assert_array_equal(decoded(embedded(path)), pixels)


def test_a_picture_that_changes_is_read_again(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", np.zeros((8, 9, 3), np.uint8))
    assert decoded(embedded(path)).max() == 0
    saved(path, np.full((8, 9, 3), 200, np.uint8))
    os.utime(path, ns=(1, 1))
    assert decoded(embedded(path)).min() == 200


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_what_is_no_picture_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"odd\.png is not a whole PNG"):
        embedded(path)
    assert spread([path, path], 100) == [0, 1]
    with pytest.raises(FileNotFoundError):
        embedded(tmp_path / "missing.png")


def test_pictures_are_chosen_so_that_they_fit(tmp_path: Path) -> None:
    noise = [RNG.integers(0, 256, (64, 64, 3)).astype(np.uint8) for _ in range(20)]
    paths = [saved(tmp_path / f"{i}.png", pixels) for i, pixels in enumerate(noise)]
    size = len(embedded(paths[0], exactly=False).content)
    assert spread(paths, 40 * size) == list(range(20))
    some = spread(paths, 6 * size)
    assert 4 <= len(some) <= 7
    assert (some[0], some[-1]) == (0, 19)
    assert spread(paths, 0) == [0, 19]
    assert spread([], 0) == []
    assert evenly(1, 40) == [0]


def test_headings_stand_above_their_columns() -> None:
    grid = image_grid(np.zeros((4, 1, 28, 28)), value_range=(0, 1), columns=2, scale=2)
    picture = with_headings(grid, ["", "T-shirt/top, with a long name"])
    pixels, width = np.asarray(picture), grid.width
    np.testing.assert_array_equal(pixels[CAPTION_HEIGHT:], np.asarray(grid))
    strip = pixels[:CAPTION_HEIGHT]
    assert (strip[:, : width // 2] == GAP).all()
    assert strip[:, width // 2 :].max() > 150
    assert (strip[:, -2:] == GAP).all()  # cut to its column


def test_a_film_of_before_gets_no_headings(tmp_path: Path) -> None:
    images = np.zeros((4, 1, 8, 8))
    old, new, first = (tmp_path / f"{name}.png" for name in ("old", "new", "first"))
    save_grid(old, images, value_range=(0, 1), columns=2)
    save_grid(new, images, value_range=(0, 1), headings=["a", "b"], like=old)
    assert new.read_bytes() == old.read_bytes()
    save_grid(first, images, value_range=(0, 1), headings=["a", "b"])
    save_grid(new, images, value_range=(0, 1), headings=["a", "b"], like=first)
    assert new.read_bytes() == first.read_bytes() != old.read_bytes()
    old.write_bytes(b"no picture")
    save_grid(new, images, value_range=(0, 1), headings=["a", "b"], like=old)
    assert new.read_bytes() == first.read_bytes()

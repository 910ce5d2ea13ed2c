"""Pictures: what is in them, that they are the same twice, and that bad input is named."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
import tiny
from PIL import Image

import minigan as mg
from minigan.viz.animation import save_animation
from minigan.viz.figure1 import density_of, optimal_discriminator, save_figure1
from minigan.viz.grid import GAP, image_grid, save_grid, save_images
from minigan.viz.plots import save_class_histogram, save_losses, save_points
from minigan.viz.series import running_mean


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).copy()


def count_of(path: Path, colour: str) -> int:
    """Count the pixels of exactly one colour, given as #rrggbb."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return int((pixels(path) == rgb).all(axis=-1).sum())


def normal(x: np.ndarray, mean: float, std: float) -> np.ndarray:
    return np.exp(-0.5 * ((x - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi))


def assert_same_bytes(write, tmp_path: Path, suffix: str = ".png") -> Path:
    first, second = tmp_path / f"first{suffix}", tmp_path / f"second{suffix}"
    write(first)
    write(second)
    assert first.read_bytes() == second.read_bytes()
    for trace in (b"Software", b"matplotlib", b"tEXt", b"tIME"):
        assert trace not in first.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"first{suffix}", f"second{suffix}"]
    return first


# Grids


def test_grid_puts_every_image_at_its_place_and_enlarges_it():
    images = np.zeros((5, 3, 2, 3))
    for i in range(5):
        images[i, :, 0, 0] = [i / 10, 1, -1]  # (R, G, B) of the upper left pixel
    grid = image_grid(images, value_range=(-1, 1), columns=2, padding=3, scale=4)
    assert grid.mode == "RGB"
    assert grid.size == (2 * (3 + 3 * 4) + 3, 3 * (3 + 2 * 4) + 3)
    got = np.asarray(grid)
    for i in range(5):
        top, left = 3 + (i // 2) * 11, 3 + (i % 2) * 15
        red = np.rint((i / 10 + 1) / 2 * 255)
        assert (got[top : top + 4, left : left + 4] == [red, 255, 0]).all()
        assert (got[top : top + 4, left + 4 : left + 12] == 128).all()
    assert (got[:3] == GAP).all()
    assert (got[:, -3:] == GAP).all()
    assert (got[3 + 2 * 11 :, 15:] == GAP).all()  # the cell that has no image


def test_grid_takes_a_tensor_where_nothing_is_recorded():
    images = np.linspace(-1, 1, 16, dtype=np.float32).reshape(1, 1, 4, 4)
    with mg.no_grad():
        grid = mg.viz.grid.image_grid(mg.Tensor(images), value_range=(-1, 1))
    assert grid.tobytes() == image_grid(images, value_range=(-1, 1)).tobytes()
    with pytest.raises(TypeError, match=r"say x\.numpy\(\)"):
        image_grid(mg.Tensor(images), value_range=(-1, 1))


def test_grid_shows_one_channel_as_grey_in_rgb():
    images = np.array([0, 100, 255, 7], np.uint8).reshape(1, 1, 2, 2)
    grid = np.asarray(image_grid(images, value_range=(0, 255), padding=0, scale=1))
    assert grid.tolist() == [[[0] * 3, [100] * 3], [[255] * 3, [7] * 3]]


@pytest.mark.parametrize(
    ("value_range", "values", "expected"),
    [
        ((-1, 1), [-1, 0, 1, 0.5, -7, 9], [0, 128, 255, 191, 0, 255]),
        ((0, 1), [0, 0.5, 1, 0.2, -7, 9], [0, 128, 255, 51, 0, 255]),
        ((-3, 7), [-3, 2, 7, 0, -7, 9], [0, 128, 255, 76, 0, 255]),
    ],
)
def test_grid_maps_the_range_and_clips(value_range, values, expected):
    images = np.array(values, np.float32).reshape(6, 1, 1, 1)
    grid = image_grid(images, value_range=value_range, columns=6, padding=0, scale=1)
    assert np.asarray(grid)[0, :, 0].tolist() == expected


def test_bytes_survive_the_round_through_floats():
    images = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    floats = images.astype(np.float32) / np.float32(127.5) - 1
    grid = image_grid(floats, value_range=(-1, 1), padding=0, scale=1)
    assert (np.asarray(grid)[..., 0] == images[0, 0]).all()


@pytest.mark.parametrize(("size", "scale"), [(28, 2), (32, 2), (64, 1), (8, 8), (200, 1)])
def test_grid_chooses_scale_and_columns(size, scale):
    grid = image_grid(np.zeros((16, 1, size, size)), value_range=(-1, 1), padding=0)
    assert grid.size == (4 * size * scale, 4 * size * scale)


def test_labels_are_drawn_below_their_cells_only():
    images = np.zeros((3, 1, 8, 8), np.uint8)
    bare = np.asarray(image_grid(images, value_range=(0, 255), labels=["", "", ""], columns=3))
    named = np.asarray(image_grid(images, value_range=(0, 255), labels=["", 7, ""], columns=3))
    differs = (bare != named).any(axis=-1)
    rows, columns = np.nonzero(differs)
    assert differs.any()
    assert rows.min() >= 2 + 64
    assert 2 + 66 <= columns.min() <= columns.max() < 2 + 66 + 64


def _with(value: float) -> np.ndarray:
    images = np.zeros((4, 1, 2, 2), np.float32)
    images[2, 0, 1, 1] = value
    return images


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (np.zeros((2, 8, 8)), {}, r"shape \(N, C, H, W\)"),
        (np.zeros((2, 4, 8, 8)), {}, "1 to 3 channels"),
        (np.zeros((0, 1, 8, 8)), {}, "shape"),
        (np.zeros((1, 1, 2, 2)), {"value_range": (1, 1)}, "low < high"),
        (np.zeros((1, 1, 2, 2)), {"value_range": (0, np.nan)}, "finite"),
        (np.zeros((1, 1, 2, 2), np.uint8), {}, r"uint8 images have the value_range \(0, 255\)"),
        (np.zeros((1, 1, 2, 2), np.int64), {}, "not int64"),
        (_with(np.nan), {}, "image 2 contains NaN"),
        (_with(np.inf), {}, "image 2 contains an infinite value"),
        (np.zeros((1, 1, 2, 2)), {"columns": 0}, "columns=0"),
        (np.zeros((1, 1, 2, 2)), {"scale": 0}, "scale=0"),
        (np.zeros((1, 1, 2, 2)), {"padding": -1}, "padding=-1"),
        (np.zeros((3, 1, 2, 2)), {"labels": ["a"]}, "3 images need 3 labels"),
    ],
)
def test_grid_names_what_is_wrong_and_writes_nothing(tmp_path, images, options, message):
    with pytest.raises(ValueError, match=message):
        save_grid(tmp_path / "grid.png", images, **{"value_range": (-1, 1)} | options)
    if options.keys() <= {"value_range"}:
        with pytest.raises(ValueError, match=message):
            save_images(tmp_path / "new", images, **{"value_range": (-1, 1)} | options)
    assert list(tmp_path.iterdir()) == []


def test_saved_grid_is_the_grid(tmp_path):
    images = np.random.default_rng(0).uniform(-1, 1, (6, 3, 8, 8))
    options = {"value_range": (-1, 1), "columns": 4, "padding": 1, "scale": 3, "labels": range(6)}
    path = assert_same_bytes(lambda p: save_grid(p, images, **options), tmp_path)
    assert (pixels(path) == np.asarray(image_grid(images, **options))).all()


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_single_images_keep_size_and_values(tmp_path, channels, mode):
    images = np.random.default_rng(1).integers(0, 256, (11, channels, 5, 7)).astype(np.uint8)
    paths = save_images(tmp_path / "new" / "folder", images, value_range=(0, 255))
    assert [p.name for p in paths] == [f"{i:04d}.png" for i in range(11)]
    for path, image in zip(paths, images, strict=True):
        with Image.open(path) as opened:
            assert opened.mode == mode
            got = np.asarray(opened).reshape(5, 7, channels)
        assert (got == image.transpose(1, 2, 0)).all()


# Plots


BLUE, GREEN, PINK, ORANGE = "#0072B2", "#009E73", "#CC79A7", "#E69F00"


@pytest.mark.parametrize("count", [1, 2, 100])
def test_losses_draw_every_player_and_the_outputs(tmp_path, count):
    both = assert_same_bytes(lambda p: save_losses(p, tiny.rows(count), title="t"), tmp_path)
    assert count_of(both, BLUE) > 20
    assert count_of(both, GREEN) > 20
    assert count_of(both, PINK) == 0
    only = tmp_path / "only.png"
    save_losses(only, [{"step": 1, "loss_Q": 2.0}], title="t")
    assert count_of(only, PINK) > 20
    assert count_of(only, BLUE) == count_of(only, GREEN) == 0
    assert pixels(only).shape[0] < pixels(both).shape[0]  # no panel for the outputs of D


def test_losses_bear_holes(tmp_path):
    rows = tiny.rows(60)
    for i, row in enumerate(rows):
        if i % 3 == 0:
            del row["loss_G"]
        if i % 4 == 0:
            row["loss_D"] = None
        if i > 40:
            row["D(x)"] = float("nan")
    save_losses(tmp_path / "holes.png", rows, title="holes")
    assert count_of(tmp_path / "holes.png", GREEN) > 100
    save_losses(tmp_path / "nan.png", [{"step": 1, "loss_D": float("inf")}], title="nan")
    save_losses(tmp_path / "none.png", [], title="none")
    assert (tmp_path / "none.png").stat().st_size > 0
    with pytest.raises(ValueError, match='"step"'):
        save_losses(tmp_path / "bad.png", [{"loss_D": 1.0}], title="bad")
    assert not (tmp_path / "bad.png").exists()


def test_a_loss_that_is_lost_is_marked(tmp_path):
    rows = tiny.rows(60)
    save_losses(tmp_path / "fine.png", rows, title="t")
    for row in rows[30:]:
        row["loss_G"] = float("nan")
    save_losses(tmp_path / "lost.png", rows, title="t")
    heights = []
    for name in ("fine.png", "lost.png"):
        red, green, blue = pixels(tmp_path / name).astype(int).transpose(2, 0, 1)
        heights.append(((green - red > 60) & (green - blue > 20)).sum(axis=0).max())
    assert heights[1] > 2 * heights[0]  # a vertical line in the colour of G


def test_half_is_marked_for_probabilities_only(tmp_path):
    rows = [{"step": i, "D(x)": 0.9, "loss_D": 1.0} for i in range(5)]
    save_losses(tmp_path / "p.png", rows, title="t")
    save_losses(tmp_path / "score.png", [row | {"D(x)": 9.0} for row in rows], title="t")
    longest = []
    for name in ("p.png", "score.png"):
        picture = pixels(tmp_path / name).astype(int)
        grey = (picture.max(axis=-1) < 190) & (np.ptp(picture, axis=-1) < 30)
        longest.append(grey.sum(axis=1).max())
    assert longest[0] > 400 > longest[1]  # the dashes, against a line of text


def test_running_mean():
    values = np.array([1.0, 2, 3, np.nan, 5, np.inf, 7])
    np.testing.assert_allclose(running_mean(values, 1), [1, 2, 3, np.nan, 5, np.nan, 7])
    np.testing.assert_allclose(running_mean(values, 3), [1.5, 2, 2.5, np.nan, 5, np.nan, 7])
    np.testing.assert_allclose(running_mean(values, 4), running_mean(values, 3))
    np.testing.assert_allclose(running_mean(np.full(9, 1e30), 5), 1e30)
    np.testing.assert_allclose(running_mean(np.array([4.0]), 99), [4])


def test_histogram_bars_are_as_long_as_the_counts(tmp_path):
    counts = {"cat": 400, "dog": 200, "<b>": 0}
    path = assert_same_bytes(lambda p: save_class_histogram(p, counts), tmp_path)
    bars = (pixels(path) == [0x56, 0xB4, 0xE9]).all(axis=-1)
    lengths = bars.sum(axis=1)
    longest = np.sort(np.unique(lengths[lengths > 10]))
    assert longest[-1] / longest[0] == pytest.approx(2, abs=0.03)
    many = {str(i): 5 for i in range(1000)}
    save_class_histogram(tmp_path / "many.png", many)
    assert count_of(tmp_path / "many.png", "#56B4E9") > 10_000
    with pytest.raises(ValueError, match="at least one class"):
        save_class_histogram(tmp_path / "bad.png", {})
    with pytest.raises(ValueError, match="-3 samples"):
        save_class_histogram(tmp_path / "bad.png", {"a": -3})


def test_points_keep_their_frame_and_count_what_lies_outside(tmp_path):
    rng = np.random.default_rng(0)
    real, modes = rng.normal(size=(200, 2)), np.array([[0.0, 0.0]])
    fake = rng.normal(size=(300, 2))
    path = assert_same_bytes(lambda p: save_points(p, real, fake, modes=modes), tmp_path)
    assert count_of(path, "#D55E00") > 5  # the mode
    far = tmp_path / "far.png"
    save_points(far, real, fake + 1e6)
    near = tmp_path / "near.png"
    save_points(near, real, fake[:1] * 0 + real[:1])
    height = pixels(far).shape[0]
    ticks = slice(int(height * 0.96), None)  # the numbers below the axis do not follow `fake`
    assert (pixels(far)[ticks] == pixels(near)[ticks]).all()
    with pytest.raises(ValueError, match=r"fake must have the shape \(N, 2\)"):
        save_points(far, real, fake[:, 0])
    fake[7, 1] = np.nan
    with pytest.raises(ValueError, match="fake is not finite at point 7"):
        save_points(far, real, fake)
    with pytest.raises(ValueError, match="at least one point"):
        save_points(far, real[:0], real)
    save_points(tmp_path / "one.png", real[:1], fake[:0])  # one point, nothing generated yet


# Figure 1


def test_optimal_discriminator_is_the_formula():
    x = np.linspace(-6, 6, 301)
    p_data, p_g = normal(x, -1, 1), normal(x, 1, 1)
    optimum = optimal_discriminator(p_data, p_g)
    # Equal variances: the log-odds are linear, log p_data - log p_g = -2 x.
    np.testing.assert_allclose(optimum, 1 / (1 + np.exp(2 * x)), rtol=1e-12)
    np.testing.assert_array_equal(optimal_discriminator(p_g, p_g), 0.5)


def test_optimal_discriminator_where_densities_vanish():
    nan = float("nan")
    p_data, p_g = np.array([0.0, 0, 2, 3, nan]), np.array([0.0, 1, 0, 1, 0])
    np.testing.assert_array_equal(optimal_discriminator(p_data, p_g), [0.5, 0, 1, 0.75, nan])
    with pytest.raises(ValueError, match="negative"):
        optimal_discriminator(np.array([-1.0]), np.array([1.0]))
    with pytest.raises(ValueError, match="different shapes"):
        optimal_discriminator(np.ones(2), np.ones(3))


def test_density_of_known_normal():
    quantiles = (np.arange(20_000) + 0.5) / 20_000
    samples = np.array([NormalDist(0.5, 0.8).inv_cdf(q) for q in quantiles])
    x = np.linspace(-4, 5, 600)
    density = density_of(samples, x)
    assert np.trapezoid(density, x) == pytest.approx(1, abs=1e-4)
    # A normal smoothed by a normal kernel is a normal again, with the variances added.
    h = 0.9 * 0.8 * 20_000**-0.2
    np.testing.assert_allclose(density, normal(x, 0.5, np.hypot(0.8, h)), atol=2e-3)
    np.testing.assert_allclose(
        density_of(samples, x, bandwidth=0.6), normal(x, 0.5, 1.0), atol=1e-4
    )


def test_density_is_the_mean_of_kernels():
    samples, x = np.array([0.0, 1.0, 4.0], np.float32), np.array([0.0, 2.0])
    expected = np.mean([normal(x, s, 0.5) for s in samples], axis=0)
    np.testing.assert_allclose(density_of(samples, x, bandwidth=0.5), expected)


def test_bandwidth_without_quartiles_comes_from_the_standard_deviation():
    samples, x = np.array([0.0] * 80 + [10.0] * 20), np.linspace(-10, 20, 300)
    expected = density_of(samples, x, bandwidth=0.9 * 4.0 * 100**-0.2)
    np.testing.assert_allclose(density_of(samples, x), expected, rtol=1e-12)


def test_density_in_chunks_is_the_same(monkeypatch):
    samples, x = np.random.default_rng(0).normal(size=1000), np.linspace(-3, 3, 50)
    whole = density_of(samples, x)
    monkeypatch.setattr("minigan.viz.figure1.CHUNK", 50 * 7)
    np.testing.assert_allclose(density_of(samples, x), whole, rtol=1e-12)


def test_density_of_a_collapsed_generator_still_integrates_to_one():
    x = np.linspace(-4, 4, 200)
    for samples in (np.full(500, 0.7), np.array([0.7] * 400 + [0.9] * 100), np.array([0.7])):
        assert np.trapezoid(density_of(samples, x), x) == pytest.approx(1, abs=1e-6)
    with pytest.raises(ValueError, match="bandwidth must be positive"):
        density_of(np.full(5, 0.7), x[:1])
    with pytest.raises(ValueError, match="bandwidth must be positive"):
        density_of(np.arange(5.0), x, bandwidth=0)
    with pytest.raises(ValueError, match="sample 1 is not finite"):
        density_of(np.array([0, np.nan]), x)
    with pytest.raises(ValueError, match="one-dimensional"):
        density_of(np.zeros((5, 1)), x)


def _figure1() -> dict:
    x = np.linspace(-4, 4, 120)
    p_data, p_g, z = normal(x, 0, 1), normal(x, 1, 0.5), np.linspace(-1, 1, 9)
    d = np.full_like(x, 0.5)
    return {"x": x, "p_data": p_data, "p_g": p_g, "d": d, "z": z, "g_of_z": 1 + z, "step": 7}


def test_figure1_has_its_four_curves_and_the_arrows(tmp_path):
    path = assert_same_bytes(lambda p: save_figure1(p, **_figure1()), tmp_path)
    for colour in ("#000000", GREEN, BLUE, ORANGE):
        assert count_of(path, colour) > 100
    bare = tmp_path / "bare.png"
    save_figure1(bare, **_figure1() | {"z": None, "g_of_z": None})
    assert pixels(bare).shape[0] < pixels(path).shape[0]
    beyond = _figure1()
    beyond["g_of_z"] = beyond["g_of_z"] * 100  # arrows that leave the axis are cut at its edge
    save_figure1(tmp_path / "beyond.png", **beyond)
    assert pixels(tmp_path / "beyond.png").shape == pixels(path).shape


def test_figure1_without_a_discriminator_has_the_densities_alone(tmp_path):
    path = tmp_path / "critic.png"
    save_figure1(path, **_figure1() | {"d": None})
    assert min(count_of(path, colour) for colour in ("#000000", GREEN)) > 100
    assert count_of(path, BLUE) == count_of(path, ORANGE) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d": np.zeros(3)}, r"d must have the shape \(120,\)"),
        ({"d": np.full(120, 1.5)}, "probabilities"),
        ({"p_g": np.full(120, np.nan)}, "p_g is not finite at x = -4"),
        ({"x": np.linspace(4, -4, 120)}, "increasing"),
        ({"z": None}, "come together"),
        ({"z": np.zeros(2)}, "one shape"),
        ({"g_of_z": np.full(9, np.inf)}, "finite"),
    ],
)
def test_figure1_names_what_is_wrong(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        save_figure1(tmp_path / "figure.png", **_figure1() | change)
    assert list(tmp_path.iterdir()) == []


# Animations


def _frames(folder: Path) -> list[Path]:
    folder.mkdir()
    colours = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]
    paths = []
    for i, colour in enumerate(colours):
        picture = np.full((20, 30, 3), 240, np.uint8)
        picture[5:15, 5 * i : 5 * i + 10] = colour
        Image.fromarray(picture).save(folder / f"{i}.png")
        paths.append(folder / f"{i}.png")
    return paths


def test_animation_shows_the_frames_and_holds_the_last(tmp_path):
    frames = _frames(tmp_path / "frames")
    path = tmp_path / "a.gif"
    save_animation(path, frames, fps=4)
    with Image.open(path) as gif:
        assert gif.n_frames == 3
        assert gif.info["loop"] == 0
        assert "comment" not in gif.info
        durations = []
        for i, frame in enumerate(frames):
            gif.seek(i)
            durations.append(gif.info["duration"])
            difference = np.abs(np.asarray(gif.convert("RGB"), int) - pixels(frame))
            assert difference.max() <= 2
    assert durations == [250, 250, 2000]
    save_animation(tmp_path / "b.gif", frames, fps=4)
    assert path.read_bytes() == (tmp_path / "b.gif").read_bytes()


def test_animation_has_one_palette(tmp_path):
    save_animation(tmp_path / "a.gif", _frames(tmp_path / "frames"), fps=10)
    data = (tmp_path / "a.gif").read_bytes()
    # An image descriptor begins with 2C after a graphic control block's closing 00; four 16-bit
    # numbers follow, then flags whose highest bit announces a palette of the frame's own.
    descriptors = re.findall(rb"\x21\xf9\x04.{4}\x00\x2c.{8}(.)", data, re.DOTALL)
    assert len(descriptors) == 3
    assert all(flags[0] & 0x80 == 0 for flags in descriptors)


def test_an_animation_of_a_long_run_is_thinned_evenly(tmp_path, monkeypatch):
    monkeypatch.setattr("minigan.viz.animation.MOST", 3)
    frames = _frames(tmp_path / "frames")
    long = [*frames, *frames[::-1], frames[2]]  # of seven the first, the fourth and the last
    save_animation(tmp_path / "long.gif", long, fps=4)
    monkeypatch.undo()
    save_animation(tmp_path / "short.gif", [long[0], long[3], long[6]], fps=4)
    assert (tmp_path / "long.gif").read_bytes() == (tmp_path / "short.gif").read_bytes()


def test_animation_names_what_is_wrong(tmp_path):
    frames = _frames(tmp_path / "frames")
    Image.new("RGB", (31, 20)).save(frames[2])
    with pytest.raises(ValueError, match=r"2\.png is 31x20 pixels, .*0\.png is 30x20"):
        save_animation(tmp_path / "a.gif", frames, fps=4)
    with pytest.raises(ValueError, match="at least one frame"):
        save_animation(tmp_path / "a.gif", [], fps=4)
    for fps in (0, 51, float("nan")):
        with pytest.raises(ValueError, match="fps"):
            save_animation(tmp_path / "a.gif", frames[:2], fps=fps)
    assert not (tmp_path / "a.gif").exists()


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("minigan.viz", ["matplotlib", "PIL"]),
        ("minigan.viz.report", ["matplotlib"]),
        ("minigan.viz.grid", ["matplotlib"]),
        ("minigan.viz.figure1", ["matplotlib.pyplot", "tkinter"]),
        ("minigan.viz.plots", ["matplotlib.pyplot", "tkinter"]),
    ],
)
def test_imports_are_light(module, absent):
    code = f"import sys, {module}; print([m for m in {absent} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

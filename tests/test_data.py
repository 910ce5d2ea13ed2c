"""Data sets: formats read as they are, factors that are true, batches that can be found again."""

from __future__ import annotations

import contextlib
import gzip
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from minigan.data import Batches, Dataset, Mixture, NoSplitError, catalogue, load
from minigan.data.folder import read_images
from minigan.data.glyphs import ROTATION, SLANT, THICKNESS, glyphs
from minigan.data.idx import is_idx_folder, read_folder, read_idx
from minigan.data.points import draw, grid, mixture1d, ring
from minigan.errors import UserError

SHARED = Path(
    os.environ.get("MINIGAN_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")
)


def shared(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"no test data {folder}")
    return folder


def points(n: int = 10, labels: bool = False) -> Dataset:
    x = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
    return Dataset("some", x, np.arange(n) % 3 if labels else None, ("a", "b", "c"))


# --- Dataset and Batches ---------------------------------------------------------------------


def test_dataset_describes_itself() -> None:
    data = Dataset("d", np.zeros((3, 1, 2, 4), np.uint8), np.array([2, 0, 2]), ("a", "b", "c"))
    assert (len(data), data.shape, data.is_image) == (3, (1, 2, 4), True)
    assert data.histogram() == {"a": 1, "b": 0, "c": 2}
    assert (points().shape, points().is_image, points().histogram()) == ((2,), False, {})


@pytest.mark.parametrize(
    ("x", "y", "classes", "words"),
    [
        (np.zeros((3, 1, 2, 2), np.float32), None, (), "uint8 images"),
        (np.zeros((3, 2), np.uint8), None, (), "float32 points"),
        (np.zeros((0, 1, 2, 2), np.uint8), None, (), "empty"),
        (np.zeros((3, 2), np.float32), np.zeros(2, np.int64), ("a",), "3 samples"),
        (np.zeros((3, 2), np.float32), np.zeros(3, np.int32), ("a",), "int64"),
        (np.zeros((3, 2), np.float32), np.array([0, 1, 2]), ("a", "b"), "2 classes"),
        (np.zeros((3, 2), np.float32), np.array([0, -1, 1]), ("a", "b"), "-1"),
    ],
)
def test_dataset_refuses(x, y, classes, words) -> None:
    with pytest.raises(UserError, match=words):
        Dataset("d", x, y, classes)


def test_dataset_refuses_factors_of_another_length() -> None:
    with pytest.raises(UserError, match="slant"):
        Dataset("d", np.zeros((3, 2), np.float32), factors={"slant": np.zeros(2, np.float32)})


@given(
    n=st.integers(1, 40),
    batch=st.integers(1, 40),
    seed=st.integers(0, 2**64 - 1),
    jump=st.integers(0, 200),
)
def test_batches_are_epochs_without_repetition_and_seekable(n, batch, seed, jump) -> None:
    batch = min(n, batch)
    batches = Batches(points(n), batch, seed=seed, output_range=None)
    epoch = jump // batches.per_epoch
    seen = np.concatenate([batches.at(epoch * batches.per_epoch + k)[0] for k in range(n // batch)])
    assert len(np.unique(seen[:, 0])) == (n // batch) * batch

    other = Batches(points(n), batch, seed=seed, output_range=None)
    other.position = jump
    np.testing.assert_array_equal(next(other), batches.at(jump)[0])
    assert (other.position, batches.position) == (jump + 1, 0)


def test_batches_change_with_epoch_and_seed() -> None:
    batches = Batches(points(50), 50, seed=1, output_range=None)
    first, second = next(batches), next(batches)
    assert not np.array_equal(first, second)
    other = Batches(points(50), 50, seed=2, output_range=None)
    assert not np.array_equal(first, next(other))
    np.testing.assert_array_equal(first, batches.at(0)[0])


@pytest.mark.parametrize("ends", [(-1, 1), (0, 1), (-0.5, 2.0)])
def test_batches_scale_images(ends) -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    x = next(Batches(Dataset("d", pixels), 1, seed=0, output_range=ends))
    low, high = ends
    assert x.dtype == np.float32
    assert (x.min(), x.max()) == (low, high)
    expected = low + pixels.astype(np.float64) * (high - low) / 255
    np.testing.assert_allclose(x, expected, atol=1e-7)


def test_labels_stay_with_their_samples() -> None:
    batches = Batches(points(10, labels=True), 4, seed=0, output_range=None)
    for _ in range(5):
        x, y = batches.labelled()
        np.testing.assert_array_equal(x[:, 0] / 2 % 3, y)
    assert batches.position == 5


def test_batches_refuse() -> None:
    with pytest.raises(UserError, match=r"11 .* 10 samples.*--batch-size"):
        Batches(points(10), 11, seed=0, output_range=None)
    with pytest.raises(UserError, match="--batch-size"):
        Batches(points(10), 0, seed=0, output_range=None)
    with pytest.raises(UserError, match="points"):
        Batches(points(), 2, seed=0, output_range=(-1, 1))
    with pytest.raises(UserError, match="images"):
        Batches(Dataset("d", np.zeros((3, 1, 2, 2), np.uint8)), 2, seed=0, output_range=None)
    with pytest.raises(UserError, match="--seed"):
        Batches(points(), 2, seed=-1, output_range=None)
    batches = Batches(points(), 2, seed=0, output_range=None)
    with pytest.raises(UserError, match="labels"):
        batches.labelled()
    assert batches.position == 0
    with pytest.raises(IndexError):
        batches.at(-1)


# --- Points ----------------------------------------------------------------------------------


def test_ring_modes_are_distinct_and_even() -> None:
    means = ring().means
    assert means.shape == (8, 2)
    np.testing.assert_allclose(np.hypot(*means.T), 1)
    gaps = np.linalg.norm(means - np.roll(means, 1, axis=0), axis=1)
    np.testing.assert_allclose(gaps, 2 * np.sin(np.pi / 8))


def test_grid_means() -> None:
    means = grid().means
    assert len(np.unique(means, axis=0)) == 25
    assert set(means.ravel()) == {-4, -2, 0, 2, 4}
    np.testing.assert_allclose(grid().sigma, 0.05)


@pytest.mark.parametrize("mixture", [mixture1d(), ring(sigma=0.3), grid(2, sigma=0.5)])
def test_density_integrates_to_one(mixture) -> None:
    axis = np.linspace(-6, 6, 401)
    if mixture.means.shape[1] == 1:
        p = mixture.density(axis)
        np.testing.assert_array_equal(p, mixture.density(axis[:, None]))
        total = p.sum() * (axis[1] - axis[0])
    else:
        plane = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
        total = mixture.density(plane).sum() * (axis[1] - axis[0]) ** 2
    assert total == pytest.approx(1, abs=1e-4)


def test_samples_follow_the_density() -> None:
    data = load("mixture1d", seed=3)
    assert data.mixture is not None
    assert (data.x.shape, data.x.dtype) == ((100_000, 1), np.float32)
    edges = np.linspace(-4, 4, 41)
    counted = np.histogram(data.x, edges)[0] / len(data)
    fine = np.linspace(-4, 4, 4001)[:-1] + 0.001
    expected = data.mixture.density(fine).reshape(40, 100).mean(axis=1) * 0.2
    # Five standard errors of a binomial proportion.
    assert (np.abs(counted - expected) < 5 * np.sqrt(expected / len(data)) + 1e-5).all()


def test_point_labels_are_the_modes() -> None:
    data = load("ring")
    assert data.mixture is not None
    assert len(data.classes) == 8
    distance = np.linalg.norm(data.x[:, None] - data.mixture.means, axis=2)
    np.testing.assert_array_equal(distance.argmin(axis=1), data.y)
    assert (distance.min(axis=1) < 0.06).all()
    np.testing.assert_array_equal(data.x[:, 0], load("ring").x[:, 0])
    assert not np.array_equal(data.x, load("ring", seed=1).x)


def test_test_points_are_other_points() -> None:
    train, test = load("grid"), load("grid", split="test")
    assert (len(train), len(test)) == (100_000, 10_000)
    assert train.y is not None
    assert test.y is not None
    # Drawn from one stream, the two would begin with the same modes.
    assert (train.y[:10_000] == test.y).mean() < 0.1
    assert len(draw("few", grid(), seed=0, count=7)) == 7


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([1.0, 2.0], 1), "means"),
        (([[1.0], [2.0]], [1, 1, 1]), "2 components"),
        (([[1.0], [2.0]], [1, 0]), "sigma"),
        (([[1.0], [2.0]], 1, [1, -1]), "weights"),
        (([[1.0], [2.0]], 1, 0), "weights"),
    ],
)
def test_mixture_refuses(arguments, words) -> None:
    with pytest.raises(UserError, match=words):
        Mixture(*arguments)


def test_density_refuses_points_of_another_dimension() -> None:
    with pytest.raises(UserError, match=r"\(N, 2\)"):
        ring().density(np.zeros((4, 3)))


# --- Glyphs ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return glyphs(count=4000)


def test_glyphs_are_balanced_and_within_their_limits(digits) -> None:
    assert (digits.x.shape, digits.shape) == ((4000, 1, 28, 28), (1, 28, 28))
    assert digits.histogram() == {str(k): 400 for k in range(10)}
    for name, (low, high) in zip(
        ("rotation", "slant", "thickness"), (ROTATION, SLANT, THICKNESS), strict=True
    ):
        values = digits.factors[name]
        assert values.dtype == np.float32
        assert low <= values.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < values.max() <= high
    # White on black, never empty, never cut at the border.
    assert (digits.x.max(axis=(1, 2, 3)) > 150).all()
    assert digits.x[:, 0, [0, -1]].max() == 0
    assert digits.x[:, 0, :, [0, -1]].max() == 0


def test_glyphs_depend_on_the_seed_alone() -> None:
    first, again, other = (glyphs(count=50, seed=s) for s in (5, 5, 6))
    assert first.x.tobytes() == again.x.tobytes()
    assert all((first.factors[f] == again.factors[f]).all() for f in first.factors)
    assert first.x.tobytes() != other.x.tobytes()
    assert first.x.tobytes() != glyphs(count=50, seed=5, split="test").x.tobytes()


def mean_depth(image: np.ndarray) -> float:
    """Stroke width from ink alone: twice the area over the length of the edge."""
    ink = image.astype(np.float64) / 255
    right, down = np.diff(ink, axis=1)[:-1], np.diff(ink, axis=0)[:, :-1]
    return 2 * ink.sum() / np.hypot(right, down).sum()


def test_thickness_is_the_stroke_width(digits) -> None:
    measured = np.array([mean_depth(image[0]) for image in digits.x])
    true = digits.factors["thickness"]
    assert np.corrcoef(measured, true)[0, 1] > 0.93
    assert np.polyfit(true, measured, 1)[0] == pytest.approx(1, abs=0.2)


def test_rotation_and_slant_move_the_stem_of_a_one(digits) -> None:
    assert digits.y is not None
    ones = digits.y == 1
    lean = []
    for image in digits.x[ones, 0].astype(np.float64):
        rows, columns = np.indices(image.shape)
        r = rows - np.average(rows, weights=image)
        c = columns - np.average(columns, weights=image)
        lean.append(-(image * r * c).sum() / (image * r * r).sum())  # to the right, going up
    slant = digits.factors["slant"][ones]
    # Turned anticlockwise, a stem leans to the left.
    turn = np.tan(np.deg2rad(digits.factors["rotation"][ones]))
    by_slant, by_turn, _ = np.linalg.lstsq(
        np.stack([slant, turn, np.ones(len(slant))], axis=1), np.array(lean), rcond=None
    )[0]
    assert by_slant == pytest.approx(1, abs=0.2)
    assert by_turn == pytest.approx(-1, abs=0.2)


def test_classes_look_alike_across_splits(digits) -> None:
    """The nearest class mean finds most digits, so the labels are those of the pictures."""
    assert digits.y is not None
    test = load("glyphs", split="test")
    means = np.stack([digits.x[digits.y == k].mean(axis=0).ravel() for k in range(10)])
    x = test.x.reshape(len(test), -1).astype(np.float64)
    distance = ((x[:, None] - means) ** 2).sum(axis=2)
    assert (distance.argmin(axis=1) == test.y).mean() > 0.7


@pytest.mark.parametrize("size", [16, 32, 64])
def test_glyphs_of_another_size_are_the_same_digits(size) -> None:
    small, other = glyphs(count=20), glyphs(count=20, size=size)
    assert other.x.shape == (20, 1, size, size)
    resized = [Image.fromarray(x[0]).resize((28, 28), Image.Resampling.BOX) for x in other.x]
    difference = np.abs(np.stack([np.asarray(i, np.float64) for i in resized]) - small.x[:, 0])
    assert difference.mean() < 12
    # Edges stay one pixel wide, so the larger the image, the rarer are the greys.
    small_grey, other_grey = (((x > 25) & (x < 230)).mean() for x in (small.x, other.x))
    assert other_grey * size == pytest.approx(small_grey * 28, rel=0.3)


# --- idx -------------------------------------------------------------------------------------


def idx_bytes(array: np.ndarray, kind: int = 8) -> bytes:
    head = bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(np.uint8).tobytes()


IMAGES = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
LABELS = np.array([0, 1, 2, 1, 0], np.uint8)


@pytest.fixture
def idx_folder(tmp_path) -> Path:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx_bytes(IMAGES))
    (tmp_path / "train-labels.idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(LABELS)))
    return tmp_path


def test_idx_folder(idx_folder) -> None:
    data = load(idx_folder)
    assert (data.name, data.classes) == (idx_folder.name, ("0", "1", "2"))
    np.testing.assert_array_equal(data.x, IMAGES[:, None])
    np.testing.assert_array_equal(data.y, LABELS)
    assert data.y is not None
    assert data.y.dtype == np.int64
    assert load(idx_folder, size=8).x.shape == (5, 1, 8, 8)
    with pytest.raises(UserError, match="test images"):
        load(idx_folder, split="test")


def test_idx_is_told_by_its_content_not_its_suffix(tmp_path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(idx_bytes(IMAGES))
    np.testing.assert_array_equal(read_idx(path), IMAGES)


WHOLE = idx_bytes(IMAGES)
PACKED = gzip.compress(WHOLE, mtime=0)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not an idx file"),
        (b"\0\0", "not an idx file"),
        (b"<html>no</html>", "not an idx file"),
        (idx_bytes(IMAGES, kind=0x0D), "0x0d"),
        (idx_bytes(LABELS), "1 dimensions"),
        (b"\0\0\x08\0", "0 dimensions"),
        (WHOLE[:9], "within its header"),
        (WHOLE[:-1], "cut short"),
        (WHOLE + b"x", "goes on"),
        (PACKED[:-9], "broken gzip|cut short"),
        (PACKED[: len(PACKED) // 2], "broken gzip"),
        (PACKED[:-8] + bytes(8), "broken gzip"),
        (PACKED[:5], "broken gzip"),
        (PACKED + b"junk", "broken gzip"),
        (b"\x1f\x8b" + bytes(30), "broken gzip"),
        (gzip.compress(WHOLE + b"x"), "goes on"),
        (gzip.compress(WHOLE[:-1]), "cut short"),
        # A header that promises 2^60 bytes.
        (b"\0\0\x08\x03" + struct.pack(">3I", 2**20, 2**20, 2**20), "cut short"),
        (gzip.compress(b"\0\0\x08\x03" + struct.pack(">3I", 2**20, 2**20, 2**20)), "cut short"),
    ],
)
def test_broken_idx_is_named(tmp_path, content, words) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words) as caught:
        read_idx(path, ndim=3)
    assert str(path) in str(caught.value)


@settings(max_examples=200)
@given(st.data())
def test_a_damaged_idx_file_never_ends_in_a_traceback(tmp_path_factory, data) -> None:
    content = bytearray(data.draw(st.sampled_from([WHOLE, PACKED])))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "file"
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    with contextlib.suppress(UserError):  # any other exception fails the test
        assert read_idx(path).dtype == np.uint8


def test_idx_file_that_cannot_be_opened(tmp_path) -> None:
    with pytest.raises(UserError, match="no file"):
        read_idx(tmp_path / "nothing")
    with pytest.raises(UserError, match="cannot be read"):
        read_idx(tmp_path)


def test_idx_images_and_labels_must_agree(idx_folder) -> None:
    labels = idx_folder / "train-labels.idx1-ubyte.gz"
    labels.write_bytes(idx_bytes(LABELS[:4]))
    with pytest.raises(UserError, match=r"5 images .* 4 labels"):
        read_folder(idx_folder)
    labels.unlink()
    assert is_idx_folder(idx_folder)
    with pytest.raises(UserError, match="lacks the train labels"):
        load(idx_folder)


def test_idx_without_images_and_with_unknown_classes(idx_folder) -> None:
    with pytest.raises(UserError, match="2 classes"):
        read_folder(idx_folder, classes=("a", "b"))
    (idx_folder / "train-images-idx3-ubyte").write_bytes(idx_bytes(IMAGES[:0]))
    (idx_folder / "train-labels.idx1-ubyte.gz").write_bytes(idx_bytes(LABELS[:0]))
    with pytest.raises(UserError, match="no image"):
        load(idx_folder)


def test_real_mnist() -> None:
    folder = shared("mnist")
    train, test = load(folder), load(folder, split="test")
    assert train.x.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert list(train.histogram().values()) == [
        *(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
    ]
    assert list(test.histogram().values()) == [
        *(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
    ]


# --- Image folders ---------------------------------------------------------------------------


def save(path: Path, image: Image.Image | np.ndarray, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    image.save(path, **options)
    return path


def plain(colour, size=(8, 8), mode="RGB") -> Image.Image:
    return Image.new(mode, size, colour)


def only(folder: Path, **options) -> np.ndarray:
    data = read_images(folder, **{"size": 8, **options})
    assert len(data) == 1
    return data.x[0]


def test_class_folders(tmp_path) -> None:
    save(tmp_path / "dogs" / "b.PNG", plain("red"))
    save(tmp_path / "dogs" / "deep" / "a.jpg", plain("red"))
    save(tmp_path / "cats" / "c.bmp", plain("blue"))
    save(tmp_path / "cats" / ".hidden.png", plain("blue"))
    save(tmp_path / ".cache" / "d.png", plain("green"))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "read.txt").write_text("not an image")
    (tmp_path / "LICENSE").write_text("free")
    said: list[str] = []
    data = load(tmp_path, size=8, report=said.append)
    assert data.classes == ("cats", "dogs")
    assert data.histogram() == {"cats": 1, "dogs": 2}
    assert data.x.shape == (3, 3, 8, 8)
    np.testing.assert_array_equal(data.x[0, :, 4, 4], (0, 0, 255))
    assert said == ["3 of 3 images"]


def test_flat_folder_and_suffixes(tmp_path) -> None:
    for suffix in ("png", "JPG", "jpeg", "bmp", "gif", "webp", "tif", "TIFF"):
        save(tmp_path / f"image-{suffix}.{suffix}", plain("white"))
    data = load(tmp_path)
    assert (data.x.shape, data.y, data.classes) == ((8, 1, 64, 64), None, ())
    assert data.x.min() == 255


def test_train_and_test_folders_are_splits(tmp_path) -> None:
    save(tmp_path / "train" / "one" / "a.png", plain("red"))
    save(tmp_path / "test" / "one" / "a.png", plain("blue"))
    assert load(tmp_path).classes == ("one",)
    assert load(tmp_path, split="test").x[0, 2].min() == 255
    with pytest.raises(NoSplitError, match="no test images"):
        load(tmp_path / "train", split="test")
    with pytest.raises(UserError, match="train or test"):
        load(tmp_path, split="val")


def test_grey_images_have_one_channel(tmp_path) -> None:
    save(tmp_path / "a.png", plain(70, mode="L"))
    save(tmp_path / "b.png", plain((200, 200, 200)))
    assert load(tmp_path, size=8).x[:, :, 0, 0].tolist() == [[70], [200]]
    assert read_images(tmp_path, size=8, channels=3).shape == (3, 8, 8)
    save(tmp_path / "c.png", plain((200, 200, 201)))
    assert load(tmp_path, size=8).shape == (3, 8, 8)
    grey = read_images(tmp_path, size=8, channels=1)
    assert grey.x[:, 0, 0, 0].tolist() == [70, 200, 200]
    with pytest.raises(UserError, match="channels"):
        read_images(tmp_path, channels=2)


def test_forced_grey_is_pillows_luma(tmp_path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    save(tmp_path / "a.png", colours)
    expected = np.asarray(Image.fromarray(colours).convert("L"))
    np.testing.assert_array_equal(only(tmp_path, channels=1)[0], expected)


def half_transparent(mode: str) -> Image.Image:
    """Left half clear over an arbitrary colour, right half opaque black."""
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[:, :4] = (90, 90, 90, 0)
    rgba[:, 4:] = (0, 0, 0, 255)
    image = Image.fromarray(rgba)
    if mode == "P":
        indexed = Image.fromarray((rgba[..., 3] > 0).astype(np.uint8)).convert("P")
        indexed.putpalette([90, 90, 90, 0, 0, 0])
        indexed.info["transparency"] = bytes([0, 255])
        return indexed
    if mode == "L":
        grey = Image.fromarray(np.where(rgba[..., 3] > 0, 0, 90).astype(np.uint8))
        grey.info["transparency"] = 90
        return grey
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L"])
def test_transparency_shows_the_background(tmp_path, mode) -> None:
    image = half_transparent(mode)
    path = save(tmp_path / "a.png", image)
    with Image.open(path) as stored:
        assert stored.mode == mode
    white = only(tmp_path)
    assert (white[0, :, :4] == 255).all()
    assert (white[:, :, 4:] == 0).all()
    red = only(tmp_path, background="red")
    np.testing.assert_array_equal(red[:, 0, 0], (255, 0, 0))
    np.testing.assert_array_equal(only(tmp_path, background=(1, 2, 3))[:, 0, 0], (1, 2, 3))
    # Shrunk, the hidden grey must not bleed into the edge: every value is between the two.
    shrunk = only(tmp_path, size=2, background="black")
    assert shrunk.max() == 0


@pytest.mark.parametrize("background", ["no-colour", (1, 2), (1, 2, 300), (-1, 0, 0)])
def test_bad_background(tmp_path, background) -> None:
    save(tmp_path / "a.png", plain("white"))
    with pytest.raises(UserError, match="background"):
        load(tmp_path, background=background)


def test_one_bit_and_sixteen_bits(tmp_path) -> None:
    save(tmp_path / "a.png", plain(1, mode="1"))
    wide = np.repeat(np.array([0, 32768, 257 * 77, 65535], np.uint16), 2)
    save(tmp_path / "b.png", np.tile(wide, (8, 1)))
    save(tmp_path / "c.tif", np.tile(wide, (8, 1)).astype(np.int32))
    data = load(tmp_path, size=8)
    assert data.x[0].min() == 255
    for image in data.x[1:]:
        assert image[0, 0].tolist() == [0, 0, 128, 128, 77, 77, 255, 255]


def test_pixels_without_a_known_range_are_refused(tmp_path) -> None:
    save(tmp_path / "a.tif", np.zeros((8, 8), np.float32))
    with pytest.raises(UserError, match=r"a\.tif.*mode F"):
        load(tmp_path)


def test_cmyk(tmp_path) -> None:
    save(tmp_path / "a.jpg", plain((0, 255, 255, 0), mode="CMYK"))
    assert np.abs(only(tmp_path)[:, 4, 4].astype(int) - (255, 0, 0)).max() < 6


def test_exif_orientation(tmp_path) -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4] = 255  # white above
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned 90 degrees clockwise
    save(tmp_path / "a.png", pixels, exif=exif)
    assert (only(tmp_path)[0, :, 4:] == 255).all()


def test_crop_is_central_and_resize_antialiased(tmp_path) -> None:
    pixels = np.zeros((64, 128, 3), np.uint8)
    pixels[:, :32] = pixels[:, 96:] = (255, 0, 0)  # what is cropped away
    pixels[:, 32:96:2] = 255  # stripes finer than a result pixel
    save(tmp_path / "a.png", pixels)
    image = only(tmp_path, size=8)
    assert np.ptp(image, axis=0).max() < 40  # hardly any red at the edge
    assert np.abs(image[:, :, 2:6].astype(int) - 127).max() < 16


def test_large_jpegs_are_read_at_the_right_scale(tmp_path) -> None:
    blocks = np.random.default_rng(0).integers(0, 256, (16, 16), np.uint8)
    large = np.kron(blocks, np.ones((4, 4), np.uint8))
    save(tmp_path / "a.jpg", large, quality=98)
    save(tmp_path / "b.png", large)
    shrunk, exact = read_images(tmp_path, size=16).x.astype(int)
    assert np.abs(shrunk - exact).mean() < 10


def test_animations_give_their_first_frame(tmp_path) -> None:
    save(tmp_path / "a.gif", plain("white"), save_all=True, append_images=[plain("black")])
    assert only(tmp_path).min() == 255


def test_one_broken_image_is_named(tmp_path) -> None:
    for name in "ab":
        save(tmp_path / f"{name}.png", plain("red", (64, 64)))
    whole = (tmp_path / "a.png").read_bytes()
    for content in (b"", b"not a png", whole[: len(whole) // 2], whole[:40]):
        (tmp_path / "b.png").write_bytes(content)
        with pytest.raises(UserError, match=r"b\.png"):
            load(tmp_path)


@pytest.mark.parametrize("factor", [1.5, 3])  # where Pillow warns, and where it refuses
def test_decompression_bombs_are_refused(tmp_path, monkeypatch, factor) -> None:
    save(tmp_path / "bomb.png", plain("red", (64, 64)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(64 * 64 / factor))
    with pytest.raises(UserError, match=r"bomb\.png.*too large"):
        load(tmp_path)


def test_folders_without_a_clear_meaning(tmp_path) -> None:
    with pytest.raises(UserError, match="no image"):
        load(tmp_path)
    save(tmp_path / "a.png", plain("red"))
    save(tmp_path / "cats" / "b.png", plain("red"))
    with pytest.raises(UserError, match=r"a\.png.*cats"):
        load(tmp_path)
    with pytest.raises(UserError, match="no folder"):
        read_images(tmp_path / "nothing")
    with pytest.raises(UserError, match="2000x2000"):
        load(tmp_path / "cats", size=2000)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads anything")
def test_unreadable_class_folder(tmp_path) -> None:
    save(tmp_path / "cats" / "b.png", plain("red"))
    (tmp_path / "cats").chmod(0)
    try:
        with pytest.raises(UserError, match="cannot be read"):
            load(tmp_path)
    finally:
        (tmp_path / "cats").chmod(0o755)


def test_real_emoji(tmp_path) -> None:
    files = sorted((shared("noto-emoji") / "72x72").iterdir())[::40]
    for file in files:
        (tmp_path / file.name).symlink_to(file)
    white, black = load(tmp_path), load(tmp_path, background="black")
    assert white.x.shape == (len(files), 3, 64, 64)
    # A bare corner shows the background; most emoji leave one.
    assert (white.x[:, :, 0, 0] == 255).all(axis=1).mean() > 0.8
    assert (black.x[:, :, 0, 0] == 0).all(axis=1).mean() > 0.8


# --- By name ---------------------------------------------------------------------------------


def test_unknown_names_get_a_hint() -> None:
    with pytest.raises(UserError, match="did you mean mnist"):
        load("minst")
    with pytest.raises(UserError, match="did you mean glyphs"):
        load("Glyph")
    with pytest.raises(UserError, match=r"no data set or folder /no/such/folder.*ring"):
        load("/no/such/folder")
    with pytest.raises(UserError, match="is a file"):
        load(__file__)


def test_names_refuse_what_they_have_not() -> None:
    assert load("glyphs", size=32, split="test").shape == (1, 32, 32)
    with pytest.raises(UserError, match="no size"):
        load("ring", size=32)
    with pytest.raises(UserError, match="0x0"):
        load("glyphs", size=0)
    with pytest.raises(UserError, match="4x4"):
        load("glyphs", size=4)
    with pytest.raises(UserError, match="no split"):
        load("glyphs", split="valid")


def test_catalogue_is_true(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    entries = {entry.name: entry for entry in catalogue()}
    assert list(entries) == ["glyphs", "ring", "grid", "mixture1d", "mnist", "fashion-mnist"]
    for entry in entries.values():
        assert entry.cached is None
        if entry.kind == "built-in":
            data = load(entry.name)
            assert (data.name, data.shape, len(data)) == (entry.name, entry.shape, entry.count)
    assert not list(tmp_path.iterdir())  # a listing makes no folders


def test_importing_data_is_light() -> None:
    heavy = "{'PIL', 'pooch', 'requests', 'matplotlib', 'urllib3'}"
    code = f"import minigan.data, sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[1],
    )
    assert done.stdout.strip() == "[]"

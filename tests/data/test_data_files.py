"""Data in files: idx and folders of images, read as they are; what is damaged is named."""

from __future__ import annotations

import contextlib
import gzip
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from minigan.data import Batches, Dataset, NoSplitError, load
from minigan.data.folder import read_images
from minigan.data.idx import is_idx_folder, read_folder, read_idx
from minigan.errors import UserError

SHARED = Path(
    os.environ.get("MINIGAN_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")
)


def shared(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"no test data {folder}")
    return folder


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
        (gzip.compress(WHOLE + b"x", mtime=0), "goes on"),
        (gzip.compress(WHOLE[:-1], mtime=0), "cut short"),
        # A header that promises 2^60 bytes.
        (b"\0\0\x08\x03" + struct.pack(">3I", 2**20, 2**20, 2**20), "cut short"),
        (
            gzip.compress(b"\0\0\x08\x03" + struct.pack(">3I", 2**20, 2**20, 2**20), mtime=0),
            "cut short",
        ),
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


def test_names_of_other_libraries_are_answered() -> None:
    import minigan.data

    with pytest.raises(AttributeError, match=r"has no DataLoader: say Batches\(dataset, 64"):
        _ = minigan.data.DataLoader
    with pytest.raises(AttributeError, match=r"'minigan\.data' has no attribute 'unheard'$"):
        _ = minigan.data.unheard


ONE = np.zeros((4, 1, 8, 8), np.uint8)
FIRST_TRIES: dict[str, tuple[Callable[[], Any], str]] = {
    "Dataset(x)": (lambda: Dataset(ONE), r"'x'; .*minigan\.data\.from_arrays\(x, range"),
    "Dataset(x, y)": (lambda: Dataset(ONE, np.arange(4)), r"given ndarray and .*from_arrays"),
    "Dataset(name, a list)": (lambda: Dataset("mine", [[1.0]]), "given str and list; .*from_arr"),
    "Dataset(x=x)": (lambda: Dataset(x=ONE), r"'name'; .*minigan\.data\.from_arrays\(x"),
    "Batches(data, 64)": (
        lambda: Batches(Dataset("mine", ONE), 2),
        r"'seed' and 'output_range'; a seed says .*seed=0, output_range=\(-1, 1\)\)",
    ),
    "Batches(shuffle=True)": (
        lambda: Batches(Dataset("mine", ONE), 2, shuffle=True), "Batches takes no shuffle: leave",
    ),
    "load(root=...)": (lambda: load("ring", root="."), r"load takes no root: .*load\(folder\)"),
    "load(train=False)": (lambda: load("ring", train=False), "takes no train: say split='train'"),
    "load(download=True)": (lambda: load("ring", download=True), "once: leave it out"),
    "load(transform=None)": (lambda: load("ring", transform=None), "come out of Batches"),
}  # fmt: skip


@pytest.mark.parametrize("tried", FIRST_TRIES)
def test_arguments_of_other_libraries_are_answered(tried: str) -> None:
    call, words = FIRST_TRIES[tried]
    with pytest.raises(TypeError, match=words) as refused:
        call()
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


def test_a_value_range_is_the_output_range() -> None:
    data = Dataset("mine", ONE)
    assert next(Batches(data, 2, seed=0, value_range=(-1, 1))).min() == -1


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
    assert said == ["passed over 2 files (1 without suffix, 1 .txt)"]


def test_flat_folder_and_suffixes(tmp_path) -> None:
    for suffix in ("png", "JPG", "jpeg", "bmp", "gif", "webp", "tif", "TIFF"):
        save(tmp_path / f"image-{suffix}.{suffix}", plain("white"))
    data = load(tmp_path)
    assert (data.x.shape, data.y, data.classes) == ((8, 1, 64, 64), None, ())
    assert data.x.min() == 255


def test_train_and_test_folders_are_splits(tmp_path) -> None:
    for name in ("one", "two"):
        save(tmp_path / "train" / name / "a.png", plain("red"))
        save(tmp_path / "test" / name / "a.png", plain("blue"))
    assert load(tmp_path).classes == ("one", "two")
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
    save(tmp_path / "c.tif", np.tile(wide, (8, 1)))
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

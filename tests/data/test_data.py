"""Data sets: factors that are true, batches that can be found again, names that are known."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import minigan
from minigan import data
from minigan.data import Batches, Dataset, Mixture, catalogue, load
from minigan.data.glyphs import ROTATION, SLANT, THICKNESS, glyphs
from minigan.data.points import draw, grid, mixture1d, ring
from minigan.errors import UserError
from minigan.ops.hints import FUNCTIONS

SHARED = Path(
    os.environ.get("MINIGAN_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")
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
        (np.zeros((3, 2), np.float32), np.zeros(3, np.float32), ("a",), "int64"),
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


def _fragments(sentence: str) -> list[str]:
    """The calls and the indexing of a data set that a sentence has."""
    found = re.findall(r"dataset\[[^\]]*\]", sentence)
    place = 0
    while start := re.compile(r"[\w.]+\(").search(sentence, place):
        place, depth = start.end(), 1
        while depth:
            depth += {"(": 1, ")": -1}.get(sentence[place], 0)
            place += 1
        found.append(sentence[start.start() : place])
    return found


@pytest.mark.parametrize(
    "sentence",
    dict.fromkeys([*data._ELSEWHERE.values(), *(FUNCTIONS[n] for n in ("DataLoader", "utils"))]),
)
def test_the_code_of_a_hint_runs(sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = Dataset(
        "some", np.zeros((128, 1, 8, 8), np.uint8), np.arange(128) % 5, tuple("abcde")
    )
    monkeypatch.setattr(data, "load", lambda name: samples)  # mnist would be fetched
    known = {
        "minigan": minigan, "Batches": Batches, "load": data.load, "dataset": samples,
        "indices": [1, 2], "name": "some", "folder": "", "x": samples.x / 255, "y": samples.y,
        "images": samples.x / 255, "batches": Batches(samples, 64, seed=0, output_range=(-1, 1)),
    }  # fmt: skip
    for code in _fragments(sentence):
        found = eval(code, known)
        if isinstance(found, Batches):
            assert next(found).dtype == np.float32
        elif not code.startswith("next("):
            assert len(found)
    assert _fragments(sentence) or "minigan.data and" in sentence or "out of Batches" in sentence


@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_the_code_of_a_file_of_numpy_runs(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    x = np.linspace(0, 40, 192).reshape(3, 8, 8)  # in no clear range
    np.save(path, x) if kind == "npy" else np.savez(path, x=x)
    with pytest.raises(UserError, match=r"in Python: ") as refused:
        load(str(path))
    code = re.search(r"in Python: (.*)\.$", str(refused.value))
    assert code is not None
    known = {"minigan": minigan, "numpy": np, "LOW": 0, "HIGH": 40}
    assert len(eval(code[1], known)) == 3


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
        cwd=Path(__file__).resolve().parents[2],
    )
    assert done.stdout.strip() == "[]"

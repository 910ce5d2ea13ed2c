"""A part of the data may lack classes of the rest; what a folder will give is known beforehand."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny import Shell

from minigan.data import Dataset, load, outline
from minigan.errors import UserError
from minigan.evaluation.truth import truth


def idx_folder(folder: Path, **parts: list[int]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for part, labels in parts.items():
        rng = np.random.default_rng(len(labels))
        for kind, a in (
            ("images", rng.integers(0, 256, (len(labels), 8, 8), np.uint8)),
            ("labels", np.array(labels, np.uint8)),
        ):
            head = struct.pack(f">BBBB{a.ndim}I", 0, 0, 8, a.ndim, *a.shape)
            (folder / f"{part}-{kind}-idx{a.ndim}-ubyte").write_bytes(head + a.tobytes())
    return folder


def picture(path: Path, colour: Any, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (8, 8), colour).save(path)


def points(y: list[int], *classes: str) -> Dataset:
    return Dataset("d", np.zeros((len(y), 2), np.float32), np.array(y, np.int64), classes)


def test_labels_count_in_the_classes_of_the_other_part() -> None:
    train = points([0, 1, 2, 3], "a", "b", "c", "d")
    found = points([0, 1, 0], "b", "d").with_classes_of(train)
    assert (found.y.tolist(), found.classes) == ([1, 3, 1], train.classes)  # type: ignore[union-attr]
    assert train.with_classes_of(train) is train
    with pytest.raises(UserError, match="has the class x, which d lacks; the classes there are a,"):
        points([0], "x").with_classes_of(train)


def test_idx_whose_test_part_lacks_the_highest_class(tmp_path: Path) -> None:
    folder = idx_folder(tmp_path, train=[0, 1, 2], t10k=[1, 0])
    train, test = load(folder), load(folder, split="test").with_classes_of(load(folder))
    assert test.classes == train.classes == ("0", "1", "2")
    assert test.y is not None
    assert test.y.tolist() == [1, 0]


def test_a_folder_whose_test_part_lacks_a_class_in_the_middle(tmp_path: Path) -> None:
    for part, names in (("train", "abc"), ("test", "ac")):
        for name in names:
            picture(tmp_path / part / name / "0.png", "red")
    test = load(tmp_path, size=8, split="test").with_classes_of(load(tmp_path, size=8))
    assert test.y is not None
    assert test.y.tolist() == [0, 2]


@pytest.mark.parametrize("stack", [2, 3])
def test_stacked_parts_are_taken_by_channel(tmp_path: Path, stack: int) -> None:
    folder = idx_folder(tmp_path, train=[0, 1, 2, 3], t10k=[2, 0, 1, 2])
    train = load(folder, stack=stack)
    alone = load(folder, split="test", stack=stack)
    test = alone.with_classes_of(train)
    assert (test.classes, test.parts) == (train.classes, train.parts)
    assert test.y is not None
    assert alone.y is not None
    names = [alone.classes[k] for k in alone.y]
    assert [test.classes[k] for k in test.y] == names
    assert len(alone.classes) == 3**stack


def test_a_run_is_scored_beside_a_test_part_that_lacks_a_class(tmp_path: Path) -> None:
    folder = idx_folder(tmp_path, train=[0, 1, 2], t10k=[0, 1])
    facts = {"source": str(folder), "size": None, "stack": 1}
    train, test = truth(facts, lambda text: None)
    assert test is not None
    assert test.classes == train.classes


# --- What is known beforehand --------------------------------------------------------------------


def agrees(place: Path, **options: Any) -> None:
    data, known = load(place, **options), outline(place, **options)
    assert known is not None
    assert data.shape in known.shapes
    assert (known.classes, known.samples) == (len(data.classes), len(data))
    assert known.tags == (data.shape[0] if data.parts else 1)


@pytest.mark.parametrize("options", [{}, {"size": 5}, {"stack": 2}, {"stack": 3, "size": 16}])
def test_the_outline_of_idx(tmp_path: Path, options: dict[str, int]) -> None:
    agrees(idx_folder(tmp_path, train=[0, 1, 2]), **options)


@pytest.mark.parametrize(("colour", "mode"), [("red", "RGB"), (70, "L"), ((9, 9, 9), "RGB")])
def test_the_outline_of_a_folder(tmp_path: Path, colour: Any, mode: str) -> None:
    picture(tmp_path / "a" / "0.png", colour, mode)
    picture(tmp_path / "b" / "0.png", "grey")
    agrees(tmp_path, size=8)
    agrees(tmp_path)
    known = outline(tmp_path, size=8)
    assert known is not None
    assert known.shapes == (((3, 8, 8),) if colour == "red" else ((1, 8, 8), (3, 8, 8)))
    if colour == "red":
        with pytest.raises(UserError, match="images of one channel"):
            outline(tmp_path, stack=2)
    else:
        agrees(tmp_path, size=8, stack=2)


def test_a_name_has_no_outline() -> None:
    assert outline("glyphs") is None
    assert outline("mnist") is None


@pytest.mark.parametrize("recipe", ["dcgan", "began", "cgan"])
def test_a_size_is_refused_before_the_images_are_read(
    tmp_path: Path, shell: Shell, recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(3):
        picture(tmp_path / f"{i % 2}" / f"{i}.png", "red")
    monkeypatch.setattr("minigan.start.load", lambda *a, **k: pytest.fail("it reads"))
    shell.refuses("train", recipe, "--data", tmp_path, "--size", 63)

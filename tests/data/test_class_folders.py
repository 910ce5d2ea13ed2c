"""Which folders are classes: one is none, LSUN's are, at any depth."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from minigan.data import NoSplitError, load, outline
from minigan.errors import UserError


def pictures(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), "red").save(folder / name, format="PNG")
    return folder


def test_one_class_is_no_class(tmp_path: Path) -> None:
    pictures(tmp_path, "cats/1.png", "cats/deep/2.png")
    said: list[str] = []
    data = load(tmp_path, size=8, report=said.append)
    assert (len(data), data.y, data.classes) == (2, None, ())
    assert said[0] == (
        "the only folder cats is no class, so there are no labels; if its own folders are the "
        "classes, give cats itself"
    )
    known = outline(tmp_path)
    assert known is not None
    assert known.classes == 0
    assert load(tmp_path, size=8, stack=1).classes == ()


def test_the_training_part_decides_whether_there_are_classes(tmp_path: Path) -> None:
    two = pictures(tmp_path / "two", "train/a/1.png", "train/b/1.png", "test/b/1.png")
    test = load(two, size=8, split="test").with_classes_of(load(two, size=8))
    assert test.y is not None
    assert (test.y.tolist(), test.classes) == ([1], ("a", "b"))
    one = pictures(tmp_path / "one", "train/a/1.png", "test/a/1.png", "test/b/1.png")
    flat = pictures(tmp_path / "flat", "train/1.png", "test/a/1.png", "test/b/1.png")
    for folder in (one, flat):
        assert load(folder, size=8).y is None
        assert load(folder, size=8, split="test").y is None


def test_classes_nested_at_any_depth(tmp_path: Path) -> None:
    pictures(tmp_path, "bedroom/a/b/c/1.png", "bedroom/a/2.png", "tower/3.png")
    assert load(tmp_path, size=8).histogram() == {"bedroom": 2, "tower": 1}


def test_lsun_as_its_script_exports_it(tmp_path: Path) -> None:
    pictures(
        tmp_path,
        *("bedroom_train/a/b/1.png", "bedroom_train/2.png", "bedroom_val/a/1.png"),
        *("church_outdoor_train_lmdb/0/1.png", "church_outdoor_val_lmdb/0/1.png"),
    )
    said: list[str] = []
    data = load(tmp_path, size=8, report=said.append)
    assert data.histogram() == {"bedroom": 2, "church_outdoor": 1}
    assert said[0] == "the folders NAME_val are the test part, as LSUN has it"
    assert load(tmp_path, size=8, split="test").histogram() == {"bedroom": 1, "church_outdoor": 1}
    single = pictures(tmp_path / "single", "tower_train/a/1.png", "tower_val/a/1.png")
    for split in ("train", "test"):
        data = load(single, size=8, split=split)
        assert (len(data), data.classes) == (1, ())


@pytest.mark.parametrize(
    "names", [("toy_train/1.png", "real_train/1.png"), ("a_train/1.png", "a_val/1.png", "b/1.png")]
)
def test_folders_that_are_no_parts_are_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    pictures(tmp_path, *names)
    assert len(load(tmp_path, size=8).classes) == len(names)
    with pytest.raises(NoSplitError):
        load(tmp_path, split="test")


def test_a_database_of_lsun_is_explained(tmp_path: Path) -> None:
    (tmp_path / "bedroom_train_lmdb").mkdir()
    (tmp_path / "bedroom_train_lmdb" / "data.mdb").write_bytes(b"")
    with pytest.raises(UserError, match=r"LSUN's own data\.py export"):
        load(tmp_path)

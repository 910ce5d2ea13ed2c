"""CelebA: the usual crop, the list of parts, wherever it lies, folders and archives."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minigan.data import NoSplitError, load
from minigan.errors import UserError

LIST = "000001.jpg 0\n000002.jpg 1\n000003.jpg 2\n000004.jpg 0\n"


def faces(folder: Path, count: int = 4, suffix: str = "jpg") -> Path:
    folder.mkdir(parents=True)
    for i in range(1, count + 1):
        pixels = np.full((218, 178), 40 * i, np.uint8)
        pixels[:20] = pixels[198:] = 255  # what the usual crop leaves out
        Image.fromarray(pixels).save(folder / f"{i:06}.{suffix}", quality=95)
    return folder


def greys(place: Path, split: str = "train") -> list[int]:
    """Which pictures are in a split."""
    data = load(place, size=89, split=split)
    assert (data.y, data.classes) == (None, ())
    inner = data.x[:, 0, 2:-2]
    assert inner.max() < 170  # the crop is exact
    return [round(int(image.mean()) / 40) for image in inner]


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_without_a_list_all_are_training_data(tmp_path: Path, suffix: str) -> None:
    faces(tmp_path / "img_align_celeba", suffix=suffix)
    said: list[str] = []
    for place in (tmp_path, tmp_path / "img_align_celeba"):
        assert greys(place) == [1, 2, 3, 4]
        load(place, size=8, report=said.append)
        with pytest.raises(NoSplitError, match=r"list_eval_partition\.txt"):
            load(place, split="test")
    assert "178 x 178 of 178 x 218 pixels (rows 20 to 197)" in said[0]


@pytest.mark.parametrize("where", [".", "Eval", "../Eval"])
@pytest.mark.parametrize("packed", [False, True])
def test_the_list_makes_parts(tmp_path: Path, where: str, packed: bool) -> None:
    base = tmp_path / "CelebA" / "Img"
    folder = faces(base / "img_align_celeba")
    (base / where).mkdir(exist_ok=True)
    (base / where / "list_eval_partition.txt").write_text(LIST)
    places = [base, folder]
    if packed:
        places = [base / "img_align_celeba.zip"]
        with zipfile.ZipFile(places[0], "w") as archive:
            for path in folder.iterdir():
                archive.write(path, f"img_align_celeba/{path.name}")
    for place in places:
        assert greys(place) == [1, 4]
        assert greys(place, "test") == [3]


def test_an_archive_with_its_own_list_and_nested_folders(tmp_path: Path) -> None:
    folder = faces(tmp_path / "faces")
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"img_align_celeba/img_align_celeba/{path.name}")
        lines = LIST.replace(" ", ",")
        archive.writestr("list_eval_partition.csv", f"image_id,partition\n{lines}")
        archive.writestr("list_attr_celeba.csv", "image_id")
    assert greys(tmp_path / "archive.zip") == [1, 4]
    assert greys(tmp_path / "archive.zip", "test") == [3]


def test_a_part_of_celeba(tmp_path: Path) -> None:
    folder = faces(tmp_path / "img_align_celeba", 4)
    (tmp_path / "list_eval_partition.txt").write_text(LIST.replace("000003.jpg", "000007.jpg"))
    said: list[str] = []
    assert len(load(folder, size=8, report=said.append)) == 2
    assert any("2 of 4 images are the train part" in text for text in said)
    assert any("passed over 1 images that are not in" in text for text in said)
    with pytest.raises(NoSplitError, match="has no test images"):
        load(folder, split="test")
    for bad in ("000001.jpg\n", "000001.jpg 3\n", "a b c\n"):
        (tmp_path / "list_eval_partition.txt").write_text(bad)
        with pytest.raises(UserError, match="not a picture and its part"):
            load(folder)


def test_other_pictures_of_such_names_are_no_celeba(tmp_path: Path) -> None:
    folder = faces(tmp_path / "numbered")
    (tmp_path / "list_eval_partition.txt").write_text(LIST)
    assert len(load(folder, size=8)) == 4
    other = faces(tmp_path / "img_align_celeba")
    (other / "000001.jpg").rename(other / "one.jpg")
    assert len(load(other, size=8)) == 4

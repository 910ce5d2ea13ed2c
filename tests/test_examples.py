"""What the scripts in examples/ measure and write, without the training that they are for."""

from __future__ import annotations

from pathlib import Path

import pytest

import examples.gallery as gallery
from minigan.errors import UserError
from minigan.run import repeatable

# --- The gallery -----------------------------------------------------------------------------


def test_a_gallery_of_nothing_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"{gallery.BEGIN}\nold\n{gallery.END}\n")
    monkeypatch.setattr(gallery, "README", readme)
    with pytest.raises(UserError, match="wants the run directories"):
        gallery.main([])
    assert "old" in readme.read_text()


def test_the_gallery_shows_a_run(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"{gallery.BEGIN}\nold\n{gallery.END}\n")
    (tmp_path / "pictures").mkdir()
    monkeypatch.setattr(gallery, "README", readme)
    monkeypatch.setattr(gallery, "HERE", tmp_path)
    gallery.main([str(finished)])
    text = readme.read_text()
    assert "`minigan train gan --hidden 8" in text
    assert "--data digits0 --steps 2 --init-g 1`" in text
    assert "Round 2, seed 0, 0.0 minutes.\n" in text
    assert str(finished.parent) not in text
    assert (tmp_path / "pictures" / "gan-digits0.png").is_file()


@pytest.mark.parametrize(
    ("command", "data", "shown"),
    [
        ("train gan --data /home/me/mnist --out /tmp/run --k 2", "mnist", "--data mnist --k 2"),
        ("train gan --data=/home/me/mnist --out=/tmp/run --k=2", "mnist", "--data mnist --k=2"),
        ("train gan --data mnist --stack 2", "mnist-stack2", "--data mnist --stack 2"),
    ],
)
def test_a_command_is_shown_without_paths(command: str, data: str, shown: str) -> None:
    assert repeatable(f"minigan {command}", data) == f"minigan train gan {shown}"

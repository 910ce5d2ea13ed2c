"""A recipe of one's own: found by name or path, trained as the built-in ones, refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
from tiny import Shell

from minigan import gans
from minigan.training.run import Run

RECIPE = '''
"""Least squares."""

from dataclasses import dataclass
from typing import ClassVar

from minigan import Tensor, nn, no_grad
from minigan.optim import Adam
from minigan.recipe import Recipe


@dataclass(frozen=True)
class LeastSquares(Recipe):
    """Mao et al. 2017, "Least squares generative adversarial networks", arXiv:1611.04076."""

    batch_size: int = 4  # samples in a batch
    target: float = 1.0  # what D should say of a real sample

    steps: ClassVar[int] = 7

    def output_range(self, shape):
        return -1.0, 1.0

    def players(self, rng, shape):
        c, h, w = shape
        G = nn.Sequential(
            nn.Linear(3, c * h * w, rng=rng, activation=nn.Tanh()), nn.Reshape(*shape)
        )
        D = nn.Sequential(nn.Flatten(), nn.Linear(c * h * w, 1, rng=rng))
        return {"G": G, "D": D}

    def optimizers(self, players):
        return {name: Adam(p.parameters(), 1e-3) for name, p in players.items()}

    def round(self, players, batches, rng, step):
        G, D = players["G"], players["D"]
        real = next(batches)
        with no_grad():
            fake = G(Tensor(self.latent(rng, len(real))))
        yield "D", ((D(real) - self.target) ** 2 + D(fake) ** 2).mean(), {}
        fake = G(Tensor(self.latent(rng, len(real))))
        yield "G", ((D(fake) - self.target) ** 2).mean(), {}

    def latent(self, rng, n):
        return rng.normal((n, 3))
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the recipe path."""
    found = tmp_path / "recipes"
    found.mkdir()
    monkeypatch.setenv("MINIGAN_RECIPES", str(found))
    return found


def trains(shell: Shell, name: str, tmp_path: Path) -> None:
    data = tiny.write_idx(tmp_path / "digits")
    out = tmp_path / "run"
    flags = ["--target", "0.9", "--sample-every", "4", "--checkpoint-every", "4"]
    answer = shell.succeeds("train", name, "--data", data, *flags, "--out", out)
    assert str(out / "report.html") in answer.out
    run = Run.open(out)
    assert run.config["hyper_parameters"] == {"batch_size": 4, "target": 0.9}
    assert [row["step"] for row in run.rows()] == [1, 2, 3, 4, 5, 6, 7]
    shell.succeeds("train", name, "--resume", "--out", out, "--more", "2")
    assert len(Run.open(out).rows()) == 9
    named = ["--recipe", name] if name.endswith(".py") else []
    shell.succeeds("sample", out, "--count", "4", *named)
    assert (out / "sample.png").is_file()


def test_a_recipe_dropped_into_a_folder_trains_by_name(
    folder: Path, shell: Shell, tmp_path: Path
) -> None:
    (folder / "least_squares.py").write_text(RECIPE)
    assert "least_squares" in gans.names()
    listed = shell.succeeds("recipes").out
    assert "least_squares" in listed
    assert "arXiv:1611.04076" in listed
    text = shell.succeeds("train", "least_squares", "--help").out
    assert "--target" in text
    assert "what D should say of a real sample (default: 1.0)" in " ".join(
        text.replace("│", " ").split()
    )
    trains(shell, "least_squares", tmp_path)


def test_a_recipe_is_found_however_its_words_are_joined(
    folder: Path, shell: Shell, tmp_path: Path
) -> None:
    (folder / "least_squares.py").write_text(RECIPE)
    trains(shell, "least-squares", tmp_path)


def test_what_recipes_lists_can_be_loaded(folder: Path) -> None:
    (folder / "least-squares.py").write_text(RECIPE)
    for name in gans.names():
        assert gans.load(name).__doc__


def test_a_recipe_with_the_name_of_a_built_in_one_is_refused(folder: Path, shell: Shell) -> None:
    mine = folder / "wgan-gp.py"
    mine.write_text(RECIPE)
    for words in (["train", "wgan_gp"], ["recipes"]):
        shell.refuses(*words, says=(str(mine), "wgan_gp", "rename the file"))
    mine.unlink()
    shell.succeeds("recipes")


def test_a_recipe_trains_by_the_path_of_its_file(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(RECIPE)
    trains(shell, str(file), tmp_path)


def test_a_recipe_that_is_run_by_a_relative_path_is_found_from_elsewhere(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(RECIPE)
    data = tiny.write_idx(tmp_path / "digits")
    monkeypatch.chdir(tmp_path)
    shell.succeeds("train", "mine.py", "--data", data.name, "--steps", "1", "--out", "run")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    named = ["--recipe", tmp_path / "mine.py"]
    shell.succeeds("train", "--resume", "--out", tmp_path / "run", "--more", "1", *named)
    shell.succeeds("sample", tmp_path / "run", "--count", "1", *named)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1\n", "one subclass of Recipe"),
        (RECIPE + "\n\nclass Other(LeastSquares):\n    pass\n", "one subclass of Recipe"),
        ("def (\n", "syntax"),
        ("import no_such_module\n", "no_such_module"),
    ],
    ids=["none", "two", "syntax", "import"],
)
def test_a_recipe_file_that_cannot_be_used_is_named(
    folder: Path, shell: Shell, text: str, says: str
) -> None:
    (folder / "broken.py").write_text(text)
    shell.refuses("train", "broken", says=("broken.py", says))
    shell.refuses("train", folder / "broken.py", says=("broken.py", says))


def test_one_broken_recipe_leaves_the_others_usable(
    folder: Path, shell: Shell, tmp_path: Path
) -> None:
    (folder / "broken.py").write_text("def (\n")
    (folder / "least_squares.py").write_text(RECIPE)
    trains(shell, "least_squares", tmp_path)

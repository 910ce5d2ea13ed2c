"""The command line: what works."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image
from tiny import Shell

import minigan
from minigan import gans
from minigan.commands import recipes

EXAMPLES = Path(__file__).parents[2] / "examples"
VERBS = ["train", "sample", "evaluate", "export", "recipes", "data", "gradcheck", "doctor"]


# --- What works ------------------------------------------------------------------------------


def test_help_lists_every_command(shell: Shell) -> None:
    for words in ([], ["--help"], ["-h"]):
        text = shell.succeeds(*words).out
        for verb in VERBS:
            assert re.search(rf"^  {verb} +\w", text, re.MULTILINE)
        assert "--debug" in text
        assert "--version" in text


def test_version(shell: Shell) -> None:
    assert shell.succeeds("--version").out == f"minigan {minigan.__version__}\n"


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_has_a_help(shell: Shell, verb: str, flag: str) -> None:
    answer = shell.succeeds(verb, flag)
    assert f"minigan {verb}" in answer.out
    assert answer.err == ""


def flags(text: str) -> dict[str, str]:
    """Every flag in a help text and what is said of it."""
    lines = [re.sub(r"^[│╭╰ ]|[│╮╯]$", "", line) for line in text.splitlines()]
    found: dict[str, str] = {}
    name = None
    for indented in lines:
        line = indented.strip()
        match = re.match(r"(?:-h, )?(--[a-z][\w-]*)(?:, --[\w-]+)*( [A-Z]+| \{[^}]*\})?(.*)", line)
        if match and len(indented) - len(indented.lstrip()) < 4:  # and no flag within a text
            name = match[1]
            found[name] = match[3].strip()
        elif line.startswith(("─", "-")) or not line:
            name = None
        elif name is not None:
            found[name] += " " + line
    return found


@pytest.mark.parametrize(
    "words",
    [*(["train", name] for name in gans.names()), ["train"], ["train", "--resume"], ["sample"]],
    ids=" ".join,
)
def test_every_flag_says_what_it_is_for(shell: Shell, words: list[str]) -> None:
    found = flags(shell.succeeds(*words, "--help").out)
    assert len(found) >= 6
    for flag, text in found.items():
        said = re.sub(r"\(default:.*?\)", "", text).strip()
        assert len(said) > 8, f"{flag} says only {text!r}"


def test_the_help_of_train_tells_everything_that_train_takes(shell: Shell) -> None:
    found = flags(shell.succeeds("train", "dcgan", "--help").out)
    given = ["--data", "--steps", "--seed", "--device", "--out", "--size", "--batch-size", "--lr-d"]
    assert set(given) <= found.keys()
    assert "--resume" in found
    assert "(default: 0.0002)" in found["--lr-d"]


def test_recipes_are_listed_with_what_they_are_for(shell: Shell) -> None:
    text = shell.succeeds("recipes").out
    blocks = dict(re.split(r" +|\n", block, maxsplit=1) for block in text.split("\n\n")[:-1])
    assert blocks.keys() == {*gans.names()}
    for name, paper in (("gan", "arXiv:1406.2661"), ("dcgan", "arXiv:1511.06434")):
        assert paper in blocks[name]
    purpose, _, length, picture = map(str.strip, blocks["dcgan"].splitlines())
    assert purpose == "convolutional networks that make adversarial training stable"
    assert re.match(
        r"trains on square images of 28 to 128 pixels; 2,000 steps, at most [\d.]+ minutes", length
    )
    assert picture == "picture: examples/pictures/dcgan-glyphs.png"


def test_every_recipe_says_what_it_takes_and_shows() -> None:
    for name in gans.names():
        kind = gans.load(name)
        assert kind.takes, name
        if kind.picture:
            assert (EXAMPLES / "pictures" / kind.picture).is_file(), name


def test_the_minutes_of_recipes_are_at_most_those_of_the_examples() -> None:
    """Of runs of the usual length on unstacked images, without flags of the recipe."""
    results = EXAMPLES / "results"
    gallery = json.loads((results / "gallery.json").read_text())
    known = [json.loads(path.read_text()) for path in results.glob("*-seed?.json")]
    plain = {"--data", "--steps", "--seed", "--sample-every", "--checkpoint-every"}
    measured: dict[tuple[str, int], list[float]] = {}
    for run in [*known, *gallery]:
        if set(re.findall(r"--[a-z-]+", run["command"])) <= plain:
            measured.setdefault((run["recipe"], run["steps"]), []).append(run["minutes"])
    for name in gans.names():
        kind = gans.load(name)
        longest = max(measured.get((name, kind.steps), [0.0]))
        assert vars(kind).get("minutes", 0.0) == round(longest, 1), name


@pytest.mark.parametrize("width", [80, 120])
def test_recipes_fit_a_terminal(width: int, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys, "stdout", Terminal())
    recipes.main([])
    lines = sys.stdout.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert max(map(len, lines)) > width - 20


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_data_are_listed_with_their_sources(shell: Shell) -> None:
    text = shell.succeeds("data", "list").out
    for name in ("glyphs", "ring", "grid", "mixture1d", "mnist", "fashion-mnist"):
        assert re.search(rf"^{name} ", text, re.MULTILINE)
    terms = {
        "pictures": "your own", "arrays": ".npz", "CIFAR-10": "Krizhevsky", "EMNIST": "Cohen",
        "SVHN": "non-commercial", "CelebA": "research", "LSUN": "Yu et al", "Noto": "Apache-2.0",
    }  # fmt: skip
    for name, word in terms.items():
        assert re.search(rf"^{name}.*{word}", text, re.MULTILINE)


def test_doctor_finds_the_kernels_in_order(shell: Shell) -> None:
    text = shell.succeeds("doctor").out
    for word in ("python", "numpy", "numba", "cores", "blas", "conv2d"):
        assert re.search(rf"^{word} ", text, re.MULTILINE)
    assert "the kernels agree" in text


def test_sample_draws_a_grid(shell: Shell, run: Path, tmp_path: Path) -> None:
    before = tiny.tree(run)
    out = tmp_path / "grid.png"
    assert str(out) in shell.succeeds("sample", run, "--count", "9", "--out", out).out
    with Image.open(out) as picture:
        assert picture.width == picture.height > 3 * 8
    assert tiny.tree(run) == before
    again, other = tmp_path / "again.png", tmp_path / "other.png"
    shell.succeeds("sample", run, "--count", "9", "--out", again)
    shell.succeeds("sample", run, "--count", "9", "--seed", "1", "--out", other)
    assert again.read_bytes() == out.read_bytes() != other.read_bytes()


def test_sample_draws_into_the_run_unless_told(shell: Shell, run: Path) -> None:
    shell.succeeds("sample", run)
    assert (run / "sample.png").is_file()


def test_sample_draws_single_images(shell: Shell, run: Path, tmp_path: Path) -> None:
    shell.succeeds("sample", run, "--single", "--count", "3", "--out", tmp_path / "singles")
    paths = sorted((tmp_path / "singles").iterdir())
    assert [path.name for path in paths] == ["0000.png", "0001.png", "0002.png"]
    for path in paths:
        with Image.open(path) as picture:
            assert (picture.size, picture.mode) == ((8, 8), "L")


def test_single_images_of_a_larger_draw_are_not_mixed_with_others(shell: Shell, run: Path) -> None:
    shell.succeeds("sample", run, "--single", "--count", "3")
    (run / "singles/mine.png").write_bytes(b"mine")
    before = tiny.tree(run)
    words = ["sample", run, "--single", "--count", "2", "--overwrite"]
    shell.refuses(*words, says=("singles holds images of another draw, such as 0002.png", "--out"))
    assert tiny.tree(run) == before


def test_sample_walks_between_latent_vectors(
    shell: Shell, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from minigan.training.trained import Trained

    walked = []
    plain = Trained.samples
    monkeypatch.setattr(
        Trained, "samples", lambda self, z, **k: (walked.append(z), plain(self, z, **k))[1]
    )
    words = ["--walk", "5", "--count", "10", "--out", tmp_path / "walk.png"]
    shell.succeeds("sample", run, *words)
    (z,) = walked
    rows = z.reshape(2, 5, -1)  # two walks of five steps
    for row in rows:
        step = (row[-1] - row[0]) / 4
        np.testing.assert_allclose(row, row[0] + np.arange(5)[:, None] * step, atol=1e-6)
    assert (rows[0, 0] != rows[1, 0]).any()
    with Image.open(tmp_path / "walk.png") as picture:
        assert picture.width > 2 * picture.height


def test_sample_makes_the_folders_of_its_picture(shell: Shell, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "picture.png"
    shell.succeeds("sample", run, "--count", "1", "--out", out)
    with Image.open(out) as picture:
        assert picture.format == "PNG"


def test_the_installed_program_and_the_module_answer() -> None:
    for command in (tiny.COMMAND, [sys.executable, "-m", "minigan"]):
        answer = subprocess.run(
            [*command, "--version"], capture_output=True, text=True, env=tiny.environment()
        )
        assert (answer.returncode, answer.stdout) == (0, f"minigan {minigan.__version__}\n")


def test_importing_minigan_imports_nothing_heavy() -> None:
    heavy = {"numba", "matplotlib", "PIL", "cupy", "rich", "tyro", "pooch", "requests", "scipy"}
    heavy |= {"torch", "safetensors", "starlette"}
    code = f"import sys, minigan; print(sorted(sys.modules.keys() & {heavy}))"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=tiny.environment()
    )
    assert answer.stdout == "[]\n", answer.stderr


def test_a_reader_that_goes_away_is_no_error() -> None:
    code = "import sys; from minigan.cli import main; sys.exit(main())"
    reader, writer = os.pipe()
    os.close(reader)
    try:
        answer = subprocess.run(
            [sys.executable, "-c", code, "data", "list"],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            env=tiny.environment(),
        )
    finally:
        os.close(writer)
    assert answer.stderr == ""
    assert answer.returncode == 0


# --- Debugging -------------------------------------------------------------------------------


def test_debug_shows_where_an_error_arose(here: Path) -> None:
    for words, shown in ((["xyzzy"], False), (["--debug", "xyzzy"], True)):
        answer = subprocess.run(
            [*tiny.COMMAND, *words], capture_output=True, text=True, env=tiny.environment()
        )
        assert ("Traceback" in answer.stderr) == shown
        assert "there is no command xyzzy" in answer.stderr
        assert answer.returncode != 0
        if not shown:
            assert answer.returncode == 2
            assert answer.stdout == ""

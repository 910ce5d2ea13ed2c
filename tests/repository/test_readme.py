"""What the README and the pages that it links to print works."""

from __future__ import annotations

import importlib
import re
import runpy
import shlex
import sys
import types
from pathlib import Path

import minigan_kernels
import numpy as np
import pytest
import tiny
from minigan_kernels.cpu.conv import select
from minigan_kernels.cpu.conv.winograd import blocking
from minigan_kernels.cpu.runtime.parallel import use_threads
from tiny import Shell

import bench.__main__
import examples.recipes as recipes
import examples.transform as transform
import minigan
from minigan import gans
from minigan.data import catalogue
from minigan.errors import UserError
from minigan.page_parts import around_part
from minigan.training.recipe import Recipe
from minigan.training.state import State

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
KERNELS = ROOT / "kernels" / "README.md"
PAGES = [
    README,
    *(ROOT / folder / "README.md" for folder in ("examples", "bench", "kernels")),
    ROOT / ".github" / "CONTRIBUTING.md",
]
CODE = ("minigan", "kernels", "bench", "examples", "tests")

TRAIN = "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/minigan train"
TEST = "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/pytest"

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NO_FLAG = "--no-such-flag"  # refused after all other flags were read, and before any work
SPARED = {"python3", "pip", "pytest", "pre-commit", "git"}  # others' commands


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


each_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


def blocks(page: Path, *languages: str) -> list[str]:
    """The fenced blocks of a page in these languages."""
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [code for language, code in found if language in languages]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


# --- Commands --------------------------------------------------------------------------------


def commands(page: Path) -> list[str]:
    """All commands of a page: lines of shell blocks, and spans of code that begin with one."""
    lines = [line for code in blocks(page, "sh", "console") for line in code.splitlines()]
    parts = [part for line in lines for part in line.removeprefix("$ ").split("&&")]
    spans = re.findall(r"`((?:minigan|python) [^`]+)`", prose(page))
    found = [" ".join(part.split()) for part in [*parts, *spans]]
    return [command for command in found if command and not command.startswith("#")]


COMMANDS = [(name_of(page), command) for page in PAGES for command in commands(page)]


def test_the_readme_has_the_newcomers_two_commands() -> None:
    """Each on a line of its own in a shell block."""
    lines = [line for code in blocks(README, "sh") for line in code.splitlines()]
    assert TRAIN in lines
    assert TEST in lines


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_a_command_that_a_page_prints_is_understood(
    page: str, command: str, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its words are read by the command itself, which stops before it does anything."""
    words = shlex.split(command, comments=True)
    program = words[0].removeprefix(".venv/bin/")
    words = ["dcgan" if word == "RECIPE" else "1" if word == "N" else word for word in words[1:]]
    if program == "minigan":
        check_minigan(words, shell)
    elif program == "python":
        check_python(words, shell, monkeypatch)
    elif program not in SPARED:
        assert (ROOT / program).is_file(), program


def check_minigan(words: list[str], shell: Shell) -> None:
    verb, rest = (words[0], words[1:]) if words else ("--help", [])
    if verb == "bench":
        check_bench(rest, shell)
    elif verb in ("recipes", "data", "--help") or "--help" in rest:
        if rest[:1] == ["fetch"]:
            assert rest[1] in {entry.name for entry in catalogue()}
        else:
            shell.succeeds(verb, *rest)
    elif verb == "gradcheck":
        for name in rest:
            gans.load(name)
    else:
        if not rest and verb != "doctor":
            words = [verb, "dcgan" if verb == "train" else "RUN"]
        if "--resume" in words:  # there is no such run here, and it would be opened first
            words = words[: words.index("--out")] + words[words.index("--out") + 2 :]
        shell.refuses(*words, NO_FLAG, says=(f"has no flag {NO_FLAG}",))
        if "--data" in rest:
            data = rest[rest.index("--data") + 1]
            is_a_path = "/" in data or data.isupper()
            assert is_a_path or data in {entry.name for entry in catalogue()}


def check_python(words: list[str], shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    if words[:2] == ["-m", "bench"]:
        check_bench(words[2:], shell)
        return
    if words[0] == "-m":
        runpy.run_module(words[1], run_name="__main__")
        assert shell.capsys.readouterr().out
        return
    script = ROOT / words[0]
    assert script.is_file()
    if "argparse" not in script.read_text(encoding="utf-8"):
        assert not any(word.startswith("-") for word in words), "it takes no flags"
        return
    monkeypatch.setattr(sys, "argv", [*words, NO_FLAG])
    module = importlib.import_module(".".join(script.relative_to(ROOT).with_suffix("").parts))
    with pytest.raises(SystemExit) as stop:
        module.main()
    assert stop.value.code == 2
    assert f"unrecognized arguments: {NO_FLAG}" in shell.capsys.readouterr().err


def check_bench(words: list[str], shell: Shell) -> None:
    if words == ["--help"]:
        words = ["all"]
    with pytest.raises(SystemExit) as stop:
        bench.__main__.main([*words, NO_FLAG])
    assert stop.value.code == 2
    assert f"unrecognized arguments: {NO_FLAG}" in shell.capsys.readouterr().err


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150


def test_the_readme_lists_the_gans_as_they_are() -> None:
    text = README.read_text(encoding="utf-8")
    parts = around_part(text, recipes.BEGIN, recipes.END)
    assert text == recipes.section().join(parts), "say python examples/recipes.py"
    ours = [name for name in gans.names() if gans.load(name).__module__.startswith("minigan.")]
    assert all(f"`minigan train {name}`" in text for name in ours)


@pytest.mark.parametrize(
    ("module", "docstring", "says"),
    [
        ("Without a name.", 'A 2014, "T", arXiv:1406.2661.', "own.py should begin with"),
        ("Own: an idea.", "A GAN of my own.", "Own should begin with: Authors"),
    ],
)
def test_a_recipe_without_idea_or_paper_is_refused(
    module: str, docstring: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type("Own", (Recipe,), {"__doc__": docstring, "__module__": "own"})
    monkeypatch.setitem(sys.modules, "own", types.ModuleType("own", module))
    with pytest.raises(UserError, match=says):
        recipes.row("own", kind)


def test_the_environment_variables_are_listed() -> None:
    """Those of the code, and none that it does not know."""
    files = [f for folder in CODE for f in (ROOT / folder).rglob("*.py") if f != Path(__file__)]
    code = "".join(file.read_text(encoding="utf-8") for file in files)
    listed = set(re.findall(r"^\| `(\w+)` \|", prose(PAGES[-1]), re.MULTILINE))
    assert {name for name in listed if name.isupper()} >= set(re.findall(r"MINIGAN_[A-Z_]+", code))
    assert not [name for name in listed if name.isupper() and name not in code]


@pytest.mark.parametrize(
    "word", ["train", "sample", "evaluate", "recipes", "data", "gradcheck", "doctor"]
)
def test_the_readme_shows_each_command(word: str) -> None:
    assert re.search(rf"minigan {word}\b", README.read_text(encoding="utf-8"))


# --- Code ------------------------------------------------------------------------------------


@each_page
def test_the_python_of_a_page_works(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All blocks of a page, one after the other."""
    code = blocks(page, "python")
    assert code or page != README, "the README has no tour"
    run(code, name_of(page), tmp_path, monkeypatch)


def test_the_step_that_the_readme_shows_is_dcgans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = run(blocks(README, "python"), "README.md", tmp_path, monkeypatch)["round"]
    kind = gans.load("dcgan")
    both = [
        each(width=4, batch_size=4) for each in (kind, type("Shown", (kind,), {"round": shown}))
    ]
    states = [State.fresh(recipe, tiny.images(), 0) for recipe in both]
    for _ in range(2):
        for state in states:
            state.advance()
    for name, player in states[0].players.items():
        for key, array in player.state().items():
            np.testing.assert_array_equal(array, states[1].players[name].state()[key], key)


def run(
    code: list[str], name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, object]:
    monkeypatch.chdir(folder)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for number, block in enumerate(code, 1):
        exec(compile(block, f"{name}, python block {number}", "exec"), namespace)
    return namespace


# --- Links and pictures ----------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """What links may name behind a #, as GitHub makes it of headings."""
    headings = re.findall(r"^#+ +(.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    text = prose(page)
    links = re.findall(r"\]\(([^)\s]+)[^)]*\)|(?:src|href)=\"([^\"]+)\"", text)
    wrong = []
    for link in (a or b for a, b in links):
        place, _, anchor = link.partition("#")
        if "://" in place:
            continue
        target = (page.parent / place).resolve() if place else page
        there = target.exists() and ROOT in target.parents
        if not there or (anchor and anchor not in anchors(target)):
            wrong.append(link)
    assert not wrong


def test_the_kernels_page_names_what_is_in_the_files() -> None:
    """Names in code style that follow a link are in the file that it leads to."""
    found = re.findall(r"\]\(([^)]+)\)((?:,? `[^`]+`)+)", prose(KERNELS))
    assert len(found) > 50
    wrong = [
        f"{name} is not in {place}"
        for place, names in found
        for name in re.findall(r"`([^`]+)`", names)
        if not re.search(
            rf"\b{name.rpartition('.')[2]}\b",
            (KERNELS.parent / place).read_text(encoding="utf-8"),
        )
    ]
    assert not wrong


def test_a_convolution_takes_the_walk_of_the_kernels_page() -> None:
    """All of its hops in Python; compiled loops leave no trace."""
    walk = prose(KERNELS).partition("In Python:")[2].partition("In machine code:")[0]
    hops = re.findall(r"^\| \d+ \| \[[^\]]+\]\(([^)]+)\) `([^`]+)`", walk, re.MULTILINE)
    assert len(hops) == len(re.findall(r"^\| \d+ \|", walk, re.MULTILINE)) > 10
    rng = minigan.Generator(seed=0)
    activation = minigan.nn.LeakyReLU(0.2)
    layer = minigan.nn.Conv2d(64, 128, 4, stride=2, padding=1, rng=rng, activation=activation)
    x = minigan.Tensor(rng.normal((64, 64, 32, 32)))
    called: set[tuple[str, str]] = set()

    def note(frame: types.FrameType, event: str, _: object) -> None:
        code = frame.f_code
        called.update((code.co_filename, part) for part in code.co_qualname.split("."))

    with minigan_kernels.use("winograd"), use_threads(2):
        layer(x)  # compiles the loops
        select.cache_clear()
        blocking.clear_plans()
        before = sys.getprofile()
        sys.setprofile(note)
        try:
            layer(x)
        finally:
            sys.setprofile(before)
    missed = [
        (place, name)
        for place, name in hops
        if (str((KERNELS.parent / place).resolve()), name.rpartition(".")[2]) not in called
    ]
    assert not missed


def test_the_kernels_page_has_every_folder_on_its_map() -> None:
    package = KERNELS.parent / "minigan_kernels"
    folders = {f.parent for f in package.rglob("*.*") if f.suffix in (".py", ".cu")} - {package}
    links = re.findall(r"\]\((minigan_kernels/[^)]+)\)", prose(KERNELS))
    assert not folders - {KERNELS.parent / link for link in links}


def test_the_kernels_page_shows_generated_code_as_it_is(shell: Shell) -> None:
    text = KERNELS.read_text(encoding="utf-8")
    parts = around_part(text, transform.BEGIN, transform.END)
    assert text == transform.section().join(parts), "say python examples/transform.py"
    runpy.run_module("minigan_kernels.cpu", run_name="__main__")
    ((_, source),) = FENCE.findall(transform.section())
    assert source in shell.capsys.readouterr().out


@each_page
def test_pictures_say_what_they_show(page: Path) -> None:
    text = prose(page)
    pictures = re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", text)
    pictures += [
        ((re.findall(r'alt="([^"]*)"', tag) or [""])[0], tag)
        for tag in re.findall(r"<img[^>]*>", text)
    ]
    assert pictures or page != README, "the README shows no picture"
    mute = [source for words, source in pictures if len(words.split()) < 4]
    assert not mute, "pictures want a text that says what they show"


def test_every_picture_is_shown_by_a_page() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    files = [*ROOT.glob("examples/pictures/*"), *ROOT.glob("bench/results/*.png")]
    assert files
    assert not [file.name for file in files if file.name not in text]

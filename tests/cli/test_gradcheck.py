"""`minigan gradcheck`: recipes, and what a file of one's own defines and lists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tiny import Shell

from minigan.tensor import PRIMITIVES

OWN = '''
"""Own code: two recipes, a layer, a primitive and losses."""

from dataclasses import dataclass

import numpy as np

import minigan as mg
from minigan import Tensor, nn
from minigan.optim import SGD
from minigan.recipe import Recipe


@dataclass(frozen=True)
class Squares(Recipe):
    """Both players learn at once from points, one a value."""

    def output_range(self, shape):
        return None

    def players(self, rng, shape):
        (n,) = shape
        return {"G": nn.Linear(2, n, rng=rng), "D": nn.Linear(n, 1, rng=rng)}

    def optimizers(self, players):
        return {name: SGD(p.parameters(), 1e-3) for name, p in players.items()}

    def round(self, players, batches, rng, step):
        G, D = players["G"], players["D"]
        real, z = next(batches), Tensor(rng.normal((4, 2)))
        for _ in range(2):
            yield "D", ((D(real) - 1) ** 2 + D(G(z)) ** 2).mean(), {}
        yield "G", ((D(G(z)) - FACTOR) ** 2).mean(), {}


@dataclass(frozen=True)
class Cubes(Squares):
    def round(self, players, batches, rng, step):
        yield "D", mg.square(players["D"](next(batches))).mean() * 3, {}


FACTOR = 1


class Scale(nn.Module):
    """x times a number, with dropout."""

    def __init__(self, rng):
        self.factor = nn.Parameter(np.ones(3, np.float32))
        self.drop = nn.Dropout(0.5, rng=rng)

    def forward(self, x):
        return self.drop(x * self.factor)


def _double(x):
    return 2 * x


double = mg.primitive(_double, "double")
double.gradients(lambda g, y, x: 2 * g)


def hinge(real, fake):
    return mg.relu(1 - real).mean() + mg.relu(1 + fake).mean()


def picked(logits, labels):
    return mg.losses.softmax_cross_entropy(logits, labels)


GRADCHECK = {
    "scale": (Scale(mg.Generator(0)), (4, 3)),
    "double": (double, (4, 3)),
    "hinge": (hinge, (8,), (8,)),
    "picked": (picked, (4, 3), np.array([0, 2, 1, 0])),
    "arrays": (mg.multiply, np.ones((2, 2), np.float32), (2, 2)),
}
'''

LINE = re.compile(
    r"^(.+): right, largest relative error \d\.\de-\d\d \(threshold 1e-05\) along \d+ directions, "
    r"(none|\d+ of \d+) crossed a kink(; no influence here: .+)?$"
)


@pytest.fixture(autouse=True)
def known() -> object:
    """The table of primitives, as it was."""
    before = dict(PRIMITIVES)
    yield
    PRIMITIVES.clear()
    PRIMITIVES.update(before)


def own(folder: Path, old: str = "", new: str = "") -> Path:
    """The file of own code, with one expression changed."""
    assert not old or OWN.count(old) == 1
    path = folder / "own.py"
    path.write_text(OWN.replace(old, new) if old else OWN)
    return path


def checked(text: str) -> list[str]:
    """What the lines of right gradients name; all but the last line must be of this kind."""
    *lines, last = [line for line in text.splitlines() if "takes no" not in line]
    found = [LINE.match(line) for line in lines]
    assert all(found), text
    assert last == f"{len(lines)} of {len(lines)} right"
    return [match[1] for match in found if match]


def test_every_player_of_a_recipe_on_all_its_data(shell: Shell) -> None:
    assert checked(shell.succeeds("gradcheck", "gan").out) == [
        f"gan, {data}, {player}"
        for data, players in (
            ("images", "GD"),
            ("stacked images", "GD"),
            ("points in 1-D", "DG"),
            ("points in 2-D", "DG"),
        )
        for player in players
    ]


def test_data_that_a_recipe_refuses_are_named(shell: Shell) -> None:
    text = shell.succeeds("gradcheck", "bigan").out
    assert "bigan: takes no points in 1-D, no points in 2-D" in text.splitlines()
    assert len(checked(text)) == 6


def test_a_wrong_gradient_is_named(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    matmul = PRIMITIVES["matmul"]
    first, second = matmul.rules
    assert first is not None
    monkeypatch.setattr(matmul, "rules", (lambda *a, **k: 1.1 * first(*a, **k), second))
    answer = shell("gradcheck", "gan")
    assert answer.code == 1
    assert re.search(
        r"^gan, images, G: WRONG, the derivative of order 1 with respect to G's layers\.\d\.weight "
        r"of shape \(\d+, \d+\) is \S+ along a random direction, but the difference quotient is "
        r"\S+ at the step 1e-06 and \S+ at 3e-07: a relative error of \S+ \(threshold 1e-05\)$",
        answer.out,
        re.MULTILINE,
    )


def test_a_file_of_ones_own(shell: Shell, tmp_path: Path) -> None:
    path = own(tmp_path)
    points = [f"points in {n}-D" for n in (1, 2)]
    squares = ["D (update 1 of 2)", "D (update 2 of 2)", "G"]
    text = shell.succeeds("gradcheck", path).out
    assert checked(text) == [
        *(f"{path}, Squares, {data}, {update}" for data in points for update in squares),
        *(f"{path}, Cubes, {data}, D" for data in points),
        *(f"{path}, {name}" for name in ("scale", "double", "hinge", "picked", "arrays")),
    ]
    assert "Squares, takes no images (" in text


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("2 * g)", "2.2 * g)", ["double: WRONG", "with respect to input 0"]),
        (
            "x * self.factor)",
            "x * (1.1 * self.factor - 0.1 * self.factor.detach()))",
            ["scale: WRONG", "with respect to factor of shape (3,)"],
        ),
        (
            "mg.relu(1 + fake).mean()",
            "mg.relu(1.1 + fake - (0.1 * fake).detach() + 0.1 * fake).mean()",
            ["hinge: WRONG", "with respect to input 1"],
        ),
        ("((D(G(z)) - FACTOR) ** 2).mean()", "(0 * D(G(z))).mean()", ["G: UNDECIDED", "nothing"]),
        ("(8,), (8,))", "np.array([1.0, 0.0]), (2,))", ["hinge: UNDECIDED", "kinks within"]),
    ],
)
def test_what_is_not_right_in_it(
    shell: Shell, tmp_path: Path, old: str, new: str, says: list[str]
) -> None:
    path = own(tmp_path, old, new)
    answer = shell("gradcheck", path)
    assert answer.code == 1
    lines = [line for line in answer.out.splitlines() if says[0] in line]
    assert lines
    assert all(says[1] in line for line in lines)
    assert re.search(r"^\d+ of \d+ right$", answer.out.splitlines()[-1])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1", ["defines no recipe and no GRADCHECK", "--help"]),
        ("GRADCHECK = [1]", ["must be a dict, not a list"]),
        ("GRADCHECK = {'a': 1}", ["GRADCHECK['a']", "(layer or function, input, ...)"]),
        ("GRADCHECK = {'a': (abs,)}", ["GRADCHECK['a']"]),
        ("GRADCHECK = {'a': (abs, [1.0])}", ["GRADCHECK['a']", "a shape such as (4, 3)"]),
        ("GRADCHECK = {'a': (3, (4,))}", ["GRADCHECK['a']"]),
        ("GRADCHECK = {'a': (abs, (-1,))}", ["GRADCHECK['a']"]),
        ("1 / 0", ["cannot be imported", "ZeroDivisionError"]),
    ],
)
def test_a_file_that_cannot_be_checked_is_refused(
    shell: Shell, tmp_path: Path, text: str, says: list[str]
) -> None:
    path = tmp_path / "odd.py"
    path.write_text(text)
    shell.refuses("gradcheck", path, says=(str(path), *says))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("return 2 * x", "raise OSError('no x')", ["GRADCHECK['double']", "OSError: no x"]),
        ("(double, (4, 3))", "(lambda x: 1.0, (4, 3))", ["a float, not a Tensor"]),
        ("(Scale(mg.Generator(0)), (4, 3))", "(Scale(mg.Generator(0)), (4, 7))", ["multiply"]),
    ],
)
def test_own_code_that_fails_is_named(
    shell: Shell, tmp_path: Path, old: str, new: str, says: list[str]
) -> None:
    answer = shell("gradcheck", own(tmp_path, old, new))
    assert answer.code == 1
    (line,) = answer.err.splitlines()
    assert line.startswith("minigan: GRADCHECK[")
    assert all(part in line for part in says), line


def test_what_has_nothing_to_differentiate_is_undecided(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "constant.py"
    path.write_text(
        "import numpy as np\nimport minigan as mg\n"
        "def f(x):\n    return mg.Tensor(np.ones(2))\n"
        "GRADCHECK = {'of labels': (f, np.arange(3)), 'of nothing': (f, (3,))}\n"
    )
    answer = shell("gradcheck", path)
    assert answer.code == 1
    assert answer.out.count("UNDECIDED, nothing was tested: it does not change with any of") == 2
    assert answer.out.endswith("0 of 2 right\n")


def test_a_recipe_that_takes_no_data_says_why(shell: Shell, tmp_path: Path) -> None:
    path = own(tmp_path, "(n,) = shape", "raise ValueError('never')")
    shell.refuses("gradcheck", path, says=("Squares takes none of images", "ValueError: never"))


def test_nothing_is_computed_before_all_names_are_known(shell: Shell) -> None:
    answer = shell("gradcheck", "gan", "dcgna")
    assert (answer.code, answer.out) == (2, "")
    assert "did you mean dcgan?" in answer.err


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_the_help_says_what_the_lines_mean(shell: Shell, flag: str) -> None:
    text = shell.succeeds("gradcheck", flag).out
    for word in ("right", "WRONG", "UNDECIDED", "GRADCHECK = {", "minigan.testing", "exit code"):
        assert word in text
    assert all(len(line) <= 80 for line in text.splitlines())

"""`bench same-speed`: the turns, the verdict, and the processes that take the steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as bench_main
from bench import same_speed
from minigan import gans
from minigan.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def other(tmp_path: Path) -> str:
    """The path of what looks like a checkout."""
    for folder in ("minigan", "kernels/minigan_kernels"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "__init__.py").touch()
    return str(tmp_path)


@pytest.fixture
def paced(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], list[str]]:
    """Two children of which this checkout's takes `factor` times as long; gives who was asked."""

    def start(factor: float) -> list[str]:
        asked: list[str] = []

        @contextmanager
        def child(checkout: Path, threads: int) -> Any:
            yield "here" if checkout == same_speed.HERE else "there"

        def ask(side: str, workload: Sequence[Any], steps: int) -> float | str:
            if workload[0] == "glo" and workload[2] == "ring":
                return "ValueError: glo takes no points"
            asked.append(side)
            noise = 3 if len(asked) % 7 == 0 else 1  # now and then somebody else computes
            return 0.1 * noise * (factor if side == "here" else 1)

        monkeypatch.setattr(same_speed, "_child", child)
        monkeypatch.setattr(same_speed, "ask", ask)
        return asked

    return start


@pytest.mark.parametrize(("factor", "code"), [(1.0, 0), (1.01, 0), (1.03, 1), (0.5, 0)])
def test_the_median_of_pairs_is_judged(
    factor: float,
    code: int,
    paced: Callable[[float], list[str]],
    other: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = paced(factor)
    words = ["same-speed", other, "--threads", "1", "--recipes", "gan,glo"]
    assert bench_main.main(words) == code
    said = capsys.readouterr().out
    assert f"{factor:.3f}" in said
    assert "gan, points" in said
    assert "glo, points" not in said  # refused on both sides
    assert said.endswith("some steps are slower\n" if code else "no step is slower\n")
    turns = asked[2 : 2 + 2 * same_speed.PAIRS]  # after one step of each, to see how long it takes
    assert turns[:4] == ["there", "here", "here", "there"]


def test_one_that_only_one_checkout_can_do_is_named(
    paced: Callable[[float], list[str]],
    other: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    paced(1.0)
    monkeypatch.setattr(
        same_speed, "ask", lambda side, *_: "KeyError: 'gan'" if side == "there" else 0.1
    )
    assert bench_main.main(["same-speed", other, "--threads", "1", "--recipes", "gan"]) == 2
    assert "gan is refused in one checkout: KeyError: 'gan'" in capsys.readouterr().err


def test_children_take_steps_and_say_what_they_cannot(tmp_path: Path) -> None:
    with same_speed._child(ROOT, 1) as child:
        assert float(same_speed.ask(child, ("gan", {"hidden": 4}, "ring"), 1)) > 0
        assert "glo" in str(same_speed.ask(child, ("glo", {}, "ring"), 1))
        assert float(same_speed.ask(child, ("gan", {"hidden": 4}, [1, 8, 8]), 2)) > 0
    with (
        same_speed._child(tmp_path, 1) as child,
        pytest.raises(UserError, match="cannot be run"),
    ):
        same_speed.ask(child, ("gan", {}, "ring"), 1)


def test_every_recipe_is_measured() -> None:
    names = gans.names()
    planned = same_speed.workloads(names)
    assert {work[0] for work in planned.values()} == {*names}
    assert same_speed.LARGE.keys() <= planned.keys()

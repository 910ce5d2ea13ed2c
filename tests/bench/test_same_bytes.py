"""`bench same-bytes`: what two checkouts compute alike, and a planted difference."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from minigan_kernels.cpu.isa.simd import LANES
from PIL import Image

from bench import __main__ as bench_main
from bench import same_bytes
from bench.same_bytes import (
    Difference,
    Setting,
    arrays_of,
    between,
    cases,
    difference,
    digest,
    first_step,
)
from minigan import gans
from minigan.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A checkout that differs in one recipe's learning rate for images, and shares the kernels."""
    folder = tmp_path / "changed"
    shutil.copytree(
        ROOT / "minigan", folder / "minigan", ignore=shutil.ignore_patterns("__pycache__")
    )
    (folder / "kernels").mkdir()
    (folder / "kernels" / "minigan_kernels").symlink_to(ROOT / "kernels" / "minigan_kernels")
    recipe = folder / "minigan" / "gans" / "lsgan.py"
    text = recipe.read_text()
    assert text.count("lr_d: float = 2e-4") == 1
    recipe.write_text(text.replace("lr_d: float = 2e-4", "lr_d: float = 2.002e-4"))
    return folder


def test_what_differs_is_found_and_nothing_else(
    changed: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(same_bytes, "MORE", {})
    words = ["same-bytes", str(changed), "--lanes", str(LANES), "--threads", "1", "--steps", "2"]
    assert bench_main.main([*words, "--recipes", "lsgan"]) == 1
    said = capfd.readouterr().out
    lines = [line for line in said.splitlines() if line.startswith("lsgan, ")]
    settings = said.count(" 1 thread, 2 steps")  # two where there is AMX: with and without it
    assert len(lines) == 2 * settings > 0
    for images, points in zip(lines[::2], lines[1::2], strict=True):
        assert "step-000002" in images
        assert "from step 1 on" in images
        assert points.endswith("the same")  # for points the rate is another one
    assert said.endswith("some bytes differ\n")


def test_the_answer_is_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [("gan, images", "00", None)]
    monkeypatch.setattr(same_bytes, "compared", lambda *_: rows)
    words = ["same-bytes", str(ROOT), "--lanes", "4,8", "--threads", "1"]
    assert bench_main.main(words) == 0
    said = capsys.readouterr().out
    assert "4 lanes, 1 thread, 20 steps" in said
    assert "8 lanes, 1 thread, 20 steps" in said
    rows.append(("gan, points", "00", Difference("players/G/w", 1e-3, 1e-2, 3)))
    assert bench_main.main(words) == 1
    assert "players/G/w from step 3 on: 1.0e-03, 1.0e-02 of the" in capsys.readouterr().out


def test_all_recipes_run_on_all_that_they_take() -> None:
    planned = cases(gans.names(), Path("noise"), 20)
    for name in gans.names():
        assert {f"{name}, images", f"{name}, points"} <= planned.keys()
    assert {words[1] for words in planned.values()} == {*gans.names()}
    assert "--width=16" in planned["dcgan, images"]
    assert cases(["gon"], Path("noise"), 20).keys() == {"gon, images", "gon, points"}


def test_a_checkout_that_cannot_be_run_is_named(
    changed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        same_bytes.main([str(tmp_path)])
    assert f"{tmp_path} is no checkout" in capsys.readouterr().err
    (changed / "minigan" / "__init__.py").write_text("raise ImportError('of no use')\n")
    words = [str(changed), "--lanes", str(LANES), "--threads", "1", "--steps", "1"]
    assert same_bytes.main([*words, "--recipes", "glo"]) == 2
    assert f"minigan in {changed} cannot be run: ImportError: of no use" in capsys.readouterr().err


def test_a_run_that_either_checkout_refuses_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused, done = (2, "minigan: it takes no points"), (0, "")
    ends: dict[str, dict[str, tuple[int, str]]] = {}
    monkeypatch.setattr(same_bytes, "train", lambda *words: ends[words[3].name])
    monkeypatch.setattr(same_bytes, "arrays_of", lambda run: {})
    monkeypatch.setattr(same_bytes, "difference", lambda *words: None)
    planned = cases(["gan"], Path("noise"), 2)

    def found(**other: tuple[int, str]) -> dict[str, str]:
        ends["here"] = dict.fromkeys(planned, done) | {"gan, points": refused}
        ends["there"] = ends["here"] | {f"gan, {kind}": end for kind, end in other.items()}
        rows = same_bytes.compared(ROOT, planned, Setting(4, False, 1), tmp_path)
        return {name: str(difference or "") for name, _, difference in rows}

    assert found() == {"gan, images": "", "gan, wide": ""}
    assert found(points=done)["gan, points"].startswith("ends with 2 here (minigan: it takes no")
    assert found(images=(1, "minigan: no memory"))["gan, images"].endswith("(minigan: no memory)")
    done = refused
    with pytest.raises(UserError, match="neither checkout trains 'gan, images'"):
        found()


def test_how_large_a_difference_is() -> None:
    a = np.array([1.0, -4.0, 2.0], np.float32)
    assert between("w", a, a.copy(), None) is None
    assert between("w", a, a + np.float32([0, 0.5, 0]), 3) == Difference("w", 0.5, 0.125, 3)
    assert between("w", a, -0.0 * a, None) is not None
    zeros = np.zeros(2, np.float32)
    assert between("w", zeros, -zeros, None) == Difference("w", 0.0, np.inf)
    assert "finite" in str(between("w", a, a * np.float32(np.nan), None))
    assert "float64" in str(between("w", a, a.astype(np.float64), None))


def test_the_first_step_that_differs() -> None:
    rows = [{"step": n, "loss_G": 0.5 * n} for n in (1, 2, 3)]
    assert first_step(rows, [dict(row) for row in rows]) is None
    assert first_step(rows, rows[:2]) == 3
    assert first_step(rows, [rows[0], {"step": 2, "loss_G": 1.1}, rows[2]]) == 2
    undefined: list[dict[str, Any]] = [{"step": 1, "loss_G": float("nan")}]
    assert first_step(undefined, json.loads(json.dumps(undefined))) is None


def spoil_rows(run: Path) -> None:
    path = run / "metrics.jsonl"
    path.write_text(path.read_text().replace('"loss_G": 0', '"loss_G": 1'))


def spoil_picture(run: Path) -> None:
    path = run / "samples" / "step-000002.png"
    with Image.open(path) as image:
        image.rotate(180).save(path)


def spoil_checkpoint(run: Path, old: bytes, new: bytes) -> None:
    path = run / "checkpoints" / "step-000002.safetensors"
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))


@pytest.mark.parametrize(
    ("spoil", "where"),
    [
        (lambda run: None, None),
        (spoil_rows, "the losses from step 1 on"),
        (spoil_picture, "step-000002 samples"),
        (
            lambda run: spoil_checkpoint(
                run, b'"players/G/layers.0.bias"', b'"players/H/layers.0.bias"'
            ),
            "is not in both",
        ),
        (
            lambda run: spoil_checkpoint(run, b'\\"step\\": 2', b'\\"step\\": 3'),
            "the state of noise",
        ),
        (lambda run: (run / "checkpoints" / "step-000001.safetensors").unlink(), "step-000001"),
    ],
    ids=["nothing", "losses", "picture", "name", "facts", "first checkpoint"],
)
def test_all_that_a_run_directory_holds_is_compared(
    spoil: Callable[[Path], None], where: str | None, finished: Path, run: Path
) -> None:
    spoil(run)
    found = difference(finished, run, arrays_of(finished))
    if where is None:
        assert found is None
        assert digest(arrays_of(run)) == digest(arrays_of(finished))
    else:
        assert where in str(found)

"""The table of scores in examples/README.md is what examples/scores.py makes of the results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import examples.scores as table
from minigan.errors import UserError
from minigan.training.run import repeatable


def result(recipe: str = "gan", data: str = "ring", seed: int = 0, **values: Any) -> dict[str, Any]:
    scores = [
        {"key": key, "name": f"the {key}", "value": value, "error": None, "baseline": 0.989,
         "baseline_of": "the best", "real": 1, "fake": 1, "note": ""}
        for key, value in values.items()
    ]  # fmt: skip
    judge = {"data": data, "accuracy": 0.9931, "tested": 10_000, "tested_on": "the test images"}
    return {
        "recipe": recipe, "command": f"minigan train {recipe} --data {data} --seed {seed}",
        "steps": 3000, "data": data, "seed": seed, "minutes": 1.0 + seed, "evaluation": {},
        "classifier": judge if data == "mnist" else None, "scores": scores,
    }  # fmt: skip


def written(folder: Path, *results: dict[str, Any]) -> str:
    for one in results:
        (folder / f"{table.name_of(one)}.json").write_text(json.dumps(one))
    assert len(list(folder.iterdir())) == len(results)
    (folder / "modes.json").write_text("[another script's]")
    return table.section(folder)


def test_the_page_shows_the_results() -> None:
    text = table.PAGE.read_text(encoding="utf-8")
    _, begin, rest = text.partition(f"{table.BEGIN}\n\n")
    shown, end, _ = rest.partition(f"\n\n{table.END}")
    assert begin
    assert end
    assert shown == table.section(table.RESULTS)


def test_seeds_share_a_line(tmp_path: Path) -> None:
    runs = [
        result("pacgan", "grid", seed, modes=24 + seed % 2, high_quality=0.9, reverse_kl=kl)
        for seed, kl in enumerate((0.02, 0.04, 0.03, 0.03))
    ]
    line = written(tmp_path, *runs).splitlines()[4]
    assert line == (
        "| `pacgan` | grid | 3,000 | 2.5 | 24.5 ± 0.289 | 90 ± 0 % | 0.03 ± 0.00408 "
        "| 23.8, 91.3 %, 0.13 | 0-3 |"
    )


def test_a_code_that_differs_from_seed_to_seed_has_no_number(tmp_path: Path) -> None:
    runs = [result("infogan", "glyphs", seed, rank_slant=0.8, code_error_1=0.1) for seed in (0, 1)]
    for seed, run in enumerate(runs):
        run["scores"][0]["name"] = f"rank correlation of code {5 + seed} and slant"
        run["scores"][1]["name"] = "code 1 to class: error"
    text = written(tmp_path, *runs)
    assert "| rank correlation of a code and slant | 0.8 ± 0 |" in text
    assert "| code 1 to class: error |" in text


def test_other_flags_are_other_lines_and_other_papers(tmp_path: Path) -> None:
    wide = result("pacgan", modes=8, high_quality=0.9, reverse_kl=None)
    wide["command"] += " --packing 4 --out somewhere --ema 0.9"
    plain = result("pacgan", modes=8, high_quality=0.9, reverse_kl=0.1)
    text = written(tmp_path, wide, plain)
    assert "| `pacgan` | ring |" in text
    assert "| `pacgan --packing 4 --ema 0.9` | ring |" in text
    assert "| 8 | 90 % | inf | 7.8, 95.9 %, 0.07 | 0 |" in text
    assert "7.9, 95.6 %, 0.07" in text
    assert text.endswith(f"The papers' scores: {table.PACGAN}.")


def test_images_have_a_line_for_each_score_that_their_recipe_is_for(tmp_path: Path) -> None:
    one = result("sgan", "mnist", 3, error=0.0123, frechet=4.0, inception=9.0)
    one["scores"][0]["error"] = 0.0011
    text = written(tmp_path, one, result("dcgan", "mnist", frechet=4.5))
    assert (
        "| `sgan` | mnist | 3,000 | 4.0 | the error | 1.23 ± 0.11 % | 98.9 % (the best) |" in text
    )
    assert "0.93 ± 0.065 % | 3 |" in text
    assert "the frechet | 4.5 |" in text
    assert text.count("the frechet") == 1
    assert "that of mnist is right on 99.31% of 10,000 images (the test images)" in text


def test_the_best_supported_line_of_a_recipe_and_score_comes_first(tmp_path: Path) -> None:
    """Seeds count most, then a paper's number beside it, default settings, steps."""
    two = [result("dcgan", "glyphs", seed, frechet=30.0) for seed in (0, 1)]
    long = result("dcgan", "mnist", frechet=5.0) | {"steps": 9000}
    gan = [result("gan", data, parzen=value) for data, value in (("glyphs", 600), ("mnist", 200))]
    own = result("sngan", "glyphs", singular=1.0)
    own["command"] += " --lipschitz 2"
    plain, longer = (result("sngan", "glyphs", singular=1.1) | {"steps": n} for n in (10, 20))
    text = written(tmp_path, *two, long, *gan, own, plain, longer)
    shown, _, folded = text.partition("<details>\n<summary>The other 4 lines</summary>\n\n| recipe")
    assert [row.split("|")[1:4] for row in shown.splitlines()[2:] if row] == [
        [" `dcgan` ", " glyphs ", " 3,000 "],
        [" `gan` ", " mnist ", " 3,000 "],
        [" `sngan` ", " glyphs ", " 20 "],
    ]
    for row in ("| `dcgan` | mnist |", "| `gan` | glyphs |", "--lipschitz 2`", "| 10 |"):
        assert row in folded
    assert "</details>\n\nThe papers' scores" in folded


def test_stacks_have_a_line_for_the_modes(tmp_path: Path) -> None:
    one = result("pacgan", "mnist-stack3", modes=1000.0, modes_well=990, reverse_kl=0.07)
    one["command"] = "minigan train pacgan --data mnist --stack 3"
    text = written(tmp_path, one)
    assert "| `pacgan` | mnist-stack3 | 3,000 | 1.0 | the modes | 1000 | 0.989 (the best) |" in text
    assert "| 1000 | 0 |" in text
    assert "the reverse_kl | 0.07 |" in text
    command = repeatable("minigan train pacgan --data /a/mnist --stack 3", "mnist-stack3")
    assert command == "minigan train pacgan --data mnist --stack 3"


def test_results_are_collected_from_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = result("gan", "ring", modes=1, high_quality=0.5, reverse_kl=2.0)
    words = "minigan train gan --data /home/me/ring --out=/tmp/run --seed 0 --hidden 32"
    run, page = tmp_path / "run", tmp_path / "README.md"
    run.mkdir()
    with pytest.raises(UserError, match="minigan evaluate"):
        table.collect(run)
    (run / "scores.json").write_text(json.dumps(facts | {"step": 3000, "command": words}))
    page.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    monkeypatch.setattr(table, "PAGE", page)
    monkeypatch.setattr(table, "RESULTS", tmp_path / "results")
    table.main([str(run)])
    (file,) = (tmp_path / "results").iterdir()
    assert file.name == "gan-hidden-32-ring-3000-seed0.json"
    kept = json.loads(file.read_text())
    assert kept["command"] == "minigan train gan --data ring --seed 0 --hidden 32"
    assert "/home" not in file.read_text()
    text = page.read_text()
    assert "old" not in text
    assert "| `gan --hidden 32` | ring | 3,000 |" in text
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    page.write_text("nothing")
    with pytest.raises(UserError, match="lacks the lines"):
        table.main([str(run)])


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("infogan-mnist-10000-seed0", "code_error_1"),
        ("infogan-mnist-10000-seed1", "code_error_1"),
        ("infogan-categorical-0-uniform-6-weight-1-glyphs-10000-seed0", "rank_slant"),
        ("infogan-categorical-0-uniform-6-weight-1-glyphs-30000-seed0", "rank_slant"),
    ],
)
def test_the_scores_that_the_text_about_infogan_quotes_are_those_of_the_runs(
    name: str, key: str
) -> None:
    text = table.PAGE.read_text(encoding="utf-8").partition("\n## InfoGAN")[2].partition("\n## ")[0]
    scores = json.loads((table.RESULTS / f"{name}.json").read_text())["scores"]
    (value,) = (score["value"] for score in scores if score["key"] == key)
    assert f" {table._number(key, value)}" in text

"""What the report says of values: each has its sentence, and each reference line is true."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minigan import Tensor, gans, losses
from minigan.viz.meanings import Reference, distinct, meaning, meaning_of_score, references

OLD = Path(__file__).parents[1] / "training/old_runs/runs"
LOGITS = Tensor(np.zeros(4, np.float32))  # of a D that cannot tell


def runs() -> list[str]:
    return sorted(path.parent.parent.name for path in OLD.glob("*/run/metrics.jsonl"))


@pytest.mark.parametrize("name", runs())
def test_each_value_that_a_recipe_reports_has_its_own_sentence(name: str) -> None:
    config = json.loads((OLD / name / "run/config.json").read_text())
    recipe, fields = config["recipe"], config["hyper_parameters"]
    row = json.loads((OLD / name / "run/metrics.jsonl").read_text().splitlines()[0])
    keys = row.keys() - {"step", "seconds"}
    for key in keys:
        said = meaning(recipe, fields, key)
        assert bool(said) == (recipe in gans.names() or key in COMMON), key
        assert "{" not in said
        if recipe in gans.names():
            assert said.endswith(".")
            assert said != meaning("other", {}, key)  # its own, not that of any recipe


COMMON = {"loss_D", "loss_G", "D(x)", "D(G(z))", "estimate", "penalty"}


@pytest.mark.parametrize("name", gans.names())
def test_a_recipe_of_any_settings_has_sentences(name: str) -> None:
    fields = dataclasses.asdict(gans.load(name)())
    for key in ("loss_G", "L_I(c1)", "L_I(c9)", "nonsense"):
        for some in (fields, {}, dict.fromkeys(fields, "x"), dict.fromkeys(fields, 10**400)):
            assert "{" not in meaning(name, some, key)
            assert all(math.isfinite(line.value) for line in references(name, some).values())
    assert meaning(name, fields, "loss_G")
    assert meaning(name, fields, "nonsense") == ""


def defaults(name: str, **other: Any) -> dict[str, Any]:
    return dataclasses.asdict(gans.load(name)()) | other


@pytest.mark.parametrize("weight", [1.0, 0.5, 0.25])
def test_cross_entropy_of_a_discriminator_that_cannot_tell(weight: float) -> None:
    lines = references("gan", defaults("gan", weight_d=weight))
    at_half = weight * losses.discriminator_loss(LOGITS, LOGITS).item()
    assert lines["loss_D"].value == pytest.approx(at_half)
    assert lines["loss_G"].value == pytest.approx(losses.non_saturating_loss(LOGITS).item())
    texts = {1.0: "ln 4", 0.5: "ln 2", 0.25: "0.25 ln 4"}
    assert lines["loss_D"].text == texts[weight]
    assert len(distinct(lines, ["loss_D", "loss_G", "loss_E"])) == (1 if weight == 0.5 else 2)


def test_a_saturating_generator_has_its_own_line() -> None:
    lines = references("dcgan", defaults("dcgan", saturating=True))
    assert lines["loss_G"].value == pytest.approx(losses.saturating_loss(LOGITS).item())
    assert lines["loss_G"].text == "-ln 2"


def test_least_squares_and_hinge_where_both_sides_look_the_same() -> None:
    for a, b, c in ((0.0, 1.0, 1.0), (-1.0, 1.0, 0.0)):
        lines = references("lsgan", defaults("lsgan", a=a, b=b, c=c))
        best = Tensor(np.full(4, (a + b) / 2, np.float32))
        d = losses.least_squares_discriminator_loss(best, best, a=a, b=b).item()
        g = losses.least_squares_generator_loss(best, c=c).item()
        assert (lines["loss_D"].value, lines["loss_G"].value) == pytest.approx((d, g))
    lines = references("sngan", defaults("sngan"))
    at_zero = losses.hinge_discriminator_loss(LOGITS, LOGITS).item()
    assert lines["loss_D"].value == at_zero
    assert "loss_G" not in lines


def test_a_loss_with_other_parts_has_no_line() -> None:
    assert references("infogan", defaults("infogan")) == {}
    for name in ("began", "wgan", "wgan_gp", "sgan", "glo", "gon", "/tmp/own.py", "unknown"):
        assert references(name, {}) == {}
    assert references("dcgan", defaults("dcgan", smooth=0.9)) == {}
    assert references("dcgan", defaults("dcgan", l2_d=0.1)).keys() == {"loss_G"}
    assert references("dcgan", defaults("dcgan", kl_g=0.1)).keys() == {"loss_D"}
    assert references("pacgan", defaults("pacgan", r1=1.0)).keys() == {"loss_G"}
    assert references("bigan", defaults("bigan")).keys() == {"loss_D", "loss_G", "loss_E"}


def test_the_information_of_a_code_has_its_limit() -> None:
    fields = defaults("infogan", categorical=1, values=10, uniform=1, gaussian=1)
    assert f"ln 10 = {math.log(10):.2f}" in meaning("infogan", fields, "L_I(c1)")
    assert "-0.23" in meaning("infogan", fields, "L_I(c2)")
    assert "0.50" in meaning("infogan", fields, "L_I(c3)")
    assert "no upper limit" in meaning("infogan", fields | {"learn_std": True}, "L_I(c2)")


def test_scores_have_sentences() -> None:
    assert "enough samples" in meaning_of_score("modes_well")
    assert "mode collapse" in meaning_of_score("modes")
    assert meaning_of_score("agreement_2") == meaning_of_score("agreement")
    assert meaning_of_score("unheard") == ""
    plain, control = meaning_of_score("recall"), meaning_of_score("random_recall")
    assert control == f"{plain} By features that learned nothing: the control."
    assert meaning_of_score("random_unheard") == ""
    assert meaning_of_score("copies_pixels") == meaning_of_score("copies_features") != ""
    assert distinct({}, ["loss_D"]) == []
    assert distinct({"loss_D": Reference("x", 1.0, "y")}, []) == []


def test_what_holds_d_back_is_said_where_there_is_such_a_flag() -> None:
    said = meaning("dcgan", {"lr_d": 2e-4, "lr_g": 1e-3}, "D(G(z))")
    assert said == meaning("gan", {"lr": 0.1}, "D(G(z))") + " A lower --lr-d holds it back."

"""The charts of the report: what they show, in words too, and that everybody can read them."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any

import numpy as np
import pytest
import tiny

from minigan.viz import html, style
from minigan.viz.chart import chart, loss_lines, output_lines, score_lines, ticks
from minigan.viz.meanings import Reference
from minigan.viz.series import limits, series

LN4 = Reference("ln 4", math.log(4), "D cannot tell")


@pytest.mark.parametrize("count", [1, 5, 40, 2000])
def test_a_chart_shows_every_line_in_two_widths_and_in_words(count: int) -> None:
    rows = tiny.rows(count)
    text = chart(loss_lines(rows), "the losses", [LN4])
    assert text.count("<svg") == 2
    assert 'class="wide"' in text
    assert 'class="narrow"' in text
    for player in "DG":
        values = [row[f"loss_{player}"] for row in rows]
        part = max(1, count // 10)
        words = f"loss of {player}: {np.mean(values[:part]):.3g} at first"
        assert text.count(words) == 2  # of each width, of which one is shown
    assert text.count("ln 4") == 2
    assert len(text) < 60_000
    bold = re.findall(r'<path d="([^"]*)" class="curve c0">', text)
    assert len(bold) == 2
    assert all(len(path.split("L")) <= 602 for path in bold)


def test_lines_beyond_the_plane_are_none() -> None:
    rows = tiny.rows(300)
    text = chart(loss_lines(rows), "the losses", [LN4])
    for path, size in zip(
        re.findall(r'<path d="M([^"]*)" class="curve c0">', text), ((940, 300), (360, 260)),
        strict=True,
    ):  # fmt: skip
        points = np.array([word.split() for word in re.split("[ML]", path)], float)
        assert (points >= 0).all()
        assert (points <= size).all()
        assert np.ptp(points[:, 0]) > 0.8 * size[0]


def test_outputs_that_are_probabilities_get_a_half() -> None:
    rows = tiny.rows(40)
    assert "1/2" in chart(output_lines(rows), "outputs")
    assert "1/2" not in chart(output_lines([row | {"D(x)": 7.0} for row in rows]), "outputs")


def test_holes_are_gaps_and_the_first_is_marked() -> None:
    rows = [{"step": i, "loss_D": math.inf if i == 5 else float(i)} for i in range(1, 9)]
    text = chart(loss_lines(rows), "the losses")
    assert "loss of D not finite at step 5" in text
    path = re.findall(r'<path d="([^"]*)" class="curve c0">', text)[0]
    assert path.count("M") == 2
    assert "nan" not in text
    nothing = [{"step": 1, "loss_D": None}, {"step": 2, "loss_D": math.nan}]
    assert chart(loss_lines(nothing), "the losses") == ""
    assert chart([], "the losses") == ""


def test_many_players_have_names_and_colours() -> None:
    rows = [{"step": 1} | {f"loss_{p}": 1.0 for p in ("G", "D", "Q", "E", "<b>", "Z", "Y")}]
    lines = loss_lines(rows)
    assert [line.colour for line in lines] == [1, 0, 2, 3, 4, 5, 2]
    assert "<b>" not in chart(lines, "the losses")


@pytest.mark.parametrize("scale", [1e-300, 1e-9, 1.0, 1e16, 1e99])
def test_any_range_has_ticks(scale: float) -> None:
    rows = [{"step": i, "loss_D": scale * value} for i, value in enumerate((0.1, 0.7, -0.3), 1)]
    line = series(rows, "loss_D")
    found = limits([line])
    assert found is not None
    marks = ticks(*found, 5)
    assert 2 <= len(marks) <= 7
    assert all(found[0] <= mark <= found[1] for mark in marks)
    assert chart(loss_lines(rows), "the losses")


def test_ticks_are_round() -> None:
    assert ticks(0, 600, 8) == [0, 100, 200, 300, 400, 500, 600]
    np.testing.assert_allclose(ticks(-0.03, 1.03, 5), [0, 0.5, 1])
    assert ticks(7, 8, 4) == [7, 7.5, 8]


def test_the_range_holds_the_lines_and_the_references() -> None:
    line = series(tiny.rows(40), "loss_D")
    low, high = limits([line], [5.0])
    assert low < 1
    assert high > 5
    assert limits([], [5.0]) is None


# --- Colours ----------------------------------------------------------------------------------


def tokens(dark: bool) -> dict[str, str]:
    light, _, rest = html.STYLE.partition("prefers-color-scheme: dark")
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light))
    return found | (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", rest)) if dark else {})


def linear(colour: str) -> np.ndarray:
    """Linear red, green and blue of a colour of sRGB."""
    c = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast(a: str, b: str) -> float:
    """The contrast ratio of WCAG 2.2."""
    weights = np.array([0.2126, 0.7152, 0.0722])
    low, high = sorted(float(weights @ linear(c)) for c in (a, b))
    return (high + 0.05) / (low + 0.05)


# Machado, Oliveira & Fernandes 2009, for linear sRGB, at full severity.
BLINDNESS = {
    "none": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                   [0.004733, 0.691367, 0.303900]],
}  # fmt: skip


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear sRGB, under D65."""
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    t = (to_xyz @ rgb.clip(0, 1)) / [0.9505, 1.0, 1.089]
    f = np.where(t > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_can_be_read(dark: bool) -> None:
    t = tokens(dark)
    for text, ground in (
        ("ink", "card"), ("ink", "page"), ("quiet", "card"), ("quiet", "page"),
        ("done", "done-back"), ("cut", "cut-back"), ("live", "live-back"),
    ):  # fmt: skip
        assert contrast(t[text], t[ground]) >= 4.5, (text, ground)
    for i in range(6):
        assert contrast(t[f"c{i}"], t["card"]) >= 3, i  # of graphics


@pytest.mark.parametrize("blindness", BLINDNESS)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_first_lines_can_be_told_apart_by_everybody(dark: bool, blindness: str) -> None:
    t, seen = tokens(dark), np.array(BLINDNESS[blindness])
    chart_colours = [t[f"c{i}"] for i in range(4)]
    for colours in (chart_colours, [style.DISCRIMINATOR, style.FAKE, style.OTHERS[1]]):
        for a, b in itertools.combinations(colours, 2):
            far = np.linalg.norm(lab(seen @ linear(a)) - lab(seen @ linear(b)))
            assert far > 12, (a, b)


def test_one_half_means_something_for_outputs_of_d_alone() -> None:
    rows: list[dict[str, Any]] = [
        {"step": 1, "score": "recall", "value": 0.2, "higher_is_better": True},
        {"step": 2, "score": "recall", "value": 0.4, "higher_is_better": True},
    ]
    text = chart(score_lines(rows), "the score")
    assert "1/2" not in text
    assert "recall: 0.2 at first, 0.4 at the end" in text
    beside = chart(score_lines(rows), "the score", [Reference("real images", 0.9, "test images")])
    assert "real images: test images" in beside


def test_scores_of_two_titles_are_two_lines() -> None:
    rows = [
        {"step": i, "score": "kernel", "value": 1.0 * i, "title": f"of {i % 2}"} for i in range(4)
    ]
    first, second = score_lines(rows)
    assert (first.name, second.name) == ("of 0", "of 1")
    assert first.colour != second.colour
    assert second.data.values.tolist() == [1.0, 3.0]

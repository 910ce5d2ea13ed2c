"""Plots of any name, under any setting of the user's: nothing is bothered, nothing bothers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import tiny
from matplotlib import font_manager
from PIL import Image
from tiny import Shell

from minigan.viz import plots, style
from minigan.viz.figure1 import save_figure1
from minigan.viz.grid import image_grid

NAMES = {
    "$5_^$": "$5_^$",  # half a formula of matplotlib
    r"$\undefined{x}$": r"$\undefined{x}$",
    r"\alpha & #1 %": r"\alpha & #1 %",  # what TeX would obey
    "_hidden": "_hidden",  # matplotlib's legends leave out such names
    "中文": "\\u4e2d\\u6587",
    "👍": "\\U0001f44d",
    "שלום": "שלום",
    "a\nb\x1b[31m": "a\\nb\\x1b[31m",
    "photo\u202egnp": "photo\\u202egnp",
    os.fsdecode(b"caf\xe9"): "caf\\udce9",
    "": "",
    "x" * 300: "x" * 22 + "..." + "x" * 22,
}


def texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that is drawn as text from now on, in a list that grows."""
    from matplotlib.backends.backend_agg import RendererAgg

    drawn: list[str] = []
    draw_text = RendererAgg.draw_text

    def record(self, gc, x, y, s, *args, **options):  # type: ignore[no-untyped-def]
        drawn.append(s)
        return draw_text(self, gc, x, y, s, *args, **options)

    def formula(*args: object, **options: object) -> None:
        raise AssertionError("a name was taken for a formula")

    monkeypatch.setattr(RendererAgg, "draw_text", record)
    monkeypatch.setattr(RendererAgg, "draw_mathtext", formula)
    monkeypatch.setattr(RendererAgg, "draw_tex", formula)
    return drawn


@pytest.mark.parametrize(("name", "shown"), NAMES.items(), ids=ascii)
def test_a_plot_shows_every_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, shown: str
) -> None:
    drawn = texts(monkeypatch)
    rows = [{"step": i, f"loss_{name}": float(i)} for i in (1, 2)]
    rows[1][f"loss_{name}"] = float("nan")
    plots.save_losses(tmp_path / "loss.png", rows, title=name)
    plots.save_class_histogram(tmp_path / "classes.png", {name: 3, "other": 2})
    for part in (shown, style.label(name, style.TICK)):  # the title and the class
        assert not part or part in drawn
        assert len(part) <= style.TITLE
    wanted = style.label(f"loss of {name}")
    assert wanted in drawn
    assert f"{wanted} not finite at step 2" in drawn


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_caption_is_one_line(name: str) -> None:
    image_grid(np.zeros((1, 1, 8, 8), np.uint8), value_range=(0, 255), labels=[name])


def test_a_name_without_glyphs_is_drawn_in_every_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    known = style._glyphs()
    assert {"a", "é", "Ł", "ש", "$", "\\"} <= known
    assert not {"中", "👍", "\n"} & known


@pytest.mark.parametrize("name", ["$5_^$", "中文 한국", "שלום", "[red]", "a\nb"], ids=ascii)
def test_a_run_on_a_folder_of_any_name_ends_well(
    shell: Shell, here: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("a", name):
        folder = here / name / kind
        folder.mkdir(parents=True)
        for i in range(6):
            noise = np.random.default_rng(i).integers(0, 256, (8, 8), np.uint8)
            Image.fromarray(noise).save(folder / f"{i}.png")
    flags = [*tiny.FLAGS, "--size", "8", "--steps", "1", "--out", f"{name}/run"]
    answer = shell.succeeds("train", "gan", *flags, "--data", name)
    assert len(answer.out.splitlines()) == 2
    assert {len(line.split(": ", 1)) for line in answer.err.splitlines()} <= {1, 2}
    assert (here / name / "run" / "report.html").is_file()


# --- The user's settings ----------------------------------------------------------------------

ODD = {
    "text.usetex": True,
    "font.family": ["no such font"],
    "axes.formatter.use_mathtext": True,
    "figure.dpi": 300.0,
    "savefig.transparent": True,
    "axes.unicode_minus": False,
}


def test_plots_are_the_same_under_any_setting_and_leave_it(tmp_path: Path) -> None:
    def draw(folder: Path) -> dict[str, str]:
        folder.mkdir()
        plots.save_losses(folder / "losses.png", tiny.rows(40), title="title")
        plots.save_class_histogram(folder / "classes.png", {"a": 2, "b": 1})
        points = np.random.default_rng(0).normal(size=(20, 2))
        plots.save_points(folder / "points.png", points, points - 3)
        x = np.linspace(-1, 1, 20)
        save_figure1(folder / "figure1.png", x=x, p_data=x**2, p_g=x**2 + 1, d=x**2, step=1)
        return tiny.tree(folder)

    plain = draw(tmp_path / "plain")
    with matplotlib.rc_context(ODD):
        assert draw(tmp_path / "odd") == plain
        assert {key: matplotlib.rcParams[key] for key in ODD} == ODD
    assert font_manager.findfont("DejaVu Sans")


BACKENDS = ["nonsense", "module://no_such_package.backend", "TkAgg", "agg", ""]


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_chosen_backend_bothers_no_plot_and_stays_chosen(tmp_path: Path, backend: str) -> None:
    code = """
import os
from minigan.viz.plots import save_class_histogram
save_class_histogram("classes.png", {"a": 1})
import matplotlib
print(os.environ["MPLBACKEND"], matplotlib.rcParams._get("backend"), sep="|")
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        env=tiny.environment(MPLBACKEND=backend),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    variable, chosen = done.stdout.strip().split("|")
    assert variable == backend
    assert backend in ("", chosen)
    assert (tmp_path / "classes.png").is_file()

"""The report of a run: one file that shows all of it and fetches nothing."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image

from minigan.errors import UserError
from minigan.training.run import Run
from minigan.training.snapshots import record
from minigan.viz.grid import save_grid
from minigan.viz.report import write_report


class Page(HTMLParser):
    """Collects what a browser would: tags with their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text += data

    def images(self) -> list[bytes]:
        sources = [attrs["src"] for tag, attrs in self.tags if tag == "img"]
        return [base64.b64decode(s.split(",", 1)[1]) for s in sources]


def report(folder: Path) -> bytes:
    """Write the report of a run directory, and read it."""
    run = Run(folder, json.loads((folder / "config.json").read_text()))
    write_report(run.report, record(run))
    return run.report.read_bytes()


def read(run: Path) -> Page:
    page = Page((run / "report.html").read_text(encoding="utf-8"))
    assert page.open == []
    return page


CONFIG = {
    "recipe": "dcgan",
    "recipe_doc": 'Radford <b>et al.</b> 2015, arXiv:1511.06434 & "more".\n\nSecond paragraph.',
    "data": {"name": "<script>alert(1)</script>", "samples": 60000, "shape": [1, 28, 28]}
    | {"classes": ["a", "b"]},
    "hyper_parameters": {"batch": 128, "lr_D": 2e-4, "betas": [0.5, 0.999], "ema": None}
    | {"trick": "' onload='x", "flip": True},
    "steps": 200,
    "seed": 12345,
    "versions": {"numpy": "2.4.6"},
    "revision": "abc1234",
    "command": "minigan train dcgan --data '<glyphs>' & exit",
}


@pytest.fixture
def run(tmp_path) -> Path:
    folder = tmp_path / "run"
    (folder / "samples").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    rows = tiny.rows(20)
    rows[-1]["D(x)"] = float("nan")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    names = ["real", "classes", "interpolation", "step-000000", "step-000100", "step-000200"]
    for i, name in enumerate(names):
        Image.new("RGB", (8 + i, 8)).save(folder / "samples" / f"{name}.png")
    Image.new("RGB", (40, 40)).save(folder / "samples" / "animation.gif")
    Image.new("RGB", (50, 40)).save(folder / "loss.png")
    return folder


def size_of(picture: Path | io.BytesIO) -> tuple[int, int]:
    with Image.open(picture) as image:
        return image.size


def test_report_holds_every_picture_and_nothing_from_outside(run):
    report(run)
    text = (run / "report.html").read_text(encoding="utf-8")
    page = read(run)
    shown = [attrs for tag, attrs in page.tags if tag == "img"]
    sizes = [(int(attrs["width"]), int(attrs["height"])) for attrs in shown]
    for path in (run / "samples").glob("*.png"):  # but for the film, whose pictures these are
        assert size_of(path) in sizes, path.name
    assert not re.search(r"https?:|//[a-z]|url\(|@import", text)
    for tag, attrs in page.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        assert not {"href", "srcset", "onload", "onclick"} & attrs.keys()
        if "src" in attrs:
            assert re.match("data:image/(png|webp|jpeg);base64,", attrs["src"])


def test_report_says_what_the_run_was(run):
    report(run)
    page = read(run)
    for said in (
        "Finished: 200 steps",
        'Radford <b>et al.</b> 2015, arXiv:1511.06434 & "more".',
        "<script>alert(1)</script>",
        "minigan train dcgan --data '<glyphs>' & exit",
        "' onload='x",
        "0.5, 0.999",
        "60,000",
        "1 x 28 x 28",
        "12345",
        "abc1234",
        "2.4.6",
        "Step 100",
        "nan",
        "0.0002",
    ):
        assert said in page.text
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert "b" not in [tag for tag, _ in page.tags]


def test_report_table_has_last_values_and_means(run):
    rows = [{"step": i, "loss_D": float(i), "<i>": math.nan} for i in range(1, 21)] + [{"step": 21}]
    rows = [{"seconds": 0.0, **row} for row in rows]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report(run)
    text = (run / "report.html").read_text()
    assert '<tr><th scope="row">loss_D</th><td>20</td><td>19.5</td></tr>' in text
    assert '<tr><th scope="row">&lt;i&gt;</th><td>nan</td><td>nan</td></tr>' in text


def test_script_is_the_one_that_the_policy_allows(run):
    report(run)
    text = (run / "report.html").read_text()
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text


def test_report_is_the_same_twice(run):
    assert report(run) == report(run)
    assert not list(run.glob(".*"))


def test_report_of_a_run_that_had_only_begun(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    report(tmp_path)
    page = read(tmp_path)
    assert "Interrupted at step 0 of 200" in page.text
    assert page.images() == []
    (tmp_path / "config.json").write_text("{}")
    report(tmp_path)
    assert tmp_path.name in read(tmp_path).text


def test_report_knows_how_far_the_run_came(run):
    (run / "config.json").write_text(json.dumps(CONFIG | {"steps": 1000}))
    report(run)
    assert "Interrupted at step 200 of 1,000" in read(run).text
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "step-000300.safetensors").touch()
    report(run)
    assert "Interrupted at step 300 of 1,000" in read(run).text


def test_report_says_that_a_run_diverged(run):
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"step": 201, "seconds": 1.0, "loss_D": 0.5, "loss_G": NaN}\n')
    (run / "config.json").write_text(json.dumps(CONFIG | {"steps": 1000}))
    report(run)
    assert "Diverged in step 201 of 1,000" in read(run).text
    assert "Interrupted" not in read(run).text


@pytest.mark.parametrize("steps", [1000, 200])
def test_a_recipe_that_a_program_had_is_named_as_a_file_in_what_comes_next(run, steps):
    recipe = CONFIG | {"recipe": "python:Own", "steps": steps}
    (run / "config.json").write_text(json.dumps(recipe))
    report(run)
    text = read(run).text
    for verb in ("sample", "evaluate"):
        assert f"minigan {verb} {run} --recipe Own.py" in text
    assert f"minigan train --resume --out {run} --recipe Own.py" in text
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"step": 201, "seconds": 1.0, "loss_G": NaN}\n')
    report(run)
    assert "minigan train Own.py --help" in read(run).text
    assert "python:Own" not in " ".join(c for _, c in record(Run(run, recipe)).next_steps)


def test_only_a_broken_last_line_of_the_metrics_is_forgiven(run):
    metrics = run / "metrics.jsonl"
    whole = metrics.read_bytes()
    report(run)
    expected = (run / "report.html").read_bytes()
    for cut in (b'{"step": 999, "lo', b'{"step": 999, "\xc3', b"[1]"):
        metrics.write_bytes(whole + cut)
        report(run)
        assert (run / "report.html").read_bytes() == expected
    lines = whole.splitlines(keepends=True)
    metrics.write_bytes(b"".join([*lines[:4], b'{"step": 4\n', *lines[4:]]))
    with pytest.raises(UserError, match=r"line 5 of .*metrics\.jsonl is damaged"):
        report(run)
    assert (run / "report.html").read_bytes() == expected
    metrics.write_bytes(b"")
    report(run)


def test_what_is_no_run_directory_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not a run directory"):
        Run.open(tmp_path)
    for broken in (b'{"recipe": ', b"\xff\xfe", b"[]"):
        (tmp_path / "config.json").write_bytes(broken)
        with pytest.raises(UserError, match=r"config\.json"):
            Run.open(tmp_path)


def test_report_thins_out_many_pictures_but_keeps_the_ends(run):
    for step in range(1000, 1100):
        Image.new("L", (4, 4), step % 256).save(run / "samples" / f"step-{step:06d}.png")
    report(run)
    page = read(run)
    assert "40 of 103 pictures" in page.text
    shown = re.findall(r"Step ([\d,]+)", page.text)
    assert len(shown) == 40
    assert (shown[0], shown[-1]) == ("0", "1,099")


# Imports


# --- What it teaches --------------------------------------------------------------------------

SCORES = {
    "step": 150,
    "scores": [
        {"key": "frechet", "name": "Frechet <i>distance</i>", "value": 12.5, "error": 0.25}
        | {"baseline": 1.0, "baseline_of": "test images", "note": "500 images"},
        {"key": "own", "name": "own", "value": None},
    ],
    "left_out": ["modes: not known"],
}


def test_scores_are_in_it_with_what_they_mean(run):
    (run / "scores.json").write_text(json.dumps(SCORES))
    report(run)
    page = read(run)
    for said in (
        "Frechet <i>distance</i>",
        "12.5 \u00b1 0.25",
        "test images",
        "500 images. Distance of the features",
        "not finite",
        "Of the checkpoint of step 150",
        "The run has gone on since",
        "Left out: modes: not known",
    ):
        assert said in page.text
    assert "minigan evaluate" not in page.text.partition("What to do next")[2]
    (run / "scores.json").write_text('{"step": "x"')
    report(run)
    assert "scores.json is damaged" in read(run).text


def rows_of_scores(higher=False, **more):
    return [
        {"step": 50 * (i + 1), "score": "kernel", "value": value, "higher_is_better": higher}
        | {"title": "kernel distance of <b>8</b> samples"} | more
        for i, value in enumerate((0.5, 0.25, float("nan")))
    ]  # fmt: skip


@pytest.mark.parametrize(("higher", "best"), [(False, "0.25 after step 100"),
                                              (True, "0.5 after step 50")])  # fmt: skip
def test_the_course_of_the_score_is_in_it_beside_that_of_real_images(run, higher, best):
    real = {"baseline": 0.125, "baseline_of": "test images"}
    lines = [json.dumps(row) for row in rows_of_scores(higher, **real)]
    (run / "scores.jsonl").write_text("\n".join(lines) + "\n")
    report(run)
    page = read(run)
    for said in (
        "The score so far",
        f"{'higher' if higher else 'lower'} is better. Distance of the features",
        f"Best so far: {best}.",
        "real images: test images",
    ):
        assert said in page.text
    text = (run / "report.html").read_text()
    assert "Line chart of the score over the steps. kernel distance of &lt;b&gt;8" in text
    assert "<b>8</b>" not in text


def test_only_the_score_that_chooses_is_drawn(run):
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"best": "modes"}))
    old = {"step": 50, "score": "modes", "value": 7.0, "higher_is_better": True}
    lines = [json.dumps(row) for row in [*rows_of_scores(), old]]
    (run / "scores.jsonl").write_text("\n".join(lines) + "\n")
    report(run)
    assert "modes: 7 at first" in (run / "report.html").read_text()
    assert "kernel distance of" not in (run / "report.html").read_text()


def test_the_nearest_training_pictures_are_in_it_below_the_scores(run):
    Image.new("L", (4, 4)).save(run / "nearest.png")
    report(run)
    assert "Samples beside the training" not in read(run).text  # there are no scores
    (run / "scores.json").write_text(json.dumps(SCORES))
    report(run)
    assert "Samples beside the training pictures nearest to them" in read(run).text


def test_a_picture_that_cannot_be_shown_is_named(run):
    (run / "samples" / "step-000100.png").write_bytes(b"no picture")
    report(run)
    page = read(run)
    assert "step-000100.png is not a whole PNG" in page.text
    assert len(page.images()) == 6


def test_screen_readers_get_words_for_every_picture(run):
    report(run)
    page = read(run)
    text = (run / "report.html").read_text()
    assert '<html lang="en">' in text
    for tag, attrs in page.tags:
        if tag == "img":
            assert len(attrs["alt"]) > 8
            assert int(attrs["width"]) > 0
        if tag == "svg":
            assert attrs["role"] == "img"
            assert "at the end" in attrs["aria-label"]
        if tag == "input":
            assert attrs["aria-label"]
        if tag == "th":
            assert attrs["scope"] in ("col", "row")
    levels = [tag for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == "h1"
    assert set(levels[1:]) == {"h2"}
    alts = [attrs["alt"] for tag, attrs in page.tags if tag == "img"]
    assert alts[0] == "A grid of generated images, after step 200 of training"


@pytest.mark.parametrize("live", [False, True])
def test_the_page_of_a_run_that_goes_on_loads_itself_again(run, live):
    (run / "config.json").write_text(json.dumps(CONFIG | {"steps": 1000}))
    found = Run(run, json.loads((run / "config.json").read_text()))
    write_report(found.report, record(found, live=live))
    page, text = read(run), (run / "report.html").read_text()
    assert ("Training: step 200 of 1,000" in page.text) == live
    assert ("Interrupted at step 200" in page.text) == (not live)
    head = text.partition("<style>")[0]
    assert ('<noscript><meta http-equiv="refresh" content="10"></noscript>' in head) == live
    assert ("load this page again" in page.text) == live
    assert (f"minigan report {run} --watch" in page.text) == live
    assert (f"minigan train --resume --out {run}" in page.text) == (not live)
    (run / "config.json").write_text(json.dumps(CONFIG))  # it has ended, whoever holds the lock
    found = Run(run, json.loads((run / "config.json").read_text()))
    write_report(found.report, record(found, live=live))
    assert "refresh" not in (run / "report.html").read_text()


def test_what_is_to_be_done_next_is_done_with_the_best_checkpoint(run):
    words = ("minigan sample {} --step best", "minigan evaluate {} --step best")
    for best, steps, said in (("kernel", 200, True), (None, 200, False), ("kernel", 300, False)):
        (run / "config.json").write_text(json.dumps(CONFIG | {"best": best, "steps": steps}))
        report(run)
        commands = read(run).text.partition("What to do next")[2]
        assert [word.format(run) in commands for word in words] == [said, said]


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ("dcgan", ["minigan sample", "minigan evaluate", "--more 200"]),
        ("cgan", ["--class a"]),
        ("infogan", ["--sweep 1"]),
        ("/some where/own.py", ["--recipe '/some where/own.py'"]),
    ],
)
def test_it_says_what_to_do_next(run, recipe, says):
    (run / "config.json").write_text(json.dumps(CONFIG | {"recipe": recipe}))
    report(run)
    commands = read(run).text.partition("What to do next")[2]
    for said in says:
        assert said in commands


def test_the_report_of_a_small_run_is_below_a_megabyte(run):
    rng = np.random.default_rng(0)
    for step in range(0, 2000, 50):  # noise, of which no encoder makes less
        images = rng.uniform(0, 1, (64, 1, 28, 28))
        save_grid(run / "samples" / f"step-{step:06d}.png", images, value_range=(0, 1))
    rows = tiny.rows(2000)
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert len(report(run)) < 1_000_000

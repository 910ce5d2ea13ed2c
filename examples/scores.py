"""Put the scores of runs into examples/README.md, beside those of the papers.

    minigan train sgan --data mnist --seed 0 --out runs/sgan
    minigan evaluate runs/sgan
    python examples/scores.py runs/sgan [RUN ...]

Copies what RUN/scores.json says to examples/results and rewrites the part of the page between the
two marks from all results there. Runs that differ in nothing but the seed share a line. The page
shows the best-supported line of each recipe and score; all others are folded.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minigan.errors import UserError
from minigan.files import atomic_write
from minigan.page_parts import rewrite_part
from minigan.training.run import repeatable

HERE = Path(__file__).parent
PAGE, RESULTS = HERE / "README.md", HERE / "results"
BEGIN, END = "<!-- scores: written by examples/scores.py -->", "<!-- end of scores -->"

Result = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """A line of a table: runs that differ in nothing but the seed, and one score of theirs."""

    group: list[Result]
    about: tuple[str, str]  # the recipe and the score, of which the page shows one line
    cells: list[str]
    has_paper: bool

    @property
    def support(self) -> tuple[int, bool, bool, int]:
        """What decides between lines about the same: seeds, a paper's number, defaults, steps."""
        one = self.group[0]
        is_plain = _title(one) == one["recipe"]
        return len(self.group), self.has_paper, is_plain, one["steps"]


# What the papers report: (recipe, data) to where it stands and the value of each score's key.
PACGAN = "Lin et al. 2018, arXiv:1712.04086"
MODES = ("modes", "high_quality", "reverse_kl")
PAPERS = {
    (name, data): (PACGAN, dict(zip(MODES, values, strict=True)))
    for name, data, *values in (
        ("gan", "ring", "6.3 ± 0.5", "98.2 %", "0.45"),
        ("gan", "grid", "17.3 ± 0.8", "94.8 %", "0.70"),
        ("pacgan --packing 2", "ring", "7.9", "95.6 %", "0.07"),
        ("pacgan --packing 2", "grid", "23.8", "91.3 %", "0.13"),
        ("pacgan --packing 3", "ring", "7.8", "97.7 %", "0.10"),
        ("pacgan --packing 3", "grid", "24.6", "94.2 %", "0.06"),
        ("pacgan --packing 4", "ring", "7.8", "95.9 %", "0.07"),
        ("pacgan --packing 4", "grid", "24.8", "93.6 %", "0.04"),
    )
} | {
    ("dcgan", "mnist-stack3"): (PACGAN, {"modes": "99", "reverse_kl": "3.40"}),
    ("pacgan --packing 2", "mnist-stack3"): (PACGAN, {"modes": "1000", "reverse_kl": "0.06"}),
    ("gan", "mnist"): ("Goodfellow et al. 2014, arXiv:1406.2661", {"parzen": "225 ± 2"}),
    ("cgan", "mnist"): ("Mirza & Osindero 2014, arXiv:1411.1784", {"parzen": "132 ± 1.8"}),
    ("infogan", "mnist"): ("Chen et al. 2016, arXiv:1606.03657", {"code_error_1": "5 %"}),
    ("sgan", "mnist"): ("Salimans et al. 2016, arXiv:1606.03498", {"error": "0.93 ± 0.065 %"}),
}

# The scores that show what a recipe is for, by the start of their keys; and those of all others.
SHOWN = {
    "cgan": ("agreement", "parzen"),
    "infogan": ("code_error", "rank", "course"),
    "sgan": ("error",),
    "bigan": ("neighbours", "reconstruction"),
    "wgan": ("course", "frechet"),
    "wgan_gp": ("course", "frechet"),
    "sngan": ("singular", "frechet"),
    "began": ("course", "reconstruction", "frechet"),
    "glo": ("reconstruction",),
    "vae": ("course", "reconstruction", "frechet"),
    "gon": ("reconstruction",),
    "gan": ("parzen", "frechet"),
}
OTHERS = ("frechet", "inception")
STACKED = ("modes", "reverse_kl")  # of any recipe, where images are stacked
SHARES = ("high_quality", "agreement", "code_error", "error", "neighbours")  # shown in percent

NOT_OF_THE_RECIPE = (
    "--data", "--stack", "--seed", "--out", "--steps", "--sample-every", "--checkpoint-every",
    "--keep", "--best",
)  # fmt: skip


def main(folders: list[str]) -> None:
    if not folders:
        raise UserError("python examples/scores.py wants run directories that have been evaluated")
    for folder in folders:
        result = collect(Path(folder))
        RESULTS.mkdir(exist_ok=True)
        with atomic_write(RESULTS / f"{name_of(result)}.json") as temporary:
            temporary.write_text(json.dumps(result, indent=2) + "\n")
    rewrite_part(PAGE, BEGIN, END, section(RESULTS))


def collect(run: Path) -> Result:
    """What is worth keeping of a run's scores.

    Raises:
        UserError: if the run has no scores yet.
    """
    path = run / "scores.json"
    if not path.is_file():
        raise UserError(f"{run} has no scores.json; say minigan evaluate {run} first")
    facts = json.loads(path.read_text())
    command = repeatable(facts["command"], facts["data"])
    kept = ("data", "seed", "minutes", "evaluation", "classifier", "scores")
    first = {"recipe": Path(facts["recipe"]).stem, "command": command, "steps": facts["step"]}
    parts = [
        part | {"command": repeatable(part["command"], facts["data"])}
        for part in facts.get("resumed", [])
    ]
    return first | {key: facts[key] for key in kept} | ({"resumed": parts} if parts else {})


def name_of(result: Result) -> str:
    """The name of a result's file: the recipe, its own flags, the data, the steps, the seed."""
    words = [_title(result), result["data"], str(result["steps"]), f"seed{result['seed']}"]
    return re.sub(r"[^A-Za-z0-9._]+", "-", " ".join(words)).strip("-")


def section(results: Path) -> str:
    """The text between the marks, from all results in a folder."""
    groups: dict[tuple[str, str, int], list[Result]] = {}
    for path in sorted(results.glob("*-seed*.json")):  # other scripts keep their results here too
        result = json.loads(path.read_text())
        groups.setdefault((result["data"], _title(result), result["steps"]), []).append(result)
    if not groups:
        return "No run has been scored yet."
    points = [g for _, g in sorted(groups.items()) if _by_key(g[0]).keys() >= set(MODES)]
    images = [g for _, g in sorted(groups.items()) if g not in points]
    parts = []
    if points:
        perfect = _by_key(points[0][0])["high_quality"]["baseline"]
        parts += [
            f"Modes of 2-D mixtures, by PacGAN's protocol; a perfect sampler has {perfect:.1%} of "
            "high quality. Several seeds are their mean and its standard error.",
            *_tables(
                ["recipe", "data", "steps", "minutes", "modes", "high quality", "reverse KL",
                 "the paper's", "seeds"],
                [_points_line(group) for group in points],
            ),
        ]  # fmt: skip
    if images:
        parts += _tables(
            ["recipe", "data", "steps", "minutes", "score", "value", "beside it",
             "the paper's", "seeds"],
            [line for group in images for line in _image_lines(group)],
        )  # fmt: skip
    used = dict.fromkeys(
        _papers(group[0])[0]
        for group in points + images
        if set(_papers(group[0])[1]) & set(_by_key(group[0]))
    )
    if used:
        parts.append(f"The papers' scores: {'; '.join(used)}.")
    judges = dict.fromkeys(_judge(g[0]["classifier"]) for g in images if g[0]["classifier"])
    if judges:
        parts.append(f"The classifiers: {'; '.join(judges)}.")
    return "\n\n".join(parts)


def _judge(facts: Result) -> str:
    share = f"{facts['accuracy']:.2%} of {facts['tested']:,} images"
    return f"that of {facts['data']} is right on {share} ({facts['tested_on']})"


def _points_line(group: list[Result]) -> Line:
    one = group[0]
    paper = [_paper(one, key) for key in MODES]
    has_paper = set(paper) != {"-"}
    cells = [
        *_first(group),
        *(_value(group, key) for key in MODES),
        ", ".join(paper) if has_paper else "-",
        _seeds(group),
    ]
    return Line(group, (one["recipe"], one["data"]), cells, has_paper)


def _image_lines(group: list[Result]) -> list[Line]:
    wanted = (*SHOWN.get(group[0]["recipe"], OTHERS), *STACKED)
    lines = []
    for key, score in _by_key(group[0]).items():
        if key.startswith(wanted):
            beside = "-"
            if score["baseline"] is not None:
                beside = f"{_number(key, score['baseline'])} ({score['baseline_of']})"
            value = _value(group, key)
            if key.startswith("course"):
                value += f", {score['note']}"
            paper = _paper(group[0], key)
            cells = [*_first(group), _name(group, key), value, beside, paper, _seeds(group)]
            lines.append(Line(group, (group[0]["recipe"], key), cells, paper != "-"))
    return lines


def _name(group: list[Result], key: str) -> str:
    """A score's name; which code it is of differs from seed to seed, and then is not said."""
    names = {_by_key(result)[key]["name"] for result in group if key in _by_key(result)}
    return names.pop() if len(names) == 1 else re.sub(r"\bcode \d+", "a code", min(names))


def _first(group: list[Result]) -> list[str]:
    minutes = np.mean([result["minutes"] for result in group])
    one = group[0]
    return [f"`{_title(one)}`", one["data"], f"{one['steps']:,}", f"{minutes:.1f}"]


def _value(group: list[Result], key: str) -> str:
    """The mean over the seeds and its standard error; of one seed, the score's own."""
    scores = [_by_key(result)[key] for result in group if key in _by_key(result)]
    values = [float("inf") if s["value"] is None else s["value"] for s in scores]
    error = scores[0]["error"]
    if len(values) > 1 and np.isfinite(values).all():
        error = np.std(values, ddof=1) / np.sqrt(len(values))
    text = _number(key, float(np.mean(values)))
    if error is None or not np.isfinite(values).all():
        return text
    return f"{text.removesuffix(' %')} ± {_number(key, error)}"


def _number(key: str, value: float) -> str:
    if key.startswith(SHARES):
        return f"{100 * value:.3g} %"
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def _paper(result: Result, key: str) -> str:
    return _papers(result)[1].get(key, "-")


def _papers(result: Result) -> tuple[str, dict[str, str]]:
    """Whose scores are to be compared, and these by key."""
    name = result["recipe"]
    if name == "pacgan":
        packing = re.search(r"--packing[ =](\d+)", result["command"])
        name += f" --packing {packing[1] if packing else 2}"
    return PAPERS.get((name, result["data"]), ("", {}))


def _seeds(group: list[Result]) -> str:
    seeds = sorted(result["seed"] for result in group)
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}-{seeds[-1]}"
    return ", ".join(map(str, seeds))


def _by_key(result: Result) -> dict[str, Any]:
    return {score["key"]: score for score in result["scores"]}


def _title(result: Result) -> str:
    """The recipe and those of its command's flags that are its own."""
    words = shlex.split(result["command"])[2:]  # after minigan train
    kept, skip = [result["recipe"]], False
    for word in words if words[:1] and words[0].startswith("-") else words[1:]:
        if word.startswith("--"):
            skip = word.partition("=")[0] in NOT_OF_THE_RECIPE
        if not skip:
            kept.append(word)
    return " ".join(kept)


def _tables(heads: list[str], lines: list[Line]) -> list[str]:
    """The best-supported line about each recipe and score, and all others folded."""
    best: dict[tuple[str, str], Line] = {}
    for line in lines:
        if line.about not in best or line.support > best[line.about].support:
            best[line.about] = line
    shown = sorted(best.values(), key=lambda line: line.about[0])
    rest = [line for line in lines if best[line.about] is not line]
    parts = [_table(heads, shown)]
    if rest:
        summary = "The other line" if len(rest) == 1 else f"The other {len(rest)} lines"
        parts += [
            f"<details>\n<summary>{summary}</summary>",
            _table(heads, rest),
            "</details>",
        ]
    return parts


def _table(heads: list[str], lines: list[Line]) -> str:
    rows = [heads, ["---"] * len(heads), *(line.cells for line in lines)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))

"""How likely test images become with the rounds of `minigan train gan --data mnist`.

    minigan train gan --data mnist --steps 6000 --out runs/gan
    minigan evaluate runs/gan
    python examples/curve.py runs/gan
    minigan train --resume --steps 20000 --out runs/gan
    minigan evaluate runs/gan
    python examples/curve.py runs/gan

Adds the log-likelihood in RUN/scores.json to examples/results/curve-gan-mnist.json and draws all
that is there to examples/pictures/curve-gan-mnist.png, beside that of real images and of the paper.
A point of as many rounds is replaced; a run of another seed or of other settings is refused.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from minigan import gans
from minigan.errors import UserError
from minigan.files import atomic_write
from minigan.training.run import Run

HERE = Path(__file__).parent
NAME = "curve-gan-mnist"
PAPER = 225, "Goodfellow et al. 2014"  # arXiv:1406.2661, Table 1

Curve = dict[str, Any]


def with_point(curve: Curve, folder: Path) -> Curve:
    """The curve with the scores of a run in `folder`; {} is a curve without points.

    Raises:
        UserError: if the run has no log-likelihood, or is another than the curve's.
    """
    config, file = Run.open(folder).config, folder / "scores.json"
    if not file.is_file():
        raise UserError(f"{folder} has no scores.json; say minigan evaluate {folder} first")
    facts = json.loads(file.read_text())
    found = {score["key"]: score for score in facts["scores"]}.get("parzen")
    if found is None:
        raise UserError(f"{folder}/scores.json has no log-likelihood; evaluate a run of images")
    own = {"recipe": facts["recipe"], "data": facts["data"], "seed": facts["seed"]}
    default = asdict(gans.load(facts["recipe"])())  # of what there was none of in earlier runs
    own["hyper_parameters"] = default | config["hyper_parameters"]
    if "hyper_parameters" in curve:
        curve = curve | {"hyper_parameters": default | curve["hyper_parameters"]}
    for key, value in own.items():
        if curve.get(key, value) != value:
            raise UserError(f"{folder} differs from the curve in its {key}; move {NAME}.json away")
    point = {"steps": facts["step"], "value": found["value"], "error": found["error"]}
    others = [p for p in curve.get("points", []) if p["steps"] != point["steps"]]
    real = {key: found[key] for key in ("name", "baseline", "baseline_of")}
    return {**own, **real, "points": sorted([*others, point], key=lambda p: int(p["steps"]))}


def draw(path: Path, curve: Curve) -> None:
    from minigan.viz import style

    columns = [[point[key] for point in curve["points"]] for key in ("steps", "value", "error")]
    figure = style.new_figure(7, 4)
    axes = figure.subplots()
    axes.errorbar(*np.array(columns, float), color=style.FAKE, marker="o", markersize=4, capsize=3)
    for height, source, color in (
        (curve["baseline"], curve["baseline_of"], style.REAL),
        (*PAPER, style.OPTIMUM),
    ):
        axes.axhline(height, color=color, linewidth=1, linestyle=style.DASHED)
        axes.annotate(
            f"{source}: {height:.0f}",
            (0, height),
            (4, -11),
            textcoords="offset points",
            color=color,
            fontsize=9,
        )
    axes.set_xlim(left=0)
    style.style_axes(axes, x="rounds", y=curve["name"])
    style.heading(axes, f"{curve['recipe']} on {curve['data']}, seed {curve['seed']}")
    path.parent.mkdir(exist_ok=True)
    style.save_figure(path, figure)


def main(folders: list[str]) -> None:
    if not folders:
        raise UserError("python examples/curve.py wants run directories that have been evaluated")
    file = HERE / "results" / f"{NAME}.json"
    curve = json.loads(file.read_text()) if file.exists() else {}
    for folder in folders:
        curve = with_point(curve, Path(folder))
    file.parent.mkdir(exist_ok=True)
    with atomic_write(file) as temporary:
        temporary.write_text(json.dumps(curve, indent=2) + "\n")
    draw(HERE / "pictures" / f"{NAME}.png", curve)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))

"""A learning rate that is too high: what explodes, and what holds.

    python examples/explode.py [--rounds 100]

Four GANs with the same two optimisers, SGD of rate 1 and Adam of rate 0.1, both far too high, on
the built-in glyphs: DCGAN as it is, DCGAN with the gradients' joint norm clipped to 0.1, SNGAN
(spectral normalisation) and WGAN-GP (gradient penalty). The largest losses of G are drawn to
examples/pictures/explode.png; examples/results/explode.json also holds how far samples are from the
real images nearest to them (root mean square difference in [-1, 1]) and how much they differ from
each other (mean standard deviation of a pixel).

What 100 rounds show. With SGD the losses of plain DCGAN reach 7e6 and its samples are all the same;
clipping bounds the step, and it learns. Spectral normalisation bounds the weights, and with them
how steep D can be (by 12, not by 1: see minigan/gans/sngan.py). Losses stay below 10, but G ends in
one image: finite is not well. WGAN-GP is lost in the third round: its penalty is the steeper the
larger the weights, and SGD overshoots. Adam divides by the size of the gradient, so that nothing
explodes for long and clipping does not help; SNGAN and WGAN-GP end a little nearer to the data than
DCGAN.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from minigan import gans
from minigan.data import Dataset, load
from minigan.errors import RunError
from minigan.files import atomic_write
from minigan.optim import SGD, Adam, Optimizer
from minigan.random import Generator
from minigan.training.state import State

HERE = Path(__file__).parent
RESULTS, PICTURE = HERE / "results" / "explode.json", HERE / "pictures" / "explode.png"

ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "DCGAN": ("dcgan", {}),
    "DCGAN, norm clipped to 0.1": ("dcgan", {"clip_norm": 0.1}),
    "SNGAN": ("sngan", {}),
    "WGAN-GP, 1 critic step": ("wgan_gp", {"n_critic": 1}),
}
RULES = ("SGD, rate 1", "Adam, rate 0.1")


def optimizer(rule: str, old: Optimizer) -> Optimizer:
    """The optimiser called `rule` over the parameters of `old`, with its clipping."""
    if rule.startswith("SGD"):
        return SGD(old.parameters, 1.0, momentum=0.5, clip=old.clip)
    return Adam(old.parameters, 0.1, (0.5, 0.999), clip=old.clip)


def run(row: str, rule: str, dataset: Dataset, rounds: int) -> dict[str, Any]:
    """Train until `rounds` rounds are over or a loss is not finite."""
    name, fields = ROWS[row]
    state = State.fresh(gans.load(name)(width=16, **fields), dataset, seed=0)
    state.optimizers = {p: optimizer(rule, old) for p, old in state.optimizers.items()}
    losses, end = [], "went on"
    began = time.monotonic()
    try:
        for _ in range(rounds):
            found = state.advance()
            losses.append([round(found["loss_D"], 4), round(found["loss_G"], 4)])
    except RunError as error:
        end = str(error).partition(";")[0]
    largest = max((abs(value) for pair in losses for value in pair), default=math.inf)
    answer = {"row": row, "rule": rule, "rounds": len(losses), "end": end, "largest": largest}
    x = state.samples(state.recipe.latent(Generator(0, "explode"), 64))
    seconds = round(time.monotonic() - began, 1)
    return answer | {"seconds": seconds, **quality(x, dataset), "losses": losses}


def quality(x: np.ndarray, dataset: Dataset) -> dict[str, float | None]:
    """Distance from the nearest of 3,000 real images, and spread; None if x is not finite."""
    if not np.isfinite(x).all():
        return {"distance": None, "spread": None}
    x, real = x.reshape(len(x), -1), dataset.x[:3000].reshape(3000, -1) / np.float32(127.5) - 1
    squares = (x**2).sum(1)[:, None] + (real**2).sum(1) - 2 * x @ real.T
    distance = float(np.sqrt(squares.min(axis=1) / real.shape[1]).mean())
    return {"distance": round(distance, 3), "spread": round(float(x.std(axis=0).mean()), 3)}


def draw(results: list[dict[str, Any]]) -> None:
    """|loss of G| over the rounds, one panel for each optimiser."""
    from minigan.viz.style import (
        DISCRIMINATOR,
        FAKE,
        OTHERS,
        heading,
        new_figure,
        save_figure,
        style_axes,
    )

    colours = dict(zip(ROWS, (OTHERS[1], OTHERS[2], FAKE, DISCRIMINATOR), strict=True))
    figure = new_figure(11, 4)
    for axes, rule in zip(figure.subplots(1, 2, sharey=True), RULES, strict=True):
        for found in (r for r in results if r["rule"] == rule):
            values = np.maximum(np.abs([g for _, g in found["losses"]]), 1e-3)
            row = found["row"]
            axes.semilogy(range(1, len(values) + 1), values, color=colours[row], label=row, lw=1.2)
            if found["end"] != "went on":  # a loss that is no number
                axes.plot(len(values), values[-1], "x", color=colours[row], markersize=9)
        style_axes(axes, x="round", y="|loss of G|")
        heading(axes, rule)
    figure.axes[1].legend(frameon=False, fontsize=9, loc="upper right")
    PICTURE.parent.mkdir(exist_ok=True)
    save_figure(PICTURE, figure)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=100)
    given = parser.parse_args()
    dataset = load("glyphs")
    results = []
    for rule in RULES:
        for row in ROWS:
            results.append(found := run(row, rule, dataset, given.rounds))
            print({key: value for key, value in found.items() if key != "losses"}, flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    with atomic_write(RESULTS) as temporary:
        temporary.write_text("[\n" + ",\n".join(map(json.dumps, results)) + "\n]\n")
    draw(results)


if __name__ == "__main__":
    main()

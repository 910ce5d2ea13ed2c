"""Why not Jensen-Shannon: two parallel lines, and what each loss tells a generator about them.

    python examples/divergence.py [--steps 1000]

The data are (0, u), and what G makes is (theta, u), with u uniform in [0, 1]: Example 1 of Arjovsky
et al. 2017, arXiv:1701.07875. Their Jensen-Shannon divergence is ln 2 for every theta but 0, and
their Wasserstein distance is |theta|. A divergence that does not change has no gradient; how much
of that a real D shows is measured: for each theta one small D is trained on G's points, and one
critic with a gradient penalty (arXiv:1704.00028), and then each loss of G is differentiated with
respect to theta. A pull is that gradient with the sign of theta: above 0 it leads to the data.

Writes examples/results/divergence.json, examples/pictures/divergence.png, and a table in
examples/README.md.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from minigan import Tensor, grad, nn
from minigan.files import atomic_write
from minigan.losses import (
    discriminator_loss,
    non_saturating_loss,
    saturating_loss,
    wasserstein_critic_loss,
    wasserstein_generator_loss,
)
from minigan.optim import Adam
from minigan.page_parts import rewrite_part
from minigan.penalties import gradient_penalty
from minigan.random import Generator

HERE = Path(__file__).parent
PAGE, RESULTS = HERE / "README.md", HERE / "results" / "divergence.json"
PICTURE = HERE / "pictures" / "divergence.png"
BEGIN, END = "<!-- divergence: written by examples/divergence.py -->", "<!-- end of divergence -->"

THETAS = tuple(round(t, 2) for t in np.linspace(-1, 1, 20))  # 0 is not among them
SHOWN, BATCH, PENALTY = 0.47, 64, 10.0  # SHOWN: the theta whose course is drawn
LOSSES = {
    "saturating": saturating_loss,
    "non-saturating": non_saturating_loss,
    "critic": wasserstein_generator_loss,
}

Pulls = dict[str, list[float]]


def jensen_shannon(theta: float) -> float:
    """Half of KL(P | M) + KL(Q | M) with M between them, in nats: they share no point but at 0."""
    return math.log(2) if theta else 0.0


def wasserstein(theta: float) -> float:
    """Of least cost is the transport straight across."""
    return abs(theta)


def line(rng: Generator, x: float, count: int = BATCH) -> Tensor:
    """Points (x, u), (count, 2)."""
    points = rng.uniform((count, 2), 0.0, 1.0)
    points[:, 0] = x
    return Tensor(points)


def network(rng: Generator) -> nn.Sequential:
    """Points (N, 2) to logits or scores (N,)."""
    leaky = nn.LeakyReLU(0.2)
    return nn.Sequential(
        nn.Linear(2, 64, rng=rng, activation=leaky),
        nn.Linear(64, 64, rng=rng, activation=leaky),
        nn.Linear(64, 1, rng=rng),
        nn.Reshape(),
    )


def pull(loss: Any, D: nn.Module, theta: float, rng: Generator) -> float:
    """d loss / d theta with the sign of theta, where D judges the points (theta, u)."""
    points = line(rng, theta, 256)
    gradient = grad(loss(D(points)), points).numpy()[:, 0].sum()  # every point moves with theta
    return float(gradient * np.sign(theta))


def course(theta: float, steps: int, at: list[int], seed: int = 0) -> Pulls:
    """The pull of each loss after `at` steps of D and of the critic."""
    rng = Generator(seed, "divergence")
    D, f = network(rng), network(rng)
    of_d, of_f = Adam(D.parameters(), 1e-3, (0.5, 0.999)), Adam(f.parameters(), 1e-3, (0.5, 0.9))
    found: Pulls = {name: [] for name in LOSSES}
    for step in range(steps + 1):
        if step in at:
            for name, loss in LOSSES.items():
                judge = f if name == "critic" else D
                found[name].append(pull(loss, judge, theta, Generator(seed, "pull")))
        real, fake = line(rng, 0.0), line(rng, theta)
        of_d.step(grad(discriminator_loss(D(real), D(fake)), of_d.parameters))
        loss = wasserstein_critic_loss(f(real), f(fake))
        loss = loss + PENALTY * gradient_penalty(f, real, fake, rng)
        of_f.step(grad(loss, of_f.parameters, allow_unused=True))  # the last bias cancels
    return found


def measure(steps: int) -> dict[str, Any]:
    """The pulls at every theta after `steps` steps, and at one theta over them."""
    at = sorted({0, steps, *(int(s) for s in np.geomspace(1, max(steps, 1), 12))})
    by_theta: Pulls = {name: [] for name in LOSSES}
    for theta in THETAS:
        for name, values in course(theta, steps, [steps]).items():
            by_theta[name] += [round(value, 8) for value in values]
    over = {k: [round(v, 8) for v in vs] for k, vs in course(SHOWN, steps, at).items()}
    return {"steps": steps, "thetas": THETAS, "pulls": by_theta, "at": at, "course": over}


def draw(path: Path, found: dict[str, Any]) -> None:
    from minigan.viz.style import (
        DISCRIMINATOR,
        FAKE,
        OPTIMUM,
        OTHERS,
        heading,
        new_figure,
        save_figure,
        style_axes,
    )

    colours = dict(zip(LOSSES, (OTHERS[1], DISCRIMINATOR, FAKE), strict=True))
    figure = new_figure(12, 4)
    first, second, third = figure.subplots(1, 3)
    fine = np.linspace(-1, 1, 401)
    first.plot(fine, [wasserstein(t) for t in fine], color=FAKE, label="Wasserstein")
    for side in (fine[fine < 0], fine[fine > 0]):  # apart: it jumps
        name = "Jensen-Shannon" if side[0] < 0 else None
        first.plot(side, [jensen_shannon(t) for t in side], color=OPTIMUM, label=name)
    first.plot(0, 0, "o", color=OPTIMUM, markersize=5)
    first.set_ylim(-0.05, 1.35)
    style_axes(first, x="theta", y="distance of the two lines")
    heading(first, "What they measure")
    first.legend(frameon=False, fontsize=9, loc="upper center", ncols=2)
    for axes, x, key in ((second, found["thetas"], "pulls"), (third, found["at"], "course")):
        for name, values in found[key].items():
            style = {"marker": "o", "markersize": 3, "lw": 1.2, "label": name}
            axes.plot(x, values, color=colours[name], **style)
        axes.set_yscale("symlog", linthresh=1e-3)
        axes.axhline(0, color=OPTIMUM, lw=0.8)
    style_axes(second, x="theta", y="pull towards the data")
    heading(second, f"After {found['steps']:,} steps of D")
    third.set_xscale("symlog", linthresh=1)
    third.set_xlim(left=0)
    style_axes(third, x="steps of D", y="")
    heading(third, f"At theta = {SHOWN}")
    third.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(0, 0.35))
    path.parent.mkdir(exist_ok=True)
    save_figure(path, figure)


def section(found: dict[str, Any]) -> str:
    """The table in examples/README.md."""
    far = [i for i, theta in enumerate(found["thetas"]) if abs(theta) > 0.5]
    lines = [
        f"| loss of G, after {found['steps']:,} steps of D | least pull | median | largest | "
        "of those at a distance above 0.5 |",
        "| --- | --: | --: | --: | --: |",
    ]
    for name, values in found["pulls"].items():
        away = float(np.median([values[i] for i in far]))
        numbers = (min(values), float(np.median(values)), max(values), away)
        lines.append(f"| {name} | {' | '.join(f'{n:.2g}' for n in numbers)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=1000)
    found = measure(parser.parse_args().steps)
    RESULTS.parent.mkdir(exist_ok=True)
    with atomic_write(RESULTS) as temporary:
        temporary.write_text(json.dumps(found) + "\n")
    print(section(found))
    rewrite_part(PAGE, BEGIN, END, section(found))
    draw(PICTURE, found)


if __name__ == "__main__":
    main()

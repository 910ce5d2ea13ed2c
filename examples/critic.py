"""What a Wasserstein critic knows: its estimate beside the true distance, on points of one number.

    python examples/critic.py [--rounds 600] [--recipe wgan]

In one dimension the Wasserstein distance is exact: sort both samples, and take the mean difference
(Arjovsky et al. 2017, arXiv:1701.07875, equation 1). Before each round it is measured on 10,000
points of G as the critic sees it, normalised by its batch and not by running moments; the critic's
estimate E[f(x)] - E[f(G(z))] for the same G comes from the round. Means over 5 rounds are compared.
Clipped weights leave the estimate an unknown factor, so it is the correlation that counts. The
critic has 25 steps a round, because an estimate is one only near the critic's optimum, and G is the
one that it judges: no average of weights. Writes examples/results/critic-RECIPE.json,
examples/pictures/critic-RECIPE.png and a table in examples/README.md.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from minigan import gans
from minigan.data import load
from minigan.files import atomic_write
from minigan.page_parts import rewrite_part
from minigan.random import Generator
from minigan.tensor import Tensor, no_grad
from minigan.training.state import State

HERE = Path(__file__).parent
PAGE = HERE / "README.md"
BEGIN, END = "<!-- critic: written by examples/critic.py -->", "<!-- end of critic -->"
EVERY, POINTS, CRITIC_STEPS = 5, 10_000, 25


def distances(name: str, rounds: int, seed: int = 0) -> list[tuple[int, float, float]]:
    """(round, the critic's estimate, the true distance), means over every 5 rounds of training."""
    dataset = load("mixture1d", seed=seed)
    kind = gans.load(name)
    fields = kind.defaults(dataset.shape, classes=len(dataset.classes), samples=len(dataset))
    fields |= {"n_critic": CRITIC_STEPS, "batch_size": 256}
    if "ema" in fields:
        fields["ema"] = 0.0
    state = State.fresh(kind(**fields), dataset, seed)
    z = state.recipe.latent(Generator(seed, "critic"), POINTS)
    real = np.sort(load("mixture1d", seed=seed, split="test").x[:POINTS, 0])
    both = []
    while state.step < rounds:
        distance = np.abs(np.sort(seen_by_critic(state, z)[:, 0]) - real).mean()
        both.append((state.advance()["estimate"], distance))
    parts = [np.mean(both[i : i + EVERY], axis=0) for i in range(0, rounds, EVERY)]
    return [((i + 1) * EVERY, float(a), float(b)) for i, (a, b) in enumerate(parts)]


def seen_by_critic(state: State, z: np.ndarray) -> np.ndarray:
    """G(z) in training, as one batch; of a copy, so that G's running moments stay as they are."""
    with no_grad():
        return state.players["G"].copy()(Tensor(z)).numpy()


def correlations(found: list[tuple[int, float, float]]) -> dict[str, float]:
    """Pearson's correlation of estimate and distance, and Spearman's: that of their ranks."""
    _, estimate, distance = np.array(found).T
    ranks = [values.argsort().argsort() for values in (estimate, distance)]
    return {
        "pearson": round(float(np.corrcoef(estimate, distance)[0, 1]), 3),
        "spearman": round(float(np.corrcoef(*ranks)[0, 1]), 3),
    }


def draw(path: Path, found: list[tuple[int, float, float]], title: str) -> None:
    from minigan.viz.style import DISCRIMINATOR, FAKE, heading, new_figure, save_figure, style_axes

    step, estimate, distance = np.array(found).T
    figure = new_figure(10, 4)
    left, right = figure.subplots(1, 2)
    left.semilogy(step, distance, color=FAKE, label="true distance")
    left.semilogy(step, np.maximum(estimate, 1e-6), color=DISCRIMINATOR, label="critic's estimate")
    left.legend(frameon=False)
    style_axes(left, x="round", y="distance")
    heading(left, title)
    right.plot(distance, estimate, ".", color=DISCRIMINATOR)
    style_axes(right, x="true distance", y="critic's estimate")
    path.parent.mkdir(exist_ok=True)
    save_figure(path, figure)


def section() -> str:
    """The table in examples/README.md, from all results."""
    lines = [
        "| | steps | distance, first and last | correlation | of ranks |",
        "| --- | --: | --: | --: | --: |",
    ]
    for path in sorted((HERE / "results").glob("critic-*.json")):
        r = json.loads(path.read_text())
        first, last = r["found"][0][2], r["found"][-1][2]
        lines.append(
            f"| {r['recipe']} | {r['rounds']} | {first:.2f}, {last:.2f} | {r['pearson']:.2f} | "
            f"{r['spearman']:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=600)
    parser.add_argument("--recipe", choices=("wgan", "wgan_gp"), default="wgan")
    given = parser.parse_args()
    found = distances(given.recipe, given.rounds)
    summary = {"recipe": given.recipe, "rounds": given.rounds, **correlations(found)}
    print(summary, f"distance {found[0][2]:.3f} -> {found[-1][2]:.3f}")
    results = HERE / "results" / f"critic-{given.recipe}.json"
    results.parent.mkdir(exist_ok=True)
    with atomic_write(results) as temporary:
        temporary.write_text(json.dumps({**summary, "found": found}) + "\n")
    rewrite_part(PAGE, BEGIN, END, section())
    draw(HERE / "pictures" / f"critic-{given.recipe}.png", found, f"{given.recipe}: mixture1d")


if __name__ == "__main__":
    main()

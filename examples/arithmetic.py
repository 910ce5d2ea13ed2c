"""Arithmetic with latent vectors (Radford et al. 2015, section 6.3.2): slanted - upright + upright
and bold is slanted and bold.

    python examples/arithmetic.py RUN [PICTURE]

What an image shows is measured, not judged by eye: its slant is the slope of its ink (covariance of
column and row over the variance of rows), its weight the mean of its ink. Each concept is the mean
z of three samples that have it, as in the paper: slanted and bold are those that are it the most,
upright those whose slant is the nearest to none, light those around the 40th percentile of weight.
The picture shows the three, their mean, and the result with its neighbours. The table repeats that
over many draws.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from minigan.commands.open_run import open_run
from minigan.random import Generator
from minigan.viz.grid import save_grid

SAMPLES = 4000
EXEMPLARS = 3  # of a concept
DRAWS = 200
SHARE = 0.2  # of all samples: those that count as slanted, as upright, as light, and as bold


def slant(images: np.ndarray) -> np.ndarray:
    """Columns to the right for each row up, (N,)."""
    ink = images.mean(axis=1) - images.min(axis=(1, 2, 3))[:, None, None]
    rows, columns = np.mgrid[: ink.shape[1], : ink.shape[2]]
    total = ink.sum(axis=(1, 2)) + 1e-6
    mean_row, mean_column = ((ink * axis).sum(axis=(1, 2)) / total for axis in (rows, columns))
    down = rows - mean_row[:, None, None]
    across = columns - mean_column[:, None, None]
    upward: np.ndarray = -(ink * down * across).sum(axis=(1, 2)) / (ink * down**2).sum(axis=(1, 2))
    return upward


def weight(images: np.ndarray) -> np.ndarray:
    """Mean ink, (N,)."""
    result: np.ndarray = images.mean(axis=(1, 2, 3))
    return result


def concepts(slants: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """The places of those samples that show each concept, of all samples' slants and weights."""
    is_slanted, is_bold = (_ranks(values) > 1 - SHARE for values in (slants, weights))
    is_upright = _ranks(np.abs(slants)) < SHARE
    is_light = np.abs(_ranks(weights) - 0.4) < SHARE / 2
    return {
        "slanted": np.flatnonzero(is_slanted & is_light),
        "upright": np.flatnonzero(is_upright & is_light),
        "bold": np.flatnonzero(is_upright & is_bold),
    }


def _ranks(values: np.ndarray) -> np.ndarray:
    """The share of values below each, (N,)."""
    return values.argsort().argsort() / len(values)


def main(folder: str, picture: str | None = None) -> None:
    state, dataset, run = open_run(Path(folder))
    rng = Generator(0, "arithmetic")
    z = state.recipe.latent(rng, SAMPLES)
    images = state.samples(z)
    measures = {"slant": slant(images), "weight": weight(images)}
    places = concepts(measures["slant"], measures["weight"])
    draws = np.random.default_rng(0)
    few = {
        name: np.stack([draws.choice(where, EXEMPLARS, replace=False) for _ in range(DRAWS)])
        for name, where in places.items()
    }
    means = {name: z[chosen].mean(axis=1) for name, chosen in few.items()}
    made = {name: state.samples(mean) for name, mean in means.items()}
    made["slanted - upright + bold"] = state.samples(
        means["slanted"] - means["upright"] + means["bold"]
    )
    print(f"mean over {DRAWS} draws, in standard deviations of all samples from their mean")
    print(f"{'':28}{'slant':>8}{'weight':>8}")
    for name, x in made.items():
        shown = [
            (measure(x).mean() - measures[key].mean()) / measures[key].std()
            for key, measure in (("slant", slant), ("weight", weight))
        ]
        print(f"{name:28}{shown[0]:8.2f}{shown[1]:8.2f}")
    around = rng.uniform((EXEMPLARS, *z.shape[1:]), -0.25, 0.25)
    result = means["slanted"][0] - means["upright"][0] + means["bold"][0]
    rows = [part for name in places for part in (images[few[name][0]], made[name][:1])]
    rows += [state.samples(result + around), state.samples(result[None])]
    bounds = state.recipe.output_range(dataset.shape)
    assert bounds is not None
    out = Path(picture) if picture else run.path / "arithmetic.png"
    captions = [text for name in places for text in (*[name] * EXEMPLARS, "their mean")]
    captions += ["near it"] * EXEMPLARS + ["the sum"]
    save_grid(
        out,
        np.concatenate(rows),
        value_range=bounds,
        columns=EXEMPLARS + 1,
        labels=captions,
    )
    print(out)


if __name__ == "__main__":
    main(*sys.argv[1:3])

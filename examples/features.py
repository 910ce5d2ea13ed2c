"""D as an extractor of features: a linear classifier on them (Radford et al. 2015, section 5).

    minigan train dcgan --data CIFAR --steps 2000 --out RUN
    python examples/features.py RUN

The activations of all of D's convolutions are max-pooled to a grid of 4x4, flattened and joined,
and a linear SVM with the L2 penalty is trained on them. Its C is chosen on a fifth of the training
images, drawn at random. Beside it stand the same SVM on the features of a D that was never trained,
and on pixels. Writes examples/results/features.json and the table in examples/README.md.
Needs scikit-learn: pip install 'minigan[metrics]'.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from minigan import nn
from minigan.commands.open_run import open_run
from minigan.data import Dataset, load
from minigan.errors import UserError
from minigan.files import atomic_write
from minigan.page_parts import rewrite_part
from minigan.tensor import Array, Tensor
from minigan.training.recipe import Players
from minigan.training.state import State

HERE = Path(__file__).parent
PAGE, RESULTS = HERE / "README.md", HERE / "results" / "features.json"
BEGIN, END = "<!-- features: written by examples/features.py -->", "<!-- end of features -->"

GRID = 4  # cells on a side
PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2)  # of which C is chosen
OPTIONS = {"maxiter": 1000, "ftol": 1e-6}  # of L-BFGS: until a step gains a millionth


def features(players: Players, x: Array) -> np.ndarray:
    """What D's convolutions answer to images x (N, C, H, W), max-pooled: (N, features)."""
    D, found, y = players["D"], [], Tensor(x)
    assert isinstance(D, nn.Sequential)
    for layer in D:
        y = layer(y)
        if getattr(layer, "activation", None) is not None:
            found.append(pooled(y.numpy()).reshape(len(x), -1))
    return np.concatenate(found, axis=1)


def pooled(y: np.ndarray) -> np.ndarray:
    """The largest value in each of 4x4 cells, as even as they can be, of planes y (N, C, H, W).

    Raises:
        UserError: if a plane has no 4 rows and columns.
    """
    if min(y.shape[2:]) < GRID:
        raise UserError(
            f"D has planes of {y.shape[2]}x{y.shape[3]}, which no grid of {GRID}x{GRID} fits; "
            "train on larger images, with --size"
        )
    for axis in (2, 3):
        starts = np.linspace(0, y.shape[axis], GRID, endpoint=False).round().astype(int)
        y = np.maximum.reduceat(y, starts, axis=axis)
    return y


def accuracy(
    train: np.ndarray, y: np.ndarray, test: np.ndarray, truth: np.ndarray
) -> dict[str, float]:
    """Of the SVM on the test set, with its C."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler(copy=False).fit(train)
    train, test = scaler.transform(train), scaler.transform(test)
    part, classes = len(train) // 5, 1 + int(y.max())
    mixed = np.random.default_rng(0).permutation(len(train))  # folders are sorted by class
    train, y = train[mixed], y[mixed]
    scores = []
    for c in PENALTIES:
        weights = svm(train[part:], y[part:], c, classes)
        scores.append(_accuracy(weights, train[:part], y[:part]))
    best = PENALTIES[int(np.argmax(scores))]
    return {"accuracy": _accuracy(svm(train, y, best, classes), test, truth), "C": best}


def svm(x: np.ndarray, y: np.ndarray, c: float, classes: int) -> np.ndarray:
    """One L2-SVM for each class against the rest, (features + 1, classes), the biases last: of all
    w and b those with the least |w|^2 / 2 + c sum max(0, 1 - t (x w + b))^2, where t = +-1.

    The function is smooth and convex, and L-BFGS on all classes together goes through x as matrix
    products; liblinear's loops over one class and one image at a time would take hours.
    """
    from scipy.optimize import minimize

    sign = np.where(y[:, None] == np.arange(classes), 1, -1).astype(np.float32)

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w = flat.reshape(-1, classes).astype(np.float32)
        short = np.maximum(0, 1 - sign * (x @ w[:-1] + w[-1]))  # of the margin 1
        slope = -2 * c * sign * short
        gradient = np.concatenate([w[:-1] + x.T @ slope, slope.sum(axis=0, keepdims=True)])
        total = 0.5 * np.square(w[:-1], dtype=float).sum() + c * np.square(short, dtype=float).sum()
        return total, gradient.reshape(-1).astype(float)

    start = np.zeros((x.shape[1] + 1) * classes)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options=OPTIONS)
    if not found.success:
        raise RuntimeError(f"the SVM with C = {c:g} did not converge: {found.message}")
    return found.x.reshape(-1, classes).astype(np.float32)


def _accuracy(weights: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    return float(((x @ weights[:-1] + weights[-1]).argmax(axis=1) == y).mean())


def _all(state: State, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The images in the recipe's range, and their labels."""
    bounds = state.recipe.output_range(dataset.shape)
    assert bounds is not None
    assert dataset.y is not None
    low, high = bounds
    return (low + dataset.x.astype(np.float32) * ((high - low) / 255)), dataset.y


def main(folder: str) -> None:
    state, dataset, run = open_run(Path(folder))
    data = run.config["data"]
    held_out = load(data["source"], size=data["size"], seed=run.config["seed"], split="test")
    (x, y), (x_test, y_test) = _all(state, dataset), _all(state, held_out)
    untrained = State.fresh(state.recipe, dataset, run.config["seed"])
    rows = []
    for name, answers in (
        ("pixels", lambda images: images.reshape(len(images), -1)),
        ("D untrained", lambda images: untrained.ask(features, images)),
        (f"D after {state.step:,} steps", lambda images: state.ask(features, images)),
    ):
        began = time.monotonic()
        train, test = answers(x), answers(x_test)
        found = {"features": train.shape[1], **accuracy(train, y, test, y_test)}
        rows.append({"of": name, **found, "seconds": round(time.monotonic() - began)})
        print(rows[-1], flush=True)
    facts = {"data": dataset.name, "train": len(x), "test": len(x_test), "seed": run.config["seed"]}
    with atomic_write(RESULTS) as temporary:
        temporary.write_text(json.dumps({**facts, "rows": rows}, indent=2) + "\n")
    rewrite_part(PAGE, BEGIN, END, section({**facts, "rows": rows}))


def section(facts: dict[str, Any]) -> str:
    """The table in examples/README.md."""
    lines = [
        f"A linear SVM on {facts['data']}, {facts['train']:,} images to learn from and "
        f"{facts['test']:,} to test on:",
        "",
        "| features | number | accuracy | C |",
        "| --- | --: | --: | --: |",
    ]
    lines += [
        f"| {row['of']} | {row['features']:,} | {row['accuracy']:.1%} | {row['C']:g} |"
        for row in facts["rows"]
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except UserError as error:
        sys.exit(str(error))

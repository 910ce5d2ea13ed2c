"""D as an extractor of features: a linear classifier on them (Radford et al. 2015, section 5).

    minigan train dcgan --data CIFAR --width 64 --lr-g 2e-4 --steps 20000 --out RUN
    python examples/features.py RUN [--labels 1000] [--on SVHN/train_32x32.mat]

The activations of all of D's convolutions are max-pooled to a grid of 4x4, flattened and joined,
and a linear SVM with the L2 penalty is trained on them. Its C is chosen on a fifth of the training
images, drawn at random. Beside it stand the same SVM on the features of a D that was never trained,
on those of k-means (Coates & Ng 2011, see `KMeans`), and on pixels.

G must not be faster than D, hence the paper's --lr-g. On 10,000 images and by its own rate, five
times that of D, D's loss stays at ln 4: after 2,000 steps features of its second and third
convolution were 6 points worse than untrained ones, and with equal rates after 1,000 steps 2 and 3
points better (SVMs on 2,000 images, accuracy on 3,000).

The images are those that the run was trained on, or those of `--on`, of the same shape, as the
paper tries D on SVHN; --labels is how many of them the SVM sees, as many of each class. D and
k-means see no label. Writes examples/results/features.json, which has one result for each data set
and number of labels, and the tables in examples/README.md.
Needs scikit-learn: pip install 'minigan[metrics]'.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minigan import nn
from minigan.commands.open_run import open_run
from minigan.data import Dataset, load
from minigan.errors import UserError
from minigan.files import atomic_write
from minigan.page_parts import rewrite_part
from minigan.tensor import Array, Tensor, no_grad
from minigan.training.recipe import Players
from minigan.training.state import State

HERE = Path(__file__).parent
PAGE, RESULTS = HERE / "README.md", HERE / "results" / "features.json"
BEGIN, END = "<!-- features: written by examples/features.py -->", "<!-- end of features -->"

GRID = 4  # cells on a side
PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2)  # of which C is chosen
OPTIONS = {"maxiter": 1000, "ftol": 1e-6}  # of L-BFGS: until a step gains a millionth
CENTROIDS, PATCH = 800, 6  # of k-means, and pixels on a side of what it sees
PATCHES, RIDGE = 100_000, 0.1  # patches to learn from; what whitening adds to each variance
NOISE = 10 / 255**2  # added to a patch's variance before it is divided by it
MOMENTS = 100  # real images in each of the batches by which batch norm is set

WITHOUT_SVHN = (
    "The paper's other test, SVHN with 1,000 labels, is missing: no run has had these data. "
    "`python examples/features.py RUN --on train_32x32.mat --labels 1000` adds it."
)


def features(players: Players, x: Array) -> np.ndarray:
    """What D's convolutions answer to images x (N, C, H, W), max-pooled: (N, features).

    Raises:
        UserError: if D is built of other layers.
    """
    D, found, y = players["D"], [], Tensor(x)
    if not isinstance(D, nn.Sequential):
        raise UserError("the D of this recipe is no sequence of layers; take a dcgan's")
    for layer in D:
        y = layer(y)
        inner = layer.layer if isinstance(layer, nn.SpectralNorm) else layer
        if y.ndim == 4 and getattr(inner, "activation", None) is not None:
            found.append(pooled(y.numpy()).reshape(len(x), -1))
    if not found:
        raise UserError("the D of this recipe has no convolutions; take a dcgan's")
    return np.concatenate(found, axis=1)


def with_moments_of(state: State, x: np.ndarray) -> State:
    """D with running moments of real images alone: in training half of its batches are G's."""
    for i in range(0, len(x), MOMENTS):
        with no_grad():
            state.players["D"](Tensor(x[i : i + MOMENTS]))
    return state


@dataclass
class KMeans:
    """Features of whitened patches (Coates, Lee & Ng 2011, "An analysis of single-layer networks in
    unsupervised feature learning", section 3): how near each patch is to each of k centroids, sum
    pooled over quadrants.
    """

    mean: np.ndarray
    whitening: np.ndarray  # ZCA, (values, values)
    centroids: np.ndarray  # (k, values)

    @classmethod
    def of(cls, x: np.ndarray, k: int, patches: int, seed: int = 0) -> KMeans:
        """Centroids of so many random patches of images x (N, C, H, W)."""
        from sklearn.cluster import MiniBatchKMeans

        rng = np.random.default_rng(seed)
        rows, columns = (rng.integers(0, side - PATCH + 1, patches) for side in x.shape[2:])
        image = rng.integers(0, len(x), patches)
        found = np.stack([
            x[i, :, a : a + PATCH, b : b + PATCH].reshape(-1)
            for i, a, b in zip(image, rows, columns, strict=True)
        ])  # fmt: skip
        found = contrast_normalised(found)
        mean = found.mean(axis=0)
        variances, vectors = np.linalg.eigh(np.cov((found - mean).T.astype(float)))
        whitening = ((vectors / np.sqrt(variances + RIDGE)) @ vectors.T).astype(np.float32)
        white = (found - mean) @ whitening
        learned = MiniBatchKMeans(k, random_state=seed, n_init=1, batch_size=4096).fit(white)
        return cls(mean, whitening, learned.cluster_centers_.astype(np.float32))

    def __call__(self, x: np.ndarray, *, batch: int = 50) -> np.ndarray:
        """Features (N, 4 k) of images x (N, C, H, W)."""
        return np.concatenate([self._features(x[i : i + batch]) for i in range(0, len(x), batch)])

    def _features(self, x: np.ndarray) -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(x, (PATCH, PATCH), axis=(2, 3))
        n, _, height, width = windows.shape[:4]
        flat = windows.transpose(0, 2, 3, 1, 4, 5).reshape(n * height * width, -1)
        white = (contrast_normalised(flat) - self.mean) @ self.whitening
        squares = np.square(white).sum(axis=1)[:, None] + np.square(self.centroids).sum(axis=1)
        distance = np.sqrt(np.maximum(squares - 2 * white @ self.centroids.T, 0))
        near = np.maximum(0, distance.mean(axis=1, keepdims=True) - distance)  # "triangle"
        near = near.reshape(n, height, width, -1)
        top, left = (height + 1) // 2, (width + 1) // 2
        quadrants = (near[:, :top, :left], near[:, :top, left:],
                     near[:, top:, :left], near[:, top:, left:])  # fmt: skip
        return np.concatenate([part.sum(axis=(1, 2)) for part in quadrants], axis=1)


def contrast_normalised(patches: np.ndarray) -> np.ndarray:
    """Patches (N, values) with pixels in [0, 1], each less its mean, by its deviation."""
    centred = patches - patches.mean(axis=1, keepdims=True)
    return centred / np.sqrt(centred.var(axis=1, keepdims=True) + NOISE)


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


def scaled(state: State, dataset: Dataset) -> np.ndarray:
    """The images in the recipe's range."""
    bounds = state.recipe.output_range(dataset.shape)
    assert bounds is not None
    low, high = bounds
    return low + dataset.x[:].astype(np.float32) * np.float32((high - low) / 255)


def with_labels(dataset: Dataset, labels: int | None) -> Dataset:
    """As many images of each class, `labels` in all; without a number all images.

    Raises:
        UserError: if there are no labels, or not so many.
    """
    if dataset.y is None:
        raise UserError(f"{dataset.name} has no labels; give --on with labels")
    if labels is None:
        return dataset
    each = labels // len(dataset.classes)
    mixed = np.random.default_rng(0).permutation(len(dataset))
    chosen = [mixed[dataset.y[mixed] == k][:each] for k in range(len(dataset.classes))]
    if not each or min(map(len, chosen)) < each:
        raise UserError(f"{dataset.name} has no {each} images of each class; give other --labels")
    return dataset[np.sort(np.concatenate(chosen))]


def measure(folder: Path, labels: int | None, on: str | None) -> dict[str, Any]:
    """The accuracy of the SVM on each kind of features.

    Raises:
        UserError: if the data of `on` have another shape, or no labels.
    """
    state, dataset, run = open_run(folder)
    data = run.config["data"]
    parts = [
        load(on or data["source"], size=data["size"], seed=run.config["seed"], split=split)
        for split in ("train", "test")
    ]
    if parts[0].shape != dataset.shape:
        raise UserError(f"{on} has images of {parts[0].shape}, and the run {dataset.shape}")
    learned, held_out = with_labels(parts[0], labels), with_labels(parts[1], None)
    x, x_test, seen = (scaled(state, part) for part in (learned, held_out, dataset))
    low, high = state.recipe.output_range(dataset.shape) or (0.0, 1.0)
    untrained = State.fresh(state.recipe, dataset, run.config["seed"])
    patches = KMeans.of((seen - low) / (high - low), CENTROIDS, PATCHES)
    of: dict[str, Callable[[np.ndarray], Any]] = {
        "pixels": lambda images: images.reshape(len(images), -1),
        f"k-means, {CENTROIDS} centroids": lambda images: patches((images - low) / (high - low)),
    }
    for name, one in (("D untrained", untrained), (f"D after {state.step:,} steps", state)):
        own = with_moments_of(one, seen)
        of[name] = lambda images, own=own: own.ask(features, images)
    rows = []
    assert learned.y is not None
    assert held_out.y is not None
    for name, answers in of.items():
        began = time.monotonic()
        train, test = answers(x), answers(x_test)
        found = {"features": train.shape[1], **accuracy(train, learned.y, test, held_out.y)}
        rows.append({"of": name, **found, "seconds": round(time.monotonic() - began)})
        print(rows[-1], flush=True)
    return {
        "data": learned.name,
        "of_d": dataset.name,
        "train": len(x),
        "test": len(x_test),
        "seed": run.config["seed"],
        "rows": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--labels", type=int)
    parser.add_argument("--on")
    given = parser.parse_args()
    found = measure(given.run, given.labels, given.on)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    key = found["data"], found["train"]
    results = sorted(
        [found, *(r for r in results if (r["data"], r["train"]) != key)],
        key=lambda r: (r["data"], -r["train"]),
    )
    RESULTS.parent.mkdir(exist_ok=True)
    with atomic_write(RESULTS) as temporary:
        temporary.write_text(json.dumps(results, indent=2) + "\n")
    rewrite_part(PAGE, BEGIN, END, section(results))


def section(results: list[dict[str, Any]]) -> str:
    """The tables in examples/README.md."""
    lines = []
    for facts in results:
        own = facts.get("of_d", facts["data"]) == facts["data"]
        seen = "" if own else f" D and k-means have seen {facts['of_d']}."
        lines += [
            f"A linear SVM on {facts['data']}, {facts['train']:,} images to learn from and "
            f"{facts['test']:,} to test on:{seen}",
            "",
            "| features | number | accuracy | C |",
            "| --- | --: | --: | --: |",
        ]
        lines += [
            f"| {row['of']} | {row['features']:,} | {row['accuracy']:.1%} | {row['C']:g} |"
            for row in facts["rows"]
        ]
        lines.append("")
    if not any("svhn" in facts["data"].lower() for facts in results):
        lines.append(WITHOUT_SVHN)
    return "\n".join(lines).strip()


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))

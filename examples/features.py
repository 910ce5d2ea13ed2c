"""D as an extractor of features: a linear classifier on them (Radford et al. 2015, section 5).

    minigan train dcgan --data CIFAR --width 64 --steps 2000 --out RUN
    python examples/features.py RUN

The activations of all of D's convolutions are max-pooled to a grid of 4x4, flattened and joined,
and a linear SVM with the L2 penalty is trained on them. Its C is chosen on a fifth of the training
images. Beside it stand the same SVM on the features of a D that was never trained, and on pixels.
Needs scikit-learn: pip install 'minigan[metrics]'.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from minigan import nn
from minigan.commands.resume import open_run
from minigan.data import Dataset, load
from minigan.ops import max_pool2d
from minigan.recipe import Players
from minigan.tensor import Array, Tensor
from minigan.train import State

GRID = 4  # cells on a side
PENALTIES = (1e-4, 1e-3, 1e-2)  # of which C is chosen


def features(players: Players, x: Array) -> np.ndarray:
    """What D's convolutions answer to images x (N, C, H, W), max-pooled: (N, features)."""
    D, found, y = players["D"], [], Tensor(x)
    assert isinstance(D, nn.Sequential)
    for layer in D:
        y = layer(y)
        if getattr(layer, "activation", None) is not None:
            found.append(max_pool2d(y, y.shape[2] // GRID).numpy().reshape(len(x), -1))
    return np.concatenate(found, axis=1)


def accuracy(train: np.ndarray, y: np.ndarray, test: np.ndarray, truth: np.ndarray) -> str:
    """Of the SVM on the test set, with its C."""
    scaler = StandardScaler().fit(train)
    train, test = scaler.transform(train), scaler.transform(test)
    part = len(train) // 5
    scores = [_svm(c, train[part:], y[part:]).score(train[:part], y[:part]) for c in PENALTIES]
    best = PENALTIES[int(np.argmax(scores))]
    return f"{_svm(best, train, y).score(test, truth):7.2%}   C = {best:g}"


def _svm(c: float, x: np.ndarray, y: np.ndarray) -> LinearSVC:
    return LinearSVC(C=c, dual=True, tol=1e-3, max_iter=300, random_state=0).fit(x, y)


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
    print(f"{dataset.name}: {len(x):,} images to learn from, {len(x_test):,} to test on")
    for name, answers in (
        ("pixels", lambda images: images.reshape(len(images), -1)),
        ("D untrained", lambda images: untrained.ask(features, images)),
        (f"D after {state.step:,} rounds", lambda images: state.ask(features, images)),
    ):
        began = time.monotonic()
        train, test = answers(x), answers(x_test)
        result = accuracy(train, y, test, y_test)
        seconds = time.monotonic() - began
        print(f"{name:24} {train.shape[1]:6,} features   {result}   {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])

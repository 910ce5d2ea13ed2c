"""Make the run directories in runs/, and record what they give.

    python tests/training/old_runs/make.py

This is run at the revision whose runs are to be kept, and never again for the same runs: a run that
a later revision made proves nothing about old ones. To keep a run of another kind, add it to RUNS
under a new name; what is there already is left alone.

All paths in the runs are relative to this folder, and the tests read them from here. A run is
smaller than one that a user would keep: pictures and the report are removed, and so is the
checkpoint of step 0.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from results import (
    HERE,
    MORE,
    RECIPES,
    RUNS,
    command,
    config_of,
    continued,
    copied,
    generated,
    newest,
    pictured,
    rows_of,
    scored,
    thinned_state,
)
from safetensors.numpy import save_file

from minigan.data import load

DIGITS = HERE / "digits"  # glyphs of 8 x 8 pixels in MNIST's format
PICTURES = HERE / "images"  # the same in colours, without labels
STEPS, SAVED = 30, 28  # enough for running moments of batch norm that are worth reading
PER_CLASS = {"train": 6, "t10k": 3}


@dataclass(frozen=True)
class Kept:
    """A run to be kept."""

    recipe: str
    flags: str
    evaluate: bool = False  # record its scores
    # What the run is left as: "" at its end, "interrupted" as by a kill between two checkpoints,
    # "new" as by a kill before the first one, "path" with its recipe named by a file.
    left: str = ""


LINE = "--data mixture1d --batch-size 16 --hidden 8 --units 6 --latent-size 1 --init-g 1"
POINTS = "--batch-size 16 --hidden 8 --latent-size 3"
IMAGES = "--batch-size 8 --latent-size 5"
MAXOUT = "--hidden 8 --units 4 --pieces 3"
KEPT = {
    # Wide enough for every way of convolving: direct, Winograd and matrix products.
    "dcgan": Kept("dcgan", f"{IMAGES} --width 8 --init-std 0.1 --optimizer sgd"),
    "gan": Kept("gan", LINE, True),
    "gan-images": Kept("gan", f"{IMAGES} --size 12 {MAXOUT} --init-g 1 --init-d 0.1"),
    "lsgan": Kept("lsgan", f"--data mixture1d {POINTS} --lr-g 0.01", True),
    "pacgan": Kept("pacgan", f"--data grid {POINTS} --r1 1 --ema 0.5", True),
    "wgan-gp": Kept("wgan_gp", f"--data ring {POINTS} --lr-g 0.01", True, "interrupted"),
    "wgan": Kept("wgan", f"{IMAGES} --size 12 --width 4 --lr 0.001"),
    "sngan": Kept("sngan", f"{IMAGES} --size 12 --width 4", False, "interrupted"),
    "lsgan-stacked": Kept("lsgan", f"--data digits --stack 3 {IMAGES} --width 4", True),
    "cgan-stacked": Kept("cgan", f"--data digits --stack 2 {IMAGES} --width 2 --hidden 4"),
    "cgan": Kept("cgan", f"--data digits {IMAGES} --width 2 --hidden 8 --ema 0.5", True),
    "infogan": Kept("infogan", f"--data digits {IMAGES} --width 4 --hidden 4 --lr-g 0.01", True),
    # D has the paper's widths, and a checkpoint 13 MB.
    "sgan": Kept("sgan", f"--data digits {IMAGES} --hidden 8 --labels 20 --ema 0.5", True, "new"),
    "bigan": Kept("bigan", f"--data images --size 8 {IMAGES} --hidden 4 --lr 0.01", True),
    "began": Kept("began", f"--data images --size 8 {IMAGES} --width 4 --hidden 8", True),
    "glo": Kept("glo", f"--data images --size 28 {IMAGES} --width 4 --encoding-steps 3", True),
    "gon": Kept("gon", f"--data images --size 28 {IMAGES} --width 4", True),
    "own-recipe": Kept("points_gan", f"--data mixture1d {POINTS}", True, "interrupted"),
    "own-recipe-path": Kept("recipes/points_gan.py", f"--data ring {POINTS}", False, "path"),
}


def write_digits() -> None:
    """Write images of ten classes, training and test ones."""
    DIGITS.mkdir(exist_ok=True)
    for split, name in (("train", "train"), ("test", "t10k")):
        data = load("glyphs", size=8, split=split)
        assert data.y is not None
        of = [np.flatnonzero(data.y == k)[: PER_CLASS[name]] for k in range(10)]
        some = np.sort(np.concatenate(of))
        for kind, array in (("images", data.x[some, 0]), ("labels", data.y[some].astype(np.uint8))):
            head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            path = DIGITS / f"{name}-{kind}-idx{array.ndim}-ubyte.gz"
            path.write_bytes(gzip.compress(head + array.tobytes(), mtime=0))


def write_images() -> None:
    """Write a folder of coloured images, training and test ones."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 6)):
        (PICTURES / split).mkdir(parents=True)
        for i, glyph in enumerate(load("glyphs", size=8, split=split).x[:count, 0]):
            pixels = (glyph[:, :, None] * rng.random(3)).astype(np.uint8)
            Image.fromarray(pixels).save(PICTURES / split / f"{i:02}.png")


def make(name: str, kept: Kept) -> None:
    folder = Path("runs") / name
    run = folder / "run"
    rhythm = ["--checkpoint-every", str(SAVED), "--sample-every", "1000"]
    words = [kept.recipe, *kept.flags.split(), "--steps", str(STEPS), *rhythm, "--seed", "3"]
    command("train", *words, "--out", run)
    if kept.left == "path":
        anywhere(run)
    if kept.left == "interrupted":
        state, rows = thinned_state(run), rows_of(run)
        interrupt(run)
    if kept.left == "new":
        shutil.rmtree(run / "checkpoints")
        (run / "metrics.jsonl").unlink()
    strip(run)
    results = {"generated": generated(run)} if kept.left != "new" else {}
    if len(config_of(run)["data"]["shape"]) == 3:
        pictured(run, folder / "sample.png")
    copy = copied(run, folder / "copy")
    facts = {"scores": scored(copy)} if kept.evaluate else {}
    if kept.left == "interrupted":
        how_far = []  # to its end, where the uninterrupted run was
    else:
        how_far = ["--more", MORE]
        state, rows = continued(copy, *how_far)
    shutil.rmtree(copy)
    results |= {f"state/{key}": array for key, array in state.items()}
    save_file(dict(sorted(results.items())), folder / "recorded.safetensors")
    facts |= {"continued": how_far, "rows": rows[-2:]}
    (folder / "recorded.json").write_text(json.dumps(facts, indent=1) + "\n")


def anywhere(run: Path) -> None:
    """Train it again with its recipe's path relative to this folder, also in the checkpoints."""
    config = config_of(run)
    config["recipe"] = str(Path(config["recipe"]).relative_to(HERE))
    (run / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (run / "metrics.jsonl").unlink()
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").mkdir()
    command("train", "--resume", "--out", run)


def interrupt(run: Path) -> None:
    """Leave what a run leaves that is killed before its end: the last row is cut short."""
    newest(run).unlink()
    metrics = run / "metrics.jsonl"
    metrics.write_text(metrics.read_text()[:-20])


def strip(run: Path) -> None:
    """Remove what no command needs, and the paths of this checkout."""
    needed = [run / "config.json", run / "metrics.jsonl", *sorted(run.glob("checkpoints/*"))[-1:]]
    for path in sorted(run.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in needed:
            path.unlink()
    config = config_of(run)
    source = Path(config["data"]["source"])
    if source.is_absolute():
        config["data"]["source"] = str(source.relative_to(HERE))
    (run / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    for path in run.rglob("*.*"):
        assert str(HERE).encode() not in path.read_bytes(), path


def main() -> None:
    os.chdir(HERE)
    os.environ["MINIGAN_RECIPES"] = str(RECIPES)
    if not DIGITS.exists():
        write_digits()
        write_images()
    for name in sys.argv[1:] or KEPT:
        if not (RUNS / name).exists():
            make(name, KEPT[name])


if __name__ == "__main__":
    main()

"""What may have been meant by a name: only what is near."""

from __future__ import annotations

import pytest

from minigan import gans
from minigan.errors import nearest

FLAGS = ["--steps", "--batch-size", "--lr-d", "--lr-g", "--latent-size", "--seed"]
VERBS = ["train", "sample", "evaluate", "recipes", "data", "doctor"]
DATA = ["glyphs", "ring", "grid", "mnist", "fashion-mnist"]


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("dcgna", gans.names(), "dcgan"),
        ("WGAN-GP", gans.names(), "wgan_gp"),
        ("wgangp", gans.names(), "wgan_gp"),
        ("info", gans.names(), "infogan"),
        ("tarin", VERBS, "train"),
        ("eval", VERBS, "evaluate"),
        ("samples", VERBS, "sample"),
        ("mnits", DATA, "mnist"),
        ("fashion", DATA, "fashion-mnist"),
        ("--batchsize", FLAGS, "--batch-size"),
        ("--batch_size", FLAGS, "--batch-size"),
        ("--latent-dim", FLAGS, "--latent-size"),
    ],
)
def test_a_near_name_is_meant(word: str, known: list[str], meant: str) -> None:
    assert nearest(word, known) == meant


@pytest.mark.parametrize(
    ("word", "known"),
    [
        ("stylegan", gans.names()),
        ("cyclegan", gans.names()),
        ("run", VERBS),
        ("generate", VERBS),
        ("imagenet", DATA),
        ("cifar10", DATA),
        ("--lr", FLAGS),  # there are two
        ("--learning-rate", FLAGS),
        ("--epochs", FLAGS),
        ("x", ["y"]),
        ("", VERBS),
        ("--", FLAGS),
        ("train", []),
    ],
)
def test_a_far_name_is_not(word: str, known: list[str]) -> None:
    assert nearest(word, known) is None

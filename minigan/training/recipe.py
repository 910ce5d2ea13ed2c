"""What a GAN is to the training loop: a recipe."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, ClassVar, Protocol

import numpy as np

from ..errors import UserError
from ..nn import Module
from ..optim import Optimizer, Schedule, average, clip_by_norm, linear, warming
from ..random import Generator
from ..tensor import Array, Tensor

Players = dict[str, Module]
Update = tuple[str, Tensor, Mapping[str, Any]]  # whose turn, its loss, what else to record
Shape = tuple[int, ...]
Check = Callable[[np.ndarray], None]  # raises a UserError

DECAYS = {"beta1", "beta2", "ema"}  # fields of these names weight an average, in any recipe


class Feed(Protocol):
    """What a round sees of the data."""

    def __next__(self) -> Tensor:
        """The next batch: images (N, C, H, W) in the recipe's output range, or points (N, D)."""

    def labelled(self, check: Check | None = None) -> tuple[Tensor, Array]:
        """The next batch and its labels (N,); `check` sees the labels before they go to a card."""

    def few(self, count: int) -> tuple[Tensor, Array]:
        """The same `count` samples of the data at every call, as many of each class, and their
        labels (count,): all the labels that a semi-supervised recipe may see.
        """

    def indexed(self, check: Check | None = None) -> tuple[Tensor, Array]:
        """The next batch and the place of each sample in the data (N,), which `check` sees."""


@dataclass(frozen=True)
class Recipe:
    """A GAN: its hyper-parameters (the fields), its players, and one round of its algorithm.

    Everything that a round changes lives in the players, their optimisers, `rng` and the position
    in the data, so that a checkpoint holds it all.
    """

    batch_size: int = 64  # samples in a batch

    steps: ClassVar[int] = 1000  # rounds of a run unless --steps says otherwise
    watched: ClassVar[tuple[str, ...]] = ()  # what a round reports whose course is a score
    excludes: ClassVar[Mapping[str, tuple[str, ...]]] = {}  # a field, and those useless beside it

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.type == "int":
                self.require(value >= 1, f.name, "at least 1")
            elif f.type == "float":
                self.require(math.isfinite(value), f.name, "finite")
            if f.name in DECAYS:
                self.require(0 <= value < 1, f.name, "from 0 to below 1")

    def require(self, holds: bool, name: str, what: str) -> None:
        """Make sure that the field `name` is `what` it must be.

        Raises:
            UserError: naming the flag and its value, if that does not hold.
        """
        if not holds:
            flag = "--" + name.replace("_", "-")
            raise UserError(f"{flag} must be {what}, not {getattr(self, name)}")

    def check_length(self, steps: int) -> None:
        """Make sure that a run up to round `steps` learns to its end.

        Raises:
            UserError: if rounds would follow in which nothing moves.
        """

    def check_new(self, shape: Shape) -> None:
        """Make sure that every field of a new run on samples of `shape` has an effect, and the one
        that it is known for. Runs that there are may be opened nevertheless.

        Raises:
            UserError: naming the flag that is to be left out.
        """
        for f in fields(self):
            for other, useless in self.excludes.items():
                if f.name in useless and getattr(self, other):
                    untouched = getattr(self, f.name) == f.default
                    self.require(untouched, f.name, f"left out beside --{other}")

    @classmethod
    def defaults(cls, shape: Shape, *, classes: int, samples: int, tags: int = 1) -> dict[str, Any]:
        """Fields whose default is another one for data of so many samples of `shape`, in so many
        classes (0 if they have no labels), which are tuples of `tags` classes if that is not 1.

        Raises:
            UserError: if the recipe needs labels, and there are none.
        """
        return {}

    def output_range(self, shape: Shape) -> tuple[float, float] | None:
        """The range of the generator's values, into which images are scaled; None for points."""
        raise TypeError(f"{type(self).__name__} has no output_range method")

    def players(self, rng: Generator, shape: Shape) -> Players:
        """The networks by name, freshly initialised, for samples of `shape`: (C, H, W) or (D,).

        Raises:
            UserError: if this recipe cannot make samples of that shape.
        """
        raise TypeError(f"{type(self).__name__} has no players method")

    def prepare(self, players: Players, x: Array) -> None:
        """Set those initial values that depend on the data, seen in samples x (N, *shape)."""

    def optimizers(self, players: Players) -> dict[str, Optimizer]:
        """The optimiser of each player that is trained."""
        raise TypeError(f"{type(self).__name__} has no optimizers method")

    def adjust(self, optimizers: Mapping[str, Optimizer]) -> None:
        """Set what all optimisers have in common, once there are any."""

    def copies(self, players: Players) -> Players:
        """Players that no optimiser moves, made of others when those have their initial values."""
        return {}

    def round(self, players: Players, batches: Feed, rng: Generator, step: int) -> Iterator[Update]:
        """One round, a generator: each yielded update is applied before the next line runs."""
        raise TypeError(f"{type(self).__name__} has no round method")

    def after_round(self, players: Players, step: int) -> None:
        """What follows the last update of each round."""

    def latent(self, rng: Generator, n: int) -> np.ndarray:
        """n latent vectors, (n, ...)."""
        raise TypeError(f"{type(self).__name__} has no latent method")

    def shown(self, players: Players) -> Players:
        """The players from which samples come, by the names that they have in training."""
        return players

    def generate(self, players: Players, z: Array) -> Tensor:
        """Samples (N, *shape) from latent vectors, by the players that `shown` gives."""
        return players["G"](Tensor(z))

    def realness(self, players: Players, x: Array) -> Array | None:
        """D(x): the probability in [0, 1] that each sample is real, (N,); None if D has none."""
        return None

    # What a recipe may be asked about samples x (N, *shape), besides; `minigan evaluate` scores
    # the answers of those that have one.

    def with_labels(self, z: Array, labels: Array) -> Array | None:
        """Latent vectors like z, (n, ...), whose samples are asked to be of the classes `labels`
        (n,); None if the recipe knows no classes.
        """
        return None

    def sweep(self, z: Array, code: int) -> Array | None:
        """Latent vectors (n * m, ...): each of z (n, ...) in turn with its code number `code`,
        counted from 1, at m values; None if the recipe has no codes.

        Raises:
            UserError: if there is no code of that number.
        """
        return None

    def classify(self, players: Players, x: Array) -> Array | None:
        """Logits of the classes of x, (N, classes); None if the recipe classifies nothing."""
        return None

    def codes(self, players: Players, x: Array) -> Array | None:
        """The codes that Q reads in x, (N, codes): the most probable value of a categorical code,
        the mean of a continuous one; None if the recipe has no codes.
        """
        return None

    def encode(self, players: Players, x: Array) -> Array | None:
        """Latent vectors from which `generate` comes near x, (N, ...); None if the recipe cannot
        find any.
        """
        return None

    def reconstruct(self, players: Players, x: Array) -> Array | None:
        """x as the recipe can express it, (N, *shape): generated from its encoding by default."""
        z = self.encode(players, x)
        return None if z is None else self.generate(self.shown(players), z).data


# What any recipe may have: it names these classes as its own bases, and has their flags.


@dataclass(frozen=True)
class EMA(Recipe):
    """A recipe with a moving average of one player's weights, the player "average".

    It begins as that player does, moves after each round, and takes that player's place in
    `shown`.
    """

    ema: float = 0.0  # samples come from an average of G's weights with this decay, if above 0

    averaged: ClassVar[str] = "G"  # the player whose weights are averaged
    warms: ClassVar[bool] = False  # always averages, and soon forgets how the average began

    def copies(self, players: Players) -> Players:
        mine = {"average": players[self.averaged].copy()} if self.ema or self.warms else {}
        return super().copies(players) | mine

    def after_round(self, players: Players, step: int) -> None:
        super().after_round(players, step)
        if "average" in players:
            decay = warming(self.ema) if self.warms else self.ema
            average(players["average"], players[self.averaged], decay, step)

    def shown(self, players: Players) -> Players:
        slow = players.get("average")
        return players if slow is None else players | {self.averaged: slow}


@dataclass(frozen=True)
class GradientClipping(Recipe):
    """A recipe whose optimisers may limit the gradients that they are given."""

    clip_norm: float = 0.0  # limit of the joint norm of a player's gradients, if above 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.clip_norm >= 0, "clip_norm", "0 or above")

    def adjust(self, optimizers: Mapping[str, Optimizer]) -> None:
        super().adjust(optimizers)
        if self.clip_norm:
            for optimizer in optimizers.values():
                optimizer.clip = partial(clip_by_norm, limit=self.clip_norm)


@dataclass(frozen=True)
class LearningRateDecay(Recipe):
    """A recipe whose learning rates fall to 0."""

    lr_steps: int = 100_000  # rounds over which the learning rates fall to zero

    def falling(self, lr: float, *, updates: int = 1, hold: int = 0) -> Schedule:
        """`lr` for `hold` rounds, then in equal parts to 0 in round `lr_steps`, for the optimiser
        of a player with so many `updates` a round.
        """
        return linear(lr, 0, self.lr_steps * updates, hold=hold * updates)

    def check_length(self, steps: int) -> None:
        super().check_length(steps)
        if steps > self.lr_steps:
            raise UserError(
                f"the learning rate is 0 after round {self.lr_steps}, so nothing would be learned "
                f"from there to round {steps}; give --steps {self.lr_steps}, or a new run a "
                "larger --lr-steps"
            )

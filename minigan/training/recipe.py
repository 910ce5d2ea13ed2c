"""What a GAN is to the training loop: a recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import partial
from inspect import signature
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np

from ..data import Batches, Dataset
from ..errors import UserError
from ..nn import Module
from ..optim import Optimizer, Schedule, average, clip_by_norm, linear, warming
from ..random import Generator, takes_generator
from ..tensor import Array, Tensor

Players = dict[str, Module]
Update = tuple[str, Tensor, Mapping[str, Any]]  # the player, its loss, what else to report
Shape = tuple[int, ...]
Check = Callable[[np.ndarray], None]  # raises a UserError
Hook = TypeVar("Hook", bound=Callable[..., None])

LARGEST = 1e30  # of a field's value, so that float32 holds what is computed from it at first
DECAYS = {"beta1", "beta2", "ema"}  # fields that are weights of an average, in any recipe


class Feed(Protocol):
    """The batches that a recipe's `round` sees.

    >>> def round(self, players, batches, rng, step):
    ...     x, y = batches.labelled()  # Tensor (N, C, H, W), labels (N,)
    """

    def __next__(self) -> Tensor:
        """The next batch: images (N, C, H, W) in the recipe's output range, or points (N, D)."""

    def labelled(self, check: Check | None = None) -> tuple[Tensor, Array]:
        """The next batch and its labels (N,); `check` sees the labels before they go to a GPU."""

    def few(self, count: int) -> tuple[Tensor, Array]:
        """The same `count` samples at every call, equally many of each class, and their labels
        (count,): all the labels that a semi-supervised recipe may see.
        """

    def indexed(self, check: Check | None = None) -> tuple[Tensor, Array]:
        """The next batch and the index of each sample in the data (N,); `check` sees the indices
        before they go to a GPU.
        """


def only_points(prepare: Hook) -> Hook:
    """Mark a recipe's `prepare` that does nothing where samples are images."""
    prepare.only_points = True  # type: ignore[attr-defined]
    return prepare


@dataclass(frozen=True)
class Recipe:
    """A GAN: its hyper-parameters (the fields), its players, and one step of its algorithm.

    A step is one pass through the algorithm, which is `round`; it may have several updates.
    Everything that it changes is kept in the players, their optimisers, `rng` and the position in
    the data, so that a checkpoint holds all of it.

    >>> mg.gans.load("dcgan")(width=16, lr_d=1e-4).batch_size
    64
    """

    batch_size: int = 64  # samples in a batch

    steps: ClassVar[int] = 1000  # length of a run, unless --steps is given
    takes: ClassVar[str] = ""  # the data that it takes, in words
    minutes: ClassVar[float] = 0.0  # of such a run on two CPU cores, if it is known: at most
    picture: ClassVar[str] = ""  # one of examples/pictures that shows what to expect
    watched: ClassVar[tuple[str, ...]] = ()  # reported values whose course over a run is a score
    excludes: ClassVar[Mapping[str, tuple[str, ...]]] = {}  # a field -> fields without effect then

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for hook in {"players", "round", "latent"} & vars(cls).keys():
            if "rng" in signature(getattr(cls, hook)).parameters:
                setattr(cls, hook, takes_generator(getattr(cls, hook)))

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.type == "int":
                self.require(value >= 1, f.name, "at least 1")
            elif f.type == "float":
                self.require(abs(value) <= LARGEST, f.name, f"at most {LARGEST:g} from 0")
            if f.name in DECAYS:
                self.require(0 <= value < 1, f.name, "from 0 to below 1")

    def require(self, holds: bool, name: str, what: str) -> None:
        """Make sure that a condition on the field `name` holds; `what` says it in words.

        Raises:
            UserError: naming the flag and its value, if it does not.
        """
        if not holds:
            flag = "--" + name.replace("_", "-")
            raise UserError(f"{flag} must be {what}, not {getattr(self, name)}")

    def check_length(self, steps: int) -> None:
        """Make sure that a run of `steps` steps learns up to its end.

        Raises:
            UserError: if there would be steps whose updates change nothing.
        """

    def check_new(self, shape: Shape) -> None:
        """Make sure that every field of a new run on samples of `shape` has its effect.

        It is not called for existing runs, so they can be opened in any case.

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
        """Fields that have another default for such data, with that default.

        The data are `samples` samples of `shape` in `classes` classes, 0 without labels. With
        `tags` above 1 a class is a tuple of so many classes.

        Raises:
            UserError: if the recipe needs labels, and there are none.
        """
        return {}

    def output_range(self, shape: Shape) -> tuple[float, float] | None:
        """The range of the generator's output, to which images are scaled; None for points."""
        raise TypeError(f"{type(self).__name__} has no output_range method")

    def players(self, rng: Generator, shape: Shape) -> Players:
        """The networks by name, freshly initialised, for samples of `shape`: (C, H, W) or (D,).

        Raises:
            UserError: if this recipe cannot make samples of that shape.
        """
        raise TypeError(f"{type(self).__name__} has no players method")

    def check_batches(self, batches: Batches) -> None:
        """Make sure, before a run begins, that its data give what `round` will ask for.

        Raises:
            UserError: if they do not.
        """

    def prepare(self, players: Players, x: Array) -> None:
        """Set initial values that depend on the data, of which x (N, *shape) are samples."""

    def prepares(self, shape: Shape) -> bool:
        """Whether `prepare` wants samples of `shape`, thousands of which take memory."""
        prepare = type(self).prepare
        only_points = getattr(prepare, "only_points", False) and len(shape) == 3
        return prepare is not Recipe.prepare and not only_points

    def optimizers(self, players: Players) -> dict[str, Optimizer]:
        """The optimiser of each player that is trained."""
        raise TypeError(f"{type(self).__name__} has no optimizers method")

    def adjust(self, optimizers: Mapping[str, Optimizer]) -> None:
        """Change all optimisers after they are made: clipping, say."""

    def copies(self, players: Players) -> Players:
        """Players that no optimiser updates, made from the others and their initial values."""
        return {}

    def round(self, players: Players, batches: Feed, rng: Generator, step: int) -> Iterator[Update]:
        """One step: a generator, whose updates are each applied before the next line runs.

        `step` counts from 0.
        """
        raise TypeError(f"{type(self).__name__} has no round method")

    def after_step(self, players: Players, step: int) -> None:
        """What follows the last update of each step."""

    def latent(self, rng: Generator, n: int) -> np.ndarray:
        """n latent vectors, (n, ...)."""
        raise TypeError(f"{type(self).__name__} has no latent method")

    def shown(self, players: Players) -> Players:
        """The players that make samples, under their names in training."""
        return players

    def generate(self, players: Players, z: Array) -> Tensor:
        """Samples (N, *shape) from latent vectors, by the players that `shown` gives."""
        return players["G"](Tensor(z))

    def realness(self, players: Players, x: Array) -> Array | None:
        """D(x): the probability in [0, 1] that each sample is real, (N,); None if D has none."""
        return None

    def opinion(self, players: Players, x: Array, labels: Array | None) -> Array | None:
        """What D gives each sample x (N, *shape), or each pack of them, in any unit: more to those
        that it takes for real. None if there is no such thing.

        `labels` (N,) are the classes of x, None if the data have none.
        """
        return self.realness(players, x)

    # Questions about samples x (N, *shape). `minigan evaluate` scores the answers; None is none.

    def with_labels(self, z: Array, labels: Array) -> Array | None:
        """Latent vectors like z, (n, ...), that ask for samples of the classes `labels` (n,); None
        if the recipe knows no classes.
        """
        return None

    def sweep(self, z: Array, code: int) -> Array | None:
        """Latent vectors (n * m, ...): each of z (n, ...) with its code number `code`, counted from
        1, set to each of m values; None if the recipe has no codes.

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
        """Latent vectors (N, ...) from which `generate` approximates x; None if the recipe has no
        way to find them.
        """
        return None

    def reconstruct(self, players: Players, x: Array) -> Array | None:
        """x as the recipe can express it, (N, *shape): generated from its encoding by default."""
        z = self.encode(players, x)
        return None if z is None else self.generate(self.shown(players), z).data


def defaults(kind: type[Recipe], dataset: Dataset) -> dict[str, Any]:
    """The fields of a recipe that have another default for these data, with that default."""
    tags, classes = dataset.shape[0] if dataset.parts else 1, len(dataset.classes)
    return kind.defaults(dataset.shape, classes=classes, samples=len(dataset), tags=tags)


# Features for any recipe: one that names these classes as its bases has their flags.


@dataclass(frozen=True)
class EMA(Recipe):
    """A recipe with a moving average of one player's weights: the player "average".

    The average begins as a copy of that player, is updated after each step, and takes the player's
    place in `shown`.

    >>> mg.gans.load("dcgan")(ema=0.999).ema
    0.999
    """

    ema: float = 0.0  # samples come from an average of G's weights with this decay, if above 0

    averaged: ClassVar[str] = "G"  # the player whose weights are averaged
    warms: ClassVar[bool] = False  # always averages, with a decay that rises from 0

    def copies(self, players: Players) -> Players:
        mine = {"average": players[self.averaged].copy()} if self.ema or self.warms else {}
        return super().copies(players) | mine

    def after_step(self, players: Players, step: int) -> None:
        super().after_step(players, step)
        if "average" in players:
            decay = warming(self.ema) if self.warms else self.ema
            average(players["average"], players[self.averaged], decay, step)

    def shown(self, players: Players) -> Players:
        slow = players.get("average")
        return players if slow is None else players | {self.averaged: slow}


@dataclass(frozen=True)
class GradientClipping(Recipe):
    """A recipe whose optimisers may clip gradients.

    >>> mg.gans.load("dcgan")(clip_norm=1.0).clip_norm
    1.0
    """

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
    """A recipe whose learning rates fall to 0.

    >>> kind = mg.gans.load("sgan")
    >>> issubclass(kind, LearningRateDecay), kind(lr_steps=20_000).lr_steps
    (True, 20000)
    """

    lr_steps: int = 100_000  # steps over which the learning rates fall to zero

    def falling(self, lr: float, *, updates: int = 1, hold: int = 0) -> Schedule:
        """`lr` for `hold` steps, then linearly down to 0 at step `lr_steps`, for the optimiser of a
        player with so many `updates` a step.
        """
        return linear(lr, 0, self.lr_steps * updates, hold=hold * updates)

    def check_length(self, steps: int) -> None:
        super().check_length(steps)
        if steps > self.lr_steps:
            raise UserError(
                f"the learning rate is 0 after step {self.lr_steps}, so nothing would be learned "
                f"from there to step {steps}; give --steps {self.lr_steps}, or a new run a "
                "larger --lr-steps"
            )

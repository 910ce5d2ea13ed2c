"""Gradients of a recipe's losses, through whole networks, against difference quotients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from ..arrays import promoting
from ..data import Dataset
from ..data.stacked import stack
from ..errors import UserError
from ..random import Generator, Shape
from ..tensor import Array, Tensor
from ..training.device_batches import DeviceBatches, Fetch
from ..training.recipe import Recipe, Update, defaults
from ..training.state import State
from .gradients import TOLERANCE, Evidence, UndecidedError, examine, tested
from .modules import Fixed

# Fields that make networks small, where a recipe has them; in BEGAN, k is to be above 0.
SMALL = {
    "batch_size": 4, "latent_size": 5, "width": 4, "hidden": 12, "units": 6, "labels": 4,
    "n_critic": 1, "encoding_steps": 2, "lambda_k": 1.0,
}  # fmt: skip
SIDES = (8, 16, 28, 32, 64)  # of images: the first that a recipe takes
USUAL = 28  # whose refusal is told if it takes none
COUNT = 256  # samples of a data set


@dataclass(frozen=True)
class RecipeCheck:
    """The check of one update of a step: `player`'s loss on `data`, of all its parameters.

    >>> checks, refused = checks_of(mg.gans.load("gan"))
    >>> checks[-1]().error < 1e-3
    True
    """

    data: str
    player: str
    update: int  # counted from 0
    point: Point
    tolerance: float = TOLERANCE
    seed: int = 0

    def __call__(self) -> Evidence:
        """What was found.

        Raises:
            GradientError, UndecidedError: as `check_gradients` does.
        """
        parameters = self.point.state.players[self.player].parameters()
        names = [f"{self.player}'s {name}" for name in parameters]
        arrays = [p.data for p in parameters.values()]
        with np.errstate(all="ignore"):  # as in training
            found = examine(
                lambda *values: self.point.loss(self.update, self.player, values),
                arrays,
                names=names,
                tolerance=self.tolerance,
                seed=self.seed,
            )
        return tested(
            found,
            f"the loss of {self.player}",
            "its parameters; other fields of the recipe may help",
        )


def check_recipe(
    kind: type[Recipe], *, tolerance: float = TOLERANCE, seed: int = 0, **fields: Any
) -> float:
    """Check the gradients of a recipe: of each update of a step, with respect to each parameter of
    its player, of order 1 and 2, on every kind of data that the recipe takes.

    The kinds are images, images of two channels stacked from others, and points in one and in two
    dimensions, all with labels. Networks are small: `fields` like `width`, `hidden` and
    `batch_size` are set to a few, unless given. Weights are random, larger than initial ones.

    The answer is the largest relative error, as that of `check_gradients`.

    Raises:
        GradientError, UndecidedError: as `check_gradients` does.
        UserError: if the recipe takes none of the data.

    >>> check_recipe(mg.gans.load("gan")) < 1e-3
    True
    """
    checks, _ = checks_of(kind, tolerance=tolerance, seed=seed, **fields)
    return max(check().error for check in checks)


def checks_of(
    kind: type[Recipe], *, tolerance: float = TOLERANCE, seed: int = 0, **fields: Any
) -> tuple[list[RecipeCheck], dict[str, Exception]]:
    """The checks that `check_recipe` does, and the kinds of data that are refused, with the reason.

    Raises:
        UserError: if all are.

    >>> checks, refused = checks_of(mg.gans.load("gan"))
    >>> sorted({check.player for check in checks})
    ['D', 'G']
    """
    checks, refused = [], {}
    for data, candidates in _data():
        errors: dict[int, Exception] = {}
        for dataset in candidates:
            try:
                point = Point(kind, dataset, seed, fields)
            except Exception as error:  # a recipe for other data may fail in any way
                errors[dataset.shape[-1]] = error
                continue
            checks += [
                RecipeCheck(data, player, i, point, tolerance, seed)
                for i, player in enumerate(point.players)
            ]
            break
        else:
            refused[data] = errors.get(USUAL) or next(iter(errors.values()))
    if not checks:
        data, reason = next(iter(refused.items()))
        raise UserError(
            f"{kind.__name__} takes none of {', '.join(refused)}; of {data} it says: "
            f"{type(reason).__name__}: {reason}"
        )
    return checks, refused


class Point:
    """Where gradients are taken: a recipe's step on small networks with random weights, in float64.

    Raises:
        Exception: whatever the recipe raises if it does not take such data.
    """

    def __init__(
        self, kind: type[Recipe], dataset: Dataset, seed: int, fields: dict[str, Any]
    ) -> None:
        known = kind.__dataclass_fields__
        small = {name: value for name, value in SMALL.items() if name in known}
        recipe = kind(**(defaults(kind, dataset) | small | fields))
        self.state = State.fresh(recipe, dataset, seed)
        self.state.rng = _DoubleGenerator(self.state.rng)
        self.random_weights(seed)
        self.fixed = Fixed(self.state.players, self.state.rng)
        with self.given({}), promoting():
            self.players = [name for name, _, _ in self.updates()]
        # From buffers that a step has moved: a weight in a loss may be 0 at first.
        self.fixed = Fixed(self.state.players, self.state.rng)

    def random_weights(self, seed: int) -> None:
        """Initial weights are so small that all activations are near their kinks, and biases of 0
        and scales of 1 hide errors: larger and random ones.
        """
        rng = np.random.default_rng(seed)
        for player in self.state.players.values():
            player.astype(np.float64)
            for p in player.parameters().values():
                fan = p.size // p.shape[0] if p.ndim else 1
                p.data = rng.normal(0, 1 / np.sqrt(fan), p.shape)

    def updates(self) -> Iterator[Update]:
        """The updates of the first step, not applied: each call draws the same numbers."""
        state = self.state
        self.fixed.restore()
        state.batches.position = 0
        return state.recipe.round(state.players, _DoubleBatches(state.batches), state.rng, 0)

    @contextmanager
    def given(self, values: Mapping[str, tuple[Tensor, ...]]) -> Iterator[None]:
        """Within the block these are the parameters of some players; those of the others are
        copies, as a step may write them: it clips them, say.
        """
        with ExitStack() as within:
            for name, player in self.state.players.items():
                own = player.parameters()
                copies = (Tensor(p.data.copy()) for p in own.values())
                within.enter_context(
                    player.replaced(dict(zip(own, values.get(name, copies), strict=True)))
                )
            yield

    def loss(self, update: int, player: str, values: tuple[Tensor, ...]) -> Tensor:
        """The loss of an update, with `values` for the player's parameters.

        Raises:
            UndecidedError: if the recipe writes these between two updates.
        """
        before = [value.data.copy() for value in values]
        with self.given({player: values}):
            _, found, _ = next(islice(self.updates(), update, None))
        pairs = zip(before, values, strict=True)
        if not all(np.array_equal(a, value.data, equal_nan=True) for a, value in pairs):
            raise UndecidedError(
                f"the recipe writes the parameters of {player} between two updates of a step; give "
                "it fields with which a step has one update of this player"
            )
        return found


class _DoubleGenerator(Generator):
    """The numbers of another generator in float64: a penalty may differentiate by them."""

    def __init__(self, other: Generator) -> None:
        super().__init__(0)
        self.state, self.device = other.state, other.device

    def _draw(self, shape: Shape, kernel: Any, **options: Any) -> Array:
        return super()._draw(shape, kernel, **options).astype(np.float64)


class _DoubleBatches(DeviceBatches):
    """Batches in float64."""

    def _device_batch(self, kind: str, fetch: Fetch) -> list[Array]:
        arrays = super()._device_batch(kind, fetch)
        return [a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays]

    def few(self, count: int) -> tuple[Tensor, Array]:
        x, labels = super().few(count)
        return Tensor(x.data, np.float64), labels


def _data() -> Iterator[tuple[str, Iterator[Dataset]]]:
    """The kinds of data, each by data sets of which one is enough."""
    yield "images", map(_images, SIDES)
    yield "stacked images", (stack(_images(side), 2) for side in SIDES)
    yield "points in 1-D", map(_points, [1])
    yield "points in 2-D", map(_points, [2])


def _images(side: int) -> Dataset:
    x = np.random.default_rng(0).integers(0, 256, (COUNT, 1, side, side), np.uint8)
    return Dataset("noise", x, _labels(), ("0", "1"))


def _points(dimensions: int) -> Dataset:
    x = np.random.default_rng(0).standard_normal((COUNT, dimensions)).astype(np.float32)
    return Dataset("noise", x, _labels(), ("0", "1"))


def _labels() -> np.ndarray:
    return np.arange(COUNT, dtype=np.int64) % 2

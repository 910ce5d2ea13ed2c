"""What a run has learned: its players, which make samples and answer questions about them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..device import HOST, Device, to_host
from ..nn import Module
from ..random import Generator
from ..tensor import Array, no_grad
from .checkpoint import Checkpoint
from .recipe import Players, Recipe, Shape

SPARE = 1 << 20  # numbers of an array that is never too large


class InitialGenerator(Generator):
    """The generator of a run's initial values, which come to nothing where a checkpoint has others.

    None of them may be much larger than all arrays of that checkpoint: before memory is taken for
    them, a configuration that is not the checkpoint's is refused.
    """

    def __init__(self, seed: int, saved: Checkpoint) -> None:
        super().__init__(seed, "training")
        self.largest: int | None = SPARE + 4 * sum(
            array.size for arrays in saved.arrays.values() for array in arrays.values()
        )

    def _draw(self, shape: Any, kernel: Any, **options: Any) -> Array:
        if self.largest is not None and math.prod(np.atleast_1d(shape).tolist()) > self.largest:
            raise ValueError(f"an array of shape {shape} is larger than its checkpoint")
        return super()._draw(shape, kernel, **options)


@dataclass(kw_only=True)
class Trained:
    """The players of a recipe after `step` steps, on `device`, and the run's generator.

    `samples` and `ask` take and give NumPy arrays. No data are needed.
    """

    recipe: Recipe
    players: dict[str, Module]
    rng: Generator
    step: int = 0
    device: Device = HOST

    @classmethod
    def restored(
        cls, saved: Checkpoint, recipe: Recipe, shape: Shape, seed: int, device: Device = HOST
    ) -> Trained:
        """The players of `recipe` for samples of `shape`, as a checkpoint has them.

        Raises:
            UserError: if the recipe cannot make such samples, or the checkpoint does not fit.
        """
        rng = InitialGenerator(seed, saved)
        players = recipe.players(rng, shape)
        players |= recipe.copies(players)
        saved.check("players", players)
        saved.write("players", players)
        for player in players.values():
            player.to(device)
        rng.state, rng.device, rng.largest = saved.rng, device, None
        return cls(recipe=recipe, players=players, rng=rng, step=saved.step, device=device)

    def samples(self, z: np.ndarray, *, batch: int = 256) -> np.ndarray:
        """Samples of the latent vectors z, in inference, (N, *shape)."""
        players = self.recipe.shown(self.players)
        with self._inference():
            parts = [
                self.recipe.generate(players, self.device.put(z[i : i + batch])).numpy()
                for i in range(0, len(z), batch)
            ]
        return np.concatenate(parts)

    def ask(
        self, question: Callable[[Players, Array], Array | None], x: np.ndarray, *, batch: int = 256
    ) -> np.ndarray | None:
        """The recipe's answer to a question about samples x (N, *shape), in inference.

        The question is a method such as `recipe.realness` or `recipe.encode`. None if the recipe
        has no answer.
        """
        answers = []
        with self._inference():
            for i in range(0, len(x), batch):
                answer = question(self.players, self.device.put(x[i : i + batch]))
                if answer is None:
                    return None
                answers.append(to_host(answer))
        return np.concatenate(answers)

    def realness(self, x: np.ndarray) -> np.ndarray | None:
        """D(x) in inference, (N,), if the recipe has such a thing."""
        return self.ask(self.recipe.realness, x)

    @contextmanager
    def _inference(self) -> Iterator[None]:
        with ExitStack() as stack:
            for player in self.players.values():
                stack.enter_context(player.evaluating())
            stack.enter_context(self.device.context())
            stack.enter_context(no_grad())
            stack.enter_context(np.errstate(all="ignore"))
            yield

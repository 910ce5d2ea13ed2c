"""`minigan gradcheck`: a recipe's losses and whole networks against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import numpy as np

from .. import gans
from ..data import Dataset
from ..errors import UserError
from ..nn import SpectralNorm
from ..tensor import Tensor
from ..testing import GradientError, check_gradients
from ..training.device_batches import DeviceBatches
from ..training.recipe import Recipe
from ..training.state import State

BATCH = 4


def main(words: list[str]) -> int:
    if words and words[0] in ("-h", "--help"):
        print(
            "usage: minigan gradcheck [RECIPE ...]\n\nCheck, for every player of the recipes (all "
            "of them, unless some are named), the gradient of\nits loss with respect to all of its "
            "parameters against central differences in\nfloat64, and the gradient's own gradient."
        )
        return 0
    failed = 0
    for name in words or gans.names():
        if name.startswith("-"):
            raise UserError(f"minigan gradcheck takes names of recipes, not {name}")
        for player, check in checks(gans.load(name)):
            try:
                print(f"{name} {player}: largest relative error {check():.1e} in orders 1 and 2")
            except GradientError as error:
                failed += 1
                print(f"{name} {player}: WRONG, {error}")
    return 1 if failed else 0


def checks(kind: type[Recipe]) -> list[tuple[str, Callable[[], float]]]:
    """For each update of a step, the player's name and a check of its loss's gradient."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (BATCH, 1, 28, 28), np.uint8)
    dataset = Dataset("noise", images, np.arange(BATCH, dtype=np.int64) % 2, ("0", "1"))
    small = {"width": 4, "hidden": 8, "units": 6, "latent_size": 5, "batch_size": BATCH}
    small["n_critic"] = 1
    fields = {k: v for k, v in small.items() if k in kind.__dataclass_fields__}
    state = State.fresh(kind(**fields), dataset, seed=0)
    for player in state.players.values():
        player.astype(np.float64)
        for p in player.parameters().values():
            # The recipes' own initial values are so small that all activations are near the kinks.
            p.data[...] = rng.normal(
                p.ndim == 1, 0.5 / np.sqrt(max(1, p.size / p.shape[0])), p.shape
            )
    turns = [name for name, _, _ in _updates(state)]
    for player in state.players.values():
        for module in player.modules().values():
            if isinstance(module, SpectralNorm):
                module.eval()  # u and v are constants to the gradient, so they must not move
    return [(turn, lambda i=i, turn=turn: _check(state, i, turn)) for i, turn in enumerate(turns)]  # type: ignore[misc]


def _check(state: State, turn: int, player: str) -> float:
    parameters = state.players[player].parameters()
    buffers = [a.copy() for p in state.players.values() for a in p.buffers().values()]

    def loss(*values: Tensor) -> Tensor:
        mine = [a for p in state.players.values() for a in p.buffers().values()]
        for array, before in zip(mine, buffers, strict=True):  # running moments, say
            array[...] = before
        with ExitStack() as stack:
            stack.enter_context(
                state.players[player].replaced(dict(zip(parameters, values, strict=True)))
            )
            for i, (_, value, _) in enumerate(_updates(state)):
                if i == turn:
                    return value
        raise AssertionError("a step has the same number of updates each time")

    return check_gradients(loss, [p.data for p in parameters.values()], order=2, tolerance=1e-4)


def _updates(state: State):  # type: ignore[no-untyped-def]
    """The updates of the first step, not applied: each call draws the same numbers."""
    state.rng.offset = 0
    state.batches.position = 0
    return state.recipe.round(state.players, DeviceBatches(state.batches), state.rng, 0)

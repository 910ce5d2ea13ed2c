"""Everything that a step of training changes, and the step itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..data import Batches, Dataset
from ..device import HOST, Device, on_host, to_host, to_numbers
from ..errors import DivergedError, RunError
from ..optim import Optimizer
from ..random import Generator
from ..tensor import Array, Tensor, adopt, grad
from . import checkpoint
from .checkpoint import Checkpoint
from .device_batches import DeviceBatches
from .graph_replay import Outcome, Replay
from .nonfinite import first_nonfinite, nonfinite_array
from .recipe import Recipe
from .run import resume_command
from .trained import InitialGenerator, Trained

PREPARED = 5000  # samples from which a recipe sets initial values, minimum


class Turn(NamedTuple):
    """One update of a step, which has been applied."""

    player: str  # whose parameters it has moved
    loss: Tensor  # of the player, a single number
    gradients: Mapping[str, Tensor]  # of the loss, by parameter, before they are clipped
    extras: Mapping[str, Any]  # what else the recipe reports


@dataclass(kw_only=True)
class State(Trained):
    """Everything that a training step changes; optimisers and batches are on `device` too."""

    optimizers: dict[str, Optimizer]
    batches: Batches
    replay: Replay | None = None

    def __post_init__(self) -> None:
        self.feed = DeviceBatches(self.batches, self.device)

    @classmethod
    def fresh(
        cls,
        recipe: Recipe,
        dataset: Dataset,
        seed: int,
        device: Device = HOST,
        saved: Checkpoint | None = None,
    ) -> State:
        """The state before the first step, or that of the checkpoint `saved`.

        Initial values are computed on the CPU for any device.

        Raises:
            UserError: if the recipe cannot make such samples, or the data or the checkpoint do not
                fit it.
        """
        rng = Generator(seed, "training") if saved is None else InitialGenerator(seed, saved)
        players = recipe.players(rng, dataset.shape)
        batches = Batches(
            dataset, recipe.batch_size, seed=seed, output_range=recipe.output_range(dataset.shape)
        )
        if recipe.prepares(dataset.shape):
            parts = -(-PREPARED // batches.batch_size)
            recipe.prepare(players, np.concatenate([batches.at(i)[0] for i in range(parts)]))
        copies = recipe.copies(players)
        for player in (players | copies).values():
            player.to(device)
        if isinstance(rng, InitialGenerator):
            rng.largest = None
        rng.device = device
        optimizers = recipe.optimizers(players)
        recipe.adjust(optimizers)
        state = cls(
            recipe=recipe,
            players=players | copies,
            optimizers=optimizers,
            batches=batches,
            rng=rng,
            device=device,
        )
        if saved is not None:
            state.take(saved)
        return state

    def advance(self) -> dict[str, float]:
        """Do one step of the recipe: its losses, and whatever else it reports.

        Raises:
            RunError: if a loss is not finite, or the device's memory is exhausted. The players are
                then as the last update left them. On a GPU the loss is checked after the step.
        """
        with self._computing():
            compute = self.compute if self.replay is None else self.replay.advance
            outcome = compute(self.step)
            self.feed.prefetch()  # while the GPU computes
            numbers, players = outcome.numbers(), outcome.players
            row = dict(zip(outcome.names, numbers[len(players) :], strict=True))
            for player, value in zip(players, numbers, strict=False):
                self._check(player, value, row)
            self.step += 1
            return row

    def turns(self) -> Iterator[Turn]:
        """Do one step as `advance` does, and stop after each update to be looked at.

        Each update is applied when its turn is given, and `step` counts on after the last one.
        Looking changes no byte: the state is the same afterwards as after `advance`. A step that
        is left before its last turn cannot be ended; go on from a checkpoint then.

        Raises:
            RunError: as of `advance`.
        """
        row: dict[str, Any] = {}
        updates = self._updates(self.step, row)
        while True:
            with self._computing():  # not while somebody looks
                turn = next(updates, None)
                if turn is None:
                    break
                if not on_host(turn.loss.data):
                    self._check(turn.player, turn.loss.item(), row)
                numbers = to_numbers([*turn.extras.values()])
                turn = turn._replace(extras=dict(zip(turn.extras, numbers, strict=True)))
            yield turn
            del turn  # or its gradients would stay in memory until the next ones are there
        self.feed.prefetch()
        self.step += 1
        if self.replay is not None:  # the step has replaced arrays that its graph holds
            self.use_graphs(self.replay.say)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        # NumPy's warnings would only repeat what a loss that is not finite says.
        with np.errstate(all="ignore"), self.device.context():
            try:
                yield
            except MemoryError as error:
                fixed = sum(array.nbytes for array in self._arrays().values())
                sentence = self.device.out_of_memory(error, self.recipe.batch_size, fixed)
                if sentence is None:
                    raise
                raise RunError(sentence) from error

    def compute(self, step: Any) -> Outcome:
        """Compute a step, which a graph may replay; its losses and extras stay on the device.

        `step` is its number, counted from 0, or a `SymbolicStep`.
        """
        row: dict[str, Any] = {}
        players, losses = [], []
        for turn in self._updates(step, row):
            players.append(turn.player)
            losses.append(turn.loss.data)
            del turn  # or its gradients would stay in memory until the next ones are there
        return Outcome(players, [*row], [*losses, *row.values()])

    def _updates(self, step: Any, row: dict[str, Any]) -> Iterator[Turn]:
        """The updates of a step, each applied when it is given; `row` gets what they report."""
        for name, loss, extras in self.recipe.round(self.players, self.feed, self.rng, step):
            if on_host(loss.data):  # on a GPU reading it would wait for the GPU
                self._check(name, loss.item(), row, loss)
            optimizer = self.optimizers[name]
            gradients = grad(loss, optimizer.parameters)
            optimizer.step(gradients)
            told = {key: _value(extra) for key, extra in extras.items()}
            row |= {f"loss_{name}": loss.data, **told}
            turn = Turn(name, adopt(loss.data), gradients, told)
            # Or they would stay in memory until the next loss is computed.
            del loss, extras, gradients
            yield turn
            del turn
        self.recipe.after_step(self.players, step)

    def use_graphs(self, say: Callable[[str], None]) -> None:
        """From now on replay steps from a graph, if the device can.

        If the recipe does something that cannot be replayed, `say` is told what.
        """
        if self.device.supports_graphs:
            self.replay = Replay(self, say)

    def device_arrays(self) -> dict[str, Array]:
        """The arrays on the GPU that steps change, by name."""
        return {name: array for name, array in self._arrays().items() if not on_host(array)}

    def replace_arrays(self, arrays: Mapping[str, Array]) -> None:
        """Use these arrays in place of those of the same names."""
        for owner, player in self.players.items():
            player.replace_arrays(_within(f"players/{owner}/", arrays))
        for owner, optimizer in self.optimizers.items():
            optimizer.slot |= _within(f"optimizers/{owner}/", arrays)

    @property
    def counters(self) -> Any:
        """Everything else that steps change, apart from the step number."""
        updates = {owner: optimizer.steps for owner, optimizer in self.optimizers.items()}
        return self.rng.state, self.batches.position, updates

    @counters.setter
    def counters(self, counters: Any) -> None:
        self.rng.state, self.batches.position, updates = counters
        for owner, count in updates.items():
            self.optimizers[owner].steps = count

    def _check(
        self, name: str, value: float, row: Mapping[str, Any], loss: Tensor | None = None
    ) -> None:
        """Make sure that the loss of `name` is finite; `row` is what the step has reported."""
        if not math.isfinite(value):
            plainly = "" if self.device.precision == HOST.precision else " --precision float32"
            where = (
                f"to see where it arose, continue with --resume --device cpu{plainly}"
                if loss is None
                else first_nonfinite(loss)
            )
            raise DivergedError(
                f"the loss of {name} is {value} in step {self.step + 1}; {where}",
                {key: float(v) for key, v in row.items()} | {f"loss_{name}": value},
            )

    def save(self, folder: Path, name: str) -> Path:
        """Write a checkpoint for the recipe called `name` into `folder`, that of a run directory.

        Raises:
            RunError: if a parameter or what an optimiser keeps is not finite; no step after it
                could be, so the checkpoints that are there stay the newest ones.
        """
        arrays = {name: to_host(array) for name, array in self._arrays().items()}
        self._check_finite(arrays, folder, name)
        facts = {
            "recipe": name,
            "step": self.step,
            "rng": self.rng.state,
            "batches": self.batches.position,
        }
        path = folder / checkpoint.file_name(self.step)
        checkpoint.save(path, arrays, facts)
        return path

    def _check_finite(self, arrays: Mapping[str, np.ndarray], folder: Path, recipe: str) -> None:
        bad = nonfinite_array(arrays)
        if bad is None:
            return
        kind, owner, name = bad.split("/", 2)
        what = f"{name} in the optimiser"
        if kind == "players":
            kind = "parameter" if name in self.players[owner].parameters() else "buffer"
            what = f"the {kind} {name}"
        raise self.not_saved(f"{what} of {owner} is", folder, recipe)

    def not_saved(self, what: str, folder: Path, recipe: str) -> RunError:
        """The error for something that is not finite after a step, with the way to go on.

        The same steps follow from the checkpoint that is kept, unless its recipe is changed.
        """
        good, kept = checkpoint.newest(folder), ""
        if good is not None:
            kept = (
                f"; the checkpoint of step {checkpoint.step_of(good)} is kept "
                f"({resume_command(folder.parent, recipe)} continues from it)"
            )
        return RunError(
            f"{what} not finite after step {self.step}, so this step is not saved{kept}; train "
            "again with a lower learning rate"
        )

    def _arrays(self) -> dict[str, Array]:
        return {
            f"{kind}/{owner}/{key}": array
            for kind, owners in (("players", self.players), ("optimizers", self.optimizers))
            for owner, part in owners.items()
            for key, array in part.arrays().items()
        }

    def restore(self, path: Path, name: str) -> None:
        """Continue from a checkpoint of the recipe called `name`.

        Raises:
            UserError: if it is damaged, of another recipe, or of other hyper-parameters; the state
                is unchanged then.
        """
        self.take(Checkpoint.read(path, name))

    def take(self, saved: Checkpoint) -> None:
        """Continue from a checkpoint of this recipe.

        Raises:
            UserError: if it is of other hyper-parameters; the state is unchanged then.
        """
        saved.check("players", self.players)
        saved.check("optimizers", self.optimizers)
        saved.write("players", self.players)
        saved.write("optimizers", self.optimizers)
        self.rng.state = saved.rng
        self.batches.position = saved.batches
        self.step = saved.step
        if self.replay is not None:  # the graph holds another random stream
            self.use_graphs(self.replay.say)


def _value(extra: Any) -> Any:
    """A value to report: a number, or an array on a GPU that is read later with the others."""
    value = extra.data if isinstance(extra, Tensor) else extra
    return float(value) if on_host(value) else value


def _within(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays whose names begin with `prefix`, by the rest of their names."""
    return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}

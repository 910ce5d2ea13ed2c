"""The one training loop."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from . import checkpoint
from .data import Batches, Dataset
from .device import HOST, Device, on_host, to_host
from .diagnosis import first_nonfinite
from .errors import DivergedError, RunError, UserError
from .feed import TensorFeed
from .nn import Module
from .optim import Optimizer
from .pictures import draw_data, draw_progress, draw_samples
from .progress import Progress
from .random import Generator
from .recipe import Players, Recipe
from .replay import Outcome, Replay
from .run import Run
from .tensor import Array, Tensor, grad, no_grad

PREPARED = 5000  # samples, at least, from which a recipe sets initial values


@dataclass
class State:
    """Everything that a round of training changes.

    Players, optimisers and batches lie on `device`; what is given to `samples` and `ask`, and what
    they give, is NumPy's.
    """

    recipe: Recipe
    players: dict[str, Module]
    optimizers: dict[str, Optimizer]
    batches: Batches
    rng: Generator
    step: int = 0
    device: Device = HOST
    replay: Replay | None = None

    def __post_init__(self) -> None:
        self.feed = TensorFeed(self.batches, self.device)

    @classmethod
    def fresh(cls, recipe: Recipe, dataset: Dataset, seed: int, device: Device = HOST) -> State:
        """The state before the first round; its values are computed on the CPU for any device.

        Raises:
            UserError: if the recipe cannot make such samples, or the data do not fit it.
        """
        rng = Generator(seed, "training")
        players = recipe.players(rng, dataset.shape)
        batches = Batches(
            dataset, recipe.batch_size, seed=seed, output_range=recipe.output_range(dataset.shape)
        )
        if type(recipe).prepare is not Recipe.prepare:  # samples take memory
            parts = -(-PREPARED // batches.batch_size)
            recipe.prepare(players, np.concatenate([batches.at(i)[0] for i in range(parts)]))
        for player in players.values():
            player.to(device)
        rng.device = device
        return cls(recipe, players, recipe.optimizers(players), batches, rng, device=device)

    def round(self) -> dict[str, float]:
        """One round of the recipe; its losses and whatever else it reports.

        Raises:
            RunError: if a loss is not finite, or the device's memory is exhausted. The players are
                then as the last update left them; a card tells of a loss when the round is over.
        """
        # A loss that is not finite says it all.
        with np.errstate(all="ignore"), self.device.computing():
            try:
                return self._round()
            except MemoryError as error:
                fixed = sum(array.nbytes for array in self._arrays().values())
                sentence = self.device.out_of_memory(error, self.recipe.batch_size, fixed)
                if sentence is None:
                    raise
                raise RunError(sentence) from error

    def _round(self) -> dict[str, float]:
        take = self.compute if self.replay is None else self.replay.round
        outcome = take(self.step)
        self.feed.prefetch()  # while the card computes
        numbers, players = outcome.numbers(), outcome.players
        row = dict(zip(outcome.names, numbers[len(players) :], strict=True))
        for player, value in zip(players, numbers, strict=False):
            self._check(player, value, row)
        self.step += 1
        return row

    def compute(self, number: Any) -> Outcome:
        """A round, which a graph may replay; its losses and extras stay where they are.

        `number` is the round's, counted from 0, or what stands for it.
        """
        row: dict[str, Any] = {}
        players, losses = [], []
        for name, loss, extras in self.recipe.round(self.players, self.feed, self.rng, number):
            if on_host(loss.data):  # else reading it would wait for the card
                self._check(name, loss.item(), row, loss)
            optimizer = self.optimizers[name]
            optimizer.step(grad(loss, optimizer.parameters))
            players.append(name)
            losses.append(loss.data)
            row[f"loss_{name}"] = loss.data
            row |= {key: _value(extra) for key, extra in extras.items()}
            del loss, extras  # or they would live until the next loss is computed
        return Outcome(players, [*row], [*losses, *row.values()])

    def use_graphs(self, say: Callable[[str], None]) -> None:
        """From now on replay rounds from a graph, if the device has such; `say` why not, where the
        recipe does what cannot be replayed.
        """
        if self.device.captures:
            self.replay = Replay(self, say)

    def places(self) -> dict[str, Array]:
        """The arrays on the card that rounds change, by name."""
        return {name: array for name, array in self._arrays().items() if not on_host(array)}

    def replace(self, places: Mapping[str, Array]) -> None:
        """Have these arrays in the place of those of the same names."""
        for owner, player in self.players.items():
            player.replace_arrays(_within(f"players/{owner}/", places))
        for owner, optimizer in self.optimizers.items():
            optimizer.slot |= _within(f"optimizers/{owner}/", places)

    @property
    def counters(self) -> Any:
        """All else that rounds change, apart from their number."""
        steps = {owner: optimizer.steps for owner, optimizer in self.optimizers.items()}
        return self.rng.state, self.batches.position, steps

    @counters.setter
    def counters(self, counters: Any) -> None:
        self.rng.state, self.batches.position, steps = counters
        for owner, count in steps.items():
            self.optimizers[owner].steps = count

    def _check(
        self, name: str, value: float, row: Mapping[str, Any], loss: Tensor | None = None
    ) -> None:
        """Make sure that the loss of `name` is finite; `row` is what the round has reported."""
        if not math.isfinite(value):
            plainly = "" if self.device.precision == HOST.precision else " --precision float32"
            where = (
                f"to see where it arose, continue with --resume --device cpu{plainly}"
                if loss is None
                else first_nonfinite(loss)
            )
            raise DivergedError(
                f"the loss of {name} is {value} in round {self.step + 1}; {where}",
                {key: float(v) for key, v in row.items()} | {f"loss_{name}": value},
            )

    def save(self, folder: Path, name: str) -> Path:
        """Write a checkpoint for the recipe called `name` into `folder`."""
        arrays = {name: to_host(array) for name, array in self._arrays().items()}
        facts = {
            "recipe": name,
            "step": self.step,
            "rng": self.rng.state,
            "batches": self.batches.position,
        }
        path = folder / checkpoint.file_name(self.step)
        checkpoint.save(path, arrays, facts)
        checkpoint.prune(folder)
        return path

    def _arrays(self) -> dict[str, Array]:
        return {
            f"{kind}/{owner}/{key}": array
            for kind, owners in (("players", self.players), ("optimizers", self.optimizers))
            for owner, part in owners.items()
            for key, array in part.state().items()
        }

    def restore(self, path: Path, name: str) -> None:
        """Continue from a checkpoint of the recipe called `name`.

        Raises:
            UserError: if it is damaged, of another recipe, or of other hyper-parameters.
        """
        arrays, facts = checkpoint.load(path)
        parts: dict[str, dict[str, Array]] = {}
        try:
            recipe, rng, position, step = (facts[k] for k in ("recipe", "rng", "batches", "step"))
            for key, array in arrays.items():
                kind, owner, rest = key.split("/", 2)
                parts.setdefault(f"{kind}/{owner}", {})[rest] = array
        except (KeyError, ValueError) as error:
            raise checkpoint.damaged(path, f"it lacks {error}") from error
        if recipe != name:
            raise UserError(f"{path} is a checkpoint of {recipe}, not of {name}")
        for kind, owners in (("players", self.players), ("optimizers", self.optimizers)):
            for owner, part in owners.items():
                try:
                    part.load_state(parts.get(f"{kind}/{owner}", {}))
                except ValueError as error:
                    raise UserError(f"{path} does not fit this run: {error}") from error
        self.rng.state = rng
        self.batches.position = position
        self.step = step
        if self.replay is not None:  # of another stream of noise
            self.use_graphs(self.replay.say)

    def samples(self, z: np.ndarray, *, batch: int = 256) -> np.ndarray:
        """Samples of the latent vectors z, in inference, (N, *shape)."""
        with self._inference():
            parts = [
                self.recipe.generate(self.players, self.device.put(z[i : i + batch])).numpy()
                for i in range(0, len(z), batch)
            ]
        return np.concatenate(parts)

    def ask(
        self, question: Callable[[Players, Array], Array | None], x: np.ndarray, *, batch: int = 256
    ) -> np.ndarray | None:
        """What the recipe answers in inference to one of its questions about samples x (N, *shape),
        such as `recipe.realness` or `recipe.encode`; None if it has no answer.
        """
        answers = []
        with self._inference():
            for i in range(0, len(x), batch):
                answer = question(self.players, self.device.put(x[i : i + batch]))
                if answer is None:
                    return None
                answers.append(to_host(answer))
        return np.concatenate(answers)

    @contextmanager
    def _inference(self) -> Iterator[None]:
        with ExitStack() as stack:
            for player in self.players.values():
                stack.enter_context(player.evaluating())
            stack.enter_context(self.device.computing())
            stack.enter_context(no_grad())
            stack.enter_context(np.errstate(all="ignore"))
            yield

    def realness(self, x: np.ndarray) -> np.ndarray | None:
        """D(x) in inference, (N,), if the recipe has such a thing."""
        return self.ask(self.recipe.realness, x)


def train(
    state: State,
    dataset: Dataset,
    run: Run,
    *,
    steps: int,
    sample_every: int,
    checkpoint_every: int,
    say: Callable[[str], None],
) -> bool:
    """Train up to round `steps`; False if Ctrl-C ended it before, with a checkpoint written.

    Every `sample_every` rounds, and at the end, samples of one fixed set of latent vectors are
    drawn; every `checkpoint_every` rounds the state is saved and the report renewed.

    Raises:
        RunError: if a loss stops being finite; its row is the last one, and the report shows it.
    """
    name = run.config["recipe"]
    z, columns = _fixed_latents(state.recipe, dataset, run.config["seed"])

    def draw() -> None:
        bounds = state.recipe.output_range(dataset.shape)
        samples = state.samples(z)
        if not np.isfinite(samples).all():
            raise RunError(f"the samples of G are not finite after round {state.step}")
        arrows = _arrows(state, dataset, z)
        draw_samples(
            run,
            state.step,
            samples,
            dataset,
            bounds,
            state.realness,
            arrows=arrows,
            columns=columns,
        )

    def save() -> None:
        run.sync()
        state.save(run.checkpoints, name)

    if state.step == 0:
        draw_data(run, dataset, say)
        draw()
        save()
    rows = run.rows()
    before = rows[-1]["seconds"] if rows else 0.0
    began = time.monotonic()

    def record(step: int, row: Mapping[str, float]) -> None:
        seconds = round(before + time.monotonic() - began, 3)
        run.record({"step": step, "seconds": seconds, **row})

    try:
        with Progress(state.step, steps) as progress, _interruption() as interrupted:
            while state.step < steps and not interrupted():
                row = state.round()
                record(state.step, row)
                progress.update(state.step, row)
                if state.step % sample_every == 0 or state.step == steps:
                    draw()
                if state.step % checkpoint_every == 0 and state.step < steps:
                    save()
                    draw_progress(run)
            save()
            draw_progress(run, finished=state.step >= steps)
    except RunError as error:
        with suppress(OSError):  # why the run failed is the thing to say, also on a full disk
            if isinstance(error, DivergedError):
                record(state.step + 1, error.row)
            draw_progress(run)
        raise
    return state.step >= steps


def check_range(state: State, seed: int) -> None:
    """Make sure that generator and data live in the same range, before hours are spent.

    Latent vectors scaled far up drive an output activation to its two ends, which must be those
    that the data were scaled to. An output that has no ends, or a network that normalises its
    input, passes.

    Raises:
        UserError: if G's output ends elsewhere than the data do.
    """
    bounds = state.recipe.output_range(state.batches.dataset.shape)
    if bounds is None:
        return
    z = state.recipe.latent(Generator(seed, "range"), 8)
    made = state.samples(1e6 * z)
    low, high = float(made.min()), float(made.max())
    if not low < high:  # a constant, or not a number: training will tell
        return
    near = 1e-3 * (high - low)
    saturated = min(np.mean(made <= low + near), np.mean(made >= high - near)) > 0.1
    if saturated and max(abs(low - bounds[0]), abs(high - bounds[1])) > 10 * near:
        raise UserError(
            f"the generator's values run from {low:g} to {high:g}, but the data from "
            f"{bounds[0]:g} to {bounds[1]:g}; give the recipe the output_range of its last "
            "activation"
        )


def _value(extra: Any) -> Any:
    """What a round reports: a number now, or the value on a card that will be read with others."""
    value = extra.data if isinstance(extra, Tensor) else extra
    return float(value) if on_host(value) else value


def _within(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Those of these names, without it."""
    return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}


def _fixed_latents(recipe: Recipe, dataset: Dataset, seed: int) -> tuple[Array, int | None]:
    """The latent vectors whose samples are drawn all along, and in how many columns.

    Of a recipe that knows classes each column shows another one, from the first to the last of
    them, and each row one z.
    """
    rng = Generator(seed, "samples")
    if not dataset.is_image:
        return recipe.latent(rng, 2500), None
    z, classes = recipe.latent(rng, 64), max(len(dataset.classes), 1)
    shown = min(classes, 16)
    labels = np.rint(np.linspace(0, classes - 1, shown)).astype(np.int64)
    by_class = recipe.with_labels(z[:8].repeat(shown, axis=0), np.tile(labels, 8))
    return (z, None) if by_class is None else (by_class, shown)


def _arrows(state: State, dataset: Dataset, z: Array) -> tuple[np.ndarray, np.ndarray] | None:
    """Evenly spaced z over the range of `z`, and G(z), where both have one dimension."""
    if dataset.shape != (1,) or z.shape[1:] != (1,):
        return None
    even = np.linspace(z.min(), z.max(), 21, dtype=np.float32)
    return even, state.samples(even[:, None])[:, 0]


@contextmanager
def _interruption() -> Iterator[Callable[[], bool]]:
    """Within the block the first Ctrl-C only raises a flag, so that the round can end; the second
    stops.
    """
    hit = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if hit.is_set():
            raise KeyboardInterrupt
        hit.set()

    if threading.current_thread() is not threading.main_thread():
        yield hit.is_set  # signals reach the main thread alone
        return
    before: Any = signal.signal(signal.SIGINT, handle)
    try:
        yield hit.is_set
    finally:
        signal.signal(signal.SIGINT, before)

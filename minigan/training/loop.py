"""The one training loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import numpy as np

from ..data import Dataset
from ..errors import DivergedError, RunError, UserError
from ..progress import Progress
from ..random import Generator
from ..signals import deferred
from ..tensor import Array
from .keeper import Keeper, Scorer
from .recipe import Recipe
from .run import Run, resume_command
from .schema import KEPT
from .snapshots import draw_data, draw_progress, draw_samples
from .state import State
from .verdicts import Watcher


def carry_out(
    state: State,
    dataset: Dataset,
    run: Run,
    say: Callable[[str], None],
    scorer: Scorer | None = None,
) -> int | None:
    """Train a new or a continued run up to the step that its configuration names.

    Gives the number of the signal that ended it before, with a checkpoint written, or None.
    `scorer` is that of the score by which the configuration has the best checkpoint chosen.

    Raises:
        RunError: if a loss stops being finite, or the run directory cannot be written any more.
    """
    if run.config["graphs"]:
        state.use_graphs(say)
    try:
        return train(
            state,
            dataset,
            run,
            steps=run.config["steps"],
            sample_every=run.config["sample_every"],
            checkpoint_every=run.config["checkpoint_every"],
            say=say,
            keep=run.config["keep"],
            scorer=scorer,
        )
    except OSError as error:
        raise unwritable(run, error) from error


def unwritable(run: Run, error: OSError) -> RunError:
    """The error for the directory of a run, of which nothing more can be kept."""
    return RunError(
        f"{run.path} cannot be written ({error.strerror or error}); once it can be, "
        f"continue with {resume_command(run.path, run.config['recipe'])}"
    )


def train(
    state: State,
    dataset: Dataset,
    run: Run,
    *,
    steps: int,
    sample_every: int,
    checkpoint_every: int,
    say: Callable[[str], None],
    keep: int = KEPT,
    scorer: Scorer | None = None,
) -> int | None:
    """Train up to step `steps`; the number of the signal that ended it before, with a checkpoint
    written, or None.

    Ctrl-C does so, and in a command also SIGTERM and SIGHUP.

    Every `sample_every` steps, and at the end, samples of one fixed set of latent vectors are
    drawn. Every `checkpoint_every` steps the state is saved and the report written again. The
    newest `keep` checkpoints stay, and with a `scorer` also the one that it finds best. `say` is
    told if D has won, or G makes one sample or noise.

    Raises:
        RunError: if a loss stops being finite; its row is the last one, and the report shows it.
    """
    name = run.config["recipe"]
    z, columns = _fixed_latents(state.recipe, dataset, run.config["seed"])

    def draw() -> None:
        bounds = state.recipe.output_range(dataset.shape)
        samples = state.samples(z)
        if not np.isfinite(samples).all():
            raise state.not_saved("the samples of G are", run.checkpoints, name)
        arrows = _arrows(state, dataset, z)
        draw_samples(run, state.step, samples, dataset, bounds, state.realness, arrows, columns)

    keeper = Keeper(run, keep, scorer, checkpoint_every)
    if state.step == 0:
        draw_data(run, dataset, say)
        draw()
        keeper.save(state, scored=False)
    elif keeper.scores_at(state.step):
        keeper.score(state)  # a process that was killed may have done no more than save it
    watcher = Watcher(state, run, steps, say)
    rows = run.rows()
    before = rows[-1]["seconds"] if rows else 0.0
    began = time.monotonic()

    def record(step: int, row: Mapping[str, float]) -> None:
        seconds = round(before + time.monotonic() - began, 3)
        run.record({"step": step, "seconds": seconds, **row})

    try:
        progress = Progress(state.step, steps, picture=run.picture)
        with progress, deferred() as signalled:
            while state.step < steps and signalled() is None:
                row = state.advance()
                record(state.step, row)
                if state.step % sample_every == 0 or state.step == steps:
                    draw()
                watcher.look(state)
                progress.update(state.step, row)
                if state.step < steps and keeper.step(state):
                    draw_progress(run, live=True)
            keeper.save(state, scored=state.step >= steps)
            draw_progress(run, finished=state.step >= steps)
            return signalled() if state.step < steps else None
    except RunError as error:
        with suppress(OSError):  # on a full disk too, the user must hear why the run failed
            if isinstance(error, DivergedError):
                record(state.step + 1, error.row)
            draw_progress(run)
        raise


def check_range(state: State, seed: int) -> None:
    """Make sure that generator and data have the same range, before hours are spent.

    Very large latent vectors saturate an output activation at both ends of its range, which must be
    the range that the data were scaled to. An output without a range, or a network that normalises
    its input, passes.

    Raises:
        UserError: if G's output has another range than the data.
    """
    bounds = state.recipe.output_range(state.batches.dataset.shape)
    if bounds is None:
        return
    z = state.recipe.latent(Generator(seed, "range"), 8)
    made = state.samples(1e6 * z)
    low, high = float(made.min()), float(made.max())
    if not low < high:  # a constant or NaN: training will report it
        return
    near = 1e-3 * (high - low)
    saturated = min(np.mean(made <= low + near), np.mean(made >= high - near)) > 0.1
    if saturated and max(abs(low - bounds[0]), abs(high - bounds[1])) > 10 * near:
        raise UserError(
            f"the generator's values run from {low:g} to {high:g}, but the data from "
            f"{bounds[0]:g} to {bounds[1]:g}; give the recipe the output_range of its last "
            "activation"
        )


def _fixed_latents(recipe: Recipe, dataset: Dataset, seed: int) -> tuple[Array, list[str] | None]:
    """The latent vectors whose samples are drawn throughout the run, and the names of columns.

    If the recipe knows classes, each column shows one class and each row one z.
    """
    rng = Generator(seed, "samples")
    if not dataset.is_image:
        return recipe.latent(rng, 2500), None
    z, classes = recipe.latent(rng, 64), max(len(dataset.classes), 1)
    shown = min(classes, 16)
    labels = np.rint(np.linspace(0, classes - 1, shown)).astype(np.int64)
    by_class = recipe.with_labels(z[:8].repeat(shown, axis=0), np.tile(labels, 8))
    return (z, None) if by_class is None else (by_class, [dataset.classes[i] for i in labels])


def _arrows(state: State, dataset: Dataset, z: Array) -> tuple[np.ndarray, np.ndarray] | None:
    """Evenly spaced z over the range of `z`, and G(z), where both have one dimension."""
    if dataset.shape != (1,) or z.shape[1:] != (1,):
        return None
    even = np.linspace(z.min(), z.max(), 21, dtype=np.float32)
    return even, state.samples(even[:, None])[:, 0]

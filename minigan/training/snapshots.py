"""The pictures that training leaves in the run directory, and the report of them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data import Dataset
from ..errors import RunError, UserError
from . import checkpoint
from .checkpoint import step_of
from .keeper import Scores
from .run import Run, named_recipe, resume_command
from .verdicts import verdicts

if TYPE_CHECKING:
    from ..viz.report import Record

Realness = Callable[[np.ndarray], Any]
SHOWN = 64  # images in a grid
AXIS = 400  # points on the x axis of Figure 1


def draw_data(run: Run, dataset: Dataset, say: Callable[[str], None]) -> None:
    """Draw real samples and a histogram of their classes, and tell the user of both."""
    if dataset.is_image:
        from ..viz.grid import save_grid

        every = max(1, len(dataset) // SHOWN)
        save_grid(run.real_samples, dataset.x[::every][:SHOWN], value_range=(0, 255))
    counts = dataset.histogram()
    if not counts:
        say(f"{dataset.name}: {len(dataset):,} samples without labels")
        return
    from ..viz.plots import save_class_histogram

    save_class_histogram(run.class_histogram, counts)
    shown = "  ".join(f"{name}: {count:,}" for name, count in list(counts.items())[:20])
    say(f"{dataset.name}: {len(dataset):,} samples; {shown}{'  ...' if len(counts) > 20 else ''}")


def draw_samples(
    run: Run,
    step: int,
    samples: np.ndarray,
    dataset: Dataset,
    value_range: tuple[float, float] | None,
    realness: Realness,
    arrows: tuple[np.ndarray, np.ndarray] | None = None,
    columns: Sequence[str] | None = None,
) -> None:
    """Draw the generated `samples` of `step`: a grid of images, a scatter plot, or Figure 1.

    `realness` gives D(x), or None if the recipe has none. `arrows` are evenly spaced z (K,) and
    their G(z) (K,), where both have one dimension. With the names of `columns` all images are
    drawn, since their order has a meaning; otherwise the first 64.
    """
    path = run.picture(step)
    if dataset.is_image:
        from ..viz.grid import save_grid

        assert value_range is not None
        shown = samples if columns else samples[:SHOWN]
        before = next((other for other in run.pictures() if other != path), None)
        save_grid(path, shown, value_range=value_range, headings=columns, like=before)
    elif samples.shape[1] == 2:
        from ..viz.plots import save_points

        modes = None if dataset.mixture is None else dataset.mixture.means
        save_points(path, dataset.x[: len(samples)], samples, modes=modes)
    elif samples.shape[1] == 1:
        _draw_line(run, step, samples, dataset, realness, arrows)


def draw_progress(run: Run, *, finished: bool = False, live: bool = False) -> None:
    """Draw the losses so far, join a finished run's samples into a film, write the report again.

    The report of a run that is `live` says that it goes on.

    Raises:
        RunError: if a picture does not fit into the film; the report is written without it.
    """
    from ..viz.meanings import references
    from ..viz.plots import save_losses
    from ..viz.report import write_report

    title = f"{run.config['recipe']} on {run.config['data']['name']}"
    known = references(run.config["recipe"], run.config["hyper_parameters"])
    save_losses(run.losses, run.rows(), title=title, references=known)
    frames, unfit = run.pictures(), None
    if finished and len(frames) > 1:
        from ..viz.animation import save_animation

        try:
            save_animation(run.animation, frames, fps=5)
        except ValueError as error:  # of a picture that training did not draw
            unfit = error
    write_report(run.report, record(run, live=live))
    if unfit is not None:
        way = resume_command(run.path, run.config["recipe"])
        raise RunError(f"no film was made: {unfit}; remove that picture, and {way} makes it")


def record(run: Run, *, live: bool = False) -> Record:
    """What the report shows of a run, `live` if it goes on: all that there is in its directory.

    Raises:
        UserError: if a line of metrics.jsonl is damaged.
    """
    from ..viz.report import Record, diverged

    rows, newest = run.rows(), checkpoint.newest(run.checkpoints)
    samples = [(step_of(path), path) for path in run.pictures()]
    saved = [step_of(newest)] if newest is not None else []
    data = {"Real samples": run.real_samples, "Samples in each class": run.class_histogram}
    step = max([0, *saved, *(step for step, _ in samples), *(row["step"] for row in rows)])
    evaluation: dict[str, Any] | str | None
    try:
        evaluation = run.evaluation()
    except UserError as error:  # the rest of the report is as true without
        evaluation = str(error)
    course: list[dict[str, Any]] | str
    try:
        course = Scores(run).rows()
    except UserError as error:
        course = str(error)
    fields = run.config.get("hyper_parameters") or {}
    ended = step >= run.config.get("steps", step) or diverged(rows)
    return Record(
        name=str(run.config.get("recipe", run.path.resolve().name)),
        config=run.config,
        rows=rows,
        step=step,
        samples=samples,
        animation=run.animation if run.animation.is_file() else None,
        data={caption: path for caption, path in data.items() if path.is_file()},
        others=[path for path in run.other_pictures() if path.is_file()],
        evaluation=evaluation,
        course=course,
        nearest=run.nearest if run.nearest.is_file() else None,
        live=live and not ended,
        verdicts=[verdict.sentence(fields) for verdict in verdicts(run.looks())],
        next_steps=_next_steps(run, step, live, diverged(rows), evaluation is not None),
    )


def _next_steps(
    run: Run, step: int, live: bool, diverged: bool, evaluated: bool
) -> list[tuple[str, str]]:
    """What can be done with a run now, and the command that does it."""
    recipe, steps = run.config.get("recipe", ""), run.config.get("steps", 0)
    own = named_recipe(recipe)
    looked = f"{own} --step best" if run.config.get("best") and step >= steps else own
    place = shlex.quote(str(run.path))
    data = run.config.get("data") or {}
    found = []
    if live and step < steps:
        found.append(("See this page follow the run", f"minigan report {place} --watch"))
    elif diverged:
        name = own.removeprefix(" --recipe ") or shlex.quote(recipe)
        found.append(
            (
                "A loss stopped being finite. See what can be set, such as smaller learning "
                "rates, and train again",
                f"minigan train {name} --help",
            )
        )
    elif step < steps:
        found.append(("Continue the run", resume_command(run.path, recipe)))
    if step and len(data.get("shape", ())) == 3:
        found.append(("Draw more samples", f"minigan sample {place}{looked}"))
        if recipe == "infogan":
            what = "See what the first code changes, a row a sample"
            found.append((what, f"minigan sample {place} --sweep 1"))
        if recipe == "cgan":
            named = shlex.quote(str(data["classes"][0])) if data.get("classes") else "0"
            found.append(("Ask for one class", f"minigan sample {place} --class {named}"))
    if step and not evaluated:
        found.append(("Score the run", f"minigan evaluate {place}{looked}"))
    if steps and step >= steps and not diverged:
        more = f"{resume_command(run.path, recipe)} --more {steps}"
        found.append(("Train as many steps again", more))
    return found


def _draw_line(
    run: Run,
    step: int,
    samples: np.ndarray,
    dataset: Dataset,
    realness: Realness,
    arrows: tuple[np.ndarray, np.ndarray] | None,
) -> None:
    """Figure 1 of Goodfellow et al. 2014."""
    from ..viz.figure1 import density_of, save_figure1

    low, high = np.quantile(dataset.x, (0.001, 0.999))
    margin = 0.15 * (high - low)
    x = np.linspace(low - margin, high + margin, AXIS)
    width = (high - low) / 80  # Silverman's rule would smear a mixture
    mixture = dataset.mixture
    z, g_of_z = arrows if arrows is not None else (None, None)
    save_figure1(
        run.picture(step),
        x=x,
        p_data=density_of(dataset.x[:5000, 0], x, bandwidth=width)
        if mixture is None
        else mixture.density(x),
        p_g=density_of(samples[:, 0], x, bandwidth=width),
        d=realness(x[:, None].astype(np.float32)),
        z=z,
        g_of_z=g_of_z,
        step=step,
    )

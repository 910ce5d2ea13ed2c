"""A run in this program's memory: what `minigan.train` gives."""

from __future__ import annotations

import html
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from . import notebook
from .data import Dataset
from .errors import UserError
from .evaluation import evaluate
from .evaluation.truth import truth
from .nn import Module
from .notebook import say
from .random import Generator
from .training.checkpoint import newest
from .training.keeper import Scorer, Scores
from .training.loop import carry_out, unwritable
from .training.recipe import Recipe
from .training.run import IN_PYTHON, Run, chosen, provenance
from .training.state import State
from .training.writer import sole_writer

HEIGHT = 640  # pixels of a report in a notebook


def _check_lengths(more: int | None, steps: int | None) -> None:
    """Make sure that at most one length is given, and that it is one.

    Raises:
        UserError: naming the argument, if not.
    """
    for name, value in (("more", more), ("steps", steps)):
        if value is not None and (not isinstance(value, int | np.integer) or value < 1):
            raise UserError(f"{name} must be an integer of at least 1, not {value!r}")
    if more is not None and steps is not None:
        raise UserError("steps=N trains up to step N and more=N trains N more; give one")


class Report:
    """The report of a run: a page that a notebook shows inline, and a path everywhere else.

    >>> Report(Path("runs/dcgan-glyphs-1/report.html"))
    <Report runs/dcgan-glyphs-1/report.html: open it in a browser>
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"<Report {self.path}: open it in a browser>"

    def _repr_html_(self) -> str:
        page = html.escape(self.path.read_text(encoding="utf-8"))
        return (
            f'<iframe title="The report of the run" srcdoc="{page}" '
            f'style="width:100%;height:{HEIGHT}px;border:0"></iframe>'
        )


class LiveRun:
    """A run whose networks are in memory.

    `path` is its directory, which holds all that a command needs too; `state` its players,
    optimisers, generator and position in the data; `interrupted` whether Ctrl-C, or the stop button
    of a notebook, has ended it early. Its checkpoint is written then, and `resume` continues.

    >>> run = mg.train("gan", data="ring", steps=2, hidden=8, batch_size=16)
    >>> run.resume(more=1).step, run.interrupted
    (3, False)
    >>> run.metrics()["step"]
    array([1, 2, 3])
    """

    def __init__(
        self, state: State, dataset: Dataset, directory: Run, scorer: Scorer | None = None
    ) -> None:
        self.state, self.dataset, self.directory, self.scorer = state, dataset, directory, scorer
        self.interrupted = False

    def train(self) -> None:
        """Train up to the step that the configuration names; the directory is locked.

        Raises:
            RunError: if a loss stops being finite, or the directory cannot be written any more.
        """
        say(
            f"training {self.name} on {self.dataset.name} up to step "
            f"{self.config['steps']}; its directory is {self.path}"
        )
        number = carry_out(self.state, self.dataset, self.directory, say, self.scorer)
        self.interrupted = number is not None
        if self.interrupted:
            say(f"interrupted at step {self.step}; the checkpoint is written, resume() continues")

    def resume(self, more: int | None = None, *, steps: int | None = None) -> LiveRun:
        """Train `more` steps, or up to step `steps`, or to the end of an interrupted run.

        It goes on from the newest checkpoint, as a command does, and so ends in the bytes of a run
        that was never interrupted; what was done to the networks since is undone.

        Raises:
            UserError: if there is nothing to do, or another program has continued the run.
            RunError: as `minigan.train`.
        """
        _check_lengths(more, steps)
        with self._written() as run:
            mine, rows = self.config.get("resumed", []), run.rows()
            if run.config["resumed"] != mine:
                raise UserError(
                    f"{self.path} has been continued by another program, up to step "
                    f"{rows[-1]['step'] if rows else 0}; go on there, or train a new run"
                )
            self._go_back(run)
            target = self._target(more, steps)
            self.state.recipe.check_length(target)
            run.config |= {
                "steps": target,
                "resumed": [
                    *mine,
                    {
                        "command": f"run.resume(steps={target})",
                        "step": self.step,
                        **provenance(self.state.device.versions()),
                        "choices": chosen(),
                        "recipe_file": run.config["recipe_file"],
                    },
                ],
            }
            run.rewind(self.step)
            Scores(run).rewind(self.step)
            run.write_config()
            self.directory = run
            self.train()
        return self

    def _go_back(self, run: Run) -> None:
        """Restore the newest checkpoint: a failure may have left a step half done in memory.

        Raises:
            UserError: if steps have been done, and no checkpoint is there.
        """
        saved = newest(run.checkpoints)
        if saved is not None:
            self.state.restore(saved, run.config["recipe"])
        elif self.step or run.rows():
            raise UserError(f"{self.path} has no checkpoint to go on from; train a new run")

    def _target(self, more: int | None, steps: int | None) -> int:
        """The step up to which to train."""
        target = int(steps or (self.step + more if more else self.config["steps"]))
        if target <= self.step:
            raise UserError(
                f"the run is at step {self.step} already; resume(more=100) trains 100 steps more"
            )
        return target

    @contextmanager
    def _written(self) -> Iterator[Run]:
        """The directory as it is now, into which nobody else writes."""
        run = Run.open(self.path)  # or nothing may be written there
        try:
            with sole_writer(self.path, say):
                yield Run.open(self.path)
        except OSError as error:
            raise unwritable(run, error) from error

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.directory.path

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration, as in config.json."""
        return self.directory.config

    @property
    def name(self) -> str:
        """The name of the recipe, or of its class."""
        return str(self.config["recipe"]).removeprefix(IN_PYTHON)

    @property
    def recipe(self) -> Recipe:
        """The recipe, with its hyper-parameters."""
        return self.state.recipe

    @property
    def step(self) -> int:
        """How many steps are done."""
        return self.state.step

    @property
    def players(self) -> dict[str, Module]:
        """The networks by name."""
        return self.state.players

    @property
    def generator(self) -> Module:
        """The network that makes samples: G, or the average of its weights if there is one.

        Raises:
            UserError: if the recipe has none of that name.
        """
        shown = self.recipe.shown(self.players)
        if "G" not in shown:
            raise UserError(f"{self.name} has no G; run.players are {', '.join(self.players)}")
        return shown["G"]

    def samples(
        self, count: int = 64, *, seed: int = 0, label: int | str | None = None
    ) -> np.ndarray:
        """New samples (count, *shape), float32 in the recipe's output range; those of `minigan
        sample` with this `seed`.

        With `label` they are of one class, by its name or its number.

        Raises:
            UserError: if there is no such class, or the recipe knows none.
        """
        if not isinstance(count, int | np.integer) or count < 1:
            raise UserError(f"count must be an integer of at least 1, not {count!r}")
        z = self.recipe.latent(Generator(seed, "sample"), int(count))
        return self.state.samples(z if label is None else self._of_class(z, label))

    def _of_class(self, z: np.ndarray, label: int | str) -> np.ndarray:
        """Latent vectors like z that ask for a class."""
        classes = self.dataset.classes
        number = classes.index(label) if label in classes else label
        if isinstance(number, str) or not 0 <= number < len(classes):
            raise UserError(f"there is no class {label!r}; the classes are {', '.join(classes)}")
        found = self.recipe.with_labels(z, np.full(len(z), number))
        if found is None:
            raise UserError(f"{self.name} does not know classes; leave out label")
        return found

    def metrics(self) -> dict[str, np.ndarray]:
        """What each step has reported, by name, as arrays (steps,); NaN where a step had no value.

        "step" and "seconds" are there, the losses as "loss_D", and what else the recipe reports.
        """
        rows = self.directory.rows()
        names = dict.fromkeys(name for row in rows for name in row)
        found = {
            name: np.array([np.nan if row.get(name) is None else row[name] for row in rows])
            for name in names
        }
        return found | ({"step": found["step"].astype(np.int64)} if rows else {})

    def losses(self) -> dict[str, np.ndarray]:
        """The loss of each player, by its name: arrays (steps,)."""
        found = self.metrics().items()
        return {n.removeprefix("loss_"): v for n, v in found if n.startswith("loss_")}

    def scores(self, count: int | None = None, *, seed: int = 0) -> dict[str, float]:
        """The scores of `minigan evaluate`, by their keys; all that apply to the recipe and data.

        `count` samples are drawn, with this `seed`: as many as `evaluate` draws unless given. Data
        that only this program has are scored beside themselves, as there are no test data of them.

        Raises:
            UserError: if no score applies, or the data cannot be read any more.
            RunError: if a sample is not finite.

        >>> run = mg.train("gan", data="ring", steps=2, hidden=8, batch_size=16)
        >>> sorted(run.scores(count=100))
        ['high_quality', 'modes', 'reverse_kl']
        """
        if count is not None and (not isinstance(count, int | np.integer) or count < 1):
            raise UserError(f"count must be an integer of at least 1, not {count!r}")
        data = self.config["data"]
        own = str(data["source"]).startswith(IN_PYTHON)
        train, test = (self.dataset, None) if own else truth(data, say)
        found = evaluate(self.state, train, test, count=count, seed=seed, say=say)
        return {score.key: float(score.value) for score in found.scores}

    def picture(self) -> Path:
        """The newest sample picture.

        Raises:
            UserError: if there is none; points of three dimensions or more have none.
        """
        drawn = self.directory.pictures()
        if not drawn:
            raise UserError(f"{self.path} has no sample pictures")
        return drawn[-1]

    def show(self) -> None:
        """Show the newest samples: under the cell of a notebook, or say where the picture is."""
        picture = self.picture()
        if notebook.active():
            notebook.Display().show(notebook.png(picture, str(picture)))
        else:
            say(str(picture))

    @property
    def report(self) -> Report:
        """The report, which a notebook shows inline if it is a cell's last expression."""
        return Report(self.directory.report)

    def __repr__(self) -> str:
        return f"<Run {self.path}: {self._facts()}>"

    def _facts(self) -> str:
        end, rows = self.config["steps"], self.directory.rows()
        how = "finished" if self.step >= end else "interrupted" if self.interrupted else "running"
        losses = [
            f"{name} {v:.3g}" for name, v in (rows[-1] if rows else {}).items() if "loss" in name
        ]
        at = f"{self.name} on {self.dataset.name}, step {self.step} of {end}, {how}"
        return ", ".join([at, *losses])

    def _repr_html_(self) -> str:
        """What a notebook shows: the facts and the newest samples."""
        text = f"<div>{html.escape(f'{self.path}: {self._facts()}')}</div>"
        drawn = self.directory.pictures()
        if not drawn:
            return text
        data = notebook.png(drawn[-1], "")["image/png"]
        return f'{text}<img alt="samples at step {self.step}" src="data:image/png;base64,{data}">'

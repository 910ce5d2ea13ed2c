"""`minigan train`: train a GAN, or continue a run."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .. import gans
from ..data import Dataset, catalogue, load
from ..errors import UserError
from ..recipe import Recipe
from ..run import Run, fresh_directory, provenance
from ..train import State, train
from .flags import Count, Folder, parse

DEFAULT = "dcgan"
PICTURES = 20  # sample pictures of a run, unless --sample-every says otherwise
CHECKPOINTS = 10  # checkpoints on the way, unless --checkpoint-every says otherwise


@dataclass(frozen=True)
class Length:
    """How far to go and how often to look."""

    steps: Count = None  # train up to this round; each recipe has its own default
    sample_every: Count = None  # rounds between two sample pictures; a twentieth of the run
    checkpoint_every: Count = None  # rounds between two checkpoints; a tenth of the run

    def __post_init__(self) -> None:
        for flag in ("steps", "sample_every", "checkpoint_every"):
            value = getattr(self, flag)
            if value is not None and value < 1:
                raise UserError(f"--{flag.replace('_', '-')} must be at least 1, not {value}")


@dataclass(frozen=True)
class Start(Length):
    """What every new run can be told."""

    data: str = "glyphs"  # a name from `minigan data list`, or a folder
    size: Count = None  # make images this many pixels high and wide
    seed: int = 0  # the same seed gives the same bytes
    device: Literal["cpu", "cuda"] = "cpu"  # where to compute
    out: Folder = None  # the run directory; runs/RECIPE-DATA-1 or the next free number


@dataclass(frozen=True)
class Continue(Length):
    """What a run that is continued can be told."""

    out: Path = field(default=Path())  # the run directory to continue
    more: Count = None  # train this many rounds more, instead of up to --steps
    resume: bool = True  # continue the run in --out


def main(words: list[str]) -> int:
    if "--resume" in words:
        return _resume(words)
    name, flags = _split(words)
    kind = gans.load(name)
    name = name if name.endswith(".py") else name.replace("-", "_")
    if "-h" in flags or "--help" in flags:
        _parse(name, kind, ["--help"], kind())
    try:
        start, _ = _parse(name, kind, flags, kind())
        if start.device == "cuda":
            raise UserError("this version has kernels for the CPU only; leave out --device cuda")
        dataset = load(start.data, size=start.size, seed=start.seed, report=_say)
        # Once more, now that the data are known: the recipe may have other defaults for them.
        start, recipe = _parse(name, kind, flags, kind(**kind.defaults(dataset.shape)))
        state = State.fresh(recipe, dataset, start.seed)
    except ValueError as error:
        raise UserError(f"minigan train {name}: {error}") from error
    path = start.out or fresh_directory(Path(name).stem, start.data)
    steps = start.steps or kind.steps
    config: dict[str, Any] = {
        "recipe": name if not name.endswith(".py") else str(Path(name).resolve()),
        "recipe_doc": kind.__doc__,
        "data": {
            "name": dataset.name,
            "source": _absolute(start.data),
            "size": start.size,
            "samples": len(dataset),
            "shape": list(dataset.shape),
            "classes": list(dataset.classes),
        },
        "hyper_parameters": dataclasses.asdict(recipe),
        "steps": steps,
        "seed": start.seed,
        "device": start.device,
        "sample_every": start.sample_every or max(1, steps // PICTURES),
        "checkpoint_every": start.checkpoint_every or max(1, steps // CHECKPOINTS),
        "command": shlex.join(["minigan", "train", *words]),
        **provenance(),
    }
    run = Run.create(path, config)
    return _train(state, dataset, run)


def open_run(path: Path) -> tuple[State, Dataset, Run]:
    """The run in `path` as its newest checkpoint left it.

    Raises:
        UserError: if there is no run, or its recipe, data or checkpoint cannot be used any more.
    """
    from .. import checkpoint

    run = Run.open(path)
    config = run.config
    kind = gans.load(config["recipe"])
    try:
        recipe = kind(**config["hyper_parameters"])
    except TypeError as error:
        raise UserError(
            f"{path} was made by another version of {config['recipe']}: {error}"
        ) from None
    data = config["data"]
    dataset = load(data["source"], size=data["size"], seed=config["seed"], report=_say)
    if [len(dataset), *dataset.shape] != [data["samples"], *data["shape"]]:
        raise UserError(
            f"the data in {data['source']} have changed since the run in {path}: there were "
            f"{data['samples']} samples of shape {tuple(data['shape'])}, and now "
            f"{len(dataset)} of {dataset.shape}"
        )
    state = State.fresh(recipe, dataset, config["seed"])
    state.restore(checkpoint.newest(run.checkpoints), config["recipe"])
    return state, dataset, run


def _resume(words: list[str]) -> int:
    named = words[0] if not words[0].startswith("-") else None
    flags = words[1:] if named else words
    _refuse_hyper_parameters(flags)
    given = parse(
        Continue, flags, verb="train --resume", description="Continue a run where it stopped."
    )
    if given.out == Path():
        raise UserError("--resume needs --out, the run directory to continue")
    if given.steps and given.more:
        raise UserError(
            "--steps N trains up to round N and --more N trains N more; give one of them"
        )
    state, dataset, run = open_run(given.out)
    recipe = run.config["recipe"]
    if named and named.replace("-", "_") != recipe:
        raise UserError(f"{given.out} holds a run of {recipe}, not of {named}")
    steps = given.steps or (state.step + given.more if given.more else run.config["steps"])
    if steps < state.step:
        raise UserError(
            f"the run in {given.out} is at round {state.step} already; "
            f"--steps {steps} lies behind it"
        )
    run.rewind(state.step)
    run.config |= {
        "steps": steps,
        "sample_every": given.sample_every or run.config["sample_every"],
        "checkpoint_every": given.checkpoint_every or run.config["checkpoint_every"],
    }
    run.write_config()
    return _train(state, dataset, run)


def _refuse_hyper_parameters(flags: list[str]) -> None:
    fixed = Start.__dataclass_fields__.keys() - Continue.__dataclass_fields__.keys()
    known = {f"--{name.replace('_', '-')}" for name in fixed}
    for flag in flags:
        if flag.split("=")[0] in known:
            raise UserError(f"a resumed run keeps its {flag.split('=')[0]}; leave it out")


def _train(state: State, dataset: Dataset, run: Run) -> int:
    _say(
        f"training {run.config['recipe']} on {dataset.name} up to round {run.config['steps']}; "
        f"pictures and checkpoints go to {run.path}"
    )
    finished = train(
        state,
        dataset,
        run,
        steps=run.config["steps"],
        sample_every=run.config["sample_every"],
        checkpoint_every=run.config["checkpoint_every"],
        say=_say,
    )
    if not finished:
        _say(
            f"interrupted at round {state.step}; minigan train --resume --out {run.path} continues"
        )
        return 130
    print(f"{run.picture(state.step)}\n{run.path / 'report.html'}")
    return 0


def _split(words: list[str]) -> tuple[str, list[str]]:
    """The recipe's name, the default one if there is none, and the flags."""
    if words and not words[0].startswith("-"):
        return words[0], words[1:]
    return DEFAULT, words


def _parse(
    name: str, kind: type[Recipe], flags: list[str], default: Recipe
) -> tuple[Start, Recipe]:
    both = dataclasses.make_dataclass(
        "Train",
        [("run", Start, field(default=Start())), ("recipe", kind, field(default=default))],
        frozen=True,
    )
    value: Any = parse(both, flags, verb=f"train {name}", description="Train a GAN.")
    return value.run, value.recipe


def _absolute(data: str) -> str:
    """What names the data from any folder: a known name as it is, a path in full."""
    return data if data in {entry.name for entry in catalogue()} else str(Path(data).resolve())


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

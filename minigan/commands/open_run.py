"""Opening a run directory: its recipe, its data and a checkpoint, from config.json.

No file is executed that the user did not name. A run of minigan's own recipes, or of one in a
folder of MINIGAN_RECIPES, is opened by the recipe's name. A run of any other file is opened only if
that file is named again.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TypeVar

from .. import gans
from ..data import Dataset, Reading, lasting, load
from ..data.earlier import in_one_class
from ..device import HOST, Device
from ..errors import UserError
from ..schema import SchemaError
from ..terminal import brief, visible
from ..training.checkpoint import Checkpoint
from ..training.keeper import chosen
from ..training.recipe import Recipe
from ..training.run import IN_PYTHON, Run, damaged_config, named_recipe
from ..training.schema import check_fields
from ..training.state import State
from ..training.trained import Trained
from ..training.writer import sole_writer
from .console import say

T = TypeVar("T")
# What building players from numbers that fit no networks may raise.
UNFIT = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def open_run(
    path: Path,
    device: Device = HOST,
    *,
    recipe: str | None = None,
    step: str | None = None,
    data: str | None = None,
) -> tuple[State, Dataset, Run]:
    """The run in `path`: its state, its data, and its directory.

    The state is that of the newest checkpoint or of the one that `step` names (a number, or best),
    or the initial one if there is none yet. It is on `device`, wherever the run was trained.
    `recipe` names the file of a recipe that is not minigan's own. `data` says where moved data are,
    which must be the same, and the run remembers it. The user is told if the recipe or the data
    have changed since.

    Raises:
        UserError: if there is no run, or its recipe, data or checkpoint cannot be used any more.
    """
    run = Run.open(path)
    told = say if data is None else _refuse
    state, dataset = load_run(run, device, recipe=recipe, changed=told, step=step, data=data)
    if data is not None:
        _remember(run)
    return state, dataset, run


def open_trained(
    path: Path,
    device: Device = HOST,
    *,
    recipe: str | None = None,
    step: str | None = None,
    data: str | None = None,
) -> tuple[Trained, Run]:
    """What the run in `path` has learned, and its directory; as `open_run`, but without its data.

    Before the first checkpoint they are needed, since the initial values of some players depend on
    them.

    Raises:
        UserError: if there is no run, or its recipe or checkpoint cannot be used any more.
    """
    run = Run.open(path)
    found = chosen(run, step)
    if found is None:
        state, _, run = open_run(path, device, recipe=recipe, data=data)
        return state, run
    made = recipe_of(run, recipe)
    saved = Checkpoint.read(found, run.config["recipe"])
    if data is not None:
        _data(run, _refuse, data)
        _remember(run)
    shape, seed = run.data.shape, run.config["seed"]
    return _built(run, lambda: Trained.restored(saved, made, shape, seed, device)), run


def load_run(
    run: Run,
    device: Device,
    *,
    recipe: str | None,
    changed: Callable[[str], None],
    step: str | None = None,
    data: str | None = None,
) -> tuple[State, Dataset]:
    """The state and the data of a run; as in `open_run`.

    If the data are others than the run's, `changed` is told so; unless it raises, `run.config` has
    the facts of the new ones, and their place.

    Raises:
        UserError: if its recipe, data or checkpoint cannot be used any more.
    """
    made = recipe_of(run, recipe)
    found = chosen(run, step)
    saved = None if found is None else Checkpoint.read(found, run.config["recipe"])
    dataset, seed = _data(run, changed, data), run.config["seed"]
    return _built(run, lambda: State.fresh(made, dataset, seed, device, saved)), dataset


def recipe_of(run: Run, named: str | None) -> Recipe:
    """The recipe of a run, with its hyper-parameters; `named` is what the user called it, if at
    all. The user is told if its file has changed.

    Raises:
        UserError: if the run is of a file that is not named, or of another recipe.
    """
    name, values = run.config["recipe"], run.config["hyper_parameters"]
    if named is None and name.startswith(IN_PYTHON):
        own = visible(name.removeprefix(IN_PYTHON))
        raise UserError(
            f"{run.path} is a run of the class {own}, which a Python program had; write the class "
            f"into a file {own}.py of its own, and add{named_recipe(name)}"
        )
    if named is None and name.endswith(".py"):
        raise UserError(
            f"{run.path} is a run of the recipe file {visible(name)}, and no file is executed "
            f"that you do not name; add --recipe {visible(shlex.quote(name))}"
        )
    try:
        path = gans.file_of(named or name)
    except UserError as error:
        if named is not None:
            raise
        raise UserError(
            f"{brief(str(error))}; the file of your own recipe is named by --recipe FILE"
        ) from error
    there, known = gans.identity(path), recipe_file(run)
    same = there is not None and known is not None and there["sha256"] == known["sha256"]
    if named is not None and gans.canonical(named) != name and not same:
        stem = Path(name.removeprefix(IN_PYTHON)).stem
        moved = there is not None and path.stem == stem and not gans.is_built_in(name)
        if not moved:
            raise UserError(f"{run.path} holds a run of {visible(name)}, not of {named}")
    if there is not None and known is not None and not same:
        say(
            f"{path} is not as it was when {run.path} was trained; from here on it is used as it is"
        )
    kind, file = gans.load(named or name), run.path / "config.json"
    try:
        check_fields(kind, values)
        recipe = kind(**values)
    except (SchemaError, UserError) as error:
        raise damaged_config(file, error) from error
    if new := [f.name for f in fields(recipe) if f.name not in values]:
        taken = ", ".join(f"{field} {getattr(recipe, field)}" for field in new)
        say(f"{run.path} is of an earlier version of its recipe, and is taken to have {taken}")
    return recipe


def recipe_file(run: Run) -> dict[str, str] | None:
    """The path and the hash of the recipe's file that the run used last; None of minigan's own
    recipes, and of runs that do not know.
    """
    parts = [run.config, *run.config["resumed"]]
    known = [part["recipe_file"] for part in parts if part.get("recipe_file")]
    return known[-1] if known else None


def _data(run: Run, changed: Callable[[str], None], place: str | None = None) -> Dataset:
    """The data of a run, loaded again, from `place` if they have been moved there."""
    data, seed = run.config["data"], run.config["seed"]
    source = data["source"] if place is None else place
    shown = visible(source)
    if source.startswith(IN_PYTHON):
        raise UserError(
            f"the data of {run.path} are needed for this, and were arrays of a Python program; go "
            "on there, by run.resume() say, or say by --data which name or folder has the same data"
        )
    try:
        how = {"size": data["size"], "stack": data["stack"]} | Reading.of(data).keywords()
        dataset = load(source, seed=seed, report=say, **how)
    except (OSError, UserError) as error:
        if place is not None:
            raise UserError(f"--data {shown}: {brief(str(error))}") from error
        raise UserError(
            f"the data of {run.path} are needed for this, and cannot be had: {brief(str(error))}; "
            "bring them back, or say by --data where they are now"
        ) from error
    dataset = in_one_class(dataset, data)
    there, before = (dataset.shape, len(dataset.classes)), (run.data.shape, len(run.data.classes))
    if there != before:
        named = f"the data in {shown} do not fit the run in {run.path} any more"
        if place is not None:
            named = f"--data {shown} does not fit the run in {run.path}"
        raise UserError(
            f"{named}: it learned from "
            f"{data['samples']} samples of shape {before[0]} in {before[1]} classes, and there "
            f"are {len(dataset)} of {there[0]} in {there[1]}"
        )
    digest = dataset.digest()
    what = f"the data in {shown} have changed since the run in {run.path}"
    if place is not None:
        what = f"--data {shown} does not hold the data of the run in {run.path}"
    if len(dataset) != data["samples"]:
        changed(f"{what}: there were {data['samples']} samples, and now {len(dataset)}")
    elif data["digest"] not in (None, digest):
        changed(f"{what}: they are as many, but not the same")
    elif data["digest"] is None and place is not None:
        say(
            f"{run.path} is of an earlier minigan and does not know what was in its data, so those "
            f"in {shown} were compared by number, shape and classes only"
        )
    data |= {"samples": len(dataset), "digest": digest}
    if place is not None:
        data["source"] = lasting(place)
    return dataset


def _refuse(what: str) -> None:
    """Raise: the data that --data names must be the run's own."""
    raise UserError(f"{what}; name the data that it learned from")


def _remember(run: Run) -> None:
    """Write into a run's config.json where its data are now; the user is told if it cannot be."""
    source = run.config["data"]["source"]
    try:
        with sole_writer(run.path, say):
            there = Run.open(run.path)
            there.config["data"]["source"] = source
            there.write_config()
    except (OSError, UserError) as error:
        why = getattr(error, "strerror", None) or error
        say(f"{run.path} will not remember that its data are in {source}: {why}")


def _built(run: Run, build: Callable[[], T]) -> T:
    """What `build` makes of a configuration.

    Raises:
        UserError: if its numbers fit no networks.
    """
    try:
        return build()
    except UNFIT as error:
        raise damaged_config(
            run.path / "config.json",
            f"no networks fit it ({type(error).__name__}: {brief(str(error))})",
        ) from error
